"""Delivering: one deliverer at a time has a recipient, by a lease that ends by itself; the oldest message first.

A message that fails stays the recipient's first and blocks what follows, so that a withdrawal never overtakes
the grant before it. A deliverer that dies is replaced when its lease is over: the recipient may then see a
message again, under the same id.
"""

# ruff: noqa: S608 - every name is a constant of this package, every value a bind parameter
from __future__ import annotations

import secrets
from dataclasses import dataclass

from consentkit.core.webhooks import SECOND_US
from consentkit.store.database import Database, Tx
from consentkit.store.tables import PREFIX as _P

LEASE_US = 90 * SECOND_US
"""Longer than any attempt may take."""
_DAY_US = 24 * 3600 * SECOND_US

_RECIPIENTS = f"SELECT recipient FROM {_P}recipient WHERE disabled_us IS NULL ORDER BY recipient"
_HEAD = (
    "SELECT d.leaf_index, CAST(l.event_id AS TEXT), d.attempts, d.next_try_us, d.subject_sealed "
    f"FROM {_P}delivery d JOIN {_P}leaf l ON l.leaf_index = d.leaf_index "
    "WHERE d.recipient = ? AND d.status = 'pending' ORDER BY d.leaf_index LIMIT 1"
)
_LEASE = (
    f"UPDATE {_P}recipient SET lease = ?, lease_until_us = ? WHERE recipient = ? AND disabled_us IS NULL "
    "AND (lease IS NULL OR lease = ? OR lease_until_us NOT BETWEEN ? AND ?)"
)
_RELEASE = f"UPDATE {_P}recipient SET lease = NULL, lease_until_us = NULL WHERE recipient = ? AND lease = ?"
_DELIVERED = (
    f"UPDATE {_P}delivery SET status = 'delivered', delivered_us = COALESCE(delivered_us, ?), tried_us = ?, "
    "attempts = attempts + 1, next_try_us = NULL, last_error = NULL, subject_sealed = NULL "
    "WHERE recipient = ? AND leaf_index = ?"
)
_FAILED = (
    f"UPDATE {_P}delivery SET attempts = attempts + 1, tried_us = ?, next_try_us = ?, last_error = ? "
    "WHERE recipient = ? AND leaf_index = ? AND status = 'pending'"
)
_HELD_UP = (
    f"UPDATE {_P}delivery SET last_error = ? WHERE recipient = ? AND leaf_index = ? AND status = 'pending' "
    "AND COALESCE(last_error, '') <> ?"
)
_DROP = (
    f"UPDATE {_P}delivery SET status = 'dropped', tried_us = ?, next_try_us = NULL, last_error = ?, "
    "subject_sealed = NULL WHERE recipient = ? AND status = 'pending' AND EXISTS "
    f"(SELECT 1 FROM {_P}recipient WHERE recipient = ? AND since_leaf < 0)"
)
_DISABLE = f"UPDATE {_P}recipient SET disabled_us = ? WHERE recipient = ?"
_ENABLE = f"UPDATE {_P}recipient SET disabled_us = NULL WHERE recipient = ?"
_AT_ONCE = f"UPDATE {_P}delivery SET next_try_us = NULL WHERE recipient = ? AND status = 'pending'"
_AGAIN = (
    f"INSERT INTO {_P}delivery (recipient, leaf_index, status, attempts, queued_us, subject_sealed) "
    "VALUES (?, ?, 'pending', 0, ?, ?) ON CONFLICT (recipient, leaf_index) DO UPDATE SET status = 'pending', "
    "attempts = 0, next_try_us = NULL, last_error = NULL, queued_us = excluded.queued_us, "
    "subject_sealed = excluded.subject_sealed"
)


@dataclass(frozen=True, slots=True)
class Head:
    """A recipient's first open message. `failures`: attempts so far."""

    recipient: str
    leaf_index: int
    event_id: str
    failures: int
    next_try_us: int | None
    sealed: bytes | None

    def due(self, now_us: int) -> bool:
        """Whether it may be tried; also when a clock that was far ahead has said when."""
        return self.next_try_us is None or not now_us < self.next_try_us < now_us + 2 * _DAY_US


class Deliverer:
    """The database's side of delivering. `token` names this deliverer."""

    def __init__(self, database: Database) -> None:
        self._database, self.token = database, secrets.token_hex(8)

    def recipients(self) -> list[str]:
        """Every recipient there ever was, but for those that want no more."""
        return [row[0] for row in self._database.read(lambda tx: tx.run(_RECIPIENTS))]

    def head(self, recipient: str) -> Head | None:
        """The message that is next."""
        return self._database.read(lambda tx: head_in(tx, recipient))

    def lease(self, recipient: str, now_us: int) -> bool:
        """Take a recipient, or keep it; False when another deliverer has it, or it is disabled."""
        return self._database.write(lambda tx: self._leased(tx, recipient, now_us))

    def _leased(self, tx: Tx, recipient: str, now_us: int) -> bool:
        """A lease that ends later than any lease can was made by a clock that was ahead."""
        sane = (now_us, now_us + _DAY_US)
        return tx.count(_LEASE, (self.token, now_us + LEASE_US, recipient, self.token, *sane)) == 1

    def release(self, recipient: str) -> None:
        """Let another one have it."""
        self._database.write(lambda tx: tx.count(_RELEASE, (recipient, self.token)))

    def delivered(self, head: Head, now_us: int) -> bool:
        """Write down that a message arrived, and wipe it. False when the lease was lost meanwhile."""

        def work(tx: Tx) -> bool:
            tx.count(_DELIVERED, (now_us, now_us, head.recipient, head.leaf_index))
            return self._leased(tx, head.recipient, now_us)

        return self._database.write(work)

    def failed(self, head: Head, now_us: int, next_try_us: int, error: str, *, gone: bool = False) -> None:
        """Write down that a message did not arrive; `gone`: the recipient is disabled until it is enabled."""

        def work(tx: Tx) -> None:
            tx.count(_FAILED, (now_us, next_try_us, error, head.recipient, head.leaf_index))
            if gone:
                tx.count(_DISABLE, (now_us, head.recipient))

        self._database.write(work)

    def held_up(self, head: Head, error: str) -> None:
        """Write down why a message was not even tried."""
        self._database.write(lambda tx: tx.count(_HELD_UP, (error, head.recipient, head.leaf_index, error)))

    def drop(self, recipient: str, now_us: int, reason: str) -> int:
        """Give up what is open for a recipient that is told no more, and wipe it; how many."""
        params = (now_us, reason, recipient, recipient)
        return self._database.write(lambda tx: tx.count(_DROP, params))

    def enable(self, recipient: str) -> bool:
        """Try a recipient again, now; False for one that there is not."""

        def work(tx: Tx) -> bool:
            tx.count(_AT_ONCE, (recipient,))
            return tx.count(_ENABLE, (recipient,)) == 1

        return self._database.write(work)


def head_in(tx: Tx, recipient: str) -> Head | None:
    """A recipient's first open message, inside a transaction."""
    rows = tx.run(_HEAD, (recipient,))
    if not rows:
        return None
    leaf_index, event_id, failures, next_us, sealed = rows[0]
    return Head(recipient, leaf_index, event_id, failures, next_us, None if sealed is None else bytes(sealed))


def send_again(tx: Tx, recipient: str, leaf_index: int, now_us: int, sealed: bytes) -> None:
    """Open a message once more, or for the first time. When it first arrived stays known."""
    tx.count(_AGAIN, (recipient, leaf_index, now_us, sealed))
