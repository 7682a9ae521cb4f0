"""The Merkle tree of the ledger: RFC 6962 hashing, proofs of inclusion and of consistency.

The tree of RFC 6962 section 2.1 (the same as RFC 9162 section 2.1.1) over SHA-256. Three ways to hold it:

- a *root*: 32 bytes that commit to every leaf and to their order;
- a `Frontier`: the size and the roots of the complete subtrees, enough to append and to know the root;
- *tiles* (c2sp.org/tlog-tiles): the nodes of level `L` are the roots of 256**L leaves each. Level 0 are the
  leaf hashes, level 1 the roots of 256 leaves, level 2 those of 65 536. Nothing in between is stored: a proof
  recomputes it from a handful of tiles, each a run of at most 256 neighbours of one level.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

HASH_BYTES = 32
TILE_HEIGHT, TILE_WIDTH = 8, 256
SIZE_LIMIT = 2**64  # tree sizes and leaf indexes are unsigned 64-bit numbers, as in other logs

EMPTY_ROOT = sha256(b"").digest()
"""The root of a tree without leaves (RFC 6962 section 2.1)."""

HashReader = Callable[[int, int, int], Sequence[bytes]]
"""`read(level, first, count)`: that many neighbouring nodes of a tile level, level 0 being leaf hashes."""


class ProofInvalid(ValueError):
    """The proof does not show what it claims to show."""


class HashesMissing(LookupError):
    """A reader did not give the hashes that the size of the tree promises."""


@dataclass(frozen=True, slots=True)
class TileRoot:
    """The root of a complete tile: the node `index` of `level`, over 256**level leaves."""

    level: int
    index: int
    hash: bytes


def leaf_hash(data: bytes) -> bytes:
    """The hash of one leaf (RFC 6962 section 2.1)."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node (RFC 6962 section 2.1)."""
    return sha256(b"\x01" + left + right).digest()


def _pair_up(row: Sequence[bytes]) -> list[bytes]:
    """The parents of a row of nodes; an unpaired last one is left out."""
    return [sha256(b"\x01" + left + right).digest() for left, right in zip(row[::2], row[1::2], strict=False)]


def _fold(peaks: Sequence[bytes]) -> bytes:
    """The root over the roots of ever smaller complete subtrees, the largest first."""
    root = peaks[-1]
    for peak in reversed(peaks[:-1]):
        root = node_hash(peak, root)
    return root


def _is_hash(value: object) -> bool:
    return isinstance(value, bytes) and len(value) == HASH_BYTES


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < SIZE_LIMIT


@dataclass(frozen=True, slots=True)
class Frontier:
    """All that is needed to append to a tree: its size and the roots of its complete subtrees, largest first.

    There is one such root for every bit that is set in the size (the compact range from leaf 0).
    """

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if not _is_size(self.size):
            raise ValueError("the size of a tree is a number from 0 to 2**64 - 1")
        if len(self.peaks) != self.size.bit_count() or not all(map(_is_hash, self.peaks)):
            raise ValueError(f"a tree of {self.size} leaves has {self.size.bit_count()} peaks of 32 bytes")

    def root(self) -> bytes:
        """The root hash of the tree."""
        return _fold(self.peaks) if self.peaks else EMPTY_ROOT

    def append(self, leaf_hashes: Iterable[bytes]) -> Frontier:
        """The frontier after these leaf hashes. Append many at once: it costs one hash per leaf."""
        return self.extend(leaf_hashes)[0]

    def extend(self, leaf_hashes: Iterable[bytes]) -> tuple[Frontier, list[TileRoot]]:
        """The frontier after these leaf hashes, and the roots of the tiles they completed, at every level."""
        row = list(leaf_hashes)
        if not all(map(_is_hash, row)):
            raise ValueError("a leaf hash is 32 bytes")
        size = self.size + len(row)
        old, new, tiles = list(self.peaks), list[bytes](), list[TileRoot]()
        height = 0
        while row or old:
            first = self.size >> height  # the index of row[0] among the complete nodes of this height
            level, within = divmod(height, TILE_HEIGHT)
            if level and not within:
                tiles += [TileRoot(level, first + offset, root) for offset, root in enumerate(row)]
            if first & 1:
                row.insert(0, old.pop())
            if len(row) & 1:
                new.append(row[-1])
            row = _pair_up(row)
            height += 1
        return Frontier(size, tuple(reversed(new))), tiles

    def to_bytes(self) -> bytes:
        """The size as 8 bytes, big-endian, and the peaks."""
        return self.size.to_bytes(8, "big") + b"".join(self.peaks)

    @classmethod
    def from_bytes(cls, data: bytes) -> Frontier:
        """Read `to_bytes`. Raises ValueError for anything else."""
        size, rest = int.from_bytes(data[:8], "big"), data[8:]
        if len(data) != 8 + HASH_BYTES * size.bit_count():
            raise ValueError(f"{len(data)} bytes are not a frontier")
        return cls(size, tuple(rest[at : at + HASH_BYTES] for at in range(0, len(rest), HASH_BYTES)))


def tile_width(level: int, tile: int, size: int) -> int:
    """How many hashes tile number `tile` of `level` holds in a tree of `size` leaves (tlog-tiles)."""
    complete = size >> (TILE_HEIGHT * level)
    return max(0, min(TILE_WIDTH, complete - TILE_WIDTH * tile))


class _Tiles:
    """The hashes of one tree, read tile by tile, each tile once."""

    def __init__(self, read: HashReader, size: int) -> None:
        self._read, self._size = read, size
        self._seen: dict[tuple[int, int], Sequence[bytes]] = {}

    def root(self, start: int, end: int) -> bytes:
        """The root over the leaves `start` to `end`: a subtree of the tree of this size."""
        peaks = []
        while start < end:
            height = (end - start).bit_length() - 1
            peaks.append(self._node(height, start >> height))
            start += 1 << height
        return _fold(peaks)

    def _node(self, height: int, index: int) -> bytes:
        """The root of 2**height leaves, all of them there: a part of exactly one tile."""
        level, within = divmod(height, TILE_HEIGHT)
        tile, offset = divmod(index << within, TILE_WIDTH)
        row = self._tile(level, tile)[offset : offset + (1 << within)]
        while len(row) > 1:
            row = _pair_up(row)
        return row[0]

    def _tile(self, level: int, tile: int) -> Sequence[bytes]:
        if (level, tile) not in self._seen:
            first, width = tile * TILE_WIDTH, tile_width(level, tile, self._size)
            hashes = self._read(level, first, width)
            if len(hashes) != width:
                raise HashesMissing(f"{len(hashes)} of {width} hashes at level {level} from number {first}")
            self._seen[level, tile] = hashes
        return self._seen[level, tile]


def root_at(read: HashReader, size: int) -> bytes:
    """The root of the tree as it was at an earlier size."""
    return _Tiles(read, size).root(0, size) if size else EMPTY_ROOT


def _split(start: int, end: int) -> int:
    """Where the subtree over `start` to `end` is cut: at the largest power of two below its size."""
    return start + (1 << (end - start - 1).bit_length() - 1)


def inclusion_proof(read: HashReader, index: int, size: int) -> tuple[bytes, ...]:
    """PATH(index, D_size) of RFC 9162 section 2.1.3.1: the siblings from the leaf up to the root.

    Reads some two tiles per level, so a few hundred hashes in a tree of ten million leaves.
    """
    if not (_is_size(index) and _is_size(size) and index < size):
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    tiles, path = _Tiles(read, size), []
    start, end = 0, size
    while end - start > 1:
        cut = _split(start, end)
        if index < cut:
            path.append(tiles.root(cut, end))
            end = cut
        else:
            path.append(tiles.root(start, cut))
            start = cut
    return tuple(reversed(path))


def consistency_proof(read: HashReader, old_size: int, size: int) -> tuple[bytes, ...]:
    """PROOF(old_size, D_size) of RFC 9162 section 2.1.4.1; none for equal sizes or an empty old tree."""
    if not (_is_size(old_size) and _is_size(size) and old_size <= size):
        raise ValueError(f"a tree of {size} leaves does not grow out of one of {old_size}")
    if old_size == 0:
        return ()
    tiles, path = _Tiles(read, size), []
    start, end = 0, size
    while old_size != end:
        cut = _split(start, end)
        if old_size <= cut:
            path.append(tiles.root(cut, end))
            end = cut
        else:
            path.append(tiles.root(start, cut))
            start = cut
    if start:  # otherwise the verifier knows this subtree: it is the old root
        path.append(tiles.root(start, end))
    return tuple(reversed(path))


def _checked(proof: object, *roots: object) -> list[bytes]:
    """The hashes of a proof, when it is a sequence of hashes and the roots are hashes."""
    if not isinstance(proof, Sequence) or not all(map(_is_hash, proof)):
        raise ProofInvalid("a proof is a sequence of hashes of 32 bytes")
    if not all(map(_is_hash, roots)):
        raise ProofInvalid("a leaf hash or root is 32 bytes")
    return list(proof)


def _up(node: int, last: int) -> tuple[int, int]:
    """Go up from a node to its first ancestor that is a right child, or to the root."""
    while node and not node & 1:
        node, last = node >> 1, last >> 1
    return node, last


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Raise `ProofInvalid` unless leaf number `index` has this hash (RFC 9162 section 2.1.3.2)."""
    hashes = _checked(proof, leaf, root)
    if not (_is_size(index) and _is_size(size) and index < size):
        raise ProofInvalid("the tree has no leaf of this index")
    node, last, result = index, size - 1, leaf
    for sibling in hashes:
        if last == 0:
            raise ProofInvalid("the proof is longer than the tree is high")
        if node & 1 or node == last:
            result = node_hash(sibling, result)
            node, last = _up(node, last)
        else:
            result = node_hash(result, sibling)
        node, last = node >> 1, last >> 1
    if last:
        raise ProofInvalid("the proof is shorter than the tree is high")
    if result != root:
        raise ProofInvalid("the proof leads to another root")


def verify_consistency(
    old_size: int, size: int, old_root: bytes, proof: Sequence[bytes], root: bytes
) -> None:
    """Raise `ProofInvalid` unless the new tree begins with the old one (RFC 9162 section 2.1.4.2).

    Two cases that the RFC leaves out have an empty proof: equal sizes, which need equal roots, and an empty
    old tree, with which every tree begins.
    """
    hashes = _checked(proof, old_root, root)
    if not (_is_size(old_size) and _is_size(size) and old_size <= size):
        raise ProofInvalid("the sizes are not those of a tree that grew")
    if old_size in (0, size):
        if hashes or (old_size == 0 and old_root != EMPTY_ROOT) or (old_size == size and old_root != root):
            raise ProofInvalid("the proof has to be empty, the roots equal, and the root of no leaves fixed")
        return
    if old_size & (old_size - 1) == 0:
        hashes.insert(0, old_root)
    if not hashes:
        raise ProofInvalid("the proof is empty")
    if _climb(old_size, size, hashes) != (old_root, root):
        raise ProofInvalid("the proof leads to other roots")


def _climb(old_size: int, size: int, hashes: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Both roots that a consistency proof leads to (RFC 9162 section 2.1.4.2, steps 4 to 7)."""
    node, last = old_size - 1, size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            raise ProofInvalid("the proof is longer than the tree is high")
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            node, last = _up(node, last)
        else:
            new = node_hash(new, sibling)
        node, last = node >> 1, last >> 1
    if last:
        raise ProofInvalid("the proof is shorter than the tree is high")
    return old, new
