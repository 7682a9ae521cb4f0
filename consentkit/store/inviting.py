"""Invitations to guardians: who was asked what, how far it has come, and how often somebody was asked today.

Operational: rows may be deleted, and no gate asks them. What was answered is in the ledger.
"""

# ruff: noqa: S608 - every name is a constant of this package, every value a bind parameter
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any

from consentkit.core.tokens import Code, bucket_of_code
from consentkit.store.clock import bucket_of_event
from consentkit.store.database import Tx
from consentkit.store.tables import PREFIX as _P

CODE_TRIES = 5
DAY_US = 24 * 3600 * 1_000_000
_COLUMNS = (
    "bucket, CAST(event_id AS TEXT), tenant, subject_key, contact_hash, contact_sealed, body, status, "
    "expires_us, attempts, place, created_us, due_us"
)
_ADD = (
    f"INSERT INTO {_P}invitation (bucket, event_id, tenant, subject_key, contact_hash, contact_sealed, body, "
    "status, expires_us, attempts, place, created_us, due_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (bucket, event_id) DO NOTHING"
)
_FIND = f"SELECT {_COLUMNS} FROM {_P}invitation WHERE bucket = ? AND event_id = ?"
_FIND_PLACE = f"SELECT {_COLUMNS} FROM {_P}invitation WHERE bucket = ? AND place = ?"
_SWAP = (
    f"UPDATE {_P}invitation SET contact_sealed = ?, body = ?, status = ?, expires_us = ?, attempts = ?, place = ?, "
    "due_us = ? WHERE bucket = ? AND event_id = ? AND body = ? AND status = ?"
)
_TRY = (
    f"UPDATE {_P}invitation SET attempts = attempts + 1 "
    f"WHERE bucket = ? AND event_id = ? AND attempts < {CODE_TRIES}"
)
_GIVE_BACK = f"UPDATE {_P}invitation SET attempts = attempts - 1 WHERE bucket = ? AND event_id = ?"
_DROP = f"DELETE FROM {_P}invitation WHERE bucket = ? AND event_id = ?"
_DROP_OF_SUBJECT = f"DELETE FROM {_P}invitation WHERE bucket = ? AND subject_key = ?"
_OF_SUBJECT = (
    f"SELECT body, created_us FROM {_P}invitation WHERE bucket = ? AND subject_key = ? AND created_us > ?"
)
_OF_CONTACT = (
    f"SELECT COUNT(*) FROM {_P}invitation WHERE contact_hash = ? AND created_us > ? AND status <> 'withheld'"
)
_DUE = f"SELECT {_COLUMNS} FROM {_P}invitation WHERE due_us <= ? ORDER BY due_us LIMIT ?"
_SUBJECT = f"SELECT subject, salt FROM {_P}subject WHERE bucket = ? AND subject_key = ? AND erased_us IS NULL"


class Standing(StrEnum):
    """How far an invitation has come. `withheld`: it was never sent. `waiting`: a yes that is asked about again."""

    OPEN = "open"
    WAITING = "waiting"
    ANSWERED = "answered"
    OVER = "over"
    WITHHELD = "withheld"


@dataclass(frozen=True, slots=True)
class Body:
    """What is kept of an invitation beside its columns. Secrets stand here as keyed hashes, in hex.

    `step`: which message is out. `askers`: the browser that asked. `answers`: a yes that waits for the second
    message, by item the digest of what was shown. `used_by`: the browser that answered, `used_us` when. `checks`: how
    often a verifier was asked.
    """

    kind: str
    items: tuple[str, ...]
    method: str
    locale: str
    number: int
    askers: tuple[str, ...] = ()
    step: int = 0
    link: str = ""
    code: str = ""
    answers: Mapping[str, str] | None = None
    sent: bool = False
    used_by: str = ""
    used_us: int = 0
    checks: int = 0
    check: Mapping[str, Any] | None = None
    verified: Mapping[str, Any] | None = None

    @classmethod
    def read(cls, text: str) -> Body:
        """From JSON. What a newer consentkit has added is left out."""
        known = {f.name for f in fields(cls)}
        read = {name: value for name, value in json.loads(text).items() if name in known}
        return cls(**{**read, "items": tuple(read["items"]), "askers": tuple(read["askers"])})

    def __str__(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Row:
    """An invitation. `sealed`: contact and child's name, encrypted, until it is answered or over."""

    bucket: int
    invitation: str
    tenant: str
    subject_key: bytes
    contact_hash: bytes = field(repr=False)
    sealed: bytes | None = field(repr=False)
    body: Body
    status: Standing
    expires_us: int
    attempts: int
    place: str
    created_us: int
    due_us: int

    @property
    def key(self) -> tuple[int, str]:
        """The primary key."""
        return self.bucket, self.invitation

    @property
    def is_open(self) -> bool:
        """Whether something may still come of it, as far as anybody outside is to know."""
        return self.status in (Standing.OPEN, Standing.WAITING, Standing.WITHHELD)


def add(tx: Tx, row: Row) -> None:
    """Enter a new invitation."""
    about = (row.tenant, row.subject_key, row.contact_hash, row.sealed, str(row.body), row.status.value)
    tx.count(_ADD, (*row.key, *about, row.expires_us, row.attempts, row.place, row.created_us, row.due_us))


def find(tx: Tx, invitation: str) -> Row | None:
    """An invitation by its id, or None."""
    try:
        bucket = bucket_of_event(invitation)
    except ValueError:
        return None
    rows = tx.run(_FIND, (bucket, invitation))
    return _row(rows[0]) if rows else None


def find_by_code(tx: Tx, code: Code) -> list[Row]:
    """The invitations that a code may be of: nearly always one or none."""
    return [_row(row) for row in tx.run(_FIND_PLACE, (bucket_of_code(code), code.place))]


def swap(tx: Tx, old: Row, new: Row) -> bool:
    """Replace an invitation; False when somebody else has changed it since it was read."""
    told = (new.sealed, str(new.body), new.status.value, new.expires_us, new.attempts, new.place, new.due_us)
    return tx.count(_SWAP, (*told, *old.key, str(old.body), old.status.value)) == 1


def try_code(tx: Tx, row: Row) -> bool:
    """Take one of the five tries, before the code is looked at; False when none is left."""
    return tx.count(_TRY, row.key) == 1


def give_back(tx: Tx, row: Row) -> None:
    """The code was right: the try does not count."""
    tx.count(_GIVE_BACK, row.key)


def drop(tx: Tx, row: Row) -> None:
    """Forget an invitation."""
    tx.count(_DROP, row.key)


def drop_of_subject(tx: Tx, bucket: int, subject_key: bytes) -> None:
    """Forget all invitations of a subject: it was erased."""
    tx.count(_DROP_OF_SUBJECT, (bucket, subject_key))


def asked_by_subject(tx: Tx, bucket: int, subject_key: bytes, kind: str, now_us: int) -> list[int]:
    """When messages of a kind were asked for about a subject in the last 24 hours."""
    rows = tx.run(_OF_SUBJECT, (bucket, subject_key, now_us - DAY_US))
    return [created_us for body, created_us in rows if Body.read(body).kind == kind]


def sent_to_contact(tx: Tx, contact_hash: bytes, now_us: int) -> int:
    """How many messages a contact was sent in the last 24 hours, whoever asked."""
    return int(tx.run(_OF_CONTACT, (contact_hash, now_us - DAY_US))[0][0])


def due(tx: Tx, now_us: int, limit: int = 100) -> list[Row]:
    """Invitations with which something has to happen now."""
    return [_row(row) for row in tx.run(_DUE, (now_us, limit))]


def subject_of(tx: Tx, bucket: int, subject_key: bytes) -> tuple[str, bytes] | None:
    """The host's id and the salt of a subject; None: it was erased."""
    rows = tx.run(_SUBJECT, (bucket, subject_key))
    return (rows[0][0], bytes(rows[0][1])) if rows else None


def _row(columns: Sequence[Any]) -> Row:
    bucket, invitation, tenant, key, contact, sealed, body, status, *rest = columns
    kept = None if sealed is None else bytes(sealed)
    return Row(
        bucket, invitation, tenant, bytes(key), bytes(contact), kept, Body.read(body), Standing(status), *rest
    )
