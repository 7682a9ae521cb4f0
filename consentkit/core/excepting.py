"""From a lawful exception to evidence: which ground, for which purposes, by whom. It changes no answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from consentkit.core.catalog import Catalog, ExceptionGround, Purpose
from consentkit.core.choices import Manner, say
from consentkit.core.errors import ChoiceRejected
from consentkit.core.record import Answer
from consentkit.core.terms import Action, Kind

_ID = re.compile(r"[A-Za-z0-9._/:-]{1,80}")


def using(
    catalog: Catalog, ground: str, keys: Sequence[str], how: Manner, *, operator: str, reference: str
) -> list[Answer]:
    """The use of a ground: one piece of evidence a purpose. Keys name purposes, never a category.

    `operator` and `reference` are short identifiers, because the ledger holds no names and no free text. Raises
    ChoiceRejected, UnknownPurpose, ValueError.
    """
    how.check()
    found = catalog.exceptions.get(ground)
    if found is None:
        known = (
            f"Known: {', '.join(sorted(catalog.exceptions))}"
            if catalog.exceptions
            else "The catalogue has none"
        )
        raise ChoiceRejected(f"there is no ground {ground!r} for an exception. {known}")
    _check_id("operator", operator, "the staff id of who decided, such as staff-7")
    _check_id("reference", reference, "the number of the case, such as 2026/0815")
    if not keys:
        raise ChoiceRejected("an exception names the purposes that it opens: purposes=['…']")
    purposes = {p.key: p for p in map(catalog.purpose, keys)}
    extra = (("ground", ground), ("operator", operator), ("reference", reference))
    return [replace(_use(found, purpose, how), extra=extra) for purpose in purposes.values()]


def _use(ground: ExceptionGround, purpose: Purpose, how: Manner) -> Answer:
    if ground.purposes and purpose.key not in ground.purposes:
        allowed = ", ".join(ground.purposes)
        raise ChoiceRejected(f"{ground.key!r} does not open {purpose.key!r}, only {allowed}")
    if purpose.scoped and not how.scope:
        raise ChoiceRejected(
            f"{purpose.key!r} is about one thing at a time: add scope=, such as 'comment:42'"
        )
    if how.scope and not purpose.scoped:
        raise ChoiceRejected(f"{purpose.key!r} is not scoped: leave scope= out")
    version = str(purpose.version)
    return say(how, Kind.PURPOSE, purpose.key, Action.EXCEPTION_USED, version, purpose.version)


def _check_id(name: str, value: object, what: str) -> None:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise ChoiceRejected(
            f"{name}= is {what}: at most 80 letters, digits and . _ / : - , no name and no free text"
        )
