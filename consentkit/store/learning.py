"""Facts about a subject, written without an answer; for a child that is turned away with the refusal, once."""

# ruff: noqa: S608 - every name is a constant of this package, every value a bind parameter
from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection

from consentkit.core.minors import Facts
from consentkit.core.record import Event
from consentkit.core.sweeping import MINOR, refusal
from consentkit.core.terms import Band
from consentkit.store.database import Tx
from consentkit.store.ledger import Act, Known, LedgerWriter
from consentkit.store.tables import PREFIX as _P

_REFUSED = (
    f"SELECT 1 FROM {_P}state WHERE bucket = ? AND subject_key = ? AND kind = 'subject' "
    f"AND item = '{MINOR}' AND status = 'refused'"
)


def learn(
    writer: LedgerWriter,
    tenant: str,
    subject: str,
    facts: Facts,
    *,
    refused: bool = False,
    first: bool = False,
    connection: Connection | None = None,
) -> list[Event] | None:
    """Write facts about a subject, who is made known by it. Without `refused` no event: facts are deletable.

    `refused`: the subject is a child and turned away, which is recorded once. `first`: only where the band is
    not known yet. None: nothing was written, because the subject is erased, or it is not the first time.
    """
    act = writer.act(tenant, subject, [refusal()] if refused else (), facts=facts)

    def work(tx: Tx) -> list[Event] | None:
        known = _locked(tx, writer, act)
        if known.facts.erased_us is not None or (first and _says_otherwise(known.facts, facts)):
            return None
        known = writer.known(tx, act, overrule=True)
        if refused and not tx.run(_REFUSED, (act.bucket, known.key)):
            return writer.record(tx, act, alone=True)
        return []

    return writer.database.write(work, connection)


def _locked(tx: Tx, writer: LedgerWriter, act: Act) -> Known:
    """The subject's mapping row, locked; made with the facts of the act where there is none."""
    while True:
        known = writer.find(tx, act.tenant, act.subject, lock=True, whole=True)
        if known is not None:
            return known
        writer.add(tx, act)


def _says_otherwise(known: Facts, said: Facts) -> bool:
    """Whether another age is known. The same one: this very call was committed before its connection died."""
    return known.band is not Band.UNKNOWN and replace(known, erased_us=None) != said
