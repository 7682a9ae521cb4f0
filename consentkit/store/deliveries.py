"""What deliveries have come to: by event and recipient, and by recipient. Nothing here writes."""

# ruff: noqa: S608 - every name is a constant of this package, every value a bind parameter
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from consentkit.store import sql
from consentkit.store.database import Tx
from consentkit.store.following import position_in
from consentkit.store.tables import PREFIX as _P

_AT_ONCE = 500
_OF_LEAVES = (
    "SELECT d.leaf_index, d.recipient, d.status, d.attempts, d.next_try_us, d.delivered_us, d.tried_us, "
    f"d.last_error, r.disabled_us FROM {_P}recipient r JOIN {_P}delivery d ON d.recipient = r.recipient "
    "AND d.leaf_index IN ({marks}) ORDER BY d.leaf_index, d.recipient"
)
_RECIPIENTS = f"SELECT recipient, since_leaf, disabled_us FROM {_P}recipient ORDER BY recipient"
_OPEN = f"SELECT COUNT(*), MIN(queued_us), MIN(leaf_index) FROM {_P}delivery WHERE recipient = ? AND status = 'pending'"
_FIRST = (
    f"SELECT attempts, next_try_us, last_error FROM {_P}delivery "
    "WHERE recipient = ? AND leaf_index = ? AND status = 'pending'"
)
_ERASED = (
    f"SELECT l.leaf_index FROM {_P}event e LEFT JOIN {_P}leaf l ON l.bucket = e.bucket AND l.event_id = e.event_id "
    "WHERE e.bucket = ? AND e.subject_key = ? AND e.kind = 'subject' AND e.item = 'subject' "
    "AND e.action = 'erased'"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One message as the database knows it. Times in microseconds UTC."""

    leaf_index: int
    recipient: str
    status: str
    attempts: int = 0
    next_try_us: int | None = None
    delivered_us: int | None = None
    tried_us: int | None = None
    last_error: str | None = None
    disabled_us: int | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """A recipient: since which leaf it is told (-1: no more), what is open, how the first open message stands."""

    recipient: str
    since_leaf: int
    disabled_us: int | None
    open: int = 0
    oldest_us: int | None = None
    attempts: int = 0
    next_try_us: int | None = None
    last_error: str | None = None


def rows_of(tx: Tx, leaves: Sequence[int]) -> list[Row]:
    """The messages about these leaves."""
    found = []
    for start in range(0, len(leaves), _AT_ONCE):
        some = leaves[start : start + _AT_ONCE]
        statement = _OF_LEAVES.format(marks=", ".join("?" * len(some)))
        found += [Row(*row) for row in tx.run(statement, some)]
    return found


def queued_up_to(tx: Tx) -> int:
    """The last leaf whose messages are queued; -1: none."""
    place = position_in(tx, sql.WEBHOOKS)
    return -1 if place is None else place.position


def standings(tx: Tx) -> list[Standing]:
    """Who is told, or was and still waits, and for what."""
    found = []
    for recipient, leaf, disabled_us in tx.run(_RECIPIENTS):
        number, oldest_us, first = tx.run(_OPEN, (recipient,))[0]
        if leaf < 0 and not number:
            continue
        head = tx.run(_FIRST, (recipient, first)) if number else []
        found.append(Standing(recipient, leaf, disabled_us, number, oldest_us, *(head[0] if head else ())))
    return found


def confirmed(tx: Tx, bucket: int, key: bytes) -> bool:
    """Whether everybody who had to be told of an erasure has confirmed it; False when nobody had to be."""
    leaves = [row[0] for row in tx.run(_ERASED, (bucket, key))]
    if not leaves or None in leaves or max(leaves) > queued_up_to(tx):
        return False
    return all_delivered(rows_of(tx, leaves))


def all_delivered(rows: Iterable[Row]) -> bool:
    """Whether there were messages, and all of them arrived."""
    states = {row.status for row in rows}
    return states == {"delivered"}
