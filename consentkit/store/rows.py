"""From columns to values: facts, state rows and events as the statements of `sql` give them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from consentkit.core.errors import StoreUnavailable
from consentkit.core.gate import Row
from consentkit.core.minors import NOTHING_KNOWN, Facts
from consentkit.core.record import Event
from consentkit.core.terms import Band
from consentkit.core.times import from_us


class RowDamaged(StoreUnavailable):
    """A row holds what nobody wrote. `verify` says what was changed."""


def facts_of(columns: Sequence[object]) -> Facts:
    """Facts from the columns band, minor_until_us, jurisdiction, erased_us."""
    band, minor_until, jurisdiction, erased = columns
    if band in (None, "unknown") and minor_until is jurisdiction is erased is None:
        return NOTHING_KNOWN
    try:
        known = Band(str(band or "unknown"))
    except ValueError as error:
        raise RowDamaged("the row of a subject holds an age that is none") from error
    if not isinstance(minor_until, int | None) or not isinstance(jurisdiction, str | None):
        raise RowDamaged("the row of a subject holds facts that are none")
    return Facts(known, minor_until, jurisdiction, erased)  # type: ignore[arg-type]


def row_of(columns: Sequence[Any]) -> Row:
    """A state row from `sql.STATE_COLUMNS`. PostgreSQL gives the event id as a UUID."""
    if isinstance(columns[-1], str):
        return Row(*columns)
    return Row(*(*columns[:-1], str(columns[-1])))


def event_of(row: Sequence[Any]) -> Event:
    """An event from `sql.EVENT_COLUMNS` and the leaf index. Method, locale and notice stand in the body."""
    event_id, kind, item, version, scope, action, actor, recorded, effective, body, leaf_index = row
    said = json.loads(body)
    shown = (said.get("method"), said.get("locale"), said.get("notice"))
    times = (from_us(recorded), from_us(effective))
    return Event(str(event_id), kind, item, version, scope, action, actor, *shown, *times, body, leaf_index)
