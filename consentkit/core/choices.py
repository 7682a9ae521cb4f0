"""From a verb to answers: which items a key means, and whether they may be answered like that.

A refusal or withdrawal is never rejected, whatever came before. A grant has to fit the catalogue.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from consentkit.core.catalog import Catalog, Policy, Purpose
from consentkit.core.errors import ChoiceRejected, NoticeOutdated, SeparateConsentNeeded
from consentkit.core.gate import OBJECTION, RESTRICTION
from consentkit.core.published import PolicyRelease, Published
from consentkit.core.record import Answer
from consentkit.core.terms import Action, Basis, Kind, Method
from consentkit.core.times import Duration

_ACTOR = re.compile(r"subject|operator|browser|guardian:[0-9]+")
_LOCALE = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SCOPE = re.compile(r"[\x21-\x7e]{0,200}")


@dataclass(frozen=True, slots=True)
class Manner:
    """How something is said. `at_us` is when it takes effect; `notice` the digest of what was shown."""

    at_us: int
    actor: str = "subject"
    method: str = Method.CODE.value
    locale: str | None = None
    notice: str | None = None
    scope: str = ""
    level: int = 0

    def check(self) -> None:
        """Raise ValueError for a malformed actor, method, locale, notice or scope."""
        if not _ACTOR.fullmatch(self.actor):
            raise ValueError(f"actor {self.actor!r}: write subject, operator, browser or guardian:<number>")
        if self.method not in list(Method):
            raise ValueError(f"method {self.method!r}: write one of {', '.join(Method)}")
        if self.locale is not None and not _LOCALE.fullmatch(self.locale):
            raise ValueError(f"locale {self.locale!r} is not a BCP 47 tag such as en or zh-Hans")
        if self.notice is not None and not _DIGEST.fullmatch(self.notice):
            raise ValueError("notice: give the SHA-256 digest of what was shown, 64 lower-case hex digits")
        if not _SCOPE.fullmatch(self.scope):
            raise ValueError(
                "scope: at most 200 printable ASCII characters without spaces, such as comment:42"
            )


def giving(catalog: Catalog, keys: Sequence[str], how: Manner, *, renew: bool = False) -> list[Answer]:
    """Grants for purposes and categories. Raises ChoiceRejected, SeparateConsentNeeded, UnknownPurpose."""
    purposes = _purposes(catalog, keys)
    if how.actor in ("operator", "browser"):
        raise ChoiceRejected(
            f"the {how.actor} cannot consent for a person; record what the person said, method='paper'"
        )
    if how.method == Method.CONTINUED_USE:
        raise ChoiceRejected("going on using a service is not consent to a purpose (GDPR 4(11))")
    apart = [p.key for p in purposes if p.separate]
    if apart and len(purposes) > 1 and how.method != Method.IMPORT:
        raise SeparateConsentNeeded(f"{apart[0]!r} needs consent of its own: give it in a call of its own")
    for purpose in purposes:
        _check_givable(purpose, how)
    action = Action.RENEWED if renew else Action.GIVEN
    return [replace(_answer(p, action, how), expires_us=_expiry(p, how.at_us)) for p in purposes]


def denying(catalog: Catalog, keys: Sequence[str], how: Manner, action: Action) -> list[Answer]:
    """Refusals, withdrawals and objections; `withdrawn` is said by the person, `revoked` by somebody else."""
    if action is Action.WITHDRAWN and how.actor != "subject":
        action = Action.REVOKED
    documents = [key for key in keys if key in catalog.policies or key in catalog.bundles]
    named = [key for key in keys if key not in documents]
    answers = [_answer(p, action, how) for p in _purposes(catalog, named)] if named else []
    policies = dict.fromkeys(p.key for key in documents for p in catalog.policies_of(key))
    return answers + [_say(how, Kind.POLICY, key, action) for key in policies]


def accepting(catalog: Catalog, published: Published, key: str, how: Manner) -> list[Answer]:
    """One acceptance per policy of a policy or bundle, all or none. Raises ChoiceRejected, NoticeOutdated."""
    if how.actor != "subject" and not how.actor.startswith("guardian:"):
        raise ChoiceRejected(f"the {how.actor} cannot accept for a person")
    policies = catalog.policies_of(key)
    if how.notice is not None and len(policies) > 1:
        raise ChoiceRejected(
            "a bundle's policies have a text each: leave notice= out, or accept them one by one"
        )
    return [_acceptance(catalog, published, policy, how) for policy in policies]


def declining(catalog: Catalog, published: Published, key: str, how: Manner) -> list[Answer]:
    """A refusal of each policy of a policy or bundle: an answer like any other."""
    answers = []
    for policy in catalog.policies_of(key):
        release = published.in_force(policy.key, how.at_us)
        version, ordinal = (release.version, release.ordinal) if release else (None, 0)
        answers.append(_say(how, Kind.POLICY, policy.key, Action.DECLINED, version, ordinal))
    return answers


def restricting(how: Manner, action: Action, what: Sequence[str] = (RESTRICTION,)) -> list[Answer]:
    """A restriction, an objection to everything, or their end, about the subject as a whole (GDPR 18, 21)."""
    return [_say(how, Kind.SUBJECT, item, action) for item in what]


def lifting(catalog: Catalog, keys: Sequence[str], how: Manner) -> list[Answer]:
    """The end of restriction and objection; with keys, of the objection to these purposes."""
    if not keys:
        return restricting(how, Action.LIFTED, (RESTRICTION, OBJECTION))
    return [_answer(p, Action.LIFTED, how) for p in _purposes(catalog, keys)]


def _purposes(catalog: Catalog, keys: Sequence[str]) -> list[Purpose]:
    found = {p.key: p for key in keys for p in catalog.purposes_of(key)}
    if not found:
        raise ChoiceRejected(
            f"nothing to answer in {', '.join(keys) or 'an empty list'}: no purpose rests on consent there"
        )
    return list(found.values())


def _check_givable(purpose: Purpose, how: Manner) -> None:
    if purpose.basis is not Basis.CONSENT and not purpose.core:
        raise ChoiceRejected(
            f"{purpose.key!r} rests on {purpose.basis.value}, not on consent: there is nothing to give"
        )
    if purpose.scoped and not how.scope:
        raise ChoiceRejected(
            f"{purpose.key!r} is given for one thing at a time: add scope=, such as 'comment:42'"
        )
    if how.scope and not purpose.scoped:
        raise ChoiceRejected(
            f"{purpose.key!r} is not scoped: leave scope= out, or write scoped = true in the catalogue"
        )


def _answer(purpose: Purpose, action: Action, how: Manner) -> Answer:
    return _say(how, Kind.PURPOSE, purpose.key, action, str(purpose.version), purpose.version)


def _say(
    how: Manner, kind: Kind, item: str, action: Action, version: str | None = None, ordinal: int = 0
) -> Answer:
    said = (how.scope, how.actor, how.method, how.locale, how.notice, how.level)
    return Answer(kind, item, action, version, ordinal, *said)


def _expiry(purpose: Purpose, at_us: int) -> int | None:
    return Duration.parse(purpose.valid_for).after(at_us) if purpose.valid_for else None


def _acceptance(catalog: Catalog, published: Published, policy: Policy, how: Manner) -> Answer:
    release = published.in_force(policy.key, how.at_us)
    if release is None:
        raise ChoiceRejected(f"policy {policy.key!r} has no published version: run `flask consent publish`")
    asked = how.locale or ""
    locale = asked if asked in release.texts else catalog.site.default_locale
    current = release.texts[locale]
    if how.notice is not None:
        release = _release_shown(published, release, how.notice, current)
    if how.method not in release.acceptance:
        raise ChoiceRejected(
            f"policy {policy.key!r} is accepted by {', '.join(release.acceptance)}, not by {how.method}"
        )
    shown = replace(how, locale=locale, notice=how.notice or current)
    return _say(shown, Kind.POLICY, policy.key, Action.ACCEPTED, release.version, release.ordinal)


def _release_shown(published: Published, current: PolicyRelease, notice: str, digest: str) -> PolicyRelease:
    """The version in force or a later one that has this text. Raises NoticeOutdated."""
    for release in published.policies[current.policy]:
        if release.ordinal >= current.ordinal and notice in release.texts.values():
            return release
    raise NoticeOutdated(
        f"policy {current.policy!r} has another text now; show it and ask again", current=digest
    )
