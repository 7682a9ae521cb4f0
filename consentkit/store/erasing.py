"""Erasure (GDPR 17). The `erased` event names the pseudonym and stays as proof; the host's id goes later.

`unlink`: events stay, pseudonymous; those about one thing (with a scope) are destroyed. `destroy`: every event
goes. What is destroyed is sealed before and listed by leaf index in the record of erasure: its leaf hashes stay
in the tree and say nothing without the salt.
"""

# ruff: noqa: S608 - every name is a constant of this package, every value a bind parameter
from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from sqlalchemy import Connection

from consentkit.core.errors import ConsentKitError
from consentkit.core.record import BUCKETS, Answer, Event, bucket_of
from consentkit.core.terms import Action, Kind
from consentkit.core.times import Duration
from consentkit.store import sql
from consentkit.store.database import Tx
from consentkit.store.deliveries import confirmed
from consentkit.store.inviting import drop_of_subject
from consentkit.store.ledger import Act, Known, LedgerWriter
from consentkit.store.tables import PREFIX as _P
from consentkit.store.verifying_erasure import ranges

MODES = ("unlink", "destroy")
MARK = "mark"
"""Record and mark, destroy nothing: the first half of both modes."""

LEAVES_PER_RECORD = 1000
HIDDEN_AT_ONCE = 100
_EVENTS = (
    f"SELECT e.event_id, l.leaf_index FROM {_P}event e "
    f"LEFT JOIN {_P}leaf l ON l.bucket = e.bucket AND l.event_id = e.event_id "
    "WHERE e.bucket = ? AND e.subject_key = ? AND e.action <> 'erased'"
)


class Unsealed(ConsentKitError):
    """Events that are to be destroyed are not sealed yet: run `flask consent seal` first."""


class Doomed(NamedTuple):
    """An event that is to be destroyed."""

    event_id: str
    leaf_index: int


def erase(
    writer: LedgerWriter,
    tenant: str,
    subject: str,
    reason: str,
    mode: str,
    connection: Connection | None = None,
) -> list[Event]:
    """Record the erasure, mark the subject, destroy what the mode says. Nothing when all that was done before.

    Raises Unsealed when an event that is to be destroyed is not in the tree yet; then nothing was changed.
    """
    act = writer.act(tenant, subject, [erased(reason)])

    def work(tx: Tx) -> list[Event]:
        known = writer.find(tx, tenant, subject, lock=True, whole=True)
        return writer.record(tx, act, mark) if known is None else erase_in(writer, tx, act, known, mode)

    return writer.write([act], work, connection)


def erase_in(writer: LedgerWriter, tx: Tx, act: Act, known: Known, mode: str) -> list[Event]:
    """The same in a transaction that holds the subject's lock. Raises Unsealed."""
    doomed = _doomed(tx, act.bucket, known, mode)
    if known.facts.erased_us is not None and not doomed:
        return []
    if not doomed:
        return writer.record_for(tx, act, known, mark)
    return _destroy(writer, tx, act, known, doomed, mode)


def destroy_whole(writer: LedgerWriter, tx: Tx, act: Act, known: Known) -> list[Event]:
    """The same with `destroy`, in a transaction that holds the subject's lock. Raises Unsealed."""
    return _destroy(writer, tx, act, known, _doomed(tx, act.bucket, known, "destroy"), "destroy")


def erased(reason: str, leaves: str | None = None) -> Answer:
    """The answer behind an `erased` event; `leaves` lists the leaf indexes that it destroys."""
    extra: tuple[tuple[str, str], ...] = (("reason", reason),)
    if leaves is not None:
        extra += (("leaves", leaves),)
    return Answer(Kind.SUBJECT, "subject", Action.ERASED, actor="operator", method="code", extra=extra)


def mark(tx: Tx, act: Act, known: Known) -> None:
    """From now on every gate answers ERASED, and no guardian's link is worth anything.

    The `erased` event, which names the key, is in already.
    """
    drop_of_subject(tx, act.bucket, known.key)
    if known.facts.erased_us is None:
        tx.count(sql.MARK_ERASED, (act.now_us, act.bucket, act.tenant, known.subject))


def _doomed(tx: Tx, bucket: int, known: Known, mode: str) -> list[Doomed]:
    if mode == MARK:
        return []
    scoped = "" if mode == "destroy" else " AND e.scope <> ''"
    found = [Doomed(str(row[0]), row[1]) for row in tx.run(_EVENTS + scoped, (bucket, known.key))]
    if any(event.leaf_index is None for event in found):
        raise Unsealed
    return found


def _destroy(
    writer: LedgerWriter, tx: Tx, act: Act, known: Known, doomed: Sequence[Doomed], mode: str
) -> list[Event]:
    """One record per thousand events; by event id, so that an event nobody listed cannot vanish."""
    parts = [doomed[n : n + LEAVES_PER_RECORD] for n in range(0, len(doomed), LEAVES_PER_RECORD)]
    reason = dict(act.answers[0].extra)["reason"]
    answers = [erased(reason, ranges([event.leaf_index for event in part])) for part in parts]
    records = writer.record_for(tx, writer.act(act.tenant, act.subject, answers), known, mark)
    destroy_listed(tx, act.bucket, parts, records)
    scoped = "" if mode == "destroy" else " AND scope <> ''"
    tx.count(f"DELETE FROM {_P}state WHERE bucket = ? AND subject_key = ?{scoped}", (act.bucket, known.key))
    return records


def destroy_listed(tx: Tx, bucket: int, parts: Sequence[Sequence[Doomed]], records: Sequence[Event]) -> None:
    """Enter each part under its record, then delete exactly these events."""
    for part, record in zip(parts, records, strict=True):
        listed = [(bucket, event.event_id, event.leaf_index, record.event_id) for event in part]
        tx.many(
            f"INSERT INTO {_P}erasure (bucket, event_id, leaf_index, record_id) VALUES (?, ?, ?, ?)", listed
        )
        ids = [(bucket, event.event_id) for event in part]
        tx.many(f"DELETE FROM {_P}event WHERE bucket = ? AND event_id = ?", ids)


def hide_overdue(writer: LedgerWriter, now_us: int, deadline: Duration) -> int:
    """Replace the ids of subjects whose erasure is older than the deadline; returns how many.

    Where recipients are told by webhook: sooner, when all of them have confirmed. Short transactions, bucket by
    bucket.
    """
    erased_in = (
        f"SELECT tenant, subject, erased_us FROM {_P}subject WHERE bucket = ? AND erased_us IS NOT NULL"
    )
    hidden, told = 0, bool(writer.database.read(lambda tx: tx.run(sql.TOLD)))
    for bucket in range(BUCKETS):
        rows = writer.database.read(lambda tx, b=bucket: tx.run(f"{erased_in} AND salt IS NOT NULL", (b,)))  # type: ignore[misc]
        due = [(tenant, subject) for tenant, subject, us in rows if deadline.after(us) <= now_us]
        for start in range(0, len(due), HIDDEN_AT_ONCE):
            writer.database.write(partial(_hide, writer, due[start : start + HIDDEN_AT_ONCE]))
        hidden += len(due)
        if told:
            early = [s for tenant, s, us in rows if not tenant and deadline.after(us) > now_us]
            hidden += sum(hide_confirmed(writer, subject) for subject in early)
    writer.database.write(lambda tx: tx.count(sql.DROP_IDS))
    return hidden


def _hide(writer: LedgerWriter, due: Sequence[tuple[str, str]], tx: Tx) -> None:
    for tenant, subject in due:
        writer.hide(tx, tenant, subject)


def hide_confirmed(writer: LedgerWriter, subject: str) -> bool:
    """Replace the id of an erased subject once every recipient has confirmed the erasure; whether it was."""

    def work(tx: Tx) -> bool:
        known = writer.find(tx, "", subject, lock=True, whole=True)
        if known is None or known.subject != subject or known.facts.erased_us is None:
            return False
        if not confirmed(tx, bucket_of("", subject), known.key):
            return False
        writer.hide(tx, "", subject)
        return True

    return writer.database.write(work)
