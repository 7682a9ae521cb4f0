"""A catalogue with one of everything, kits on it, and the two databases as mix-ins for a test class."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from consentkit.core.catalog import (
    Bundle,
    Catalog,
    Cookie,
    MinorRules,
    Party,
    Policy,
    PolicyVersion,
    Purpose,
)
from consentkit.core.catalog_rules import build
from consentkit.core.terms import Basis
from consentkit.core.webhooks import Webhooks
from consentkit.kit import Kit
from consentkit.proof.note import SigningKey
from consentkit.runtime import Runtime
from consentkit.store.clock import Clock, system_us
from consentkit.store.database import Database
from consentkit.store.engines import own_engine

KEY = "k" * 64
LOG_KEY = SigningKey("consentkit-log", b"l" * 32).private_text()

TERMS = PolicyVersion("1", effective=datetime(2020, 1, 1, tzinfo=UTC), texts={"en": "# Terms", "de": "# AGB"})


def catalog(**more: Any) -> Catalog:
    """One of everything; `more` replaces arguments of `build`."""
    parts: dict[str, Any] = {
        "purposes": [
            Purpose("account", title="Account", basis=Basis.CONTRACT, core=True),
            Purpose("books", title="Books for the tax office", basis=Basis.LEGAL_OBLIGATION),
            Purpose("news", title="News"),
            Purpose("stats", title="Stats", category="analytics", cookies=[Cookie("_ga*")]),
            Purpose("heatmap", title="Heatmap", category="analytics"),
            Purpose("transfer", title="Transfer", category="analytics", separate=True),
            Purpose("quote", title="Quote", scoped=True),
            Purpose("ads", title="Ads", category="marketing", signals=["gpc"]),
        ],
        "parties": [Party("mailer", name="Mailer")],
        "policies": [
            Policy("terms", title="Terms", versions=[TERMS]),
            Policy("privacy", title="Privacy", versions=[PolicyVersion("1", texts={"en": "# Privacy"})]),
        ],
        "bundles": [Bundle("sign_in", ["terms", "privacy"])],
    }
    return build(**(parts | more))


CHILDREN = MinorRules(age=16)


class ShiftedClock(Clock):
    """A clock that can be moved: `clock.shift_us += 60_000_000`."""

    def __init__(self, shift_us: int = 0) -> None:
        self.shift_us = shift_us
        super().__init__(lambda: system_us() + self.shift_us)


def make_tables(url: str) -> None:
    """What `flask consent upgrade` does."""
    engine = own_engine(url)
    Runtime(catalog(), Database(lambda: engine, owned=True), key=KEY).upgrade()
    engine.dispose()


def open_kit(
    url: str,
    what: Catalog | None = None,
    *,
    clock: Clock | None = None,
    publish: bool = True,
    webhooks: Webhooks | None = None,
) -> Kit:
    """A kit on a database that has its tables, or on a new SQLite file."""
    engine = own_engine(url)
    database = Database(lambda: engine, owned=True)
    log_key = None if engine.dialect.name == "sqlite" else LOG_KEY
    runtime = Runtime(what or catalog(), database, key=KEY, log_key=log_key, clock=clock, webhooks=webhooks)
    if publish:
        if engine.dialect.name == "sqlite":
            runtime.upgrade()
        runtime.publish()
    return Kit(runtime)


class OnSqlite:
    """The database of a test class."""

    @pytest.fixture
    def url(self, sqlite_url: str) -> str:
        return sqlite_url


class OnPostgresql:
    """The database of a test class."""

    @pytest.fixture
    def url(self, pg_url: str) -> str:
        return pg_url


class Suite:
    """Tests that run on either database: inherit from one of the two above first."""

    @pytest.fixture
    def clock(self) -> ShiftedClock:
        return ShiftedClock()

    @pytest.fixture
    def kit(self, url: str, clock: ShiftedClock) -> Iterator[Kit]:
        kit = open_kit(url, clock=clock)
        yield kit
        kit.runtime.dispose()


def rows(kit: Kit, statement: str, *params: Any) -> list[tuple[Any, ...]]:
    """What a statement finds in the ledger's database; `?` marks."""
    return kit.runtime.database.read(lambda tx: tx.run(statement, params))


@contextmanager
def made(pg_url: str, how: str) -> Iterator[str]:
    """An empty database on the same server."""
    name = f"t{uuid.uuid4().hex}"
    admin = sa.create_engine(pg_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} {how}")
    yield sa.make_url(pg_url).set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    admin.dispose()
