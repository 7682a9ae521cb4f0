"""How a guardian is verified: the methods, how much each is worth, which purposes it may carry.

What a host adds is a `Verifier`: it leads a guardian to somebody who checks, and reads what came of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from urllib.parse import SplitResult, urlsplit

from consentkit.core.terms import Assurance

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def is_public_address(url: object) -> bool:
    """Whether a text is an https address with a host and nothing odd; http only on this machine."""
    if not isinstance(url, str) or not url.isascii() or not url.isprintable() or set(url) & set(" \\@#?"):
        return False
    try:
        parts, _ = urlsplit(url), urlsplit(url).port
    except ValueError:
        return False
    return bool(parts.hostname) and (parts.scheme == "https" or _is_here(parts))


def _is_here(parts: SplitResult) -> bool:
    return parts.scheme == "http" and parts.hostname in LOOPBACK


class GuardianMethod(StrEnum):
    """The methods of COPPA, 16 CFR 312.5(b)(2), most of them in Korea's Enforcement Decree 17-2 too.

    `email`: one answered message, where the law asks for reasonable effort (GDPR 8(2); EDPB 05/2020, 137).
    """

    EMAIL = "email"
    EMAIL_PLUS = "email_plus"
    TEXT_PLUS = "text_plus"
    SIGNED_FORM = "signed_form"
    PAYMENT_CARD = "payment_card"
    GOV_ID = "gov_id"
    FACE_MATCH = "face_match"
    KBA = "kba"
    VIDEO_CALL = "video_call"
    PHONE_CALL = "phone_call"

    @property
    def assurance(self) -> Assurance:
        """How well a guardian is verified once it is done."""
        if self is GuardianMethod.EMAIL:
            return Assurance.REASONABLE
        return Assurance.CONFIRMED if self.twice else Assurance.VERIFIABLE

    @property
    def twice(self) -> bool:
        """Whether a yes counts only after a second message, sent later, was answered too."""
        return self in (GuardianMethod.EMAIL_PLUS, GuardianMethod.TEXT_PLUS)

    @property
    def internal_only(self) -> bool:
        """Whether it is refused for what is disclosed to third parties, 16 CFR 312.5(b)(2)(viii) and (ix).

        For `email` that is our own line: disclosure is not the low risk that EDPB 05/2020, 137 speaks of.
        """
        return self is GuardianMethod.EMAIL or self.twice

    @property
    def on_paper(self) -> bool:
        """Whether the answer comes on a signed form and the operator records it."""
        return self is GuardianMethod.SIGNED_FORM

    @property
    def needs_verifier(self) -> bool:
        """Whether somebody else checks who the guardian is."""
        return not (self.internal_only or self.on_paper)


@dataclass(frozen=True, slots=True)
class GuardianCheck:
    """What a verifier is asked. It learns neither child nor guardian: `reference` is a random text, good once.

    `return_url`: where the browser goes afterwards; `callback_url`: where the signed result is sent.
    """

    reference: str
    method: GuardianMethod
    locale: str
    return_url: str
    callback_url: str


@dataclass(frozen=True, slots=True)
class VerificationResult:
    """What a verifier found. `evidence`: SHA-256 of what it keeps, lower-case hex; never the thing itself."""

    reference: str
    method: GuardianMethod
    verified: bool
    at: datetime
    evidence: str | None = None


class Verifier(Protocol):
    """Somebody who checks that a person is an adult, such as by a card or an identity document."""

    @property
    def name(self) -> str:
        """A short name, such as `harbour-id`: a part of the callback's address, and on record."""

    @property
    def title(self) -> str:
        """What people are shown."""

    @property
    def methods(self) -> frozenset[GuardianMethod]:
        """The methods that it offers."""

    def start(self, check: GuardianCheck) -> str:
        """Begin a check; the address to which the browser is led. Raises VerifierFailed."""

    def read(self, headers: Mapping[str, str], body: bytes, now: datetime) -> VerificationResult:
        """The result that a signed callback carries. Raises TokenInvalid for what is not genuine or too old."""
