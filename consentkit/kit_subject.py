"""Verbs about a subject as a whole: facts, erasure, another id."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection

from consentkit.core.errors import ChoiceRejected
from consentkit.core.minors import Age, band_of
from consentkit.core.record import Event
from consentkit.kit_record import Recorder, check_subject, refuse_visitor
from consentkit.store import erasing


class SubjectVerbs(Recorder):
    """What is known of a subject, and its end."""

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

        Of the age only a band is kept. Raises StoreUnavailable, ValueError.
        """
        check_subject(subject, tenant)
        runtime = self.runtime
        runtime.ensure()
        known = self._known(tenant or "", subject)
        rules = self.facts.rules(runtime.catalog)
        if age is not None and rules is not None:
            band, until = band_of(age, rules, runtime.clock.now())
            known = replace(known, band=band, minor_until_us=until)
        known = replace(known, jurisdiction=jurisdiction or known.jurisdiction)
        runtime.writer.learn(tenant or "", subject, known, connection)
        self._forget(subject, tenant or "")

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

        `mode="unlink"`: the events stay as pseudonymous proof. Who is erased already is left alone: an empty
        list. Raises ChoiceRejected for another mode, StoreUnavailable, ValueError.
        """
        check_subject(subject, tenant)
        if mode != "unlink":
            raise ChoiceRejected(f"mode={mode!r} is not known: write mode='unlink'")
        self.runtime.ensure()
        events = erasing.erase(self.runtime.writer, tenant or "", subject, reason, connection)
        self._recorded(subject, tenant or "", events, connection)
        return events

    def rename(self, old: str, new: str, *, tenant: str | None = None) -> list[Event]:
        """Carry a subject's answers over to another id of the host, as of the instants they were said.

        The old id is erased; each new event names the one it continues. Raises ChoiceRejected,
        StoreUnavailable, ValueError.
        """
        check_subject(old, tenant)
        refuse_visitor(new)
        self.runtime.ensure()
        events = erasing.rename(self.runtime.writer, self.runtime.reader, tenant or "", old, new)
        self._forget(old, tenant or "")
        self._recorded(new, tenant or "", events)
        return events
