"""The answers: what is allowed for whom, now or at a past moment. Nothing here writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from consentkit.core.catalog import Catalog
from consentkit.core.errors import (
    AcceptanceMissing,
    ConsentMissing,
    GateUnavailable,
    SchemaOutdated,
    StoreUnavailable,
)
from consentkit.core.gate import Decision, Row, View, decide, unavailable
from consentkit.core.ids import check_subject
from consentkit.core.published import PolicyRelease
from consentkit.core.record import Event
from consentkit.core.rulebook import Rulebook
from consentkit.core.terms import Kind, Reason, Status
from consentkit.core.times import not_ahead, to_us
from consentkit.kit_exception import opened
from consentkit.kit_facts import FactSources
from consentkit.kit_ledger import Ledger, event_json
from consentkit.kit_past import state_at
from consentkit.kit_receipt import receipt_of
from consentkit.logs import unanswered as log_unanswered
from consentkit.logs import unavailable as log_unavailable
from consentkit.runtime import Runtime
from consentkit.signals import decision_made, tell
from consentkit.store import publishing
from consentkit.store.reading import UNKNOWN_SUBJECT, SubjectState
from consentkit.store.rows import RowDamaged

_COMPUTED = {Reason.EXPIRED: Status.EXPIRED, Reason.OUTDATED: Status.OUTDATED}


class Answers:
    """Questions about subjects. `of(subject)` remembers nothing; a request's memo is the web layer's."""

    facts: FactSources

    @property
    def runtime(self) -> Runtime:
        """The catalogue at work on a database."""
        raise AssertionError("a kit has a runtime")

    @property
    def sender(self) -> Answers:
        """Who sends the signals about this kit's decisions."""
        return self

    def of(self, subject: str | None, *, tenant: str | None = None) -> Consents:
        """The consents of one subject; None is somebody without identity, of whom nothing is known.

        Raises ValueError for what cannot be an id.
        """
        if subject is not None or tenant is not None:
            check_subject("nobody" if subject is None else subject, tenant)
        return Consents(self, subject, tenant or "")

    def decide(
        self,
        subject: str,
        item: str,
        *,
        at: datetime | None = None,
        tenant: str | None = None,
        scope: str = "",
    ) -> Decision:
        """The gate's answer for one subject and one key of the catalogue."""
        return self.of(subject, tenant=tenant).decide(item, at=at, scope=scope)

    def decide_many(
        self, subjects: Iterable[str], item: str, *, tenant: str | None = None, scope: str = ""
    ) -> dict[str, Decision]:
        """The gate's answers for many subjects, by subject. A failing store denies all of them.

        Where an age loader fails for one of them, or its rows make no sense, that one is denied. Raises ValueError.
        """
        if isinstance(subjects, str):
            raise ValueError("subjects is a list or another iterable of ids, not one text")
        self.runtime.catalog.items_of(item)
        subjects = list(subjects)
        for subject in subjects:
            check_subject(subject, tenant)
        try:
            rules = self.runtime.rules()
            states = self.runtime.reader.states(tenant or "", subjects)
        except RowDamaged:
            found = {s: self.of(s, tenant=tenant).look(item, scope=scope) for s in subjects}
        except (StoreUnavailable, SchemaOutdated) as error:
            log_unavailable(error)
            found = {subject: unavailable(item) for subject in subjects}
        else:
            found = {s: self._one_of(rules, item, s, states[s], tenant or "", scope) for s in subjects}
        for subject, decision in found.items() if decision_made.receivers else ():
            self.decided(item, decision, subject, tenant or "")
        return found

    def _one_of(
        self, rules: Rulebook, item: str, subject: str, state: SubjectState, tenant: str, scope: str
    ) -> Decision:
        """The answer for one of many: a loader of the host's that fails denies this one and no other."""
        try:
            return self.answer(rules, item, subject, state, tenant=tenant, scope=scope)
        except Exception as error:
            log_unanswered(error)
            return unavailable(item)

    def decided(self, asked: str, decision: Decision, subject: str | None, tenant: str = "") -> Decision:
        """Tell whoever listens that this was asked about the present, and hand the decision on."""
        if decision_made.receivers:
            tell(decision_made, self.sender, asked=asked, decision=decision, subject=subject, tenant=tenant)
        return decision

    def policy_in_effect(self, policy: str, at: datetime | None = None) -> PolicyRelease | None:
        """The version of a policy that governs now, or governed at a past moment. Raises UnknownPolicy."""
        self.runtime.catalog.policy(policy)
        at_us = self.runtime.clock.now() if at is None else to_us(at)
        return self.runtime.published.in_force(policy, at_us)

    def document(self, digest: str) -> tuple[str, str] | None:
        """Media type and content of a text, notice or catalogue by its SHA-256 digest, or None."""
        self.runtime.ensure()
        return self.runtime.database.read(lambda tx: publishing.read_document(tx, digest))

    def export(self, subject: str, *, tenant: str | None = None) -> dict[str, Any]:
        """Everything the ledger holds about a subject, ready for JSON (GDPR 15, 20)."""
        check_subject(subject, tenant)
        self.runtime.ensure()
        facts = self.runtime.reader.state(tenant or "", subject).facts
        events = self.ledger.of_subject(subject, tenant=tenant)
        return {
            "schema": "consentkit/export/v1",
            "subject": subject,
            "tenant": tenant or "",
            "facts": {
                "band": facts.band.value,
                "minor_until_us": facts.minor_until_us,
                "jurisdiction": facts.jurisdiction,
            },
            "events": [event_json(event) for event in events],
        }

    def receipt(self, subject: str | None, *, tenant: str | None = None) -> dict[str, Any]:
        """What a person keeps: the last answer to each item, with version, notice, event id and proof.

        `proof` (c2sp.org/tlog-proof@v1) verifies without the ledger, `log_key` is the key for it. An answer that
        is not sealed yet has `sealed` false and no proof. On SQLite what is pending is sealed first. `recipients`
        and `locations` are those of the version that was answered; `deliveries`: to whom the answer was delivered
        and when, and where it is pending.
        """
        consents = self.of(subject, tenant=tenant)
        events = self.ledger.of_subject(subject, tenant=tenant) if subject is not None else []
        return receipt_of(self.runtime, subject, events, consents.status_of)

    @property
    def ledger(self) -> Ledger:
        """The events themselves."""
        return Ledger(self.runtime)

    def answer(
        self,
        rulebook: Rulebook,
        item: str,
        subject: str | None,
        state: SubjectState,
        *,
        at_us: int | None = None,
        tenant: str = "",
        scope: str = "",
        also: Sequence[Row] = (),
        signals: frozenset[str] = frozenset(),
        exceptions: bool = True,
    ) -> Decision:
        """The one place where rows meet the gate. `also`: denials of a visitor who is signed in now.

        `exceptions`: whether those that are open here and now count; at a past moment none does.
        """
        rules = rulebook.asked(item)
        if not rules:
            if item == "necessary":
                return Decision(True, Reason.NOT_REQUIRED, item, number=9)
            return Decision(False, Reason.NO_ANSWER, item, number=14)
        now_us = self.runtime.clock.now() if at_us is None else at_us
        catalog, facts = rulebook.catalog, state.facts
        if subject is not None and not tenant:
            facts = (
                self.facts.complete(catalog, subject, facts, now_us)
                if at_us is None
                else self.facts.complete_past(catalog, subject, facts, at_us, self.runtime.clock.now())
            )
        view = View(  # by position: by name it takes more than twice as long, a sixtieth of a whole decision
            now_us,
            catalog.places.at(facts.jurisdiction),
            (*state.rows, *also),
            facts,
            self.facts.rules(catalog),
            rulebook.rules,
            rulebook.core,
            opened(self, tenant, subject, scope) if exceptions and at_us is None else frozenset(),
            signals,
            scope,
        )
        try:
            return decide(rules, view)
        except (TypeError, ValueError) as error:  # a row that holds what no answer is
            log_unavailable(error)
            return unavailable(item)


@dataclass(frozen=True, slots=True)
class Consents:
    """One subject's consents. Every question is a fresh read of the ledger."""

    kit: Answers
    subject: str | None
    tenant: str = ""

    def decide(self, item: str, *, at: datetime | None = None, scope: str = "") -> Decision:
        """The gate's typed answer; a store that fails is an answer too (STORE_UNAVAILABLE, never allowed).

        `at`: what was allowed at a past moment, by the versions in force then. Raises UnknownPurpose, and
        ValueError for a moment without a time zone or in the future.
        """
        found = self.look(item, at=at, scope=scope)
        return found if at is not None else self.kit.decided(item, found, self.subject, self.tenant)

    def look(self, item: str, *, at: datetime | None = None, scope: str = "") -> Decision:
        """The same answer, told to nobody: for lists that show how things stand and process nothing."""
        kit, runtime = self.kit, self.kit.runtime
        at_us = None if at is None else not_ahead(to_us(at), runtime.clock.now())
        try:
            if at_us is None:
                rulebook, state = runtime.rules(), self._state(runtime)
            else:
                rulebook = runtime.past_rules(at_us, item)
                state = self._state_at(runtime, at_us, rulebook.catalog)
        except (StoreUnavailable, SchemaOutdated) as error:
            if at_us is None:  # an item of the past need not be one of today
                runtime.catalog.items_of(item)
            log_unavailable(error)
            return unavailable(item)
        return kit.answer(rulebook, item, self.subject, state, at_us=at_us, tenant=self.tenant, scope=scope)

    def allows(self, item: str, *, scope: str = "") -> bool:
        """Whether processing may happen now."""
        return self.decide(item, scope=scope).allowed

    def check(self, item: str, *, scope: str = "") -> Decision:
        """The decision when it allows. Raises ConsentMissing, for a policy AcceptanceMissing."""
        decision = self.decide(item, scope=scope)
        if not decision.allowed:
            raise missing(decision, self.kit.runtime.catalog, self.subject, self.tenant)
        return decision

    def status(self, item: str, *, scope: str = "") -> Status:
        """The person's own last answer; `expired` and `outdated` are computed from it."""
        try:
            rulebook, state = self.kit.runtime.rules(), self._state(self.kit.runtime)
        except (StoreUnavailable, SchemaOutdated):
            self.kit.runtime.catalog.items_of(item)
            return Status.UNKNOWN
        asked = (rulebook, item, self.subject, state)
        decision = self.kit.answer(*asked, tenant=self.tenant, scope=scope, exceptions=False)
        kind = Kind.POLICY if decision.item in self.kit.runtime.catalog.policies else Kind.PURPOSE
        about = (r for r in state.rows if r.kind == kind and r.item == decision.item)
        said = [r for r in about if r.scope in ("", scope)]
        own = max((r for r in said if r.actor == "subject"), key=lambda r: r.order, default=None)
        if own is None:
            return _COMPUTED.get(decision.reason, Status.UNKNOWN)
        if own.grants and own.expires_us is not None and own.expires_us <= self.kit.runtime.clock.now():
            return Status.EXPIRED
        old = own.grants and own.version < rulebook.rules[decision.item].floor
        return Status.OUTDATED if old else Status(own.status)

    def status_of(self, event: Event) -> Status:
        """The status to which a last answer has come by now."""
        if event.kind not in (Kind.PURPOSE, Kind.POLICY) or event.actor != "subject":
            return Status(event.action)
        prefix = "purpose:" if event.kind == Kind.PURPOSE else ""
        try:
            return self.status(prefix + event.item, scope=event.scope)
        except LookupError:
            return Status(event.action)

    def _state(self, runtime: Runtime) -> SubjectState:
        if self.subject is None:
            return UNKNOWN_SUBJECT
        return runtime.reader.state(self.tenant, self.subject)

    def _state_at(self, runtime: Runtime, at_us: int, catalog: Catalog) -> SubjectState:
        if self.subject is None:
            return UNKNOWN_SUBJECT
        return state_at(runtime, self.tenant, self.subject, at_us, catalog)


def missing(decision: Decision, catalog: Catalog, subject: str | None, tenant: str = "") -> ConsentMissing:
    """The error of a gate's no about somebody."""
    if decision.reason is Reason.STORE_UNAVAILABLE:
        return GateUnavailable(decision, subject, tenant)
    kind = AcceptanceMissing if decision.item in catalog.policies else ConsentMissing
    return kind(decision, subject, tenant)
