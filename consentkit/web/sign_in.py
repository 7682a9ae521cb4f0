"""Sign-in and sign-out: what the browser remembers of one person must not speak for another.

A host signs people in by changing the session, so a response that changes it is the moment to look.
"""

from __future__ import annotations

import hashlib

from flask import Flask, Response, current_app, request, session
from flask.globals import request_ctx

from consentkit.core.errors import SchemaOutdated, StoreUnavailable
from consentkit.logs import unavailable as log_unavailable
from consentkit.web import age
from consentkit.web.identity import HINT, SEEN, forget_visitor, hint, identify, leave_visitor, settle
from consentkit.web.standing import hint_value, standing
from consentkit.web.state import State, state_of

MARK = "_consent"


def install(app: Flask) -> None:
    """Look at every response that changes the session."""

    state = state_of(app)

    def look(response: Response) -> Response:
        if state.loaders.subject is not None and _session_changed():
            _compare(state, response)
        return response

    app.after_request(look)


def _session_changed() -> bool:
    """Whether this request changed the session.

    The `session` proxy would mark it as accessed and so add `Vary: Cookie` to every page of the host.
    """
    context = request_ctx._get_current_object()  # type: ignore[attr-defined]
    opened = context._session if hasattr(context, "_session") else context.session
    return bool(getattr(opened, "modified", False))


def _compare(state: State, response: Response) -> None:
    account = identify(state).account
    mark = hashlib.sha256(account.encode()).hexdigest()[:16] if account is not None else None
    before = _mark_before()
    if mark is None:
        session.pop(MARK, None)
    elif session.get(MARK) != mark:
        session[MARK] = mark
    if mark != before:
        if before is not None:
            _forget_browser(state, response)
        else:
            _carry_age(state)
        if mark is not None:
            _replace_hint(state, response)
    settle(state, response)


def _carry_age(state: State) -> None:
    """What was said on the age page before signing in. Where it cannot be written the account is asked."""
    try:
        age.carry(state)
    except (StoreUnavailable, SchemaOutdated) as error:
        log_unavailable(error)


def _mark_before() -> str | None:
    """Who was signed in when the request came. A host may have emptied the session since: `session.clear()`."""
    found = current_app.session_interface.open_session(current_app, request)
    mark = found.get(MARK) if found is not None else None
    return mark if isinstance(mark, str) else None


def _replace_hint(state: State, response: Response) -> None:
    """The account's own standing. Where it cannot be read nothing is decided."""
    response.delete_cookie(SEEN, path="/", domain=state.settings.cookie_domain, secure=request.is_secure)
    try:
        hint(state, response, hint_value(state, standing(state)))
    except (StoreUnavailable, SchemaOutdated):
        response.delete_cookie(HINT, path="/", domain=state.settings.cookie_domain)


def _forget_browser(state: State, response: Response) -> None:
    """After sign-out somebody else may sit there: a new visitor, who was not asked yet."""
    forget_visitor(state, response)
    leave_visitor()
    for cookie in (HINT, SEEN):
        response.delete_cookie(
            cookie, path="/", domain=state.settings.cookie_domain, secure=request.is_secure
        )
