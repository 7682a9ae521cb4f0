"""Renaming: a subject's answers carried over to another id of the host."""

from __future__ import annotations

import json
from dataclasses import replace

from consentkit.core.errors import ChoiceRejected
from consentkit.core.gate import Row
from consentkit.core.record import Answer, Event
from consentkit.core.terms import Action, Kind
from consentkit.store.database import Tx
from consentkit.store.erasing import erased, mark
from consentkit.store.ledger import Act, LedgerWriter
from consentkit.store.reading import LedgerReader


def rename(writer: LedgerWriter, reader: LedgerReader, tenant: str, old: str, new: str) -> list[Event]:
    """Say a subject's last answers again under another id and erase the old one, all or nothing.

    Raises ChoiceRejected when the old id is unknown or the new one is known.
    """

    def work(tx: Tx) -> list[Event]:
        writer.find(tx, tenant, old, lock=True, whole=True)
        state = reader.state_in(tx, tenant, old)
        if state.key is None or state.facts.erased_us is not None:
            raise ChoiceRejected(f"the ledger does not know the subject {old!r}")
        kept = [row for row in state.rows if not row.actor.startswith("invitation:")]  # their links end here
        said = [(row.effective_us, _continued(tx, row, reader)) for row in kept]
        facts = replace(state.facts, erased_us=None)
        acts = [writer.act(tenant, new, [answer], at_us=at_us, facts=facts) for at_us, answer in said]
        _make(tx, writer, writer.act(tenant, new, (), facts=facts))
        events = [event for act in acts for event in writer.record(tx, act)]
        writer.record(tx, gone, mark)
        return events

    gone = writer.act(tenant, old, [erased("renamed")])
    return writer.write([gone], work)


def _make(tx: Tx, writer: LedgerWriter, act: Act) -> None:
    """A new mapping row; an erased one gives way. Raises ChoiceRejected when the subject is known."""
    known = writer.find(tx, act.tenant, act.subject, lock=True, whole=True)
    if known is not None and known.subject == act.subject and known.facts.erased_us is not None:
        writer.hide(tx, act.tenant, act.subject)
    elif known is not None and known.facts.erased_us is None:
        raise ChoiceRejected(f"the ledger knows {act.subject!r} already: two people are never merged")
    if not writer.add(tx, act):
        raise ChoiceRejected(f"somebody just made {act.subject!r} known: two people are never merged")


def _continued(tx: Tx, row: Row, reader: LedgerReader) -> Answer:
    """The answer behind a state row, with the id of the event that it continues."""
    event = reader.event_in(tx, row.event_id)
    body = json.loads(event.body) if event is not None else {}
    action = Action(row.status)
    return Answer(
        Kind(row.kind),
        row.item,
        action,
        body.get("version"),
        row.version,
        row.scope,
        "subject" if row.actor == "invitation" else row.actor,
        body.get("method"),
        body.get("locale"),
        body.get("notice"),
        row.level,
        row.expires_us,
        (("continues", row.event_id),),
    )
