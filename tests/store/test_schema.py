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

    def test_another_encoding_is_refused(self, pg_url: str) -> None:
        with made(pg_url, "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0") as url:
            engine = own_engine(url)
            runtime = Runtime(catalog(), Database(lambda: engine, owned=True), key=KEY)
            with pytest.raises(ConsentKitError, match="encoding LATIN1"):
                runtime.upgrade()
            assert self.names(runtime) == set()
            runtime.dispose()
