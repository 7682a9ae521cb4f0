"""From an answer to events: the body's exact bytes, the blinded commitment, the row of state.

An event is one sentence: somebody (actor) said something (action) about one item in one version, for one
subject.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from consentkit.core.gate import Row
from consentkit.core.minors import NOTHING_KNOWN, Facts
from consentkit.core.terms import ANSWERS, GRANTING, Action, Kind
from consentkit.core.times import from_us

BUCKETS = 1024
VISITOR = "visitor:"
_RECORD, _SUBJECT = b"consentkit/v1/record\0", b"consentkit/v1/subject\0"
_MAX_INT = 2**53 - 1
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of the ledger, as readers see it. `body` is exactly the text that was hashed.

    `version`, `method`, `locale` and `notice` are None where they do not apply; `leaf_index` is None
    until the event is sealed. Digests are lower-case hex SHA-256.
    """

    event_id: str
    kind: str
    item: str
    version: str | None
    scope: str
    action: str
    actor: str
    method: str | None
    locale: str | None
    notice: str | None
    recorded_at: datetime
    effective_at: datetime
    body: str
    leaf_index: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """One thing that was said, before it has an id and a time.

    `ordinal` orders versions, `level` is a guardian's assurance.
    """

    kind: Kind
    item: str
    action: Action
    version: str | None = None
    ordinal: int = 0
    scope: str = ""
    actor: str = "subject"
    method: str | None = None
    locale: str | None = None
    notice: str | None = None
    level: int = 0
    expires_us: int | None = None
    extra: tuple[tuple[str, Any], ...] = ()

    @property
    def grants(self) -> bool:
        """Whether it is a yes to a purpose or a policy; to have seen an announcement is none."""
        return self.action in GRANTING and self.kind is not Kind.ANNOUNCEMENT


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who and when: shared by the events of one act. `live` answers were said now, not imported."""

    tenant: str
    bucket: int
    subject_key: bytes
    recorded_us: int
    effective_us: int
    live: bool = True
    facts: Facts = NOTHING_KNOWN


@dataclass(frozen=True, slots=True)
class Entry:
    """An event ready to be stored, with the state row that it leads to (None: it is evidence only)."""

    event_id: str
    answer: Answer
    stamp: Stamp
    body: str
    salt: bytes
    commitment: bytes

    @property
    def row(self) -> Row | None:
        """The actor's new last answer."""
        said = self.answer
        said_by = (said.kind.value, said.item, said.scope, said.actor, said.action.value)
        times = (self.stamp.effective_us, said.expires_us)
        return row_after(*said_by, said.ordinal, said.level, *times, self.event_id)

    @property
    def event(self) -> Event:
        """The entry as readers will see it."""
        said, stamp = self.answer, self.stamp
        return Event(
            *(
                self.event_id,
                said.kind.value,
                said.item,
                said.version,
                said.scope,
                said.action.value,
                said.actor,
            ),
            *(said.method, said.locale, said.notice, from_us(stamp.recorded_us), from_us(stamp.effective_us)),
            self.body,
        )


def row_after(
    kind: str,
    item: str,
    scope: str,
    actor: str,
    action: str,
    ordinal: int,
    level: int,
    effective_us: int,
    expires_us: int | None,
    event_id: str,
) -> Row | None:
    """The state row that an event leads to; None for evidence that changes no answer."""
    if action == Action.REQUESTED:
        actor = actor if actor.startswith("invitation:") else "invitation"
    elif action not in ANSWERS:
        return None
    return Row(kind, item, scope, actor, action, ordinal, level, effective_us, expires_us, event_id)


def bucket_of(tenant: str, subject: str) -> int:
    """The first 10 bits of SHA-256 over tenant and subject: fixed for ever."""
    digest = hashlib.sha256(f"{tenant}\0{subject}".encode()).digest()
    return digest[0] << 2 | digest[1] >> 6


def subject_key(salt: bytes, tenant: str, subject: str) -> bytes:
    """The pseudonym under which the events of a subject are kept (16 bytes)."""
    return hashlib.sha256(_SUBJECT + salt + f"{tenant}\0{subject}".encode()).digest()[:16]


def commitment(salt: bytes, body: str) -> bytes:
    """The blinded commitment to a body: without the 32 salt bytes it says nothing."""
    return hashlib.sha256(_RECORD + salt + body.encode()).digest()


def entry(event_id: str, answer: Answer, stamp: Stamp, salt: bytes) -> Entry:
    """The event with its body and commitment. Raises ValueError for a value that JCS cannot carry."""
    body = restricted_jcs(_body(event_id, answer, stamp))
    return Entry(event_id, answer, stamp, body, salt, commitment(salt, body))


def _body(event_id: str, answer: Answer, stamp: Stamp) -> dict[str, Any]:
    return {
        "action": answer.action.value,
        "actor": answer.actor,
        "band": stamp.facts.band.value,
        "bucket": stamp.bucket,
        "effective_us": stamp.effective_us,
        "event_id": event_id,
        "expires_us": answer.expires_us,
        "item": answer.item,
        "jurisdiction": stamp.facts.jurisdiction,
        "kind": answer.kind.value,
        "level": answer.level,
        "locale": answer.locale,
        "method": answer.method,
        "notice": answer.notice,
        "ordinal": answer.ordinal,
        "recorded_us": stamp.recorded_us,
        "schema": 1,
        "scope": answer.scope,
        "subject_key": stamp.subject_key.hex(),
        "tenant": stamp.tenant,
        "version": answer.version,
        **dict(answer.extra),
    }


def restricted_jcs(value: dict[str, Any]) -> str:
    """RFC 8785 for objects with ASCII keys and values that are text, booleans, null or integers below 2^53.

    For this subset the standard library's encoder with sorted keys gives the same bytes.
    """
    for key, part in value.items():
        if not key.isascii() or not (part is None or isinstance(part, (str, int))):
            raise ValueError(f"{key!r}: only ASCII keys, text, booleans, null and integers can be recorded")
        if isinstance(part, int) and abs(part) > _MAX_INT:
            raise ValueError(f"{key!r}: {part} is too large to be recorded exactly")
    text = _ENCODER.encode(value)
    text.encode()
    return text
