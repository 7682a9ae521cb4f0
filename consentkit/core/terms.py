"""The words of the field, as enumerations (GDPR, ISO/IEC TS 27560:2023, W3C DPV 2.3).

Status, action and kind are lower case; reasons are upper case, the same word in API, logs and metrics.
"""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What an event is about."""

    PURPOSE = "purpose"
    POLICY = "policy"
    SUBJECT = "subject"
    SIGNAL = "signal"
    RIGHT = "right"
    ANNOUNCEMENT = "announcement"


class Action(StrEnum):
    """What an actor said. The first eleven are answers: they change the actor's state row."""

    GIVEN = "given"
    RENEWED = "renewed"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    REVOKED = "revoked"
    INVALIDATED = "invalidated"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    RESTRICTED = "restricted"
    OBJECTED = "objected"
    LIFTED = "lifted"
    REQUESTED = "requested"
    DEFERRED = "deferred"
    NOTIFIED = "notified"
    ERASED = "erased"
    EXCEPTION_USED = "exception_used"


class Status(StrEnum):
    """What an actor's last answer is. `unknown`, `expired` and `outdated` are computed, never stored."""

    UNKNOWN = "unknown"
    GIVEN = "given"
    RENEWED = "renewed"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    REVOKED = "revoked"
    INVALIDATED = "invalidated"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    RESTRICTED = "restricted"
    OBJECTED = "objected"
    LIFTED = "lifted"
    REQUESTED = "requested"
    EXPIRED = "expired"
    OUTDATED = "outdated"


class Reason(StrEnum):
    """Why the gate answered as it did. The number of the rule is `core.gate.RULE[reason]`."""

    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    EXCEPTION = "EXCEPTION"
    NOT_REQUIRED = "NOT_REQUIRED"
    ERASED = "ERASED"
    RESTRICTED = "RESTRICTED"
    FORBIDDEN_FOR_MINORS = "FORBIDDEN_FOR_MINORS"
    POLICY_NOT_ACCEPTED = "POLICY_NOT_ACCEPTED"
    REFUSED = "REFUSED"
    WITHDRAWN = "WITHDRAWN"
    REVOKED = "REVOKED"
    GUARDIAN_REVOKED = "GUARDIAN_REVOKED"
    INVALIDATED = "INVALIDATED"
    OPTED_OUT_BY_SIGNAL = "OPTED_OUT_BY_SIGNAL"
    GUARDIAN_REQUIRED = "GUARDIAN_REQUIRED"
    GUARDIAN_PENDING = "GUARDIAN_PENDING"
    GUARDIAN_ASSURANCE_TOO_LOW = "GUARDIAN_ASSURANCE_TOO_LOW"
    AGED_OUT = "AGED_OUT"
    NO_ANSWER = "NO_ANSWER"
    REQUESTED = "REQUESTED"
    EXPIRED = "EXPIRED"
    OUTDATED = "OUTDATED"
    GIVEN = "GIVEN"
    ACCEPTED = "ACCEPTED"


class Basis(StrEnum):
    """The legal basis of a purpose (GDPR 6(1)); `not_personal_data` stands outside the GDPR."""

    CONSENT = "consent"
    CONTRACT = "contract"
    LEGAL_OBLIGATION = "legal_obligation"
    VITAL_INTEREST = "vital_interest"
    PUBLIC_TASK = "public_task"
    LEGITIMATE_INTEREST = "legitimate_interest"
    NOT_PERSONAL_DATA = "not_personal_data"


class Change(StrEnum):
    """How much a policy version changes against the one before, least first."""

    EDITORIAL = "editorial"
    MATERIAL = "material"
    REDUCES_RIGHTS = "reduces_rights"


class Method(StrEnum):
    """How an answer was expressed. `continued_use` accepts policies only, never a purpose."""

    TICK = "tick"
    BUTTON = "button"
    FORM = "form"
    LOGIN_BUTTON = "login_button"
    CONTINUED_USE = "continued_use"
    API = "api"
    PAPER = "paper"
    CODE = "code"
    IMPORT = "import"
    BROWSER_SIGNAL = "browser_signal"


class Regime(StrEnum):
    """What silence means for a category in a jurisdiction, strictest first."""

    OPT_IN = "opt_in"
    OPT_OUT = "opt_out"
    EXEMPT_WITH_NOTICE = "exempt_with_notice"


class Band(StrEnum):
    """All that is kept of an age. The birth date never is."""

    MINOR = "minor"
    ADULT = "adult"
    UNKNOWN = "unknown"


class Assurance(StrEnum):
    """How well a guardian was verified, weakest first (GDPR 8(2), COPPA 16 CFR 312.5(b)).

    `confirmed`: reached, and asked again some time later: what COPPA takes where nothing is disclosed.
    """

    NONE = "none"
    REASONABLE = "reasonable"
    CONFIRMED = "confirmed"
    VERIFIABLE = "verifiable"

    @property
    def level(self) -> int:
        """The order of the levels as a number: none 0, reasonable 1, confirmed 2, verifiable 3."""
        return list(Assurance).index(self)


SIGNALS = ("gpc",)
"""Opt-out signals of browsers that a purpose may heed: Global Privacy Control."""

GRANTS = frozenset({Status.GIVEN, Status.RENEWED, Status.ACCEPTED})
DENIALS = frozenset(
    {Status.REFUSED, Status.WITHDRAWN, Status.REVOKED, Status.INVALIDATED, Status.DECLINED}
    | {Status.RESTRICTED, Status.OBJECTED}
)
GRANTING = frozenset({Action.GIVEN, Action.RENEWED, Action.ACCEPTED})
ANSWERS = frozenset(Action(s.value) for s in GRANTS | DENIALS) | {Action.LIFTED}
UNREGULATED = frozenset({Basis.LEGAL_OBLIGATION, Basis.NOT_PERSONAL_DATA})
