"""State rows from events: what the ledger's state table has to say, recomputed from the evidence."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from consentkit.core.gate import Row
from consentkit.core.record import row_after

RowKey = tuple[str, str, str, str]


def row_of(body: Mapping[str, Any]) -> Row | None:
    """The state row that an event's body leads to; None for evidence that changes no answer."""
    return row_after(
        *(body["kind"], body["item"], body["scope"], body["actor"], body["action"]),
        *(body["ordinal"], body["level"], body["effective_us"], body["expires_us"], body["event_id"]),
    )


def fold(bodies: Iterable[str]) -> dict[RowKey, Row]:
    """The last answers that events lead to, from the texts of their bodies."""
    return fold_read(map(json.loads, bodies))


def fold_read(bodies: Iterable[Mapping[str, Any]]) -> dict[RowKey, Row]:
    """The later answer of each actor to each item stays; at the same instant a denial beats a grant."""
    rows: dict[RowKey, Row] = {}
    for body in bodies:
        row = row_of(body)
        if row is None:
            continue
        key = (row.kind, row.item, row.scope, row.actor)
        if key not in rows or row.order > rows[key].order:
            rows[key] = row
    return rows
