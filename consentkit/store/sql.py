"""The fixed statements of the hot paths. Every one that concerns a subject carries `bucket`."""

# ruff: noqa: S608 - every name is a constant of this package, every value a bind parameter
from __future__ import annotations

from functools import lru_cache

from consentkit.core.terms import DENIALS
from consentkit.store.tables import PREFIX

_P = PREFIX
_DENIES = "(" + ", ".join(f"'{status.value}'" for status in sorted(DENIALS)) + ")"

SUBJECT_COLUMNS = "subject, subject_key, band, minor_until_us, jurisdiction, erased_us"
STATE_COLUMNS = "kind, item, scope, actor, status, version, level, effective_us, expires_us, event_id"
EVENT_COLUMNS = "event_id, kind, item, version, scope, action, actor, recorded_us, effective_us, body"

FIND_SUBJECT = (
    f"SELECT {SUBJECT_COLUMNS} FROM {_P}subject WHERE bucket = ? AND tenant = ? AND subject IN (?, ?)"
)
LOCK_SUBJECT = FIND_SUBJECT + " FOR KEY SHARE"
LOCK_SUBJECT_WHOLE = FIND_SUBJECT + " FOR UPDATE"
ADD_SUBJECT = (
    f"INSERT INTO {_P}subject "
    "(bucket, tenant, subject, subject_key, salt, band, minor_until_us, jurisdiction, facts_us) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (bucket, tenant, subject) DO NOTHING"
)
SET_FACTS = (
    f"UPDATE {_P}subject SET band = ?, minor_until_us = ?, jurisdiction = ?, facts_us = ? "
    "WHERE bucket = ? AND tenant = ? AND subject = ?"
)
MARK_ERASED = f"UPDATE {_P}subject SET erased_us = ? WHERE bucket = ? AND tenant = ? AND subject = ?"
DROP_SUBJECT = f"DELETE FROM {_P}subject WHERE bucket = ? AND tenant = ? AND subject = ?"
HIDE_SUBJECT = (
    f"UPDATE {_P}subject SET subject = ?, salt = NULL, band = NULL, minor_until_us = NULL, "
    "jurisdiction = NULL, facts_us = NULL "
    "WHERE bucket = ? AND tenant = ? AND subject = ? AND erased_us IS NOT NULL"
)
WEBHOOKS = "consentkit:webhooks"
"""The follower that queues messages."""
UNQUEUED = (
    f"SELECT 1 FROM {_P}event e LEFT JOIN {_P}leaf l ON l.bucket = e.bucket AND l.event_id = e.event_id "
    "WHERE e.bucket = ? AND e.subject_key = ? AND (l.leaf_index IS NULL OR l.leaf_index > "
    f"COALESCE((SELECT position FROM {_P}follower WHERE name = '{WEBHOOKS}'), -1))"
)
TOLD = f"SELECT 1 FROM {_P}recipient WHERE since_leaf >= 0"
KEEP_ID = (
    f"INSERT INTO {_P}kept_id (bucket, subject_key, subject_sealed) SELECT ?, ?, ? "
    f"WHERE EXISTS ({TOLD}) AND EXISTS ({UNQUEUED}) ON CONFLICT (bucket, subject_key) DO NOTHING"
)
DROP_IDS = f"DELETE FROM {_P}kept_id WHERE NOT EXISTS ({TOLD})"

FIND_STATE = (
    "SELECT s.subject_key, s.band, s.minor_until_us, s.jurisdiction, s.erased_us, "
    f"t.{STATE_COLUMNS.replace(', event_id', '').replace(', ', ', t.')}, CAST(t.event_id AS TEXT) "
    f"FROM {_P}subject s LEFT JOIN {_P}state t ON t.bucket = s.bucket AND t.subject_key = s.subject_key "
    "WHERE s.bucket = ? AND s.tenant = ? AND s.subject = ?"
)
FIND_FACTS = (
    f"SELECT band, minor_until_us, jurisdiction, erased_us, facts_us FROM {_P}subject "
    "WHERE bucket = ? AND tenant = ? AND subject = ?"
)
LATEST_STATE = f"SELECT MAX(effective_us) FROM {_P}state WHERE bucket = ? AND subject_key = ?"

EVENT_BY_ID = (
    f"SELECT {EVENT_COLUMNS}, NULL, tenant, subject_key FROM {_P}event WHERE bucket = ? AND event_id = ?"
)
LEAF_OF_EVENT = f"SELECT leaf_index FROM {_P}leaf WHERE bucket = ? AND event_id = ?"


@lru_cache(maxsize=64)
def insert_events(rows: int) -> str:
    """Insert events; a row that is there already is left alone and not counted."""
    columns = (
        "bucket, event_id, tenant, subject_key, kind, item, version, scope, action, actor, "
        "recorded_us, effective_us, body, salt, commitment"
    )
    return _insert("event", columns, rows) + " ON CONFLICT (bucket, event_id) DO NOTHING"


@lru_cache(maxsize=64)
def insert_pending(rows: int) -> str:
    """Queue events for the sealer."""
    return (
        _insert("pending", "bucket, event_id, commitment, mac", rows)
        + " ON CONFLICT (bucket, event_id) DO NOTHING"
    )


@lru_cache(maxsize=64)
def upsert_state(rows: int) -> str:
    """Write last answers blindly: the later one stays; at the same instant a denial beats a grant."""
    columns = f"bucket, subject_key, {STATE_COLUMNS}"
    changed = ["status", "version", "level", "effective_us", "expires_us", "event_id"]
    old, new = f"{_P}state", "excluded"
    return (
        _insert("state", columns, rows)
        + " ON CONFLICT (bucket, subject_key, kind, item, scope, actor) DO UPDATE SET "
        + ", ".join(f"{name} = {new}.{name}" for name in changed)
        + f" WHERE ({new}.effective_us, {new}.status IN {_DENIES}, {new}.event_id)"
        + f" > ({old}.effective_us, {old}.status IN {_DENIES}, {old}.event_id)"
    )


@lru_cache(maxsize=64)
def append_together(rows: int, state_rows: int) -> str:
    """PostgreSQL: events, state and pending rows in one statement; counts events and state rows."""
    state = f"s AS ({upsert_state(state_rows)} RETURNING 1), " if state_rows else ""
    counted = "(SELECT count(*) FROM s)" if state_rows else "0"
    return (
        f"WITH e AS ({insert_events(rows)} RETURNING 1), {state}p AS ({insert_pending(rows)}) "
        f"SELECT (SELECT count(*) FROM e), {counted}"
    )


@lru_cache(maxsize=64)
def events_of_subject(filters: tuple[str, ...], postgresql: bool) -> str:
    """A subject's events by event id, after one, with equality filters on named columns."""
    after = " AND event_id > CAST(? AS uuid)" if postgresql else " AND event_id > ?"
    where = "".join(f" AND {name} = ?" for name in filters)
    return (
        f"SELECT {EVENT_COLUMNS}, "
        f"(SELECT leaf_index FROM {_P}leaf l WHERE l.bucket = e.bucket AND l.event_id = e.event_id) "
        f"FROM {_P}event e WHERE bucket = ? AND subject_key = ?{after}{where} ORDER BY event_id LIMIT ?"
    )


@lru_cache(maxsize=64)
def events_sealed(filters: tuple[str, ...]) -> str:
    """Sealed events in leaf order after a leaf index; an erased one has NULL columns."""
    where = "".join(f" AND e.{name} = ?" for name in filters)
    columns = "e." + EVENT_COLUMNS.replace(", ", ", e.")
    return (
        f"SELECT {columns}, l.leaf_index FROM {_P}leaf l LEFT JOIN {_P}event e "
        f"ON e.bucket = l.bucket AND e.event_id = l.event_id WHERE l.leaf_index > ?{where} "
        "ORDER BY l.leaf_index LIMIT ?"
    )


def _insert(table: str, columns: str, rows: int) -> str:
    marks = "(" + ", ".join("?" * (columns.count(",") + 1)) + ")"
    return f"INSERT INTO {_P}{table} ({columns}) VALUES {', '.join([marks] * rows)}"
