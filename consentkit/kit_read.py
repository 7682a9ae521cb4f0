"""The answers: what is allowed for whom, now or at a past moment. Nothing here writes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from consentkit.core.folding import fold
from consentkit.core.gate import Decision, Row, View, decide, unavailable
from consentkit.core.minors import Facts
from consentkit.core.published import PolicyRelease
from consentkit.core.record import Event
from consentkit.core.rulebook import Rulebook
from consentkit.core.terms import ANSWERS, Action, Band, Kind, Reason, Status
from consentkit.core.times import not_ahead, rfc3339, to_us
from consentkit.kit_deliveries import deliveries_of, received_by
from consentkit.kit_exception import opened
from consentkit.kit_facts import FactSources
from consentkit.kit_ledger import Ledger, event_json
from consentkit.logs import unavailable as log_unavailable
from consentkit.runtime import Runtime
from consentkit.signals import decision_made, tell
from consentkit.store import publishing
from consentkit.store.reading import UNKNOWN_SUBJECT, SubjectState

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
        """The consents of one subject; None is somebody without identity, of whom nothing is known."""
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
        self, subjects: Sequence[str], item: str, *, tenant: str | None = None, scope: str = ""
    ) -> dict[str, Decision]:
        """The gate's answers for many subjects, by subject. A failing store denies all of them."""
        self.runtime.catalog.items_of(item)
        try:
            rules = self.runtime.rules()
            states = self.runtime.reader.states(tenant or "", subjects)
        except (StoreUnavailable, SchemaOutdated) as error:
            log_unavailable(error)
            found = {subject: unavailable(item) for subject in subjects}
        else:
            found = {
                s: self.answer(rules, item, s, states[s], tenant=tenant or "", scope=scope) for s in subjects
            }
        for subject, decision in found.items() if decision_made.receivers else ():
            self.decided(item, decision, subject, tenant or "")
        return found

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
        catalog, consents = self.runtime.catalog, self.of(subject, tenant=tenant)
        events = self.ledger.of_subject(subject, tenant=tenant) if subject is not None else []
        last = {
            (e.kind, e.item, e.scope, e.actor): e
            for e in sorted(events, key=lambda e: e.effective_at)
            if e.action in ANSWERS
        }
        controller = {"name": catalog.controller.name, "contact": catalog.controller.contact}
        told = deliveries_of(self.runtime, list(last.values()))
        return {
            "schema": "consentkit/receipt/v1",
            "id": events[-1].event_id if events else None,
            "at": rfc3339(self.runtime.clock.now()),
            "subject": subject,
            "controller": controller,
            "log_key": self.ledger.key if last else None,
            "answers": [
                {
                    **event_json(e),
                    "status": str(consents.status_of(e)),
                    "proof": proof,
                    "sealed": proof is not None,
                    **received_by(self.runtime, e),
                    "deliveries": [d.for_the_person for d in told if d.event_id == e.event_id],
                }
                for e, proof in zip(last.values(), self.ledger.proofs(list(last.values())), strict=True)
            ],
        }

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
        if subject is not None and at_us is None and not tenant:
            facts = self.facts.complete(catalog, subject, facts, now_us)
        view = View(
            now_us=now_us,
            place=catalog.places.at(facts.jurisdiction),
            rows=(*state.rows, *also),
            facts=facts,
            minors=self.facts.rules(catalog),
            rules=rulebook.rules,
            core=rulebook.core,
            exceptions=opened(self, tenant, subject, scope) if exceptions and at_us is None else frozenset(),
            signals=signals,
            scope=scope,
        )
        return decide(rules, view)


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
            rulebook = runtime.rules(at_us)
            state = self._state(runtime) if at_us is None else self._state_at(at_us)
        except (StoreUnavailable, SchemaOutdated) as error:
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
        if decision.reason in _COMPUTED:
            return _COMPUTED[decision.reason]
        kind = Kind.POLICY if decision.item in self.kit.runtime.catalog.policies else Kind.PURPOSE
        about = (r for r in state.rows if r.kind == kind and r.item == decision.item)
        said = [r for r in about if r.scope in ("", scope)]
        own = max((r for r in said if r.actor == "subject"), key=lambda r: r.order, default=None)
        return Status.UNKNOWN if own is None else Status(own.status)

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

    def _state_at(self, at_us: int) -> SubjectState:
        """The rows as they were: events folded up to the moment, with the facts that they recorded."""
        if self.subject is None:
            return UNKNOWN_SUBJECT
        events = self.kit.ledger.of_subject(self.subject, tenant=self.tenant)
        return _state_after([event for event in events if to_us(event.effective_at) <= at_us])


def _state_after(events: Sequence[Event]) -> SubjectState:
    """The state that events lead to, with the facts that they recorded."""
    facts, erased_us = Facts(), None
    for event in events:
        body = json.loads(event.body)
        if event.action == Action.ERASED:
            erased_us = to_us(event.effective_at) if event.item == "subject" else erased_us
        else:
            facts = replace(facts, band=Band(body["band"]), jurisdiction=body["jurisdiction"])
    rows = fold(event.body for event in events)
    return SubjectState(b"", replace(facts, erased_us=erased_us), tuple(rows.values()))


def missing(decision: Decision, catalog: Catalog, subject: str | None, tenant: str = "") -> ConsentMissing:
    """The error of a gate's no about somebody."""
    if decision.reason is Reason.STORE_UNAVAILABLE:
        return GateUnavailable(decision, subject, tenant)
    kind = AcceptanceMissing if decision.item in catalog.policies else ConsentMissing
    return kind(decision, subject, tenant)
