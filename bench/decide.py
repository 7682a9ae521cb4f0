"""A decision for a known subject through the public API, beside the same statement on the raw driver."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from measuring import open_kit
from timing import line, turns

from consentkit.core.catalog import Catalog, Cookie, Policy, PolicyVersion, Purpose
from consentkit.core.catalog_rules import build
from consentkit.core.record import bucket_of
from consentkit.kit import Kit
from consentkit.store import sql

ROUNDS, CALLS = 100, 100


def catalog() -> Catalog:
    """Small, with one of each."""
    return build(
        purposes=[
            Purpose("stats", title="Stats", category="analytics", cookies=[Cookie("_ga*")]),
            Purpose("news", title="News"),
            Purpose("ads", title="Ads", category="marketing"),
            Purpose("mail", title="Mail", policies=["terms"]),
        ],
        policies=[Policy("terms", title="Terms", versions=[PolicyVersion("1", texts={"en": "# Terms"})])],
    )


def known(url: str) -> Kit:
    """A kit with two subjects: one with five answers, one with a single one."""
    kit = open_kit(catalog(), url)
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


def run(new: Callable[[], str]) -> None:
    """One line per question."""
    kit = known(new())
    raw, aim = raw_reader(kit), 2.2 if kit.runtime.database.postgresql else 3.0
    one, five = kit.of("one"), kit.of("five")
    questions: list[tuple[str, str, Callable[[], object]]] = [
        ("one answer, one purpose", "one", lambda: one.decide("news")),
        ("five answers, one purpose", "five", lambda: five.decide("news")),
        ("five answers, purpose and policy", "five", lambda: five.decide("mail")),
        ("five answers, refused category", "five", lambda: five.decide("marketing")),
    ]
    for what, subject, ask in questions:
        ours, beside = turns(ROUNDS, ask, raw(subject), times=CALLS)
        line(what, ours, beside, aim)
    kit.runtime.dispose()
