"""What is known of one subject, what it answers, and its end."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from flask import Response, request
from sqlalchemy import Connection

from consentkit.core.catalog import Purpose
from consentkit.core.errors import (
    ChoiceRejected,
    GateUnavailable,
    NotAttested,
    NoticeOutdated,
    UnknownPolicy,
    UnknownPurpose,
)
from consentkit.core.gate import Decision
from consentkit.core.record import Event
from consentkit.core.terms import GRANTING, Reason, Status
from consentkit.kit import Kit
from consentkit.kit_ledger import event_json
from consentkit.kit_subject import REASON
from consentkit.store.erasing import MODES
from consentkit.store.idempotency import KeyReused, once
from consentkit.store.reading import SubjectState
from consentkit.web import api_schemas as schemas
from consentkit.web.api_request import (
    Call,
    Refused,
    bad_query,
    body,
    decision_json,
    idempotency_key,
    json_answer,
    kind_of,
    no_body,
    query,
)
from consentkit.web.limiting import wait_for

Said = Mapping[str, Any]
_COMPUTED = {Reason.EXPIRED: Status.EXPIRED, Reason.OUTDATED: Status.OUTDATED}


def consents(call: Call, subject: str) -> Response:
    """`GET subjects/<subject>/consents`: every purpose and policy; nobody we know is `unknown` everywhere."""
    query()
    kit = call.kit
    rules = kit.runtime.rules()
    state = kit.runtime.reader.state(call.tenant, subject)
    listed = []
    for purpose in kit.catalog.purposes.values():
        for scope in _scopes(purpose, state):
            decision = kit.answer(
                rules, f"purpose:{purpose.key}", subject, state, tenant=call.tenant, scope=scope
            )
            listed.append(_standing("purpose", purpose.key, scope, decision, state))
    for key in kit.catalog.policies:
        listed.append(
            _standing("policy", key, "", kit.answer(rules, key, subject, state, tenant=call.tenant), state)
        )
    return json_answer({"subject": subject, "consents": listed})


def answer_purpose(call: Call, subject: str, key: str) -> Response:
    """`PUT subjects/<subject>/consents/<purpose>`: records one answer, responds with its event."""
    query()
    said = body(schemas.ConsentSchema)
    purpose = _known(lambda: call.kit.catalog.purpose(key), "unknown-purpose")
    item, kit = f"purpose:{purpose.key}", call.kit

    def record(**how: Any) -> list[Event]:
        if said["action"] == "refused":
            return kit.refuse(subject, item, **how)
        if said["action"] == "withdrawn":
            return kit.withdraw(subject, item, **how)
        return kit.give(subject, item, renew=said["action"] == "renewed", **how)

    return _record(call, subject, said, record)


def answer_policy(call: Call, subject: str, key: str) -> Response:
    """`PUT subjects/<subject>/policies/<policy>`: 409 names the text that has to be shown now."""
    query()
    said = body(schemas.AcceptanceSchema)
    policy = _known(lambda: call.kit.catalog.policy(key), "unknown-policy")
    verb = call.kit.accept if said["action"] == "accepted" else call.kit.decline
    return _record(call, subject, said, lambda **how: verb(subject, policy.key, **how))


def decision(call: Call, subject: str, key: str) -> Response:
    """`GET subjects/<subject>/decisions/<item>`: now, or by `at` at a past moment."""
    asked = query("at", "scope")
    scope, at = asked.get("scope", ""), None
    if not re.fullmatch(schemas.SCOPE, scope):
        raise bad_query("scope", "It has at most 200 printable ASCII characters and no spaces.")
    kit = call.kit
    _known(lambda: kit.catalog.items_of(key), "unknown-item")
    try:
        if "at" in asked:
            at = schemas.moment(re.sub(r" (?=\d\d:\d\d$)", "+", asked["at"]))
        found = kit.decide(subject, _meant(kit, key), at=at, scope=scope, tenant=call.tenant)
    except ValueError as error:
        raise bad_query("at", str(error)) from None
    return json_answer(decision_json(subject, key, found))


def decisions(call: Call) -> Response:
    """`POST decisions`: one item for up to 1000 subjects, in their order."""
    query()
    asked = body(schemas.BatchSchema)
    item, kit = asked["item"], call.kit
    _known(lambda: kit.catalog.items_of(item), "unknown-item")
    found = kit.decide_many(asked["subjects"], _meant(kit, item), tenant=call.tenant, scope=asked["scope"])
    return json_answer(
        {"item": item, "decisions": [decision_json(s, item, found[s]) for s in asked["subjects"]]}
    )


def _meant(kit: Kit, key: str) -> str:
    """In the API a key that a purpose and a category share means the purpose, as in events."""
    return f"purpose:{key}" if key in kit.catalog.purposes else key


def export(call: Call, subject: str) -> Response:
    """`GET subjects/<subject>/export`: everything that the ledger holds about a subject (GDPR 15, 20)."""
    query()
    return json_answer(call.kit.export(subject, tenant=call.tenant))


def receipt(call: Call, subject: str) -> Response:
    """`GET subjects/<subject>/receipt`: the last answers, with event ids and notices."""
    query()
    return json_answer(call.kit.receipt(subject, tenant=call.tenant))


def deliveries(call: Call, subject: str) -> Response:
    """`GET subjects/<subject>/deliveries`: to whom answers were delivered by webhook, and where they are pending."""
    query()
    told = call.kit.deliveries(subject=subject, tenant=call.tenant)
    return json_answer({"subject": subject, "deliveries": [delivery.json for delivery in told]})


def erase(call: Call, subject: str) -> Response:
    """`DELETE subjects/<subject>`: erasure (GDPR 17). Nobody we know: nothing is recorded."""
    no_body()
    asked, kit = query("reason", "mode"), call.kit
    reason, mode = asked.get("reason", "art17"), asked.get("mode", "unlink")
    if not REASON.fullmatch(reason):
        raise bad_query("reason", "It is one short lower-case word such as art17: it stays in the ledger.")
    if mode not in MODES:
        raise bad_query("mode", f"Known: {', '.join(MODES)}.")
    kit.runtime.ensure()
    known = kit.runtime.reader.state(call.tenant, subject).key is not None
    events = kit.erase(subject, reason=reason, mode=mode, tenant=call.tenant) if known else []
    status = "erased" if known else "unknown"
    return json_answer(
        {"subject": subject, "status": status, "event": event_json(events[0]) if events else None}
    )


def _record(call: Call, subject: str, said: Said, verb: Callable[..., list[Event]]) -> Response:
    """One answer by one verb; with an idempotency key at most once a day."""
    how: dict[str, Any] = {name: value for name, value in said.items() if name != "action"}
    how["tenant"] = call.tenant
    key = idempotency_key()
    pause = wait_for(call.state, subject, yes=said["action"] in GRANTING)
    if pause is not None:
        detail = "Too many answers came at once: nothing was recorded. Try again later."
        raise Refused(
            *(429, "too-many-requests", "Too many requests", detail), headers={"Retry-After": str(pause)}
        )
    try:
        if call.tenant and said["action"] in GRANTING and "notice" not in said:
            raise NotAttested("notice: send the SHA-256 digest of what you showed to the person")
        events = (
            verb(**how)
            if key is None
            else _once(call, subject, said, key, lambda c: verb(connection=c, **how))
        )
    except NoticeOutdated as error:
        raise Refused(409, kind_of(error), "Notice outdated", str(error), current=error.current) from None
    except ChoiceRejected as error:
        raise Refused(422, kind_of(error), "Choice rejected", str(error)) from None
    except ValueError as error:
        raise Refused(422, "invalid-body", "Invalid body", str(error)) from None
    except KeyReused:
        detail = "This Idempotency-Key was used for another request in the last 24 hours."
        raise Refused(422, "idempotency-key-reused", "Idempotency key reused", detail) from None
    return json_answer({"subject": subject, "event": event_json(events[0])})


def _once(
    call: Call, subject: str, said: Said, key: str, verb: Callable[[Connection], list[Event]]
) -> list[Event]:
    """The events of the verb, or those of the same request before. The signal is sent after commit."""
    asked = [request.path, subject, {**said, "at": str(said.get("at"))}]
    recorded: list[Event] = []

    def work(connection: Connection) -> list[str]:
        recorded[:] = verb(connection)
        return [event.event_id for event in recorded]

    before = once(call.kit.runtime, (call.tenant, key), json.dumps(asked, sort_keys=True), work)
    if before is None:
        call.state.kit._recorded(subject, call.tenant, recorded)
        return recorded
    found = [event for i in before if (event := call.kit.ledger.event(i, tenant=call.tenant)) is not None]
    if not found:
        raise Refused(
            410, "event-erased", "Gone", "This request was handled, and its event was erased since."
        )
    return found


def _known(find: Callable[[], Any], kind: str) -> Any:
    """What the catalogue has under a key. Raises Refused with 422."""
    try:
        return find()
    except (UnknownPurpose, UnknownPolicy) as error:
        title = kind.replace("-", " ").capitalize()
        raise Refused(422, kind, title, str(error)) from None


def _scopes(purpose: Purpose, state: SubjectState) -> list[str]:
    """The one general question, or each thing for which a scoped purpose was answered."""
    found = {row.scope for row in state.rows if row.kind == "purpose" and row.item == purpose.key}
    return sorted(found | {""}) if purpose.scoped else [""]


def _standing(kind: str, item: str, scope: str, found: Decision, state: SubjectState) -> dict[str, Any]:
    """The person's own last answer, and whether processing may happen now."""
    if found.reason is Reason.STORE_UNAVAILABLE:
        raise GateUnavailable(found)
    rows = [
        r
        for r in state.rows
        if (r.kind, r.item, r.actor) == (kind, item, "subject") and r.scope in ("", scope)
    ]
    own = max(rows, key=lambda row: row.order, default=None)
    status = Status.UNKNOWN if own is None else Status(own.status)
    shown = decision_json("", item, found)
    del shown["subject"], shown["decided_by"]
    return {"kind": kind, "scope": scope, "status": str(_COMPUTED.get(found.reason, status)), **shown}
