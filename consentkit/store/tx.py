"""Fixed SQL on a driver's connection or the caller's: `?` marks, translated once for psycopg."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

from sqlalchemy import Connection

Params = Sequence[Any]
Rows = list[tuple[Any, ...]]


class Tx(Protocol):
    """An open transaction or an autocommit reader. `run` gives all rows, `count` the rows touched."""

    def run(self, sql: str, params: Params = ()) -> Rows:
        """Execute one statement and fetch its rows."""

    def count(self, sql: str, params: Params = ()) -> int:
        """Execute one statement and return how many rows it inserted, changed or deleted."""

    def many(self, sql: str, rows: Sequence[Params]) -> None:
        """Execute one statement for each of these rows."""


@lru_cache(maxsize=512)
def _marks(sql: str) -> str:
    return sql.replace("%", "%%").replace("?", "%s")


class SqliteTx:
    """Statements on a connection of the sqlite3 module. `busy`: it is in a transaction."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @property
    def busy(self) -> bool:
        return bool(self._connection.in_transaction)

    def run(self, sql: str, params: Params = ()) -> Rows:
        rows: Rows = self._connection.execute(sql, params).fetchall()
        return rows

    def count(self, sql: str, params: Params = ()) -> int:
        return int(self._connection.execute(sql, params).rowcount)

    def many(self, sql: str, rows: Sequence[Params]) -> None:
        self._connection.executemany(sql, rows)


class PostgresqlTx:
    """Statements on a connection of psycopg. `busy`: it is in a transaction, or broken."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._cursor = connection.cursor()

    @property
    def busy(self) -> bool:
        return bool(self._connection.pgconn.transaction_status)

    def run(self, sql: str, params: Params = ()) -> Rows:
        self._cursor.execute(_marks(sql), params)
        # `description` would make an object for every column of every result
        return self._cursor.fetchall() if self._cursor.pgresult.nfields else []

    def count(self, sql: str, params: Params = ()) -> int:
        self._cursor.execute(_marks(sql), params)
        return int(self._cursor.rowcount)

    def many(self, sql: str, rows: Sequence[Params]) -> None:
        if rows:
            self._cursor.executemany(_marks(sql), rows)


class CallerTx:
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

    def many(self, sql: str, rows: Sequence[Params]) -> None:
        if rows:
            statement = _marks(sql) if self._postgresql else sql
            self._connection.exec_driver_sql(statement, [tuple(row) for row in rows])
