"""One request to the API: its key, its kit, its body, its query, and how it can be refused."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote_to_bytes

from flask import Response, jsonify, request
from marshmallow import Schema, ValidationError

from consentkit.core.errors import ConsentKitError, GateUnavailable
from consentkit.core.gate import Decision
from consentkit.core.minors import Age
from consentkit.core.terms import Reason
from consentkit.core.times import rfc3339, to_us
from consentkit.kit import Kit
from consentkit.store.api_keys import ApiKey, authenticate
from consentkit.web import api_schemas as schemas
from consentkit.web.problems import problem
from consentkit.web.state import State

BODY_LIMIT = 64 * 1024
KEY_HEADER = "Idempotency-Key"
_SF_STRING = re.compile(r' *"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\]){1,255})" *')


class Refused(Exception):
    """A request that is answered with a problem. Nothing was recorded."""

    def __init__(
        self,
        status: int,
        kind: str,
        title: str,
        detail: str,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.status, self.kind, self.title, self.detail = status, kind, title, detail
        self.headers, self.more = headers or {}, more

    def response(self) -> Response:
        """The problem."""
        made = problem(self.status, self.kind, self.title, self.detail, **self.more)
        made.headers.update(self.headers)
        return made


@dataclass(frozen=True, slots=True)
class Call:
    """A request with a good key. `kit` answers for the key's tenant only when `tenant` is passed on."""

    state: State
    kit: Kit
    key: ApiKey

    @property
    def tenant(self) -> str:
        """Whose subjects are meant."""
        return self.key.tenant


class _RemoteKit(Kit):
    """The app's kit for a request that comes from a machine: it says nothing about where the person is.

    The host's age loader knows the host's own accounts only, so it is not asked about a tenant's.
    """

    def __init__(self, host: Kit, tenant: str) -> None:
        self._host = host
        age = _no_age if tenant and host.facts.age is not None else host.facts.age
        super().__init__(host.runtime, replace(host.facts, age=age, in_request=lambda: False))
        self.guardian = replace(host.guardian, asker=tuple)

    @property
    def sender(self) -> Kit:
        """Signals come from the app's kit."""
        return self._host

    def _recorded(self, *said: Any, **more: Any) -> None:
        self._host._recorded(*said, **more)

    def _tell_to_delete(self, *said: Any) -> None:
        self._host._tell_to_delete(*said)


def _no_age(_subject: str) -> Age | None:
    return None


def call(state: State, scope: str) -> Call:
    """The request's key, checked. Raises Refused with 401 or 403, StoreUnavailable."""
    presented = request.authorization
    token = presented.token if presented is not None and presented.type == "bearer" else None
    if token is None:
        raise Refused(
            *(401, "key-missing", "Unauthorized", "Send an API key: Authorization: Bearer ck_…"),
            headers={"WWW-Authenticate": 'Bearer realm="consentkit"'},
        )
    key = authenticate(state.kit.runtime, token)
    if key is None:
        raise Refused(
            *(401, "key-invalid", "Unauthorized", "This API key is not known, or it was revoked."),
            headers={"WWW-Authenticate": 'Bearer realm="consentkit", error="invalid_token"'},
        )
    if not key.may(scope):
        challenge = f'Bearer realm="consentkit", error="insufficient_scope", scope="{scope}"'
        raise Refused(
            *(403, "scope-missing", "Forbidden", f"This API key lacks the scope {scope!r}."),
            headers={"WWW-Authenticate": challenge},
            scope=scope,
        )
    return Call(state, _RemoteKit(state.kit, key.tenant), key)


def body(schema: type[Schema]) -> dict[str, Any]:
    """The fields of the JSON body. Raises Refused with 400, 413, 415 or 422."""
    data = _read()
    if not request.is_json:
        detail = "Send a JSON object with Content-Type: application/json."
        raise Refused(415, "not-json", "Unsupported media type", detail)
    try:
        value = json.loads(data.decode(), object_pairs_hook=_object, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        detail = f"The body is not JSON (RFC 8259): {error}"
        raise Refused(400, "malformed-json", "Malformed JSON", detail) from None
    try:
        return schemas.load(schema, value)
    except ValidationError as error:
        errors = schemas.pointers(error.messages)
        detail = "; ".join(f"{e['pointer']}: {e['detail']}" for e in errors[:5])
        raise Refused(422, "invalid-body", "Invalid body", detail, errors=errors[:100]) from None


def no_body() -> None:
    """Raise Refused with 413 for a body that is not asked for and is huge."""
    if (request.content_length or 0) > BODY_LIMIT:
        _too_large()


def _read() -> bytes:
    if (request.content_length or 0) > BODY_LIMIT:
        _too_large()
    known = request.content_length is not None
    data = request.get_data() if known else request.stream.read(BODY_LIMIT + 1)
    if len(data) > BODY_LIMIT:
        _too_large()
    return data


def _too_large() -> None:
    detail = f"At most {BODY_LIMIT // 1024} KiB are taken."
    raise Refused(413, "body-too-large", "Content too large", detail)


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in an object")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def query(*names: str) -> dict[str, str]:
    """The query's parameters, each at most once. Raises Refused with 400 for another name."""
    found = {}
    try:
        unquote_to_bytes(request.query_string).decode()
    except UnicodeDecodeError:
        raise Refused(400, "bad-query", "Bad query parameter", "The query is not UTF-8.") from None
    for name, values in request.args.lists():
        if name not in names:
            allowed = f"Known: {', '.join(names)}." if names else "This resource takes none."
            raise bad_query(name, f"There is no such parameter. {allowed}")
        if len(values) > 1:
            raise bad_query(name, "It stands twice.")
        found[name] = values[0]
    return found


def bad_query(name: str, detail: str) -> Refused:
    """A query parameter that cannot be understood."""
    shown = name[:100]
    return Refused(400, "bad-query", "Bad query parameter", f"{shown}: {detail}", parameter=shown)


def checked_subject(text: str, status: int = 400) -> str:
    """A subject's id from path or query. Raises Refused."""
    try:
        schemas.check_id(text)
    except ValueError as error:
        raise Refused(status, "bad-subject", "Bad subject", f"subject: {error}.") from None
    return text


def idempotency_key() -> str | None:
    """The key by which a repeated request is known: a structured-field string. Raises Refused with 400."""
    header = request.headers.get(KEY_HEADER)
    if header is None:
        return None
    found = _SF_STRING.fullmatch(header)
    if found is None:
        detail = f'{KEY_HEADER} is a quoted string of 1 to 255 characters, such as "8e03978e-40d5".'
        raise Refused(400, "bad-idempotency-key", "Bad idempotency key", detail)
    return re.sub(r"\\(.)", r"\1", found[1])


def json_answer(value: object) -> Response:
    """200 with JSON."""
    return jsonify(value)


def decision_json(subject: str, item: str, decision: Decision) -> dict[str, Any]:
    """A decision about an item as it was asked. Raises StoreUnavailable: what was not read is no answer."""
    if decision.reason is Reason.STORE_UNAVAILABLE:
        raise GateUnavailable(decision)
    return {
        "subject": subject,
        "item": item,
        "decided_by": decision.item,
        "allowed": decision.allowed,
        "reason": decision.reason.value,
        "version": decision.version,
        "event_id": decision.event_id,
        "expires": None if decision.expires is None else rfc3339(to_us(decision.expires)),
        "needs": list(decision.needs),
        "rule": decision.rule,
    }


def kind_of(error: ConsentKitError) -> str:
    """The last part of a problem's type: `NoticeOutdated` is `notice-outdated`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", type(error).__name__).lower()
