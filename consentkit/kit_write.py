"""The verbs: what a person, a guardian or the operator says becomes events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypedDict, Unpack

from sqlalchemy import Connection

from consentkit.core.choices import Manner, accepting, declining, denying, giving, lifting, restricting
from consentkit.core.errors import ChoiceRejected, GuardianNeeded, GuardianNotNeeded
from consentkit.core.gate import OBJECTION
from consentkit.core.minors import Age, Facts, band_of, is_minor
from consentkit.core.record import VISITOR, Answer, Event
from consentkit.core.terms import GRANTING, Action, Kind
from consentkit.core.times import to_us
from consentkit.kit_facts import FactSources
from consentkit.runtime import Runtime
from consentkit.signals import consent_recorded
from consentkit.store.erasing import mark_erased, rename
from consentkit.store.ledger import Then

AHEAD_US = 5 * 60 * 1_000_000
Keys = str | Sequence[str]


class How(TypedDict, total=False):
    """Keywords of every verb.

    `method`: how it was expressed (default "code"). `connection`: join the caller's transaction, who
    commits. `at`: when it was said, aware, at most 5 minutes ahead. `actor`: "subject", "operator" or
    "guardian:<n>". `notice`: SHA-256 digest of what was shown. `locale`: BCP 47. `scope`: one thing.
    """

    method: str
    connection: Connection | None
    at: datetime | None
    actor: str
    notice: str | None
    locale: str | None
    tenant: str | None
    scope: str


class Verbs:
    """Recording verbs. Each is one transaction: all of its events, or none."""

    facts: FactSources

    @property
    def runtime(self) -> Runtime:
        """The catalogue at work on a database."""
        raise AssertionError("a kit has a runtime")

    def give(self, subject: str, items: Keys, *, renew: bool = False, **how: Unpack[How]) -> list[Event]:
        """Record consent to purposes or categories: `given`, with `renew` `renewed` (GDPR 6(1)(a), 7).

        Raises ChoiceRejected, SeparateConsentNeeded, GuardianNeeded, UnknownPurpose, StoreUnavailable,
        ValueError.
        """
        _refuse_visitor(subject)
        return self._say(subject, lambda m: giving(self.runtime.catalog, _keys(items), m, renew=renew), how)

    def refuse(self, subject: str, items: Keys, **how: Unpack[How]) -> list[Event]:
        """Record a refusal. Never rejected, whatever came before."""
        return self._say(
            subject, lambda m: denying(self.runtime.catalog, _keys(items), m, Action.REFUSED), how
        )

    def withdraw(self, subject: str, items: Keys, **how: Unpack[How]) -> list[Event]:
        """Record a withdrawal (GDPR 7(3)); by another actor than the subject `revoked`. Never rejected."""
        return self._say(
            subject, lambda m: denying(self.runtime.catalog, _keys(items), m, Action.WITHDRAWN), how
        )

    def choose(
        self,
        subject: str,
        *,
        give: Sequence[str] = (),
        refuse: Sequence[str] = (),
        withdraw: Sequence[str] = (),
        **how: Unpack[How],
    ) -> list[Event]:
        """Record what a visitor or an account chose in one act: the banner's verb. Keys name purposes.

        Only the grants carry `notice`. Raises what `give` raises; refusals alone are never rejected.
        """

        def answers(manner: Manner) -> list[Answer]:
            catalog, plain = self.runtime.catalog, replace(manner, notice=None)
            separate = [key for key in give if catalog.purpose(key).separate]
            acts = [[key for key in give if key not in separate], *([key] for key in separate)]
            said = [answer for act in acts if act for answer in giving(catalog, act, manner)]
            said += denying(catalog, refuse, plain, Action.REFUSED) if refuse else []
            return said + (denying(catalog, withdraw, plain, Action.WITHDRAWN) if withdraw else [])

        return self._say(subject, answers, how)

    def accept(self, subject: str, policy: str, **how: Unpack[How]) -> list[Event]:
        """Record the acceptance of a policy, or of each policy of a bundle.

        Without `notice=` the digest of the current text in `locale=` is recorded.
        Raises NoticeOutdated, ChoiceRejected, UnknownPolicy, StoreUnavailable, ValueError.
        """
        _refuse_visitor(subject)
        runtime = self.runtime
        return self._say(subject, lambda m: accepting(runtime.catalog, runtime.published, policy, m), how)

    def accept_shown(self, subject: str, shown: Mapping[str, str], **how: Unpack[How]) -> list[Event]:
        """Accept policies in one act, each by the digest of the text that was shown: the acceptance page's verb.

        Raises what `accept` raises; then nothing is recorded.
        """

        def answers(manner: Manner) -> list[Answer]:
            catalog, published = self.runtime.catalog, self.runtime.published
            acts = (
                accepting(catalog, published, key, replace(manner, notice=digest))
                for key, digest in shown.items()
            )
            return [answer for act in acts for answer in act]

        return self._say(subject, answers, how)

    def decline(self, subject: str, policy: str, **how: Unpack[How]) -> list[Event]:
        """Record that a policy was declined: an answer like any other."""
        return self._say(
            subject, lambda m: declining(self.runtime.catalog, self.runtime.published, policy, m), how
        )

    def restrict(self, subject: str, **how: Unpack[How]) -> list[Event]:
        """Restrict all processing for a subject (GDPR 18) until `lift`."""
        return self._say(subject, lambda m: restricting(m, Action.RESTRICTED), how)

    def object(self, subject: str, items: Keys = (), **how: Unpack[How]) -> list[Event]:
        """Record an objection (GDPR 21): to these purposes, of whatever basis, or to everything."""

        def answers(manner: Manner) -> list[Answer]:
            if not items:
                return restricting(manner, Action.OBJECTED, (OBJECTION,))
            catalog = self.runtime.catalog
            keys = [f"purpose:{p.key}" for key in _keys(items) for p in catalog.every_purpose_of(key)]
            return denying(catalog, keys, manner, Action.OBJECTED)

        return self._say(subject, answers, how)

    def lift(self, subject: str, items: Keys = (), **how: Unpack[How]) -> list[Event]:
        """End a restriction and an objection to everything; with items, the objection to these."""
        return self._say(subject, lambda m: lifting(self.runtime.catalog, _keys(items), m), how)

    def learn(
        self,
        subject: str,
        *,
        age: Age | None = None,
        jurisdiction: str | None = None,
        tenant: str | None = None,
        connection: Connection | None = None,
    ) -> None:
        """Write facts about a subject, used by every gate. Of the age only a band is kept."""
        runtime = self.runtime
        runtime.ensure()
        known = runtime.reader.state(tenant or "", subject).facts
        rules = self.facts.rules(runtime.catalog)
        if age is not None and rules is not None:
            band, until = band_of(age, rules, runtime.clock.now())
            known = replace(known, band=band, minor_until_us=until)
        runtime.writer.learn(
            tenant or "", subject, replace(known, jurisdiction=jurisdiction or known.jurisdiction), connection
        )

    def erase(
        self,
        subject: str,
        *,
        reason: str = "art17",
        mode: str = "unlink",
        tenant: str | None = None,
        connection: Connection | None = None,
    ) -> list[Event]:
        """Erase a subject (GDPR 17): from now on all but legal obligations answers ERASED.

        `mode="unlink"`: the events stay as pseudonymous proof. Raises ChoiceRejected for another mode.
        """
        if mode != "unlink":
            raise ChoiceRejected(f"mode={mode!r} is not known: write mode='unlink'")
        self.runtime.ensure()
        extra = (("reason", reason),)
        answer = Answer(Kind.SUBJECT, "subject", Action.ERASED, actor="operator", method="code", extra=extra)
        return self._append(subject, [answer], {"tenant": tenant, "connection": connection}, then=mark_erased)

    def rename(self, old: str, new: str, *, tenant: str | None = None) -> list[Event]:
        """Carry a subject's answers over to another id of the host, as of the instants they were said.

        The old id is erased; each new event names the one it continues. Raises ChoiceRejected,
        StoreUnavailable.
        """
        self.runtime.ensure()
        _refuse_visitor(new)
        events = rename(self.runtime.writer, self.runtime.reader, tenant or "", old, new)
        self._recorded(new, tenant or "", events)
        return events

    def _say(self, subject: str, answers: Callable[[Manner], list[Answer]], how: How) -> list[Event]:
        """Turn a verb into events: check who speaks and when, resolve the items, append."""
        if not subject or not isinstance(subject, str):
            raise ValueError("subject: give the id of the person, as text that is not empty")
        self.runtime.ensure()
        at = how.get("at")
        at_us = None if at is None else self._checked(at)
        manner = Manner(
            self.runtime.clock.now() if at_us is None else at_us,
            how.get("actor", "subject"),
            str(how.get("method", "code")),
            how.get("locale"),
            how.get("notice"),
            how.get("scope", ""),
        )
        manner.check()
        said = answers(manner)
        return self._append(subject, said, how, at_us=at_us, facts=self._facts(subject, how, said, manner))

    def _append(
        self,
        subject: str,
        said: list[Answer],
        how: How,
        *,
        at_us: int | None = None,
        facts: Facts | None = None,
        then: Then | None = None,
    ) -> list[Event]:
        tenant, connection = how.get("tenant") or "", how.get("connection")
        events = self.runtime.writer.append(
            tenant, subject, said, at_us=at_us, facts=facts, connection=connection, then=then
        )
        if connection is None:
            self._recorded(subject, tenant, events)
        return events

    def _recorded(self, subject: str, tenant: str, events: list[Event]) -> None:
        """After commit."""
        self._forget(subject, tenant)
        consent_recorded.send(self, subject=subject, tenant=tenant, events=events)

    def _forget(self, subject: str, tenant: str) -> None:
        """Drop what a request remembered of the subject."""

    def _checked(self, at: datetime) -> int:
        at_us = to_us(at)
        if at_us > self.runtime.clock.now() + AHEAD_US:
            raise ValueError(
                "at= lies in the future: an answer is recorded when it is said (5 minutes are tolerated)"
            )
        return at_us

    def _facts(self, subject: str, how: How, said: Sequence[Answer], manner: Manner) -> Facts | None:
        """Facts to write with an answer. Raises GuardianNeeded, GuardianNotNeeded for a grant."""
        catalog, rules = self.runtime.catalog, self.facts.rules(self.runtime.catalog)
        if rules is None and self.facts.jurisdiction is None and catalog.site.default_jurisdiction is None:
            if manner.actor.startswith("guardian:") and any(a.action in GRANTING for a in said):
                raise GuardianNotNeeded(
                    "the catalogue has no rules for minors ([minors]), so no guardian answers"
                )
            return None
        known = self.runtime.reader.state(how.get("tenant") or "", subject).facts
        facts = self.facts.complete(catalog, subject, replace(known, erased_us=None), manner.at_us)
        minor = is_minor(facts, rules, manner.at_us)
        for answer in said:
            if answer.action not in GRANTING:
                continue
            if manner.actor.startswith("guardian:") and not minor:
                raise GuardianNotNeeded(f"the subject answers alone for {answer.item!r}")
            item = catalog.purposes.get(answer.item) or catalog.policies[answer.item]
            if minor and item.minors != "allowed" and manner.actor == "subject":
                raise GuardianNeeded(f"the subject is a minor: a guardian has to answer for {answer.item!r}")
        return facts


def _keys(items: Keys) -> tuple[str, ...]:
    return (items,) if isinstance(items, str) else tuple(items)


def _refuse_visitor(subject: str) -> None:
    if subject.startswith(VISITOR):
        raise ChoiceRejected(
            f"ids that begin with {VISITOR!r} are for anonymous visitors, who answer on the banner"
        )
