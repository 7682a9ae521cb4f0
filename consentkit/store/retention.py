"""Retention by purpose (GDPR 5(1)(e)): superseded answers go when their purpose's time is over.

The last answer of every actor stays, whatever its age: a no holds until a later yes, and the state needs its
evidence. So does the use of an exception, for which the operator is accountable. What goes is sealed, and listed
by leaf index in a record, as in an erasure.
"""

# ruff: noqa: S608 - every name is a constant of this package, every value a bind parameter
from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from consentkit.core.record import BUCKETS, Answer
from consentkit.core.terms import Action, Kind
from consentkit.core.times import Duration
from consentkit.store.database import Params, Rows, Tx
from consentkit.store.erasing import LEAVES_PER_RECORD, Doomed, destroy_listed
from consentkit.store.ledger import Known, LedgerWriter
from consentkit.store.rows import facts_of
from consentkit.store.tables import PREFIX as _P
from consentkit.store.verifying_erasure import ranges
from consentkit.store.verifying_events import RETENTION

_SUPERSEDED = (
    f"SELECT e.subject_key, e.event_id, l.leaf_index, e.recorded_us FROM {_P}event e "
    f"JOIN {_P}leaf l ON l.bucket = e.bucket AND l.event_id = e.event_id "
    "WHERE e.bucket = ? AND e.kind = 'purpose' AND e.item = ? AND e.recorded_us <= ? "
    "AND e.action NOT IN ('requested', 'exception_used') "
    f"AND NOT EXISTS (SELECT 1 FROM {_P}state t WHERE t.bucket = e.bucket AND t.subject_key = e.subject_key "
    "AND t.event_id = e.event_id) ORDER BY e.subject_key, e.event_id"
)
_MAPPING = (
    "SELECT tenant, subject, band, minor_until_us, jurisdiction, erased_us "
    f"FROM {_P}subject WHERE bucket = ? AND subject_key = ?"
)


def purge_superseded(writer: LedgerWriter, item: str, retention: Duration, now_us: int) -> int:
    """Destroy what is over for a purpose; returns how many events. One transaction a subject, bucket by bucket."""
    before_us = now_us - retention.shortest // timedelta(microseconds=1)
    gone = 0
    for bucket in range(BUCKETS):
        doomed: dict[bytes, list[Doomed]] = {}
        for key, event_id, leaf, recorded_us in _superseded(writer, (bucket, item, before_us)):
            if retention.after(recorded_us) <= now_us:
                doomed.setdefault(bytes(key), []).append(Doomed(str(event_id), leaf))
        for key, events in doomed.items():
            gone += writer.database.write(partial(_purge, writer, bucket, key, events))
    return gone


def _superseded(writer: LedgerWriter, params: Params) -> Rows:
    return writer.database.read(lambda tx: tx.run(_SUPERSEDED, params))


def _purge(writer: LedgerWriter, bucket: int, key: bytes, events: Sequence[Doomed], tx: Tx) -> int:
    lock = " FOR UPDATE" if writer.database.postgresql else ""
    found = tx.run(_MAPPING + lock, (bucket, key))
    if not found:
        return 0
    tenant, subject, *facts = found[0]
    parts = [events[n : n + LEAVES_PER_RECORD] for n in range(0, len(events), LEAVES_PER_RECORD)]
    answers = [_record(ranges([event.leaf_index for event in part])) for part in parts]
    act = writer.act(tenant, subject, answers, bucket=bucket)
    records = writer.record_for(tx, act, Known(subject, key, facts_of(facts)))
    destroy_listed(tx, bucket, parts, records)
    return len(events)


def _record(leaves: str) -> Answer:
    extra = (("leaves", leaves), ("reason", RETENTION))
    return Answer(Kind.SUBJECT, RETENTION, Action.ERASED, actor="operator", method="code", extra=extra)
