"""Who has to be told of an event, and what they are told (GDPR 7(3), 19; PIPL 23). Pure.

A purpose's recipients are those of the version that was answered; a no is told to those of every version until
then, because they may hold what earlier ones gave them. What concerns a subject as a whole is told to everybody
who receives anything. Only parties with a `webhook` in the catalogue can be told.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from consentkit.core.catalog import Catalog
from consentkit.core.published import Published
from consentkit.core.record import Event
from consentkit.core.sweeping import DELETION, purposes_of
from consentkit.core.terms import ANSWERS, GRANTING, Action, Kind
from consentkit.core.times import rfc3339, to_us
from consentkit.core.view import OBJECTION, RESTRICTION

_FAR = 2**53


@dataclass(frozen=True)
class Audiences:
    """Who receives what, by the catalogue and by every version that was published."""

    catalog: Catalog
    published: Published

    @cached_property
    def webhooks(self) -> Mapping[str, str]:
        """Addresses by party."""
        return {party.key: party.webhook for party in self.catalog.parties.values() if party.webhook}

    @cached_property
    def everybody(self) -> frozenset[str]:
        """Whoever receives anything."""
        return frozenset(r for purpose in self.published.purposes for r in self.of_purpose(purpose, 0, _FAR))

    def of_purpose(self, purpose: str, first: int, last: int) -> frozenset[str]:
        """The recipients of a purpose in its versions from one to another, both included."""
        versions = self._versions.get(purpose, ())
        return frozenset(r for version, told in versions if first <= version <= last for r in told)

    @cached_property
    def _versions(self) -> Mapping[str, tuple[tuple[int, tuple[str, ...]], ...]]:
        """Version and recipients, by purpose."""
        return {
            purpose: tuple((r.version, tuple(json.loads(r.definition)["recipients"])) for r in releases)
            for purpose, releases in self.published.purposes.items()
        }

    def of_purposes(self, purposes: Iterable[str]) -> frozenset[str]:
        """The recipients of these purposes in any version, with a webhook or without."""
        return frozenset(r for purpose in purposes for r in self.of_purpose(purpose, 0, _FAR))

    def told(self, event: Event) -> tuple[str, ...]:
        """The parties that an event concerns and that can be told, sorted."""
        rule = rule_of(event.kind, event.action, event.item)
        return () if rule is None else tuple(sorted(rule.concerns(self, event) & self.webhooks.keys()))


Concerns = Callable[[Audiences, Event], frozenset[str]]


def of_purpose(audiences: Audiences, event: Event) -> frozenset[str]:
    """The recipients of the purpose that was answered."""
    version = int(event.version) if event.version else _FAR
    first = version if event.action in GRANTING else 0
    return audiences.of_purpose(event.item, first, version)


def of_policy(audiences: Audiences, event: Event) -> frozenset[str]:
    """The recipients of the purposes that stop without this policy."""
    purposes = (p.key for p in audiences.catalog.purposes.values() if event.item in p.policies)
    return frozenset(r for key in purposes for r in audiences.of_purpose(key, 0, _FAR))


def of_signal(audiences: Audiences, event: Event) -> frozenset[str]:
    """The recipients of the purposes that heed this signal."""
    purposes = (p.key for p in audiences.catalog.purposes.values() if event.item in p.signals)
    return frozenset(r for key in purposes for r in audiences.of_purpose(key, 0, _FAR))


def of_deletion(audiences: Audiences, event: Event) -> frozenset[str]:
    """The recipients of the purposes whose data have to be deleted."""
    return audiences.of_purposes(purposes_of(json.loads(event.body)))


def everybody(audiences: Audiences, _event: Event) -> frozenset[str]:
    """Whoever receives anything."""
    return audiences.everybody


@dataclass(frozen=True, slots=True)
class Rule:
    """Events that are told. `item` None: any. `name`: the message's type, by default `<prefix>.<action>`."""

    prefix: str
    kind: Kind
    actions: frozenset[Action]
    concerns: Concerns
    item: str | None = None
    name: str | None = None

    def type_of(self, action: str) -> str:
        """The type of the message, such as `consent.withdrawn`."""
        return self.name or f"{self.prefix}.{action}"


RULES = (
    Rule("consent", Kind.PURPOSE, ANSWERS, of_purpose),
    Rule("policy", Kind.POLICY, ANSWERS, of_policy),
    Rule("signal", Kind.SIGNAL, ANSWERS, of_signal),
    Rule("subject", Kind.SUBJECT, ANSWERS, everybody, item=RESTRICTION),
    Rule("subject", Kind.SUBJECT, ANSWERS, everybody, item=OBJECTION),
    Rule("subject", Kind.SUBJECT, frozenset({Action.ERASED}), everybody, item="subject"),
    Rule(
        "subject",
        Kind.SUBJECT,
        frozenset({Action.REQUESTED}),
        of_deletion,
        item=DELETION,
        name="subject.delete_required",
    ),
)
"""What is told; the first rule that fits. Everything else stays here, such as that a notice was shown."""


def rule_of(kind: str, action: str, item: str) -> Rule | None:
    """The rule for an event, or None: nobody is told."""
    fits = (r for r in RULES if r.kind == kind and action in r.actions and r.item in (None, item))
    return next(fits, None)


def type_of(event: Event) -> str:
    """The type of the message about an event. Raises LookupError for one that nobody is told of."""
    rule = rule_of(event.kind, event.action, event.item)
    if rule is None:
        raise LookupError(f"nobody is told that something was {event.action}")
    return rule.type_of(event.action)


def payload(event: Event, subject: str) -> str:
    """The message about a sealed event: JSON. It says what was answered, not how, nor by whom, nor anything else."""
    said = json.loads(event.body)
    data: dict[str, Any] = {
        "event_id": event.event_id,
        "subject": subject,
        **{name: getattr(event, name) for name in ("kind", "item", "version", "action", "scope")},
        "effective_at": rfc3339(to_us(event.effective_at)),
        "expires_at": None if said.get("expires_us") is None else rfc3339(said["expires_us"]),
        "leaf_index": event.leaf_index,
        **{name: said[name] for name in ("reason", "continues", "purposes") if name in said},
    }
    whole = {"type": type_of(event), "timestamp": rfc3339(to_us(event.recorded_at)), "data": data}
    return json.dumps(whole, separators=(",", ":"))
