"""What was published so far: the versions by which answers are judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from consentkit.core.terms import Change


@dataclass(frozen=True, slots=True)
class PolicyRelease:
    """A published version of a policy. `texts`: digest by locale; times in microseconds UTC."""

    policy: str
    version: str
    ordinal: int
    change: Change
    effective_us: int
    published_us: int
    acceptance: tuple[str, ...]
    texts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PurposeRelease:
    """A published version of a purpose with its material facts (canonical JSON)."""

    purpose: str
    version: int
    definition: str
    published_us: int


@dataclass(frozen=True)
class Published:
    """All versions by item, oldest first."""

    policies: Mapping[str, tuple[PolicyRelease, ...]] = field(default_factory=dict)
    purposes: Mapping[str, tuple[PurposeRelease, ...]] = field(default_factory=dict)

    def in_force(self, policy: str, at_us: int) -> PolicyRelease | None:
        """The version that governs at a moment; before the first one's date, the first one."""
        releases = self.policies.get(policy, ())
        return releases[_place(releases, at_us)] if releases else None

    def floor(self, policy: str, at_us: int) -> int:
        """The lowest ordinal whose acceptance is still good: only editorial changes came after it."""
        releases = self.policies.get(policy, ())
        place = _place(releases, at_us)
        while place > 0 and releases[place].change is Change.EDITORIAL:
            place -= 1
        return releases[place].ordinal if releases else 1

    def news(self, policy: str, after: int, upto: int) -> tuple[PolicyRelease, ...]:
        """The versions after one ordinal and up to another that are more than editorial: what one has to know."""
        releases = self.policies.get(policy, ())
        return tuple(r for r in releases if after < r.ordinal <= upto and r.change is not Change.EDITORIAL)

    def latest_news(self, policy: str) -> tuple[PolicyRelease, ...]:
        """The newest version that is more than editorial, and the editorial ones after it; else all."""
        releases = self.policies.get(policy, ())
        place = len(releases) - 1
        while place > 0 and releases[place].change is Change.EDITORIAL:
            place -= 1
        return releases[max(place, 0) :]

    def announced(self, policy: str, at_us: int) -> tuple[PolicyRelease, ...]:
        """Versions that are published and not in force yet, the next one first."""
        releases = self.policies.get(policy, ())
        return releases[_place(releases, at_us) + 1 :]

    def purpose_version(self, purpose: str, at_us: int) -> int | None:
        """The version of a purpose that was asked at a moment; before the first, the first."""
        releases = self.purposes.get(purpose, ())
        asked = [release.version for release in releases if release.published_us <= at_us]
        return asked[-1] if asked else (releases[0].version if releases else None)

    @cached_property
    def changes_us(self) -> tuple[int, ...]:
        """The moments at which some item changes its version, in order: between two of them no rule changes."""
        dates = {release.effective_us for releases in self.policies.values() for release in releases}
        dates |= {release.published_us for known in self.purposes.values() for release in known}
        return tuple(sorted(dates))


def _place(releases: Sequence[PolicyRelease], at_us: int) -> int:
    """Where the version that governs stands; looked for from the newest, which is nearly always it."""
    return next((n for n in range(len(releases) - 1, 0, -1) if releases[n].effective_us <= at_us), 0)
