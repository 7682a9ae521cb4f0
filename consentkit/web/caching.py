"""Responses that were made for one person do not belong in shared caches (RFC 9111, 7.3).

What a page asks is noted beside its request, and said in the headers as they leave: an `after_request` function of
the host would otherwise have the last word, and a template that is streamed asks when the headers have left.
"""

from __future__ import annotations

from collections.abc import Iterable

from flask import Response, after_this_request
from werkzeug.datastructures import Headers
from werkzeug.http import dump_header, parse_dict_header, parse_list_header

from consentkit.web.context import environ

REPLY = "consentkit.reply"
"""Where a request has its own, in its WSGI environment."""
_ELSEWHERE = frozenset({"surrogate-control", "edge-control", "x-accel-expires"})
"""What content networks and proxies read instead of `Cache-Control`, besides the headers of RFC 9213."""


class Reply:
    """What one response owes to caches. `gone`: its headers have left. Made for each request: without an `__init__`."""

    vary: tuple[str, ...] = ()
    private: bool = False
    stored: bool = True
    gone: bool = False
    hooked: bool = False


def say(reply: Reply, headers: Headers) -> None:
    """Write what was noted into the headers."""
    add_vary(headers, reply.vary)
    if reply.private:
        keep_private(headers)
    if not reply.stored:
        headers["Cache-Control"] = "no-store"


def vary_by(header: str) -> None:
    """The answer depends on this header of the request."""
    reply = _reply()
    if reply is not None and header not in reply.vary:
        reply.vary += (header,)


def for_one_person() -> bool:
    """The answer is made for whoever asks, whatever the host says. False: it is too late to say so."""
    reply = _reply()
    if reply is None:
        return True
    in_time = reply.private or not reply.gone
    reply.private = in_time
    return in_time


def not_stored() -> bool:
    """No cache may keep the answer. False: it is too late to say so."""
    reply = _reply()
    if reply is None:
        return True
    in_time = not reply.stored or not reply.gone
    reply.stored = not in_time
    return in_time


def keep_private(headers: Headers) -> None:
    """Say so: `Vary: Cookie`, `Cache-Control: private`, and nothing that a content network reads instead of it."""
    add_vary(headers, ("Cookie",))
    line = ", ".join(headers.getlist("Cache-Control"))
    said = {name.lower(): value for name, value in parse_dict_header(line).items()}
    shared = said.keys() & {"public", "s-maxage"}
    if "no-store" not in said and (shared or said.get("private", "") is not None):
        kept = {name: value for name, value in said.items() if name not in shared}
        headers["Cache-Control"] = dump_header({**kept, "private": None})
    for name in {name.lower() for name in headers.keys()}:  # noqa: SIM118
        if name in _ELSEWHERE or name.endswith("cdn-cache-control"):
            del headers[name]


def add_vary(headers: Headers, names: Iterable[str]) -> None:
    """Add what is not named yet."""
    said = parse_list_header(", ".join(headers.getlist("Vary")))
    known = {name.lower() for name in said}
    missing = [name for name in names if not known & {name.lower(), "*"}]
    if missing:
        headers["Vary"] = ", ".join([*said, *missing])


def _reply() -> Reply | None:
    """Of this request; None where no response is made. What caches inside of the app see is said to them, too."""
    reply: Reply | None = environ().get(REPLY)
    if reply is not None and not reply.hooked:
        reply.hooked = True
        after_this_request(_said)
    return reply


def _said(response: Response) -> Response:
    reply: Reply | None = environ().get(REPLY)
    if reply is not None:
        say(reply, response.headers)
    return response
