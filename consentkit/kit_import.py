"""An export of another ledger, or of this one before a restore, taken in again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from consentkit.core.ids import check_subject
from consentkit.core.importing import CONTINUES, check_known, read_export
from consentkit.core.record import Event
from consentkit.kit_read import Answers
from consentkit.kit_record import Recorder


class Imports(Recorder, Answers):
    """What `export` gives can be read back (GDPR 20)."""

    def import_export(
        self, export: Mapping[str, Any], *, subject: str | None = None, tenant: str | None = None
    ) -> list[Event]:
        """Record the answers of an export as of the instants they were said, all or nothing.

        `subject`: under another id than the export's. A later answer here stays the last; what is here already,
        or was imported before, is left out. Each event has the method `import` and names in `continues` the event
        that it was. Evidence that is no answer stays where it came from. Whoever imports vouches for the file: it
        proves nothing by itself. Raises ValueError for what is no export, ChoiceRejected for an item or version
        that is not published here, StoreUnavailable.
        """
        runtime = self.runtime
        runtime.ensure()
        found = read_export(export, runtime.clock.now())
        name, owner = found.subject if subject is None else subject, tenant or ""
        check_subject(name, tenant)
        for said in found.answers:
            check_known(said.answer, runtime.catalog, runtime.published)
        here = self._here(name, owner)
        acts = [
            runtime.writer.act(owner, name, [said.answer], at_us=said.effective_us, facts=found.facts)
            for said in found.answers
            if said.event_id not in here
        ]
        if not acts:
            return []
        events = runtime.writer.write(
            acts, lambda tx: [event for act in acts for event in runtime.writer.record(tx, act)]
        )
        self._recorded(name, owner, events)
        return events

    def _here(self, subject: str, tenant: str) -> set[str]:
        """The events of a subject, and those that they continue."""
        events = self.ledger.of_subject(subject, tenant=tenant)
        continued = (json.loads(event.body).get(CONTINUES) for event in events)
        return {event.event_id for event in events} | {event_id for event_id in continued if event_id}
