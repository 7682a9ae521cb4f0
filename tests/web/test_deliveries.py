"""Who was told, in the API and on the receipt: delivered to one at t, pending at another since t."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from receiving import LOOPBACK, Receiver, receiving, status

from consentkit import ConsentKit, Party
from tests.web.api_caller import Caller
from tests.web.conftest import PURPOSES, make_kit

HTML = {"Accept": "text/html"}


@pytest.fixture
def mailer() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def crm() -> Iterator[Receiver]:
    with receiving() as receiver:
        receiver.answering = status(503)
        yield receiver


@pytest.fixture
def kit(mailer: Receiver, crm: Receiver) -> ConsentKit:
    """The mailer answers, the crm is down."""
    facts = {"recipients": ["mailer", "crm"], "locations": ["EU", "US"]}
    told = [replace(p, **facts) if p.key == "newsletter" else p for p in PURPOSES]  # type: ignore[arg-type]
    mail = Party("mailer", name="Mailer <1>", country="DE", webhook=mailer.url)
    parties = [mail, Party("crm", name="crm", webhook=crm.url)]
    return make_kit(purposes=told, parties=parties)


@pytest.fixture
def app(kit: ConsentKit, app_of: Callable[..., Flask], mailer: Receiver, crm: Receiver) -> Flask:
    return app_of(
        kit,
        CONSENTKIT_WEBHOOK_SECRETS={"mailer": mailer.secret, "crm": crm.secret},
        CONSENTKIT_WEBHOOK_NETWORKS=LOOPBACK,
    )


def told(deliveries: list[dict[str, Any]]) -> dict[str, tuple[str, bool]]:
    return {d["recipient"]: (d["status"], d["delivered_at"] is not None) for d in deliveries}


def test_by_event_and_by_subject(app: Flask, kit: ConsentKit) -> None:
    caller = Caller(app, kit)
    event = caller.put("/subjects/u-1/consents/newsletter", {"action": "given"}).json["event"]
    assert "deliveries" not in event
    path = f"/events/{event['event_id']}"
    assert told(caller.get(path).json["deliveries"]) == {
        "mailer": ("pending", False),
        "crm": ("pending", False),
    }
    kit.deliver()
    found = caller.get(path).json
    assert told(found["deliveries"]) == {"mailer": ("delivered", True), "crm": ("pending", False)}
    assert {d["since"] for d in found["deliveries"]} == {event["recorded_at"]}
    caller.put("/subjects/u-1/consents/newsletter", {"action": "withdrawn"})
    kit.deliver()
    answer = caller.get("/subjects/u-1/deliveries").json
    assert answer["subject"] == "u-1"
    shown = [(d["type"], d["recipient"], d["status"], d["error"]) for d in answer["deliveries"]]
    assert shown == [
        ("consent.given", "crm", "pending", "HTTP 503"),
        ("consent.given", "mailer", "delivered", None),
        ("consent.withdrawn", "crm", "pending", None),
        ("consent.withdrawn", "mailer", "delivered", None),
    ]
    assert caller.get("/subjects/nobody/deliveries").json == {"subject": "nobody", "deliveries": []}


def test_a_tenant_sees_nothing_of_the_hosts_subjects(app: Flask, kit: ConsentKit) -> None:
    kit.give("u-1", "newsletter")
    (theirs,) = kit.give("u-1", "newsletter", tenant="t-1")
    kit.deliver()
    tenant = Caller(app, kit, tenant="t-1")
    assert tenant.get("/subjects/u-1/deliveries").json["deliveries"] == []
    assert tenant.get(f"/events/{theirs.event_id}").json["deliveries"] == []


def test_the_receipt_names_them(app: Flask, kit: ConsentKit) -> None:
    kit.give("u-1", "newsletter")
    kit.deliver()
    client = app.test_client()
    client.post("/login", data={"user": "u-1"})
    (answer,) = client.get("/consent/receipt?format=json").json["answers"]  # type: ignore[index]
    assert told(answer["deliveries"]) == {"mailer": ("delivered", True), "crm": ("pending", False)}
    for shown in answer["deliveries"]:  # no address, no status code
        assert set(shown) == {"recipient", "name", "status", "since", "delivered_at"}
    assert answer["recipients"] == [
        {"key": "crm", "name": "crm", "country": ""},
        {"key": "mailer", "name": "Mailer <1>", "country": "DE"},
    ]
    assert answer["locations"] == ["EU", "US"]
    page = client.get("/consent/receipt", headers=HTML).text
    assert "<dt>Recipients</dt><dd>crm, Mailer &lt;1&gt; (DE)</dd>" in page
    assert "<dt>Where data is processed</dt><dd>EU, US</dd>" in page
    times = {d["recipient"]: d["delivered_at"] or d["since"] for d in answer["deliveries"]}
    assert f'Delivered to Mailer &lt;1&gt;: <time datetime="{times["mailer"]}">' in page
    assert f'Not confirmed yet by crm, since <time datetime="{times["crm"]}">' in page
    german = client.get("/consent/receipt?locale=de", headers=HTML).text
    assert "Zugestellt an Mailer &lt;1&gt;:" in german
