"""An export taken in: what of it is new is worked out under the subject's lock, so that it is recorded once."""

# ruff: noqa: S608 - every name is a constant of this package, every value a bind parameter
from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

from consentkit.core.importing import CONTINUES, NEVER, Export
from consentkit.core.minors import NOTHING_KNOWN, Facts
from consentkit.core.record import Event
from consentkit.store.database import Tx
from consentkit.store.ledger import Act, Known, LedgerWriter
from consentkit.store.tables import PREFIX as _P

_HERE = f"SELECT CAST(event_id AS TEXT), body FROM {_P}event WHERE bucket = ? AND subject_key = ?"


@dataclass
class Taking:
    """One import. `before`: the facts that were known here, when it was judged which to write: `facts`.

    `known`, `erased`: how many answers were left out, because they are here, or were said before an erasure.
    """

    writer: LedgerWriter
    tenant: str
    subject: str
    export: Export
    before: Facts
    facts: Facts
    known: int = 0
    erased: int = 0
    acts: list[Act] = field(init=False)
    _making: Act = field(init=False)

    def __post_init__(self) -> None:
        answers = self.export.answers
        make, who = self.writer.act, (self.tenant, self.subject)
        self.acts = [make(*who, [said.answer], at_us=said.effective_us) for said in answers]
        self._making = make(*who, (), facts=self.facts)

    def work(self, tx: Tx) -> list[Event]:
        """Record what is new, in a transaction. Raises LedgerBroken."""
        row = self.writer.find(tx, self.tenant, self.subject, lock=True, whole=True)
        erased_us = max(self.export.erased_us, self.writer.erased_us(tx, self.tenant, self.subject) or NEVER)
        pairs = zip(self.export.answers, self.acts, strict=True)
        since = [(said, act) for said, act in pairs if said.effective_us > erased_us]
        self.known, self.erased = 0, len(self.acts) - len(since)
        if row is None and not since and self.facts == NOTHING_KNOWN:
            return []
        known = self._row(tx, row, anew=any(said.answer.grants for said, _ in since))
        here = self._here(tx, known)
        new = [(replace(known, facts=said.facts), act) for said, act in since if said.event_id not in here]
        self.known = len(since) - len(new)
        return [event for known, act in new for event in self.writer.record_for(tx, act, known)]

    def _row(self, tx: Tx, known: Known | None, *, anew: bool) -> Known:
        """The subject's mapping row, locked, with the facts; one that is erased and stays so is left as it is.

        Facts that were learned meanwhile are not overruled.
        """
        while known is None:
            self.writer.add(tx, self._making)
            known = self.writer.find(tx, self.tenant, self.subject, lock=True, whole=True)
        if known.facts.erased_us is None:
            settled = known.facts == self.before
            return self.writer.known(tx, self._making, whole=True, overrule=True) if settled else known
        return self.writer.known(tx, self._making, whole=True, anew=True) if anew else known

    def _here(self, tx: Tx, known: Known) -> set[str]:
        """The events under a pseudonym, and those that they continue."""
        rows = tx.run(_HERE, (self._making.bucket, known.key))
        continued = (json.loads(row[1]).get(CONTINUES) for row in rows)
        return {str(row[0]) for row in rows} | {event_id for event_id in continued if event_id}
