"""A ledger with one of everything, made once per run and copied for each attack; and tools to forge it."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledgers import ShiftedClock
from sealed_ledgers import Attacker, open_log

from consentkit.core.merkle import Frontier, leaf_hash
from consentkit.core.record import bucket_of, commitment, restricted_jcs
from consentkit.kit import Kit
from consentkit.proof import Checkpoint, SigningKey, sign_checkpoint
from consentkit.store.clock import Clock
from consentkit.store.tables import metadata

CROWD = 258
Row = dict[str, Any]


def fill(kit: Kit, clock: ShiftedClock) -> None:
    """Everybody does something; three checkpoints; the last event waits to be sealed."""
    kit.give("ann", "news", method="form", notice=kit.notice("en").digest)
    kit.accept("ann", "terms")
    kit.withdraw("ann", "news")
    for number in range(CROWD):
        kit.refuse(f"crowd-{number % 20}", "news")
    kit.ledger.seal()
    kit.give("bob", ["news", "stats"])
    kit.give("eve", "news")
    kit.restrict("eve")
    kit.give("cyd", "news")
    kit.give("dan", ["news", "stats"])
    kit.accept("dan", "terms")
    kit.ledger.seal()
    kit.erase("cyd")
    kit.give("cyd", "ads")  # comes back: the old mapping row is hidden
    kit.erase("dan", mode="destroy")
    kit.erase("bob")
    kit.ledger.seal()
    kit.give("pat", "news")


@dataclass
class Scene:
    """A copy of the ledger, a kit on it, and somebody who attacks it."""

    url: str
    folder: Path
    kit: Kit
    attacker: Attacker

    def row_of(self, subject: str) -> Row:
        """The mapping row by the plain id."""
        bucket = bucket_of("", subject)
        (row,) = self.attacker.read("subject", "bucket = ? AND subject = ?", bucket, subject)
        return row

    def event(self, subject: str, action: str) -> Row:
        """The first event of a subject with this action."""
        row = self.row_of(subject)
        where = "bucket = ? AND subject_key = ? AND action = ? ORDER BY event_id"
        return self.attacker.read("event", where, row["bucket"], row["subject_key"], action)[0]

    def record(self) -> Row:
        """The record that lists what was destroyed."""
        rows = self.attacker.read("event", "action = 'erased'")
        return next(row for row in rows if "leaves" in json.loads(row["body"]))

    def leaf(self, event: Row) -> Row:
        where = "bucket = ? AND event_id = ?"
        return self.attacker.read("leaf", where, event["bucket"], event["event_id"])[0]

    def forge(self, event: Row, **said: Any) -> Row:
        """An event like another one that says something else, right in itself."""
        body = json.loads(event["body"]) | said
        text = restricted_jcs(body)
        named = {name: body[name] for name in event if name in body and name != "subject_key"}
        return event | named | {"body": text, "commitment": commitment(event["salt"], text)}

    def new_id(self, event: Row) -> str:
        return Clock().event_ids(event["bucket"], 1)[0]

    def replace_event(self, event: Row) -> None:
        """Overwrite a row."""
        new = {k: v for k, v in event.items() if k not in ("bucket", "event_id")}
        self.attacker.update("event", key(event), **new)

    def rebuild(self, signer: SigningKey | None = None, sizes: tuple[int, ...] | None = None) -> None:
        """Compute everything without a key again, from the events; with `signer` the checkpoints as well."""
        run = self.attacker.run
        stored = {row["event_id"]: row["commitment"] for row in self.attacker.read("event")}
        hashes = []
        for leaf in self.attacker.read("leaf", "1 = 1 ORDER BY leaf_index"):
            if leaf["event_id"] in stored:
                leaf["hash"] = leaf_hash(stored[leaf["event_id"]])
                run("UPDATE {p}leaf SET hash = ? WHERE leaf_index = ?", leaf["hash"], leaf["leaf_index"])
            hashes.append(leaf["hash"])
        frontier, tiles = Frontier().extend(hashes)
        run("DELETE FROM {p}node")
        for tile in tiles:
            run("INSERT INTO {p}node (level, idx, hash) VALUES (?, ?, ?)", tile.level, tile.index, tile.hash)
        run("UPDATE {p}head SET size = ?, frontier = ?", frontier.size, frontier.to_bytes())
        if signer is None:
            return
        origin = self.attacker.read("head")[0]["origin"]
        for (size,) in run("SELECT tree_size FROM {p}checkpoint"):
            root = Frontier().append(hashes[:size]).root()
            note = sign_checkpoint(Checkpoint(origin, size, root), signer)
            run("UPDATE {p}checkpoint SET note = ? WHERE tree_size = ?", note, size)

    def close(self) -> None:
        self.attacker.close()
        self.kit.runtime.dispose()


def key(row: Row) -> Row:
    """The key of an event, or of what is keyed by one."""
    return {"bucket": row["bucket"], "event_id": row["event_id"]}


@contextmanager
def scene(url: str, folder: Path) -> Iterator[Scene]:
    made = Scene(url, folder, open_log(url, folder, clock=ShiftedClock()), Attacker(url, armed=False))
    try:
        yield made
    finally:
        made.close()


def build_sqlite(folder: Path) -> Path:
    """The folder of a filled SQLite ledger, in one file."""
    clock = ShiftedClock()
    kit = open_log(f"sqlite:///{folder}/ledger.sqlite3", folder, clock=clock)
    fill(kit, clock)
    kit.runtime.dispose()
    with sqlite3.connect(folder / "ledger.sqlite3") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return folder


def build_postgresql(url: str, folder: Path) -> None:
    """Fill a PostgreSQL ledger; its anchor is in `folder`."""
    clock = ShiftedClock()
    kit = open_log(url, folder, clock=clock)
    fill(kit, clock)
    kit.runtime.dispose()


TABLES = [table.name for table in metadata.sorted_tables]


def keep_copy(url: str) -> None:
    """Keep every row of a PostgreSQL ledger, to be put back by `put_back`: quicker than a new database."""
    keeper = Attacker(url)
    for name in TABLES:
        keeper.run(f"CREATE TABLE kept_{name} AS TABLE {name}")
    keeper.close()


def put_back(url: str) -> None:
    keeper = Attacker(url, armed=False)
    keeper.run(
        "; ".join(f"DELETE FROM {name}; INSERT INTO {name} SELECT * FROM kept_{name}" for name in TABLES)
    )
    keeper.close()


def copy_folder(source: Path, target: Path) -> None:
    shutil.copytree(source, target, dirs_exist_ok=True)


def flipped(value: Any, position: int, bit: int) -> Any:
    """A value with one bit changed: bytes and text by their bytes, a number in its lowest 15 bits."""
    if isinstance(value, int):
        return value ^ 1 << position % 15
    data = bytearray(value.encode() if isinstance(value, str) else value)
    data[position % len(data)] ^= 1 << bit
    return data.decode("utf-8", "surrogateescape") if isinstance(value, str) else bytes(data)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
