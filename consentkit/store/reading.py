"""Reading the ledger: last answers for the gate, events for people and followers. Nothing here writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from consentkit.core.gate import Row
from consentkit.core.minors import NOTHING_KNOWN, Facts
from consentkit.core.record import Event, bucket_of
from consentkit.store import sql
from consentkit.store.clock import bucket_of_event
from consentkit.store.database import Database, Tx
from consentkit.store.keys import Keyed
from consentkit.store.rows import event_of, facts_of

PAGE = 500
FILTERS = ("item", "action", "kind", "actor", "scope")
_NO_EVENT = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class Erased:
    """A leaf whose event was destroyed; its place in the tree stays."""

    leaf_index: int


@dataclass(slots=True)  # not frozen: made for each decision
class SubjectState:
    """What the gate needs of a subject. `key` None: the ledger does not know the subject."""

    key: bytes | None = None
    facts: Facts = NOTHING_KNOWN
    rows: tuple[Row, ...] = ()


UNKNOWN_SUBJECT = SubjectState()


class LedgerReader:
    """Reads by subject, by event id, and in leaf order."""

    def __init__(self, database: Database, keyed: Keyed) -> None:
        self._database, self._keyed = database, keyed

    def state(self, tenant: str, subject: str) -> SubjectState:
        """Facts and last answers in one indexed read. Raises StoreUnavailable."""
        return self._database.read(lambda tx: self.state_in(tx, tenant, subject))

    def states(self, tenant: str, subjects: Sequence[str]) -> Mapping[str, SubjectState]:
        """The same for many subjects, over one connection."""
        return self._database.read(lambda tx: {s: self.state_in(tx, tenant, s) for s in subjects})

    def state_in(self, tx: Tx, tenant: str, subject: str) -> SubjectState:
        """By the plain id, else by what stands in its place after an erasure; inside a transaction."""
        bucket = bucket_of(tenant, subject)
        rows = tx.run(sql.FIND_STATE, (bucket, tenant, subject))
        if not rows:
            rows = tx.run(sql.FIND_STATE, (bucket, tenant, self._keyed.hidden_subject(tenant, subject)))
        if not rows:
            return UNKNOWN_SUBJECT
        first = rows[0]
        answers = [Row(*row[5:]) for row in rows if row[5] is not None]
        return SubjectState(bytes(first[0]), facts_of(first[1:5]), tuple(answers))

    def facts_since(self, tenant: str, subject: str) -> tuple[Facts, int | None]:
        """The facts in the subject's row, and since when they stand there; None: there are none."""
        row = (bucket_of(tenant, subject), tenant, subject)
        found = self._database.read(lambda tx: tx.run(sql.FIND_FACTS, row))
        return (facts_of(found[0][:4]), found[0][4]) if found else (NOTHING_KNOWN, None)

    def events(
        self, tenant: str, subject: str, *, after: str | None = None, limit: int = PAGE, **equal: str
    ) -> list[Event]:
        """A subject's events by event id, unsealed ones included, after the event `after`."""
        filters = tuple(name for name in FILTERS if name in equal)
        hidden = self._keyed.hidden_subject(tenant, subject)
        bucket = bucket_of(tenant, subject)

        def work(tx: Tx) -> list[Event]:
            keys = {row[0]: row[1] for row in tx.run(sql.FIND_SUBJECT, (bucket, tenant, subject, hidden))}
            key = keys.get(subject) or keys.get(hidden)
            if key is None:
                return []
            statement = sql.events_of_subject(filters, self._database.postgresql)
            rows = tx.run(
                statement, (bucket, key, after or _NO_EVENT, *(equal[name] for name in filters), limit)
            )
            return [event_of(row) for row in rows]

        return self._database.read(work)

    def sealed(
        self, *, after: int = -1, limit: int = PAGE, tenant: str | None = None, **equal: str
    ) -> list[Event | Erased]:
        """Sealed events in leaf order after a leaf index: dense, gap-free, never reordered."""
        wanted = dict(equal) if tenant is None else {**equal, "tenant": tenant}
        filters = tuple(name for name in (*FILTERS, "tenant") if name in wanted)
        params = (after, *(wanted[name] for name in filters), limit)
        rows = self._database.read(lambda tx: tx.run(sql.events_sealed(filters), params))
        return [Erased(row[-1]) if row[0] is None else event_of(row) for row in rows]

    def event(self, event_id: str, tenant: str | None = None) -> Event | None:
        """One event by its id, or None (also when it belongs to another tenant)."""
        return self._database.read(lambda tx: self.event_in(tx, event_id, tenant))

    def event_in(self, tx: Tx, event_id: str, tenant: str | None = None) -> Event | None:
        """The same inside a transaction."""
        try:
            bucket = bucket_of_event(event_id)
        except ValueError:
            return None
        found = tx.run(sql.EVENT_BY_ID, (bucket, event_id))
        if not found or tenant not in (None, found[0][-2]):
            return None
        leaf = tx.run(sql.LEAF_OF_EVENT, (bucket, event_id))
        return event_of((*found[0][:10], leaf[0][0] if leaf else None))
