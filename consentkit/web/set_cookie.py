"""`Set-Cookie` headers, read as browsers do (RFC 6265, 5.2 and 5.3), and the names that are necessary by themselves."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from flask import Flask
from werkzeug.http import parse_date

from consentkit.web import age
from consentkit.web.guardian_session import ASKED
from consentkit.web.guardian_session import COOKIE as GUARDIAN
from consentkit.web.identity import HINT, SEEN

OURS = frozenset({"consent", "__Host-consent", "__Secure-consent", HINT, SEEN, ASKED, GUARDIAN, age.COOKIE})
_SECONDS = re.compile(r"-?\d+", re.ASCII)
_WHITESPACE = " \t"


@dataclass(frozen=True, slots=True)
class SetCookie:
    """Where a cookie will be kept. `domain` and `path` are empty where the header names none."""

    name: str
    domain: str
    path: str
    deletes: bool


def parse(header: str) -> SetCookie:
    """Name, place, and whether it deletes. Of an attribute that stands twice the last one counts."""
    domain = path = ""
    lives: bool | None = None
    expires: datetime | None = None
    for attribute in header.split(";")[1:]:
        key, _, value = (part.strip(_WHITESPACE) for part in attribute.partition("="))
        match key.lower():
            case "domain":
                domain = value.removeprefix(".").lower()
            case "path":
                path = value if value.startswith("/") else ""
            case "max-age" if _SECONDS.fullmatch(value):
                lives = not value.startswith("-") and value.strip("0") != ""
            case "expires":
                expires = parse_date(value) or expires
    if lives is None:  # Max-Age has the last word
        lives = expires is None or expires > datetime.now(UTC)
    return SetCookie(name_of(header), domain, path, not lives)


def name_of(header: str) -> str:
    """The name; empty where there is none."""
    name, equals, _ = header.partition(";")[0].partition("=")
    return name.strip(_WHITESPACE) if equals else ""


def is_necessary(app: Flask, name: str) -> bool:
    """Session, remember-me and our own cookies: without them nothing would remember a no either."""
    if name in OURS or name == app.config.get("SESSION_COOKIE_NAME"):
        return True
    remembers = getattr(app, "login_manager", None) is not None  # Flask-Login
    return remembers and name == app.config.get("REMEMBER_COOKIE_NAME", "remember_token")
