"""One way to the database: short transactions of our own, or the caller's connection."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from consentkit.core.errors import ConsentKitError, StoreUnavailable
from consentkit.store.engines import Kept, KeptLease, Lease, refuse_shared, refuse_unusable
from consentkit.store.tx import CallerTx, Params, PostgresqlTx, Rows, SqliteTx, Tx

__all__ = ["PATIENCE_S", "Database", "Params", "Rows", "Tx", "begin_sqlite", "store_errors"]

Result = TypeVar("Result")

PATIENCE_S = 5.0
"""How long a write is tried again on conflicts; a lock's own waiting (busy_timeout) comes on top."""
_DEAD_AT_MOST = 64
_DEAD_LEFT = range(_DEAD_AT_MOST, -1, -1)
_READ, _WRITE = 0, 1
_CONFLICTS = frozenset({"40001", "40P01", "55P03"})


class Database:
    """An engine, ours or the host's. `owned`: we made it, so we may set its PRAGMAs."""

    def __init__(self, engine: Callable[[], Engine], *, owned: bool) -> None:
        self._engine = engine
        self._checked: Engine | None = None
        self._kept: tuple[Kept, Kept] | None = None
        self.owned = owned

    @property
    def engine(self) -> Engine:
        """The engine. Raises StoreUnavailable when the host has none, ConsentKitError when it is unusable."""
        try:
            engine = self._engine()
        except RuntimeError as error:
            raise StoreUnavailable(f"the database engine is not at hand: {error}") from error
        if engine is not self._checked:
            refuse_unusable(engine.dialect.name, engine.dialect.driver)
            refuse_shared(engine)
            self._kept = _keep(engine) if self.owned else None
            self._checked = engine
        return engine

    @property
    def postgresql(self) -> bool:
        """Whether statements go to PostgreSQL; else it is SQLite."""
        return self.engine.dialect.name == "postgresql"

    def read(self, work: Callable[[Tx], Result]) -> Result:
        """Run `work` in autocommit: nothing is held between statements. Raises StoreUnavailable.

        A pooled connection that the server has closed meanwhile is replaced, and `work` runs again.
        """
        for left in _DEAD_LEFT:
            lease = self._lease(_READ)
            try:
                return work(lease.tx) if isinstance(lease, KeptLease) else _read(lease, work)
            except Exception as error:
                if not (_discarded(lease) and left):
                    _raise(error)
            finally:
                lease.close()
        raise AssertionError("the last attempt returns or raises")

    def write(self, work: Callable[[Tx], Result], connection: Connection | None = None) -> Result:
        """Run `work` in a transaction: all or nothing. Raises StoreUnavailable.

        Of our own: again when the database asks for it (a conflict, a lock, a dead connection). With
        `connection` it joins the caller's, in a savepoint, once; the caller commits.
        """
        give_up = time.monotonic() + PATIENCE_S
        if connection is not None:
            _check_joinable(self.engine, connection)
            return _join(connection, work)
        for attempt in range(_DEAD_AT_MOST + 1):
            lease = self._lease(_WRITE)
            try:
                return _write(lease, work)
            except Exception as error:
                again = _discarded(lease) or (_conflict(error) and time.monotonic() < give_up)
                if not again or attempt == _DEAD_AT_MOST:
                    _raise(error)
            finally:
                lease.close()
            time.sleep(random.uniform(0, 0.02 * min(attempt, 5)))  # noqa: S311
        raise AssertionError("the last attempt returns or raises")

    def _lease(self, purpose: int) -> Lease:
        """A connection to read by or to write by. Our own engine stays the same, the host's is asked for."""
        try:
            kept = self._kept
            if kept is None:
                engine = self.engine
                kept = self._kept
                if kept is None:
                    return engine.raw_connection()
            return kept[purpose].take()
        except Exception as error:
            _raise(error)

    def dispose(self) -> None:
        """Close idle connections of our own engine."""
        if self.owned:
            for kept in self._kept or ():
                kept.close()
            self.engine.dispose()

    @contextmanager
    def connection(self, *, write: bool = True) -> Iterator[Connection]:
        """A SQLAlchemy transaction for DDL and rare statements. Raises StoreUnavailable."""
        with store_errors(), self.engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                connection.execution_options(isolation_level="READ COMMITTED")
            if write:
                begin_sqlite(connection)
            yield connection
            connection.commit()


def _keep(engine: Engine) -> tuple[Kept, Kept]:
    """Connections to read by, and to write by: on SQLite the same, whose pages are at hand."""
    reading = Kept(engine)
    return reading, reading if engine.dialect.name == "sqlite" else Kept(engine, autocommit=False)


def _read(lease: Lease, work: Callable[[Tx], Result]) -> Result:
    """By a connection of the host's."""
    driver = lease.dbapi_connection
    if isinstance(driver, sqlite3.Connection):
        return work(SqliteTx(driver))
    with _autocommit(driver, True):
        return work(PostgresqlTx(driver))


def _write(lease: Lease, work: Callable[[Tx], Result]) -> Result:
    driver = lease.dbapi_connection
    if isinstance(driver, sqlite3.Connection):
        if not driver.in_transaction:  # with autocommit=False (Python 3.12) it always is
            driver.execute("BEGIN IMMEDIATE")
        return _all_or_nothing(driver, SqliteTx(driver), work)
    if isinstance(lease, KeptLease):
        return _all_or_nothing(driver, lease.tx, work)
    with _autocommit(driver, False):
        return _all_or_nothing(driver, PostgresqlTx(driver), work)


@contextmanager
def _autocommit(driver: Any, wanted: bool) -> Iterator[None]:
    """The host's connection of psycopg in this mode, and afterwards as it was."""
    was = driver.autocommit
    if was is not wanted:
        driver.autocommit = wanted
    try:
        yield
    finally:
        if was is not wanted and not driver.closed:
            driver.autocommit = was


def _all_or_nothing(driver: Any, tx: Tx, work: Callable[[Tx], Result]) -> Result:
    try:
        result = work(tx)
        driver.commit()
    except BaseException:
        with suppress(Exception):
            driver.rollback()
        raise
    return result


def _check_joinable(engine: Engine, connection: Connection) -> None:
    """Raise ValueError for what is no connection, is one to another database than the ledger's, or in autocommit."""
    if not isinstance(connection, Connection):
        raise ValueError(
            f"connection= is a Connection of SQLAlchemy, not a {type(connection).__name__}; a session has one: "
            "connection=db.session.connection()"
        )
    ours, theirs = engine.url, connection.engine.url
    names = ("host", "port", "database")
    same = all(getattr(ours, name) == getattr(theirs, name) for name in names)
    if not same or engine.dialect.name != connection.dialect.name:
        raise ValueError(
            f"connection= is one to {theirs.render_as_string()}, the ledger is in {ours.render_as_string()}: "
            "share the engine (engine=lambda: db.engine), or leave connection= out"
        )
    driver: Any = connection.connection.dbapi_connection
    if connection.dialect.name == "postgresql" and driver.autocommit:
        raise ValueError("connection= is in autocommit, so there is no transaction to join: leave it out")


def _join(connection: Connection, work: Callable[[Tx], Result]) -> Result:
    with store_errors():
        begin_sqlite(connection)
        with connection.begin_nested():
            return work(CallerTx(connection))


def begin_sqlite(connection: Connection) -> None:
    """Begin for real on SQLite: the driver does so only at the first INSERT.

    Without it a savepoint would be the outermost transaction, and its release would commit.
    """
    if connection.dialect.name != "sqlite":
        return
    connection.exec_driver_sql("SELECT 1")
    driver: Any = connection.connection.dbapi_connection
    if not driver.in_transaction:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn every error of the database into StoreUnavailable, with the cause kept."""
    try:
        yield
    except Exception as error:
        _raise(error)


def _raise(error: Exception) -> NoReturn:
    """Raise StoreUnavailable for an error of the database, any other error as it is."""
    if isinstance(error, ConsentKitError):
        raise error
    ours = isinstance(error, (sa.exc.SQLAlchemyError, sqlite3.Error, OSError))
    if not ours and type(error).__module__.split(".")[0] != "psycopg":
        raise error
    cause = getattr(error, "orig", None) or error
    raise StoreUnavailable(f"the consent ledger cannot be used: {cause}") from cause


def _discarded(lease: Lease) -> bool:
    """Whether the connection is dead; then the pool is told to forget it."""
    dead = bool(getattr(lease.dbapi_connection, "closed", False))
    if dead:
        lease.invalidate()
    return dead


def _conflict(error: BaseException) -> bool:
    """Whether the same transaction may well succeed when it is tried again."""
    if isinstance(error, sqlite3.OperationalError):
        return "locked" in str(error) or "busy" in str(error)
    return getattr(error, "sqlstate", None) in _CONFLICTS
