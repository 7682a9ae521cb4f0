"""Cookies that are not allowed any more are expired, in every form in which a page can have set them.

A browser sends names only, not where a cookie is kept, so each form is deleted: host-only, by domain, and by path.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from ipaddress import ip_address

from flask import Response, current_app, request
from werkzeug.http import dump_cookie

from consentkit.core.catalog import Catalog, Cookie
from consentkit.core.terms import Basis, Reason
from consentkit.web.context import environ
from consentkit.web.current import current
from consentkit.web.set_cookie import is_necessary, readable
from consentkit.web.state import State

BYTES_AT_MOST = 3000
"""Of headers in one response: proxies refuse a head of more than 4 KiB or 8 KiB, and the answer would be lost."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def expire_cookies(state: State, response: Response) -> None:
    """Expire every cookie that is declared for consent alone, and that no purpose allows now.

    What has no room goes with the next answer, status or preference page.
    """
    left = BYTES_AT_MOST
    for lines in _forms(state.kit.catalog):
        while (size := sum(map(_size, lines))) > BYTES_AT_MOST:
            lines.pop()  # the likeliest come first
        if size <= left:
            response.headers.extend(("Set-Cookie", line) for line in lines)
            left -= size


def _size(line: str) -> int:
    return len(line) + len("Set-Cookie: \r\n")


def _forms(catalog: Catalog) -> Iterator[list[str]]:
    """For each name the headers that delete every form of it.

    In no order: one that a browser does not delete, a partitioned one say, may not stand before the others each time.
    """
    allowed, names = _allowed(catalog), dict.fromkeys((*_sent(), *_unseen(catalog)))
    gone = {name: found for name in names if (found := _forbidden(catalog, name, allowed))}
    for name in random.sample(list(gone), len(gone)):
        own = [cookie.domain for cookie in gone[name] if cookie.domain]
        paths = _paths(gone[name])
        lines = (_line(name, path, domain) for domain in (None, *_domains(), *own) for path in paths)
        yield list(dict.fromkeys(lines))


def _sent() -> Iterator[str]:
    """Names as the browser wrote them, byte for byte: what a parser makes of one is another cookie's name."""
    for pair in environ().get("HTTP_COOKIE", "").split(";"):
        name, equals, _ = pair.partition("=")
        if equals and (name := name.strip(" \t")) and not _CONTROL.search(name):
            yield name


def _unseen(catalog: Catalog) -> Iterator[str]:
    """Names of cookies that are kept for another path, so that browsers do not send them here."""
    here = f"{request.script_root}{request.path}/"
    for purpose in catalog.purposes.values():
        for cookie in purpose.cookies:
            sent = here.startswith(cookie.path.rstrip("/") + "/")
            if not sent and not set("*?") & set(cookie.name):
                yield cookie.name.encode().decode("latin-1")


def _allowed(catalog: Catalog) -> set[str]:
    """Purposes with cookies that are not denied for want of consent. Where the ledger fails nothing is expired."""
    found = set()
    for purpose in catalog.purposes.values():
        if purpose.cookies:
            decision = current().look(f"purpose:{purpose.key}")
            unasked = purpose.basis is not Basis.CONSENT or decision.reason is Reason.STORE_UNAVAILABLE
            if decision.allowed or unasked:
                found.add(purpose.key)
    return found


def _forbidden(catalog: Catalog, name: str, allowed: set[str]) -> Sequence[Cookie]:
    """The declarations of a cookie that no purpose allows; none for another cookie."""
    if is_necessary(current_app, name):
        return ()
    declared = [(p.key, c) for p in catalog.purposes.values() for c in p.cookies if c.matches(readable(name))]
    return () if any(key in allowed for key, _ in declared) else [cookie for _, cookie in declared]


def _paths(declared: Sequence[Cookie]) -> Sequence[str]:
    return tuple(dict.fromkeys(("/", *(cookie.path for cookie in declared))))


def _line(name: str, path: str, domain: str | None) -> str:
    secure = name.lower().startswith(("__secure-", "__host-"))  # browsers take no other header for these
    line = dump_cookie("", max_age=0, path=path, domain=domain, secure=secure, sync_expires=False, max_size=0)
    return name + line


def _domains() -> list[str]:
    """The host and its parents down to two labels, the widest first: scripts set cookies on the widest they may."""
    host = request.host.rsplit(":", 1)[0] if not request.host.endswith("]") else request.host
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        root = "." if host.endswith(".") else ""  # to browsers another host, with cookies of its own
        labels = host.removesuffix(".").split(".")
        return [".".join(labels[start:]) + root for start in range(len(labels) - 2, -1, -1)]
    return []
