"""An export of another ledger, or of this one before a restore, taken in again."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from consentkit.core.ids import check_subject
from consentkit.core.importing import Export, check_known, read_export
from consentkit.core.minors import Facts, is_guarded
from consentkit.core.record import Event
from consentkit.core.terms import Band
from consentkit.kit_facts import placed
from consentkit.kit_read import Answers
from consentkit.kit_record import Recorder, refuse_visitor
from consentkit.logs import log
from consentkit.store.taking import Taking


class Taken(list[Event]):
    """The events that an import has recorded.

    `known`: how many answers of the export were left out because they are here already; `erased`: because they
    were said before an erasure, there or here.
    """

    def __init__(self, events: Sequence[Event], known: int, erased: int) -> None:
        super().__init__(events)
        self.known, self.erased = known, erased


class Imports(Recorder, Answers):
    """What `export` gives can be read back (GDPR 20)."""

    def import_export(
        self, export: Mapping[str, Any], *, subject: str | None = None, tenant: str | None = None
    ) -> Taken:
        """Record the answers of an export as of the instants they were said, all or nothing.

        `subject`, `tenant`: under another id or tenant than the export's. A later answer here stays the last; what
        is here already, was imported before, or was said before an erasure, there or here, is left out. Facts
        complete what is not known here. Each event has the method `import` and names in `continues` the event that
        it was. Whoever imports vouches for the file: it proves nothing by itself. Raises ValueError for what is no
        export or a damaged one, ChoiceRejected for a visitor, a child where children are not allowed, and an item
        or version that is not published here; StoreUnavailable.
        """
        runtime = self.runtime
        runtime.ensure()
        found = read_export(export, runtime.clock.now())
        name = found.subject if subject is None else subject
        owner = found.tenant if tenant is None else tenant
        check_subject(name, owner)
        for who in (found.subject, name):
            refuse_visitor(who)
        for said in found.answers:
            check_known(said.answer, runtime.published)
        before = self._known(owner, name)
        facts = self._completed(owner, name, before, found.facts)
        self._admit(owner, name, facts, found)
        taking = Taking(runtime.writer, owner, name, found, before, facts)
        events = runtime.writer.write(taking.acts, taking.work)
        if taking.erased:
            said_before = "%(count)d answers from before an erasure were not imported"
            log(logging.WARNING, "import_left_out", said_before, count=taking.erased)
        self._recorded(name, owner, events)
        return Taken(events, taking.known, taking.erased)

    def _completed(self, tenant: str, subject: str, known: Facts, said: Facts) -> Facts:
        """What is known here, by the row or by the host's loaders, with what an export says of the rest."""
        catalog, now_us = self.runtime.catalog, self.runtime.clock.now()
        place = known.jurisdiction or said.jurisdiction
        here = known if place is None else placed(catalog, known, place, now_us)
        if not tenant:
            here = self.facts.complete(catalog, subject, here, now_us)
        if here.band is not Band.UNKNOWN:
            return here
        moved = said if here.jurisdiction is None else placed(catalog, said, here.jurisdiction, now_us)
        return replace(here, band=moved.band, minor_until_us=moved.minor_until_us)

    def _admit(self, tenant: str, subject: str, facts: Facts, found: Export) -> None:
        """Raise NotForChildren, AgeNeeded as the verbs do; of a known child nothing at all is taken."""
        catalog, now_us = self.runtime.catalog, self.runtime.clock.now()
        rules, ages = self.facts.rules(catalog), catalog.places.at(facts.jurisdiction).ages
        asks = facts.band is Band.MINOR or any(said.answer.grants for said in found.answers)
        if asks and is_guarded(facts, rules, ages, now_us):
            self._refuse_child(tenant, subject, facts, rules)
