"""Events: a subject's by event id, or all sealed ones of the tenant in leaf order; by an opaque cursor."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from itertools import islice
from typing import Any

from flask import Response, url_for

from consentkit.core.record import Event
from consentkit.core.terms import Action
from consentkit.kit_ledger import event_json
from consentkit.store.reading import Erased
from consentkit.web.api_request import Call, Refused, bad_query, checked_subject, json_answer, query
from consentkit.web.state import BLUEPRINT

LIMIT, LIMIT_MOST = 100, 500
_EVENT_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_LEAF = re.compile(r"[0-9]{1,18}")


def events(call: Call) -> Response:
    """`GET events`: one page, and a `Link` to the next when there is one.

    `cursor` is the place after the page's last event: pass it as `after`, also later, to go on from there.
    """
    asked = query("subject", "item", "action", "after", "limit")
    subject = checked_subject(asked["subject"]) if "subject" in asked else None
    limit, after = _limit(asked.get("limit")), _after(asked.get("after"), subject)
    if "action" in asked and asked["action"] not in list(Action):
        raise bad_query("action", f"Known: {', '.join(Action)}.")
    if "\0" in asked.get("item", ""):
        raise bad_query("item", "It is not the key of an item.")
    found = call.kit.ledger.events(
        subject=subject,
        item=asked.get("item"),
        action=asked.get("action"),
        after=after,
        tenant=call.tenant,
        limit=limit + 1,
    )
    read = list(islice(found, limit + 1))
    page = read[:limit]
    cursor = _cursor(page[-1], subject) if page else asked.get("after")
    response = json_answer({"events": [_shown(event) for event in page], "cursor": cursor})
    if len(read) > limit:
        parameters: dict[str, Any] = {**asked, "after": cursor}
        following = url_for(f"{BLUEPRINT}_api.events", **parameters)
        response.headers["Link"] = f'<{following}>; rel="next"'
    return response


def event(call: Call, event_id: str) -> Response:
    """`GET events/<id>`: one event, with what its deliveries have come to; another tenant's is not found."""
    query()
    found = found_event(call, event_id)
    told = call.kit.deliveries(event_id=found.event_id, tenant=call.tenant)
    return json_answer({**event_json(found), "deliveries": [delivery.json for delivery in told]})


def found_event(call: Call, event_id: str) -> Event:
    """The event of the key's tenant with this id. Raises Refused with 404."""
    known = _EVENT_ID.fullmatch(event_id.lower())
    found = call.kit.ledger.event(event_id.lower(), tenant=call.tenant) if known else None
    if found is None:
        raise Refused(404, "unknown-event", "Not found", "There is no such event.")
    return found


def _shown(event: Event | Erased) -> dict[str, Any]:
    if isinstance(event, Erased):
        return {"leaf_index": event.leaf_index, "erased": True}
    return event_json(event)


def _limit(text: str | None) -> int:
    if text is None:
        return LIMIT
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= LIMIT_MOST:
        raise bad_query("limit", f"It is a number from 1 to {LIMIT_MOST}.")
    return int(text)


def _cursor(last: Event | Erased, subject: str | None) -> str:
    place = last.event_id if subject is not None and isinstance(last, Event) else str(last.leaf_index)
    return urlsafe_b64encode(place.encode()).decode().rstrip("=")


def _after(cursor: str | None, subject: str | None) -> str | int | None:
    """The place that a cursor names: an event id for a subject, else a leaf index."""
    if cursor is None:
        return None
    try:
        place = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)).decode("ascii")
    except ValueError:
        place = ""
    pattern = _LEAF if subject is None else _EVENT_ID
    if not pattern.fullmatch(place):
        raise bad_query("after", "It is not a cursor of this list; leave it out to begin at the first event.")
    return int(place) if subject is None else place
