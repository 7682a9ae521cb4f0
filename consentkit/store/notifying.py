"""Who was shown what: `notified` events, once per subject and version; who has still to be told."""

# ruff: noqa: S608 - every name is a constant of this package, every value a bind parameter
from __future__ import annotations

from collections.abc import Iterator, Sequence

from consentkit.core.record import VISITOR, Answer, Event
from consentkit.core.terms import Kind
from consentkit.store.database import Database, Tx
from consentkit.store.ledger import LedgerWriter
from consentkit.store.snapshot import snapshot
from consentkit.store.tables import PREFIX as _P

_SHOWN = (
    f"SELECT 1 FROM {_P}event WHERE bucket = ? AND subject_key = ? AND kind = ? AND item = ? AND version = ? "
    "AND action = 'notified' LIMIT 1"
)
_TO_TELL = (
    f"SELECT s.subject FROM {_P}subject s JOIN {_P}state t ON t.bucket = s.bucket AND t.subject_key = s.subject_key "
    "WHERE s.tenant = ? AND s.erased_us IS NULL AND substr(s.subject, 1, ?) <> ? "
    "AND t.kind = 'policy' AND t.item = ? AND t.scope = '' AND t.actor = 'subject' AND t.status = 'accepted' "
    f"AND t.version < ? AND NOT EXISTS (SELECT 1 FROM {_P}event e WHERE e.bucket = s.bucket "
    "AND e.subject_key = s.subject_key AND e.kind = 'policy' AND e.item = t.item AND e.version = ? "
    "AND e.action = 'notified') ORDER BY s.bucket, s.subject"
)


def record_once(writer: LedgerWriter, tenant: str, subject: str, answers: Sequence[Answer]) -> list[Event]:
    """Record that these were shown, but for those that were shown to this subject before."""
    made = writer.act(tenant, subject, ())

    def work(tx: Tx) -> list[Event]:
        writer.known(tx, made)
        known = writer.find(tx, tenant, subject, lock=True, whole=True)
        new = [a for a in answers if known is None or not _shown(tx, made.bucket, known.key, a)]
        return writer.record(tx, writer.act(tenant, subject, new)) if new else []

    return writer.database.write(work)


def to_tell(database: Database, tenant: str, policy: str, ordinal: int, version: str) -> Iterator[str]:
    """Accounts whose acceptance is of an earlier version and who were not told of this one. Streams."""
    with snapshot(database) as view:
        params = (tenant, len(VISITOR), VISITOR, policy, ordinal, version)
        for (subject,) in view.stream(_TO_TELL, params):
            yield subject


def _shown(tx: Tx, bucket: int, key: bytes, answer: Answer) -> bool:
    kind = Kind(answer.kind).value
    return bool(tx.run(_SHOWN, (bucket, key, kind, answer.item, answer.version)))
