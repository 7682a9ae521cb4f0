"""Checkpoints and proofs for readers: a proof is a text that verifies without the ledger."""

# ruff: noqa: S608 - every name is a constant of this package, every value a bind parameter
from __future__ import annotations

from consentkit.core.errors import ConsentKitError, LedgerBroken
from consentkit.core.merkle import TILE_WIDTH, HashesMissing, inclusion_proof, tile_width
from consentkit.core.notice import canonical_json
from consentkit.proof import Checkpoint, TlogProof
from consentkit.store.clock import bucket_of_event
from consentkit.store.database import Tx
from consentkit.store.sql import LEAF_OF_EVENT
from consentkit.store.tables import PREFIX as _P
from consentkit.store.tree import hash_reader, latest_note


class NotSealed(ConsentKitError):
    """The event is not sealed yet: run `flask consent seal`, then there is a proof."""


def read_checkpoint(tx: Tx) -> str | None:
    """The latest signed checkpoint (c2sp.org/tlog-checkpoint), or None before the first seal."""
    return latest_note(tx)


def prove(tx: Tx, event_id: str) -> str:
    """The proof that an event is in the ledger (c2sp.org/tlog-proof@v1), with its body and salt as `extra`.

    Raises NotSealed, LookupError for an unknown id, LedgerBroken where the stored tree has holes.
    """
    try:
        where = (bucket_of_event(event_id), event_id)
    except ValueError:
        raise LookupError(f"there is no event {event_id!r}") from None
    found = tx.run(f"SELECT body, salt FROM {_P}event WHERE bucket = ? AND event_id = ?", where)
    if not found:
        raise LookupError(f"there is no event {event_id!r}")
    leaf = tx.run(LEAF_OF_EVENT, where)
    note = latest_note(tx)  # after the leaf: a checkpoint that covers it
    if not leaf or note is None:
        raise NotSealed
    index = int(leaf[0][0])
    body, salt = found[0]
    try:
        hashes = inclusion_proof(hash_reader(tx), index, _size(note))
    except (ValueError, HashesMissing) as error:
        raise LedgerBroken(f"the stored tree gives no proof: {error}", at=f"leaf {index}") from None
    extra = canonical_json({"body": body, "salt": bytes(salt).hex()}).encode()
    return str(TlogProof(index, hashes, note, extra))


def read_tile(tx: Tx, level: int, number: int, width: int) -> bytes | None:
    """The first `width` hashes of a tile (c2sp.org/tlog-tiles), or None where the latest checkpoint has fewer.

    Raises LedgerBroken where the stored tree has holes.
    """
    note = latest_note(tx)
    try:
        size = 0 if note is None else _size(note)
    except ValueError as error:
        raise LedgerBroken(f"the latest checkpoint is damaged: {error}", at="checkpoint") from None
    if not 0 < width <= tile_width(level, number, size):
        return None
    first = number * TILE_WIDTH
    hashes = hash_reader(tx)(level, first, width)
    if len(hashes) != width:
        raise LedgerBroken("the stored tree has holes", at=f"level {level} from number {first}")
    return b"".join(hashes)


def _size(note: str) -> int:
    """The size that a checkpoint is of. Raises NoteInvalid."""
    return Checkpoint.parse(note.split("\n\n", 1)[0] + "\n").size
