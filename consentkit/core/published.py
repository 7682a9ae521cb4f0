"""What was published so far: the versions by which answers are judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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


@dataclass(frozen=True, slots=True)
class Published:
    """All versions by item, oldest first."""

    policies: Mapping[str, tuple[PolicyRelease, ...]] = field(default_factory=dict)
    purposes: Mapping[str, tuple[PurposeRelease, ...]] = field(default_factory=dict)

    def in_force(self, policy: str, at_us: int) -> PolicyRelease | None:
        """The version that governs at a moment; before the first one's date, the first one."""
        releases = self.policies.get(policy, ())
        governing = [release for release in releases if release.effective_us <= at_us]
        return governing[-1] if governing else (releases[0] if releases else None)

    def floor(self, policy: str, at_us: int) -> int:
        """The lowest ordinal whose acceptance is still good: only editorial changes came after it."""
        current = self.in_force(policy, at_us)
        if current is None:
            return 1
        floor = current.ordinal
        changes = {release.ordinal: release.change for release in self.policies[policy]}
        while floor > 1 and changes[floor] is Change.EDITORIAL:
            floor -= 1
        return floor

    def strictest(self, policy: str, after: int, upto: int) -> Change | None:
        """The highest class among the versions after one ordinal and up to another; None when there is none."""
        classes = [r.change for r in self.policies.get(policy, ()) if after < r.ordinal <= upto]
        return max(classes, key=list(Change).index, default=None)

    def announced(self, policy: str, at_us: int) -> tuple[PolicyRelease, ...]:
        """Versions that are published and not in force yet, the next one first."""
        current = self.in_force(policy, at_us)
        known = current.ordinal if current is not None else 0
        return tuple(r for r in self.policies.get(policy, ()) if r.ordinal > known)

    def purpose_version(self, purpose: str, at_us: int) -> int | None:
        """The version of a purpose that was asked at a moment; before the first, the first."""
        releases = self.purposes.get(purpose, ())
        asked = [release.version for release in releases if release.published_us <= at_us]
        return asked[-1] if asked else (releases[0].version if releases else None)
