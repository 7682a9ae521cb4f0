"""A proof that a person can keep and check without the ledger (c2sp.org/tlog-proof@v1).

::

    c2sp.org/tlog-proof@v1
    extra <base64>             only when there is something extra; nobody vouches for it
    index 73894
    <base64 hash>              the inclusion proof, from the leaf's sibling upwards
    <base64 hash>

    <the signed checkpoint, as it is>
"""

from __future__ import annotations

from dataclasses import dataclass

from consentkit.core.merkle import HASH_BYTES, SIZE_LIMIT, leaf_hash, verify_inclusion
from consentkit.proof.checkpoint import Checkpoint, parse_decimal, verify_checkpoint
from consentkit.proof.note import NoteInvalid, VerifierKey, decode_base64, encode_base64, read_text

HEADER = "c2sp.org/tlog-proof@v1"
MAX_HASHES = 64
"""The height of the tallest tree."""


@dataclass(frozen=True, slots=True)
class TlogProof:
    """An inclusion proof with the signed checkpoint that it leads to.

    `checkpoint` is the note exactly as it was signed. `extra` is not authenticated: do not rely on it.
    """

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: str
    extra: bytes = b""

    def __post_init__(self) -> None:
        if not 0 <= self.index < SIZE_LIMIT:
            raise NoteInvalid("a leaf index is a number from 0 to 2**64 - 1")
        if len(self.hashes) > MAX_HASHES or any(len(one) != HASH_BYTES for one in self.hashes):
            raise NoteInvalid(f"an inclusion proof is at most {MAX_HASHES} hashes of 32 bytes")

    @classmethod
    def parse(cls, text: str | bytes) -> TlogProof:
        """Take a proof apart without checking it. Raises NoteInvalid."""
        head, gap, checkpoint = read_text(text).partition("\n\n")
        header, *lines = head.split("\n")
        if header != HEADER or not gap or not lines:
            raise NoteInvalid(f"a proof is the line {HEADER}, an index, hashes, an empty line, a checkpoint")
        extra = b""
        if lines[0].startswith("extra "):
            extra = decode_base64(lines.pop(0).removeprefix("extra "))
            if not extra:
                raise NoteInvalid("an extra line without data has to be left out")
        if not lines or not lines[0].startswith("index "):
            raise NoteInvalid("the index line is missing")
        index = parse_decimal(lines[0].removeprefix("index "))
        return cls(index, tuple(map(decode_base64, lines[1:])), checkpoint, extra)

    def __str__(self) -> str:
        """The text of the proof."""
        lines = [HEADER, f"index {self.index}", *map(encode_base64, self.hashes)]
        if self.extra:
            lines.insert(1, f"extra {encode_base64(self.extra)}")
        return "\n".join(lines) + "\n\n" + self.checkpoint


@dataclass(frozen=True, slots=True)
class Inclusion:
    """What a proof showed: leaf number `index` is in the tree of this checkpoint."""

    index: int
    checkpoint: Checkpoint


def verify_proof(text: str | bytes, record: bytes, key: VerifierKey, origin: str) -> Inclusion:
    """Where a record is in the log of this key and origin. Raises `ProofInvalid`.

    `record` is what the log's leaf was made of, before hashing.
    """
    return verify_leaf_proof(text, leaf_hash(record), key, origin)


def verify_leaf_proof(text: str | bytes, leaf: bytes, key: VerifierKey, origin: str) -> Inclusion:
    """The same as `verify_proof` for somebody who has the leaf hash only. Raises `ProofInvalid`."""
    proof = TlogProof.parse(text)
    checkpoint = verify_checkpoint(proof.checkpoint, key, origin)
    verify_inclusion(proof.index, checkpoint.size, leaf, proof.hashes, checkpoint.root)
    return Inclusion(proof.index, checkpoint)
