"""Links and short codes for guardians: signed, expiring, and worth nothing without the row they belong to.

A link carries a random secret of which the database keeps only a hash, so that neither the database alone nor the
signing key alone is enough to make one.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import unicodedata
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any, NamedTuple, TypeVar

from itsdangerous import BadData, URLSafeSerializer

from consentkit.core.errors import TokenInvalid
from consentkit.core.times import AHEAD_US

Keys = Sequence[bytes]
"""Signing keys: all of them verify, the last one signs."""

SESSION_US = 30 * 60 * 1_000_000
_LONGEST = 600
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_READ_AS = str.maketrans("OIL", "011")
_CODE = re.compile(f"[{_ALPHABET}]{{12}}")
_NOT_TYPED = re.compile(r"[\s\u2010-\u2015-]+")


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a link carries. `step`: of which message of the invitation; an older message's link is worth nothing."""

    invitation: str
    step: int
    secret: str
    issued_us: int
    expires_us: int


@dataclass(frozen=True, slots=True)
class Session:
    """What the browser remembers for half an hour once a link was opened. `browser`: a random id of its own."""

    invitation: str
    step: int
    browser: str
    started_us: int


class Code(NamedTuple):
    """A short code: the first half finds the invitation, the second half is the secret."""

    place: str
    secret: str

    def __str__(self) -> str:
        """In groups of four, as it is shown."""
        whole = self.place + self.secret
        return "-".join(whole[at : at + 4] for at in range(0, len(whole), 4))


_T = TypeVar("_T", Ticket, Session)
_SALTS = {Ticket: "consentkit.guardian.link.v1", Session: "consentkit.guardian.session.v1"}


def new_secret() -> str:
    """A hundred and twenty-eight random bits as text."""
    return secrets.token_urlsafe(16)


def signed(what: Ticket | Session, keys: Keys) -> str:
    """The text of a link or a session."""
    return str(_serializer(type(what), keys).dumps(list(astuple(what))))


def read_ticket(text: str, keys: Keys) -> Ticket:
    """The ticket of a link, which may be over. Raises TokenInvalid: altered, cut, or of another key."""
    return _read(Ticket, text, keys)


def check_ticket(ticket: Ticket, now_us: int) -> None:
    """Raise TokenInvalid for a link that is over (`expired`), and where the clock was moved back."""
    if now_us < ticket.issued_us - AHEAD_US:
        raise TokenInvalid("the clock of this machine is behind the moment at which the link was made")
    if now_us >= ticket.expires_us:
        raise TokenInvalid("this link is over", expired=True)


def read_session(text: str, keys: Keys, now_us: int) -> Session:
    """The session of a cookie. Raises TokenInvalid, also after half an hour."""
    session = _read(Session, text, keys)
    if not -AHEAD_US <= now_us - session.started_us < SESSION_US:
        raise TokenInvalid("this session is over", expired=True)
    return session


def new_code(bucket: int) -> Code:
    """A code for an invitation in a bucket: 20 random bits to find it, 30 to be guessed in five tries."""
    place = bucket << 20 | secrets.randbits(20)
    return Code(_letters(place, 6), _letters(secrets.randbits(30), 6))


def read_code(typed: str) -> Code | None:
    """What somebody typed as a code, whatever its case, spaces and hyphens; None for what cannot be one."""
    plain = _NOT_TYPED.sub("", unicodedata.normalize("NFKC", typed[:100])).upper().translate(_READ_AS)
    return Code(plain[:6], plain[6:]) if _CODE.fullmatch(plain) else None


def bucket_of_code(code: Code) -> int:
    """The bucket in which the invitation of a code is looked for."""
    return _ALPHABET.index(code.place[0]) << 5 | _ALPHABET.index(code.place[1])


def _letters(number: int, count: int) -> str:
    return "".join(_ALPHABET[number >> 5 * at & 31] for at in reversed(range(count)))


def _serializer(kind: type[Ticket] | type[Session], keys: Keys) -> URLSafeSerializer:
    return URLSafeSerializer(
        list(keys),
        salt=_SALTS[kind],
        signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
    )


def _read(kind: type[_T], text: str, keys: Keys) -> _T:
    try:
        if len(text) > _LONGEST:
            raise TokenInvalid
        values: Any = _serializer(kind, keys).loads(text)
        found = kind(*values)
    except (BadData, TypeError, ValueError):
        raise TokenInvalid from None
    return found
