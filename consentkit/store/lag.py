"""How far behind the ledger's followers are: what waits to be sealed, to be read, to be delivered."""

# ruff: noqa: S608 - every name is a constant of this package, every value a bind parameter
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from consentkit.store import sql
from consentkit.store.database import Tx
from consentkit.store.tables import PREFIX as _P

_WAITING = f"SELECT COUNT(*), MIN(CAST(event_id AS TEXT)) FROM {_P}pending"
_SIZE = f"SELECT COALESCE(MAX(leaf_index) + 1, 0) FROM {_P}leaf"
_FOLLOWERS = f"SELECT name, position FROM {_P}follower ORDER BY name"
_OPEN = f"SELECT recipient, COUNT(*), MIN(queued_us) FROM {_P}delivery WHERE status = 'pending' GROUP BY recipient"
_SOME = 1000
"""A batch of the sealer is in no order of time: the oldest is looked for among so many of the first."""
_FIRST = (
    f"SELECT MIN(id) FROM (SELECT CAST(l.event_id AS TEXT) AS id FROM {_P}delivery d "
    f"JOIN {_P}leaf l ON l.leaf_index = d.leaf_index WHERE d.recipient = ? AND d.status = 'pending' "
    f"AND d.delivered_us IS NULL ORDER BY d.leaf_index LIMIT {_SOME}) AS found"
)
_LEAVES = (
    f"SELECT MIN(id) FROM (SELECT CAST(event_id AS TEXT) AS id FROM {_P}leaf WHERE leaf_index >= ? "
    f"ORDER BY leaf_index LIMIT {_SOME}) AS found"
)
_TOLD = f"SELECT MIN(since_leaf) FROM {_P}recipient WHERE since_leaf >= 0"
_QUEUED = f"SELECT position FROM {_P}follower WHERE name = ?"


@dataclass(frozen=True, slots=True)
class Lag:
    """What waits, and since when in microseconds. `behind`: sealed events by follower that it has not handled.

    `unqueued`: sealed events of which nobody has found out yet who has to be told. A message waits since its event
    was recorded; one that is sent once more, since that was asked for.
    """

    unsealed: int
    unsealed_since_us: int | None
    behind: Mapping[str, int]
    unqueued: int
    unqueued_since_us: int | None
    undelivered: Mapping[str, int]
    undelivered_since_us: Mapping[str, int]


def read_lag(tx: Tx) -> Lag:
    """What waits now."""
    unsealed, first = tx.run(_WAITING)[0]
    size = tx.run(_SIZE)[0][0]
    open_ = tx.run(_OPEN)
    since = {recipient: _since(tx, recipient, queued_us) for recipient, _, queued_us in open_}
    return Lag(
        unsealed,
        None if first is None else minted_us(str(first)),
        {name: max(0, size - 1 - position) for name, position in tx.run(_FOLLOWERS)},
        *unqueued(tx),
        {recipient: number for recipient, number, _ in open_},
        {recipient: us for recipient, us in since.items() if us is not None},
    )


def unqueued(tx: Tx) -> tuple[int, int | None]:
    """How many sealed events are not queued for recipients, and since when the first waits."""
    first = tx.run(_TOLD)[0][0]
    if first is None:
        return 0, None
    rows = tx.run(_QUEUED, (sql.WEBHOOKS,))
    after = rows[0][0] + 1 if rows else first
    oldest = tx.run(_LEAVES, (after,))[0][0]
    return max(0, tx.run(_SIZE)[0][0] - after), None if oldest is None else minted_us(oldest)


def _since(tx: Tx, recipient: str, queued_us: int | None) -> int | None:
    oldest = tx.run(_FIRST, (recipient,))[0][0]
    moments = (queued_us, None if oldest is None else minted_us(oldest))
    return min((us for us in moments if us is not None), default=None)


def minted_us(event_id: str) -> int:
    """The moment in an event's id (UUIDv7), to the millisecond."""
    return int(event_id.replace("-", "")[:12], 16) * 1000
