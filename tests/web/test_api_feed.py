"""Events by pages, and tenants who see their own only."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from flask import Flask

from consentkit import ConsentKit
from tests.web.api_caller import BASE, Caller, next_link, over_http

NEWS = "/subjects/u-1/consents/newsletter"
SHOWN = {"notice": "0" * 64}


@pytest.fixture
def api(app: Flask, kit: ConsentKit) -> Caller:
    return Caller(app, kit)


@pytest.fixture
def acme(app: Flask, kit: ConsentKit) -> Caller:
    return Caller(app, kit, tenant="acme")


# ---------------------------------------------------------------- pages


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, 8, 500])
def test_pages_leave_nothing_out(api: Caller, limit: int) -> None:
    said = [api.put(NEWS, {"action": a}).json["event"]["event_id"] for a in ("given", "withdrawn") * 3]
    said.append(api.put("/subjects/u-1/policies/terms", {"action": "accepted"}).json["event"]["event_id"])
    found, pages, path = [], 0, f"/events?subject=u-1&limit={limit}"
    while path:
        answer = api.get(path)
        pages += 1
        assert 0 < len(answer.json["events"]) <= limit
        found += [event["event_id"] for event in answer.json["events"]]
        path = next_link(answer.headers.get("Link"))
    assert found == said
    assert pages == -(-len(said) // limit)


def test_filters_hold_on_every_page(api: Caller) -> None:
    for n in range(9):
        api.put(f"/subjects/u-1/consents/{('newsletter', 'ads', 'statistics')[n % 3]}", {"action": "refused"})
    api.put(NEWS, {"action": "given"})
    path, items = "/events?subject=u-1&item=newsletter&action=refused&limit=1", []
    while path:
        answer = api.get(path)
        items += [(e["item"], e["action"]) for e in answer.json["events"]]
        path = next_link(answer.headers.get("Link"))
    assert items == [("newsletter", "refused")] * 3
    assert api.get("/events?subject=u-1&item=unheard-of").json["events"] == []


def test_a_cursor_goes_on_from_the_end(api: Caller) -> None:
    api.put(NEWS, {"action": "given"})
    first = api.get("/events?subject=u-1").json
    assert "Link" not in api.get("/events?subject=u-1").headers
    empty = api.get(f"/events?subject=u-1&after={first['cursor']}").json
    assert empty == {"events": [], "cursor": first["cursor"]}
    api.put(NEWS, {"action": "withdrawn"})
    later = api.get(f"/events?subject=u-1&after={first['cursor']}").json["events"]
    assert [event["action"] for event in later] == ["withdrawn"]


def test_ids_survive_the_link(app: Flask, kit: ConsentKit, api: Caller) -> None:
    subject = 'a/b?&=#"<>; ü%'
    with app.app_context():
        for _ in range(3):
            kit.refuse(subject, "newsletter")
    first = api.get("/events", query_string={"subject": subject, "limit": "1"})
    second = api.get(next_link(first.headers["Link"]))
    assert second.json["events"][0]["event_id"] > first.json["events"][0]["event_id"]


def test_a_cursor_of_the_other_list_is_refused(api: Caller) -> None:
    event = api.put(NEWS, {"action": "given"}).json["event"]["event_id"]
    by_subject = urlsafe_b64encode(event.encode()).decode().rstrip("=")
    assert api.get(f"/events?subject=u-1&after={by_subject}").status_code == 200
    assert api.get(f"/events?after={by_subject}").status_code == 400
    assert api.get("/events?after=MA").status_code == 200
    assert api.get("/events?subject=u-1&after=MA").status_code == 400


def test_the_feed_is_in_the_order_of_the_log(app: Flask, kit: ConsentKit, api: Caller) -> None:
    for n in range(5):
        api.put(f"/subjects/u-{n}/consents/newsletter", {"action": "refused"})
    path, leaves = "/events?limit=2", []
    while path:
        answer = api.get(path)
        assert answer.status_code == 200
        leaves += [event["leaf_index"] for event in answer.json["events"]]
        path = next_link(answer.headers.get("Link"))
    assert leaves == list(range(len(leaves)))
    assert len(leaves) in (0, 5)


def test_pages_over_a_socket(app: Flask, api: Caller, live_server: Callable[[Flask], str]) -> None:
    for _ in range(3):
        api.put("/subjects/a%2Fb/consents/newsletter", {"action": "refused"})
    url, found = live_server(app), []
    path = f"{BASE}/events?subject=a%2Fb&limit=2"
    while path:
        status, headers, body = over_http("GET", url + path, api.key)
        assert status == 200
        assert headers["Content-Type"] == "application/json"
        found += [event["event_id"] for event in body["events"]]
        link: str | None = headers["Link"]
        path = link[1 : link.index(">")] if link else ""
    assert len(found) == 3


@pytest.mark.parametrize(
    "event_id",
    [
        *(
            "x",
            "%00",
            "01a2031d-8937-7000-9c3a-f77ce141a9c0",
            "0" * 36,
            "01a2031d89377000_9c3af77ce141a9c0_abc",
        ),
        *(
            "\u0660" * 36,
            "01A2031D-8937-7000-9C3A-F77CE141A9C0",
            "-1",
            "01a2031d-8937-4000-9c3a-f77ce141a9c0",
        ),
    ],
)
def test_there_is_no_such_event(api: Caller, event_id: str) -> None:
    assert api.get(f"/events/{event_id}").status_code == 404


def test_event_ids_in_capitals_are_the_same(api: Caller) -> None:
    event = api.put(NEWS, {"action": "given"}).json["event"]
    assert api.get(f"/events/{event['event_id'].upper()}").json["body"] == event["body"]


# ---------------------------------------------------------------- tenants


def everything(caller: Caller, subject: str) -> Mapping[str, Any]:
    """All that a key can see of a subject, without what differs by the hour."""
    asked = {"subjects": [subject], "item": "newsletter"}
    caller.get("/events")  # seals what is not sealed yet
    seen = {
        "consents": caller.get(f"/subjects/{subject}/consents").json,
        "decision": caller.get(f"/subjects/{subject}/decisions/newsletter").json,
        "past": caller.get(f"/subjects/{subject}/decisions/newsletter?at=2026-06-01T00:00:00Z").json,
        "batch": caller.call("POST", "/decisions", json=asked).json,
        "export": caller.get(f"/subjects/{subject}/export").json | {"subject": "", "tenant": ""},
        "receipt": [
            (answer["event_id"], answer["status"])
            for answer in caller.get(f"/subjects/{subject}/receipt").json["answers"]
        ],
        "events": caller.get(f"/events?subject={subject}").json,
        "feed": caller.get("/events").json,
    }
    return {name: str(value).replace(subject, "SUBJECT") for name, value in seen.items()}


@pytest.mark.parametrize(("writer", "reader"), [("api", "acme"), ("acme", "api")])
def test_another_tenants_subject_is_nobody(request: pytest.FixtureRequest, writer: str, reader: str) -> None:
    mine, other = (request.getfixturevalue(name) for name in (writer, reader))
    before = everything(other, "u-1")
    event = mine.put(NEWS, {"action": "given", "at": "2026-05-01T00:00:00Z", **SHOWN}).json["event"]
    assert mine.get("/subjects/u-1/decisions/newsletter").json["allowed"] is True
    assert everything(other, "u-1") == before == everything(other, "u-9")
    assert mine.get(f"/events/{event['event_id']}").status_code == 200
    hidden, missing = (other.get(f"/events/{i}") for i in (event["event_id"], event["event_id"][:-1] + "0"))
    assert (hidden.status_code, hidden.json) == (404, missing.json)


@pytest.mark.parametrize(("writer", "other"), [("api", "acme"), ("acme", "api")])
def test_another_tenants_subject_cannot_be_changed(
    request: pytest.FixtureRequest, writer: str, other: str
) -> None:
    mine, stranger = (request.getfixturevalue(name) for name in (writer, other))
    mine.put(NEWS, {"action": "given", **SHOWN})
    before = everything(mine, "u-1")
    assert stranger.call("DELETE", "/subjects/u-1").json["status"] == "unknown"
    stranger.put(NEWS, {"action": "withdrawn"})
    stranger.call("DELETE", "/subjects/u-1")
    assert everything(mine, "u-1") == before
    assert [e["action"] for e in stranger.events("u-1")] == ["withdrawn", "erased"]


def test_two_tenants_use_the_same_idempotency_key(app: Flask, kit: ConsentKit, acme: Caller) -> None:
    other = Caller(app, kit, tenant="zeta")
    header = {"Idempotency-Key": '"k"'}
    one = acme.put(NEWS, {"action": "given", **SHOWN}, headers=header)
    two = other.put(NEWS, {"action": "refused"}, headers=header)
    assert (one.status_code, two.status_code) == (200, 200)
    assert one.json["event"]["event_id"] != two.json["event"]["event_id"]


def test_the_tenant_is_the_keys_and_cannot_be_named(app: Flask, kit: ConsentKit, acme: Caller) -> None:
    event = acme.put(NEWS, {"action": "given", **SHOWN}).json["event"]
    assert '"tenant":"acme"' in event["body"]
    assert acme.get("/events?subject=u-1&tenant=").status_code == 400
    with app.app_context():
        assert kit.of("u-1", tenant="acme").allows("newsletter")
        assert not kit.of("u-1").allows("newsletter")


@pytest.mark.parametrize("path", [NEWS, "/subjects/u-1/policies/terms"])
def test_a_tenant_has_to_attest_what_it_showed(acme: Caller, api: Caller, path: str) -> None:
    grants = ("given", "renewed") if path == NEWS else ("accepted",)
    for action in grants:
        for headers in ({}, {"Idempotency-Key": '"k"'}):
            answer = acme.put(path, {"action": action}, headers=headers)
            assert (answer.status_code, answer.json["type"]) == (422, "urn:consentkit:problem:not-attested")
            assert api.put(path, {"action": action}).status_code == 200
    assert acme.events("u-1") == []
    assert acme.put(path, {"action": "refused" if path == NEWS else "declined"}).status_code == 200
    if path == NEWS:
        assert acme.put(path, {"action": "withdrawn"}).status_code == 200
    else:
        text = acme.get("/policies").json["policies"][0]["versions"][0]["texts"]["en"]
        assert acme.put(path, {"action": "accepted", "notice": text}).status_code == 200
