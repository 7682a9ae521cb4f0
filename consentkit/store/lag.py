"""How far behind the ledger's followers are: what waits to be sealed, to be read, to be delivered."""

# ruff: noqa: S608 - every name is a constant of this package, every value a bind parameter
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from consentkit.store.database import Tx
from consentkit.store.tables import PREFIX as _P

_WAITING = f"SELECT COUNT(*), MIN(CAST(event_id AS TEXT)) FROM {_P}pending"
_SIZE = f"SELECT COALESCE(MAX(leaf_index) + 1, 0) FROM {_P}leaf"
_FOLLOWERS = f"SELECT name, position FROM {_P}follower ORDER BY name"
_OPEN = f"SELECT recipient, COUNT(*) FROM {_P}delivery WHERE status = 'pending' GROUP BY recipient"
_FIRST = f"SELECT queued_us FROM {_P}delivery WHERE recipient = ? AND status = 'pending' ORDER BY leaf_index LIMIT 1"


@dataclass(frozen=True, slots=True)
class Lag:
    """What waits, and since when in microseconds. `behind`: sealed events by follower that it has not handled."""

    unsealed: int
    unsealed_since_us: int | None
    behind: Mapping[str, int]
    undelivered: Mapping[str, int]
    undelivered_since_us: Mapping[str, int]


def read_lag(tx: Tx) -> Lag:
    """What waits now."""
    unsealed, first = tx.run(_WAITING)[0]
    size = tx.run(_SIZE)[0][0]
    undelivered: dict[str, int] = dict(tx.run(_OPEN))
    since = {recipient: rows[0][0] for recipient in undelivered if (rows := tx.run(_FIRST, (recipient,)))}
    return Lag(
        unsealed,
        None if first is None else minted_us(str(first)),
        {name: max(0, size - 1 - position) for name, position in tx.run(_FOLLOWERS)},
        undelivered,
        {recipient: us for recipient, us in since.items() if us is not None},
    )


def minted_us(event_id: str) -> int:
    """The moment in an event's id (UUIDv7), to the millisecond."""
    return int(event_id.replace("-", "")[:12], 16) * 1000
