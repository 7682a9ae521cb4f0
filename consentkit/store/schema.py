"""Numbered schema steps, applied once under a lock, and the triggers that keep the ledger append-only."""

# ruff: noqa: S608 - every name is a constant of this package, every value a bind parameter
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache

from sqlalchemy import Column, Connection, MetaData, Table, inspect
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable, SchemaItem

from consentkit.core.errors import ConsentKitError, SchemaOutdated
from consentkit.store.tables import APPEND_ONLY, PREFIX, metadata

DIALECTS: Mapping[str, Dialect] = {
    "sqlite": sqlite.dialect(),
    "postgresql": postgresql.dialect(),  # type: ignore[no-untyped-call]
}
_LISTED = f"SELECT 1 FROM {PREFIX}erasure e WHERE e.bucket = OLD.bucket AND e.event_id = OLD.event_id"
_RAISE = (
    "RAISE EXCEPTION 'consentkit: % is append-only', TG_TABLE_NAME "
    "USING ERRCODE = 'integrity_constraint_violation';"
)


def statements(dialect: Dialect) -> Iterator[str]:
    """Every statement of a fresh install, in order, without the final semicolon."""
    for step in STEPS.values():
        yield from step(dialect)


def _tables_and_triggers(dialect: Dialect) -> Iterator[str]:
    yield from _made_in(1, dialect)
    yield from _sqlite_triggers() if dialect.name == "sqlite" else _postgresql_triggers()


def _deliveries(dialect: Dialect) -> Iterator[str]:
    """Recipients of webhooks, what a delivery has come to, and an index from a pseudonym to its mapping row."""
    yield from _made_in(2, dialect)


def _invitations(dialect: Dialect) -> Iterator[str]:
    """Invitations to guardians: the place of the short code, when it was made, when something is due."""
    yield from _made_in(3, dialect)


def _audiences(dialect: Dialect) -> Iterator[str]:
    """Indexes from a host's id, and of the ids that are hidden after an erasure: for audiences in SQL."""
    yield from _made_in(4, dialect)


def _erasures(dialect: Dialect) -> Iterator[str]:
    """An index of the erased ids that are not hidden yet: audiences ask for them each time."""
    yield from _made_in(5, dialect)


def _made_in(step: int, dialect: Dialect) -> Iterator[str]:
    """What `store.tables` says is made in a step: tables, columns of older tables, indexes."""
    for table in metadata.sorted_tables:
        if _step_of(table) == step:
            made = CreateTable(_as_made_in(step, table), if_not_exists=True)
            yield str(made.compile(dialect=dialect)).strip()
        elif _step_of(table) < step:
            added = (c for c in table.columns if _step_of(c) == step)
            columns = (str(CreateColumn(c).compile(dialect=dialect)) for c in added)
            yield from (f"ALTER TABLE {table.name} ADD COLUMN {column}" for column in columns)
        for index in sorted(table.indexes, key=lambda i: str(i.name)):
            if _step_of(index) == step:
                yield str(CreateIndex(index, if_not_exists=True).compile(dialect=dialect)).strip()


def _step_of(item: SchemaItem) -> int:
    return int(item.info.get("step", 1))


def _as_made_in(step: int, table: Table) -> Table:
    """A table without the columns that later steps add."""
    columns = [
        Column(c.name, c.type, primary_key=c.primary_key, nullable=c.nullable, autoincrement=False)
        for c in table.columns
        if _step_of(c) <= step
    ]
    return Table(table.name, MetaData(), *columns, **table.kwargs)


def installed(connection: Connection) -> int:
    """The highest step that was applied; 0 when there is no table yet."""
    if not connection.dialect.has_table(connection, f"{PREFIX}schema"):
        return 0
    found = connection.exec_driver_sql(f"SELECT MAX(version) FROM {PREFIX}schema").scalar()
    return int(found or 0)


def upgrade(connection: Connection, now_us: int) -> tuple[int, ...]:
    """Apply what is missing inside the caller's transaction and return the numbers of the steps.

    Raises SchemaOutdated when the database is newer than this consentkit, ConsentKitError when it cannot
    be used: tables of somebody else under our names, or an encoding other than UTF-8.
    """
    _refuse_encoding(connection)
    if installed(connection) == 0:
        _refuse_foreign_tables(connection)
    _lock(connection)
    have = installed(connection)
    check(have, newer_only=True)
    missing = tuple(number for number in STEPS if number > have)
    for number in missing:
        for statement in _written(number, connection.dialect.name):
            connection.exec_driver_sql(
                statement.replace("%", "%%") if connection.dialect.name == "postgresql" else statement
            )
        mark = "?" if connection.dialect.name == "sqlite" else "%s"
        connection.exec_driver_sql(
            f"INSERT INTO {PREFIX}schema (version, applied_us) VALUES ({mark}, {mark})", (number, now_us)
        )
    return missing


@cache
def _written(number: int, dialect: str) -> tuple[str, ...]:
    """A step's statements. Written once: a test suite makes a ledger for each test."""
    return tuple(STEPS[number](DIALECTS[dialect]))


def _refuse_foreign_tables(connection: Connection) -> None:
    """Tables under our names without our schema table were made by somebody else."""
    ours = set(metadata.tables) - {f"{PREFIX}schema"}
    foreign = sorted(ours & set(inspect(connection).get_table_names()))
    if foreign:
        raise ConsentKitError(
            f"the database has a table {foreign[0]} that consentkit did not make: move it away, "
            "or give the ledger a database (or a PostgreSQL schema by search_path) of its own"
        )


def _refuse_encoding(connection: Connection) -> None:
    """Texts are kept byte for byte in UTF-8."""
    if connection.dialect.name == "postgresql":
        encoding = connection.exec_driver_sql("SHOW server_encoding").scalar()
        if encoding != "UTF8":
            raise ConsentKitError(f"the database has the encoding {encoding}: make it with ENCODING 'UTF8'")


def check(have: int, *, newer_only: bool = False) -> None:
    """Raise SchemaOutdated, saying what to do, when the tables are not of this version."""
    if have > VERSION:
        raise SchemaOutdated(
            f"the database has schema {have}, this consentkit knows {VERSION}: install the newer consentkit"
        )
    if have < VERSION and not newer_only:
        raise SchemaOutdated("the consentkit tables are missing or old: run `flask consent upgrade`")


def _lock(connection: Connection) -> None:
    """One upgrade at a time: SQLite by its write lock, PostgreSQL by a lock on its own schema table."""
    if connection.dialect.name == "sqlite":
        return
    table = metadata.tables[f"{PREFIX}schema"]
    for attempt in range(2):
        try:
            with connection.begin_nested():
                connection.execute(CreateTable(table, if_not_exists=True))
            break
        except Exception:
            if attempt:
                raise
    connection.exec_driver_sql(f"LOCK TABLE {PREFIX}schema IN ACCESS EXCLUSIVE MODE")


def _sqlite_triggers() -> Iterator[str]:
    for name in APPEND_ONLY:
        table = PREFIX + name
        yield _sqlite_trigger(f"{table}_no_update", f"BEFORE UPDATE ON {table}", f"{name} is append-only")
        allowed = f" WHEN NOT EXISTS ({_LISTED})" if name == "event" else ""
        yield _sqlite_trigger(
            f"{table}_no_delete", f"BEFORE DELETE ON {table}{allowed}", f"{name} is append-only"
        )
        keys = [column.name for column in metadata.tables[table].primary_key]
        same = " AND ".join(f"t.{key} = NEW.{key}" for key in keys)
        # INSERT OR REPLACE fires neither of the two above.
        yield (
            f"CREATE TRIGGER IF NOT EXISTS {table}_no_replace BEFORE INSERT ON {table} "
            f"WHEN EXISTS (SELECT 1 FROM {table} t WHERE {same}) BEGIN SELECT RAISE(IGNORE); END"
        )


def _sqlite_trigger(name: str, event: str, message: str) -> str:
    return (
        f"CREATE TRIGGER IF NOT EXISTS {name} {event} BEGIN SELECT RAISE(ABORT, 'consentkit: {message}'); END"
    )


def _postgresql_triggers() -> Iterator[str]:
    yield (
        f"CREATE OR REPLACE FUNCTION {PREFIX}refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"{_RAISE} END $$"
    )
    yield (
        f"CREATE OR REPLACE FUNCTION {PREFIX}refuse_unlisted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF EXISTS ({_LISTED}) THEN RETURN OLD; END IF; "
        f"{_RAISE} END $$"
    )
    for name in APPEND_ONLY:
        table = PREFIX + name
        delete = "refuse_unlisted" if name == "event" else "refuse"
        yield _postgresql_trigger(f"{table}_no_update", f"BEFORE UPDATE ON {table} FOR EACH ROW", "refuse")
        yield _postgresql_trigger(f"{table}_no_delete", f"BEFORE DELETE ON {table} FOR EACH ROW", delete)
        yield _postgresql_trigger(
            f"{table}_no_truncate", f"BEFORE TRUNCATE ON {table} FOR EACH STATEMENT", "refuse"
        )


def _postgresql_trigger(name: str, event: str, function: str) -> str:
    return f"CREATE OR REPLACE TRIGGER {name} {event} EXECUTE FUNCTION {PREFIX}{function}()"


STEPS: Mapping[int, Callable[[Dialect], Iterator[str]]] = {
    1: _tables_and_triggers,
    2: _deliveries,
    3: _invitations,
    4: _audiences,
    5: _erasures,
}
"""What each step runs. A step that was released is never changed: add the next number below."""

VERSION = max(STEPS)
