"""Who was shown what: events that are recorded once per subject and version; who has still to be told."""

# ruff: noqa: S608 - every name is a constant of this package, every value a bind parameter
from __future__ import annotations

from collections.abc import Iterator, Sequence

from consentkit.core.catalog import Policy
from consentkit.core.published import PolicyRelease
from consentkit.core.record import VISITOR, Answer, Event
from consentkit.core.terms import Action, Kind
from consentkit.store.database import Database, Tx
from consentkit.store.ledger import LedgerWriter
from consentkit.store.snapshot import snapshot
from consentkit.store.tables import PREFIX as _P

_SAID = (
    f"SELECT 1 FROM {_P}event WHERE bucket = ? AND subject_key = ? AND kind = ? AND item = ? AND version = ? "
    "AND action = ? LIMIT 1"
)
_ACCOUNTS = (
    f"SELECT s.subject FROM {_P}subject s WHERE s.tenant = ? AND s.erased_us IS NULL "
    "AND substr(s.subject, 1, ?) <> ? "
)
_ACCEPTED_EARLIER = (
    f"AND EXISTS (SELECT 1 FROM {_P}state t WHERE t.bucket = s.bucket AND t.subject_key = s.subject_key "
    "AND t.kind = 'policy' AND t.item = ? AND t.scope = '' AND t.actor = 'subject' AND t.status = 'accepted' "
    "AND t.version < ?) "
)
_ADDRESSED = (
    f"AND EXISTS (SELECT 1 FROM {_P}state t WHERE t.bucket = s.bucket AND t.subject_key = s.subject_key "
    "AND t.kind = 'announcement' AND t.item = ? AND t.actor = 'invitation') "
)
_NOT_TOLD = (
    f"AND NOT EXISTS (SELECT 1 FROM {_P}event e WHERE e.bucket = s.bucket AND e.subject_key = s.subject_key "
    "AND e.kind = ? AND e.item = ? AND e.action = 'notified' AND e.version IN ({marks})) "
    "ORDER BY s.bucket, s.subject"
)


def record_once(writer: LedgerWriter, tenant: str, subject: str, answers: Sequence[Answer]) -> list[Event]:
    """Record these, but for those that were recorded of this subject before: same item, version and action."""
    made = writer.act(tenant, subject, ())

    def work(tx: Tx) -> list[Event]:
        known = writer.known(
            tx, made, whole=True
        )  # one lock: two that ask for more later wait for each other
        new = [a for a in answers if not _said(tx, made.bucket, known.key, a)]
        return writer.record(tx, writer.act(tenant, subject, new), alone=True) if new else []

    return writer.database.write(work)


def to_tell(database: Database, tenant: str, policy: Policy, news: Sequence[PolicyRelease]) -> Iterator[str]:
    """Accounts to be told of a version and not told yet. Streams.

    Of a policy those who accepted an earlier version; of an announcement everybody, or the selection. `news`:
    the version, and editorial ones after it: who was told of any of them knows.
    """
    who, kind = _ACCEPTED_EARLIER, Kind.POLICY
    params: tuple[object, ...] = (policy.key, news[0].ordinal)
    if policy.kind == "announcement":
        everybody = policy.audience == "all"
        who, params = ("", ()) if everybody else (_ADDRESSED, (policy.key,))
        kind = Kind.ANNOUNCEMENT
    versions = [release.version for release in news]
    given = (tenant, len(VISITOR), VISITOR, *params, kind.value, policy.key, *versions)
    not_told = _NOT_TOLD.format(marks=", ".join("?" * len(versions)))
    with snapshot(database) as view:
        for (subject,) in view.stream(_ACCOUNTS + who + not_told, given):
            yield subject


def _said(tx: Tx, bucket: int, key: bytes, answer: Answer) -> bool:
    said = (Kind(answer.kind).value, answer.item, answer.version, Action(answer.action).value)
    return bool(tx.run(_SAID, (bucket, key, *said)))
