"""The end of objections, on record only where there is one: a later no, and a yes, are not undone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sqlalchemy import Connection

from consentkit.core.minors import Facts
from consentkit.core.record import Answer, Event
from consentkit.core.view import Row
from consentkit.store.database import Tx
from consentkit.store.ledger import LedgerWriter
from consentkit.store.reading import LedgerReader


def record_lifted(
    writer: LedgerWriter,
    reader: LedgerReader,
    tenant: str,
    subject: str,
    answers: Sequence[Answer],
    ends: Callable[[Row], bool],
    *,
    at_us: int | None = None,
    facts: Facts | None = None,
    connection: Connection | None = None,
) -> list[Event]:
    """Record those of the answers that end the last answer of their actor to their item. Raises StoreUnavailable."""
    act = writer.act(tenant, subject, answers, at_us=at_us, facts=facts)

    def work(tx: Tx) -> list[Event]:
        known = writer.find(tx, tenant, subject, lock=True, whole=True)  # from here on other answers wait
        if known is None or known.subject != subject or known.facts.erased_us is not None:
            return []
        rows = reader.state_in(tx, tenant, subject).rows
        last = {
            (r.kind, r.item, r.scope, r.actor): r for r in rows if at_us is None or r.effective_us <= at_us
        }
        wanted = [
            n
            for n, said in enumerate(answers)
            if (row := last.get((said.kind, said.item, said.scope, said.actor))) is not None and ends(row)
        ]
        if not wanted:
            return []
        answered = [answers[n] for n in wanted]
        some = replace(
            act, answers=answered, ids=[act.ids[n] for n in wanted], salts=[act.salts[n] for n in wanted]
        )
        return writer.record(tx, some, alone=at_us is None)

    return writer.write([act], work, connection)
