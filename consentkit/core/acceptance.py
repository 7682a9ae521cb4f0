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
    """What a subject accepted last (ordinal by policy), and when a version was shown (by policy and version).

    `denied`: policies whose last answer is a no. What was accepted before it still says which changes count.
    """

    accepted: Mapping[str, int] = field(default_factory=dict)
    notified_us: Mapping[tuple[str, str], int] = field(default_factory=dict)
    denied: frozenset[str] = frozenset()


def accepting(catalog: Catalog, published: Published, key: str, how: Manner, past: Past) -> list[Answer]:
    """One acceptance per policy of a policy or bundle, all or none. Raises ChoiceRejected, NoticeOutdated."""
    if how.actor != "subject" and not how.actor.startswith("guardian:"):
        raise ChoiceRejected(f"the {how.actor} cannot accept for a person")
    policies = catalog.policies_of(key)
    for policy in policies:
        if policy.kind == "announcement":
            raise ChoiceRejected(f"{policy.key!r} is an announcement: it is acknowledged, not accepted")
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

    Every version since the one accepted last has to allow the act too, but for editorial ones. Where no
    express act is left, tick and button are: who was not told in time has to be able to answer.
    """
    accepted = past.accepted.get(release.policy)
    since = () if accepted is None else published.news(release.policy, accepted, release.ordinal)
    allowed = [m for m in release.acceptance if all(m in one.acceptance for one in since)]
    if any(one.change is Change.REDUCES_RIGHTS for one in since):
        allowed = [m for m in allowed if m in EXPRESS_METHODS]
    others = tuple(m for m in allowed if m != Method.CONTINUED_USE) or EXPRESS_METHODS
    if accepted is None or release.policy in past.denied:
        return others
    return tuple(dict.fromkeys((*allowed, *others)))


def continues(published: Published, policy: str, past: Past, now_us: int) -> PolicyRelease | None:
    """The version in force, when going on using the service means acceptance of it; else None.

    Each change since the version accepted last was shown to this subject before its date, and its version
    lists this method; the service is used after it. An editorial version alone asks for nothing.
    """
    release = continuable(published, policy, past, now_us)
    since = published.news(policy, past.accepted[policy], release.ordinal) if release is not None else ()
    shown = [(past.notified_us.get((policy, one.version)), one.effective_us) for one in since]
    return release if all(at is not None and at < start for at, start in shown) else None


def continuable(published: Published, policy: str, past: Past, now_us: int) -> PolicyRelease | None:
    """The same before anybody looked up what was shown to the subject."""
    release = published.in_force(policy, now_us)
    if release is None or release.effective_us > now_us or policy not in past.accepted:
        return None
    changed = published.news(policy, past.accepted[policy], release.ordinal)
    return release if changed and Method.CONTINUED_USE in methods(published, release, past) else None


def _acceptance(catalog: Catalog, published: Published, policy: Policy, how: Manner, past: Past) -> Answer:
    release = published.in_force(policy.key, how.at_us)
    if release is None:
        raise ChoiceRejected(f"policy {policy.key!r} has no published version: run `flask consent publish`")
    if how.notice is not None:
        release = _release_shown(catalog, published, release, how)
    _check_method(published, release, how, past)
    locale = text_locale(catalog, release, how)
    shown = replace(how, locale=locale, notice=release.texts[locale])
    return say(shown, Kind.POLICY, policy.key, Action.ACCEPTED, release.version, release.ordinal)


def text_locale(catalog: Catalog, release: PolicyRelease, how: Manner) -> str:
    """The language of the text that is meant: that of the digest, else the one asked for, else the default."""
    asked = how.locale if how.locale and how.locale in release.texts else catalog.site.default_locale
    if how.notice is None or release.texts[asked] == how.notice:
        return asked
    return next(locale for locale, digest in release.texts.items() if digest == how.notice)


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


def _release_shown(
    catalog: Catalog, published: Published, current: PolicyRelease, how: Manner
) -> PolicyRelease:
    """The version in force or a later one that has this text. Raises NoticeOutdated."""
    for release in published.policies[current.policy]:
        if release.ordinal >= current.ordinal and how.notice in release.texts.values():
            return release
    digest = current.texts[text_locale(catalog, current, replace(how, notice=None))]
    raise NoticeOutdated(
        f"policy {current.policy!r} has another text now; show it and ask again", current=digest
    )
