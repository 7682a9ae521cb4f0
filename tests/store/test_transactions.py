"""The caller's transaction and the host's engine: never commit what we did not begin, leave nothing behind."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import sqlalchemy as sa
from ledgers import KEY, OnPostgresql, OnSqlite, Suite, catalog, rows
from sqlalchemy import Engine, event
from sqlalchemy.orm import scoped_session, sessionmaker

from consentkit.core.errors import ChoiceRejected, ConsentKitError, StoreUnavailable
from consentkit.kit import Kit
from consentkit.runtime import Runtime
from consentkit.signals import consent_recorded
from consentkit.store.engines import own_engine

MakeEngine = Callable[[str], Engine]


def plain(url: str) -> Engine:
    return sa.create_engine(url)


def with_begin_recipe(url: str) -> Engine:
    """SQLAlchemy's recipe for real SAVEPOINTs on SQLite."""
    engine = sa.create_engine(url)

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _record: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begun(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def autocommit(url: str) -> Engine:
    return sa.create_engine(url, isolation_level="AUTOCOMMIT")


def serializable(url: str) -> Engine:
    return sa.create_engine(url, isolation_level="SERIALIZABLE")


def new_style(url: str) -> Engine:
    return sa.create_engine(url, connect_args={"autocommit": False})


NEW_STYLE = [new_style] if sys.version_info >= (3, 12) else []
"""sqlite3 has autocommit= since Python 3.12: before, there is nothing to test."""


def kit_on(engine: Engine) -> Kit:
    runtime = Runtime.of_engine(catalog(), lambda: engine, key=KEY)
    runtime.upgrade()
    runtime.publish()
    return Kit(runtime)


class OwnEngine(Suite):
    def test_the_events_go_with_the_callers_transaction(self, kit: Kit) -> None:
        engine = kit.runtime.database.engine
        seen: list[object] = []
        with (
            engine.connect() as connection,
            consent_recorded.connected_to(lambda sender, **about: seen.append(about), sender=kit),
        ):
            kit.give("u-1", "analytics", connection=connection)
            kit.learn("u-1", jurisdiction="DE", connection=connection)
            assert not kit.of("u-1").allows("analytics")
            connection.rollback()
            assert not rows(kit, "SELECT * FROM consentkit_event")
            assert not rows(kit, "SELECT * FROM consentkit_subject")
            kit.give("u-1", "analytics", connection=connection)
            connection.commit()
        assert kit.of("u-1").allows("analytics")
        assert seen == []

    def test_a_rejected_answer_leaves_the_callers_transaction_usable(self, kit: Kit) -> None:
        engine = kit.runtime.database.engine
        with engine.begin() as connection:
            kit.give("u-1", "news", connection=connection)
            with pytest.raises(ChoiceRejected):
                kit.give("u-1", "books", connection=connection)
            with pytest.raises(StoreUnavailable):
                kit.runtime.database.write(lambda tx: tx.run("SELECT * FROM no_such_table"), connection)
            kit.erase("u-2", connection=connection)
        assert kit.of("u-1").allows("news")
        assert not kit.of("u-2").allows("account")

    def test_a_session_is_no_connection_but_has_one(self, kit: Kit) -> None:
        session: Any = scoped_session(sessionmaker(kit.runtime.database.engine))
        with pytest.raises(ValueError, match=r"not a scoped_session.*db\.session\.connection\(\)"):
            kit.give("u-1", "news", connection=session)
        kit.give("u-1", "news", connection=session.connection())
        session.commit()
        session.remove()
        assert kit.of("u-1").allows("news")

    def test_a_connection_to_another_database(self, kit: Kit, tmp_path: Any) -> None:
        other = own_engine(f"sqlite:///{tmp_path}/other.db")
        with other.connect() as connection, pytest.raises(ValueError, match="share the engine"):
            kit.give("u-1", "news", connection=connection)
        other.dispose()

    def test_an_error_rolls_back_and_the_pool_stays_clean(self, kit: Kit) -> None:
        database = kit.runtime.database

        def work(tx: Any) -> None:
            tx.count("DELETE FROM consentkit_pending")
            raise KeyboardInterrupt

        kit.give("u-1", "news")
        with suppress(KeyboardInterrupt):
            database.write(work)
        assert len(rows(kit, "SELECT * FROM consentkit_pending")) == 1
        for _ in range(40):
            with pytest.raises(StoreUnavailable):
                database.read(lambda tx: tx.run("SELECT * FROM no_such_table"))
        assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
        kit.give("u-1", "news")


class HostEngine:
    """Engines as hosts make them. `kinds` are those that the database knows."""

    @pytest.fixture
    def engine(self, url: str, make: MakeEngine) -> Iterator[Engine]:
        engine = make(url.replace("postgresql://", "postgresql+psycopg://"))
        yield engine
        engine.dispose()

    def test_every_verb_works_and_the_hosts_settings_stay(self, engine: Engine, make: MakeEngine) -> None:
        def settings() -> tuple[object, ...]:
            fairy = engine.raw_connection()
            driver: Any = fairy.dbapi_connection
            found = (driver.autocommit if hasattr(driver, "autocommit") else None, driver.isolation_level)
            fairy.close()
            return found

        kit = kit_on(engine)
        before = settings()
        kit.give("u-1", "news")
        kit.withdraw("u-1", "news")
        kit.erase("u-1")
        kit.give("u-1", "news")
        kit.rename("u-1", "u-2")
        assert kit.of("u-2").allows("news")
        assert settings() == before

    def test_a_failed_write_leaves_nothing(self, engine: Engine) -> None:
        kit = kit_on(engine)
        kit.give("u-1", "news")

        def work(tx: Any) -> None:
            tx.count("DELETE FROM consentkit_pending")
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            kit.runtime.database.write(work)
        assert len(rows(kit, "SELECT * FROM consentkit_pending")) == 1

    def test_the_callers_rollback_takes_the_events_along(self, engine: Engine, make: MakeEngine) -> None:
        kit = kit_on(engine)
        if make is autocommit and kit.runtime.database.postgresql:
            with engine.connect() as connection, pytest.raises(ValueError, match="no transaction to join"):
                kit.give("u-1", "news", connection=connection)
            return
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE orders (id INTEGER)")
        with engine.connect() as connection:
            kit.give("u-1", "news", connection=connection)
            connection.exec_driver_sql("INSERT INTO orders VALUES (1)")
            connection.rollback()
        assert not rows(kit, "SELECT * FROM consentkit_event")
        with engine.connect() as connection:
            connection.exec_driver_sql("INSERT INTO orders VALUES (1)")
            kit.give("u-1", "news", connection=connection)
            connection.commit()
        assert kit.of("u-1").allows("news")
        assert rows(kit, "SELECT * FROM orders") == [(1,)]


class TestOwnSqlite(OnSqlite, OwnEngine): ...


class TestOwnPostgresql(OnPostgresql, OwnEngine): ...


class TestHostSqlite(OnSqlite, HostEngine):
    @pytest.fixture(params=[plain, with_begin_recipe, autocommit, serializable, *NEW_STYLE])
    def make(self, request: pytest.FixtureRequest) -> MakeEngine:
        return request.param  # type: ignore[no-any-return]


class TestHostPostgresql(OnPostgresql, HostEngine):
    @pytest.fixture(params=[plain, autocommit, serializable])
    def make(self, request: pytest.FixtureRequest) -> MakeEngine:
        return request.param  # type: ignore[no-any-return]


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_ledger_in_memory(url: str) -> None:
    with pytest.raises(ConsentKitError, match="a ledger in memory proves nothing"):
        own_engine(url)
    runtime = Runtime.of_engine(catalog(), lambda: sa.create_engine(url), key=KEY)
    with pytest.raises(ConsentKitError, match="a ledger in memory proves nothing"):
        Kit(runtime).of("u-1").decide("news")


def test_one_connection_for_everybody(tmp_path: Any) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path}/x.db", poolclass=sa.StaticPool)
    with pytest.raises(ConsentKitError, match="StaticPool shares a connection"):
        kit_on(engine)


@pytest.mark.parametrize(
    "url", ["mysql://root@localhost/app", "mysql+pymysql://x/y", "mariadb://x/y", "mssql://x"]
)
def test_other_databases(url: str) -> None:
    with pytest.raises(ConsentKitError, match=r"in SQLite or PostgreSQL, not in (mysql|mariadb|mssql)"):
        own_engine(url)


@pytest.mark.parametrize("url", ["", "nonsense", "postgres", "oracle-ish://x"])
def test_no_database_url(url: str) -> None:
    with pytest.raises(ConsentKitError, match="is not a database URL such as"):
        own_engine(url)


def test_another_driver() -> None:
    with pytest.raises(ConsentKitError, match=r"write postgresql\+psycopg://"):
        own_engine("postgresql+psycopg2://localhost/x")
    assert own_engine("postgres://localhost/x").dialect.driver == "psycopg"
