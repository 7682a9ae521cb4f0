"""A ledger that cannot be read never says yes, and a connection that died is replaced."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from ledgers import KEY, OnPostgresql, OnSqlite, Suite, catalog, open_kit, rows

import consentkit.store.schema as schema
from consentkit.core.errors import ConsentKitError, SchemaOutdated, StoreUnavailable
from consentkit.core.terms import Reason, Status
from consentkit.kit import Kit
from consentkit.kit import open_kit as consentkit_open
from consentkit.runtime import Runtime
from consentkit.store import database as database_module
from consentkit.store.database import Database
from consentkit.store.engines import own_engine


def denies_everything(kit: Kit) -> None:
    consents = kit.of("u-1")
    for item in ("news", "account", "books", "terms", "analytics"):
        decision = consents.decide(item)
        assert (decision.allowed, decision.reason) == (False, Reason.STORE_UNAVAILABLE)
        assert not consents.allows(item)
    assert consents.status("news") is Status.UNKNOWN
    assert not any(kit.decide_many(["u-1", "u-2"], "news").values())
    with pytest.raises(LookupError):
        consents.decide("nws")


class Failing(Suite):
    def test_missing_tables(self, kit: Kit) -> None:
        kit.give("u-1", "news")
        kit.runtime.database.write(lambda tx: tx.count("DROP TABLE consentkit_state"))
        denies_everything(kit)
        with pytest.raises(StoreUnavailable):
            kit.give("u-1", "news")

    def test_a_newer_schema(self, kit: Kit, url: str) -> None:
        kit.give("u-1", "news")
        newer = schema.VERSION + 1
        kit.runtime.database.write(
            lambda tx: tx.count("INSERT INTO consentkit_schema (version, applied_us) VALUES (?, 1)", (newer,))
        )
        later = open_kit(url, publish=False)
        denies_everything(later)
        with pytest.raises(SchemaOutdated, match="install the newer consentkit"):
            later.give("u-1", "news")
        with pytest.raises(SchemaOutdated):
            later.runtime.upgrade()
        later.runtime.dispose()

    def test_an_unpublished_catalogue(self, kit: Kit, url: str) -> None:
        other = open_kit(url, catalog(purposes=()), publish=False)
        assert other.of("u-1").decide("terms").reason is Reason.STORE_UNAVAILABLE
        with pytest.raises(StoreUnavailable, match="flask consent publish"):
            other.runtime.ensure()
        other.runtime.dispose()

    def test_an_engine_that_is_not_at_hand(self) -> None:
        def no_app() -> sa.Engine:
            raise RuntimeError("Working outside of application context")

        denies_everything(Kit(Runtime.of_engine(catalog(), no_app, key=KEY)))


class TestPostgresql(OnPostgresql, Failing):
    @pytest.fixture
    def cut(self, kit: Kit, url: str) -> Iterator[Callable[[], None]]:
        """Close every connection of the kit from the server's side."""
        admin = own_engine(url)
        query = (
            "SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

        def terminate() -> None:
            with admin.connect() as connection:
                assert connection.exec_driver_sql(query).all()

        yield terminate
        admin.dispose()

    def test_dead_connections_are_replaced(self, kit: Kit, cut: Callable[[], None]) -> None:
        """Even when every connection of the pool is dead."""
        engine = kit.runtime.database.engine
        kit.give("u-1", "news")
        for verb in (lambda: kit.of("u-1").allows("news"), lambda: kit.give("u-1", "news")):
            held = [engine.raw_connection() for _ in range(5)]
            for fairy in held:
                fairy.close()
            cut()
            assert verb()

    def test_a_commit_whose_answer_was_lost_is_not_repeated(
        self, kit: Kit, cut: Callable[[], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The server committed, the connection died before it could say so: one event, not two."""
        real = database_module._all_or_nothing
        tries = []

        def lossy(driver: object, tx: object, work: object) -> object:
            result = real(driver, tx, work)  # type: ignore[arg-type]
            tries.append(1)
            if len(tries) == 1:
                cut()
                driver.execute("SELECT 1")  # type: ignore[attr-defined]
            return result

        monkeypatch.setattr(database_module, "_all_or_nothing", lossy)
        for verb in (lambda: kit.give("u-1", "analytics"), lambda: kit.erase("u-1")):
            tries.clear()
            said = verb()
            assert len(tries) == 2
            found = rows(kit, "SELECT action FROM consentkit_event WHERE event_id = ?", said[-1].event_id)
            assert found == [(said[-1].action,)]
        assert len(rows(kit, "SELECT * FROM consentkit_event")) == 3
        assert len(rows(kit, "SELECT * FROM consentkit_subject")) == 1

    def test_without_a_key(self, url: str) -> None:
        engine = own_engine(url)
        kit = Kit(Runtime(catalog(), Database(lambda: engine, owned=True)))
        with pytest.raises(ConsentKitError, match="CONSENTKIT_KEY is not set"):
            kit.runtime.ensure()
        kit.runtime.dispose()


def test_a_server_that_is_not_there() -> None:
    denies_everything(open_kit("postgresql://nobody@127.0.0.1:1/none?connect_timeout=3", publish=False))


class TestSqlite(OnSqlite, Failing):
    @pytest.fixture
    def file(self, url: str) -> Path:
        return Path(url.removeprefix("sqlite:///"))

    def test_a_missing_file(self, url: str) -> None:
        denies_everything(open_kit(url, publish=False))

    def test_a_missing_folder(self, tmp_path: Path) -> None:
        denies_everything(open_kit(f"sqlite:///{tmp_path}/none/x.db", publish=False))

    def test_a_file_that_is_no_database(self, url: str, file: Path) -> None:
        file.write_bytes(b"this is no database, only long enough to be looked at " * 100)
        denies_everything(open_kit(url, publish=False))
        with pytest.raises(StoreUnavailable, match="file is not a database"):
            consentkit_open(catalog(), url)

    def test_a_file_that_becomes_garbage(self, kit: Kit, file: Path, url: str) -> None:
        kit.give("u-1", "news")
        kit.runtime.dispose()
        file.write_bytes(b"\0" * file.stat().st_size)
        denies_everything(kit)

    def test_a_file_that_vanishes(self, kit: Kit, file: Path) -> None:
        kit.give("u-1", "news")
        kit.runtime.dispose()
        file.unlink()
        denies_everything(kit)

    def test_a_file_that_may_only_be_read(self, kit: Kit, url: str) -> None:
        """Decisions are read; an answer is refused loudly."""
        kit.give("u-1", "news")
        kit.runtime.dispose()
        reader = open_kit(url.replace("sqlite:///", "sqlite:///file:") + "?mode=ro&uri=true", publish=False)
        assert reader.of("u-1").decide("news").reason in (Reason.GIVEN, Reason.STORE_UNAVAILABLE)
        with pytest.raises(StoreUnavailable):
            reader.withdraw("u-1", "news")
        reader.runtime.dispose()

    def test_a_locked_file(self, kit: Kit, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A writer that never ends: decisions go on (WAL), an answer fails after a bounded time."""
        kit.give("u-1", "news")
        monkeypatch.setattr(database_module, "PATIENCE_S", 0.2)
        with sqlite3.connect(file, isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            assert kit.of("u-1").allows("news")
            kit.runtime.database.read(lambda tx: tx.run("PRAGMA busy_timeout=100"))
            with pytest.raises(StoreUnavailable, match="locked"):
                kit.withdraw("u-1", "news")
            other.execute("ROLLBACK")
            kit.withdraw("u-1", "news")
        other.close()
        assert not kit.of("u-1").allows("news")

    def test_an_exclusively_locked_file(self, kit: Kit, file: Path) -> None:
        kit.give("u-1", "news")
        kit.runtime.dispose()
        engine = sa.create_engine(f"sqlite:///{file}", connect_args={"timeout": 0.1})
        host = Kit(Runtime.of_engine(catalog(), lambda: engine, key=KEY))
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        other.execute("DELETE FROM consentkit_pending")
        denies_everything(host)
        other.execute("COMMIT")
        other.close()
        assert host.of("u-1").allows("news")
        engine.dispose()

    def test_the_key_file(self, url: str, file: Path) -> None:
        kit = consentkit_open(catalog(), url)
        key = file.with_name("consentkit.key")
        assert key.stat().st_mode & 0o777 == 0o600
        assert len(key.read_text().strip()) == 64
        kit.give("u-1", "news")
        kit.runtime.dispose()
        key.write_text("short")
        with pytest.raises(ConsentKitError, match="is too short"):
            consentkit_open(catalog(), url)
