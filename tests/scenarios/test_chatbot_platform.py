"""A platform for chat assistants: what its policy promises is what it does. Tests are named by the promise's number."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from browsing import Browser
from fetching import answerable
from flask import Flask
from services import Service

from consentkit import Age, ChoiceRejected, ConsentKit, ConsentMissing, Event, GuardianNeeded
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


GROUNDS = [
    *("law", "authority", "emergency", "public_health", "press"),
    *("published", "own_rights", "merger", "contract"),
]
ONLY_DISCLOSURE = ("authority", "own_rights", "merger")


def test_5_6_the_list_of_cases_is_closed(service: Service) -> None:
    assert sorted(service.kit.catalog.exceptions) == sorted(GROUNDS)
    assert len(GROUNDS) == 9
    with service.app.app_context():
        for other in ("curiosity", "", "Law"):
            with pytest.raises(ChoiceRejected, match="there is no ground"):
                service.kit.exception(other, subject="ada", purposes=["disclosure"], **CASE)
        for ground in ONLY_DISCLOSURE:
            with pytest.raises(ChoiceRejected, match="does not open"):
                service.kit.exception(ground, subject="ada", purposes=["profiling"], **CASE)
    assert service.events("ada") == []


@pytest.mark.parametrize("ground", GROUNDS)
def test_5_6_in_each_case_no_consent_is_needed_and_it_is_on_record(service: Service, ground: str) -> None:
    opened = ["disclosure"] if ground in ONLY_DISCLOSURE else ["disclosure", "profiling"]
    with service.app.app_context():
        kit = service.kit
        kit.accept("ada", "log_in", method="login_button", locale="en")
        kit.refuse("ada", ["profiling", "disclosure"])
        with pytest.raises(ConsentMissing, match="REFUSED"):
            disclose("ada")
        with kit.exception(ground, subject="ada", purposes=opened, **CASE) as recorded:
            assert disclose("ada") == "the conversation of ada"
            if "profiling" in opened:
                assert tag("ada") == "ada talks about boats"
            with pytest.raises(ConsentMissing, match="NO_ANSWER"):
                disclose("bob")
            with pytest.raises(ConsentMissing, match="NO_ANSWER"):
                tell_ad_network("ada")
        for processing in (disclose, tag):
            with pytest.raises(ConsentMissing, match="REFUSED"):
                processing("ada")
        used = list(kit.ledger.events(subject="ada", action="exception_used"))
        assert [e.event_id for e in used] == [e.event_id for e in recorded]  # type: ignore[union-attr]
        bodies = [json.loads(e.body) for e in used if isinstance(e, Event)]
        keys = ("item", "ground", "operator", "reference", "actor")
        said = (ground, "staff-7", "2027/0815", "operator")
        assert [tuple(body[key] for key in keys) for body in bodies] == [(item, *said) for item in opened]


@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("unnamed", ["reference", "operator"])
def test_5_6_in_no_case_without_operator_and_reference(service: Service, ground: str, unnamed: str) -> None:
    with service.app.app_context():
        with pytest.raises(ChoiceRejected, match=f"{unnamed}= is"):
            service.kit.exception(ground, subject="ada", purposes=["disclosure"], **{**CASE, unnamed: ""})
        with pytest.raises(ConsentMissing):
            disclose("ada")
    assert service.events("ada") == []


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


def test_5_8_pushes_by_choice(service: Service) -> None:
    with service.app.app_context():
        service.kit.refuse("ada", "marketing.push")
        assert push("ada", "half price") is None
        assert push("bob", "half price") is None, "silence is no choice"
        service.kit.give("ada", "marketing.push")
        assert push("ada", "half price") == "ada: half price"
        service.kit.withdraw("ada", "marketing.push")
        assert push("ada", "half price") is None


Said = Callable[[ConsentKit], object]
STILL_TOLD: dict[str, Said] = {
    "nothing": lambda kit: None,
    "no to a push": lambda kit: kit.refuse("ada", "marketing.push"),
    "no to the messages": lambda kit: kit.refuse("ada", "service_messages"),
    "the messages withdrawn": lambda kit: kit.withdraw("ada", "service_messages"),
    "an objection to pushes": lambda kit: kit.object("ada", "marketing.push"),
    "no to the terms": lambda kit: kit.decline("ada", "terms"),
    "no to both policies": lambda kit: kit.decline("ada", "log_in"),
    "the policies withdrawn": lambda kit: kit.withdraw("ada", "log_in"),
    "a child without a guardian": lambda kit: kit.learn("ada", age=Age(years=12)),
    "a child where the law is strict": lambda kit: kit.learn("ada", age=Age(years=12), jurisdiction="IN"),
}
NOT_TOLD: dict[str, tuple[Said, str]] = {
    "restricted": (lambda kit: kit.restrict("ada"), "RESTRICTED"),
    "objected to everything": (lambda kit: kit.object("ada"), "RESTRICTED"),
    "objected to the messages": (lambda kit: kit.object("ada", "service_messages"), "RESTRICTED"),
    "service ended": (lambda kit: kit.withdraw("ada", "conversations"), "WITHDRAWN"),
    "service never wanted": (lambda kit: kit.refuse("ada", "conversations"), "REFUSED"),
    "erased": (lambda kit: kit.erase("ada"), "ERASED"),
}


def assert_never_asked(service: Service, browser: Browser) -> None:
    """No page puts a question about service messages, and an answer to it cannot be sent."""
    for path in ("/consent", "/consent/accept/log_in"):
        assert "service_messages" not in answerable(browser.get(path).text), path
    assert "marketing.push" in answerable(browser.get("/consent").text)
    form = {"ask": "service_messages", "decision": "save", "purpose": "service_messages"}
    assert browser.post("/consent", form, accept="application/json").status == 422


@pytest.mark.parametrize("said", STILL_TOLD)
def test_5_8_service_messages_are_never_blocked_and_never_asked(service: Service, said: str) -> None:
    with service.app.app_context():
        STILL_TOLD[said](service.kit)
    ada = service.browser("ada")
    assert ada.get("/notices").status == 200
    assert_never_asked(service, ada)
    for decision in ("reject-all", "withdraw-all"):
        ada.post("/consent", {"decision": decision})
        assert ada.get("/notices").status == 200
    with service.app.app_context():
        assert service.kit.decide("ada", "service_messages").reason == "NOT_REQUIRED"


@pytest.mark.parametrize("case", NOT_TOLD)
def test_5_8_only_who_stops_everything_or_just_this_gets_none(service: Service, case: str) -> None:
    """`always` ends where the person ends it: restriction, objection, the end of the service, erasure.

    These rights come before a contract, and without a service there is nothing to tell about it.
    """
    stop, reason = NOT_TOLD[case]
    with service.app.app_context():
        stop(service.kit)
    ada = service.browser("ada")
    answer = ada.get("/notices", accept="application/json")
    assert (answer.status, answer.json["reason"]) == (403, reason)
    assert_never_asked(service, ada)


def test_5_8_visitors_are_told_as_well(service: Service) -> None:
    visitor = service.browser()
    assert visitor.get("/notices").status == 200
    assert_never_asked(service, visitor)
