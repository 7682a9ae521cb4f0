"""Accounts, letters sent and page views, in one SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

TABLES = """
create table if not exists account (
    id text primary key, email text not null unique, password text not null
);
create table if not exists sent (
    account text not null, letter text not null, at text not null default current_timestamp
);
create table if not exists message (
    contact text not null, title text not null, text text not null, url text not null,
    at text not null default current_timestamp
);
create table if not exists view (path text primary key, views integer not null);
"""


class Database:
    """A file that is opened for each use: simple, and safe between threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self.transaction() as db:
            db.executescript(TABLES)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A connection whose changes are committed at the end, or none of them."""
        with closing(sqlite3.connect(self._path, timeout=10)) as db, db:
            db.row_factory = sqlite3.Row
            yield db
