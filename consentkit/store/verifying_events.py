"""Events, subject by subject: each is what was committed to, its mapping row is genuine, its state is the fold."""

# ruff: noqa: S608 - every name is a constant of this package, every value a bind parameter
from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from consentkit.core.folding import fold_read
from consentkit.core.merkle import leaf_hash
from consentkit.core.record import bucket_of, commitment, subject_key
from consentkit.core.terms import Action
from consentkit.store.keys import Keyed
from consentkit.store.snapshot import Snapshot
from consentkit.store.sql import STATE_COLUMNS
from consentkit.store.tables import PREFIX as _P
from consentkit.store.verifying_documents import Published

if TYPE_CHECKING:
    from consentkit.store.verifying import Report

_COLUMNS = ("tenant", "kind", "item", "version", "scope", "action", "actor", "recorded_us", "effective_us")
_columns = itemgetter("bucket", "subject_key", "event_id", *_COLUMNS)
_HIDDEN = re.compile("erased:[0-9a-f]{64}")
_EVENTS = (
    "SELECT e.bucket, e.subject_key, e.body, e.salt, e.commitment, l.hash, p.commitment, p.mac, "
    f"CAST(e.event_id AS TEXT), e.{', e.'.join(_COLUMNS)} "
    f"FROM {_P}event e LEFT JOIN {_P}leaf l ON l.bucket = e.bucket AND l.event_id = e.event_id "
    f"LEFT JOIN {_P}pending p ON p.bucket = e.bucket AND p.event_id = e.event_id "
    "ORDER BY e.bucket, e.subject_key, e.event_id"
)
_STATE = (
    f"SELECT bucket, subject_key, {STATE_COLUMNS.replace('event_id', 'CAST(event_id AS TEXT)')} "
    f"FROM {_P}state ORDER BY bucket, subject_key"
)
_SUBJECTS = (
    f"SELECT bucket, subject_key, tenant, subject, salt, erased_us FROM {_P}subject "
    "ORDER BY bucket, subject_key"
)
_LOST_PENDING = (
    f"SELECT CAST(p.event_id AS TEXT), l.leaf_index FROM {_P}pending p "
    f"LEFT JOIN {_P}event e ON e.bucket = p.bucket AND e.event_id = p.event_id "
    f"LEFT JOIN {_P}leaf l ON l.bucket = p.bucket AND l.event_id = p.event_id "
    "WHERE e.event_id IS NULL OR l.leaf_index IS NOT NULL"
)
_scan = json.JSONDecoder().raw_decode
_ERASED = Action.ERASED.value
RETENTION = "retention"
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError)
Row = tuple[Any, ...]
Key = tuple[int, bytes]
Group = tuple[Key, list[Row]]


class EventCheck:
    """One pass over events, state rows and mapping rows, side by side in the order of their subjects."""

    def __init__(
        self,
        view: Snapshot,
        keyed: Keyed,
        published: Published,
        report: Report,
        tell: Callable[[int], None],
    ) -> None:
        self._view, self._keyed, self._published = view, keyed, published
        self._report, self._tell = report, tell
        self.leaves, self.doubles = 0, False

    def run(self) -> None:
        """Note every fault. Counts the leaves that have an event in `leaves`."""
        report = self._report
        for event_id, leaf_index in self._view.stream(_LOST_PENDING):
            if leaf_index is None:
                report.missing(f"event {event_id}", "an event that waits to be sealed is not there")
            else:
                report.changed(f"event {event_id}", "it was sealed, and waits to be sealed again")
        streams = [self._groups(sql) for sql in (_EVENTS, _STATE, _SUBJECTS)]
        told = 0
        for key, (events, state, subjects) in _merge(streams):
            read = [self._event(row) for row in events]
            bodies = [body for body in read if body is not None]
            self._check_state(key, bodies, state, whole=len(bodies) == len(read))
            records = (body for body in bodies if body["action"] == _ERASED)
            erased = {body["recorded_us"] for body in records if body["item"] != RETENTION}
            self._check_subject(key, bool(events), erased, subjects)
            self.doubles = self.doubles or len({row[8] for row in events}) != len(events)
            report.events += len(events)
            if report.events - told >= 1000:
                told = report.events
                self._tell(told)
        self._tell(report.events)

    def _event(self, row: Row) -> Mapping[str, Any] | None:
        """The body of a row, after everything that it is part of was compared; None when it cannot be read."""
        _, _, text, salt, stored, leaf, waiting, mac, event_id = row[:9]
        report, where = self._report, f"event {event_id}"
        try:
            if commitment(salt, text) != stored:
                report.changed(where, "the body or the salt is not what was committed to")
            if leaf is None:
                self._check_waiting(where, stored, waiting, mac)
            elif leaf == leaf_hash(stored):
                self.leaves += 1
            else:
                report.changed(where, "the commitment is not the one that was sealed")
            body, end = _scan(text)
            if (row[0], row[1].hex(), *row[8:]) != _columns(body) or end != len(text):
                report.changed(where, "the columns are not those of the body")
            if fault := self._published.fault_of(body):
                report.missing(where, fault)
        except _UNREADABLE:
            report.changed(where, "the row cannot be read")
            return None
        return body  # type: ignore[no-any-return]

    def _check_waiting(self, where: str, stored: bytes, waiting: bytes | None, mac: bytes) -> None:
        self._report.pending += 1
        if waiting is None:
            what = "the event was never sealed and does not wait for it: it was not written by consentkit"
            self._report.changed(where, what)
        elif waiting != stored or not secrets.compare_digest(self._keyed.mac(stored), mac):
            self._report.changed(where, "the pending row was not written by this installation")

    def _check_state(
        self, key: Key, bodies: Sequence[Mapping[str, Any]], state: list[Row], *, whole: bool
    ) -> None:
        try:
            rows = fold_read(bodies).items()
            expected = {
                (*said, row.status, row.version, row.level, row.effective_us, row.expires_us, row.event_id)
                for said, row in rows
            }
        except _UNREADABLE:
            whole = False
        if not whole:
            return  # the event itself was noted already
        for row in expected ^ {row[2:] for row in state}:
            what = "is missing or was changed" if row in expected else "is not what the events say"
            where = f"state of subject {key[1].hex()}, {row[0]} {row[1]!r}"
            self._report.changed(where, f"the last answer of {row[3]} {what}")

    def _check_subject(self, key: Key, known: bool, erased: set[int], rows: list[Row]) -> None:
        where, report = f"subject {key[1].hex()}", self._report
        if not rows and known and not erased:
            report.missing(where, "the mapping row was deleted without an erasure")
        if len(rows) > 1:
            report.changed(where, "there are two mapping rows")
        for row in rows:
            _, _, tenant, subject, salt, erased_us = row
            if salt is None:
                if not erased:
                    report.missing(where, "the mapping row was wiped without an erasure")
                elif not _HIDDEN.fullmatch(str(subject)):
                    report.changed(where, "the mapping row of an erased subject was changed")
            elif not _leads_to(key, tenant, subject, salt):
                report.changed(where, "the mapping row was changed: it leads to another subject")
            if (erased_us is not None) != bool(erased) or (erased and erased_us not in erased):
                report.changed(where, "the mark of erasure is not what the events say")

    def _groups(self, sql: str) -> Iterator[Group]:
        """Rows by subject. A row whose key is no key is noted and left out."""
        for (bucket, key), group in groupby(self._view.stream(sql), key=itemgetter(0, 1)):
            if isinstance(bucket, int) and isinstance(key, bytes):
                yield (bucket, key), list(group)
            else:
                self._report.changed(f"subject {key!r}", f"a row's key cannot be read, in bucket {bucket!r}")


def _leads_to(key: Key, tenant: str, subject: str, salt: bytes) -> bool:
    try:
        return (bucket_of(tenant, subject), subject_key(salt, tenant, subject)) == key
    except _UNREADABLE:
        return False


def _merge(streams: Iterable[Iterator[Group]]) -> Iterator[tuple[Key, list[list[Row]]]]:
    """Groups of the same key side by side; a stream without the key gives an empty list."""
    waiting = list(streams)
    heads = [next(stream, None) for stream in waiting]
    while any(head is not None for head in heads):
        key = min(head[0] for head in heads if head is not None)
        side_by_side: list[list[Row]] = []
        for number, head in enumerate(heads):
            if head is not None and head[0] == key:
                side_by_side.append(head[1])
                heads[number] = next(waiting[number], None)
            else:
                side_by_side.append([])
        yield key, side_by_side
