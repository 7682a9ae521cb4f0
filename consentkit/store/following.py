"""Followers read the sealed ledger in leaf order and keep their place: webhooks, exports, search indexes.

The ledger is the outbox: there is no second table of messages. An event is handled at least once, never out of
order, and a follower that fails stops only itself.
"""

# ruff: noqa: S608 - every name is a constant of this package, every value a bind parameter
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from consentkit.core.record import Event
from consentkit.store.database import Database, Tx
from consentkit.store.reading import Erased, LedgerReader
from consentkit.store.tables import PREFIX as _P

Handler = Callable[[Event | Erased], None]
PAGE = 200
MINUTE_US = 60 * 1_000_000
PAUSES_US = tuple(minutes * MINUTE_US for minutes in (0, 1, 5, 30, 120, 600, 1440))
"""How long a failing follower waits, by the number of failures in a row."""
_FIND = f"SELECT position, failures, next_try_us, last_error FROM {_P}follower WHERE name = ?"
_MAKE = f"INSERT INTO {_P}follower (name, position, failures) VALUES (?, -1, 0) ON CONFLICT (name) DO NOTHING"
_MOVE = (
    f"UPDATE {_P}follower SET position = ?, failures = 0, next_try_us = NULL, last_error = NULL "
    "WHERE name = ? AND position < ?"
)
_FAIL = f"UPDATE {_P}follower SET failures = failures + 1, next_try_us = ?, last_error = ? WHERE name = ?"


@dataclass(frozen=True, slots=True)
class Followed:
    """Where a follower stands: `position` is the leaf index handled last, -1 before the first.

    `handled` counts this run; `error` is what the handler raised last; `next_try_us` is when to try again.
    """

    name: str
    position: int
    handled: int = 0
    failures: int = 0
    next_try_us: int | None = None
    error: str | None = None


def follow(
    database: Database,
    reader: LedgerReader,
    name: str,
    handle: Handler,
    now_us: int,
    *,
    tenant: str | None = None,
) -> Followed:
    """Handle what was sealed since the last run, until nothing is left or the handler raises.

    The place is kept after each event, outside any transaction of the handler. Raises StoreUnavailable.
    """
    place = position(database, name)
    if place.next_try_us is not None and now_us < place.next_try_us:
        return place
    handled, at = 0, place.position
    while True:
        page = reader.sealed(after=at, limit=PAGE, tenant=tenant)
        for event in page:
            index = event.leaf_index if event.leaf_index is not None else at
            try:
                handle(event)
            except Exception as error:
                failing = _failed(database, name, place.failures if not handled else 0, error, now_us)
                return Followed(name, at, handled, failing.failures, failing.next_try_us, failing.error)
            database.write(lambda tx, i=index: tx.count(_MOVE, (i, name, i)))  # type: ignore[misc]
            handled, at = handled + 1, index
        if len(page) < PAGE:
            return Followed(name, at, handled)


def position(database: Database, name: str) -> Followed:
    """Where a follower stands; a new one is made."""

    def work(tx: Tx) -> Followed:
        tx.count(_MAKE, (name,))
        return position_in(tx, name) or Followed(name, -1)

    return database.read(lambda tx: position_in(tx, name)) or database.write(work)


def position_in(tx: Tx, name: str) -> Followed | None:
    """The same inside a transaction; None for one that has never run."""
    rows = tx.run(_FIND, (name,))
    if not rows:
        return None
    at, failures, next_try_us, error = rows[0]
    return Followed(name, at, 0, failures, next_try_us, error)


def _failed(database: Database, name: str, failures: int, error: Exception, now_us: int) -> Followed:
    pause = PAUSES_US[min(failures, len(PAUSES_US) - 1)]
    what = f"{type(error).__name__}: {error}"[:500]
    database.write(lambda tx: tx.count(_FAIL, (now_us + pause, what, name)))
    return position(database, name)
