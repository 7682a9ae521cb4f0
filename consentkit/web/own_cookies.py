"""The cookies that consentkit itself sets here, for people to read under "necessary".

They stand outside of the notice, whose text is that of the catalogue: a name depends on the request's scheme, and
what is set depends on settings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import NamedTuple

from flask import has_request_context

from consentkit.core.catalog import Catalog
from consentkit.core.texts import texts
from consentkit.core.tokens import SESSION_US
from consentkit.web import age, guardian_session
from consentkit.web.identity import DAY_S, HINT, SEEN, cookie_name, lifetime_s
from consentkit.web.state import State


class OwnCookie(NamedTuple):
    """One of them. `what`: how it is called in the texts; `lasts`: a duration, empty for the browser's session."""

    name: str
    what: str
    lasts: str


def own_cookies(state: State) -> tuple[OwnCookie, ...]:
    """Those of this configuration; what the catalogue declares is listed there."""
    catalog = state.kit.catalog
    declared = [cookie.name for purpose in catalog.purposes.values() for cookie in purpose.cookies]
    return tuple(
        cookie
        for cookie in _set_here(state, catalog)
        if not any(fnmatchcase(cookie.name, pattern) for pattern in declared)
    )


def for_readers(cookies: Iterable[OwnCookie], locale: str) -> list[dict[str, str]]:
    """The same in a language, as the cookies of a purpose are listed."""
    words = texts(locale)
    return [
        {
            "name": cookie.name,
            "description": words[f"cookie.{cookie.what}"],
            "duration": cookie.lasts or words["cookie.session"],
        }
        for cookie in cookies
    ]


def _set_here(state: State, catalog: Catalog) -> Iterator[OwnCookie]:
    lasts = f"P{lifetime_s(state) // DAY_S}D"
    name = cookie_name(state) if has_request_context() else "consent"
    yield OwnCookie(name, "visitor", lasts)
    if catalog.choices or catalog.apart:
        yield OwnCookie(HINT, "hint", lasts)
    if catalog.policies:
        yield OwnCookie(SEEN, "seen", lasts)
    rules = catalog.minors
    if rules is not None and rules.unknown_age == "ask":
        yield OwnCookie(age.COOKIE, "age", "")
    if rules is not None and not rules.turns_away and state.kit.guardian.mailer is not None:
        yield OwnCookie(guardian_session.ASKED, "asked", f"P{guardian_session.ASKED_S // DAY_S}D")
        yield OwnCookie(guardian_session.COOKIE, "guardian", f"PT{SESSION_US // 60_000_000}M")
