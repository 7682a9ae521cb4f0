"""The catalogue as rules for the gate, at one moment."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from consentkit.core.catalog import Catalog, Policy, Purpose
from consentkit.core.gate import Rule
from consentkit.core.published import Published
from consentkit.core.terms import Assurance, Kind


@dataclass(frozen=True)
class Rulebook:
    """Rules by item key. Purposes and policies share one namespace, so a key names one rule.

    `core`: keys of the purposes without which the service cannot run. `until_us`: when the rules change. `kept`:
    what others have made of these rules, and need not make again while they hold.
    """

    catalog: Catalog
    published: Published
    rules: Mapping[str, Rule]
    core: tuple[str, ...]
    since_us: int
    until_us: int | None
    kept: dict[Hashable, Any] = field(default_factory=dict, compare=False)
    _asked: dict[str, tuple[Rule, ...]] = field(default_factory=dict)

    def asked(self, key: str) -> tuple[Rule, ...]:
        """The rules of the items that a key of the shared namespace means. Raises UnknownPurpose."""
        found = self._asked.get(key) if isinstance(key, str) else None
        if found is None:
            found = self._asked[key] = tuple(self.rules[item.key] for item in self.catalog.items_of(key))
        return found

    def knows(self, key: str) -> bool:
        """Whether the catalogue has such a key."""
        try:
            return bool(self.catalog.items_of(key)) or key in self.catalog.categories
        except LookupError:
            return False

    def holds(self, at_us: int) -> bool:
        """Whether the rules hold at a moment: a policy version may come into force, or the clock go back."""
        return self.since_us <= at_us and (self.until_us is None or at_us < self.until_us)


def rulebook(catalog: Catalog, published: Published, at_us: int, *, past: bool = False) -> Rulebook:
    """The rules at a moment, by the catalogue of then.

    `past`: by a later one, for what the catalogue of then had not: purposes by their versions of then, or the first.
    """
    rules = {p.key: _purpose_rule(catalog, p, published, at_us, past) for p in catalog.purposes.values()}
    rules |= {p.key: _policy_rule(p, published, at_us) for p in catalog.policies.values()}
    coming = [r.effective_us for rs in published.policies.values() for r in rs if r.effective_us > at_us]
    return Rulebook(catalog, published, rules, catalog.core_purposes, at_us, min(coming, default=None))


def _purpose_rule(catalog: Catalog, purpose: Purpose, published: Published, at_us: int, past: bool) -> Rule:
    version = (published.purpose_version(purpose.key, at_us) if past else None) or purpose.version
    category = purpose.category if purpose.category and purpose.in_bundle else ""
    return Rule(
        kind=Kind.PURPOSE,
        item=purpose.key,
        version=str(version),
        floor=version,
        basis=purpose.basis,
        minors=purpose.minors,
        level=Assurance(purpose.assurance).level,
        policies=tuple(purpose.policies),
        signals=tuple(purpose.signals),
        category=category,
        regime=catalog.categories[category].regime if category else None,
        dpv=tuple(purpose.dpv),
        scoped=purpose.scoped,
    )


def _policy_rule(policy: Policy, published: Published, at_us: int) -> Rule:
    release = published.in_force(policy.key, at_us)
    return Rule(
        kind=Kind.POLICY,
        item=policy.key,
        version=release.version if release else "",
        floor=published.floor(policy.key, at_us),
        minors=policy.minors,
    )
