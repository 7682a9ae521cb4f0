"""The consents of whoever is asking, read once per request and remembered on `request.environ`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from flask import request

from consentkit.core.errors import SchemaOutdated, StoreUnavailable
from consentkit.core.gate import Decision, Row, unavailable
from consentkit.core.terms import DENIALS, Kind, Status
from consentkit.kit_read import missing
from consentkit.logs import unavailable as log_unavailable
from consentkit.store.reading import UNKNOWN_SUBJECT, SubjectState
from consentkit.web.identity import Identity, identify
from consentkit.web.state import State, current_state

_MEMO = "consentkit.state"
_NOBODY: tuple[SubjectState, tuple[Row, ...]] = (UNKNOWN_SUBJECT, ())


@dataclass(frozen=True, slots=True)
class CurrentConsents:
    """The visitor's consents, as `current_user` is the visitor. Fails closed: an unreadable ledger denies."""

    state: State

    @property
    def subject(self) -> str | None:
        """The account or visitor id; None for somebody who never answered."""
        return identify(self.state).subject

    def decide(self, item: str, *, at: datetime | None = None, scope: str = "") -> Decision:
        """The gate's typed answer. Raises UnknownPurpose for a key that the catalogue does not have."""
        if at is not None:
            return self.state.kit.of(self.subject).decide(item, at=at, scope=scope)
        return self.state.kit.decided(item, self.look(item, scope=scope), self.subject)

    def look(self, item: str, *, scope: str = "") -> Decision:
        """The same answer, told to nobody: for pages that show how things stand and process nothing."""
        kit = self.state.kit
        kit.catalog.items_of(item)
        try:
            rules = kit.runtime.rules()
            known, also = self._known()
        except (StoreUnavailable, SchemaOutdated) as error:
            log_unavailable(error)
            return unavailable(item)
        return kit.answer(rules, item, self.subject, known, scope=scope, also=also, signals=signals())

    def allows(self, item: str, *, scope: str = "") -> bool:
        """Whether processing may happen now."""
        return self.decide(item, scope=scope).allowed

    def check(self, item: str, *, scope: str = "") -> Decision:
        """The decision when it allows. Raises ConsentMissing, for a policy AcceptanceMissing."""
        decision = self.decide(item, scope=scope)
        if not decision.allowed:
            raise missing(decision, self.state.kit.catalog)
        return decision

    def status(self, item: str, *, scope: str = "") -> Status:
        """The person's own last answer; `expired` and `outdated` are computed from it."""
        return self.state.kit.of(self.subject).status(item, scope=scope)

    @property
    def rows(self) -> tuple[Row, ...]:
        """The last answers of the subject. Raises StoreUnavailable."""
        return self._known()[0].rows

    def _known(self) -> tuple[SubjectState, tuple[Row, ...]]:
        memo: tuple[SubjectState, tuple[Row, ...]] | None = request.environ.get(_MEMO)
        if memo is None:
            memo = request.environ[_MEMO] = self._read(identify(self.state))
        return memo

    def _read(self, identity: Identity) -> tuple[SubjectState, tuple[Row, ...]]:
        """Signed in, the account's answers count, and the denials of the browser's visitor."""
        reader = self.state.kit.runtime.reader
        if identity.subject is None:
            return _NOBODY
        known = reader.state("", identity.subject)
        if identity.account is None or identity.visitor is None:
            return known, ()
        visitor = reader.state("", identity.visitor).rows
        return known, tuple(
            replace(r, actor="visitor") for r in visitor if r.status in DENIALS and r.kind == Kind.PURPOSE
        )


def current() -> CurrentConsents:
    """The consents of this request's visitor. Raises RuntimeError outside a request."""
    return CurrentConsents(current_state())


def forget() -> None:
    """Drop what this request remembered: an answer was recorded."""
    request.environ.pop(_MEMO, None)


def signals() -> frozenset[str]:
    """Opt-out signals of this request: `Sec-GPC` counts when one of its values is exactly `1` (W3C GPC).

    A WSGI server joins several headers by commas.
    """
    values = [value.strip() for value in request.headers.get("Sec-GPC", "").split(",")]
    return frozenset({"gpc"}) if "1" in values else frozenset()
