"""Signed notes: a text and one or more Ed25519 signatures (c2sp.org/signed-note v1).

::

    This is an example message.

    — example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Z [...] neyaQM=

The public half of a key is written as a *vkey*, `name+key id+base64(type, public key)`. A note may carry the
signatures of strangers: they are ignored. A signature that claims to be of a known key has to be right.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from consentkit.core.merkle import ProofInvalid

ED25519 = b"\x01"
"""The signature type of plain Ed25519."""

MAX_SIGNATURES = 64
"""More than that in one note are refused; the specification asks for at least 16."""

_DASH = "\u2014 "
_PRIVATE = "PRIVATE+KEY+"
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f]")


class NoteInvalid(ProofInvalid):
    """The note is malformed, or not signed by the key that is trusted."""


class KeyInvalid(ValueError):
    """This is not a key of a signed note."""


def _strict_base64(text: str) -> bytes | None:
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return data if encode_base64(data) == text else None


def decode_base64(text: str) -> bytes:
    """Strict base64 (RFC 4648 section 4): padded, nothing foreign, no stray bits. Raises NoteInvalid."""
    data = _strict_base64(text)
    if data is None:
        raise NoteInvalid(f"{text[:100]!r} is not base64")
    return data


def encode_base64(data: bytes) -> str:
    """Standard base64 with padding (RFC 4648 section 4)."""
    return base64.b64encode(data).decode("ascii")


def read_text(data: str | bytes) -> str:
    """The text of a note or proof: UTF-8 without control characters but the line feed. Raises NoteInvalid."""
    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
        text.encode("utf-8")
    except UnicodeError:
        raise NoteInvalid("the note is not UTF-8") from None
    if _CONTROL.search(text):
        raise NoteInvalid("the note holds a control character")
    return text


def _is_name(name: str) -> bool:
    """Whether this is a key name: not empty, no spaces, no plus, and fit to stand in a note."""
    try:
        read_text(name)
    except NoteInvalid:
        return False
    return bool(name) and not any(char == "+" or char.isspace() for char in name)


def _read_key(text: str) -> tuple[str, str, bytes]:
    """The parts of `name+key id+base64(type, key)`, without the type. Raises KeyInvalid."""
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    data = _strict_base64(encoded)
    if data is None or data[:1] != ED25519:
        raise KeyInvalid(
            "a key looks like name+key id+base64, and the base64 is that of a byte 1 and 32 bytes"
        )
    return name, key_id, data[1:]


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """The public half of a key: who may have signed a note."""

    name: str
    public: bytes

    def __post_init__(self) -> None:
        if not _is_name(self.name):
            raise KeyInvalid("the name of a key is not empty and has neither spaces nor plus signs")
        if len(self.public) != 32:
            raise KeyInvalid("an Ed25519 public key is 32 bytes")

    @classmethod
    def parse(cls, vkey: str) -> VerifierKey:
        """Read a vkey. Raises KeyInvalid, also when the key id is not that of the name and the key."""
        name, key_id, public = _read_key(vkey)
        key = cls(name, public)
        if key.key_id.hex() != key_id:
            raise KeyInvalid(f"the key id {key_id} is not that of this name and key")
        return key

    @property
    def key_id(self) -> bytes:
        """SHA-256(name, LF, type, public key), the first four bytes."""
        return sha256(self.name.encode() + b"\n" + ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        """The vkey."""
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(ED25519 + self.public)}"

    def verify(self, text: str, signature: bytes) -> bool:
        """Whether the bytes are this key's Ed25519 signature (RFC 8032) of the text."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text.encode())
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key pair, written as other implementations do: `PRIVATE+KEY+name+key id+base64(type, seed)`."""

    name: str
    seed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.seed) != 32:
            raise KeyInvalid("the seed of an Ed25519 key is 32 bytes")
        _ = self.verifier  # checks the name

    @classmethod
    def generate(cls, name: str) -> SigningKey:
        """A new random key."""
        return cls(name, secrets.token_bytes(32))

    @classmethod
    def parse(cls, text: str) -> SigningKey:
        """Read `private_text`. Raises KeyInvalid; the message never repeats the key."""
        if not text.startswith(_PRIVATE):
            raise KeyInvalid(f"a signing key begins with {_PRIVATE}")
        name, key_id, seed = _read_key(text[len(_PRIVATE) :])
        key = cls(name, seed)
        if key.verifier.key_id.hex() != key_id:
            raise KeyInvalid("the key id is not that of this name and key")
        return key

    def private_text(self) -> str:
        """The secret text of the key, to be kept in a file that only its owner reads."""
        return f"{_PRIVATE}{self.name}+{self.verifier.key_id.hex()}+{encode_base64(ED25519 + self.seed)}"

    @property
    def verifier(self) -> VerifierKey:
        """The public half."""
        private = Ed25519PrivateKey.from_private_bytes(self.seed)
        return VerifierKey(self.name, private.public_key().public_bytes_raw())

    def sign(self, text: str) -> Signature:
        """This key's signature of a note text."""
        signature = Ed25519PrivateKey.from_private_bytes(self.seed).sign(text.encode())
        return Signature(self.name, self.verifier.key_id, signature)


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line of a note: who claims to have signed, with which key, and the signature."""

    name: str
    key_id: bytes
    signature: bytes

    @classmethod
    def parse(cls, line: str) -> Signature:
        """Read a line without its line feed. Raises NoteInvalid."""
        name, _, encoded = line.removeprefix(_DASH).partition(" ")
        if not line.startswith(_DASH) or not _is_name(name):
            raise NoteInvalid(f"{line[:100]!r} is not a signature line")
        data = decode_base64(encoded)
        if len(data) < 5:
            raise NoteInvalid("a signature is longer than its key id")
        return cls(name, data[:4], data[4:])

    def __str__(self) -> str:
        """The line, with its line feed."""
        return f"{_DASH}{self.name} {encode_base64(self.key_id + self.signature)}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A text and its signatures. Nothing in it may be believed before `verify_note` said so."""

    text: str
    signatures: tuple[Signature, ...]

    @classmethod
    def parse(cls, note: str | bytes) -> Note:
        """Take a note apart without checking who signed it. Raises NoteInvalid."""
        whole = read_text(note)
        text, gap, lines = whole.rpartition("\n\n")
        if not gap or not lines.endswith("\n"):
            raise NoteInvalid("a note is a text, an empty line and signature lines, each with its line feed")
        rows = lines[:-1].split("\n")
        if len(rows) > MAX_SIGNATURES:
            raise NoteInvalid(f"the note has more than {MAX_SIGNATURES} signatures")
        return cls(text + "\n", tuple(map(Signature.parse, rows)))

    def __str__(self) -> str:
        """The signed note."""
        return self.text + "\n" + "".join(map(str, self.signatures))


def sign_note(text: str, *keys: SigningKey) -> str:
    """The text as a note signed by these keys. Raises NoteInvalid for a text that cannot be signed."""
    if not read_text(text).endswith("\n"):
        raise NoteInvalid("the text of a note ends in a line feed")
    if not 0 < len(keys) <= MAX_SIGNATURES:
        raise NoteInvalid(f"a note has 1 to {MAX_SIGNATURES} signatures")
    return str(Note(text, tuple(key.sign(text) for key in keys)))


def verify_note(note: str | bytes, keys: Iterable[VerifierKey]) -> tuple[str, tuple[VerifierKey, ...]]:
    """The text of a note, and which of these keys signed it (at least one). Raises NoteInvalid.

    Signatures of other keys are ignored, also when they share the name or the key id (not both) with a known
    one. One wrong signature of a known key refuses the whole note.
    """
    parsed = Note.parse(note)
    known: dict[tuple[str, bytes], VerifierKey] = {}
    for key in keys:
        if known.setdefault((key.name, key.key_id), key) != key:
            raise NoteInvalid(f"two different keys are called {key.name} and share a key id")
    signed: dict[VerifierKey, None] = {}
    for signature in parsed.signatures:
        signer = known.get((signature.name, signature.key_id))
        if signer is None:
            continue
        if not signer.verify(parsed.text, signature.signature):
            raise NoteInvalid(f"the signature of {signer.name} is wrong")
        signed[signer] = None
    if not signed:
        raise NoteInvalid("no known key signed the note")
    return parsed.text, tuple(signed)
