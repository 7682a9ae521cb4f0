"""A decision for a known subject through the public API, beside the same statement on the raw driver.

    .venv/bin/python bench/gate.py [postgresql://user@host/empty_database]

Both take turns in one run on one machine: trust the ratio, not the microseconds.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from consentkit.core.catalog import Cookie, Policy, PolicyVersion, Purpose
from consentkit.core.catalog_rules import build
from consentkit.core.record import bucket_of
from consentkit.kit import Kit
from consentkit.runtime import Runtime
from consentkit.store import sql

ROUNDS, CALLS = 100, 100


def timed(work: Callable[[], object]) -> float:
    """Microseconds per call."""
    start = time.perf_counter()
    for _ in range(CALLS):
        work()
    return (time.perf_counter() - start) / CALLS * 1e6


def compare(what: str, ours: Callable[[], object], raw: Callable[[], object]) -> None:
    """Take turns, and print the best round of each: others that use the machine only add to a time."""
    pairs = [(timed(ours), timed(raw)) for _ in range(ROUNDS)]
    mine, theirs = (min(column) for column in zip(*pairs, strict=True))
    ratio = mine / theirs
    print(f"{what:34} {mine:8.1f} us   raw {theirs:8.1f} us   ratio {ratio:5.2f}")


def open_kit(url: str) -> Kit:
    """A kit with a small catalogue and two subjects: one with five answers, one with a single one."""
    catalog = build(
        purposes=[
            Purpose("stats", title="Stats", category="analytics", cookies=[Cookie("_ga*")]),
            Purpose("news", title="News"),
            Purpose("ads", title="Ads", category="marketing"),
            Purpose("mail", title="Mail", policies=["terms"]),
        ],
        policies=[Policy("terms", title="Terms", versions=[PolicyVersion("1", texts={"en": "# Terms"})])],
    )
    runtime = Runtime.of_url(catalog, url, key="k" * 64, prepare=False)
    runtime.upgrade()
    runtime.publish()
    kit = Kit(runtime)
    kit.give("one", "news")
    kit.choose("five", give=["stats", "news", "mail"], refuse=["ads"])
    kit.accept("five", "terms")
    return kit


def raw_reader(kit: Kit) -> Callable[[str], Callable[[], object]]:
    """The gate's own statement on a connection of the driver that is held open."""
    url = kit.runtime.database.engine.url
    connection: Any
    if kit.runtime.database.postgresql:
        import psycopg

        connection = psycopg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False))
        connection.autocommit = True
        statement = sql.FIND_STATE.replace("?", "%s")
    else:
        connection, statement = sqlite3.connect(url.database or ""), sql.FIND_STATE

    def reader(subject: str) -> Callable[[], object]:
        params, cursor = (bucket_of("", subject), "", subject), connection.cursor()
        return lambda: cursor.execute(statement, params).fetchall()

    return reader


def main() -> None:
    """Print one line per question."""
    with tempfile.TemporaryDirectory() as folder:
        kit = open_kit(sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder}/ledger.db")
        raw = raw_reader(kit)
        one, five = kit.of("one"), kit.of("five")
        compare("one answer, one purpose", lambda: one.decide("news"), raw("one"))
        compare("five answers, one purpose", lambda: five.decide("news"), raw("five"))
        compare("five answers, purpose and policy", lambda: five.decide("mail"), raw("five"))
        compare("five answers, refused category", lambda: five.decide("marketing"), raw("five"))
        kit.runtime.dispose()


if __name__ == "__main__":
    main()
