"""Asking a guardian: what may be asked by which method, the events of a request, and what an answer has to say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from consentkit.core.case import INVITATION
from consentkit.core.catalog import Catalog, MinorRules, Party, Policy, Purpose
from consentkit.core.choices import Manner, say
from consentkit.core.errors import AssuranceTooLow, ChoiceRejected, GuardianNotNeeded
from consentkit.core.places import Place
from consentkit.core.published import Published
from consentkit.core.record import Answer
from consentkit.core.terms import Action, Assurance, Basis, Kind, Method
from consentkit.core.verification import GuardianMethod

INVITE, CONFIRM, ACCESS = "invite", "confirm", "access"


@dataclass(frozen=True, slots=True)
class Invitation:
    """What a `guardian_mailer` sends: to whom, and the link. Keep it nowhere else.

    `kind`: `invite` asks, `confirm` asks again about a yes by message, `access` leads a guardian to the own page.
    `items`: keys of purposes and policies. `title` and `text` are a message that is ready to be sent; `url` and
    `code` stand in it. `method` says by what it is sent: a text message for `text_plus`.
    """

    invitation: str
    kind: str
    subject: str
    tenant: str
    items: tuple[str, ...]
    method: GuardianMethod
    locale: str
    expires: datetime
    contact: str = field(repr=False)
    child: str = field(repr=False)
    url: str = field(repr=False)
    code: str = field(repr=False)
    title: str = field(repr=False)
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a guardian answers on the page. `yes`: by item the digest of what was shown.

    `disclosed`: items for which the tick about third parties was set too.
    """

    yes: Mapping[str, str] = field(default_factory=dict)
    no: tuple[str, ...] = ()
    disclosed: frozenset[str] = frozenset()


def items_of(catalog: Catalog, keys: Sequence[str]) -> tuple[str, ...]:
    """Keys of the purposes and policies that are meant. Raises UnknownPurpose, ChoiceRejected for none."""
    found: dict[str, None] = {}
    for key in keys:
        documents = key in catalog.policies or key in catalog.bundles
        for item in catalog.policies_of(key) if documents else catalog.purposes_of(key):
            found[item.key] = None
    if not found:
        raise ChoiceRejected("name the purposes, or the policies, about which the guardian is asked")
    return tuple(found)


def third_parties(catalog: Catalog, item: str) -> tuple[Party, ...]:
    """To whom a purpose discloses data: its recipients, but for processors who act for the controller."""
    purpose = catalog.purposes.get(item)
    named = [catalog.parties[key] for key in purpose.recipients] if purpose is not None else []
    return tuple(party for party in named if not party.processor)


def check_askable(catalog: Catalog, place: Place, items: Sequence[str], method: GuardianMethod) -> None:
    """Raise ChoiceRejected, GuardianNotNeeded or AssuranceTooLow where this cannot be asked by this method."""
    rules = catalog.minors or MinorRules()
    if rules.turns_away:
        raise ChoiceRejected("this service is not for children (minors.children), so no guardian is asked")
    if rules.methods and method not in rules.methods:
        raise ChoiceRejected(
            f"method {method.value!r} is not one of minors.methods: {', '.join(rules.methods)}"
        )
    for key in items:
        _check_item(catalog.purposes.get(key) or catalog.policies[key], place)
        if method.internal_only and (parties := third_parties(catalog, key)):
            names = ", ".join(party.key for party in parties)
            raise ChoiceRejected(
                f"{key!r} discloses data to {names}: {method.value} is not enough for that "
                "(16 CFR 312.5(b)(2)(viii)); ask by another method"
            )
        needed = needed_for(catalog, place, key)
        if method.assurance.level < needed.level:
            fitting = ", ".join(m for m in GuardianMethod if m.assurance.level >= needed.level)
            raise AssuranceTooLow(
                f"{key!r} needs a guardian who is verified as {needed.value} in {place.code}, and {method.value} is "
                f"{method.assurance.value}: ask by {fitting}"
            )


def needed_for(catalog: Catalog, place: Place, item: str) -> Assurance:
    """How well the guardian has to be verified: as the purpose demands, or the place."""
    purpose = catalog.purposes.get(item)
    own = Assurance(purpose.assurance) if purpose is not None else Assurance.NONE
    return max(own, place.ages.verification, key=lambda level: level.level)


def _check_item(item: Purpose | Policy, place: Place) -> None:
    if item.minors == "allowed":
        raise GuardianNotNeeded(f"{item.key!r} is for the minor to answer (minors = allowed)")
    if isinstance(item, Policy):
        if item.kind == "announcement":
            raise ChoiceRejected(f"{item.key!r} is an announcement: there is nothing to accept")
        return
    if item.minors == "never" or not set(item.dpv).isdisjoint(place.ages.forbidden):
        raise ChoiceRejected(f"{item.key!r} is forbidden for minors: no guardian can allow it")
    if item.basis is not Basis.CONSENT:
        raise ChoiceRejected(
            f"{item.key!r} rests on {item.basis.value}, not on consent: there is nothing to ask"
        )
    if item.scoped:
        raise ChoiceRejected(f"{item.key!r} is given for one thing at a time, and cannot be asked by message")


def requesting(
    catalog: Catalog,
    published: Published,
    items: Sequence[str],
    number: int,
    *,
    now_us: int,
    locale: str,
    expires_us: int | None,
    extra: tuple[tuple[str, str], ...],
    action: Action = Action.REQUESTED,
) -> list[Answer]:
    """One request per item to guardian `number`. `action` LIFTED takes it back."""
    answers = []
    for key in items:
        how = Manner(now_us, f"{INVITATION}{number}", Method.CODE.value, locale)
        policy = catalog.policies.get(key)
        if policy is not None:
            release = published.in_force(key, now_us)
            version, ordinal = (release.version, release.ordinal) if release else (None, 0)
        else:
            ordinal = catalog.purposes[key].version
            version = str(ordinal)
        kind = Kind.PURPOSE if policy is None else Kind.POLICY
        said = say(how, kind, key, action, version, ordinal)
        answers.append(replace(said, expires_us=expires_us, extra=extra))
    return answers


def check_reply(catalog: Catalog, items: Sequence[str], reply: Reply) -> None:
    """Raise ChoiceRejected where an item is not answered, or disclosure lacks its own tick."""
    answered = {*reply.yes, *reply.no}
    if answered != set(items) or len(reply.yes) + len(reply.no) != len(items):
        raise ChoiceRejected("every question has to be answered, with yes or no")
    for key in reply.yes:
        if third_parties(catalog, key) and key not in reply.disclosed:
            raise ChoiceRejected(
                f"{key!r} discloses data to third parties: that needs its own tick (16 CFR 312.5(a)(2))"
            )
