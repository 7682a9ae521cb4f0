"""The sealer: drains pending rows into the Merkle tree and signs a checkpoint, in one transaction each.

Many may run; a lock on the head lets one win. It refuses and reports rows without this installation's mark,
and it refuses to go on where the anchor knows more than the database.
"""

# ruff: noqa: S608 - every name is a constant of this package, every value a bind parameter
from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from consentkit.core.errors import ConsentKitError, LedgerBroken
from consentkit.core.merkle import TILE_HEIGHT, Frontier, HashesMissing, leaf_hash, root_at
from consentkit.core.record import commitment
from consentkit.proof import Checkpoint, NoteInvalid, sign_checkpoint, verify_checkpoint
from consentkit.store.clock import Clock
from consentkit.store.database import Database, Rows, Tx
from consentkit.store.keys import Keyed
from consentkit.store.log_keys import LogKeys
from consentkit.store.tables import PREFIX as _P
from consentkit.store.tree import (
    LOG_ID,
    Head,
    add_leaves,
    add_nodes,
    earlier_logs,
    hash_reader,
    joined,
    latest_note,
    origin_prefix,
    read_head,
)

BATCH = 5000
Progress = Callable[[int], None]
_PENDING = (
    "SELECT p.bucket, CAST(p.event_id AS TEXT), p.commitment, p.mac, e.commitment, e.salt, e.body, l.leaf_index "
    f"FROM {_P}pending p LEFT JOIN {_P}event e ON e.bucket = p.bucket AND e.event_id = p.event_id "
    f"LEFT JOIN {_P}leaf l ON l.bucket = p.bucket AND l.event_id = p.event_id "
    "{after}ORDER BY p.bucket, p.event_id LIMIT ?"
)
_SEALED = f"DELETE FROM {_P}pending WHERE bucket = ? AND event_id = ?"
_SEALED_TOGETHER = (
    f"DELETE FROM {_P}pending p USING unnest(string_to_array(?, ','), string_to_array(?, ',')) AS d(b, e) "
    "WHERE p.bucket = CAST(d.b AS smallint) AND p.event_id = CAST(d.e AS uuid)"
)
# MAX reads one end of an index; a comparison may scan the table where statistics are old.
_LAST = f"SELECT (SELECT MAX(leaf_index) FROM {_P}leaf), (SELECT MAX(idx) FROM {_P}node WHERE level = 1)"


@dataclass(frozen=True, slots=True)
class Sealed:
    """What a seal did. `refused`: ids of pending rows without a good mark; `busy`: another sealer is at work."""

    events: int
    size: int
    refused: tuple[str, ...] = ()
    busy: bool = False


@dataclass(frozen=True, slots=True)
class _Batch:
    events: int
    checkpoint: Checkpoint
    refused: tuple[str, ...]
    last: tuple[int, str] | None


class Sealer:
    """Seals one database with one key."""

    def __init__(self, database: Database, keyed: Keyed, keys: LogKeys, clock: Clock) -> None:
        self._database, self._keyed, self._keys, self._clock = database, keyed, keys, clock

    def seal(self, progress: Progress | None = None) -> Sealed:
        """Seal everything that is pending, batch by batch, and publish each checkpoint to the anchor.

        Raises LedgerBroken when database and anchor contradict each other, StoreUnavailable.
        """
        events, refused = 0, list[str]()
        last: tuple[int, str] | None = None
        anchor = self._keys.anchor
        if anchor is not None:
            anchor.check()
        while True:
            batch = self._database.write(lambda tx, last=last: self._batch(tx, last))  # type: ignore[misc]
            if batch is None:
                return Sealed(events, 0, tuple(refused), busy=True)
            if anchor is not None:
                anchor.publish(batch.checkpoint)
            events, last = events + batch.events, batch.last
            refused += batch.refused
            if progress is not None:
                progress(events)
            if last is None:
                return Sealed(events, batch.checkpoint.size, tuple(refused))

    def _batch(self, tx: Tx, after: tuple[int, str] | None) -> _Batch | None:
        head = self._head(tx)
        if head is None:
            return None
        self._check_note(tx, head)
        self._check_anchor(tx, head)
        size = head.frontier.size
        if _reaches(tx, size):
            raise LedgerBroken("there are leaves that no head knows: somebody added them", at=f"leaf {size}")
        rows = self._pending(tx, after)
        good = [row for row in rows if self._is_good(row)]
        kept = {row[1] for row in good}
        refused = tuple(str(row[1]) for row in rows if row[1] not in kept)
        hashes = [leaf_hash(bytes(row[2])) for row in good]
        frontier, tiles = head.frontier.extend(hashes)
        postgresql = self._database.postgresql
        places = [(row[0], row[1]) for row in good]
        add_leaves(tx, size, places, hashes, postgresql=postgresql)
        add_nodes(tx, tiles)
        self._forget(tx, places)
        checkpoint = self._sign(tx, Head(head.origin, frontier), fresh=bool(good))
        full = len(rows) == BATCH
        return _Batch(len(good), checkpoint, refused, (rows[-1][0], str(rows[-1][1])) if full else None)

    def _head(self, tx: Tx) -> Head | None:
        """The head, locked; None while another sealer holds it."""
        if read_head(tx) is None:
            fault = self._replaced(tx)
            # Another sealer may have begun the log since that read; a head that was deleted stays away.
            if fault is not None and read_head(tx) is None:
                raise fault
            origin = f"{origin_prefix(self._database)}{secrets.token_hex(8)}"
            row = (LOG_ID, origin, 0, Frontier().to_bytes())
            columns = "log_id, origin, size, frontier"
            conflict = "ON CONFLICT (log_id) DO NOTHING"
            tx.count(f"INSERT INTO {_P}head ({columns}) VALUES (?, ?, ?, ?) {conflict}", row)
        return read_head(tx, lock=" FOR UPDATE SKIP LOCKED" if self._database.postgresql else "")

    def _replaced(self, tx: Tx) -> LedgerBroken | None:
        """The fault of a database without a head that has leaves, or that the anchor knows: emptied or replaced."""
        prefix = origin_prefix(self._database)
        lines = self._keys.anchor.lines() if self._keys.anchor is not None else ()
        known = [line for line in lines if line.origin.startswith(prefix) and line.size]
        if known:
            return LedgerBroken(
                f"the anchor knows the log {known[-1].origin} of this database with {known[-1].size} events, and "
                "the database has no log: restore it from a backup. If it was thrown away on purpose, move the "
                "anchor file away as well",
                at="head",
            )
        if _reaches(tx, 0):
            return LedgerBroken(
                "there are leaves, but no head: it was deleted. Restore the database from a backup", at="head"
            )
        return None

    def _check_note(self, tx: Tx, head: Head) -> None:
        """The frontier must be what was signed last."""
        if head.frontier.size == 0 and latest_note(tx) is None:
            return
        note = latest_note(tx, head.frontier.size)
        if note is None:
            raise LedgerBroken("the signed checkpoint of the head is missing", at="checkpoint")
        ended = {size: origin for origin, size in earlier_logs(tx)}
        try:
            signed = verify_checkpoint(note, self._keys.verifier, ended.get(head.frontier.size, head.origin))
        except NoteInvalid as error:
            raise LedgerBroken(
                f"the last checkpoint is not signed by the pinned key: {error}", at="checkpoint"
            ) from None
        if signed.root != head.frontier.root() or signed.size != head.frontier.size:
            raise LedgerBroken("the head is not what was signed last", at="head")

    def _check_anchor(self, tx: Tx, head: Head) -> None:
        """The anchor must not know more than the database, nor anything else."""
        last = self._keys.anchor.last(head.origin) if self._keys.anchor is not None else None
        if last is None:
            return
        size = head.frontier.size
        if last.size > size:
            raise LedgerBroken(
                f"the anchor knows {last.size} sealed events, the database {size}: it was rolled back "
                "or its tail was cut. Restore the missing events from a newer backup; only where there is none, "
                "`flask consent new-log` goes on without them and records the loss",
                at=f"leaf {size}",
            )
        try:
            root = head.frontier.root() if last.size == size else root_at(hash_reader(tx), last.size)
        except HashesMissing as error:
            raise LedgerBroken(f"the stored tree has holes: {error}", at=f"size {last.size}") from None
        if root != last.root:
            raise LedgerBroken("the anchor has another tree than the database", at=f"size {last.size}")

    def _pending(self, tx: Tx, after: tuple[int, str] | None) -> Rows:
        if after is None:
            return tx.run(_PENDING.format(after=""), (BATCH,))
        cast = "CAST(? AS uuid)" if self._database.postgresql else "?"
        where = f"WHERE (p.bucket, p.event_id) > (?, {cast}) "
        return tx.run(_PENDING.format(after=where), (*after, BATCH))

    def _is_good(self, row: tuple[Any, ...]) -> bool:
        """Written by this installation, and the event it speaks of is there, unchanged and not sealed yet."""
        _, _, waiting, mac, stored, salt, body, leaf_index = row
        if stored is None or leaf_index is not None:
            return False
        try:
            same = waiting == stored == commitment(salt, body)
            return same and secrets.compare_digest(self._keyed.mac(waiting), mac)
        except (TypeError, ValueError, AttributeError):  # SQLite holds any type in any column
            return False

    def _forget(self, tx: Tx, places: list[tuple[int, str]]) -> None:
        """Delete the pending rows that were sealed."""
        if self._database.postgresql and places:
            tx.count(_SEALED_TOGETHER, joined(places))
        else:
            tx.many(_SEALED, places)

    def _sign(self, tx: Tx, head: Head, *, fresh: bool) -> Checkpoint:
        checkpoint = Checkpoint(head.origin, head.frontier.size, head.frontier.root())
        if not fresh and latest_note(tx, checkpoint.size) is not None:
            return checkpoint
        if self._keys.signing is None:
            raise ConsentKitError(
                "this process has no signing key and cannot seal: set CONSENTKIT_LOG_KEY, or put the key file "
                "consentkit-log.key back"
            )
        note = sign_checkpoint(checkpoint, self._keys.signing)
        state = (checkpoint.size, head.frontier.to_bytes(), LOG_ID)
        tx.count(f"UPDATE {_P}head SET size = ?, frontier = ? WHERE log_id = ?", state)
        row = (checkpoint.size, note, self._clock.now(), int(self._keys.anchor is not None))
        columns = "tree_size, note, signed_us, published"
        tx.count(f"INSERT INTO {_P}checkpoint ({columns}) VALUES (?, ?, ?, ?)", row)
        return checkpoint


def _reaches(tx: Tx, size: int) -> bool:
    """Whether there are leaves or tiles beyond a size."""
    leaf_index, tile = tx.run(_LAST)[0]
    return (leaf_index is not None and leaf_index >= size) or (
        tile is not None and tile >= size >> TILE_HEIGHT
    )
