"""Who has to be told of an event, and what they are told (GDPR 7(3), 19; PIPL 23). Pure.

A purpose's recipients are those of the version that was answered; a no is told to those of every version until
then, because they may hold what earlier ones gave them. What concerns a subject as a whole is told to everybody
who receives anything. Only parties with a `webhook` in the catalogue can be told.
"""

from __future__ import annotations

import json
import re
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
_VERSION = re.compile("[0-9]{1,15}")


@dataclass(frozen=True)
class Audiences:
    """Who receives what, by the catalogue and by every version that was published."""

    catalog: Catalog
    published: Published

    @cached_property
    def webhooks(self) -> Mapping[str, str]:
        """Addresses by party."""
        return {party.key: party.webhook for party in self.catalog.parties.values() if party.webhook}

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

    def told(self, event: Event, among: Iterable[str] | None = None) -> Mapping[str, tuple[str, ...]]:
        """The parties that an event concerns, sorted, each with the purposes it is about.

        `among`: who is told at all; by default those with a webhook.
        """
        rule = rule_of(event.kind, event.action, event.item)
        if rule is None:
            return {}
        listening = set(self.webhooks if among is None else among)
        found: dict[str, list[str]] = {}
        for purpose in sorted(rule.purposes(self, event)):
            for recipient in self.of_purpose(purpose, *_span(event, purpose)) & listening:
                found.setdefault(recipient, []).append(purpose)
        return {recipient: tuple(found[recipient]) for recipient in sorted(found)}

    def judged(self, event: Event, purposes: Iterable[str]) -> tuple[str, ...]:
        """Those of the purposes that can be asked about; one that is asked for one thing at a time only for a thing."""
        known = (p for key in sorted(purposes) if (p := self.catalog.purposes.get(key)) is not None)
        return tuple(p.key for p in known if event.scope or not p.scoped)

    def allowed(self, recipient: str, purposes: Iterable[str], may: Mapping[str, bool]) -> dict[str, bool]:
        """Whether a recipient may go on, by purpose. `may`: what the gate says; who is no recipient now may not."""
        known = self.catalog.purposes
        return {
            key: may.get(key, False) and recipient in self._versions[key][-1][1]
            for key in purposes
            if key in may or key not in known
        }


Purposes = Callable[[Audiences, Event], Iterable[str]]


def _span(event: Event, purpose: str) -> tuple[int, int]:
    """The first and the last version of a purpose whose recipients an event concerns.

    All of them, where it is another purpose than the one that was answered, or a version that cannot be read.
    """
    version = event.version or ""
    if (event.kind, event.item) != (Kind.PURPOSE, purpose) or not _VERSION.fullmatch(version):
        return 0, _FAR
    return (int(version) if event.action in GRANTING else 0), int(version)


def of_answer(audiences: Audiences, event: Event) -> Iterable[str]:
    """The purpose that was answered; where it is a core purpose, without which all stop, all of them."""
    purpose = audiences.catalog.purposes.get(event.item)
    if purpose is not None and purpose.core:
        return every_one(audiences, event)
    return (event.item,)


def of_policy(audiences: Audiences, event: Event) -> Iterable[str]:
    """The purposes that stop without this policy."""
    return (p.key for p in audiences.catalog.purposes.values() if event.item in p.policies)


def of_signal(audiences: Audiences, event: Event) -> Iterable[str]:
    """The purposes that heed this signal."""
    return (p.key for p in audiences.catalog.purposes.values() if event.item in p.signals)


def of_deletion(_audiences: Audiences, event: Event) -> Iterable[str]:
    """The purposes whose data have to be deleted."""
    return purposes_of(json.loads(event.body))


def every_one(audiences: Audiences, _event: Event) -> Iterable[str]:
    """Every purpose there ever was: all who receive anything are told."""
    return audiences.published.purposes


@dataclass(frozen=True, slots=True)
class Rule:
    """Events that are told to the recipients of these purposes. `item` None: any. `name`: the message's type, by
    default `<prefix>.<action>`.
    """

    prefix: str
    kind: Kind
    actions: frozenset[Action]
    purposes: Purposes
    item: str | None = None
    name: str | None = None

    def type_of(self, action: str) -> str:
        """The type of the message, such as `consent.withdrawn`."""
        return self.name or f"{self.prefix}.{action}"


RULES = (
    Rule("consent", Kind.PURPOSE, ANSWERS, of_answer),
    Rule("policy", Kind.POLICY, ANSWERS, of_policy),
    Rule("signal", Kind.SIGNAL, ANSWERS, of_signal),
    Rule("subject", Kind.SUBJECT, ANSWERS, every_one, item=RESTRICTION),
    Rule("subject", Kind.SUBJECT, ANSWERS, every_one, item=OBJECTION),
    Rule("subject", Kind.SUBJECT, frozenset({Action.ERASED}), every_one, item="subject"),
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


def payload(event: Event, subject: str, allowed: Mapping[str, bool]) -> str:
    """The message about a sealed event: JSON. It says what was answered, not how, nor by whom, nor anything else.

    `allowed`: by purpose, whether the recipient may go on; a yes alone is not enough where a guardian's is wanting.
    """
    said = json.loads(event.body)
    data: dict[str, Any] = {
        "event_id": event.event_id,
        "subject": subject,
        **{name: getattr(event, name) for name in ("kind", "item", "version", "action", "scope")},
        "effective_at": rfc3339(to_us(event.effective_at)),
        "expires_at": None if said.get("expires_us") is None else rfc3339(said["expires_us"]),
        "leaf_index": event.leaf_index,
        **{name: said[name] for name in ("reason", "continues", "purposes") if name in said},
        "allowed": dict(allowed),
    }
    whole = {"type": type_of(event), "timestamp": rfc3339(to_us(event.recorded_at)), "data": data}
    return json.dumps(whole, separators=(",", ":"))
