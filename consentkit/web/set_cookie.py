"""`Set-Cookie` headers, read as browsers do (RFC 6265, 5.2 and 5.3), and the names that are necessary by themselves."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from flask import Flask

from consentkit.web import age
from consentkit.web.guardian_session import ASKED
from consentkit.web.guardian_session import COOKIE as GUARDIAN
from consentkit.web.identity import HINT, SEEN

OURS = frozenset({"consent", "__Host-consent", "__Secure-consent", HINT, SEEN, ASKED, GUARDIAN, age.COOKIE})
_SECONDS = re.compile(r"-?\d+", re.ASCII)
_WHITESPACE = " \t"
_DELIMITERS = re.compile(r"[\x09\x20-\x2f\x3b-\x40\x5b-\x60\x7b-\x7e]+")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_PARTS = {
    "time": re.compile(r"(\d{1,2}):(\d{1,2}):(\d{1,2})(?!\d)", re.ASCII),
    "day": re.compile(r"(\d{1,2})(?!\d)", re.ASCII),
    "month": re.compile(f"({'|'.join(_MONTHS)})", re.IGNORECASE),
    "year": re.compile(r"(\d{2,4})(?!\d)", re.ASCII),
}
"""In the order in which a browser looks for them, each once."""


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
                expires = date_of(value) or expires
    if lives is None:  # Max-Age has the last word
        lives = expires is None or expires > datetime.now(UTC)
    return SetCookie(name_of(header), domain, path, not lives)


def name_of(header: str) -> str:
    """The name; empty where there is none."""
    name, equals, _ = header.partition(";")[0].partition("=")
    return name.strip(_WHITESPACE) if equals else ""


def readable(name: str) -> str:
    """As a catalogue writes it: WSGI gives each byte of a header as one character (PEP 3333)."""
    try:
        return name.encode("latin-1").decode()
    except ValueError:
        return name


def date_of(value: str) -> datetime | None:
    """A date as browsers read it (RFC 6265, 5.1.1), which is not how mail does: the year 69 is to come."""
    found: dict[str, tuple[int, ...]] = {}
    for token in _DELIMITERS.split(value):
        for part, pattern in _PARTS.items():
            if part not in found and (match := pattern.match(token)):
                if part == "month":
                    found[part] = (_MONTHS.index(match[1].lower()) + 1,)
                else:
                    found[part] = tuple(map(int, match.groups()))
                break
    try:
        (year,), (month,), (day,) = found["year"], found["month"], found["day"]
        hour, minute, second = found["time"]
        year += 1900 if 70 <= year <= 99 else 2000 if year < 70 else 0
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC) if year > 1600 else None
    except (KeyError, ValueError):
        return None


def is_necessary(app: Flask, name: str) -> bool:
    """Session, remember-me and our own cookies: without them nothing would remember a no either."""
    if name in OURS or name == app.config.get("SESSION_COOKIE_NAME"):
        return True
    remembers = getattr(app, "login_manager", None) is not None  # Flask-Login
    return remembers and name == app.config.get("REMEMBER_COOKIE_NAME", "remember_token")
