"""Engines: which databases are fit for a ledger, and one of our own with durable settings."""

from __future__ import annotations

import os
import random
import sqlite3
import time
import weakref
from collections import deque
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy import Engine, SingletonThreadPool, StaticPool, event

from consentkit.core.errors import ConsentKitError
from consentkit.store.tx import PostgresqlTx, SqliteTx

SQLITE_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", "busy_timeout=5000")
_WAL_ATTEMPTS = 20
_IDLE_AT_MOST = 32
RECYCLE_S = 1800
_own: weakref.WeakSet[Engine] = weakref.WeakSet()
_kept: weakref.WeakSet[Kept] = weakref.WeakSet()
_left_to_the_parent: list[object] = []


class Lease(Protocol):
    """A connection that is lent out: what SQLAlchemy's pools give."""

    @property
    def dbapi_connection(self) -> Any:
        """The driver's connection."""

    def close(self) -> None:
        """Give it back."""

    def invalidate(self) -> None:
        """It is broken: forget it."""


class Kept:
    """Connections of our own engine, kept open: taken and given back in one step each.

    A pool's checkout and reset cost as much as a read itself, and on PostgreSQL so does a new cursor.
    `autocommit`: of PostgreSQL's; SQLite's always are.
    """

    def __init__(self, engine: Engine, *, autocommit: bool = True) -> None:
        self.engine, self._autocommit = engine, autocommit
        self.idle: deque[KeptLease] = deque()
        _kept.add(self)

    def take(self) -> KeptLease:
        """An idle connection, else a new one."""
        while True:
            try:
                lease = self.idle.pop()
            except IndexError:
                return self._open()
            if time.monotonic() - lease.opened < RECYCLE_S:
                return lease
            lease.dbapi_connection.close()

    def _open(self) -> KeptLease:
        fairy = self.engine.raw_connection()
        connection: Any = fairy.dbapi_connection
        fairy.detach()
        if self.engine.dialect.name != "postgresql":
            return KeptLease(self, connection, SqliteTx(connection))
        connection.autocommit = self._autocommit
        return KeptLease(self, connection, PostgresqlTx(connection))

    def close(self) -> None:
        """Close what is idle."""
        while self.idle:
            self.idle.pop().dbapi_connection.close()


class KeptLease:
    """A kept connection while it is lent out. `tx`: statements on it."""

    __slots__ = ("dbapi_connection", "kept", "opened", "tx", "usable")

    def __init__(self, kept: Kept, connection: Any, tx: SqliteTx | PostgresqlTx) -> None:
        self.kept, self.dbapi_connection, self.tx = kept, connection, tx
        self.opened, self.usable = time.monotonic(), True

    def close(self) -> None:
        """Keep it, unless it is broken or in the middle of something."""
        if not self.usable or len(self.kept.idle) >= _IDLE_AT_MOST or self.tx.busy:
            self.dbapi_connection.close()
        else:
            self.kept.idle.append(self)

    def invalidate(self) -> None:
        """It is broken: close it when it comes back."""
        self.usable = False


def refuse_unusable(dialect: str, driver: str) -> None:
    """Raise ConsentKitError for a database that consentkit does not support."""
    if dialect not in ("sqlite", "postgresql"):
        raise ConsentKitError(
            f"consentkit keeps its ledger in SQLite or PostgreSQL, not in {dialect}: "
            "set CONSENTKIT_DATABASE_URL to one of these; the app's own database may stay where it is"
        )
    if (dialect, driver) not in (("sqlite", "pysqlite"), ("postgresql", "psycopg")):
        wanted = (
            "psycopg 3: write postgresql+psycopg://"
            if dialect == "postgresql"
            else "sqlite3: write sqlite:///"
        )
        raise ConsentKitError(f"consentkit does not know the driver {driver}, it needs {wanted}")


def refuse_shared(engine: Engine) -> None:
    """Raise ConsentKitError for a ledger in memory, or one connection that everybody shares."""
    if engine.dialect.name == "sqlite" and engine.url.database in (None, "", ":memory:"):
        raise ConsentKitError(_IN_MEMORY)
    if isinstance(engine.pool, (StaticPool, SingletonThreadPool)):
        raise ConsentKitError(
            f"this engine's {type(engine.pool).__name__} shares a connection, so that committing an answer "
            "would commit what the app has not finished: leave poolclass out, or name a database of its own"
        )


_IN_MEMORY = "a ledger in memory proves nothing: name a file, such as sqlite:////var/lib/app/consent.sqlite3"


def own_engine(url: str) -> Engine:
    """An engine of our own, with durable settings on SQLite. Raises ConsentKitError for other databases."""
    if url.startswith(("postgres://", "postgresql://")):
        url = "postgresql+psycopg://" + url.split("://", 1)[1]
    try:
        parsed = sa.make_url(url)
        backend = parsed.get_backend_name()
        refuse_unusable(backend, parsed.get_driver_name())
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError):
        raise ConsentKitError(
            "CONSENTKIT_DATABASE_URL is not a database URL such as postgresql://host/name"
        ) from None
    if backend == "postgresql":
        patience = {} if "connect_timeout" in parsed.query else {"connect_timeout": 10}
        engine = sa.create_engine(parsed, pool_recycle=RECYCLE_S, connect_args=patience)
    else:
        if parsed.database in (None, "", ":memory:"):
            raise ConsentKitError(_IN_MEMORY)
        settings = {"timeout": 5, "isolation_level": None}
        engine = sa.create_engine(parsed, pool_size=16, max_overflow=32, connect_args=settings)
        event.listen(engine, "connect", _set_pragmas)
    _own.add(engine)
    return engine


def sqlite_folder(engine: Engine) -> Path | None:
    """The folder of a SQLite database: key files live there. None for other databases."""
    name = engine.url.database
    is_file = engine.dialect.name == "sqlite" and name and name != ":memory:"
    return Path(name).resolve().parent if is_file and name else None


def _set_pragmas(connection: sqlite3.Connection, _record: object) -> None:
    for pragma in SQLITE_PRAGMAS:
        for _ in range(_WAL_ATTEMPTS):
            try:
                connection.execute(f"PRAGMA {pragma}")
                break
            except sqlite3.OperationalError as error:  # two at once make the file: WAL waits for nobody
                if "locked" not in str(error):
                    raise
                time.sleep(random.uniform(0, 0.05))  # noqa: S311
        else:
            connection.execute(f"PRAGMA {pragma}")


def _leave_connections() -> None:
    """In a forked child: the parent's connections are neither used nor closed, new ones are opened."""
    for engine in list(_own):
        _left_to_the_parent.append(engine.pool)
        engine.dispose(close=False)
    for kept in list(_kept):
        _left_to_the_parent.append(kept.idle)
        kept.idle = deque()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_connections)
