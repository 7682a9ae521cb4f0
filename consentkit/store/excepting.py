"""That an exception was used is written down about anybody, also about a subject who was erased."""

from __future__ import annotations

from collections.abc import Sequence

from consentkit.core.errors import LedgerBroken
from consentkit.core.record import Answer, Event
from consentkit.store.database import Tx
from consentkit.store.ledger import Act, Known, LedgerWriter


def record_use(writer: LedgerWriter, tenant: str, subject: str, answers: Sequence[Answer]) -> list[Event]:
    """Record evidence under the subject's present pseudonym. An answer would make an erased one anew; this does not.

    Raises StoreUnavailable, LedgerBroken.
    """
    act = writer.act(tenant, subject, answers)
    return writer.write([act], lambda tx: writer.record_for(tx, act, _known(writer, tx, act)))


def _known(writer: LedgerWriter, tx: Tx, act: Act) -> Known:
    for _ in range(2):
        known = writer.find(tx, act.tenant, act.subject, lock=True)
        if known is not None:
            return known
        writer.add(tx, act)
    raise LedgerBroken("a subject's row cannot be made", at=f"bucket {act.bucket}")
