"""Ages: what is learned of a subject, a person's own word, and what follows where children are not allowed."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from functools import partial

from sqlalchemy import Connection

from consentkit.core.errors import ConsentKitError, StoreUnavailable
from consentkit.core.ids import check_subject
from consentkit.core.minors import Age, Facts, band_of, is_guarded
from consentkit.core.place_rules import is_jurisdiction
from consentkit.core.record import Answer, Event
from consentkit.core.sweeping import (
    DELETION,
    NOT_ALLOWED,
    deletion,
    purposes_of,
    refusal,
    refused,
    regulated,
    requested,
)
from consentkit.core.terms import Action, Band
from consentkit.kit_facts import placed
from consentkit.kit_subject import SubjectVerbs
from consentkit.logs import harmless, log
from consentkit.signals import delete_required, tell
from consentkit.store.database import Tx
from consentkit.store.journal import line_of
from consentkit.store.learning import learn
from consentkit.store.sweeping import Child, child, had_before, record, start_over

GROUND = "minor"
"""Why the events of a child who is not allowed are destroyed."""


class MinorVerbs(SubjectVerbs):
    """What is known of a subject's age."""

    def learn(
        self,
        subject: str,
        *,
        age: Age | None = None,
        jurisdiction: str | None = None,
        tenant: str | None = None,
        connection: Connection | None = None,
    ) -> None:
        """Write facts about a subject, used by every gate; not about an erased one.

        Of the age only a band is kept. Where children are not allowed one is turned away, see `minors.md`.
        Raises StoreUnavailable, ValueError.
        """
        facts = self._facts_of(subject, tenant or "", age, jurisdiction)
        self._learned(tenant or "", subject, facts, connection=connection)

    def declare_age(self, subject: str, age: Age, *, tenant: str | None = None) -> bool:
        """Take a person's own word, once: where an age is known nothing changes. Whether it was taken.

        Raises StoreUnavailable, ValueError.
        """
        facts = self._facts_of(subject, tenant or "", age, None)
        return self._learned(tenant or "", subject, facts, first=True)

    def carry_age(self, visitor: str, account: str) -> bool:
        """What a visitor said of the age holds for the account that signs in, where none is known. Whether it was.

        Raises StoreUnavailable, ValueError.
        """
        check_subject(visitor)
        check_subject(account)
        runtime = self.runtime
        runtime.ensure()
        catalog, now_us = runtime.catalog, runtime.clock.now()
        said, known = self._known("", visitor), self._known("", account)
        if said.band is Band.UNKNOWN or known.band is not Band.UNKNOWN:
            return False
        if self.facts.complete(catalog, account, known, now_us).band is not Band.UNKNOWN:
            return False
        place = known.jurisdiction or said.jurisdiction
        facts = placed(catalog, said, place, now_us) if place is not None else said
        return facts.band is not Band.UNKNOWN and self._learned("", account, facts, first=True)

    def _facts_of(self, subject: str, tenant: str, age: Age | None, jurisdiction: str | None) -> Facts:
        """What is known of a subject, with what was learned. Raises ValueError."""
        check_subject(subject, tenant)
        if jurisdiction is not None and not is_jurisdiction(jurisdiction):
            raise ValueError(f"jurisdiction {jurisdiction!r}: write ISO 3166, such as DE or US-CA")
        if age is not None and not isinstance(age, Age):
            raise ValueError("age= is an Age, such as Age(years=11) or Age(born=date(2014, 5, 1))")
        runtime = self.runtime
        runtime.ensure()
        known, now_us = self._known(tenant, subject), runtime.clock.now()
        place = jurisdiction or known.jurisdiction or (None if tenant else self.facts.place(runtime.catalog))
        if place is not None and place != known.jurisdiction:
            known = placed(runtime.catalog, known, place, now_us)
        if age is None:
            return known
        band, until = band_of(age, runtime.catalog.places.at(place).ages, now_us)
        if self.facts.rules(runtime.catalog) is None:
            return known
        return replace(known, band=band, minor_until_us=until)

    def _learned(
        self,
        tenant: str,
        subject: str,
        facts: Facts,
        *,
        first: bool = False,
        connection: Connection | None = None,
    ) -> bool:
        """Write facts, and turn a child away where the catalogue says so. Whether they were written."""
        turned = self._is_refused(facts)
        events = learn(
            self.runtime.writer, tenant, subject, facts, refused=turned, first=first, connection=connection
        )
        self._recorded(subject, tenant, events or [], connection)
        if turned and events is not None and connection is None:
            self._expel(tenant, subject)
        return events is not None

    def _turn_away(self, tenant: str, subject: str, facts: Facts) -> None:
        super()._turn_away(tenant, subject, facts)
        self._expel(tenant, subject)

    def _is_refused(self, facts: Facts) -> bool:
        """Whether these are the facts of a child, where children are not allowed."""
        catalog = self.runtime.catalog
        rules, ages = self.facts.rules(catalog), catalog.places.at(facts.jurisdiction).ages
        closed = rules is not None and rules.turns_away and facts.band is Band.MINOR
        return closed and is_guarded(facts, rules, ages, self.runtime.clock.now())

    def _expel(self, tenant: str, subject: str, *, sealing: bool = False) -> list[Event]:
        """Keep nothing of a child that was turned away but that, and have the rest deleted by everybody.

        `sealing`: what cannot be sealed here raises ConsentKitError; without it the sweep does it later.
        """
        one = self.runtime.database.read(lambda tx: child(tx, tenant, subject))
        answer = self._to_delete(one) if one is not None else None
        if one is None or answer is None:
            return []
        if not self.runtime.database.read(lambda tx: had_before(tx, one, refused(one.rows))):
            said = [] if one.is_visitor else [(one, answer)]
            events = [event for _, event in record(self.runtime.writer, said, self._still_to_delete)]
        else:
            try:
                events = self._start_over(one, answer)
            except StoreUnavailable:
                raise
            except ConsentKitError as error:
                if sealing:
                    raise
                message = "what is kept of a child who is not allowed is destroyed by the sweep: %(error)s"
                log(logging.WARNING, "destruction_postponed", message, error=harmless(error))
                return []
        self._recorded(subject, tenant, events)
        for event in events:
            self._tell_to_delete(tenant, subject, event)
        return events

    def _to_delete(self, one: Child) -> Answer | None:
        """What is recorded of a refused child of whom no deletion was required yet."""
        if (
            refused(one.rows) is None
            or requested(one.rows) is not None
            or not self._is_refused(one.state.facts)
        ):
            return None
        return deletion(regulated(self.runtime.catalog), NOT_ALLOWED)

    def _still_to_delete(self, _tx: Tx, one: Child) -> Answer | None:
        return self._to_delete(one)

    def _start_over(self, one: Child, answer: Answer) -> list[Event]:
        """Destroy what the ledger holds of a child, then record the refusal again: it has to last."""
        again = partial(
            start_over, self.runtime.writer, one, GROUND, [refusal(), answer], self._still_to_delete
        )
        events = self._sealed_first(again)
        if self.runtime.journal is not None:
            self.runtime.journal.add(line_of(e, "destroy") for e in events if e.action == Action.ERASED)
        return events

    def _tell_to_delete(self, tenant: str, subject: str, event: Event) -> None:
        """The signal `delete_required`, for an event that requires a deletion or reminds of one."""
        if event.item == DELETION:
            said = json.loads(event.body)
            tell(
                delete_required,
                self,
                subject=subject,
                tenant=tenant,
                purposes=sorted(purposes_of(said)),
                reason=said["reason"],
                reminder=event.action == Action.NOTIFIED,
            )
