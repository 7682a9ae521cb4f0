"""The ledger API under `/consent/v1`: which resource answers which method, with which scope of the key."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from flask import Blueprint, Response, make_response, request
from werkzeug.exceptions import HTTPException, default_exceptions
from werkzeug.routing import BaseConverter

from consentkit import logs
from consentkit.core.errors import ConsentKitError, GateUnavailable, SchemaOutdated, StoreUnavailable
from consentkit.core.terms import Reason
from consentkit.web import api_catalog, api_facts, api_feed, api_guardians, api_log, api_subjects
from consentkit.web.api_request import Refused, call, checked_subject
from consentkit.web.problems import problem
from consentkit.web.state import BLUEPRINT, current_state


class Operation(NamedTuple):
    """What a method does, and the scope that the key needs for it; None: everybody may."""

    scope: str | None
    run: Callable[..., Response]


class Anything(BaseConverter):
    """The rest of a path, whatever is in it: `path` takes no line feed and no leading slash."""

    part_isolating = False
    regex = r"[\s\S]+"


Resource = Mapping[str, Operation]

RESOURCES: Mapping[str, Resource] = {
    "/openapi.json": {"GET": Operation(None, api_catalog.openapi)},
    "/catalog": {"GET": Operation("read", api_catalog.catalog)},
    "/policies": {"GET": Operation("read", api_catalog.policies)},
    "/stats": {"GET": Operation("read", api_catalog.stats)},
    "/documents/<digest>": {"GET": Operation("read", api_catalog.document)},
    "/events": {"GET": Operation("read", api_feed.events)},
    "/events/<event_id>": {"GET": Operation("read", api_feed.event)},
    "/events/<event_id>/proof": {"GET": Operation("read", api_log.proof)},
    "/checkpoint": {"GET": Operation("read", api_log.checkpoint)},
    "/log-key": {"GET": Operation("read", api_log.log_key)},
    "/tile/<level>/<consentkit_anything:tile>": {"GET": Operation("read", api_log.tile)},
    "/decisions": {"POST": Operation("read", api_subjects.decisions)},
    "/invitations": {"POST": Operation("write", api_guardians.invitations)},
}

SUBJECT: Resource = {"DELETE": Operation("erase", api_subjects.erase)}
OF_SUBJECT: Mapping[str, Resource] = {
    "consents": {"GET": Operation("read", api_subjects.consents)},
    "export": {"GET": Operation("read", api_subjects.export)},
    "receipt": {"GET": Operation("read", api_subjects.receipt)},
    "facts": {"PUT": Operation("write", api_facts.facts)},
    "deliveries": {"GET": Operation("read", api_subjects.deliveries)},
}
OF_SUBJECT_ITEM: Mapping[str, Resource] = {
    "consents": {"PUT": Operation("write", api_subjects.answer_purpose)},
    "policies": {"PUT": Operation("write", api_subjects.answer_policy)},
    "decisions": {"GET": Operation("read", api_subjects.decision)},
}

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
"""All come to us, so that a wrong one is answered in our own form and the host's 405 stays the host's."""


def api_blueprint(url_prefix: str) -> Blueprint:
    """A blueprint for one app. It answers everything below its prefix, also what it does not have."""
    made = Blueprint(f"{BLUEPRINT}_api", "consentkit", url_prefix=f"{url_prefix}/v1")
    made.record(lambda setup: setup.app.url_map.converters.update(consentkit_anything=Anything))
    for rule, resource in RESOURCES.items():
        name = re.sub(r"s?/<[^>]*>", "", rule).strip("/").removesuffix(".json")  # events/<event_id>: event
        _add(made, rule, name.replace("/", "_"), _view(resource))
    _add(made, "/subjects/<consentkit_anything:rest>", "subject", _subject)
    _add(made, "", "root", _nothing)
    _add(made, "/", "root", _nothing)
    _add(made, "/<consentkit_anything:rest>", "nothing", _nothing)
    made.register_error_handler(Refused, _on_refused)
    for error in (StoreUnavailable, SchemaOutdated):
        made.register_error_handler(error, _on_unavailable)
    made.register_error_handler(ConsentKitError, _on_failure)
    for code in default_exceptions:
        made.register_error_handler(code, _on_http)
    made.after_request(_private)
    return made


def _add(blueprint: Blueprint, rule: str, endpoint: str, view: Callable[..., Response]) -> None:
    blueprint.add_url_rule(rule, endpoint, view, methods=METHODS, provide_automatic_options=False)


def _view(resource: Resource) -> Callable[..., Response]:
    def view(**named: str) -> Response:
        return _answer(resource, named)

    return view


def _answer(resource: Resource, named: Mapping[str, str]) -> Response:
    """The operation's answer, once the method fits and the key is good."""
    allowed = sorted({*resource, "OPTIONS", *(["HEAD"] if "GET" in resource else [])})
    headers = {"Allow": ", ".join(allowed)}
    if request.method == "OPTIONS":
        return make_response("", 204, headers)
    operation = resource.get("GET" if request.method == "HEAD" else request.method)
    if operation is None:
        detail = f"This resource answers {headers['Allow']}."
        raise Refused(405, "method-not-allowed", "Method not allowed", detail, headers=headers)
    if operation.scope is None:
        return operation.run(**named)
    return operation.run(call(current_state(), operation.scope), **named)


def _subject(rest: str) -> Response:
    """A subject's resource. Ids may hold anything, so the parts come from the address as it was sent."""
    parts = _parts(rest)
    match parts if all(parts) else ():
        case [subject]:
            return _answer(SUBJECT, {"subject": checked_subject(subject)})
        case [subject, what] if what in OF_SUBJECT:
            return _answer(OF_SUBJECT[what], {"subject": checked_subject(subject)})
        case [subject, what, key] if what in OF_SUBJECT_ITEM:
            return _answer(OF_SUBJECT_ITEM[what], {"subject": checked_subject(subject), "key": key})
    return _nothing(rest)


def _parts(rest: str) -> list[str]:
    """The parts of the path, decoded one by one: a slash inside an id was sent as %2F.

    WSGI hands the path over decoded; nearly all servers give the address as it was sent beside it. Where
    one does not, the known words at the end tell the parts apart.
    """
    sent = str(request.environ.get("RAW_URI") or request.environ.get("REQUEST_URI") or "")
    segments = sent.partition("?")[0].encode("latin-1", "replace").split(b"/")
    for start in range(len(segments)):
        if unquote_to_bytes(b"/".join(segments[start:])).decode(errors="replace") == rest:
            return [_decoded(unquote_to_bytes(part)) for part in segments[start:]]
    _decoded(request.environ["PATH_INFO"].encode("latin-1"))
    words = rest.split("/")
    if len(words) > 2 and words[-2] in OF_SUBJECT_ITEM:
        return ["/".join(words[:-2]), *words[-2:]]
    return ["/".join(words[:-1]), words[-1]] if len(words) > 1 and words[-1] in OF_SUBJECT else [rest]


def _decoded(part: bytes) -> str:
    try:
        return part.decode()
    except UnicodeDecodeError:
        raise Refused(400, "bad-subject", "Bad subject", "The address is not UTF-8.") from None


def _nothing(rest: str = "") -> Response:
    detail = "The API has no such resource; openapi.json lists them. A slash inside an id is written %2F."
    raise Refused(404, "not-found", "Not found", detail)


def _on_refused(error: Refused) -> Response:
    return error.response()


def _on_unavailable(error: Exception) -> Response:
    """503, whatever the question was: what was not read is no answer."""
    if not isinstance(error, GateUnavailable):  # it was logged where the gate failed
        logs.unavailable(error)
    detail = "The consent ledger cannot be used, so nothing was recorded or allowed. Try again later."
    reason = Reason.STORE_UNAVAILABLE.value
    made = problem(503, "store-unavailable", "Service unavailable", detail, reason=reason)
    made.headers["Retry-After"] = "30"
    return made


def _on_failure(error: ConsentKitError) -> Response:
    """A broken ledger or installation: for the operator's log, not for the caller."""
    message = "the consent ledger does not work: %(error)s\n%(where)s"
    logs.log(logging.ERROR, "ledger_failure", message, error=logs.harmless(error), where=logs.where(error))
    detail = "The consent ledger does not work; its operator has to look into the log."
    return problem(500, "ledger-failure", "Internal server error", detail)


def _on_http(error: HTTPException) -> Response:
    """What Flask itself refuses, such as a body over MAX_CONTENT_LENGTH."""
    code = error.code or 500
    made = problem(code, error.name.lower().replace(" ", "-"), error.name, error.description or error.name)
    for name, value in error.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            made.headers[name] = value
    return made


def _private(response: Response) -> Response:
    """Nothing of it is for caches, and nothing of it is a page."""
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
