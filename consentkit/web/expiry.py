"""Cookies that are not allowed any more are expired, in every form in which a page can have set them.

A browser sends names only, not where a cookie is kept, so each form is deleted: host-only, by domain, and by path.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_address

from flask import Response, current_app, request
from werkzeug.http import dump_cookie

from consentkit.core.catalog import Catalog, Cookie
from consentkit.core.terms import Basis, Reason
from consentkit.web.current import current
from consentkit.web.set_cookie import is_necessary
from consentkit.web.state import State

BYTES_AT_MOST = 3000
"""Of headers in one response: proxies refuse a head of more than 4 KiB or 8 KiB, and the answer would be lost."""


def expire_cookies(state: State, response: Response) -> None:
    """Expire every cookie that is declared for consent alone, and that no purpose allows now.

    What has no room goes with the next answer, status or preference page.
    """
    left = BYTES_AT_MOST
    for line in dict.fromkeys(_lines(state.kit.catalog)):
        left -= len(line) + len("Set-Cookie: \r\n")
        if left < 0:
            return
        response.headers.add("Set-Cookie", line)


def _lines(catalog: Catalog) -> Iterator[str]:
    """One header for each form, those first in which most cookies are set."""
    allowed, names = _allowed(catalog), [*request.cookies, *_unseen(catalog)]
    gone = {name: found for name in names if (found := _forbidden(catalog, name, allowed))}
    if not gone:
        return
    for domain in (None, *_domains()):
        for name, declared in gone.items():
            yield from (_line(name, path, domain) for path in _paths(declared))
    for name, declared in gone.items():
        for cookie in declared:
            if cookie.domain:
                yield from (_line(name, path, cookie.domain) for path in _paths(declared))


def _unseen(catalog: Catalog) -> Iterator[str]:
    """Names of cookies that are kept for another path, so that browsers do not send them here."""
    here = f"{request.script_root}{request.path}/"
    for purpose in catalog.purposes.values():
        for cookie in purpose.cookies:
            sent = here.startswith(cookie.path.rstrip("/") + "/")
            if not sent and not set("*?[") & set(cookie.name):
                yield cookie.name


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
    declared = [(p.key, c) for p in catalog.purposes.values() for c in p.cookies if c.matches(name)]
    return () if any(key in allowed for key, _ in declared) else [cookie for _, cookie in declared]


def _paths(declared: Sequence[Cookie]) -> Sequence[str]:
    return tuple(dict.fromkeys(("/", *(cookie.path for cookie in declared))))


def _line(name: str, path: str, domain: str | None) -> str:
    secure = name.lower().startswith(("__secure-", "__host-"))  # browsers take no other header for these
    return dump_cookie(
        name, max_age=0, path=path, domain=domain, secure=secure, sync_expires=False, max_size=0
    )


def _domains() -> list[str]:
    """The host and its parents down to two labels, the widest first: scripts set cookies on the widest they may."""
    host = request.host.rsplit(":", 1)[0] if not request.host.endswith("]") else request.host
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        labels = host.split(".")
        return [".".join(labels[start:]) for start in range(len(labels) - 2, -1, -1)]
    return []
