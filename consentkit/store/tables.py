"""The tables: prefix `consentkit_`, a MetaData of our own, no foreign key to the host's tables.

Rules for a distributed PostgreSQL: `bucket` leads every key of a per-subject table, nothing is unique across
subjects, no serial, no identity, no sequence. Times are integer microseconds UTC. What came after the first
schema step says so: `info=since(2)`.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import SchemaItem

PREFIX = "consentkit_"
metadata = sa.MetaData()

Uuid = sa.String(36).with_variant(postgresql.UUID(as_uuid=False), "postgresql")
Bytes, Text, Big, Small = sa.LargeBinary, sa.Text, sa.BigInteger, sa.SmallInteger

APPEND_ONLY = ("event", "leaf", "node", "document", "policy_version", "purpose_version", "erasure")
"""Tables whose rows are never updated; rows of `event` are deleted only when `erasure` lists them."""

BUCKETED = ("subject", "event", "state", "pending", "idempotency", "erasure", "kept_id")
"""Tables whose every key and statement carries `bucket`."""


def since(step: int) -> dict[str, int]:
    """The schema step that made a table, a column or an index."""
    return {"step": step}


def _table(name: str, *items: SchemaItem, **options: Any) -> sa.Table:
    return sa.Table(PREFIX + name, metadata, *items, **options)


def _key(name: str, kind: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, primary_key=True, nullable=False, autoincrement=False)


def _not_null(name: str, kind: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False)


subject = _table(
    "subject",
    *(_key("bucket", Small), _key("tenant", Text), _key("subject", Text)),
    *(_not_null("subject_key", Bytes), sa.Column("salt", Bytes)),
    *(sa.Column("band", Text), sa.Column("minor_until_us", Big), sa.Column("jurisdiction", Text)),
    *(sa.Column("facts_us", Big), sa.Column("erased_us", Big)),
    sa.Index(PREFIX + "subject_of_key", "bucket", "subject_key", info=since(2)),
    # A query of the host's knows ids and no bucket.
    sa.Index(PREFIX + "subject_of_host", "tenant", "subject", info=since(4)),
    sa.Index(
        PREFIX + "subject_hidden",
        *("bucket", "tenant", "subject"),
        postgresql_where=sa.text("salt IS NULL"),
        sqlite_where=sa.text("salt IS NULL"),
        info=since(4),
    ),
    sa.Index(
        PREFIX + "subject_to_hide",
        *("bucket", "tenant", "subject"),
        postgresql_where=sa.text("erased_us IS NOT NULL AND salt IS NOT NULL"),
        sqlite_where=sa.text("erased_us IS NOT NULL AND salt IS NOT NULL"),
        info=since(5),
    ),
)

event = _table(
    "event",
    *(_key("bucket", Small), _key("event_id", Uuid)),
    *(_not_null("tenant", Text), _not_null("subject_key", Bytes)),
    *(_not_null(name, Text) for name in ("kind", "item")),
    *(
        sa.Column("version", Text),
        _not_null("scope", Text),
        _not_null("action", Text),
        _not_null("actor", Text),
    ),
    *(_not_null("recorded_us", Big), _not_null("effective_us", Big)),
    *(_not_null("body", Text), _not_null("salt", Bytes), _not_null("commitment", Bytes)),
    sa.Index(PREFIX + "event_subject", "bucket", "subject_key", "event_id"),
)

state = _table(
    "state",
    *(_key("bucket", Small), _key("subject_key", Bytes)),
    *(_key(name, Text) for name in ("kind", "item", "scope", "actor")),
    *(_not_null("status", Text), _not_null("version", Big), _not_null("level", Small)),
    *(_not_null("effective_us", Big), sa.Column("expires_us", Big), _not_null("event_id", Uuid)),
    sqlite_with_rowid=False,
    postgresql_with={"fillfactor": 70},
)

pending = _table(
    "pending",
    *(_key("bucket", Small), _key("event_id", Uuid)),
    *(_not_null("commitment", Bytes), _not_null("mac", Bytes)),
)

idempotency = _table(
    "idempotency",
    *(_key("bucket", Small), _key("tenant", Text), _key("key", Text)),
    *(_not_null("fingerprint", Bytes), _not_null("event_ids", Text), _not_null("expires_us", Big)),
)

erasure = _table(
    "erasure",
    *(_key("bucket", Small), _key("event_id", Uuid)),
    *(_not_null("leaf_index", Big), _not_null("record_id", Uuid)),
)

leaf = _table(
    "leaf",
    *(
        _key("leaf_index", Big),
        _not_null("bucket", Small),
        _not_null("event_id", Uuid),
        _not_null("hash", Bytes),
    ),
    sa.Index(PREFIX + "leaf_event", "bucket", "event_id"),
)

node = _table("node", _key("level", Small), _key("idx", Big), _not_null("hash", Bytes))

head = _table(
    "head",
    _key("log_id", Text),
    _not_null("origin", Text),
    _not_null("size", Big),
    _not_null("frontier", Bytes),
)

checkpoint = _table(
    "checkpoint",
    *(
        _key("tree_size", Big),
        _not_null("note", Text),
        _not_null("signed_us", Big),
        _not_null("published", Small),
    ),
)

document = _table(
    "document",
    *(
        _key("digest", Text),
        _not_null("media_type", Text),
        _not_null("content", Text),
        _not_null("stored_us", Big),
    ),
)

policy_version = _table(
    "policy_version",
    *(_key("item", Text), _key("version", Text), _not_null("ordinal", Big), _not_null("change", Text)),
    *(_not_null("effective_us", Big), _not_null("published_us", Big)),
    *(_not_null("acceptance", Text), _not_null("texts", Text), _not_null("summary", Text)),
)

purpose_version = _table(
    "purpose_version",
    *(
        _key("item", Text),
        _key("version", Big),
        _not_null("definition", Text),
        _not_null("published_us", Big),
    ),
)

follower = _table(
    "follower",
    *(
        _key("name", Text),
        _not_null("position", Big),
        _not_null("failures", Big),
        sa.Column("next_try_us", Big),
    ),
    sa.Column("last_error", Text),
)

delivery = _table(
    "delivery",
    *(
        _key("recipient", Text),
        _key("leaf_index", Big),
        _not_null("status", Text),
        _not_null("attempts", Big),
    ),
    *(sa.Column("next_try_us", Big), sa.Column("delivered_us", Big), sa.Column("subject_sealed", Bytes)),
    *(sa.Column(name, Big, info=since(2)) for name in ("queued_us", "tried_us")),
    sa.Column("last_error", Text, info=since(2)),
    sa.Index(
        PREFIX + "delivery_open",
        *("recipient", "leaf_index"),
        postgresql_where=sa.text("status = 'pending'"),
        sqlite_where=sa.text("status = 'pending'"),
        info=since(2),
    ),
)

recipient = _table(
    "recipient",
    *(_key("recipient", Text), _not_null("since_leaf", Big), sa.Column("disabled_us", Big)),
    *(sa.Column("lease", Text), sa.Column("lease_until_us", Big)),
    info=since(2),
)

kept_id = _table(
    "kept_id",
    *(_key("bucket", Small), _key("subject_key", Bytes), _not_null("subject_sealed", Bytes)),
    info=since(2),
)

invitation = _table(
    "invitation",
    *(_key("bucket", Small), _key("event_id", Uuid)),
    *(_not_null("tenant", Text), _not_null("subject_key", Bytes), _not_null("contact_hash", Bytes)),
    *(sa.Column("contact_sealed", Bytes), _not_null("body", Text), _not_null("status", Text)),
    *(_not_null("expires_us", Big), _not_null("attempts", Small)),
    *(sa.Column("place", Text, info=since(3)), sa.Column("created_us", Big, info=since(3))),
    sa.Column("due_us", Big, info=since(3)),
    sa.Index(PREFIX + "invitation_place", "bucket", "place", info=since(3)),
    sa.Index(PREFIX + "invitation_subject", "bucket", "subject_key", info=since(3)),
    sa.Index(PREFIX + "invitation_contact", "contact_hash", "created_us", info=since(3)),
    sa.Index(PREFIX + "invitation_due", "due_us", info=since(3)),
)

api_key = _table(
    "api_key",
    *(
        _key("key_id", Text),
        _not_null("secret_hash", Bytes),
        _not_null("tenant", Text),
        _not_null("scopes", Text),
    ),
    *(_not_null("label", Text), _not_null("created_us", Big), sa.Column("revoked_us", Big)),
)

schema = _table("schema", _key("version", Big), _not_null("applied_us", Big))
