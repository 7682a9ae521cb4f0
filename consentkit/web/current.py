"""The consents of whoever is asking, read once per request and remembered on `request.environ`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from consentkit.core.errors import SchemaOutdated, StoreUnavailable
from consentkit.core.gate import Decision, Row, unavailable
from consentkit.core.minors import is_minor
from consentkit.core.record import VISITOR
from consentkit.core.terms import DENIALS, Kind, Regime, Status
from consentkit.kit_read import missing
from consentkit.logs import unavailable as log_unavailable
from consentkit.store.reading import UNKNOWN_SUBJECT, SubjectState
from consentkit.web.caching import for_one_person, vary_by
from consentkit.web.context import environ
from consentkit.web.identity import Identity, identify
from consentkit.web.state import State, current_state

_MEMO, _HEARD = "consentkit.state", "consentkit.heard"
_SILENT: frozenset[str] = frozenset()
_GPC = frozenset({"gpc"})


@dataclass(frozen=True, slots=True)
class Known:
    """What a request knows of whoever is asking.

    `subject`: whose answers count, with the place of this request where no other is known. `visitor`: who the
    browser was before somebody signed in. `also`: rows that count besides.
    """

    subject: SubjectState
    visitor: SubjectState | None = None
    also: tuple[Row, ...] = ()


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
        identity = identify(self.state)
        return self.state.kit.decided(item, self._look(item, scope, identity), identity.subject)

    def look(self, item: str, *, scope: str = "") -> Decision:
        """The same answer, told to nobody: for pages that show how things stand and process nothing."""
        return self._look(item, scope, identify(self.state))

    def _look(self, item: str, scope: str, identity: Identity) -> Decision:
        kit = self.state.kit
        kit.catalog.items_of(item)
        try:
            rules = kit.runtime.rules()
            known = self._known(identity)
        except (StoreUnavailable, SchemaOutdated) as error:
            log_unavailable(error)
            return unavailable(item)
        return kit.answer(
            rules, item, identity.subject, known.subject, scope=scope, also=known.also, signals=signals()
        )

    def allows(self, item: str, *, scope: str = "") -> bool:
        """Whether processing may happen now."""
        return self.decide(item, scope=scope).allowed

    def check(self, item: str, *, scope: str = "") -> Decision:
        """The decision when it allows. Raises ConsentMissing, for a policy AcceptanceMissing."""
        decision = self.decide(item, scope=scope)
        if not decision.allowed:
            raise missing(decision, self.state.kit.catalog, self.subject)
        return decision

    def status(self, item: str, *, scope: str = "") -> Status:
        """The person's own last answer; `expired` and `outdated` are computed from it."""
        return self.state.kit.of(self.subject).status(item, scope=scope)

    def regime(self, category: str) -> Regime:
        """What silence means for a category where the visitor is; for a minor always `opt_in`.

        Raises StoreUnavailable.
        """
        kit, facts = self.state.kit, self.known.subject.facts
        if is_minor(facts, kit.facts.rules(kit.catalog), kit.runtime.clock.now()):
            return Regime.OPT_IN
        found = kit.catalog.categories.get(category)
        floor = found.regime if found is not None else None
        return kit.catalog.places.at(facts.jurisdiction).regime(category, floor)

    @property
    def rows(self) -> tuple[Row, ...]:
        """The last answers of the subject. Raises StoreUnavailable."""
        return self.known.subject.rows

    @property
    def known(self) -> Known:
        """What the ledger and this request say of the subject. Raises StoreUnavailable, SchemaOutdated."""
        return self._known(identify(self.state))

    def _known(self, identity: Identity) -> Known:
        memo: tuple[Identity, Known] | None = environ().get(_MEMO)
        if memo is None or memo[0] != identity:
            _for_one(self.state)
            memo = environ()[_MEMO] = identity, self._read(identity)
        return memo[1]

    def _read(self, identity: Identity) -> Known:
        """Signed in, the account's answers count, and what the browser's visitor denied."""
        kit = self.state.kit
        kit.runtime.ensure()
        asked = [subject for subject in (identity.account, identity.visitor) if subject is not None]
        found = kit.runtime.reader.states("", asked) if asked else {}
        subject = found[asked[0]] if asked else UNKNOWN_SUBJECT
        now_us = kit.runtime.clock.now()
        facts = kit.facts.complete(kit.catalog, asked[0] if asked else VISITOR, subject.facts, now_us)
        visitor = found[asked[1]] if len(asked) == 2 else None
        said = [row for row in visitor.rows if _counts(row)] if visitor else []
        denied = [replace(row, actor="visitor") for row in said if not _spoken_for(row, subject.rows)]
        if asked and "gpc" in signals() and not any(row.kind == Kind.SIGNAL for row in subject.rows):
            denied.append(_signal(heard_us(self.state)))
        return Known(replace(subject, facts=facts), visitor, tuple(denied))


def _spoken_for(denial: Row, rows: tuple[Row, ...]) -> bool:
    """Whether a guardian of the account has allowed since then what this browser once denied.

    A child cannot take a no back by a yes of its own.
    """
    about = [r for r in rows if (r.kind, r.item, r.scope) == (denial.kind, denial.item, denial.scope)]
    return any(r.grants and r.actor.startswith("guardian:") and r.order > denial.order for r in about)


def current() -> CurrentConsents:
    """The consents of this request's visitor. Raises RuntimeError outside a request."""
    return CurrentConsents(current_state())


def forget() -> None:
    """Drop what this request remembered: an answer was recorded."""
    environ().pop(_MEMO, None)


def signals() -> frozenset[str]:
    """Opt-out signals of this request: `Sec-GPC` counts when one of its values is exactly `1` (W3C GPC).

    A WSGI server joins several headers by commas.
    """
    sent: str | None = environ().get("HTTP_SEC_GPC")
    if sent is None:
        return _SILENT
    return _GPC if "1" in [value.strip() for value in sent.split(",")] else _SILENT


def heard_us(state: State) -> int:
    """When this request came in: an answer that it leads to is later than the signal that it carries."""
    heard: int = environ().setdefault(_HEARD, state.kit.runtime.clock.now())
    return heard


def _signal(at_us: int) -> Row:
    """The signal of this request, as it will be recorded."""
    return Row(Kind.SIGNAL.value, "gpc", "", "browser", Status.OBJECTED.value, 0, 0, at_us, None, "")


def _counts(row: Row) -> bool:
    """Whether an answer of the browser's visitor counts for the account, too: what denies does."""
    return row.status in DENIALS and row.kind in (Kind.PURPOSE, Kind.SIGNAL)


def _for_one(state: State) -> None:
    """What rests on cookie, signal and place is not for others. The place is no header that a cache could compare."""
    if state.kit.catalog.signals:
        vary_by("Sec-GPC")
    if state.kit.facts.jurisdiction is not None:
        for_one_person()
