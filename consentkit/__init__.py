"""Flask extension for consent and cookie management, with an append-only ledger and gates by purpose.

The names are loaded at first use, so that use without Flask imports no Flask.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from consentkit.core.catalog import Bundle as Bundle
    from consentkit.core.catalog import Category as Category
    from consentkit.core.catalog import Controller as Controller
    from consentkit.core.catalog import Cookie as Cookie
    from consentkit.core.catalog import ExceptionGround as ExceptionGround
    from consentkit.core.catalog import MinorRules as MinorRules
    from consentkit.core.catalog import Party as Party
    from consentkit.core.catalog import Policy as Policy
    from consentkit.core.catalog import PolicyVersion as PolicyVersion
    from consentkit.core.catalog import Purpose as Purpose
    from consentkit.core.catalog import Site as Site
    from consentkit.core.catalog_rules import build as build
    from consentkit.core.errors import AcceptanceMissing as AcceptanceMissing
    from consentkit.core.errors import AgeNeeded as AgeNeeded
    from consentkit.core.errors import AskedTooOften as AskedTooOften
    from consentkit.core.errors import AssuranceTooLow as AssuranceTooLow
    from consentkit.core.errors import CatalogError as CatalogError
    from consentkit.core.errors import ChoiceRejected as ChoiceRejected
    from consentkit.core.errors import ConsentKitError as ConsentKitError
    from consentkit.core.errors import ConsentMissing as ConsentMissing
    from consentkit.core.errors import GateUnavailable as GateUnavailable
    from consentkit.core.errors import GuardianNeeded as GuardianNeeded
    from consentkit.core.errors import GuardianNotNeeded as GuardianNotNeeded
    from consentkit.core.errors import LedgerBroken as LedgerBroken
    from consentkit.core.errors import MessageNotSent as MessageNotSent
    from consentkit.core.errors import NotARecipient as NotARecipient
    from consentkit.core.errors import NotAttested as NotAttested
    from consentkit.core.errors import NotForChildren as NotForChildren
    from consentkit.core.errors import NoticeOutdated as NoticeOutdated
    from consentkit.core.errors import NotSetUp as NotSetUp
    from consentkit.core.errors import SchemaOutdated as SchemaOutdated
    from consentkit.core.errors import SeparateConsentNeeded as SeparateConsentNeeded
    from consentkit.core.errors import StoreUnavailable as StoreUnavailable
    from consentkit.core.errors import TokenInvalid as TokenInvalid
    from consentkit.core.errors import UnknownPolicy as UnknownPolicy
    from consentkit.core.errors import UnknownPurpose as UnknownPurpose
    from consentkit.core.errors import VerifierFailed as VerifierFailed
    from consentkit.core.gate import Decision as Decision
    from consentkit.core.inviting import Invitation as Invitation
    from consentkit.core.minors import Age as Age
    from consentkit.core.places import AgeRule as AgeRule
    from consentkit.core.places import RegimeRule as RegimeRule
    from consentkit.core.record import Event as Event
    from consentkit.core.terms import Action as Action
    from consentkit.core.terms import Reason as Reason
    from consentkit.core.terms import Status as Status
    from consentkit.core.verification import GuardianCheck as GuardianCheck
    from consentkit.core.verification import GuardianMethod as GuardianMethod
    from consentkit.core.verification import VerificationResult as VerificationResult
    from consentkit.core.verification import Verifier as Verifier
    from consentkit.core.webhooks import new_secret as new_secret
    from consentkit.extension import ConsentKit as ConsentKit
    from consentkit.kit import open_kit as open  # noqa: F401
    from consentkit.kit_deliveries import Delivery as Delivery
    from consentkit.kit_read import Consents as Consents
    from consentkit.signals import consent_recorded as consent_recorded
    from consentkit.signals import decision_made as decision_made
    from consentkit.signals import delete_required as delete_required
    from consentkit.signals import processing_blocked as processing_blocked
    from consentkit.store.reading import Erased as Erased
    from consentkit.store.tables import metadata as metadata
    from consentkit.web.gates import current_consents as current_consents
    from consentkit.web.gates import gated as gated
    from consentkit.web.gates import requires_acceptance as requires_acceptance
    from consentkit.web.gates import requires_consent as requires_consent
    from consentkit.web.gates import ungated as ungated
    from consentkit.web.outgoing import gated_session as gated_session

_WHERE = {
    "consentkit.core.catalog": (
        "Bundle Category Controller Cookie ExceptionGround MinorRules Party Policy PolicyVersion Purpose Site"
    ),
    "consentkit.core.catalog_rules": "build",
    "consentkit.core.errors": (
        "AcceptanceMissing AgeNeeded AskedTooOften AssuranceTooLow CatalogError ChoiceRejected "
        "ConsentKitError ConsentMissing GateUnavailable GuardianNeeded GuardianNotNeeded LedgerBroken "
        "MessageNotSent NotARecipient NotAttested NotForChildren NotSetUp NoticeOutdated SchemaOutdated "
        "SeparateConsentNeeded StoreUnavailable TokenInvalid UnknownPolicy UnknownPurpose VerifierFailed"
    ),
    "consentkit.core.gate": "Decision",
    "consentkit.core.inviting": "Invitation",
    "consentkit.core.minors": "Age",
    "consentkit.core.places": "AgeRule RegimeRule",
    "consentkit.core.record": "Event",
    "consentkit.core.terms": "Action Reason Status",
    "consentkit.core.verification": "GuardianCheck GuardianMethod VerificationResult Verifier",
    "consentkit.core.webhooks": "new_secret",
    "consentkit.extension": "ConsentKit",
    "consentkit.kit": "open",
    "consentkit.kit_deliveries": "Delivery",
    "consentkit.kit_read": "Consents",
    "consentkit.signals": "consent_recorded decision_made delete_required processing_blocked",
    "consentkit.store.reading": "Erased",
    "consentkit.store.tables": "metadata",
    "consentkit.web.gates": "current_consents gated requires_acceptance requires_consent ungated",
    "consentkit.web.outgoing": "gated_session",
}
_HOME = {name: module for module, names in _WHERE.items() for name in names.split()}
_RENAMED = {"open": "open_kit"}

__all__ = sorted(set(_HOME) - {"open"})  # a star import must not hide the builtin


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'consentkit' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), _RENAMED.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
