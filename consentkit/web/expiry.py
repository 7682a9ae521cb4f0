"""Withdrawal takes the cookies along: host-only and domain forms of every declared one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from flask import Response, request

from consentkit.web.state import State


def expire_cookies(state: State, response: Response, purposes: Iterable[str]) -> None:
    """Expire the cookies of these purposes that the browser sent, in every form a page can have set."""
    declared = [cookie for key in purposes for cookie in state.kit.catalog.purposes[key].cookies]
    for name in request.cookies:
        for cookie in declared:
            if cookie.matches(name):
                for domain in (None, *_domains(), *([cookie.domain] if cookie.domain else [])):
                    response.delete_cookie(name, path=cookie.path, domain=domain)


def _domains() -> Iterator[str]:
    """The host and its parents down to two labels: scripts set their cookies on the widest they may."""
    host = request.host.rsplit(":", 1)[0] if not request.host.endswith("]") else request.host
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        labels = host.split(".")
        for start in range(len(labels) - 1):
            yield ".".join(labels[start:])
