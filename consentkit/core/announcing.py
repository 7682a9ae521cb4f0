"""What a person has to be shown: coming versions of policies, and announcements, until acknowledged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from consentkit.core.catalog import Catalog, Policy, Text
from consentkit.core.gate import Row
from consentkit.core.published import PolicyRelease, Published
from consentkit.core.terms import Change, Kind, Status


@dataclass(frozen=True, slots=True)
class Announcement:
    """One thing to show. `kind`: policy (a coming version) or announcement; `effective_us` in microseconds UTC."""

    kind: Kind
    key: str
    version: str
    ordinal: int
    title: Text
    summary: Text
    change: Change
    effective_us: int


def announcements(
    catalog: Catalog, published: Published, rows: Sequence[Row], now_us: int
) -> tuple[Announcement, ...]:
    """What to show to somebody with these last answers, in the order of the catalogue."""
    found = [a for policy in catalog.policies.values() for a in _of(policy, published, rows, now_us)]
    return tuple(a for a in found if not _acknowledged(a, rows))


def _of(policy: Policy, published: Published, rows: Sequence[Row], now_us: int) -> Iterator[Announcement]:
    if policy.kind == "announcement":
        release = published.in_force(policy.key, now_us)
        in_time = release is not None and release.effective_us <= now_us
        if release is not None and in_time and _addressed(policy, rows):
            yield _announcement(Kind.ANNOUNCEMENT, policy, release)
        return
    for release in published.announced(policy.key, now_us):
        if release.change is not Change.EDITORIAL:
            yield _announcement(Kind.POLICY, policy, release)


def _announcement(kind: Kind, policy: Policy, release: PolicyRelease) -> Announcement:
    written = policy.versions[
        release.ordinal - 1 : release.ordinal
    ]  # none where a newer process published it
    summary = written[0].summary if written else ""
    said = (release.version, release.ordinal, policy.title, summary, release.change, release.effective_us)
    return Announcement(kind, policy.key, *said)


def _addressed(policy: Policy, rows: Sequence[Row]) -> bool:
    """An announcement to a selection is for those to whom it was addressed."""
    if policy.audience == "all":
        return True
    return any(r.kind == Kind.ANNOUNCEMENT and r.item == policy.key and r.actor == "invitation" for r in rows)


def _acknowledged(announcement: Announcement, rows: Sequence[Row]) -> bool:
    """Seen, or a coming version accepted ahead."""
    return any(
        (row.kind == Kind.ANNOUNCEMENT or (row.kind == announcement.kind and row.actor == "subject"))
        and row.item == announcement.key
        and row.status == Status.ACCEPTED
        and row.version >= announcement.ordinal
        for row in rows
    )
