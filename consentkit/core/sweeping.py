"""Children's data that may not be kept: what becomes an event, and since when a guardian has been wanting. Pure.

One request to delete is open at a time: `requested` about the subject's `deletion`. The host confirms it, and
each recipient. That a child was turned away is `refused` about the subject as a `minor`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from consentkit.core.catalog import Catalog
from consentkit.core.record import Answer
from consentkit.core.terms import UNREGULATED, Action, Basis, Kind, Reason, Status
from consentkit.core.view import Row

MINOR, DELETION = "minor", "deletion"
HOST = "host"
GUARDIAN_MISSING, NOT_ALLOWED = "guardian_missing", "children_not_allowed"
WANTING = frozenset({Reason.GUARDIAN_REQUIRED, Reason.GUARDIAN_PENDING, Reason.GUARDIAN_ASSURANCE_TOO_LOW})
"""A no for want of a guardian, or of a verified one."""


def refusal() -> Answer:
    """A child was turned away: all that is kept of one where children are not allowed."""
    return _about(MINOR, Action.REFUSED)


def deletion(purposes: Iterable[str], reason: str) -> Answer:
    """Data under these purposes have to be deleted, by the host and by the purposes' recipients."""
    return _about(DELETION, Action.REQUESTED, purposes=" ".join(sorted(purposes)), reason=reason)


def reminder(purposes: Iterable[str], reason: str) -> Answer:
    """The host was reminded of a deletion that it has not confirmed."""
    return _about(DELETION, Action.NOTIFIED, purposes=" ".join(sorted(purposes)), reason=reason)


def confirmation(by: str) -> Answer:
    """The host (`host`) or a recipient has deleted."""
    return _about(DELETION, Action.LIFTED, scope="" if by == HOST else by)


def purposes_of(body: Mapping[str, Any]) -> frozenset[str]:
    """The purposes of a request to delete."""
    return frozenset(str(body.get("purposes", "")).split())


def gated(catalog: Catalog) -> tuple[str, ...]:
    """The purposes for which a child needs a guardian."""
    asked = (p for p in catalog.purposes.values() if p.basis is Basis.CONSENT and p.minors == "guardian")
    return tuple(p.key for p in asked)


def regulated(catalog: Catalog) -> tuple[str, ...]:
    """The purposes under which personal data are kept and no law demands it."""
    return tuple(p.key for p in catalog.purposes.values() if p.basis not in UNREGULATED)


def refused(rows: Sequence[Row]) -> Row | None:
    """That the child was turned away, where it is on record."""
    found = (r for r in rows if r.kind == Kind.SUBJECT and r.item == MINOR)
    return next((r for r in found if r.status == Status.REFUSED), None)


def requested(rows: Sequence[Row]) -> Row | None:
    """The last request to delete."""
    found = (r for r in rows if r.kind == Kind.SUBJECT and r.item == DELETION)
    return next((r for r in found if r.status == Status.REQUESTED), None)


def confirmations(rows: Sequence[Row]) -> dict[str, int]:
    """Who has confirmed the last request to delete, and when."""
    asked = requested(rows)
    if asked is None:
        return {}
    found = (r for r in rows if r.kind == Kind.SUBJECT and r.item == DELETION and r.status == Status.LIFTED)
    return {r.scope or HOST: r.effective_us for r in found if r.effective_us >= asked.effective_us}


def wanting_since(purpose: str, rows: Sequence[Row], known_us: int) -> int:
    """Since when nobody can say any more that a guardian is about to answer.

    `known_us`: when it was known that the subject is a child, and the purpose was there to be answered.
    """
    moments = [known_us]
    for row in rows:
        if row.kind != Kind.PURPOSE or row.item != purpose:
            continue
        if row.actor.startswith("invitation"):
            moments.append(max(row.effective_us, row.expires_us or 0))
        elif row.actor.startswith("guardian:"):
            moments.append(row.effective_us)
    return max(moments)


def _about(item: str, action: Action, scope: str = "", **extra: str) -> Answer:
    said = tuple(extra.items())
    return Answer(Kind.SUBJECT, item, action, scope=scope, actor="operator", method="code", extra=said)
