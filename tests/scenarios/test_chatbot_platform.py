"""A platform for chat assistants: what its policy promises is what it does. Tests are named by the promise's number."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from services import Service

from consentkit import Age, ChoiceRejected, ConsentMissing, Event, GuardianNeeded
from example_app.profiles import chatbot_platform
from example_app.profiles.chatbot_platform import disclose, push, tag, tell_ad_network
from tests.web.api_caller import Caller

START, SECOND_TERMS = datetime(2027, 1, 10, tzinfo=UTC), datetime(2027, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
CASE = {"reference": "2027/0815", "operator": "staff-7"}


@pytest.fixture
def service(tmp_path: Path, live_server: Callable[[Flask], str]) -> Iterator[Service]:
    made = Service(chatbot_platform, tmp_path, live_server).release(START, terms=1)
    yield made
    made.close()


def test_5_1_one_press_accepts_both_policies(service: Service) -> None:
    ada = service.browser()
    assert ada.post("/log-in", {"account": "ada"}).json == ["privacy", "terms"]
    assert service.events("ada") == [
        ("accepted", "privacy", "1", "login_button"),
        ("accepted", "terms", "1", "login_button"),
    ]
    assert ada.get("/chat").status == 200
    assert service.browser("bob").get("/chat").status == 303, "signed in by another way: nothing accepted"


def test_5_2_two_languages_of_equal_standing(service: Service) -> None:
    service.browser().post("/log-in?lang=zh", {"account": "li"})
    service.browser().post("/log-in?lang=en", {"account": "ada"})
    for account in ("li", "ada"):
        assert service.browser(account).get("/chat").status == 200
    with service.app.app_context():
        shown = {
            who: service.kit.document(service.kit.ledger.of_subject(who)[0].notice or "")
            for who in ("li", "ada")
        }
    assert "我们保存什么" in (shown["li"] or ("", ""))[1]
    assert "What we keep" in (shown["ada"] or ("", ""))[1]


def test_5_3_an_integrator_attests_what_it_showed_and_sees_only_its_own(service: Service) -> None:
    a, b = (Caller(service.app, service.kit, tenant=name) for name in ("a", "b"))
    with service.app.app_context():
        text = service.kit.policy_in_effect("privacy")
        assert text is not None
    said = {"action": "accepted", "locale": "en", "method": "tick"}
    path = "/subjects/u-1/policies/privacy"
    assert a.put(path, said).json["type"].endswith("not-attested")
    assert a.put(path, {**said, "notice": text.texts["en"]}).status_code == 200
    assert a.get("/subjects/u-1/decisions/privacy").json["reason"] == "ACCEPTED"
    assert b.get("/subjects/u-1/decisions/privacy").json["reason"] == "NO_ANSWER"
    assert service.events("u-1") == [], "another tenant's u-1 is somebody else"


def test_5_4_announced_now_in_force_later_and_use_agrees_only_then(service: Service) -> None:
    service.browser().post("/log-in", {"account": "ada"})
    service.browser().post("/log-in", {"account": "bob"})
    service.release(START + DAY, terms=2)
    with service.app.app_context():
        assert service.kit.decide("ada", "terms").version == "1"
        assert sorted(service.kit.to_tell("terms")) == ["ada", "bob"]
        service.kit.notified("ada", "terms", version="2")
    assert service.browser("ada").get("/chat").status == 200
    assert service.events("ada")[-1][0] == "notified"
    service.clock.move(SECOND_TERMS + DAY)
    assert service.browser("ada").get("/chat").status == 200
    assert service.events("ada")[-1] == ("accepted", "terms", "2", "continued_use")
    assert service.browser("bob").get("/chat").status == 303, "nobody told bob, so use is no agreement"


def test_5_5_minors_need_a_guardian_who_reads_the_policy(service: Service) -> None:
    with service.app.app_context():
        service.kit.learn("kid", age=Age(years=17))
        with pytest.raises(GuardianNeeded):
            service.kit.accept("kid", "log_in", method="login_button", locale="en")
    assert service.browser("kid").get("/chat", accept="application/json").status == 403
    with service.app.app_context():
        service.kit.accept("kid", "log_in", method="paper", locale="zh", actor="guardian:1")
    assert service.browser("kid").get("/chat").status == 200
    with service.app.app_context():
        service.kit.withdraw("kid", "log_in", actor="guardian:1")
    assert service.browser("kid").get("/chat").status == 403


def test_5_6_nine_cases_without_consent_each_on_record(service: Service) -> None:
    with service.app.app_context():
        assert len(service.kit.catalog.exceptions) == 9
        service.kit.accept("ada", "log_in", method="login_button", locale="en")
        with pytest.raises(ConsentMissing):
            disclose("ada")
        with service.kit.exception("authority", subject="ada", purposes=["disclosure"], **CASE):
            assert disclose("ada") == "the conversation of ada"
        with pytest.raises(ConsentMissing):
            disclose("ada")
        with pytest.raises(ChoiceRejected, match="there is no ground"):
            service.kit.exception("curiosity", subject="ada", purposes=["disclosure"], **CASE)
        with pytest.raises(ChoiceRejected, match="does not open"):
            service.kit.exception("merger", subject="ada", purposes=["profiling"], **CASE)
        used = [
            e
            for e in service.kit.ledger.events(subject="ada", action="exception_used")
            if isinstance(e, Event)
        ]
        assert [json.loads(e.body)["ground"] for e in used] == ["authority"]


def test_5_5_guardians_may_ask_about_the_minors_information(service: Service) -> None:
    with service.app.app_context():
        service.kit.learn("kid", age=Age(years=12))
    kid, parent = service.browser("kid"), service.browser()
    assert kid.post("/ask-guardian", {"contact": "parent@example.org"}).json == {"asked": True}
    (sent,) = service.app.extensions["outbox"]
    assert kid.get("/chat", accept="application/json").json["reason"] == "GUARDIAN_PENDING"
    assert "Your conversations with assistants" in parent.follow(sent.url).text
    assert parent.answer_as_guardian({"privacy", "terms"}).status == 303
    assert kid.get("/chat").status == 200

    with service.app.test_request_context(base_url=kid.url):
        service.kit.guardian_access("kid", contact="parent@example.org")
    later = service.browser()
    later.follow(service.app.extensions["outbox"][1].url)
    export = later.get("/consent/guardian/export").json
    assert [e["item"] for e in export["events"] if e["action"] == "accepted"] == ["privacy", "terms"]
    assert later.answer_as_guardian({"privacy"}).status == 303
    assert kid.get("/chat").status == 403, "revoked for the terms: closed at once"


@pytest.mark.parametrize(("place", "advertised"), [("CN", True), ("IN", False)])
def test_5_7_no_tags_about_minors_and_no_advertising_where_the_law_forbids_it(
    service: Service, place: str, advertised: bool
) -> None:
    with service.app.app_context():
        service.kit.learn("kid", age=Age(years=15), jurisdiction=place)
        service.kit.accept("kid", "log_in", method="paper", locale="en", actor="guardian:1")
        guardian = {"actor": "guardian:1", "assurance": "verifiable", "method": "paper"}
        service.kit.give("kid", ["profiling", "advertising"], **guardian)
        with pytest.raises(ConsentMissing, match="FORBIDDEN_FOR_MINORS"):
            tag("kid")
        assert service.kit.of("kid").allows("advertising") is advertised
        if not advertised:
            with pytest.raises(ConsentMissing, match="FORBIDDEN_FOR_MINORS"):
                tell_ad_network("kid")


def test_5_8_service_messages_always_pushes_by_choice(service: Service) -> None:
    with service.app.app_context():
        service.kit.refuse("ada", "marketing.push")
        assert push("ada", "half price") is None
        assert push("bob", "half price") is None, "silence is no choice"
        service.kit.give("ada", "marketing.push")
        assert push("ada", "half price") == "ada: half price"
        service.kit.withdraw("ada", "marketing.push")
        assert push("ada", "half price") is None
    assert service.browser("ada").get("/notices").status == 200
