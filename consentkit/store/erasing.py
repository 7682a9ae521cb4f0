"""Erasure and renaming: what is done to the mapping row, the only place with the host's id."""

from __future__ import annotations

import json
from dataclasses import replace

from consentkit.core.errors import ChoiceRejected
from consentkit.core.gate import Row
from consentkit.core.record import Answer, Event
from consentkit.core.terms import Action, Kind
from consentkit.store import sql
from consentkit.store.database import Tx
from consentkit.store.ledger import Act, Known, LedgerWriter
from consentkit.store.reading import LedgerReader


def mark_erased(tx: Tx, act: Act, known: Known) -> None:
    """From now on every gate answers ERASED; the `erased` event, which names the key, is in already."""
    tx.count(sql.MARK_ERASED, (act.now_us, act.bucket, act.tenant, known.subject))


def rename(writer: LedgerWriter, reader: LedgerReader, tenant: str, old: str, new: str) -> list[Event]:
    """Say a subject's last answers again under another id, then erase the old one.

    Raises ChoiceRejected when the old id is unknown or the new one is known.
    """
    state = reader.state(tenant, old)
    if state.key is None or state.facts.erased_us is not None:
        raise ChoiceRejected(f"the ledger does not know the subject {old!r}")
    if reader.state(tenant, new).key is not None:
        raise ChoiceRejected(f"the ledger knows {new!r} already: the answers of two people are never merged")
    facts = replace(state.facts, erased_us=None)
    events: list[Event] = []
    for row in state.rows:
        said = _continued(row, reader)
        events += writer.append(tenant, new, [said], at_us=row.effective_us, facts=facts)
    if not state.rows:
        writer.learn(tenant, new, facts)
    gone = Answer(
        Kind.SUBJECT,
        "subject",
        Action.ERASED,
        actor="operator",
        method="code",
        extra=(("reason", "renamed"),),
    )
    writer.append(tenant, old, [gone], then=mark_erased)
    return events


def _continued(row: Row, reader: LedgerReader) -> Answer:
    """The answer behind a state row, with the id of the event that it continues."""
    event = reader.event(row.event_id)
    body = json.loads(event.body) if event is not None else {}
    said = (body.get("method"), body.get("locale"), body.get("notice"), row.level, row.expires_us)
    continues = (("continues", row.event_id),)
    actor = "subject" if row.actor == "invitation" else row.actor
    return Answer(
        Kind(row.kind),
        row.item,
        Action(row.status),
        body.get("version"),
        row.version,
        row.scope,
        actor,
        *said,
        continues,
    )
