"""`POST invitations`: an integrator's backend asks a guardian, and learns nothing about contacts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from guardian_site import make_app, make_kit, outbox_of
from guardians import OTHER, PARENT, Outbox

from consentkit import Age, ConsentKit
from consentkit.web.guardian_session import ASKED
from tests.web.api_caller import Caller

ASK = {"subject": "kid", "purposes": ["news", "rules"], "contact": PARENT, "method": "email", "child": "Mia"}


@pytest.fixture
def kit() -> ConsentKit:
    return make_kit()


@pytest.fixture
def outbox(kit: ConsentKit) -> Outbox:
    return outbox_of(kit)


@pytest.fixture
def app(kit: ConsentKit, tmp_path: Path) -> Flask:
    return make_app(kit, tmp_path, CONSENTKIT_BASE_URL="https://shop.example")


@pytest.fixture
def caller(app: Flask, kit: ConsentKit) -> Caller:
    return Caller(app, kit)


def ask(caller: Caller, **changed: Any) -> Any:
    return caller.call("POST", "/invitations", json={**ASK, **changed})


def test_a_guardian_is_asked(caller: Caller, outbox: Outbox) -> None:
    answer = ask(caller, locale="de")
    assert answer.status_code == 200
    (sent,) = outbox
    assert answer.json == {"invitation": sent.invitation}
    assert (sent.contact, sent.items, sent.locale, sent.child) == (PARENT, ("news", "rules"), "de", "Mia")
    assert caller.get("/subjects/kid/decisions/news").json["reason"] == "GUARDIAN_PENDING"
    assert ASKED not in answer.headers.get("Set-Cookie", "")


def test_a_tenants_child(app: Flask, kit: ConsentKit, outbox: Outbox) -> None:
    tenant = Caller(app, kit, tenant="t")
    assert ask(tenant).status_code == 422
    with app.app_context():
        kit.learn("kid", age=Age(years=9), jurisdiction="DE", tenant="t")
    assert ask(tenant).status_code == 200
    assert [sent.tenant for sent in outbox] == ["t"]


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"subject": "adult"}, "guardian-not-needed"),
        ({"subject": "visitor:x"}, "choice-rejected"),
        ({"purposes": ["identity"]}, "assurance-too-low"),
        ({"purposes": ["photos"]}, "choice-rejected"),
        ({"purposes": ["nothing"]}, "unknown-item"),
        ({"purposes": []}, "invalid-body"),
        ({"method": "pigeon"}, "invalid-body"),
        ({"contact": " "}, "invalid-body"),
        ({"contact": "a\nb"}, "invalid-body"),
        ({"locale": "?"}, "invalid-body"),
        ({"more": 1}, "invalid-body"),
    ],
)
def test_what_is_not_asked(caller: Caller, outbox: Outbox, changed: dict[str, Any], kind: str) -> None:
    answer = ask(caller, **changed)
    assert (answer.status_code, answer.json["type"]) == (422, f"urn:consentkit:problem:{kind}")
    assert outbox == []


def test_too_often(caller: Caller) -> None:
    for number in range(5):
        assert ask(caller, contact=f"{number}@example.org").status_code == 200
    answer = ask(caller)
    assert (answer.status_code, answer.json["type"]) == (429, "urn:consentkit:problem:asked-too-often")
    assert 0 < int(answer.headers["Retry-After"]) <= 24 * 3600


def test_a_mailer_that_fails(caller: Caller, outbox: Outbox) -> None:
    outbox.failing = True
    answer = ask(caller)
    assert (answer.status_code, answer.json["type"]) == (502, "urn:consentkit:problem:message-not-sent")
    assert PARENT not in answer.text


@pytest.mark.parametrize("lacking", ["mailer", "address", "verifier"])
def test_an_app_that_cannot_ask_guardians(kit: ConsentKit, tmp_path: Path, lacking: str) -> None:
    caller = Caller(make_app(kit, tmp_path, CONSENTKIT_BASE_URL="https://shop.example"), kit)
    if lacking == "mailer":
        kit.guardian.mailer = None
    if lacking == "address":
        kit.guardian.pages = None
    answer = ask(caller, **({"method": "gov_id"} if lacking == "verifier" else {}))
    assert (answer.status_code, answer.json["type"]) == (501, "urn:consentkit:problem:guardians-not-set-up")
    assert "ledger" not in answer.json["detail"]


def test_known_and_unknown_contacts_are_answered_alike(caller: Caller) -> None:
    answers = [ask(caller, contact=contact) for contact in (PARENT, OTHER, PARENT)]
    assert {(a.status_code, tuple(a.json), len(a.data)) for a in answers} == {
        (200, ("invitation",), len(answers[0].data))
    }


def test_the_scope(app: Flask, kit: ConsentKit) -> None:
    assert ask(Caller(app, kit, scopes=["read", "erase"])).status_code == 403
