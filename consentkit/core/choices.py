"""From a verb to answers: which items a key means, and whether they may be answered like that.

A refusal or withdrawal is never rejected, whatever came before. A grant has to fit the catalogue.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from consentkit.core.catalog import Catalog, Purpose
from consentkit.core.errors import ChoiceRejected, SeparateConsentNeeded
from consentkit.core.gate import OBJECTION, RESTRICTION, Row, against
from consentkit.core.record import Answer
from consentkit.core.terms import Action, Basis, Kind, Method
from consentkit.core.times import Duration

_METHODS = frozenset(Method)
_ACTOR = re.compile(r"subject|operator|browser|guardian:[0-9]{1,9}")
_LOCALE = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SCOPE = re.compile(r"[\x21-\x7e]{0,200}")


def is_digest(text: str) -> bool:
    """Whether a text is a SHA-256 digest as we write it."""
    return _DIGEST.fullmatch(text) is not None


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

    @property
    def by_guardian(self) -> bool:
        """Whether a guardian speaks."""
        return self.actor.startswith("guardian:")

    def check(self) -> None:
        """Raise ValueError for a malformed actor, method, locale, notice or scope."""
        if not _ACTOR.fullmatch(self.actor):
            raise ValueError(f"actor {self.actor!r}: write subject, operator, browser or guardian:<number>")
        if self.method not in _METHODS:
            raise ValueError(f"method {self.method!r}: write one of {', '.join(Method)}")
        if self.locale is not None and not _LOCALE.fullmatch(self.locale):
            raise ValueError(f"locale {self.locale!r} is not a BCP 47 tag such as en or zh-Hans")
        if self.notice is not None and not is_digest(self.notice):
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
    if not keys:
        raise ChoiceRejected("nothing is named: give the key of a purpose, a category or a policy")
    purposes = {p.key: p for key in named for p in _denied(catalog, key)}
    answers = [_answer(p, action, how) for p in purposes.values()]
    policies = dict.fromkeys(p.key for key in documents for p in catalog.policies_of(key))
    return answers + [say(how, Kind.POLICY, key, action) for key in policies]


def restricting(how: Manner, action: Action, what: Sequence[str] = (RESTRICTION,)) -> list[Answer]:
    """A restriction, an objection to everything, or their end, about the subject as a whole (GDPR 18, 21)."""
    if how.scope:
        raise ValueError("scope: this is about the person as a whole; name purposes, or leave scope= out")
    return [say(how, Kind.SUBJECT, item, action) for item in what]


def objecting(catalog: Catalog, keys: Sequence[str], how: Manner) -> list[Answer]:
    """Objections to purposes of whatever basis; without keys to everything."""
    if not keys:
        return restricting(how, Action.OBJECTED, (OBJECTION,))
    return [_answer(p, Action.OBJECTED, how) for p in _every_purpose(catalog, keys)]


def lifting(catalog: Catalog, keys: Sequence[str], how: Manner) -> list[Answer]:
    """The end of restriction and objection; with keys, of the objection to these purposes."""
    if not keys:
        return restricting(how, Action.LIFTED, (RESTRICTION, OBJECTION))
    return [_answer(p, Action.LIFTED, how) for p in _every_purpose(catalog, keys)]


def is_objection(catalog: Catalog, row: Row) -> bool:
    """Whether a last answer is one that `lift` ends: for some purposes a refusal is an objection too."""
    purpose = catalog.purposes.get(row.item)
    return row.status in against(purpose.basis if purpose else Basis.CONSENT, bool(purpose and purpose.core))


def _every_purpose(catalog: Catalog, keys: Sequence[str]) -> list[Purpose]:
    found = {p.key: p for key in keys for p in catalog.every_purpose_of(key)}
    if not found:
        raise ChoiceRejected(f"nothing to answer in {', '.join(keys)}: there is no purpose")
    return list(found.values())


def _denied(catalog: Catalog, key: str) -> list[Purpose]:
    """A purpose, whatever its basis; of a category all that rests on consent, apart or not."""
    found = catalog.every_purpose_of(key)
    return [p for p in found if key not in catalog.categories or p.basis is Basis.CONSENT]


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
    return say(how, Kind.PURPOSE, purpose.key, action, str(purpose.version), purpose.version)


def say(
    how: Manner, kind: Kind, item: str, action: Action, version: str | None = None, ordinal: int = 0
) -> Answer:
    """An answer in this manner about one item in one version."""
    said = (how.scope, how.actor, how.method, how.locale, how.notice, how.level)
    return Answer(kind, item, action, version, ordinal, *said)


def _expiry(purpose: Purpose, at_us: int) -> int | None:
    return Duration.parse(purpose.valid_for).after(at_us) if purpose.valid_for else None
