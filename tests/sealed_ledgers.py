"""Ledgers with a log key and an anchor on either database, and somebody who attacks the database behind them."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from ledgers import KEY, ShiftedClock, Suite, catalog
from psycopg.types.string import TextLoader

from consentkit.core.catalog import Catalog
from consentkit.core.errors import LedgerBroken
from consentkit.kit import Kit
from consentkit.proof import SigningKey
from consentkit.runtime import Runtime
from consentkit.store.clock import Clock
from consentkit.store.database import Database
from consentkit.store.engines import own_engine
from consentkit.store.log_keys import ANCHOR_FILE
from consentkit.store.tables import APPEND_ONLY
from consentkit.store.verifying import Report, verify

LOG_KEY = SigningKey("consentkit-log", bytes(range(32))).private_text()
PREFIX = "consentkit_"


def open_log(
    url: str,
    folder: Path,
    what: Catalog | None = None,
    *,
    key: str = KEY,
    log_key: str | None = None,
    clock: Clock | None = None,
) -> Kit:
    """A kit that can seal: keys beside a SQLite file, settings and an anchor in `folder` for PostgreSQL."""
    engine = own_engine(url)
    sqlite = engine.dialect.name == "sqlite"
    runtime = Runtime(
        what or catalog(),
        Database(lambda: engine, owned=True),
        key=key,
        log_key=log_key or (None if sqlite else LOG_KEY),
        log_anchor=None if sqlite else str(folder / ANCHOR_FILE),
        prepare=sqlite,
        clock=clock,
    )
    if not sqlite:
        runtime.publish()
    return Kit(runtime)


def look(kit: Kit) -> Report:
    """What a verification sees; it never raises for a broken ledger."""
    runtime = kit.runtime
    return verify(runtime.database, runtime.keyed, runtime.log_keys)


def faults(report: Report) -> str:
    """All faults as text, a line each."""
    return "\n".join(f"{fault.verdict}: {fault.what} at {fault.at}" for fault in report.faults)


def assert_clean(kit: Kit) -> Report:
    report = kit.ledger.verify()
    assert not report.faults, faults(report)
    assert not report.warnings
    return report


def assert_found(kit: Kit, verdict: str, *words: str) -> Report:
    """The attack is found and named: some fault of this verdict holds all of these words."""
    with pytest.raises(LedgerBroken) as caught:
        kit.ledger.verify()
    report = caught.value.report
    assert isinstance(report, Report)
    named = [line for line in faults(report).splitlines() if line.startswith(f"{verdict}: ")]
    assert any(all(word in line for word in words) for line in named), (words, faults(report))
    assert caught.value.at == report.faults[0].at
    return report


class Attacker:
    """Writes the database directly; `armed`: with the triggers dropped before."""

    def __init__(self, url: str, *, armed: bool = True) -> None:
        parsed = sa.make_url(url)
        self.sqlite = parsed.get_backend_name() == "sqlite"
        self._connection: Any
        if self.sqlite:
            self._connection = sqlite3.connect(str(parsed.database), isolation_level=None)
            self._connection.execute("PRAGMA synchronous = OFF")  # quicker
        else:
            plain = parsed.set(drivername="postgresql").render_as_string(hide_password=False)
            self._connection = psycopg.connect(plain, autocommit=True)
            self._connection.adapters.register_loader("uuid", TextLoader)
        if armed:
            self.drop_triggers()

    def drop_triggers(self) -> None:
        """What whoever has the file can do first."""
        kinds = ("no_update", "no_delete", "no_replace" if self.sqlite else "no_truncate")
        there = self.run("SELECT name FROM sqlite_master" if self.sqlite else "SELECT tgname FROM pg_trigger")
        for table, kind in itertools.product(APPEND_ONLY, kinds):
            name, on = f"{PREFIX}{table}_{kind}", "" if self.sqlite else f" ON {PREFIX}{table}"
            if (name,) in there:
                self.run(f"DROP TRIGGER {name}{on}")

    def run(self, statement: str, *params: Any) -> list[tuple[Any, ...]]:
        """Execute `statement`; `{p}` stands for the prefix of the tables."""
        text = statement.replace("{p}", PREFIX)
        if self.sqlite:
            return list(self._connection.execute(text, params))
        cursor = self._connection.execute(text.replace("?", "%s"), params)
        return cursor.fetchall() if cursor.description else []

    def columns(self, table: str) -> list[str]:
        return [column.name for column in _table(table).columns]

    def read(self, table: str, where: str = "1 = 1", *params: Any) -> list[dict[str, Any]]:
        """Rows as dictionaries."""
        names = self.columns(table)
        found = self.run(f"SELECT {', '.join(names)} FROM {{p}}{table} WHERE {where}", *params)
        return [dict(zip(names, row, strict=True)) for row in found]

    def insert(self, table: str, row: dict[str, Any]) -> None:
        marks = ", ".join("?" * len(row))
        self.run(f"INSERT INTO {{p}}{table} ({', '.join(row)}) VALUES ({marks})", *row.values())

    def update(self, table: str, key: dict[str, Any], **new: Any) -> None:
        setting = ", ".join(f"{name} = ?" for name in new)
        where = " AND ".join(f"{name} = ?" for name in key)
        found = self.run(
            f"UPDATE {{p}}{table} SET {setting} WHERE {where} RETURNING 1", *new.values(), *key.values()
        )
        assert found == [(1,)], "the attack missed"

    def delete(self, table: str, **key: Any) -> None:
        where = " AND ".join(f"{name} = ?" for name in key)
        assert self.run(f"DELETE FROM {{p}}{table} WHERE {where} RETURNING 1", *key.values())

    def close(self) -> None:
        self._connection.close()


def _table(name: str) -> Any:
    from consentkit.store.tables import metadata

    return metadata.tables[PREFIX + name]


def primary_key(table: str) -> Sequence[str]:
    return [column.name for column in _table(table).primary_key]


class LogSuite(Suite):
    """Tests on a ledger that seals, on either database: inherit from `OnSqlite` or `OnPostgresql` first."""

    @pytest.fixture
    def kit(self, url: str, tmp_path: Path, clock: ShiftedClock) -> Iterator[Kit]:
        kit = open_log(url, tmp_path, clock=clock)
        kit.runtime.ensure()
        yield kit
        kit.runtime.dispose()

    @pytest.fixture
    def attacker(self, kit: Kit, url: str) -> Iterator[Attacker]:
        attacker = Attacker(url)
        yield attacker
        attacker.close()
