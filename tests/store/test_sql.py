"""The rules that keep the schema ready for a distributed PostgreSQL, on the metadata and on recorded SQL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from ledgers import OnPostgresql, OnSqlite, Suite
from sqlalchemy.dialects import postgresql

from consentkit.kit import Kit
from consentkit.store import schema
from consentkit.store.database import Database, Tx
from consentkit.store.tables import BUCKETED, PREFIX, metadata

PER_SUBJECT = [metadata.tables[PREFIX + name] for name in BUCKETED]
FOR_THE_HOST = {f"{PREFIX}subject_of_host"}
"""Indexes for queries of the host's, which know no bucket: local to each node, and not unique."""


@pytest.mark.parametrize("table", PER_SUBJECT, ids=str)
def test_bucket_leads_every_key(table: sa.Table) -> None:
    assert table.primary_key.columns.keys()[0] == "bucket"
    for index in table.indexes:
        assert index.columns.keys()[0] == "bucket" or index.name in FOR_THE_HOST
        assert not index.unique
    assert not [c for c in table.constraints if isinstance(c, sa.UniqueConstraint)]


def test_nothing_counts_up_by_itself_and_nothing_points_out() -> None:
    ddl = "\n".join(schema.statements(postgresql.dialect())).upper()
    for word in ("SERIAL", "IDENTITY", "SEQUENCE", "NEXTVAL", "TEMP", "ADVISORY", "LISTEN", "REFERENCES"):
        assert not re.search(rf"\b\w*{word}\b", ddl), word
    for table in metadata.tables.values():
        assert not table.foreign_keys
        assert table.name.startswith(PREFIX)


def test_the_state_stays_hot() -> None:
    """No INCLUDE, no partial index, no index beside the key: HOT updates would end."""
    state = metadata.tables[f"{PREFIX}state"]
    assert not state.indexes
    assert "WITH (fillfactor = 70)" in "\n".join(schema.statements(postgresql.dialect()))


class Recorded(Suite):
    @contextmanager
    def recording(self, kit: Kit, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
        """Every statement that goes through a transaction or a reader."""
        said: list[str] = []
        database = kit.runtime.database

        class Spy:
            def __init__(self, tx: Tx) -> None:
                self.tx = tx

            def run(self, sql: str, params: object = ()) -> object:
                said.append(sql)
                return self.tx.run(sql, params)  # type: ignore[arg-type]

            def count(self, sql: str, params: object = ()) -> int:
                said.append(sql)
                return self.tx.count(sql, params)  # type: ignore[arg-type]

        for name in ("read", "write"):
            real = getattr(Database, name)

            def spying(self: Database, work: object, *rest: object, real: object = real) -> object:
                return real(self, lambda tx: work(Spy(tx)), *rest)  # type: ignore[operator]

            monkeypatch.setattr(Database, name, spying)
        assert database is kit.runtime.database
        yield said

    def test_every_statement_about_subjects_carries_the_bucket(
        self, kit: Kit, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with self.recording(kit, monkeypatch) as said:
            kit.give("u-1", "analytics")
            kit.withdraw("u-1", "stats")
            kit.accept("u-1", "terms")
            kit.learn("u-1", jurisdiction="DE")
            event = next(kit.ledger.events(subject="u-1", item="stats"))
            kit.ledger.event(event.event_id)
            kit.of("u-1").decide("news")
            kit.decide_many(["u-1", "u-2"], "news")
            kit.rename("u-1", "u-2")
            kit.erase("u-2")
            kit.give("u-2", "news")
            kit.export("u-2")
        about = [s for s in said if re.search(rf"{PREFIX}({'|'.join(BUCKETED)})\b", s)]
        assert len(about) > 20
        for statement in about:
            for part in re.split(r"\bWITH\b|\), \w+ AS \(", statement):
                if "WHERE" in part and "INSERT" not in part:
                    assert re.search(r"WHERE (\w\.)?bucket = \?", part), statement
                if "INSERT INTO" in part:
                    assert re.search(r"\(bucket, ", part), statement
                    assert "ON CONFLICT (bucket, " in part, statement

    def test_times_are_parameters(self, kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
        with self.recording(kit, monkeypatch) as said:
            kit.give("u-1", "news")
            kit.erase("u-1")
        for statement in said:
            assert not re.search(r"\bnow\(|current_|clock_|datetime\(|\d{6,}", statement, re.IGNORECASE)


class TestSqlite(OnSqlite, Recorded): ...


class TestPostgresql(OnPostgresql, Recorded): ...
