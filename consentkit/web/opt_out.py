"""Global Privacy Control on a site: the header is put on record once, and `/.well-known/gpc.json` says so.

`Sec-GPC: 1` comes with every request. It counts for each of them by itself; for an account, or a visitor that the
ledger knows, one event is recorded when it is first seen (11 CCR 7025(c)). It makes nobody known who was not.
"""

from __future__ import annotations

import logging

from flask import Blueprint, Flask, Response, after_this_request, jsonify, request

from consentkit import logs
from consentkit.core.errors import SchemaOutdated, StoreUnavailable
from consentkit.core.terms import Kind
from consentkit.core.times import from_us
from consentkit.store.publishing import published_us
from consentkit.store.reading import SubjectState
from consentkit.web.caching import for_one_person, keep_private
from consentkit.web.current import current, heard_us, signals
from consentkit.web.identity import HINT, forget_hint, identify
from consentkit.web.standing import hint_heard
from consentkit.web.state import BLUEPRINT, SUPPORT, State, current_state, state_of


def install(app: Flask) -> None:
    """Listen to every request but those for static files and the API."""
    if not state_of(app).kit.catalog.signals:
        return

    def come() -> None:
        if _listens():
            heard_us(state_of(app))
            after_this_request(answered)

    def answered(response: Response) -> Response:
        if _hint_is_deaf(response):
            forget_hint(state_of(app), response)
            for_one_person()
            keep_private(response.headers)
        return response

    def gone(_error: BaseException | None) -> None:
        """Only now, so that neither the answer nor its headers depend on who was asking."""
        if _listens():
            _record(state_of(app))

    app.before_request_funcs.setdefault(None, []).insert(0, come)
    app.teardown_request(gone)
    app.register_blueprint(_support())


def _listens() -> bool:
    if not signals():
        return False
    static = (request.endpoint or "static").rpartition(".")[2] == "static"
    elsewhere = static or request.blueprint in (f"{BLUEPRINT}_api", SUPPORT)
    return not elsewhere and request.method != "OPTIONS"


def _hint_is_deaf(response: Response) -> bool:
    """Whether the browser's script goes by a hint that was written before the signal was switched on."""
    written = any(line.startswith(f"{HINT}=") for line in response.headers.getlist("Set-Cookie"))
    return not written and hint_heard() is False


def _record(state: State) -> None:
    """A signal that cannot be recorded disturbs nobody: the header denies by itself, and comes again."""
    try:
        known, identity = current().known, identify(state)
        own = known.subject if identity.account is None else known.visitor
        if identity.account is not None and _is_new(known.subject):
            state.kit.signalled(identity.account, at=from_us(heard_us(state)))
        if identity.visitor is not None and own is not None and own.key is not None and _is_new(own):
            state.kit.signalled(identity.visitor, at=from_us(heard_us(state)))
    except (StoreUnavailable, SchemaOutdated) as error:
        logs.unavailable(error)
    except Exception as error:
        message = "an opt-out signal was not recorded: %(error)s\n%(where)s"
        told = {"error": logs.harmless(error), "where": logs.where(error)}
        logs.log(logging.ERROR, "signal_not_recorded", message, **told)


def _is_new(found: SubjectState) -> bool:
    return found.facts.erased_us is None and not any(row.kind == Kind.SIGNAL for row in found.rows)


def _support() -> Blueprint:
    """`/.well-known/gpc.json` (W3C GPC, 4): a rule with a variable, so that a host's own fixed rule wins."""
    made = Blueprint(SUPPORT, "consentkit")
    made.add_url_rule('/.well-known/<any("gpc.json"):_name>', "gpc", _gpc)
    return made


def _gpc(_name: str) -> Response:
    runtime = current_state().kit.runtime
    runtime.ensure()
    since_us = runtime.database.read(lambda tx: published_us(runtime.catalog, tx)) or runtime.clock.now()
    response = jsonify({"gpc": True, "lastUpdate": from_us(since_us).date().isoformat()})
    response.cache_control.public = True
    response.cache_control.max_age = 3600
    return response
