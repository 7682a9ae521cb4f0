"""CONSENTKIT_KEY and the log's key pair: settings, or files in the folder of a SQLite database."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from functools import cached_property
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from consentkit.core.errors import ConsentKitError
from consentkit.store.key_files import make_once, read_made

KEY_FILE, MINIMUM_BYTES = "consentkit.key", 32
_NONCE_BYTES = 12


class Keyed:
    """Everything that is keyed with CONSENTKIT_KEY (HMAC-SHA-256), each use with a prefix of its own."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def mac(self, commitment: bytes) -> bytes:
        """The mark of a pending row that this installation wrote: HMAC(CONSENTKIT_KEY, commitment)."""
        return hmac.digest(self._key, commitment, "sha256")

    def hidden_subject(self, tenant: str, subject: str) -> str:
        """What stands in place of an erased subject's id."""
        return "erased:" + hmac.digest(self._key, f"subject\0{tenant}\0{subject}".encode(), "sha256").hex()

    def secret_hash(self, secret: str) -> bytes:
        """How an API key is stored."""
        return hmac.digest(self._key, f"api-key\0{secret}".encode(), "sha256")

    def digest_of(self, use: str, text: str) -> bytes:
        """A keyed hash of a text for one use: what is known of a contact, a code or a link when it is gone."""
        return hmac.digest(self._key, f"{use}\0{text}".encode(), "sha256")

    def seal(self, text: str, about: str) -> bytes:
        """Text encrypted (AES-256-GCM, random nonce). It opens only where it belongs, which `about` says."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, text.encode(), about.encode())

    def unseal(self, sealed: bytes, about: str) -> str:
        """The text again. Raises ConsentKitError: another key, another place, or it was changed."""
        nonce, rest = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, rest, about.encode()).decode()
        except (InvalidTag, ValueError):
            raise ConsentKitError(
                f"what is kept encrypted for {about} does not open: was CONSENTKIT_KEY changed?"
            ) from None

    @cached_property
    def _cipher(self) -> AESGCM:
        return AESGCM(hmac.digest(self._key, b"consentkit/seal", "sha256"))

    @property
    def fingerprint(self) -> str:
        """Eight hex digits that tell two keys apart and reveal neither."""
        return hashlib.sha256(b"consentkit/fingerprint\0" + self._key).hexdigest()[:8]


def load_key(setting: str | bytes | None, folder: Path | None) -> Keyed:
    """The key from the setting, else from the key file, which is made when it is missing.

    Raises ConsentKitError when there is neither, or the key is too short.
    """
    if setting:
        return Keyed(_checked(setting.encode() if isinstance(setting, str) else setting, "CONSENTKIT_KEY"))
    if folder is None:
        raise ConsentKitError(
            "CONSENTKIT_KEY is not set: with PostgreSQL the key is a setting, kept apart from the database. "
            "Make one with: python -c 'import secrets; print(secrets.token_hex(32))'"
        )
    path = folder / KEY_FILE
    make_once(path, secrets.token_hex(32) + "\n", 0o600)
    return Keyed(_checked(read_made(path).encode(), str(path)))


def _checked(key: bytes, where: str) -> bytes:
    if len(key) < MINIMUM_BYTES:
        raise ConsentKitError(
            f"{where} is too short: {MINIMUM_BYTES} bytes at least, 64 hex digits are usual"
        )
    return key
