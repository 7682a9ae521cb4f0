"""Events, subject by subject: each is what was committed to, its mapping row is genuine, its state is the fold."""

# ruff: noqa: S608 - every name is a constant of this package, every value a bind parameter
from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from consentkit.core.errors import ConsentKitError
from consentkit.core.folding import fold
from consentkit.core.merkle import leaf_hash
from consentkit.core.record import bucket_of, commitment, subject_key
from consentkit.core.terms import Action
from consentkit.store.keys import Keyed
from consentkit.store.snapshot import Snapshot
from consentkit.store.sql import STATE_COLUMNS
from consentkit.store.tables import PREFIX as _P

if TYPE_CHECKING:
    from consentkit.store.verifying import Report

_COLUMNS = ["tenant", "kind", "item", "version", "scope", "action", "actor", "recorded_us", "effective_us"]
_EVENTS = (
    f"SELECT e.bucket, e.subject_key, e.event_id, e.{', e.'.join(_COLUMNS)}, "
    "e.body, e.salt, e.commitment, l.hash, p.commitment, p.mac "
    f"FROM {_P}event e LEFT JOIN {_P}leaf l ON l.bucket = e.bucket AND l.event_id = e.event_id "
    f"LEFT JOIN {_P}pending p ON p.bucket = e.bucket AND p.event_id = e.event_id "
    "ORDER BY e.bucket, e.subject_key, e.event_id"
)
_STATE = f"SELECT bucket, subject_key, {STATE_COLUMNS} FROM {_P}state ORDER BY bucket, subject_key"
_SUBJECTS = (
    f"SELECT bucket, subject_key, tenant, subject, salt, erased_us FROM {_P}subject "
    "ORDER BY bucket, subject_key"
)
_LOST_PENDING = (
    f"SELECT p.event_id FROM {_P}pending p LEFT JOIN {_P}event e "
    "ON e.bucket = p.bucket AND e.event_id = p.event_id WHERE e.event_id IS NULL"
)
Key = tuple[int, bytes]
Group = tuple[Key, list[tuple[Any, ...]]]


def check_events(view: Snapshot, keyed: Keyed, report: Report, tell: Callable[[int], None]) -> None:
    """Check every event, mapping row and state row."""
    for (event_id,) in view.stream(_LOST_PENDING):
        report.missing(f"event {event_id}", "an event that waits to be sealed is not there")
    streams = [_groups(view.stream(sql)) for sql in (_EVENTS, _STATE, _SUBJECTS)]
    for key, (events, state, subjects) in _merge(streams):
        for row in events:
            _check_event(row, keyed, report)
        bodies = [row[12] for row in events]
        _check_state(key, bodies, state, report)
        erased = (
            [body for body in bodies if json.loads(body).get("action") == Action.ERASED] if bodies else []
        )
        _check_subject(key, bool(events), bool(erased), subjects, keyed, report)
        tell(report.events)


def _check_event(row: tuple[Any, ...], keyed: Keyed, report: Report) -> None:
    bucket, key, event_id = row[0], bytes(row[1]), str(row[2])
    body, salt, stored, leaf, waiting, mac = (
        row[12],
        bytes(row[13]),
        bytes(row[14]),
        row[15],
        row[16],
        row[17],
    )
    where = f"event {event_id}"
    report.events += 1
    if commitment(salt, body) != stored:
        report.changed(where, "the body or the salt is not what was committed to")
    if not _columns_match(row, body, bucket, key, event_id):
        report.changed(where, "the columns are not those of the body")
    if leaf is not None:
        if bytes(leaf) != leaf_hash(stored):
            report.changed(where, "the commitment is not the one that was sealed")
    elif waiting is None:
        report.changed(
            where, "the event was never sealed and does not wait for it: it was not written by consentkit"
        )
    else:
        report.pending += 1
        if bytes(waiting) != stored or not secrets.compare_digest(keyed.mac(bytes(waiting)), bytes(mac)):
            report.changed(where, "the pending row was not written by this installation")


def _columns_match(row: tuple[Any, ...], body: str, bucket: int, key: bytes, event_id: str) -> bool:
    try:
        said = json.loads(body)
        expected = [said["bucket"], said["subject_key"], said["event_id"], *(said[name] for name in _COLUMNS)]
    except (ValueError, KeyError, TypeError):
        return False
    return [bucket, key.hex(), event_id, *row[3:12]] == expected


def _check_state(key: Key, bodies: list[str], state: list[tuple[Any, ...]], report: Report) -> None:
    try:
        expected = {
            (*said, row.status, row.version, row.level, row.effective_us, row.expires_us, row.event_id)
            for said, row in fold(bodies).items()
        }
    except (ValueError, KeyError, TypeError, ConsentKitError):
        return  # the event itself was noted already
    stored = {(*row[2:11], str(row[11])) for row in state}
    for row in stored ^ expected:
        what = "is not what the events say" if row in stored else "is missing or was changed"
        report.changed(
            f"state of subject {key[1].hex()}, {row[0]} {row[1]!r}", f"the last answer of {row[3]} {what}"
        )


def _check_subject(
    key: Key, known: bool, erased: bool, rows: list[tuple[Any, ...]], keyed: Keyed, report: Report
) -> None:
    bucket, where = key[0], f"subject {key[1].hex()}"
    if not rows and known and not erased:
        report.missing(where, "the mapping row was deleted without an erasure")
    if len(rows) > 1:
        report.changed(where, "there are two mapping rows")
    for _, _, tenant, subject, salt, erased_us in rows:
        if salt is None:
            if not erased:
                report.missing(where, "the mapping row was wiped without an erasure")
        elif subject_key(bytes(salt), tenant, subject) != key[1] or bucket_of(tenant, subject) != bucket:
            report.changed(where, "the mapping row was changed: it leads to another subject")
        if (erased_us is not None) != erased:
            report.changed(where, "the mark of erasure is not what the events say")


def _groups(rows: Iterable[tuple[Any, ...]]) -> Iterator[Group]:
    for (bucket, key), group in groupby(rows, key=itemgetter(0, 1)):
        yield (bucket, bytes(key)), list(group)


def _merge(streams: list[Iterator[Group]]) -> Iterator[tuple[Key, list[list[tuple[Any, ...]]]]]:
    """Groups of the same key side by side; a stream without the key gives an empty list."""
    heads = [next(stream, None) for stream in streams]
    while any(head is not None for head in heads):
        key = min(head[0] for head in heads if head is not None)
        side_by_side: list[list[tuple[Any, ...]]] = []
        for number, head in enumerate(heads):
            if head is not None and head[0] == key:
                side_by_side.append(head[1])
                heads[number] = next(streams[number], None)
            else:
                side_by_side.append([])
        yield key, side_by_side
