"""The Merkle tree as it is stored: leaf hashes, roots of full tiles, the head."""

# ruff: noqa: S608 - every name is a constant of this package, every value a bind parameter
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

from consentkit.core.errors import LedgerBroken
from consentkit.core.merkle import Frontier, HashReader, TileRoot
from consentkit.store.database import Database, Params, Tx
from consentkit.store.tables import PREFIX as _P

LOG_ID = "log"
_LEAVES = f"INSERT INTO {_P}leaf (leaf_index, bucket, event_id, hash) VALUES (?, ?, ?, ?)"
_LEAVES_TOGETHER = (
    f"INSERT INTO {_P}leaf (leaf_index, bucket, event_id, hash) "
    "SELECT CAST(? AS bigint) + n - 1, CAST(b AS smallint), CAST(e AS uuid), decode(h, 'hex') FROM unnest("
    "string_to_array(?, ','), string_to_array(?, ','), string_to_array(?, ',')) WITH ORDINALITY AS t(b, e, h, n)"
)
"""One statement for PostgreSQL. Lists go as text: drivers quote arrays slowly."""


class Reads(Protocol):
    """A transaction or a snapshot: whatever can be asked."""

    def run(self, sql: str, params: Params = ()) -> list[tuple[Any, ...]]:
        """Execute one statement and fetch its rows."""


@dataclass(frozen=True, slots=True)
class Head:
    """Who the log is and how far it is sealed."""

    origin: str
    frontier: Frontier


def read_head(tx: Tx, *, lock: str = "") -> Head | None:
    """The head, or None before the first seal. `lock`: a PostgreSQL locking clause."""
    rows = tx.run(f"SELECT origin, size, frontier FROM {_P}head WHERE log_id = ?{lock}", (LOG_ID,))
    if not rows:
        return None
    origin, size, frontier = rows[0]
    try:
        read = Frontier.from_bytes(bytes(frontier))
    except (ValueError, TypeError) as error:
        raise LedgerBroken(f"the head of the log is damaged: {error}", at="head") from None
    if read.size != size:
        raise LedgerBroken(f"the head says {size} leaves, its frontier {read.size}", at="head")
    return Head(origin, read)


def latest_note(tx: Tx, size: int | None = None) -> str | None:
    """The signed checkpoint of a size, or the latest one."""
    where = "" if size is None else " WHERE tree_size = ?"
    params = () if size is None else (size,)
    statement = f"SELECT note FROM {_P}checkpoint{where} ORDER BY tree_size DESC LIMIT 1"
    rows = tx.run(statement, params)
    return str(rows[0][0]) if rows else None


def hash_reader(tx: Tx) -> HashReader:
    """Reads neighbouring hashes: level 0 from the leaves, higher ones from the full tiles' roots."""

    def read(level: int, first: int, count: int) -> Sequence[bytes]:
        if level == 0:
            where, params = "leaf_index >= ? AND leaf_index < ? ORDER BY leaf_index", (first, first + count)
            rows = tx.run(f"SELECT hash FROM {_P}leaf WHERE {where}", params)
        else:
            where = "level = ? AND idx >= ? AND idx < ? ORDER BY idx"
            rows = tx.run(f"SELECT hash FROM {_P}node WHERE {where}", (level, first, first + count))
        return [bytes(row[0]) for row in rows]

    return read


def add_leaves(
    tx: Tx, first: int, places: Sequence[tuple[int, str]], hashes: Sequence[bytes], *, postgresql: bool
) -> None:
    """Store the leaves from index `first` on; `places`: the bucket and event id of each."""
    if not postgresql:
        rows = zip(range(first, first + len(places)), places, hashes, strict=True)
        tx.many(_LEAVES, [(index, *place, value) for index, place, value in rows])
    elif places:
        tx.count(_LEAVES_TOGETHER, (first, *joined(places), ",".join(map(bytes.hex, hashes))))


def joined(places: Sequence[tuple[int, str]]) -> tuple[str, str]:
    """Buckets and event ids, each as one text with commas."""
    return ",".join(str(bucket) for bucket, _ in places), ",".join(event_id for _, event_id in places)


def add_nodes(tx: Tx, tiles: Sequence[TileRoot]) -> None:
    """Store the roots of full tiles."""
    rows = [(tile.level, tile.index, tile.hash) for tile in tiles]
    tx.many(f"INSERT INTO {_P}node (level, idx, hash) VALUES (?, ?, ?)", rows)


def origin_prefix(database: Database) -> str:
    """How the origins of a database's logs begin: by the name of the database, no two of them alike."""
    name = database.engine.url.database or "ledger"
    return f"consentkit/{quote(name.rsplit('/', 1)[-1], safe='')}/"


def earlier_logs(tx: Reads) -> list[tuple[str, int]]:
    """Origins that this log had before (`store.restoring`), with the size at which each ended, oldest first."""
    statement = f"SELECT origin, size FROM {_P}head WHERE log_id <> ? ORDER BY size, log_id"
    return [(str(origin), size) for origin, size in tx.run(statement, (LOG_ID,)) if isinstance(size, int)]
