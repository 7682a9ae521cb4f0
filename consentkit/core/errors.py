"""Every error that consentkit raises.

::

    ConsentKitError
    +- CatalogError             what is wrong in the catalogue: file, key, and the mend
    |  +- UnknownPurpose        also LookupError
    |  +- UnknownPolicy         also LookupError
    +- ChoiceRejected           an answer that cannot be recorded as it was said
    |  +- GuardianNeeded
    |  |  +- AgeNeeded          the age is not known, and is asked for first
    |  +- GuardianNotNeeded
    |  +- NotForChildren
    |  +- NoticeOutdated        .current: the digest of the text that would have to be shown
    |  +- SeparateConsentNeeded
    |  +- AssuranceTooLow
    |  +- AskedTooOften        .again_at
    |  +- NotAttested
    +- ConsentMissing           .decision .subject .tenant
    |  +- GateUnavailable       also StoreUnavailable: the ledger could not be asked
    +- NotARecipient            .host .party
    +- AcceptanceMissing        .policy .version .decision
    +- TokenInvalid             .expired
    +- NotSetUp                 nobody sends messages to guardians, or checks them
    +- MessageNotSent           the guardian_mailer failed
    +- VerifierFailed           who checks guardians did not answer
    +- LedgerBroken             .at
    +- SchemaOutdated
    +- StoreUnavailable
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from consentkit.core.gate import Decision


class ConsentKitError(Exception):
    """Base of all errors of consentkit. Its docstring is the default message."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").split("\n", 1)[0])


class CatalogError(ConsentKitError):
    """The catalogue is not valid.

    Attributes: `key` (dotted, as in the TOML file), `file` (path or None), `mend` (what to write instead).
    """

    def __init__(self, message: str, *, key: str = "", mend: str = "", file: str | None = None) -> None:
        self.message, self.key, self.mend, self.file = message, key, mend, file
        where = ": ".join(part for part in (file, key) if part)
        text = f"{where}: {message}" if where else message
        super().__init__(f"{text.rstrip('.')}. {mend}" if mend else text)


class UnknownPurpose(CatalogError, LookupError):
    """The catalogue has no purpose or category of that name."""


class UnknownPolicy(CatalogError, LookupError):
    """The catalogue has no policy or bundle of that name."""


class ChoiceRejected(ConsentKitError):
    """This answer cannot be recorded as it was said; nothing was recorded."""


class GuardianNeeded(ChoiceRejected):
    """The subject is a minor: a guardian has to answer."""


class AgeNeeded(GuardianNeeded):
    """The subject's age is not known: ask for it first."""


class GuardianNotNeeded(ChoiceRejected):
    """The subject is not a minor: a guardian cannot answer."""


class NotForChildren(ChoiceRejected):
    """The subject is a minor, and this service is not for children."""


class NoticeOutdated(ChoiceRejected):
    """The text that was shown is no longer the current one; show the current text and ask again."""

    def __init__(self, message: str | None = None, *, current: str | None = None) -> None:
        self.current = current
        super().__init__(message)


class SeparateConsentNeeded(ChoiceRejected):
    """This purpose needs an answer of its own, apart from all others."""


class AssuranceTooLow(ChoiceRejected):
    """The guardian was not verified well enough for this purpose."""


class AskedTooOften(ChoiceRejected):
    """This subject has asked guardians too often today.

    Attribute: `again_at`, an aware datetime.
    """

    def __init__(self, message: str | None = None, *, again_at: datetime | None = None) -> None:
        self.again_at = again_at
        super().__init__(message)


class NotAttested(ChoiceRejected):
    """A tenant has to attest the notice that it showed."""


class ConsentMissing(ConsentKitError):
    """Processing is blocked: the purpose is not allowed for this subject.

    Attributes: `decision`, the typed answer of the gate; `subject` and `tenant`, about whom it was asked. The message
    does not name them: messages go to logs.
    """

    def __init__(self, decision: Decision, subject: str | None = None, tenant: str = "") -> None:
        self.decision, self.subject, self.tenant = decision, subject, tenant
        super().__init__(f"processing for {decision.item!r} is blocked: {decision.reason}")

    def __reduce__(self) -> tuple[type[ConsentMissing], tuple[Decision], dict[str, object]]:
        """Made again from its decision when a worker process sends it home, not from its message."""
        return type(self), (self.decision,), {"subject": self.subject, "tenant": self.tenant}


class AcceptanceMissing(ConsentMissing):
    """Processing is blocked: the policy is not accepted.

    Attributes: `policy` (key), `version` (the version in force, or None), `decision`, `subject`, `tenant`.
    """

    def __init__(self, decision: Decision, subject: str | None = None, tenant: str = "") -> None:
        self.policy, self.version = decision.item, decision.version
        super().__init__(decision, subject, tenant)


class NotARecipient(ConsentKitError):
    """Nothing is sent: the host belongs to nobody who receives data for these purposes.

    Attributes: `host`; `party`, the key of the party it belongs to, or None.
    """

    def __init__(self, message: str | None = None, *, host: str = "", party: str | None = None) -> None:
        self.host, self.party = host, party
        super().__init__(message)


class TokenInvalid(ConsentKitError):
    """This link is not valid, or no longer.

    Attribute: `expired` (True when it was genuine once).
    """

    def __init__(self, message: str | None = None, *, expired: bool = False) -> None:
        self.expired = expired
        super().__init__(message)


class NotSetUp(ConsentKitError):
    """Guardians cannot be asked: something that the app has to add is missing."""


class MessageNotSent(ConsentKitError):
    """The message to the guardian could not be sent, and nobody was invited: try again."""


class VerifierFailed(ConsentKitError):
    """Whoever checks guardians cannot be reached, or answers what cannot be used."""


class LedgerBroken(ConsentKitError):
    """The ledger was tampered with, or rows are missing.

    Attributes: `at`, what and where; `report`, all that a verification found, or None.
    """

    def __init__(self, message: str, *, at: str = "", report: object = None) -> None:
        self.at, self.report = at, report
        super().__init__(message)


class SchemaOutdated(ConsentKitError):
    """The tables are not of the version that this consentkit needs: run `flask consent upgrade`."""


class StoreUnavailable(ConsentKitError):
    """The ledger cannot be read or written; nothing is processed until it can."""


class GateUnavailable(ConsentMissing, StoreUnavailable):
    """Processing is blocked because the ledger cannot be read: the same may be allowed when it is tried again.

    Attribute: `decision`, whose reason is STORE_UNAVAILABLE.
    """
