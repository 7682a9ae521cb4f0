"""One consistent view of the whole database, for reading much: nothing that is written meanwhile is seen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from consentkit.store.database import Database, Params, Rows, store_errors

CHUNK = 5000


class Snapshot:
    """Streams rows of one transaction; several streams may be open at once."""

    def __init__(self, driver: Any, postgresql: bool) -> None:
        self._driver, self._postgresql = driver, postgresql
        self._streams = 0

    def run(self, sql: str, params: Params = ()) -> Rows:
        """Execute a statement and fetch all its rows."""
        return list(self.stream(sql, params))

    def stream(self, sql: str, params: Params = ()) -> Iterator[tuple[Any, ...]]:
        """Execute a statement and fetch its rows bit by bit, from a server-side cursor on PostgreSQL."""
        self._streams += 1
        if self._postgresql:
            cursor = self._driver.cursor(name=f"consentkit_{self._streams}")
            cursor.itersize = CHUNK
            cursor.execute(sql.replace("?", "%s"), params, binary=True)
        else:
            cursor = self._driver.cursor()
            cursor.arraysize = CHUNK
            cursor.execute(sql, params)
        try:
            while rows := cursor.fetchmany(CHUNK):
                yield from rows
        finally:
            cursor.close()


@contextmanager
def snapshot(database: Database, *, lenient: bool = False) -> Iterator[Snapshot]:
    """A read-only transaction. Raises StoreUnavailable.

    `lenient`: text that is not UTF-8, which a damaged SQLite file may hold, is given with surrogates.
    """
    with store_errors():
        fairy = database.engine.raw_connection()
        try:
            driver: Any = fairy.dbapi_connection
            begin = _begin_postgresql if database.postgresql else _begin_sqlite
            begin(driver)
            if lenient and not database.postgresql:
                driver.text_factory = _with_surrogates
            try:
                yield Snapshot(driver, database.postgresql)
            finally:
                _end(driver, database.postgresql)
        finally:
            fairy.close()


def _begin_postgresql(driver: Any) -> None:
    driver.rollback()
    if driver.autocommit:
        driver.execute("BEGIN")
    driver.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")


def _begin_sqlite(driver: Any) -> None:
    if not driver.in_transaction:
        driver.execute("BEGIN")


def _end(driver: Any, postgresql: bool) -> None:
    if not postgresql:
        driver.text_factory = str
    driver.rollback()


def _with_surrogates(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
