"""How a guardian's browser is known: a session of half an hour; and how the browser that asked is known."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from urllib.parse import urlsplit

from flask import Flask, Response, after_this_request, has_request_context, request, url_for

from consentkit.config import Settings
from consentkit.core.errors import NotSetUp
from consentkit.core.tokens import SESSION_US
from consentkit.core.verification import LOOPBACK
from consentkit.web.identity import identify
from consentkit.web.state import BLUEPRINT, State, current_state, state_of

COOKIE, ASKED = "consent_guardian", "consent_asked"
ASKED_S = 60 * 24 * 3600


def marks(state: State) -> tuple[str, ...]:
    """What is known of whoever comes: account, visitor, and whether this browser has asked a guardian."""
    identity, asked = identify(state), request.cookies.get(ASKED)
    found = (
        identity.account and f"account:{identity.account}",
        identity.visitor,
        asked and f"browser:{asked}",
    )
    return tuple(mark for mark in found if mark)


def asker() -> tuple[str, ...]:
    """The same of whoever asks for a guardian; the browser is marked, so that it is known when it answers.

    Outside a request nothing is known.
    """
    if not has_request_context():
        return ()
    if not request.cookies.get(ASKED):
        mark = secrets.token_urlsafe(16)
        after_this_request(_marking(mark))
        return (*marks(current_state()), f"browser:{mark}")
    return marks(current_state())


def _marking(mark: str) -> Callable[[Response], Response]:
    def set_mark(response: Response) -> Response:
        response.set_cookie(
            ASKED, mark, max_age=ASKED_S, path="/", secure=request.is_secure, httponly=True, samesite="Lax"
        )
        return response

    return set_mark


def session_text() -> str | None:
    """The session that the browser sent, unread."""
    return request.cookies.get(COOKIE)


def remember(response: Response, text: str) -> Response:
    """Give the browser a session. Lax, because a link in a mail is opened from another site."""
    response.set_cookie(
        COOKIE,
        text,
        max_age=SESSION_US // 1_000_000,
        path=url_for(f"{BLUEPRINT}.guardian"),
        secure=request.is_secure,
        httponly=True,
        samesite="Lax",
    )
    return response


def forget(response: Response) -> Response:
    """End the browser's session."""
    path = url_for(f"{BLUEPRINT}.guardian")
    response.delete_cookie(COOKIE, path=path, secure=request.is_secure, httponly=True)
    return response


def private(response: Response) -> Response:
    """Nobody keeps the page, lists it, frames it, or learns its address."""
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Robots-Tag"] = "noindex, nofollow"
    response.headers["X-Frame-Options"] = "DENY"
    response.vary.add("Cookie")
    return response


def pages_address(app: Flask) -> str:
    """The address of the guardian pages for links in messages. Raises NotSetUp.

    It comes from the settings, never from a Host header: who asks for a link could name a host of his own there and
    be given the token by the guardian. A request to this very machine is trusted, for development.
    """
    settings: Settings = state_of(app).settings
    base = settings.base_url or _loopback()
    if base is None:
        raise NotSetUp(
            "links in messages need the public address of the site: set CONSENTKIT_BASE_URL, such as "
            "'https://shop.example'. What a request says in its Host header is not trusted for that"
        )
    return f"{base.rstrip('/')}{settings.url_prefix}/guardian"


def _loopback() -> str | None:
    if not has_request_context() or urlsplit(request.host_url).hostname not in LOOPBACK:
        return None
    return request.root_url
