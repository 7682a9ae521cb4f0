"""Writing to the ledger: events, state rows and pending rows in one transaction (storage: the write path)."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from sqlalchemy import Connection

from consentkit.core.errors import LedgerBroken
from consentkit.core.gate import Row
from consentkit.core.minors import NOTHING_KNOWN, Facts, adds
from consentkit.core.record import Answer, Entry, Event, Stamp, bucket_of, entry, subject_key
from consentkit.store import sql
from consentkit.store.clock import Clock
from consentkit.store.database import Database, Params, Tx
from consentkit.store.keys import Keyed
from consentkit.store.rows import event_of, facts_of

SALT_BYTES = 32
BATCH = 500


class _ClockBehind(Exception):
    """A live answer lost against a stored one: another host's clock is ahead, or another writer was faster."""


@dataclass(frozen=True, slots=True)
class Known:
    """A subject's mapping row."""

    subject: str
    key: bytes
    facts: Facts


@dataclass(frozen=True, slots=True)
class Act:
    """What one call records about one subject: prepared once, so that a retry writes the very same rows."""

    tenant: str
    subject: str
    bucket: int
    answers: Sequence[Answer]
    ids: Sequence[str]
    salts: Sequence[bytes]
    now_us: int
    at_us: int | None
    facts: Facts | None

    def begins_anew(self, known: Known) -> bool:
        """Whether an erased subject begins anew with this act: by a yes that was said since the erasure."""
        said_us = self.now_us if self.at_us is None else self.at_us
        return said_us > (known.facts.erased_us or 0) and any(answer.grants for answer in self.answers)


Then = Callable[[Tx, Act, Known], None]
"""Runs in the same transaction, after the events are in."""


class LedgerWriter:
    """Appends answers. Nothing is ever changed but the state row of the actor who answered."""

    def __init__(self, database: Database, keyed: Keyed, clock: Clock) -> None:
        self.database, self.keyed, self.clock = database, keyed, clock

    def append(
        self,
        tenant: str,
        subject: str,
        answers: Sequence[Answer],
        *,
        at_us: int | None = None,
        facts: Facts | None = None,
        connection: Connection | None = None,
        then: Then | None = None,
    ) -> list[Event]:
        """Record what was said, durably, all or nothing.

        `at_us` back-dates; `facts` complete the subject's row; `then` runs in the same transaction.
        Raises StoreUnavailable, LedgerBroken.
        """
        act = self.act(tenant, subject, answers, at_us=at_us, facts=facts)
        try:
            return self.write((act,), partial(self.record, act=act, then=then), connection)
        except _ClockBehind:
            return self.write((act,), partial(self.record, act=act, then=then, alone=True), connection)

    def act(
        self,
        tenant: str,
        subject: str,
        answers: Sequence[Answer],
        *,
        at_us: int | None = None,
        facts: Facts | None = None,
        bucket: int | None = None,
    ) -> Act:
        """What `record` writes, with its ids, salts and time. `bucket`: where a hidden subject's rows are."""
        bucket = bucket_of(tenant, subject) if bucket is None else bucket
        ids = self.clock.event_ids(bucket, len(answers))
        salts = [secrets.token_bytes(SALT_BYTES) for _ in ids]
        return Act(tenant, subject, bucket, answers, ids, salts, self.clock.tick(), at_us, facts)

    def write(
        self, acts: Sequence[Act], work: Callable[[Tx], list[Event]], connection: Connection | None = None
    ) -> list[Event]:
        """Run `work`, which records these acts, in a transaction; at most one of its tries is kept."""
        tries = itertools.count()

        def once(tx: Tx) -> list[Event]:
            # The try before may have been committed although its connection died.
            done = [e for act in acts for e in self._stored(tx, act)] if next(tries) else []
            return done or work(tx)

        return self.database.write(once, connection)

    def _stored(self, tx: Tx, act: Act) -> list[Event]:
        rows = [tx.run(sql.EVENT_BY_ID, (act.bucket, event_id)) for event_id in act.ids]
        return [event_of((*found[0][:10], None)) for found in rows if found]

    def record(
        self, tx: Tx, act: Act, then: Then | None = None, *, alone: bool = False, anew: bool = False
    ) -> list[Event]:
        """Write an act inside a transaction. Raises LedgerBroken.

        `alone`: nobody else writes about the subject meanwhile, and the act is later than every answer. `anew`:
        an erased subject begins anew, whatever the act is.
        """
        known = self.known(tx, act, whole=alone, anew=anew)
        now_us = self.clock.tick()
        if alone:
            latest_us = tx.run(sql.LATEST_STATE, (act.bucket, known.key))[0][0] or 0
            now_us = max(now_us, latest_us + 1)
        return self.record_for(tx, replace(act, now_us=now_us), known, then)

    def record_for(self, tx: Tx, act: Act, known: Known, then: Then | None = None) -> list[Event]:
        """Write an act under a mapping row that the caller has locked, erased or not. Raises LedgerBroken."""
        effective_us = act.now_us if act.at_us is None else act.at_us
        facts = known.facts if known.facts.erased_us is None else replace(known.facts, erased_us=None)
        stamp = Stamp(act.tenant, act.bucket, known.key, act.now_us, effective_us, act.at_us is None, facts)
        entries = [entry(i, a, stamp, s) for i, a, s in zip(act.ids, act.answers, act.salts, strict=True)]
        for start in range(0, len(entries), BATCH):
            self._store(tx, entries[start : start + BATCH], stamp)
        if then is not None:
            then(tx, act, known)
        return [stored.event for stored in entries]

    def _store(self, tx: Tx, entries: Sequence[Entry], stamp: Stamp) -> None:
        rows = last_answers(row for stored in entries if (row := stored.row) is not None)
        events = [value for stored in entries for value in _event_params(stored)]
        pending = [value for stored in entries for value in self._pending_params(stored)]
        state = [value for row in rows for value in (stamp.bucket, stamp.subject_key, *_row_params(row))]
        if self.database.postgresql:
            counts = tx.run(sql.append_together(len(entries), len(rows)), (*events, *state, *pending))
            inserted, changed = counts[0]
        else:
            inserted = tx.count(sql.insert_events(len(entries)), events)
            changed = tx.count(sql.upsert_state(len(rows)), state) if rows else 0
            tx.count(sql.insert_pending(len(entries)), pending)
        if inserted < len(entries):
            raise LedgerBroken("an event was not stored: another one has its id", at=entries[0].event_id)
        if stamp.live and changed < len(rows):
            raise _ClockBehind

    def _pending_params(self, stored: Entry) -> Params:
        return (stored.stamp.bucket, stored.event_id, stored.commitment, self.keyed.mac(stored.commitment))

    def known(
        self, tx: Tx, act: Act, *, whole: bool = False, overrule: bool = False, anew: bool = False
    ) -> Known:
        """The subject's mapping row, made when it is missing.

        An erased one gives way to a new one where the act begins anew, or `anew` says so; what else is recorded
        about an erased subject leaves it erased. The act's facts complete the row; with `overrule` they replace
        what is known.
        """
        for _ in range(3):
            known = self.find(tx, act.tenant, act.subject, lock=True, whole=whole)
            erased = known is not None and known.facts.erased_us is not None
            if known is not None and erased and not (anew or act.begins_anew(known)):
                return known
            if known is None or known.subject != act.subject:
                self.add(tx, act)
            elif erased:
                self.hide(tx, act.tenant, act.subject)
            else:
                return self._with_facts(tx, act, known, overrule)
        known = self.find(tx, act.tenant, act.subject, lock=True, whole=whole)
        if known is None or known.subject != act.subject:
            raise LedgerBroken("a subject's row cannot be made", at=f"bucket {act.bucket}")
        return self._with_facts(tx, act, known, overrule)

    def find(
        self, tx: Tx, tenant: str, subject: str, *, lock: bool = False, whole: bool = False
    ) -> Known | None:
        """The mapping row by the plain id, else by the hidden one. `lock` keeps erasure away, `whole` all."""
        statement = sql.FIND_SUBJECT
        if self.database.postgresql and lock:
            statement = sql.LOCK_SUBJECT_WHOLE if whole else sql.LOCK_SUBJECT
        hidden = self.keyed.hidden_subject(tenant, subject)
        rows = tx.run(statement, (bucket_of(tenant, subject), tenant, subject, hidden))
        found = {row[0]: Known(row[0], bytes(row[1]), facts_of(row[2:6])) for row in rows}
        return found.get(subject) or found.get(hidden)

    def erased_us(self, tx: Tx, tenant: str, subject: str) -> int | None:
        """When a subject was erased last, also one that has begun anew since; None: never."""
        hidden = self.keyed.hidden_subject(tenant, subject)
        rows = tx.run(sql.FIND_SUBJECT, (bucket_of(tenant, subject), tenant, subject, hidden))
        return max((us for row in rows if (us := facts_of(row[2:6]).erased_us) is not None), default=None)

    def hide(self, tx: Tx, tenant: str, subject: str) -> None:
        """Replace an erased subject's id by its HMAC and wipe salt and facts (GDPR 17).

        Where recipients have still to be told something about the subject, the id is kept for that, encrypted. Of
        two erasures the later one's row stays: what was said before it must never count again.
        """
        bucket, hidden = bucket_of(tenant, subject), self.keyed.hidden_subject(tenant, subject)
        keys = {row[0]: bytes(row[1]) for row in tx.run(sql.FIND_SUBJECT, (bucket, tenant, subject, hidden))}
        if not tenant and subject in keys:
            key = keys[subject]
            sealed = self.keyed.seal(subject, key.hex())
            tx.count(sql.KEEP_ID, (bucket, key, sealed, bucket, key))
        if hidden in keys and subject in keys:
            tx.count(sql.DROP_SUBJECT, (bucket, tenant, hidden))
        tx.count(sql.HIDE_SUBJECT, (hidden, bucket, tenant, subject))

    def add(self, tx: Tx, act: Act) -> bool:
        """Make the subject's mapping row; False when somebody else just did."""
        salt = secrets.token_bytes(SALT_BYTES)
        key = subject_key(salt, act.tenant, act.subject)
        facts = act.facts or NOTHING_KNOWN
        known = (facts.band.value, facts.minor_until_us, facts.jurisdiction, act.now_us)
        return tx.count(sql.ADD_SUBJECT, (act.bucket, act.tenant, act.subject, key, salt, *known)) == 1

    def _with_facts(self, tx: Tx, act: Act, known: Known, overrule: bool) -> Known:
        facts, stand = act.facts, replace(known.facts, erased_us=None)
        if facts is None or replace(facts, erased_us=None) == stand or not (overrule or adds(stand, facts)):
            return known
        row = (facts.band.value, facts.minor_until_us, facts.jurisdiction, act.now_us)
        tx.count(sql.SET_FACTS, (*row, act.bucket, act.tenant, act.subject))
        return replace(known, facts=facts)


def last_answers(rows: Iterable[Row]) -> list[Row]:
    """One row per actor and item, the last; in the order of the key, so that two writers never deadlock."""
    last: dict[tuple[str, str, str, str], Row] = {}
    for row in rows:
        key = (row.kind, row.item, row.scope, row.actor)
        if key not in last or row.order > last[key].order:
            last[key] = row
    return [last[key] for key in sorted(last)]


def _event_params(stored: Entry) -> Params:
    said, stamp = stored.answer, stored.stamp
    return (
        *(
            stamp.bucket,
            stored.event_id,
            stamp.tenant,
            stamp.subject_key,
            said.kind.value,
            said.item,
            said.version,
        ),
        *(said.scope, said.action.value, said.actor, stamp.recorded_us, stamp.effective_us),
        *(stored.body, stored.salt, stored.commitment),
    )


def _row_params(row: Row) -> Params:
    """In the order of `sql.STATE_COLUMNS`."""
    times = (row.effective_us, row.expires_us)
    return (
        row.kind,
        row.item,
        row.scope,
        row.actor,
        row.status,
        row.version,
        row.level,
        *times,
        row.event_id,
    )
