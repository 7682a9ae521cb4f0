"""A browser's opt-out signal, on record once per subject however often the header is sent."""

from __future__ import annotations

from consentkit.core.minors import Facts
from consentkit.core.record import Answer, Event
from consentkit.store.database import Tx
from consentkit.store.ledger import LedgerWriter
from consentkit.store.reading import LedgerReader


def record_signal(
    writer: LedgerWriter,
    reader: LedgerReader,
    tenant: str,
    subject: str,
    answer: Answer,
    *,
    at_us: int | None = None,
    facts: Facts | None = None,
) -> list[Event]:
    """Record it unless it is on record already, or the subject was erased. Raises StoreUnavailable."""
    act = writer.act(tenant, subject, [answer], at_us=at_us, facts=facts)

    def work(tx: Tx) -> list[Event]:
        found = writer.find(tx, tenant, subject, lock=True, whole=True)
        if found is not None and found.facts.erased_us is not None:
            return []
        writer.known(tx, act, whole=True)  # from here on a second request of the same browser waits
        rows = reader.state_in(tx, tenant, subject).rows
        if any((row.kind, row.item, row.actor) == (answer.kind, answer.item, answer.actor) for row in rows):
            return []
        return writer.record(tx, act)

    return writer.write([act], work)
