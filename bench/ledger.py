"""Sealing and verifying, beside loops on the raw driver that do the same SQL and the same hashes.

`bare` reads and moves the rows without looking at them.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import sqlite3
from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Any

from measuring import KEY, open_kit
from timing import line, per_second, seconds, turns

from consentkit.core.catalog import Purpose
from consentkit.core.catalog_rules import build
from consentkit.core.merkle import Frontier
from consentkit.core.record import Answer
from consentkit.core.terms import Action, Kind
from consentkit.kit import Kit
from consentkit.store import sealing
from consentkit.store.engines import SQLITE_PRAGMAS
from consentkit.store.keys import Keyed
from consentkit.store.verifying_events import _COLUMNS, _EVENTS, _STATE, _SUBJECTS

ROUNDS, PER_SUBJECT = 3, 4
RECORD, SUBJECT = b"consentkit/v1/record\0", b"consentkit/v1/subject\0"
sha256 = hashlib.sha256


def fill(kit: Kit, events: int) -> None:
    """Four answers of each subject."""
    said = [Answer(Kind.PURPOSE, f"p{n}", Action.GIVEN, "1", 1, method="form") for n in range(PER_SUBJECT)]
    for number in range(events // PER_SUBJECT):
        kit.runtime.writer.append("", f"subject-{number}", said)


class Raw:
    """The driver, with the same settings."""

    def __init__(self, kit: Kit) -> None:
        url = kit.runtime.database.engine.url
        self.postgresql = kit.runtime.database.postgresql
        self.connection: Any
        if self.postgresql:
            import psycopg

            plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
            self.connection = psycopg.connect(plain)
        else:
            self.connection = sqlite3.connect(url.database or "", isolation_level=None)
            for pragma in SQLITE_PRAGMAS:
                self.connection.execute(f"PRAGMA {pragma}")
        for name in ("leaf", "node"):
            on = f" ON consentkit_{name}" if self.postgresql else ""
            self.run(f"DROP TRIGGER consentkit_{name}_no_delete{on}")
        self.commit()
        self.waiting = self.run("SELECT bucket, event_id, commitment, mac FROM consentkit_pending").fetchall()
        self.commit()

    def run(self, statement: str, params: Any = ()) -> Any:
        return self.connection.execute(statement.replace("?", "%s") if self.postgresql else statement, params)

    def begin(self) -> None:
        if not self.postgresql:
            self.connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        if self.postgresql or self.connection.in_transaction:
            self.connection.commit()

    def many(self, table: str, columns: str, rows: list[tuple[Any, ...]]) -> None:
        if self.postgresql:
            with self.connection.cursor().copy(f"COPY consentkit_{table} ({columns}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
        else:
            marks = ", ".join("?" * len(rows[0]))
            self.connection.executemany(f"INSERT INTO consentkit_{table} ({columns}) VALUES ({marks})", rows)

    def reset(self) -> None:
        """Everything waits again."""
        self.begin()
        for table in ("leaf", "node", "checkpoint", "head", "pending"):
            self.run(f"DELETE FROM consentkit_{table}")
        self.many("pending", "bucket, event_id, commitment, mac", self.waiting)
        self.commit()
        if self.postgresql:
            self.connection.autocommit = True
            for table in ("leaf", "pending"):
                self.run(f"VACUUM ANALYZE consentkit_{table}")
            self.connection.autocommit = False

    def stream(self, statement: str) -> Iterator[tuple[Any, ...]]:
        if self.postgresql:
            cursor = self.connection.cursor(name="bench")
            cursor.itersize = 5000
            cursor.execute(statement, binary=True)
        else:
            cursor = self.connection.execute(statement)
        while rows := cursor.fetchmany(5000):
            yield from rows
        cursor.close()


def seal(raw: Raw, *, checks: bool) -> int:
    """Batches of the sealer's size: read, check, hash, insert, delete, commit."""
    key, frontier, total = KEY.encode(), Frontier(), 0
    bare = (
        "SELECT bucket, CAST(event_id AS TEXT), commitment FROM consentkit_pending ORDER BY bucket, event_id"
    )
    statement = sealing._PENDING.format(after="") if checks else f"{bare} LIMIT ?"
    while True:
        raw.begin()
        rows = raw.run(statement, (sealing.BATCH,)).fetchall()
        if not rows:
            raw.commit()
            return total
        if checks:
            for _, _, waiting, mac, stored, salt, body, _ in rows:
                assert waiting == stored == sha256(RECORD + salt + body.encode()).digest()
                assert hmac.compare_digest(hmac.digest(key, waiting, "sha256"), mac)
        hashes = [sha256(b"\0" + row[2]).digest() for row in rows]
        frontier, tiles = frontier.extend(hashes)
        leaves = [(total + n, row[0], row[1], hashes[n]) for n, row in enumerate(rows)]
        raw.many("leaf", "leaf_index, bucket, event_id, hash", leaves)
        if tiles:
            raw.many("node", "level, idx, hash", [(t.level, t.index, t.hash) for t in tiles])
        _delete(raw, rows)
        raw.commit()
        total += len(rows)


def _delete(raw: Raw, rows: list[tuple[Any, ...]]) -> None:
    if raw.postgresql:
        raw.run(
            "DELETE FROM consentkit_pending p USING unnest(?::smallint[], ?::uuid[]) AS d(b, e) "
            "WHERE p.bucket = d.b AND p.event_id = d.e",
            ([row[0] for row in rows], [row[1] for row in rows]),
        )
    else:
        statement = "DELETE FROM consentkit_pending WHERE bucket = ? AND event_id = ?"
        raw.connection.executemany(statement, [row[:2] for row in rows])


def verify(raw: Raw) -> int:
    """Every leaf into the tree; every event, state and mapping row read once, and hashed or compared."""
    columns, total = itemgetter("bucket", "subject_key", "event_id", *_COLUMNS), 0
    leaves = [row[0] for row in raw.stream("SELECT hash FROM consentkit_leaf ORDER BY leaf_index")]
    assert Frontier().append(leaves).size == len(leaves)
    for row in raw.stream(_EVENTS):
        assert sha256(RECORD + row[3] + row[2].encode()).digest() == row[4]
        assert sha256(b"\0" + row[4]).digest() == row[5]
        assert (row[0], row[1].hex(), *row[8:]) == columns(json.loads(row[2]))
        total += 1
    assert sum(1 for _ in raw.stream(_STATE)) == total
    for _, key, tenant, subject, salt, _ in raw.stream(_SUBJECTS):
        assert sha256(SUBJECT + salt + f"{tenant}\0{subject}".encode()).digest()[:16] == key
    raw.commit()
    return total


def run(new: Callable[[], str], events: int) -> None:
    """Seal, then verify, what some verbs have written."""
    catalog = build(purposes=[Purpose(f"p{n}", title=f"P{n}") for n in range(PER_SUBJECT)])
    kit = open_kit(catalog, new())
    assert isinstance(kit.runtime.keyed, Keyed)
    fill(kit, events)
    raw = Raw(kit)
    same, bare, ours = [], [], []
    for _ in range(ROUNDS):
        same.append(seconds(lambda: seal(raw, checks=True)) / events)
        raw.reset()
        bare.append(seconds(lambda: seal(raw, checks=False)) / events)
        raw.reset()
        ours.append(seconds(kit.ledger.seal) / events)
        raw.reset()
    line("seal", min(ours), min(same), 0.8, form=per_second, rates=True)
    line("seal", min(ours), min(bare), form=per_second, rates=True, name="bare")
    kit.ledger.seal()
    mine, theirs = turns(ROUNDS, kit.ledger.verify, lambda: verify(raw))
    line("verify", mine / events, theirs / events, 0.7, form=per_second, rates=True)
    kit.runtime.dispose()
