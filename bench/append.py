"""One durable answer of a known subject through the public verb, beside the same rows by the raw driver.

    .venv/bin/python bench/append.py [postgresql://user@host/empty_database]

Both commit each answer and take turns in one run on one disk: trust the ratio. A server with fsync off
does not count.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from gate import open_kit

from consentkit.core.record import bucket_of
from consentkit.kit import Kit
from consentkit.store import sql
from consentkit.store.engines import SQLITE_PRAGMAS

ROUNDS, CALLS = 30, 40


def rate(work: Callable[[], object]) -> float:
    """Calls per second."""
    start = time.perf_counter()
    for _ in range(CALLS):
        work()
    return CALLS / (time.perf_counter() - start)


EVENT = """bucket, event_id, tenant, subject_key, kind, item, version, scope, action, actor,
recorded_us, effective_us, body, salt, commitment"""
ANY_EVENT = f"SELECT {EVENT} FROM consentkit_event WHERE bucket = ? AND event_id = ?"
ANY_STATE = "SELECT * FROM consentkit_state WHERE bucket = ? AND subject_key = ?"
FIND = "SELECT subject_key FROM consentkit_subject WHERE bucket = ? AND tenant = ? AND subject = ?"


def raw_writer(kit: Kit) -> Callable[[], object]:
    """The same rows in the same transaction: the values are there already, only ids and times are new."""
    answer = kit.give("one", "news")[0]
    bucket, read = bucket_of("", "one"), kit.runtime.database.read
    found = read(lambda tx: tx.run(ANY_EVENT, (bucket, answer.event_id)))[0]
    state = read(lambda tx: tx.run(ANY_STATE, (bucket, found[3])))[0]
    mac = kit.runtime.keyed.mac(found[-1])
    clock, url = kit.runtime.clock, kit.runtime.database.engine.url

    def values() -> tuple[list[Any], list[Any], list[Any]]:
        event_id, now = clock.event_ids(bucket, 1)[0], clock.tick()
        body = [found[0], event_id, *found[2:10], now, now, *found[12:]]
        return body, [*state[:9], now, state[10], event_id], [bucket, event_id, found[-1], mac]

    if kit.runtime.database.postgresql:
        return postgresql_writer(url, values)
    connection = sqlite3.connect(url.database or "", isolation_level=None)
    for pragma in SQLITE_PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")

    def write() -> None:
        event_row, state_row, pending_row = values()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(FIND, (bucket, "", "one")).fetchall()
        connection.execute(sql.insert_events(1), event_row)
        connection.execute(sql.upsert_state(1), state_row)
        connection.execute(sql.insert_pending(1), pending_row)
        connection.execute("COMMIT")

    return write


def postgresql_writer(
    url: Any, values: Callable[[], tuple[list[Any], list[Any], list[Any]]]
) -> Callable[[], object]:
    """The same on psycopg."""
    import psycopg

    connection = psycopg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False))
    statement = sql.append_together(1, 1).replace("?", "%s")
    find = sql.LOCK_SUBJECT.replace("?", "%s")

    def write() -> None:
        event_row, state_row, pending_row = values()
        connection.execute(find, (event_row[0], "", "one", "x")).fetchall()
        connection.execute(statement, (*event_row, *state_row, *pending_row)).fetchall()
        connection.commit()

    return write


def main() -> None:
    """Print one line."""
    with tempfile.TemporaryDirectory(dir=".") as folder:
        kit = open_kit(sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder}/ledger.db")
        raw = raw_writer(kit)
        pairs = [(rate(lambda: kit.give("one", "news")), rate(raw)) for _ in range(ROUNDS)]
        mine, theirs = (max(column) for column in zip(*pairs, strict=True))
        print(f"one answer, durable {mine:8.0f}/s   raw {theirs:8.0f}/s   ratio {mine / theirs:5.2f}")
        kit.runtime.dispose()


if __name__ == "__main__":
    main()
