"""Whoever can write the database attacks it: every attack is found and named, what is harmless stays clean."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ledger_scenes import (
    CROWD,
    Scene,
    build_postgresql,
    build_sqlite,
    copy_folder,
    keep_copy,
    key,
    put_back,
    scene,
    sha256,
)
from sealed_ledgers import LOG_KEY, assert_clean, assert_found, faults, look

from consentkit.core.record import subject_key
from consentkit.proof import SigningKey
from consentkit.store.log_keys import KEY_FILE
from consentkit.store.tables import metadata

if TYPE_CHECKING:
    from conftest import PgServer

NO_EVIDENCE = ("log_id", "stored_us", "signed_us", "published", "band", "facts_us")
"""Columns that nothing rests on: when a text was stored, and facts about a subject, which are deletable."""

Attack = Callable[[Scene], str]
ATTACKS: dict[str, tuple[Attack, str, tuple[str, ...]]] = {}


def attack(verdict: str, *words: str) -> Callable[[Attack], Attack]:
    """Register an attack; it returns where it has to be found, and this verdict names these words."""

    def register(function: Attack) -> Attack:
        ATTACKS[function.__name__] = (function, verdict, words)
        return function

    return register


# ---------------------------------------------------------------- one event


@attack("integrity", "the body or the salt is not what was committed to")
def edit_the_body(s: Scene) -> str:
    event = s.event("ann", "withdrawn")
    s.attacker.update("event", key(event), body=event["body"].replace("withdrawn", "given"))
    return f"event {event['event_id']}"


@attack("integrity", "the body or the salt is not what was committed to")
def edit_the_body_and_every_column(s: Scene) -> str:
    event = s.event("ann", "withdrawn")
    s.replace_event(s.forge(event, action="given") | {"commitment": event["commitment"]})
    return f"event {event['event_id']}"


@attack("integrity", "the commitment is not the one that was sealed")
def edit_the_event_and_its_commitment(s: Scene) -> str:
    event = s.event("ann", "withdrawn")
    s.replace_event(s.forge(event, action="given"))
    return f"event {event['event_id']}"


@attack("integrity", "the body or the salt is not what was committed to")
def edit_the_salt(s: Scene) -> str:
    event = s.event("ann", "given")
    s.attacker.update("event", key(event), salt=b"0" * 32)
    return f"event {event['event_id']}"


@attack("integrity", "the commitment is not the one that was sealed")
def edit_the_commitment(s: Scene) -> str:
    event = s.event("ann", "given")
    s.attacker.update("event", key(event), commitment=b"0" * 32)
    return f"event {event['event_id']}"


def edit_a_column(name: str, value: Any) -> None:
    @attack("integrity", "the columns are not those of the body")
    def edit(s: Scene) -> str:
        event = s.event("ann", "given")
        assert event[name] != value
        s.attacker.update("event", key(event), **{name: value})
        return f"event {event['event_id']}"

    ATTACKS[f"edit_the_column_{name}"] = ATTACKS.pop("edit")


for _name, _value in {
    "bucket": 1,
    "tenant": "other",
    "subject_key": b"0" * 16,
    "kind": "policy",
    "item": "ads",
    "version": "2",
    "scope": "comment:1",
    "action": "refused",
    "actor": "operator",
    "recorded_us": 1,
    "effective_us": 1,
}.items():
    edit_a_column(_name, _value)


@attack("completeness", "the version 9 of news that was answered is not there")
def invent_a_version(s: Scene) -> str:
    event = s.event("ann", "given")
    s.replace_event(s.forge(event, version="9"))
    return f"event {event['event_id']}"


@attack("integrity", "the columns are not those of the body")
def give_it_another_id(s: Scene) -> str:
    event, new = s.event("ann", "given"), s.new_id(s.event("ann", "given"))
    s.attacker.update("event", key(event), event_id=new)
    return f"event {new}"


@attack("completeness", "an event was deleted without a record of erasure")
def delete_an_event(s: Scene) -> str:
    event = s.event("ann", "withdrawn")
    s.attacker.delete("event", **key(event))
    return f"leaf {s.leaf(event)['leaf_index']} (event {event['event_id']})"


@attack("completeness", "are not there")
def delete_an_event_and_its_leaf(s: Scene) -> str:
    event, leaf = s.event("ann", "withdrawn"), s.leaf(s.event("ann", "withdrawn"))
    s.attacker.delete("event", **key(event))
    s.attacker.delete("leaf", leaf_index=leaf["leaf_index"])
    return f"leaf {leaf['leaf_index']}"


@attack("integrity", "has another root than the leaves")
def delete_an_event_and_move_the_leaves_up(s: Scene) -> str:
    event, leaf = s.event("ann", "withdrawn"), s.leaf(s.event("ann", "withdrawn"))
    s.attacker.delete("event", **key(event))
    s.attacker.delete("leaf", leaf_index=leaf["leaf_index"])
    for later in s.attacker.read("leaf", "leaf_index > ? ORDER BY leaf_index", leaf["leaf_index"]):
        s.attacker.update("leaf", {"leaf_index": later["leaf_index"]}, leaf_index=later["leaf_index"] - 1)
    s.rebuild()
    return f"leaf {CROWD + 3}"


def _forged(s: Scene, **said: Any) -> dict[str, Any]:
    event = s.event("ann", "given")
    return s.forge(event, event_id=s.new_id(event), **said)


@attack("integrity", "it was not written by consentkit")
def forge_an_event(s: Scene) -> str:
    event = _forged(s)
    s.attacker.insert("event", event)
    return f"event {event['event_id']}"


@attack("integrity", "the pending row was not written by this installation")
def forge_an_event_with_a_made_up_mark(s: Scene) -> str:
    event = _forged(s, effective_us=1, recorded_us=1)
    s.attacker.insert("event", event)
    s.attacker.insert("pending", key(event) | {"commitment": event["commitment"], "mac": b"0" * 32})
    return f"event {event['event_id']}"


@attack("integrity", "the pending row was not written by this installation")
def forge_an_event_with_the_mark_of_another(s: Scene) -> str:
    event, (waiting,) = _forged(s, effective_us=1), s.attacker.read("pending")
    s.attacker.insert("event", event)
    s.attacker.insert("pending", waiting | key(event))
    return f"event {event['event_id']}"


@attack("integrity", "the pending row was not written by this installation")
def edit_a_waiting_event(s: Scene) -> str:
    event = s.forge(s.event("pat", "given"), action="refused")
    s.replace_event(event)
    s.attacker.update("pending", key(event), commitment=event["commitment"])
    return f"event {event['event_id']}"


@attack("integrity", "was never sealed and does not wait for it")
def delete_a_pending_row(s: Scene) -> str:
    event = s.event("pat", "given")
    s.attacker.delete("pending", **key(event))
    return f"event {event['event_id']}"


@attack("completeness", "an event that waits to be sealed is not there")
def delete_a_waiting_event(s: Scene) -> str:
    event = s.event("pat", "given")
    s.attacker.delete("event", **key(event))
    return f"event {event['event_id']}"


@attack("integrity", "it was sealed, and waits to be sealed again")
def copy_a_pending_row_back(s: Scene) -> str:
    event = s.event("ann", "given")
    mac = s.kit.runtime.keyed.mac(event["commitment"])
    s.attacker.insert("pending", key(event) | {"commitment": event["commitment"], "mac": mac})
    return f"event {event['event_id']}"


@attack("integrity", "the commitment is not the one that was sealed")
def insert_or_replace(s: Scene) -> str:
    event = s.forge(s.event("ann", "withdrawn"), action="given")
    names = ", ".join(event)
    marks = ", ".join("?" * len(event))
    if s.attacker.sqlite:
        s.attacker.run(f"INSERT OR REPLACE INTO {{p}}event ({names}) VALUES ({marks})", *event.values())
    else:
        new = ", ".join(f"{name} = excluded.{name}" for name in event)
        into = f"INSERT INTO {{p}}event ({names}) VALUES ({marks})"
        s.attacker.run(f"{into} ON CONFLICT (bucket, event_id) DO UPDATE SET {new}", *event.values())
    return f"event {event['event_id']}"


# ---------------------------------------------------------------- subjects and their last answers


@attack("completeness", "the mapping row was deleted without an erasure")
def delete_a_mapping_row(s: Scene) -> str:
    row = s.row_of("ann")
    s.attacker.delete("subject", subject="ann")
    return f"subject {row['subject_key'].hex()}"


@attack("integrity", "the mapping row was changed: it leads to another subject")
def swap_two_mapping_rows(s: Scene) -> str:
    ann, eve = s.row_of("ann"), s.row_of("eve")
    s.attacker.delete("subject", subject="ann")
    s.attacker.delete("subject", subject="eve")
    name = ("tenant", "subject")
    s.attacker.insert("subject", ann | {n: eve[n] for n in name})
    s.attacker.insert("subject", eve | {n: ann[n] for n in name})
    return f"subject {ann['subject_key'].hex()}"


@attack("integrity", "the mapping row was changed: it leads to another subject")
def swap_the_pseudonyms_of_two_subjects(s: Scene) -> str:
    ann, eve = s.row_of("ann"), s.row_of("eve")
    for row, other in ((ann, eve), (eve, ann)):
        s.attacker.update(
            "subject", {"subject": row["subject"]}, subject_key=other["subject_key"], salt=other["salt"]
        )
    return f"subject {ann['subject_key'].hex()}"


@attack("completeness", "the mapping row was deleted without an erasure")
def give_a_subject_a_new_pseudonym(s: Scene) -> str:
    ann = s.row_of("ann")
    s.attacker.update("subject", {"subject": "ann"}, subject_key=subject_key(ann["salt"], "", "ann2"))
    return f"subject {ann['subject_key'].hex()}"


@attack("integrity", "there are two mapping rows")
def add_a_second_mapping_row(s: Scene) -> str:
    ann = s.row_of("ann")
    s.attacker.insert("subject", ann | {"subject": "ann2"})
    return f"subject {ann['subject_key'].hex()}"


@attack("completeness", "the mapping row was wiped without an erasure")
def wipe_a_mapping_row(s: Scene) -> str:
    ann = s.row_of("ann")
    hidden = s.kit.runtime.keyed.hidden_subject("", "ann")
    s.attacker.update("subject", {"subject": "ann"}, subject=hidden, salt=None, erased_us=1)
    return f"subject {ann['subject_key'].hex()}"


@attack("integrity", "the mark of erasure is not what the events say")
def mark_a_subject_as_erased(s: Scene) -> str:
    s.attacker.update("subject", {"subject": "ann"}, erased_us=1)
    return f"subject {s.row_of('ann')['subject_key'].hex()}"


@attack("integrity", "the mark of erasure is not what the events say")
def revive_an_erased_subject(s: Scene) -> str:
    s.attacker.update("subject", {"subject": "bob"}, erased_us=None)
    return f"subject {s.row_of('bob')['subject_key'].hex()}"


@attack("integrity", "the mark of erasure is not what the events say")
def postpone_an_erasure(s: Scene) -> str:
    s.attacker.update("subject", {"subject": "bob"}, erased_us=s.row_of("bob")["erased_us"] + 1)
    return f"subject {s.row_of('bob')['subject_key'].hex()}"


@attack("integrity", "the mapping row of an erased subject was changed")
def rename_a_hidden_subject(s: Scene) -> str:
    (row,) = s.attacker.read("subject", "salt IS NULL")
    s.attacker.update("subject", {"subject": row["subject"]}, subject="somebody else")
    return f"subject {row['subject_key'].hex()}"


def edit_a_state_row(name: str, value: Any) -> None:
    @attack("integrity", "the last answer of")
    def edit(s: Scene) -> str:
        ann = s.row_of("ann")
        where = {"subject_key": ann["subject_key"], "item": "news"}
        s.attacker.update("state", where, **{name: value})
        return f"state of subject {ann['subject_key'].hex()}"

    ATTACKS[f"edit_the_state_{name}"] = ATTACKS.pop("edit")


for _name, _value in {
    "status": "given",
    "version": 7,
    "level": 3,
    "effective_us": 1,
    "expires_us": 1,
    "event_id": "01890000-0000-7000-8000-000000000000",
    "actor": "operator",
    "scope": "x",
    "item": "stats",
    "kind": "policy",
}.items():
    edit_a_state_row(_name, _value)


@attack("integrity", "the last answer of subject is missing or was changed")
def delete_a_state_row(s: Scene) -> str:
    key_of = s.row_of("ann")["subject_key"]
    s.attacker.delete("state", subject_key=key_of, item="news")
    return f"state of subject {key_of.hex()}"


@attack("integrity", "the last answer of guardian:1 is not what the events say")
def add_a_state_row(s: Scene) -> str:
    key_of = s.row_of("ann")["subject_key"]
    (row,) = s.attacker.read("state", "subject_key = ? AND item = 'news'", key_of)
    s.attacker.insert("state", row | {"actor": "guardian:1"})
    return f"state of subject {key_of.hex()}"


@attack("integrity", "the last answer of subject is not what the events say")
def answer_for_a_stranger(s: Scene) -> str:
    (row,) = s.attacker.read("state", "subject_key = ? AND item = 'news'", s.row_of("ann")["subject_key"])
    salt, bucket = b"s" * 32, s.row_of("ann")["bucket"]
    stranger = subject_key(salt, "", "stranger")
    known = {"bucket": bucket, "tenant": "", "subject": "stranger", "subject_key": stranger, "salt": salt}
    s.attacker.insert("subject", known)
    s.attacker.insert("state", row | {"subject_key": stranger})
    return f"state of subject {stranger.hex()}"


# ---------------------------------------------------------------- as if it had been erased


@attack("completeness", "the record of erasure does not list this event")
def enter_an_event_as_erased_by_a_record_of_something_else(s: Scene) -> str:
    event = s.event("ann", "withdrawn")
    leaf = s.leaf(event)["leaf_index"]
    listed = {"leaf_index": leaf, "record_id": event["event_id"]}
    for other in s.attacker.read("event", "bucket = ? AND event_id <> ?", event["bucket"], event["event_id"]):
        listed["record_id"] = other["event_id"]
    s.attacker.insert("erasure", key(event) | listed)
    s.attacker.delete("event", **key(event))
    return f"leaf {leaf} (event {event['event_id']})"


@attack("completeness", "the record of erasure does not list this event")
def enter_an_event_under_the_record_of_another_erasure(s: Scene) -> str:
    bucket = s.row_of("cyd")["bucket"]
    (record,) = s.attacker.read("event", "bucket = ? AND action = 'erased'", bucket)
    where = "bucket = ? AND subject_key = ? AND action = 'given'"
    (event,) = s.attacker.read("event", where, bucket, record["subject_key"])
    leaf = s.leaf(event)["leaf_index"]
    s.attacker.insert("erasure", key(event) | {"leaf_index": leaf, "record_id": record["event_id"]})
    s.attacker.delete("event", **key(event))
    return f"leaf {leaf} (event {event['event_id']})"


@attack("completeness", "an event was deleted without a record of erasure")
def enter_an_event_as_erased_by_the_record_of_another(s: Scene) -> str:
    event = s.event("ann", "withdrawn")
    leaf = s.leaf(event)["leaf_index"]
    s.attacker.insert("erasure", key(event) | {"leaf_index": leaf, "record_id": s.record()["event_id"]})
    s.attacker.delete("event", **key(event))
    return f"leaf {leaf} (event {event['event_id']})"


def _erase_by_hand(s: Scene) -> dict[str, Any]:
    """Delete an event, with an entry and a record that are right but for the mark."""
    event = s.event("ann", "withdrawn")
    leaf = s.leaf(event)["leaf_index"]
    said = {"action": "erased", "kind": "subject", "item": "subject", "leaves": str(leaf), "version": None}
    record = s.forge(event, event_id=s.new_id(event), **said)
    s.attacker.insert("event", record)
    s.attacker.insert("erasure", key(event) | {"leaf_index": leaf, "record_id": record["event_id"]})
    s.attacker.delete("event", **key(event))
    return record


@attack("integrity", "it was not written by consentkit")
def forge_a_record_of_erasure(s: Scene) -> str:
    return f"event {_erase_by_hand(s)['event_id']}"


@attack("integrity", "the pending row was not written by this installation")
def forge_a_record_of_erasure_with_a_pending_row(s: Scene) -> str:
    record = _erase_by_hand(s)
    s.attacker.insert("pending", key(record) | {"commitment": record["commitment"], "mac": b"0" * 32})
    return f"event {record['event_id']}"


@attack("integrity", "the body or the salt is not what was committed to")
def add_a_leaf_to_a_record_of_erasure(s: Scene) -> str:
    record = s.record()
    body = json.loads(record["body"])
    body["leaves"] += ",0"
    s.attacker.update("event", key(record), body=json.dumps(body))
    return f"event {record['event_id']}"


@attack("completeness", "an event was deleted without a record of erasure")
def delete_the_entry_of_an_erased_event(s: Scene) -> str:
    entry = s.attacker.read("erasure")[0]
    s.attacker.delete("erasure", **key(entry))
    return f"leaf {entry['leaf_index']} (event {entry['event_id']})"


@attack("integrity", "it is entered as erased, and is still there")
def enter_a_living_event_as_erased(s: Scene) -> str:
    event = s.event("ann", "given")
    entry = {"leaf_index": s.leaf(event)["leaf_index"], "record_id": s.record()["event_id"]}
    s.attacker.insert("erasure", key(event) | entry)
    return f"event {event['event_id']}"


# ---------------------------------------------------------------- the tree


@attack("integrity", "the signed checkpoint of", "has another root than the leaves")
def rebuild_all_that_has_no_key(s: Scene) -> str:
    s.replace_event(s.forge(s.event("ann", "withdrawn"), action="given"))
    s.rebuild()
    return f"leaf {CROWD + 3}"


@attack("integrity", "the checkpoint does not verify")
def sign_everything_with_another_key(s: Scene) -> str:
    s.replace_event(s.forge(s.event("ann", "withdrawn"), action="given"))
    s.rebuild(SigningKey("consentkit-log", b"x" * 32))
    return f"checkpoint {CROWD + 3}"


@attack("integrity", "the anchor of", "has another root than the leaves")
def sign_everything_with_the_stolen_key(s: Scene) -> str:
    stolen = (s.folder / KEY_FILE).read_text().strip() if s.attacker.sqlite else LOG_KEY
    s.replace_event(s.forge(s.event("ann", "withdrawn"), action="given"))
    s.rebuild(SigningKey.parse(stolen))
    return f"leaf {CROWD + 3}"


@attack("completeness", "the anchor covers")
def cut_the_tail_with_its_checkpoints(s: Scene) -> str:
    first = CROWD + 3
    tail = s.attacker.read("leaf", "leaf_index >= ?", first)
    for leaf in tail:
        s.attacker.run("DELETE FROM {p}event WHERE event_id = ?", leaf["event_id"])
    s.attacker.run("DELETE FROM {p}leaf WHERE leaf_index >= ?", first)
    s.attacker.run("DELETE FROM {p}checkpoint WHERE tree_size > ?", first)
    s.attacker.run("DELETE FROM {p}erasure")
    s.attacker.run("DELETE FROM {p}state WHERE event_id NOT IN (SELECT event_id FROM {p}event)")
    known = "SELECT subject_key FROM {p}event"
    s.attacker.run(f"DELETE FROM {{p}}subject WHERE subject_key NOT IN ({known})")
    s.rebuild()
    return f"leaf {first}"


@attack("integrity", "the event has 2 leaves")
def add_a_second_leaf(s: Scene) -> str:
    event = s.event("ann", "given")
    (size,) = s.attacker.run("SELECT size FROM {p}head")[0]
    s.attacker.insert("leaf", s.leaf(event) | {"leaf_index": size})
    return f"event {event['event_id']}"


@attack("integrity", "the head says")
def add_a_leaf(s: Scene) -> str:
    leaf = s.leaf(s.event("ann", "given"))
    (size,) = s.attacker.run("SELECT size FROM {p}head")[0]
    s.attacker.insert("leaf", leaf | {"leaf_index": size, "event_id": s.new_id(leaf)})
    return "head"


@attack("completeness", "the leaves from 7 to 8 are not there")
def leave_a_gap_in_the_leaves(s: Scene) -> str:
    s.attacker.run("UPDATE {p}leaf SET leaf_index = -leaf_index WHERE leaf_index IN (7, 8)")
    return "leaf 7"


@attack("integrity", "the leaf has no place in the tree")
def give_a_leaf_a_negative_index(s: Scene) -> str:
    s.attacker.run("UPDATE {p}leaf SET leaf_index = -leaf_index WHERE leaf_index = 7")
    return "leaf -7"


@attack("integrity", "the leaf is not a hash")
def shorten_a_leaf(s: Scene) -> str:
    s.attacker.update("leaf", {"leaf_index": 5}, hash=b"short")
    return "leaf 5"


@attack("integrity", "has another root than the leaves")
def edit_the_leaf_of_an_erased_event(s: Scene) -> str:
    s.attacker.update("leaf", {"leaf_index": s.attacker.read("erasure")[0]["leaf_index"]}, hash=b"0" * 32)
    return f"leaf {s.attacker.run('SELECT MIN(tree_size) FROM {p}checkpoint WHERE tree_size > 261')[0][0]}"


@attack("integrity", "a stored tile is not that of its leaves")
def edit_a_tile(s: Scene) -> str:
    s.attacker.update("node", {"level": 1, "idx": 0}, hash=b"0" * 32)
    return "node 1/0"


@attack("integrity", "a stored tile is not that of its leaves")
def delete_a_tile(s: Scene) -> str:
    s.attacker.delete("node", level=1, idx=0)
    return "node 1/0"


@attack("integrity", "a stored tile has no leaves")
def add_a_tile(s: Scene) -> str:
    s.attacker.insert("node", {"level": 1, "idx": 1, "hash": b"0" * 32})
    return "node 1/1"


@attack("integrity", "the head says 5 events")
def edit_the_size_of_the_head(s: Scene) -> str:
    s.attacker.update("head", {"log_id": "log"}, size=5)
    return "head"


@attack("integrity", "the head says")
def edit_the_frontier(s: Scene) -> str:
    s.attacker.update("head", {"log_id": "log"}, frontier=b"garbage")
    return "head"


@attack("integrity", "the checkpoint does not verify", "not of 'another'")
def rename_the_log(s: Scene) -> str:
    s.attacker.update("head", {"log_id": "log"}, origin="another")
    return f"checkpoint {CROWD + 3}"


@attack("completeness", "there are leaves or checkpoints, but no head")
def delete_the_head(s: Scene) -> str:
    s.attacker.delete("head", log_id="log")
    return "head"


@attack("completeness", "it was replaced")
def begin_again(s: Scene) -> str:
    for table in ("leaf", "node", "checkpoint", "event", "state", "subject", "erasure", "pending"):
        s.attacker.run(f"DELETE FROM {{p}}{table}")
    s.attacker.run("UPDATE {p}head SET origin = ?, size = 0, frontier = ?", _other_origin(s), bytes(8))
    return "head"


def _other_origin(s: Scene) -> str:
    """A new log of the same database, and the anchor as if the old one had been of this name too."""
    from consentkit.store.sealing import origin_prefix

    prefix = origin_prefix(s.kit.runtime.database)
    anchor = s.kit.runtime.log_keys.anchor
    assert anchor is not None
    lines = [f"{prefix}0123 {line.size} {line.root.hex()}\n" for line in anchor.lines()]
    anchor.path.write_text("".join(lines))
    return f"{prefix}4567"


@attack("integrity", "the checkpoint does not verify")
def edit_a_checkpoint(s: Scene) -> str:
    (row,) = s.attacker.read("checkpoint", "tree_size = ?", CROWD + 3)
    s.attacker.update("checkpoint", {"tree_size": CROWD + 3}, note=row["note"].replace("261", "260"))
    return f"checkpoint {CROWD + 3}"


@attack("integrity", "the signed checkpoint is of 261 events")
def pass_a_checkpoint_off_as_another(s: Scene) -> str:
    (row,) = s.attacker.read("checkpoint", "tree_size = ?", CROWD + 3)
    s.attacker.insert("checkpoint", row | {"tree_size": 100})
    return "checkpoint 100"


@attack("completeness", "the head has no signed checkpoint")
def delete_the_last_checkpoint(s: Scene) -> str:
    (size,) = s.attacker.run("SELECT MAX(tree_size) FROM {p}checkpoint")[0]
    s.attacker.delete("checkpoint", tree_size=size)
    return f"checkpoint {size}"


@attack("completeness", "a published checkpoint is not there")
def delete_an_old_checkpoint(s: Scene) -> str:
    s.attacker.delete("checkpoint", tree_size=CROWD + 3)
    return f"checkpoint {CROWD + 3}"


# ---------------------------------------------------------------- texts and versions

TERMS = sha256("# Terms")


@attack("integrity", "the text is not the one of its digest")
def edit_a_text(s: Scene) -> str:
    s.attacker.update("document", {"digest": TERMS}, content="# Other terms")
    return f"document {TERMS}"


@attack("completeness", "the text of a published version is not there")
def replace_a_text_and_its_digest(s: Scene) -> str:
    s.attacker.update("document", {"digest": TERMS}, content="# Other", digest=sha256("# Other"))
    return "policy terms 1 (en)"


@attack("completeness", "does not have the accepted text")
def replace_a_text_everywhere(s: Scene) -> str:
    new = sha256("# Other")
    s.attacker.update("document", {"digest": TERMS}, content="# Other", digest=new)
    for row in s.attacker.read("document", "media_type = 'application/json'"):
        text = row["content"].replace(TERMS, new)
        s.attacker.update("document", {"digest": row["digest"]}, content=text, digest=sha256(text))
    (row,) = s.attacker.read("policy_version", "item = 'terms'")
    s.attacker.update("policy_version", {"item": "terms"}, texts=row["texts"].replace(TERMS, new))
    return f"event {s.event('ann', 'accepted')['event_id']}"


@attack("completeness", "the text of a published version is not there")
def delete_a_text(s: Scene) -> str:
    s.attacker.delete("document", digest=TERMS)
    return "policy terms 1 (en)"


@attack("integrity", "it was not published as text/html")
def edit_a_media_type(s: Scene) -> str:
    s.attacker.update("document", {"digest": TERMS}, media_type="text/html")
    return f"document {TERMS}"


@attack("completeness", "the version 1 of terms that was accepted is not there")
def delete_a_version_of_a_policy(s: Scene) -> str:
    s.attacker.delete("policy_version", item="terms")
    return f"event {s.event('ann', 'accepted')['event_id']}"


@attack("completeness", "a published version is not there")
def delete_a_version_of_a_purpose(s: Scene) -> str:
    s.attacker.delete("purpose_version", item="ads")
    return "purpose ads 1"


def edit_a_version(table: str, item: str, name: str, value: Any) -> None:
    @attack("integrity", "the version is not what a stored catalogue says")
    def edit(s: Scene) -> str:
        s.attacker.update(f"{table}_version", {"item": item}, **{name: value})
        return f"{table} {item} {value if name == 'version' else 1}"

    ATTACKS[f"edit_the_{name}_of_a_{table}"] = ATTACKS.pop("edit")


for _name, _value in {
    "version": "2",
    "ordinal": 2,
    "change": "editorial",
    "effective_us": 1,
    "published_us": 1,
    "acceptance": '["continued_use"]',
    "texts": "{}",
    "summary": "nothing",
}.items():
    edit_a_version("policy", "terms", _name, _value)
for _name, _value in {"version": 2, "definition": "{}", "published_us": 1}.items():
    edit_a_version("purpose", "news", _name, _value)


# ---------------------------------------------------------------- the tests


class Attacks:
    """Inherited for each database."""

    @pytest.mark.parametrize("name", ATTACKS)
    def test_it_is_found(self, scene: Scene, name: str) -> None:
        assert_clean(scene.kit)
        scene.attacker.drop_triggers()
        attack, verdict, words = ATTACKS[name]
        where = attack(scene)
        report = assert_found(scene.kit, verdict, *words, f" at {where}")
        assert not (report.integrity if verdict == "integrity" else report.completeness)

    @pytest.mark.parametrize("name", ["edit_the_body", "delete_an_event", "edit_a_text", "forge_an_event"])
    def test_the_verdicts_are_apart(self, scene: Scene, name: str) -> None:
        scene.attacker.drop_triggers()
        attack, verdict, _ = ATTACKS[name]
        attack(scene)
        report = look(scene.kit)
        if name != "delete_an_event":  # also changes what the last answer is
            assert (report.integrity, report.completeness) == (
                verdict != "integrity",
                verdict != "completeness",
            )
        assert not report.completeness or verdict == "integrity"

    def test_an_old_backup(self, scene: Scene) -> None:
        kit, attacker = scene.kit, scene.attacker
        tables = [table.name.removeprefix("consentkit_") for table in metadata.sorted_tables]
        backup = {table: attacker.read(table) for table in tables}
        kit.withdraw("pat", "news")
        kit.ledger.seal()
        assert_clean(kit)
        attacker.drop_triggers()
        for table, rows in backup.items():
            attacker.run(f"DELETE FROM {{p}}{table}")
            for row in rows:
                attacker.insert(table, row)
        assert kit.of("pat").allows("news")
        report = assert_found(kit, "completeness", "the anchor covers", "at leaf ")
        assert report.integrity

    def test_without_the_anchor_it_says_what_it_cannot_see(self, scene: Scene) -> None:
        anchor = scene.kit.runtime.log_keys.anchor
        assert anchor is not None
        anchor.path.unlink()
        scene.attacker.drop_triggers()
        ATTACKS["cut_the_tail_with_its_checkpoints"][0](scene)
        (warning,) = look(scene.kit).warnings
        assert "a cut tail or an old backup would not be seen" in warning

    def test_a_notice_that_is_gone_is_a_warning(self, scene: Scene) -> None:
        scene.attacker.drop_triggers()
        scene.attacker.delete("document", digest=scene.kit.notice("en").digest)
        report = look(scene.kit)
        assert report.warnings == ["1 answers name a notice whose text is not stored here"], faults(report)

    def test_a_hundred_faults_are_listed(self, scene: Scene) -> None:
        scene.attacker.drop_triggers()
        scene.attacker.run("UPDATE {p}event SET scope = 'x'")
        report = look(scene.kit)
        assert len(report.faults) == 100
        assert report.more

    def test_what_is_harmless(self, scene: Scene) -> None:
        kit, now = scene.kit, datetime.now(UTC)
        kit.give("ann", "news", at=now - timedelta(days=1))  # loses against the withdrawal
        kit.withdraw("ann", "stats", at=now - timedelta(days=900), method="import")
        kit.give("eve", "quote", scope="quote:1")
        assert_clean(kit)
        kit.ledger.seal()
        kit.erase("eve")  # what has a scope is destroyed
        kit.erase("pat", mode="destroy")
        kit.give("pat", "news")
        kit.rename("ann", "anna")
        kit.give("ann", "news")
        kit.learn("eve", jurisdiction="DE")
        kit.learn("nobody", jurisdiction="DE")
        assert assert_clean(kit).pending > 3
        kit.ledger.seal()
        assert assert_clean(kit).pending == 0

    def test_verifying_writes_nothing(self, scene: Scene) -> None:
        tables = [table.name.removeprefix("consentkit_") for table in metadata.sorted_tables]
        before = [scene.attacker.read(table) for table in tables]
        files = {path.name: path.read_bytes() for path in scene.folder.glob("consentkit*")}
        assert_clean(scene.kit)
        assert [scene.attacker.read(table) for table in tables] == before
        assert {path.name: path.read_bytes() for path in scene.folder.glob("consentkit*")} == files


@pytest.fixture(scope="module")
def built_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_sqlite(tmp_path_factory.mktemp("built"))


@pytest.fixture(scope="module")
def built_postgresql(
    pg_server: PgServer, pg_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("built")
    with pg_server.database(template=pg_template) as name:
        url = pg_server.url(name)
        build_postgresql(url, folder)
        keep_copy(url)
        yield url, folder


class TestSqlite(Attacks):
    @pytest.fixture
    def scene(self, built_sqlite: Path, tmp_path: Path) -> Iterator[Scene]:
        copy_folder(built_sqlite, tmp_path)
        with scene(f"sqlite:///{tmp_path}/ledger.sqlite3", tmp_path) as made:
            yield made

    @pytest.mark.parametrize("table", ["event", "leaf", "state", "subject", "document", "head", "checkpoint"])
    def test_any_type_in_any_column(self, scene: Scene, table: str) -> None:
        """SQLite holds any type in any column: no such row stops the verification."""
        scene.attacker.drop_triggers()
        row = scene.attacker.read(table)[-1]
        for name in [name for name in row if row[name] is not None and name not in NO_EVIDENCE]:
            others = {k: v for k, v in row.items() if k != name and v is not None}
            for value in (b"\xff\x00", "text", 1.5):
                scene.attacker.update(table, others, **{name: value})
                assert look(scene.kit).faults, (name, value)
                scene.attacker.run(
                    f"UPDATE {{p}}{table} SET {name} = CAST(x'ff' AS TEXT) WHERE {name} = ?", value
                )
                assert look(scene.kit).faults, name
                scene.attacker.update(table, others, **{name: row[name]})
        assert_clean(scene.kit)


class TestPostgresql(Attacks):
    @pytest.fixture
    def scene(self, built_postgresql: tuple[str, Path], tmp_path: Path) -> Iterator[Scene]:
        url, folder = built_postgresql
        copy_folder(folder, tmp_path)
        put_back(url)
        with scene(url, tmp_path) as made:
            yield made
