"""Leaves without an event: each must be listed in a sealed record of a lawful erasure."""

# ruff: noqa: S608 - every name is a constant of this package, every value a bind parameter
from __future__ import annotations

import json
from typing import TYPE_CHECKING

from consentkit.core.terms import Action
from consentkit.store.snapshot import Snapshot
from consentkit.store.tables import PREFIX as _P

if TYPE_CHECKING:
    from consentkit.store.verifying import Report

_WITHOUT_EVENT = (
    "SELECT l.leaf_index, l.event_id, x.leaf_index, r.event_id, r.action, r.body "
    f"FROM {_P}leaf l LEFT JOIN {_P}event e ON e.bucket = l.bucket AND e.event_id = l.event_id "
    f"LEFT JOIN {_P}erasure x ON x.bucket = l.bucket AND x.event_id = l.event_id "
    f"LEFT JOIN {_P}event r ON r.bucket = x.bucket AND r.event_id = x.record_id "
    "WHERE e.event_id IS NULL ORDER BY l.leaf_index"
)
_DOUBLE = f"SELECT event_id, COUNT(*) FROM {_P}leaf GROUP BY bucket, event_id HAVING COUNT(*) > 1"


def check_erased(view: Snapshot, report: Report) -> None:
    """Note every leaf whose event was deleted without a record, and every event with two leaves."""
    for index, event_id, listed, record, action, body in view.stream(_WITHOUT_EVENT):
        where = f"leaf {index} (event {event_id})"
        if listed is None or record is None:
            report.missing(where, "an event was deleted without a record of erasure")
        elif action != Action.ERASED or listed != index or not lists(body, index):
            report.missing(where, "the record of erasure does not list this event")
    for event_id, times in view.stream(_DOUBLE):
        report.changed(f"event {event_id}", f"the event has {times} leaves")


def lists(body: str, index: int) -> bool:
    """Whether a record's ranges, such as `3-7,12`, name a leaf."""
    ranges = str(json.loads(body).get("leaves") or "")
    for part in filter(None, ranges.split(",")):
        first, _, last = part.partition("-")
        if int(first) <= index <= int(last or first):
            return True
    return False


def ranges(indexes: list[int]) -> str:
    """Leaf indexes as ranges."""
    runs: list[list[int]] = []
    for index in sorted(indexes):
        if runs and runs[-1][1] == index - 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
