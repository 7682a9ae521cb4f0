"""Retention of visitors (GDPR 5(1)(e)): those of whom nothing was recorded for long are erased.

Their cookie has ended by then, so nobody answers for them any more. The events stay, pseudonymous, as after every
erasure that unlinks.
"""

# ruff: noqa: S608 - every name is a constant of this package, every value a bind parameter
from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial

from consentkit.core.record import BUCKETS, VISITOR, Event
from consentkit.core.times import Duration
from consentkit.store.database import Tx
from consentkit.store.erasing import erase_in, erased
from consentkit.store.ledger import Act, LedgerWriter
from consentkit.store.tables import PREFIX as _P

REASON = "visitor_retention"
AT_ONCE = 100
"""Visitors in one transaction."""

_OLD = (
    f"SELECT s.subject FROM {_P}subject s WHERE s.bucket = ? AND s.tenant = '' AND s.erased_us IS NULL "
    f"AND substr(s.subject, 1, {len(VISITOR)}) = '{VISITOR}' AND s.facts_us <= ? "
    f"AND NOT EXISTS (SELECT 1 FROM {_P}event e WHERE e.bucket = s.bucket AND e.subject_key = s.subject_key "
    "AND e.recorded_us > ?) ORDER BY s.subject"
)
_LAST = (
    f"SELECT MAX(e.recorded_us), MAX(s.facts_us) FROM {_P}subject s "
    f"LEFT JOIN {_P}event e ON e.bucket = s.bucket AND e.subject_key = s.subject_key "
    "WHERE s.bucket = ? AND s.tenant = '' AND s.subject = ?"
)

Said = list[tuple[str, Event]]


def erase_old_visitors(
    writer: LedgerWriter, retention: Duration, now_us: int, again: Callable[[Callable[[], Said]], Said]
) -> Iterator[Said]:
    """Erase, some at a time; yields who was, with the record. `again` runs a step and seals where it has to.

    Somebody who answers meanwhile is left alone. Raises StoreUnavailable.
    """
    before_us = now_us - retention.shortest // timedelta(microseconds=1)
    for bucket in range(BUCKETS):
        found = writer.database.read(lambda tx, b=bucket: tx.run(_OLD, (b, before_us, before_us)))  # type: ignore[misc]
        for start in range(0, len(found), AT_ONCE):
            acts = [writer.act("", row[0], [erased(REASON)]) for row in found[start : start + AT_ONCE]]
            if done := again(partial(_erase, writer, acts, retention, now_us)):
                yield done


def _erase(writer: LedgerWriter, acts: list[Act], retention: Duration, now_us: int) -> Said:
    """One transaction. Raises Unsealed."""
    said: Said = []

    def work(tx: Tx) -> list[Event]:
        said.clear()
        for act in acts:
            known = writer.find(tx, act.tenant, act.subject, lock=True, whole=True)
            if known is not None and retention.after(_last_us(tx, act)) <= now_us:
                said.extend((act.subject, event) for event in erase_in(writer, tx, act, known, "unlink"))
        return [event for _, event in said]

    writer.write(acts, work)
    return said


def _last_us(tx: Tx, act: Act) -> int:
    """When something was last recorded of a visitor."""
    rows = tx.run(_LAST, (act.bucket, act.subject))
    return max((us for us in rows[0] if us is not None), default=act.now_us)
