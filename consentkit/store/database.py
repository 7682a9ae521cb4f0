"""One way to the database: short transactions of our own, or the caller's connection, with fixed SQL.

Hot statements go to the driver's cursor: `Tx.run(sql, params)` with `?` marks, translated once per dialect.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event

from consentkit.core.errors import ConsentKitError, StoreUnavailable

Params = Sequence[Any]
Rows = list[tuple[Any, ...]]
Result = TypeVar("Result")

SQLITE_PRAGMAS = (
    *("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", "busy_timeout=5000", "foreign_keys=ON"),
)
_RETRYABLE = frozenset({"40001", "40P01", "55P03"})
_ATTEMPTS = 5


class Tx(Protocol):
    """An open transaction or an autocommit reader. `run` gives all rows, `count` the rows touched."""

    def run(self, sql: str, params: Params = ()) -> Rows:
        """Execute one statement and fetch its rows."""

    def count(self, sql: str, params: Params = ()) -> int:
        """Execute one statement and return how many rows it inserted, changed or deleted."""


@lru_cache(maxsize=512)
def _marks(sql: str) -> str:
    return sql.replace("%", "%%").replace("?", "%s")


class _DriverTx:
    """Statements on a driver's own connection."""

    def __init__(self, connection: Any, postgresql: bool) -> None:
        self._cursor = connection.cursor()
        self._postgresql = postgresql

    def run(self, sql: str, params: Params = ()) -> Rows:
        self._cursor.execute(_marks(sql) if self._postgresql else sql, params)
        return self._cursor.fetchall() if self._cursor.description else []

    def count(self, sql: str, params: Params = ()) -> int:
        self._cursor.execute(_marks(sql) if self._postgresql else sql, params)
        return int(self._cursor.rowcount)


class _CallerTx:
    """Statements on the caller's SQLAlchemy connection; the caller commits."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._postgresql = connection.dialect.name == "postgresql"

    def run(self, sql: str, params: Params = ()) -> Rows:
        result = self._connection.exec_driver_sql(_marks(sql) if self._postgresql else sql, tuple(params))
        return [tuple(row) for row in result] if result.returns_rows else []

    def count(self, sql: str, params: Params = ()) -> int:
        statement = _marks(sql) if self._postgresql else sql
        return self._connection.exec_driver_sql(statement, tuple(params)).rowcount


class Database:
    """An engine, ours or the host's. `owned`: we made it, so we may set its PRAGMAs."""

    def __init__(self, engine: Callable[[], Engine], *, owned: bool) -> None:
        self._engine = engine
        self.owned = owned

    @property
    def engine(self) -> Engine:
        """The engine. Raises StoreUnavailable when the host has none, ConsentKitError when it is unusable."""
        try:
            engine = self._engine()
        except RuntimeError as error:
            raise StoreUnavailable(f"the database engine is not at hand: {error}") from error
        refuse_unusable(engine.dialect.name, engine.dialect.driver)
        return engine

    @property
    def postgresql(self) -> bool:
        """Whether statements go to PostgreSQL; else it is SQLite."""
        return self.engine.dialect.name == "postgresql"

    @contextmanager
    def reader(self) -> Iterator[Tx]:
        """Autocommit reads: one round trip each, nothing held. Raises StoreUnavailable."""
        with self._driver() as (connection, postgresql):
            if postgresql:
                connection.autocommit = True
            try:
                yield _DriverTx(connection, postgresql)
            finally:
                if postgresql and not connection.closed:
                    connection.autocommit = False

    @contextmanager
    def writer(self, connection: Connection | None = None) -> Iterator[Tx]:
        """A transaction: all or nothing. With `connection` it joins the caller's, in a savepoint."""
        if connection is not None:
            with store_errors(), connection.begin_nested():
                yield _CallerTx(connection)
            return
        with self._driver() as (driver, postgresql):
            if not postgresql and not driver.in_transaction:
                driver.execute("BEGIN IMMEDIATE")
            try:
                yield _DriverTx(driver, postgresql)
            except BaseException:
                driver.rollback()
                raise
            driver.commit()

    def write(self, work: Callable[[Tx], Result], connection: Connection | None = None) -> Result:
        """Run `work` in a transaction, again when the database asks for it (a conflict, a lock)."""
        for attempt in range(_ATTEMPTS):
            try:
                with self.writer(connection) as tx:
                    return work(tx)
            except StoreUnavailable as error:
                if connection is not None or attempt == _ATTEMPTS - 1 or not _retryable(error.__cause__):
                    raise
                time.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311
        raise AssertionError("the last attempt returns or raises")

    def read(self, work: Callable[[Tx], Result]) -> Result:
        """Run `work` on an autocommit reader, once more when the connection had gone stale."""
        try:
            with self.reader() as tx:
                return work(tx)
        except StoreUnavailable as error:
            if not _lost(error.__cause__):
                raise
        with self.reader() as tx:
            return work(tx)

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A SQLAlchemy transaction for DDL and rare statements."""
        with store_errors(), self.engine.connect() as connection:
            driver: Any = connection.connection.dbapi_connection
            if self.engine.dialect.name == "sqlite" and not driver.in_transaction:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            connection.commit()

    @contextmanager
    def _driver(self) -> Iterator[tuple[Any, bool]]:
        engine = self.engine
        with store_errors():
            fairy = engine.raw_connection()
            try:
                yield fairy.dbapi_connection, engine.dialect.name == "postgresql"
            except BaseException:
                if getattr(fairy.dbapi_connection, "closed", False):
                    fairy.invalidate()
                raise
            finally:
                fairy.close()


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn every error of the database into StoreUnavailable, with the cause kept."""
    try:
        yield
    except ConsentKitError:
        raise
    except (sa.exc.SQLAlchemyError, sqlite3.Error, OSError) as error:
        cause = getattr(error, "orig", None) or error
        raise StoreUnavailable(f"the consent ledger cannot be used: {cause}") from cause
    except Exception as error:
        if type(error).__module__.split(".")[0] != "psycopg":
            raise
        raise StoreUnavailable(f"the consent ledger cannot be used: {error}") from error


def _retryable(cause: BaseException | None) -> bool:
    if isinstance(cause, sqlite3.OperationalError):
        return "locked" in str(cause) or "busy" in str(cause)
    return _lost(cause) or getattr(cause, "sqlstate", None) in _RETRYABLE


def _lost(cause: BaseException | None) -> bool:
    """Whether the server closed the connection: by SQLSTATE class 08 and 57P, or without a word."""
    if cause is None or not type(cause).__module__.startswith("psycopg"):
        return False
    state = getattr(cause, "sqlstate", None)
    return type(cause).__name__ == "OperationalError" if state is None else state.startswith(("08", "57P"))


def refuse_unusable(dialect: str, driver: str) -> None:
    """Raise ConsentKitError for a database that consentkit does not support."""
    if dialect not in ("sqlite", "postgresql"):
        raise ConsentKitError(
            f"consentkit keeps its ledger in SQLite or PostgreSQL, not in {dialect}: "
            "set CONSENTKIT_DATABASE_URL to one of these; the app's own database may stay where it is"
        )
    if (dialect, driver) not in (("sqlite", "pysqlite"), ("postgresql", "psycopg")):
        raise ConsentKitError(
            f"consentkit needs the driver psycopg 3 for PostgreSQL, not {driver}: write postgresql+psycopg://"
        )


def own_engine(url: str) -> Engine:
    """An engine of our own, with durable settings on SQLite. Raises ConsentKitError for other databases."""
    if url.startswith(("postgres://", "postgresql://")):
        url = "postgresql+psycopg://" + url.split("://", 1)[1]
    try:
        parsed = sa.make_url(url)
        refuse_unusable(parsed.get_backend_name(), parsed.get_driver_name())
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError):
        raise ConsentKitError(
            "CONSENTKIT_DATABASE_URL is not a database URL such as postgresql://host/name"
        ) from None
    if parsed.get_backend_name() == "postgresql":
        return sa.create_engine(parsed, pool_pre_ping=False, pool_recycle=1800)
    if parsed.database in (None, "", ":memory:"):
        raise ConsentKitError(
            "a ledger in memory proves nothing: name a file, such as sqlite:////var/lib/app/consent.sqlite3"
        )
    engine = sa.create_engine(
        parsed, pool_size=16, max_overflow=32, connect_args={"timeout": 5, "isolation_level": None}
    )
    event.listen(engine, "connect", _set_pragmas)
    return engine


def sqlite_folder(engine: Engine) -> Path | None:
    """The folder of a SQLite database: key files live there. None for other databases."""
    name = engine.url.database
    return (
        Path(name).resolve().parent
        if engine.dialect.name == "sqlite" and name and name != ":memory:"
        else None
    )


def _set_pragmas(connection: sqlite3.Connection, _record: object) -> None:
    for pragma in SQLITE_PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
