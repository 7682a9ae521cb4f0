"""The last look at a response: a cookie that its visitor has not allowed does not leave, whoever set it.

A WSGI wrapper, because Flask saves its session after all `after_request` functions. Of cookies only `Set-Cookie`
headers are looked at, and the ledger is read only where one of them is declared.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flask import Flask, current_app, has_request_context, request
from werkzeug.datastructures import Headers

from consentkit import logs
from consentkit.core.catalog import Catalog, Cookie
from consentkit.core.gate import Decision
from consentkit.kit_gated import blocked
from consentkit.web.caching import REPLY, Reply, keep_private, say
from consentkit.web.current import current
from consentkit.web.set_cookie import SetCookie, is_necessary, name_of, parse, readable
from consentkit.web.state import state_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_MEMOS = ("consentkit.identity", "consentkit.state")
_NAMES_AT_MOST = 100

HeaderList = list[tuple[str, str]]


def install(app: Flask, mode: str) -> None:
    """Put the guard around the app as it is now; `mode`: see `CONSENTKIT_COOKIE_GUARD`."""
    app.wsgi_app = CookieGuard(app, mode)  # type: ignore[method-assign]


class CookieGuard:
    """Drops declared cookies that the gate denies; reports undeclared ones, or drops them too (`strict`).

    Whatever the mode, it says to caches what the page is.
    """

    def __init__(self, app: Flask, mode: str) -> None:
        self._app, self._inner, self._off, self._strict = app, app.wsgi_app, mode == "off", mode == "strict"
        self._told: set[str] = set()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve a request (PEP 3333)."""
        reply = environ[REPLY] = Reply()

        def start(status: str, headers: HeaderList, *exc_info: Any) -> Any:
            for name, _ in () if self._off else headers:
                if name.lower() == "set-cookie":
                    headers = self._kept(environ, headers)
                    break
            if reply.hooked:
                headers = _told(reply, headers)
            reply.gone = True
            return start_response(status, headers, *exc_info)

        inner: WSGIApplication = self._inner
        return inner(environ, start)

    def _kept(self, environ: WSGIEnvironment, headers: HeaderList) -> HeaderList:
        """The headers that leave. A crash costs the cookies and never the response."""
        try:
            return self._decided(environ, headers)
        except Exception as error:
            _failed(error)
            return [
                h for h in headers if h[0].lower() != "set-cookie" or is_necessary(self._app, name_of(h[1]))
            ]

    def _decided(self, environ: WSGIEnvironment, headers: HeaderList) -> HeaderList:
        catalog = state_of(self._app).kit.catalog
        wanted: dict[str, tuple[str, ...]] = {}  # by header value: the purposes, one of which has to allow it
        dropped: set[str] = set()
        for name, value in headers:
            if name.lower() != "set-cookie":
                continue
            if is_necessary(self._app, name_of(value)) or (cookie := parse(value)).deletes:
                continue
            if purposes := purposes_of(catalog, cookie, _host(environ)):
                wanted[value] = purposes
            else:
                self._tell(cookie.name)
                dropped |= {value} if self._strict else set()
        if wanted:
            dropped |= self._denied(environ, wanted)
            headers = _for_one_person(headers)
        return [h for h in headers if h[0].lower() != "set-cookie" or h[1] not in dropped]

    def _denied(self, environ: WSGIEnvironment, wanted: Mapping[str, tuple[str, ...]]) -> set[str]:
        """The headers none of whose purposes is allowed. What cannot be asked is denied."""
        try:
            with self._context(environ):
                consents, said = current(), dict[str, Decision]()
                for key in dict.fromkeys(key for keys in wanted.values() for key in keys):
                    said[key] = consents.decide(f"purpose:{key}")
                dropped = {value for value, keys in wanted.items() if not any(said[key] for key in keys)}
                for key in dict.fromkeys(
                    key for value in wanted if value in dropped for key in wanted[value]
                ):
                    blocked(consents.state.kit, said[key], consents.subject)
                return dropped
        except Exception as error:
            _failed(error)
            return set(wanted)

    @contextmanager
    def _context(self, environ: WSGIEnvironment) -> Iterator[None]:
        """The request's own context; a new one where it has ended already, or belongs to another app.

        The new one is taken down as every request is, so that what a loader opened is closed.
        """
        app = self._app
        if has_request_context() and request.environ is environ and current_app == app:
            yield
            return
        own = {key: value for key, value in environ.items() if key not in _MEMOS}
        with app.app_context(), app.request_context(own):
            yield

    def _tell(self, name: str) -> None:
        """One line for each name in the life of the process; names only, never values."""
        if name in self._told or len(self._told) > _NAMES_AT_MOST:
            return
        self._told.add(name)
        if len(self._told) > _NAMES_AT_MOST:
            message = "more than %(limit)s undeclared cookies: further ones are not named"
            logs.log(logging.WARNING, "undeclared_cookies", message, limit=_NAMES_AT_MOST)
            return
        what = "was dropped" if self._strict else "was sent"
        logs.log(
            logging.WARNING,
            "undeclared_cookie",
            f"cookie %(cookie)s {what} and no purpose declares it: add it to cookies of the purpose that sets it",
            cookie=ascii(name)[:120],
        )


def purposes_of(catalog: Catalog, cookie: SetCookie, host: str) -> tuple[str, ...]:
    """The purposes that declare a cookie.

    Where several declarations have its name, those that fit its domain and path too; a cookie whose name alone
    fits is declared all the same.
    """
    name = readable(cookie.name)
    named = [(p.key, c) for p in catalog.purposes.values() for c in p.cookies if c.matches(name)]
    fitting = [(key, c) for key, c in named if _fits(c, cookie, host)]
    return tuple(dict.fromkeys(key for key, _ in fitting or named))


def _fits(declared: Cookie, cookie: SetCookie, host: str) -> bool:
    domain = declared.domain.lstrip(".").lower()
    if domain and domain != (cookie.domain or host):
        return False
    return declared.path == "/" or declared.path == cookie.path


def _host(environ: WSGIEnvironment) -> str:
    return urlsplit(f"//{environ.get('HTTP_HOST') or environ.get('SERVER_NAME', '')}").hostname or ""


def _for_one_person(headers: HeaderList) -> HeaderList:
    """What was decided for one visitor is not for the next."""
    found = Headers(headers)
    keep_private(found)
    return list(found)


def _told(reply: Reply, headers: HeaderList) -> HeaderList:
    found = Headers(headers)
    say(reply, found)
    return list(found)


def _failed(error: Exception) -> None:
    message = "the cookie guard failed, so cookies were dropped: %(error)s\n%(where)s"
    logs.log(
        logging.ERROR, "cookie_guard_failed", message, error=logs.harmless(error), where=logs.where(error)
    )
