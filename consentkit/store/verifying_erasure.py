"""Leaves without an event: each must be listed in a sealed record of a lawful erasure."""

# ruff: noqa: S608 - every name is a constant of this package, every value a bind parameter
from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING

from consentkit.core.terms import Action
from consentkit.store.snapshot import Snapshot
from consentkit.store.tables import PREFIX as _P

if TYPE_CHECKING:
    from consentkit.store.verifying import Report

_WITHOUT_EVENT = (
    "SELECT l.leaf_index, CAST(l.event_id AS TEXT), x.leaf_index, CAST(r.event_id AS TEXT), r.action, r.body "
    f"FROM {_P}leaf l LEFT JOIN {_P}event e ON e.bucket = l.bucket AND e.event_id = l.event_id "
    f"LEFT JOIN {_P}erasure x ON x.bucket = l.bucket AND x.event_id = l.event_id "
    f"LEFT JOIN {_P}event r ON r.bucket = x.bucket AND r.event_id = x.record_id "
    "WHERE e.event_id IS NULL ORDER BY l.leaf_index"
)
_DOUBLE = (
    f"SELECT CAST(event_id AS TEXT), COUNT(*) FROM {_P}leaf GROUP BY bucket, event_id HAVING COUNT(*) > 1"
)
_NOT_ERASED = (
    f"SELECT CAST(x.event_id AS TEXT), e.bucket FROM {_P}erasure x "
    f"LEFT JOIN {_P}leaf l ON l.bucket = x.bucket AND l.event_id = x.event_id "
    f"LEFT JOIN {_P}event e ON e.bucket = x.bucket AND e.event_id = x.event_id "
    "WHERE l.leaf_index IS NULL OR e.bucket IS NOT NULL"
)


def check_erased(view: Snapshot, report: Report, *, whole: bool) -> None:
    """Note every leaf whose event was deleted without a record, and every event with two leaves.

    `whole`: there are as many good events with a leaf as leaves, and no event twice, so none of these is there.
    """
    if not whole:
        _check_leaves(view, report)
    for event_id, there in view.stream(_NOT_ERASED):
        what = "was never sealed" if there is None else "is still there"
        report.changed(f"event {event_id}", f"it is entered as erased, and {what}")


def _check_leaves(view: Snapshot, report: Report) -> None:
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
    return any(first <= index <= last for first, last in _listed(body))


@lru_cache(maxsize=4)
def _listed(body: str) -> list[tuple[int, int]]:
    """The ranges that a record lists; none for one that cannot be read."""
    try:
        parts = str(json.loads(body).get("leaves") or "").split(",")
        bounds = [part.partition("-") for part in parts if part]
        return [(int(first), int(last or first)) for first, _, last in bounds]
    except (ValueError, TypeError, AttributeError):
        return []


def ranges(indexes: list[int]) -> str:
    """Leaf indexes as ranges."""
    runs: list[list[int]] = []
    for index in sorted(indexes):
        if runs and runs[-1][1] == index - 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
