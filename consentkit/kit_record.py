"""How a verb becomes events: who speaks and when, which facts go along, one append, then the signal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from logging import DEBUG
from typing import TypedDict

from sqlalchemy import Connection

from consentkit.core.catalog import Catalog, MinorRules
from consentkit.core.choices import Manner
from consentkit.core.errors import (
    AgeNeeded,
    ChoiceRejected,
    GuardianNeeded,
    GuardianNotNeeded,
    NotForChildren,
)
from consentkit.core.gate import Row
from consentkit.core.ids import check_subject
from consentkit.core.minors import NOTHING_KNOWN, Facts, is_guarded
from consentkit.core.places import STRICTEST, AgeRule
from consentkit.core.record import VISITOR, Answer, Event
from consentkit.core.terms import GRANTING, Assurance, Band
from consentkit.core.times import not_ahead, to_us
from consentkit.kit_facts import FactSources
from consentkit.logs import LOGGER, log
from consentkit.runtime import Runtime
from consentkit.signals import consent_recorded, tell
from consentkit.store.learning import learn
from consentkit.store.lifting import record_lifted

Keys = str | Sequence[str]


class How(TypedDict, total=False):
    """Keywords of every verb.

    `method`: how it was expressed (default "code"). `connection`: join the caller's transaction, who
    commits. `at`: when it was said, aware, at most 5 minutes ahead. `actor`: "subject", "operator" or
    "guardian:<n>". `notice`: SHA-256 digest of what was shown. `locale`: BCP 47. `scope`: one thing.
    `assurance`: how well a guardian was verified, "none", "reasonable" (the default) or "verifiable".
    """

    method: str
    connection: Connection | None
    at: datetime | None
    actor: str
    notice: str | None
    locale: str | None
    tenant: str | None
    scope: str
    assurance: str


class Recorder:
    """What every recording verb does. Each is one transaction: all of its events, or none."""

    facts: FactSources

    @property
    def runtime(self) -> Runtime:
        """The catalogue at work on a database."""
        raise AssertionError("a kit has a runtime")

    def _say(
        self,
        subject: str,
        answers: Callable[[Manner], list[Answer]],
        how: How,
        ends: Callable[[Row], bool] | None = None,
    ) -> list[Event]:
        """Turn a verb into events: check who speaks and when, resolve the items, append.

        `ends`: only what ends such a last answer is recorded.
        """
        check_subject(subject, how.get("tenant"))
        self.runtime.ensure()
        at, now_us = how.get("at"), self.runtime.clock.now()
        at_us = None if at is None else not_ahead(to_us(at), now_us)
        manner = Manner(
            now_us if at_us is None else at_us,
            how.get("actor", "subject"),
            str(how.get("method", "code")),
            how.get("locale"),
            how.get("notice"),
            how.get("scope", ""),
            self._level(how),
        )
        manner.check()
        said = answers(manner)
        if not said:
            return []
        tenant, connection = how.get("tenant") or "", how.get("connection")
        facts, said = self._by_law(tenant, subject, said, manner, joined=connection is not None)
        writer, reader = self.runtime.writer, self.runtime.reader
        if ends is None:
            events = writer.append(tenant, subject, said, at_us=at_us, facts=facts, connection=connection)
        else:
            about = (writer, reader, tenant, subject, said, ends)
            events = record_lifted(*about, at_us=at_us, facts=facts, connection=connection)
        self._recorded(subject, tenant, events, connection)
        return events

    @staticmethod
    def _level(how: How) -> int:
        """A guardian's assurance. Who records a guardian's answer vouches for reasonable effort (GDPR 8(2))."""
        if not how.get("actor", "subject").startswith("guardian:"):
            return 0
        return Assurance(how.get("assurance", Assurance.REASONABLE)).level

    def _recorded(
        self, subject: str, tenant: str, events: list[Event], connection: Connection | None = None
    ) -> None:
        """What follows an answer. In the caller's transaction nothing is committed yet: no signal."""
        self._forget(subject, tenant)
        if connection is None and events:
            tell(consent_recorded, self, subject=subject, tenant=tenant, events=events)
            for event in events if LOGGER.isEnabledFor(DEBUG) else ():
                log(DEBUG, "answer_recorded", "%(action)s: %(item)s", action=event.action, item=event.item)

    def _forget(self, subject: str, tenant: str) -> None:
        """Drop what a request remembered of the subject."""

    def _known(self, tenant: str, subject: str) -> Facts:
        """Facts in the subject's row; an erased one's are not known any more."""
        facts = self.runtime.reader.state(tenant, subject).facts
        return NOTHING_KNOWN if facts.erased_us is not None else facts

    def _by_law(
        self, tenant: str, subject: str, said: list[Answer], manner: Manner, *, joined: bool = False
    ) -> tuple[Facts | None, list[Answer]]:
        """Facts to write with the answers, and the answers, a child's with the rule that holds for it.

        Raises GuardianNeeded, GuardianNotNeeded for a grant, NotForChildren where children are not allowed: that
        is recorded, unless the transaction is the caller's, who will roll it back.
        """
        catalog, rules = self.runtime.catalog, self.facts.rules(self.runtime.catalog)
        if rules is None and self.facts.jurisdiction is None and catalog.site.default_jurisdiction is None:
            if manner.by_guardian and any(a.action in GRANTING for a in said):
                raise GuardianNotNeeded(
                    "the catalogue has no rules for minors ([minors]), so no guardian answers"
                )
            return None, said
        state = self.runtime.reader.state(tenant, subject)
        facts = NOTHING_KNOWN if state.facts.erased_us is not None else state.facts
        if not tenant:  # the host's loaders know the host's people, not those of a tenant
            facts = self.facts.complete(catalog, subject, facts, manner.at_us)
        place = catalog.places.at(facts.jurisdiction)
        if is_guarded(facts, rules, place.ages, manner.at_us):
            asked = rules is not None and rules.unknown_age == "ask" and facts.band is Band.UNKNOWN
            if _grants(said):
                self._refuse_child(tenant, subject, facts, rules, joined=joined)
            _refuse_alone(catalog, place.ages, said, manner, state.rows, asked=asked)
            law = (("actors", " ".join(place.ages.actors)), ("age_rule", place.decided))
            said = [replace(answer, extra=(*answer.extra, *law)) for answer in said]
        elif manner.by_guardian and (grants := _grants(said)):
            raise GuardianNotNeeded(f"the subject answers alone for {grants[0].item!r}")
        return facts, said

    def _refuse_child(
        self, tenant: str, subject: str, facts: Facts, rules: MinorRules | None, *, joined: bool = False
    ) -> None:
        """Raise NotForChildren where children are not allowed, AgeNeeded where the age has to be asked first."""
        if rules is None or not rules.turns_away:
            return
        if rules.unknown_age == "ask" and facts.band is Band.UNKNOWN:
            raise AgeNeeded
        if facts.band is Band.MINOR and not joined:
            self._turn_away(tenant, subject, facts)
        raise NotForChildren

    def _turn_away(self, tenant: str, subject: str, facts: Facts) -> None:
        """Put on record that a child was turned away, which is all that is kept of one."""
        events = learn(self.runtime.writer, tenant, subject, facts, refused=True)
        self._recorded(subject, tenant, events or [])


def _refuse_alone(
    catalog: Catalog,
    ages: AgeRule,
    said: Sequence[Answer],
    manner: Manner,
    rows: Sequence[Row],
    *,
    asked: bool,
) -> None:
    """Raise GuardianNeeded for a child's own grant; AgeNeeded where it is only the age that is not known.

    Where the law asks child and guardian together the child's is recorded; where it is only the place that is
    not known, after the guardian's.
    """
    if manner.actor != "subject":
        return
    by_guardian = {(r.kind, r.item) for r in rows if r.grants and r.actor.startswith("guardian:")}
    for answer in _grants(said):
        item = catalog.purposes.get(answer.item) or catalog.policies[answer.item]
        joint = ages.joint and (ages.code != STRICTEST or (answer.kind, answer.item) in by_guardian)
        if item.minors != "allowed" and not joint:
            if asked:
                raise AgeNeeded
            raise GuardianNeeded(f"the subject is a minor: a guardian has to answer for {answer.item!r}")


def _grants(said: Sequence[Answer]) -> list[Answer]:
    """What would allow something; to have seen an announcement would not."""
    return [answer for answer in said if answer.grants]


def keys_of(items: Keys) -> tuple[str, ...]:
    """One key or several."""
    return (items,) if isinstance(items, str) else tuple(items)


def refuse_visitor(subject: str) -> None:
    """Raise ChoiceRejected for the id of an anonymous visitor."""
    check_subject(subject)
    if subject.startswith(VISITOR):
        raise ChoiceRejected(
            f"ids that begin with {VISITOR!r} are for anonymous visitors, who answer on the banner"
        )
