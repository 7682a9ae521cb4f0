"""Reading a `Set-Cookie` header as browsers do (RFC 6265, 5.2 and 5.3)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from werkzeug.http import parse_date

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
