"""Accepting and declining policies: which version is meant, and by which act it may be accepted.

The highest class of change between the version accepted last and this one counts, across any number of versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from consentkit.core.catalog import EXPRESS_METHODS, Catalog, Policy
from consentkit.core.choices import Manner, say
from consentkit.core.errors import ChoiceRejected, NoticeOutdated
from consentkit.core.published import PolicyRelease, Published
from consentkit.core.record import Answer
from consentkit.core.terms import Action, Change, Kind, Method
from consentkit.core.times import rfc3339


@dataclass(frozen=True, slots=True)
class Past:
    """What a subject accepted last (ordinal by policy), and when a version was shown (by policy and version)."""

    accepted: Mapping[str, int] = field(default_factory=dict)
    notified_us: Mapping[tuple[str, str], int] = field(default_factory=dict)


def accepting(catalog: Catalog, published: Published, key: str, how: Manner, past: Past) -> list[Answer]:
    """One acceptance per policy of a policy or bundle, all or none. Raises ChoiceRejected, NoticeOutdated."""
    if how.actor != "subject" and not how.actor.startswith("guardian:"):
        raise ChoiceRejected(f"the {how.actor} cannot accept for a person")
    policies = catalog.policies_of(key)
    if how.notice is not None and len(policies) > 1:
        raise ChoiceRejected(
            "a bundle's policies have a text each: leave notice= out, or accept them one by one"
        )
    return [_acceptance(catalog, published, policy, how, past) for policy in policies]


def declining(catalog: Catalog, published: Published, key: str, how: Manner) -> list[Answer]:
    """A refusal of each policy of a policy or bundle: an answer like any other."""
    answers = []
    for policy in catalog.policies_of(key):
        release = published.in_force(policy.key, how.at_us)
        version, ordinal = (release.version, release.ordinal) if release else (None, 0)
        answers.append(say(how, Kind.POLICY, policy.key, Action.DECLINED, version, ordinal))
    return answers


def methods(published: Published, release: PolicyRelease, past: Past) -> tuple[str, ...]:
    """By which acts a subject may accept this version.

    One that lists nothing but continued use may be accepted expressly too: who was not told in time has to
    be able to answer.
    """
    accepted = past.accepted.get(release.policy)
    others = tuple(m for m in release.acceptance if m != Method.CONTINUED_USE) or EXPRESS_METHODS
    if accepted is None:
        return others
    strictest = published.strictest(release.policy, accepted, release.ordinal)
    if strictest is not Change.REDUCES_RIGHTS:
        return tuple(dict.fromkeys((*release.acceptance, *others)))
    return tuple(m for m in release.acceptance if m in EXPRESS_METHODS) or EXPRESS_METHODS


def continues(published: Published, policy: str, past: Past, now_us: int) -> PolicyRelease | None:
    """The version in force, when going on using the service means acceptance of it; else None.

    It was shown to this subject before its date, the service is used after it, and the version lists this method.
    """
    release = published.in_force(policy, now_us)
    if release is None or past.accepted.get(policy, release.ordinal) >= release.ordinal:
        return None
    shown_us = past.notified_us.get((policy, release.version))
    in_time = shown_us is not None and shown_us < release.effective_us <= now_us
    return release if in_time and Method.CONTINUED_USE in methods(published, release, past) else None


def _acceptance(catalog: Catalog, published: Published, policy: Policy, how: Manner, past: Past) -> Answer:
    release = published.in_force(policy.key, how.at_us)
    if release is None:
        raise ChoiceRejected(f"policy {policy.key!r} has no published version: run `flask consent publish`")
    asked = how.locale or ""
    locale = asked if asked in release.texts else catalog.site.default_locale
    current = release.texts[locale]
    if how.notice is not None:
        release = _release_shown(published, release, how.notice, current)
    _check_method(published, release, how, past)
    shown = replace(how, locale=locale, notice=how.notice or current)
    return say(shown, Kind.POLICY, policy.key, Action.ACCEPTED, release.version, release.ordinal)


def _check_method(published: Published, release: PolicyRelease, how: Manner, past: Past) -> None:
    allowed = methods(published, release, past)
    if how.method not in allowed:
        raise ChoiceRejected(
            f"version {release.version!r} of {release.policy!r} is accepted by {', '.join(allowed)}, "
            f"not by {how.method}"
        )
    if how.method == Method.CONTINUED_USE and continues(published, release.policy, past, how.at_us) is None:
        raise ChoiceRejected(
            f"using the service means acceptance of {release.policy!r} only where version {release.version!r} was "
            f"shown to the subject before it came into force ({rfc3339(release.effective_us)}), and afterwards"
        )


def _release_shown(published: Published, current: PolicyRelease, notice: str, digest: str) -> PolicyRelease:
    """The version in force or a later one that has this text. Raises NoticeOutdated."""
    for release in published.policies[current.policy]:
        if release.ordinal >= current.ordinal and notice in release.texts.values():
            return release
    raise NoticeOutdated(
        f"policy {current.policy!r} has another text now; show it and ask again", current=digest
    )
