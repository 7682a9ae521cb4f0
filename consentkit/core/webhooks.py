"""Standard Webhooks 1.0: secrets, signature, message ids, when to try again. Pure; sending is an integration's."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from urllib.parse import SplitResult, urlsplit

from consentkit.core.errors import ConsentKitError

Network = IPv4Network | IPv6Network
Secrets = Mapping[str, str | Sequence[str]]

PREFIX, SECRET_BYTES = "whsec_", (24, 64)
SECOND_US = 1_000_000
_MINUTE, _HOUR = 60 * SECOND_US, 3600 * SECOND_US
PAUSES_US = (
    *(5 * SECOND_US, 5 * _MINUTE, 30 * _MINUTE),
    *(hours * _HOUR for hours in (2, 5, 10, 14, 20, 24)),
)
"""How long to wait after the first, second, … failure; the last one for ever: a withdrawal is never given up."""
JITTER = 0.1
GONE = 410
_WIDEST = 8


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for a message. `status` None: no answer at all, and `error` says why."""

    status: int | None
    error: str | None = None

    @property
    def delivered(self) -> bool:
        """Only 2xx is a receipt; a redirect is none."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        """The recipient wants no more of this (410)."""
        return self.status == GONE


@dataclass(frozen=True, slots=True)
class Webhooks:
    """A deployment's part of webhooks. `networks`: non-public ones that may be reached; `ca`: a PEM file."""

    secrets: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict, repr=False)
    networks: tuple[Network, ...] = ()
    ca: str | None = None

    @classmethod
    def read(cls, secrets: object = None, networks: object = None, ca: object = None) -> Webhooks:
        """From settings. Raises ConsentKitError, which names the setting and never shows a secret."""
        if not isinstance(secrets or {}, Mapping):
            raise ConsentKitError("CONSENTKIT_WEBHOOK_SECRETS is a table of secrets by party")
        if isinstance(networks, str) or not isinstance(networks or (), Sequence):
            raise ConsentKitError("CONSENTKIT_WEBHOOK_NETWORKS is a list, such as ['10.1.0.0/16']")
        if ca is not None and not isinstance(ca, str):
            raise ConsentKitError("CONSENTKIT_WEBHOOK_CA is the path of a PEM file")
        given: Mapping[str, object] = secrets or {}  # type: ignore[assignment]
        listed: Sequence[object] = networks or ()  # type: ignore[assignment]
        return cls({p: _keys(p, value) for p, value in given.items()}, tuple(map(_network, listed)), ca)


def new_secret() -> str:
    """A secret for one recipient: `whsec_` and 32 bytes."""
    return PREFIX + b64encode(secrets.token_bytes(32)).decode()


def secret_bytes(text: str) -> bytes:
    """The key inside of a secret. Raises ValueError, which does not repeat it."""
    if not text.startswith(PREFIX):
        raise ValueError(f"a secret begins with {PREFIX}")
    try:
        key = b64decode(text.removeprefix(PREFIX), validate=True)
    except ValueError:
        raise ValueError(f"what follows {PREFIX} is not base64") from None
    least, most = SECRET_BYTES
    if not least <= len(key) <= most:
        raise ValueError(f"it holds {len(key)} bytes, {least} to {most} are needed")
    return key


def _keys(party: str, value: object) -> tuple[bytes, ...]:
    texts = [value] if isinstance(value, str) else value
    try:
        if not isinstance(texts, Sequence) or not texts or not all(isinstance(t, str) for t in texts):
            raise ValueError("write a secret, or a list of them with the newest first")
        return tuple(secret_bytes(text) for text in texts)
    except ValueError as error:
        raise ConsentKitError(
            f"CONSENTKIT_WEBHOOK_SECRETS, {party}: {error}. `flask consent webhook-secret` makes one"
        ) from None


def _network(text: object) -> Network:
    try:
        network = ip_network(text)  # type: ignore[arg-type]
    except ValueError as error:
        raise ConsentKitError(f"CONSENTKIT_WEBHOOK_NETWORKS: {error}") from None
    if not isinstance(text, str) or network.prefixlen < _WIDEST:
        raise ConsentKitError(
            f"CONSENTKIT_WEBHOOK_NETWORKS: {text!r} is too wide, a list of what may be reached names networks "
            f"of /{_WIDEST} or smaller"
        )
    return network


def message_id(event_id: str, recipient: str) -> str:
    """What a recipient knows a message by, the same at each attempt. It holds no full stop: that separates."""
    digest = hashlib.sha256(recipient.encode()).hexdigest()[:8]
    return f"msg_{event_id.replace('-', '')}{digest}"


def headers(message: str, at_s: int, body: bytes, keys: Sequence[bytes]) -> dict[str, str]:
    """The three headers, with a signature for each active secret."""
    signed = f"{message}.{at_s}.".encode() + body
    signatures = (b64encode(hmac.digest(key, signed, "sha256")).decode() for key in keys)
    return {
        "webhook-id": message,
        "webhook-timestamp": str(at_s),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def next_try_us(now_us: int, failures: int, chance: float) -> int:
    """When to try again after so many failures in a row; `chance` (0 to 1) spreads recipients out."""
    pause = PAUSES_US[min(failures, len(PAUSES_US)) - 1]
    return now_us + int(pause * (1 + JITTER * chance))


def webhook_fault(url: str) -> str | None:
    """Why an address cannot be a webhook; None: it can. Whether it may be reached is seen when it is resolved."""
    try:
        parts, port = urlsplit(url), urlsplit(url).port
    except ValueError as error:
        return f"is not an address: {error}"
    if not url.startswith(("https://", "http://")) or not parts.hostname:
        return "is not an address such as https://partner.example/consent"
    if "@" in parts.netloc or parts.fragment or port == 0 or _unprintable(url):
        return "has a name, a password, a fragment, a space or port 0 in it"
    return None


def _unprintable(url: str) -> bool:
    return not url.isprintable() or any(c.isspace() or c == "\\" for c in url)


def place_of(url: str) -> SplitResult:
    """The parts of a webhook's address."""
    return urlsplit(url)
