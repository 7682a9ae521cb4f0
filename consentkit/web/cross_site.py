"""Requests that change something come from our own pages. Headers decide, so cached pages need no token."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, quote, urlsplit

from flask import request

_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")


def same_origin() -> bool:
    """Sec-Fetch-Site `same-origin` or `none` passes. Without it Origin must be this host and port.

    With neither header only a request without any cookie passes: it can act for nobody.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("Origin")
    if origin is not None:
        return _parts(origin).netloc == request.host
    return not request.cookies


def safe_next(target: str | None) -> str | None:
    """A path on this site, or None: one leading slash, nowhere two together, no backslash, no control character.

    The query may hold anything that can be sent.
    """
    if not target or not target.startswith("/") or _UNSAFE.search(target):
        return None
    return None if "//" in re.split("[?#]", target, maxsplit=1)[0] else target


def here() -> str:
    """The path of this request on this site, below the prefix where the app is mounted."""
    return quote(f"{request.script_root}{request.path}")


def home() -> str:
    """The path of the app's start page, for who comes from nowhere."""
    return f"{quote(request.script_root)}/"


def came_from() -> str | None:
    """The path of the page of ours that sent the form, from a same-host Referer."""
    parts = _parts(request.referrer or "")
    if parts.netloc != request.host:
        return None
    return safe_next(parts.path + (f"?{parts.query}" if parts.query else ""))


def _parts(url: str) -> SplitResult:
    """Of an address; of what is none, nothing."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")
