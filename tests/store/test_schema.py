"""Schema steps: once, in order, fresh equals upgraded; databases that cannot be used are refused, untouched."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from ledgers import KEY, OnSqlite, catalog, made

from consentkit import ConsentKitError, SchemaOutdated, StoreUnavailable
from consentkit.kit import Kit
from consentkit.runtime import Runtime
from consentkit.store import schema
from consentkit.store.database import Database
from consentkit.store.engines import own_engine
from consentkit.store.tables import metadata

SQLITE_DUMP = """
SELECT m.name, c.cid, c.name, c.type, c."notnull", c.dflt_value, c.pk
FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table'
UNION ALL SELECT name, -1, type, sql, 0, NULL, 0 FROM sqlite_master WHERE type <> 'table'
UNION ALL SELECT name, -2, type, wr, strict, NULL, 0 FROM pragma_table_list WHERE type = 'table'
ORDER BY 1, 2
"""
POSTGRESQL_DUMP = """
SELECT attrelid::regclass::text AS what, attnum, attname::text, format_type(atttypid, atttypmod), attnotnull::text
FROM pg_attribute WHERE attnum > 0 AND attrelid::regclass::text LIKE 'consentkit%%'
UNION ALL SELECT indexrelid::regclass::text, -1, '', pg_get_indexdef(indexrelid), '' FROM pg_index
WHERE indexrelid::regclass::text LIKE 'consentkit%%'
UNION ALL SELECT tgname::text, -2, '', pg_get_triggerdef(oid), tgenabled::text FROM pg_trigger
UNION ALL SELECT relname::text, -3, relkind::text, reloptions::text, '' FROM pg_class
WHERE relname LIKE 'consentkit%%'
ORDER BY 1, 2
"""


def dump(engine: sa.Engine) -> list[tuple[object, ...]]:
    """Columns in their order, indexes, triggers and table options."""
    with engine.connect() as connection:
        query = SQLITE_DUMP if engine.dialect.name == "sqlite" else POSTGRESQL_DUMP
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def install_up_to(engine: sa.Engine, step: int) -> None:
    """The tables as a consentkit of that step made them."""
    with engine.begin() as connection:
        for number in range(1, step + 1):
            for statement in schema.STEPS[number](engine.dialect):
                connection.exec_driver_sql(statement.replace("%", "%%"))
            connection.exec_driver_sql(f"INSERT INTO consentkit_schema VALUES ({number}, 0)")


class SchemaSuite:
    """Runs on either database."""

    @pytest.fixture
    def runtime(self, url: str) -> Runtime:
        engine = own_engine(url)
        return Runtime(catalog(), Database(lambda: engine, owned=True), key=KEY)

    def names(self, runtime: Runtime) -> set[str]:
        return set(sa.inspect(runtime.database.engine).get_table_names())

    def test_applied_once(self, runtime: Runtime) -> None:
        assert runtime.upgrade() == tuple(schema.STEPS)
        assert runtime.upgrade() == ()
        assert self.names(runtime) >= set(metadata.tables)
        runtime.dispose()

    @pytest.mark.parametrize("step", list(schema.STEPS)[:-1])
    def test_an_upgraded_one_is_like_a_fresh_one(self, runtime: Runtime, step: int, other_url: str) -> None:
        engine, other = runtime.database.engine, own_engine(other_url)
        install_up_to(engine, step)
        before = dump(engine)
        assert runtime.upgrade() == tuple(n for n in schema.STEPS if n > step)
        assert dump(engine) != before
        fresh = Runtime(catalog(), Database(lambda: other, owned=True), key=KEY)
        assert fresh.upgrade() == tuple(schema.STEPS)
        assert len(dump(other)) > 100
        assert dump(other) == dump(engine)
        fresh.dispose()
        runtime.dispose()

    def test_a_table_of_somebody_else_is_left_alone(self, runtime: Runtime) -> None:
        with runtime.database.engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE consentkit_event (id integer)")
        before = self.names(runtime)
        with pytest.raises(ConsentKitError, match="consentkit_event that consentkit did not make"):
            runtime.upgrade()
        assert self.names(runtime) == before
        runtime.dispose()

    def test_a_newer_schema_is_refused_and_blocks(self, runtime: Runtime) -> None:
        runtime.upgrade()
        runtime.publish()
        with runtime.database.engine.begin() as connection:
            connection.exec_driver_sql("INSERT INTO consentkit_schema VALUES (999, 0)")
        with pytest.raises(SchemaOutdated, match="install the newer consentkit"):
            runtime.upgrade()
        kit = Kit(runtime)
        assert kit.of("u-1").decide("news").reason == "STORE_UNAVAILABLE"
        with pytest.raises(SchemaOutdated):
            kit.give("u-1", "news")
        runtime.dispose()


class TestOnSqlite(SchemaSuite, OnSqlite):
    @pytest.fixture
    def other_url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/other.sqlite3"

    def test_a_read_only_file_blocks_writing_and_says_so(self, runtime: Runtime, url: str) -> None:
        runtime.upgrade()
        runtime.publish()
        kit = Kit(runtime)
        kit.give("u-1", "news")
        runtime.dispose()
        path = Path(url.removeprefix("sqlite:///"))
        engine = sa.create_engine(f"sqlite:///file:{path}?mode=ro&uri=true")
        reading = Kit(Runtime(catalog(), Database(lambda: engine, owned=False), key=KEY))
        assert reading.of("u-1").allows("news")
        with pytest.raises(StoreUnavailable, match="readonly"):
            reading.give("u-1", "stats")
        assert not reading.of("u-1").allows("stats")
        engine.dispose()

    def test_a_file_that_is_no_database_is_left_alone(self, runtime: Runtime, url: str) -> None:
        path = Path(url.removeprefix("sqlite:///"))
        path.write_bytes(b"not a database, " * 100)
        with pytest.raises(StoreUnavailable, match="not a database"):
            runtime.upgrade()
        assert path.read_bytes() == b"not a database, " * 100
        runtime.dispose()

    def test_the_triggers_hold_against_the_shell(self, runtime: Runtime, url: str) -> None:
        runtime.upgrade()
        runtime.publish()
        runtime.dispose()
        with sqlite3.connect(url.removeprefix("sqlite:///")) as shell:
            for statement in (
                "UPDATE consentkit_document SET content = ''",
                "DELETE FROM consentkit_document",
            ):
                with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                    shell.execute(statement)


class TestOnPostgresql(SchemaSuite):
    @pytest.fixture
    def url(self, pg_url: str) -> Iterator[str]:
        with made(pg_url, "TEMPLATE template0") as url:
            yield url

    @pytest.fixture
    def other_url(self, pg_url: str) -> Iterator[str]:
        with made(pg_url, "TEMPLATE template0") as url:
            yield url

    def test_another_encoding_is_refused(self, pg_url: str) -> None:
        with made(pg_url, "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0") as url:
            engine = own_engine(url)
            runtime = Runtime(catalog(), Database(lambda: engine, owned=True), key=KEY)
            with pytest.raises(ConsentKitError, match="encoding LATIN1"):
                runtime.upgrade()
            assert self.names(runtime) == set()
            runtime.dispose()
