"""One durable answer of a known subject through the public verb, beside the same rows by the raw driver.

Both commit each answer. With many clients each is a process of its own, on both sides.
"""

from __future__ import annotations

import multiprocessing
import sqlite3
import time
from collections.abc import Callable
from typing import Any

from decide import catalog, known
from measuring import KEY
from timing import line, per_second, turns

from consentkit.core.record import bucket_of
from consentkit.kit import Kit
from consentkit.runtime import Runtime
from consentkit.store import sql
from consentkit.store.engines import SQLITE_PRAGMAS

ROUNDS, CALLS = 30, 40
CLIENTS, SECONDS = 16, 3.0
EVENT = """bucket, event_id, tenant, subject_key, kind, item, version, scope, action, actor,
recorded_us, effective_us, body, salt, commitment"""
ANY_EVENT = f"SELECT {EVENT} FROM consentkit_event WHERE bucket = ? AND event_id = ?"
ANY_STATE = "SELECT * FROM consentkit_state WHERE bucket = ? AND subject_key = ?"
FIND = "SELECT subject_key FROM consentkit_subject WHERE bucket = ? AND tenant = ? AND subject = ?"
Values = Callable[[], tuple[list[Any], list[Any], list[Any]]]


def raw_writer(kit: Kit, subject: str = "one") -> Callable[[], object]:
    """The same rows in the same transaction: the values are there already, only ids and times are new."""
    answer = kit.give(subject, "news")[0]
    bucket, read = bucket_of("", subject), kit.runtime.database.read
    found = read(lambda tx: tx.run(ANY_EVENT, (bucket, answer.event_id)))[0]
    state = read(lambda tx: tx.run(ANY_STATE, (bucket, found[3])))[0]
    mac = kit.runtime.keyed.mac(found[-1])
    clock, url = kit.runtime.clock, kit.runtime.database.engine.url

    def values() -> tuple[list[Any], list[Any], list[Any]]:
        event_id, now = clock.event_ids(bucket, 1)[0], clock.tick()
        body = [found[0], event_id, *found[2:10], now, now, *found[12:]]
        return body, [*state[:9], now, state[10], event_id], [bucket, event_id, found[-1], mac]

    if kit.runtime.database.postgresql:
        return postgresql_writer(url, values, subject)
    return sqlite_writer(url, values, subject)


def sqlite_writer(url: Any, values: Values, subject: str) -> Callable[[], object]:
    """On sqlite3."""
    connection = sqlite3.connect(url.database or "", isolation_level=None)
    for pragma in SQLITE_PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")

    def write() -> None:
        event_row, state_row, pending_row = values()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(FIND, (event_row[0], "", subject)).fetchall()
        connection.execute(sql.insert_events(1), event_row)
        connection.execute(sql.upsert_state(1), state_row)
        connection.execute(sql.insert_pending(1), pending_row)
        connection.execute("COMMIT")

    return write


def postgresql_writer(url: Any, values: Values, subject: str) -> Callable[[], object]:
    """On psycopg."""
    import psycopg

    connection = psycopg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False))
    statement = sql.append_together(1, 1).replace("?", "%s")
    find = sql.LOCK_SUBJECT.replace("?", "%s")

    def write() -> None:
        event_row, state_row, pending_row = values()
        connection.execute(find, (event_row[0], "", subject, "x")).fetchall()
        connection.execute(statement, (*event_row, *state_row, *pending_row)).fetchall()
        connection.commit()

    return write


def client(url: str, subject: str, raw: bool, go: Any, done: Any) -> None:
    """One of many, in its own process: the number of its answers."""
    kit = Kit(Runtime.of_url(catalog(), url, key=KEY))
    kit.give(subject, "news")
    write = raw_writer(kit, subject) if raw else lambda: kit.give(subject, "news")
    write()
    go.wait()
    number, end = 0, time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        write()
        number += 1
    done.put(number)


def together(url: str, raw: bool) -> float:
    """Seconds for each answer when all clients write at once."""
    context = multiprocessing.get_context("spawn")
    go, done = context.Barrier(CLIENTS), context.Queue()
    clients = [
        context.Process(target=client, args=(url, f"client-{number}", raw, go, done))
        for number in range(CLIENTS)
    ]
    for each in clients:
        each.start()
    total: int = sum(done.get() for _ in clients)
    for each in clients:
        each.join()
    return SECONDS / total


def run(new: Callable[[], str]) -> None:
    """One client; on PostgreSQL many, too: SQLite has one writer at a time."""
    url = new()
    kit = known(url)
    aim = 0.65 if kit.runtime.database.postgresql else 0.70
    ours, raw = turns(ROUNDS, lambda: kit.give("one", "news"), raw_writer(kit), times=CALLS)
    line("one answer, one client", ours, raw, aim, form=per_second, rates=True)
    if kit.runtime.database.postgresql:
        pairs = [(together(url, False), together(url, True)) for _ in range(3)]
        mine, theirs = (min(column) for column in zip(*pairs, strict=True))
        line(f"one answer, {CLIENTS} clients", mine, theirs, 0.60, form=per_second, rates=True)
    kit.runtime.dispose()
