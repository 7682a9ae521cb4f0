"""Children in the ledger, bucket by bucket, and deletions that were required of the host and its recipients."""

# ruff: noqa: S608 - every name is a constant of this package, every value a bind parameter
from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from consentkit.core.record import VISITOR, Answer, Event, bucket_of
from consentkit.core.sweeping import DELETION, MINOR
from consentkit.core.view import Row
from consentkit.store import sql
from consentkit.store.clock import bucket_of_event
from consentkit.store.database import Database, Rows, Tx
from consentkit.store.deliveries import rows_of
from consentkit.store.erasing import destroy_whole, erased
from consentkit.store.ledger import Act, Known, LedgerWriter
from consentkit.store.reading import SubjectState
from consentkit.store.rows import facts_of, row_of
from consentkit.store.tables import PREFIX as _P

AT_ONCE = 200
"""Subjects in one transaction."""
_ROWS = sql.STATE_COLUMNS.replace(", event_id", "").replace(", ", ", t.")
_FIND = (
    "SELECT s.tenant, s.subject, s.facts_us, s.subject_key, s.band, s.minor_until_us, s.jurisdiction, s.erased_us, "
    f"t.{_ROWS}, CAST(t.event_id AS TEXT) "
    f"FROM {_P}subject s LEFT JOIN {_P}state t ON t.bucket = s.bucket AND t.subject_key = s.subject_key "
    "WHERE s.bucket = ? AND s.erased_us IS NULL"
)
_ORDER = " ORDER BY s.tenant, s.subject"
_MINORS = f"{_FIND} AND s.band = 'minor'{_ORDER}"
_UNKNOWN = (
    f"{_FIND} AND (s.band = 'minor' OR (COALESCE(s.band, 'unknown') = 'unknown' AND s.tenant = '' "
    f"AND substr(s.subject, 1, {len(VISITOR)}) <> '{VISITOR}')){_ORDER}"
)
_ONE = f"{_FIND} AND s.tenant = ? AND s.subject = ?"
_ASKED = (
    f"{_FIND} AND EXISTS (SELECT 1 FROM {_P}state d WHERE d.bucket = s.bucket AND d.subject_key = s.subject_key "
    f"AND d.kind = 'subject' AND d.item = '{DELETION}' AND d.scope = '' AND d.actor = 'invitation'){_ORDER}"
)
_EVENT = f"SELECT body FROM {_P}event WHERE bucket = ? AND event_id = ?"
_OTHERS = (
    f"SELECT CAST(event_id AS TEXT) FROM {_P}event WHERE bucket = ? AND subject_key = ? "
    f"AND NOT (kind = 'subject' AND item IN ('{MINOR}', '{DELETION}')) ORDER BY event_id LIMIT 1"
)
_REMINDED = (
    f"SELECT MAX(recorded_us) FROM {_P}event WHERE bucket = ? AND subject_key = ? AND kind = 'subject' "
    f"AND item = '{DELETION}' AND action = 'notified'"
)


@dataclass(frozen=True, slots=True)
class Child:
    """Somebody who may be a child. `facts_us`: since when the facts are known."""

    tenant: str
    subject: str
    facts_us: int
    state: SubjectState

    @property
    def bucket(self) -> int:
        """Where the rows are."""
        return bucket_of(self.tenant, self.subject)

    @property
    def rows(self) -> tuple[Row, ...]:
        """The last answers."""
        return self.state.rows

    @property
    def key(self) -> bytes:
        """The pseudonym of the events."""
        return self.state.key or b""

    @property
    def is_visitor(self) -> bool:
        """Whether it is a browser without an account."""
        return self.subject.startswith(VISITOR)


Judge = Callable[[Tx, Child], Answer | None]


def children(database: Database, bucket: int, *, unknown: bool = False) -> list[Child]:
    """Who is a minor by what is written down; with `unknown` also accounts whose age is not known."""
    statement = _UNKNOWN if unknown else _MINORS
    return _grouped(database.read(lambda tx: tx.run(statement, (bucket,))))


def asked_to_delete(database: Database, bucket: int) -> list[Child]:
    """Of whom a deletion was required at some time."""
    return _grouped(database.read(lambda tx: tx.run(_ASKED, (bucket,))))


def child(tx: Tx, tenant: str, subject: str) -> Child | None:
    """One subject that is known and not erased."""
    found = _grouped(tx.run(_ONE, (bucket_of(tenant, subject), tenant, subject)))
    return found[0] if found else None


def had_before(tx: Tx, one: Child, refused: Row | None) -> bool:
    """Whether the ledger holds events from before a child was turned away, or any where it was not."""
    found = tx.run(_OTHERS, (one.bucket, one.key))
    return bool(found) and (refused is None or found[0][0] < refused.event_id)


def body_of(tx: Tx, event_id: str) -> dict[str, Any]:
    """What an event says; of one that carries another over to a new id, what that one says."""
    found = tx.run(_EVENT, (bucket_of_event(event_id), event_id))
    said: dict[str, Any] = json.loads(found[0][0]) if found else {}
    return body_of(tx, said["continues"]) if "continues" in said else said


def reminded_us(tx: Tx, one: Child) -> int:
    """When the host was reminded last; 0: never."""
    return int(tx.run(_REMINDED, (one.bucket, one.key))[0][0] or 0)


def delivered_to(tx: Tx, one: Child, row: Row) -> frozenset[str]:
    """The recipients whose webhook has taken the message about an answer."""
    found = tx.run(sql.LEAF_OF_EVENT, (one.bucket, row.event_id))
    messages = rows_of(tx, [found[0][0]]) if found else []
    return frozenset(m.recipient for m in messages if m.delivered_us is not None)


def record(
    writer: LedgerWriter, said: Sequence[tuple[Child, Answer]], judge: Judge
) -> list[tuple[Child, Event]]:
    """Record an answer about each, unless the judge, asked again under the subject's lock, now says otherwise."""
    acts = [(writer.act(one.tenant, one.subject, [answer]), one, answer) for one, answer in said]

    def work(tx: Tx) -> list[Event]:
        events = []
        for act, _, answer in acts:
            known, now = _locked(tx, writer, act)
            if known is not None and now is not None and judge(tx, now) == answer:
                events += writer.record_for(tx, act, known)
        return events

    children_by_id = {act.ids[0]: one for act, one, _ in acts}
    events = writer.write([act for act, _, _ in acts], work)
    return [(children_by_id[event.event_id], event) for event in events]


def start_over(
    writer: LedgerWriter, one: Child, reason: str, answers: Sequence[Answer], judge: Judge
) -> list[Event]:
    """Destroy every event of a subject, and begin again with these answers and the same facts.

    Unless the judge, asked under the subject's lock, does not name the last of them. Raises Unsealed.
    """
    end = writer.act(one.tenant, one.subject, [erased(reason)])
    begin = writer.act(one.tenant, one.subject, answers)

    def work(tx: Tx) -> list[Event]:
        known, now = _locked(tx, writer, end)
        if known is None or now is None or judge(tx, now) != answers[-1]:
            return []
        events = destroy_whole(writer, tx, end, known)
        return events + writer.record(tx, replace(begin, facts=known.facts), anew=True)

    return writer.write([begin], work)


def _locked(tx: Tx, writer: LedgerWriter, act: Act) -> tuple[Known | None, Child | None]:
    """A subject's mapping row, locked, and what is known of it now."""
    known = writer.find(tx, act.tenant, act.subject, lock=True, whole=True)
    return known, child(tx, act.tenant, act.subject)


def _grouped(rows: Rows) -> list[Child]:
    return list(_children(rows))


def _children(rows: Rows) -> Iterator[Child]:
    for (tenant, subject), group in groupby(rows, lambda row: (row[0], row[1])):
        found = list(group)
        facts_us, key, *facts = found[0][2:8]
        answers = tuple(row_of(row[8:]) for row in found if row[8] is not None)
        yield Child(tenant, subject, facts_us or 0, SubjectState(bytes(key), facts_of(facts), answers))
