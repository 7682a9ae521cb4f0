"""Checkpoints: the signed head of a ledger, its size and root (c2sp.org/tlog-checkpoint).

::

    example.com/behind-the-sofa
    20852163
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

This is the text of a signed note. A log must never sign a checkpoint that is not consistent with every one it
signed before; that is for the sealer to keep, here only the form is checked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from consentkit.core.merkle import HASH_BYTES, SIZE_LIMIT
from consentkit.proof.note import (
    NoteInvalid,
    SigningKey,
    VerifierKey,
    decode_base64,
    encode_base64,
    read_text,
    sign_note,
    verify_note,
)

_DECIMAL = re.compile("0|[1-9][0-9]{0,19}")


def parse_decimal(text: str) -> int:
    """An ASCII decimal below 2**64 without leading zero. Raises NoteInvalid."""
    number = int(text) if _DECIMAL.fullmatch(text) else SIZE_LIMIT
    if number >= SIZE_LIMIT:
        raise NoteInvalid(f"{text[:100]!r} is not a decimal number below 2**64 without leading zero")
    return number


def _is_line(text: str) -> bool:
    return bool(text) and "\n" not in read_text(text)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of a log: who it is, how many leaves it has and their Merkle root.

    `origin` is any non-empty line. Extension lines are possible but nobody audits them.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not all(map(_is_line, (self.origin, *self.extensions))):
            raise NoteInvalid("the origin and every extension of a checkpoint are non-empty lines")
        if not 0 <= self.size < SIZE_LIMIT or len(self.root) != HASH_BYTES:
            raise NoteInvalid("a checkpoint has a size below 2**64 and a root of 32 bytes")

    @classmethod
    def parse(cls, text: str | bytes) -> Checkpoint:
        """Read the text of a checkpoint, without signatures. Raises NoteInvalid."""
        origin, *rest = read_text(text).split("\n")
        if len(rest) < 3 or rest.pop():
            raise NoteInvalid("a checkpoint is three lines or more, each with its line feed")
        size, root, *extensions = rest
        return cls(origin, parse_decimal(size), decode_base64(root), tuple(extensions))

    def __str__(self) -> str:
        """The text to be signed."""
        lines = (self.origin, str(self.size), encode_base64(self.root), *self.extensions)
        return "".join(f"{line}\n" for line in lines)


def sign_checkpoint(checkpoint: Checkpoint, *keys: SigningKey) -> str:
    """The checkpoint as a signed note."""
    return sign_note(str(checkpoint), *keys)


def verify_checkpoint(note: str | bytes, key: VerifierKey, origin: str) -> Checkpoint:
    """The checkpoint of a note that this key signed for this origin. Raises NoteInvalid."""
    text, _ = verify_note(note, [key])
    checkpoint = Checkpoint.parse(text)
    if checkpoint.origin != origin:
        raise NoteInvalid(f"the checkpoint is of {checkpoint.origin!r}, not of {origin!r}")
    return checkpoint
