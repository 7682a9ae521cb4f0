"""Many subjects with answers, written past the verbs as they write them, but without events."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from consentkit.core.record import bucket_of
from consentkit.kit import Kit

Row = tuple[Any, ...]
SUBJECT = "bucket, tenant, subject, subject_key, salt, band, minor_until_us, jurisdiction, facts_us"
STATE = "bucket, subject_key, kind, item, scope, actor, status, version, level, effective_us, event_id"


def fill(kit: Kit, subjects: int, person: Callable[[int], tuple[Row, Iterable[Row]]]) -> None:
    """Write so many. `person`: band, minor_until_us, jurisdiction and facts_us; and rows of state from `kind` on."""
    buckets: dict[int, list[int]] = {}
    for number in range(subjects):
        buckets.setdefault(bucket_of("", f"u-{number}"), []).append(number)
    with kit.runtime.database.connection() as connection:
        driver: Any = connection.connection.dbapi_connection
        for bucket in sorted(buckets):  # in the order of the keys: rows at random places take ages
            people: list[Row] = []
            said: list[Row] = []
            for number in buckets[bucket]:
                key = uuid.uuid4().bytes
                facts, answers = person(number)
                people.append((bucket, "", f"u-{number}", key, key * 2, *facts))
                said += [(bucket, key, *answer, uuid.uuid4()) for answer in answers]
            _write(kit, driver, "subject", SUBJECT, sorted(people))
            _write(kit, driver, "state", STATE, sorted(said))
        driver.commit()
    if kit.runtime.database.postgresql:
        analyze(kit)


def analyze(kit: Kit) -> None:
    """As autovacuum does some seconds later."""
    with kit.runtime.database.engine.connect() as connection:
        driver: Any = connection.connection.dbapi_connection
        connection.rollback()
        driver.autocommit = True
        driver.execute("VACUUM ANALYZE")
        driver.autocommit = False


def _write(kit: Kit, driver: Any, table: str, columns: str, rows: list[Row]) -> None:
    if kit.runtime.database.postgresql:
        with driver.cursor().copy(f"COPY consentkit_{table} ({columns}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
    elif rows:
        marks = ", ".join("?" * len(rows[0]))
        statement = f"INSERT INTO consentkit_{table} ({columns}) VALUES ({marks})"
        driver.executemany(statement, list(_texts(rows)))


def _texts(rows: list[Row]) -> Iterator[Row]:
    return (tuple(str(v) if isinstance(v, uuid.UUID) else v for v in row) for row in rows)
