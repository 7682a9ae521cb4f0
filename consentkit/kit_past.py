"""What a subject had said, and what was known of it, at a past moment: from the events, which are the evidence."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from consentkit.core.catalog import Catalog
from consentkit.core.folding import fold
from consentkit.core.minors import Facts, grown
from consentkit.core.record import Event
from consentkit.core.terms import Action, Band
from consentkit.core.times import to_us
from consentkit.kit_ledger import Ledger
from consentkit.runtime import Runtime
from consentkit.store.reading import SubjectState


def state_at(runtime: Runtime, tenant: str, subject: str, at_us: int, catalog: Catalog) -> SubjectState:
    """The rows as they were: events folded up to the moment, with the facts of then.

    The subject's row says what is known since when; of the time before that, events keep the band and the place.
    """
    events = Ledger(runtime).of_subject(subject, tenant=tenant)
    before = [event for event in events if to_us(event.effective_at) <= at_us]
    known, since_us = runtime.reader.facts_since(tenant, subject)
    if since_us is None or since_us > at_us:
        known = grown(_recorded(before), known, catalog.places, at_us)
    rows = fold(event.body for event in before)
    return SubjectState(b"", replace(known, erased_us=_erased_us(before)), tuple(rows.values()))


def _recorded(events: Sequence[Event]) -> Facts:
    """The facts that the last of some events recorded."""
    facts = Facts()
    for event in events:
        if event.action != Action.ERASED:
            body = json.loads(event.body)
            facts = Facts(Band(body["band"]), None, body["jurisdiction"])
    return facts


def _erased_us(events: Sequence[Event]) -> int | None:
    erased = [e for e in events if e.action == Action.ERASED and e.item == "subject"]
    return to_us(erased[-1].effective_at) if erased else None
