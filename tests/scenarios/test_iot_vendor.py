"""A vendor of sensors: what its policy promises is what the service does. Tests are named by the promise's number."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from banner_site import becomes
from browsing import Browser
from fetching import Tag, fetched, waiting
from flask import Flask
from services import Service

from consentkit import Age, ConsentMissing, GuardianNeeded, SeparateConsentNeeded
from example_app.profiles import iot_vendor
from example_app.profiles.iot_vendor import ask_night_desk, weekly_report

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

START = datetime(2027, 1, 10, tzinfo=UTC)
SECOND_POLICY, THIRD_POLICY = datetime(2027, 3, 1, tzinfo=UTC), datetime(2027, 9, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def service(tmp_path: Path, live_server: Callable[[Flask], str]) -> Iterator[Service]:
    made = Service(iot_vendor, tmp_path, live_server).release(START, privacy=2)
    yield made
    made.close()


def test_2_1_acts_of_acceptance_are_kept_apart_and_use_is_no_consent(service: Service) -> None:
    ada = service.browser("ada")
    assert ada.get("/portal").status == 303
    assert ada.accept("/consent/accept/privacy").status == 303
    assert service.events("ada")[-1][:1] + service.events("ada")[-1][3:] == ("accepted", "tick")
    assert ada.get("/portal").status == 200
    for _ in range(3):
        ada.get("/map")
    assert ada.get("/map/positions", accept="application/json").json["reason"] == "NO_ANSWER"


def test_2_2_the_question_is_put_where_the_data_is_collected(service: Service) -> None:
    ada = service.browser("ada")
    page = ada.get("/map").text
    assert "position of the device" in page
    with service.app.app_context():
        notice = service.kit.purpose_notice("location")
    yes = {"ask": "location", "decision": "save", "purpose": "location", "notice": notice.digest}
    assert ada.post("/consent", yes).status == 303
    assert ada.get("/map/positions").status == 200
    with service.app.app_context():
        (event,) = service.kit.ledger.of_subject("ada")
        assert (event.item, event.version, event.notice) == ("location", "1", notice.digest)
        assert service.kit.document(notice.digest) is not None


@pytest.mark.parametrize(
    ("place", "alone", "guarded"), [("DE", 16, 15), ("BE", 14, 13), ("IN", 18, 17), ("US", 14, 13)]
)
def test_2_3_children_by_the_stricter_of_fourteen_and_the_law(
    service: Service, place: str, alone: int, guarded: int
) -> None:
    with service.app.app_context():
        service.kit.learn("grown", age=Age(years=alone), jurisdiction=place)
        service.kit.learn("kid", age=Age(years=guarded), jurisdiction=place)
        service.kit.give("grown", "location")
        with pytest.raises(GuardianNeeded):
            service.kit.give("kid", "location")
    assert service.browser("grown").get("/map/positions").status == 200
    blocked = service.browser("kid").get("/map/positions", accept="application/json")
    assert (blocked.status, blocked.json["reason"]) == (403, "GUARDIAN_REQUIRED")
    assert service.events("kid") == []


def blocked(browser: Browser, path: str) -> tuple[int, str, str]:
    """Status, item and reason of a no."""
    answer = browser.get(path, accept="application/json")
    return answer.status, answer.json["item"], answer.json["reason"]


def test_2_5_what_is_no_personal_data_alone_is_so_when_it_is_combined(service: Service) -> None:
    ada = service.browser("ada")
    assert ada.get("/logs").status == 200
    assert blocked(ada, "/logs/joined") == (403, "usage_profile", "NO_ANSWER")
    with service.app.app_context():
        service.kit.give("ada", "usage_profile")
    assert ada.get("/logs/joined").json == {"ada": 3}
    with service.app.app_context():
        service.kit.restrict("ada")
    assert blocked(ada, "/logs/joined") == (403, "usage_profile", "RESTRICTED")
    with service.app.app_context():
        service.kit.lift("ada")
        service.kit.withdraw("ada", "usage_profile")
    assert blocked(ada, "/logs/joined") == (403, "usage_profile", "WITHDRAWN")
    assert ada.get("/logs").status == 200, "alone it is still about nobody"


def test_2_6_accept_all_does_not_send_data_abroad(service: Service) -> None:
    ada = service.browser("ada")
    assert ada.post("/consent", {"decision": "accept-all"}).status == 303
    with service.app.app_context():
        assert service.kit.of("ada").allows("statistics")
        with pytest.raises(ConsentMissing):
            ask_night_desk("ada", "it blinks")
        ada.post("/consent", {"decision": "save", "purpose": "transfer_abroad"})
        assert ask_night_desk("ada", "it blinks") == "ada asks: it blinks"


@pytest.mark.parametrize("others", [["statistics"], ["location", "usage_profile"], ["analytics"]])
def test_2_6_nobody_agrees_to_it_along_with_something_else(service: Service, others: list[str]) -> None:
    with service.app.app_context():
        for together in (["transfer_abroad", *others], [*others, "transfer_abroad"]):
            with pytest.raises(SeparateConsentNeeded):
                service.kit.give("ada", together)
        assert service.events("ada") == [], "nor is the rest of it recorded"
        service.kit.give("ada", "transfer_abroad")
        service.kit.give("ada", others)
        assert ask_night_desk("ada", "it blinks") == "ada asks: it blinks"


def test_2_7_a_withdrawal_changes_the_future_only(service: Service) -> None:
    with service.app.app_context():
        service.kit.give("ada", "location")
        service.kit.give("ada", "usage_profile")
        before = START + DAY
        service.clock.move(before + DAY)
        service.kit.withdraw("ada", "location")
        assert service.kit.of("ada").decide("location").reason == "WITHDRAWN"
        assert service.kit.of("ada").decide("location", at=before).allowed
        assert weekly_report("ada") == "A report for ada."


def test_2_7_what_was_allowed_at_any_past_moment(service: Service) -> None:
    with service.app.app_context():
        said = []
        for days, verb in ((2, "give"), (4, "withdraw"), (6, "give")):
            service.clock.move(START + days * DAY)
            said += getattr(service.kit, verb)("ada", "location")
        service.clock.move(START + 10 * DAY)
        instant, location = timedelta(microseconds=1), service.kit.of("ada")
        given, withdrawn, again = (event.effective_at for event in said)
        for at, reason in (
            (START + DAY, "NO_ANSWER"),
            (given - instant, "NO_ANSWER"),
            (given, "GIVEN"),
            (START + 3 * DAY, "GIVEN"),
            (withdrawn - instant, "GIVEN"),
            (withdrawn, "WITHDRAWN"),
            (START + 5 * DAY, "WITHDRAWN"),
            (again - instant, "WITHDRAWN"),
            (again, "GIVEN"),
            (START + 9 * DAY, "GIVEN"),
        ):
            then = location.decide("location", at=at)
            assert (then.allowed, then.reason) == (reason == "GIVEN", reason), at
        assert location.decide("location", at=START + 3 * DAY).event_id == said[0].event_id


def test_2_7_without_its_core_purpose_the_service_is_closed(service: Service) -> None:
    ada = service.browser("ada")
    ada.accept("/consent/accept/privacy")
    with service.app.app_context():
        service.kit.give("ada", "location")
        service.kit.withdraw("ada", "portal")
    for path in ("/portal", "/map", "/map/positions"):
        assert ada.get(path).status == 403, path
    again = service.browser("ada")
    assert again.get("/portal", accept="application/json").json["reason"] == "WITHDRAWN"
    assert again.get("/logs").status == 200


def test_2_8_a_major_change_may_be_agreed_to_by_use_but_less_rights_never(service: Service) -> None:
    service.browser("ada").accept("/consent/accept/privacy")
    service.release(START + DAY, privacy=3)
    with service.app.app_context():
        assert list(service.kit.to_tell("privacy")) == ["ada"]
        service.kit.notified("ada", "privacy", version="2")
        assert list(service.kit.to_tell("privacy")) == []
    ada = service.browser("ada")
    assert ada.get("/portal").status == 200, "the old version governs until the new one is in force"
    service.clock.move(SECOND_POLICY + DAY)
    assert service.browser("ada").get("/portal").status == 200
    assert service.events("ada")[-1] == ("accepted", "privacy", "2", "continued_use")
    service.release(SECOND_POLICY + 2 * DAY, privacy=4)
    with service.app.app_context():
        assert list(service.kit.to_tell("privacy")) == ["ada"]
        service.kit.notified("ada", "privacy", version="3")
    service.clock.move(THIRD_POLICY + DAY)
    led = service.browser("ada").get("/portal")
    assert (led.status, (led.location or "").split("?")[0]) == (303, "/consent/accept/privacy")
    assert service.browser("ada").accept("/consent/accept/privacy").status == 303
    assert service.browser("ada").get("/portal").status == 200


def test_2_9_every_version_stays_readable_with_what_changed(service: Service) -> None:
    service.release(START + DAY, privacy=4)
    visitor = service.browser()
    assert "Nobody but us." in visitor.get("/consent/policies/privacy/1").text
    assert "two years" in visitor.get("/consent/policies/privacy/3").text
    changes = visitor.get("/consent/policies/privacy/2/diff").text
    assert "Nobody but us" in changes
    assert "support desk" in changes


COUNTER = [Tag("script", "counter.example", "analytics")]
FILMS = [Tag("iframe", "films.example", "marketing")]


def pages(service: Service, browser: Browser) -> dict[str, str]:
    """Every page of the site that can be read as it is, by its path, and those of ours."""
    rules = [rule for rule in service.app.url_map.iter_rules() if "GET" in (rule.methods or ())]
    ours = [rule.rule for rule in rules if rule.endpoint.startswith("site.")]
    found = {path: browser.get(path) for path in [*ours, "/consent", "/consent/policies/privacy"]}
    return {path: answer.text for path, answer in found.items() if answer.status == 200}


@pytest.mark.parametrize(
    ("choice", "granted"),
    [
        (None, []),
        ({"decision": "reject-all"}, []),
        ({"decision": "save", "category": "analytics"}, ["analytics"]),
        ({"decision": "save", "category": "marketing"}, ["marketing"]),
        ({"decision": "withdraw-all"}, []),
    ],
)
def test_2_12_on_no_page_anything_loads_by_itself(
    service: Service, choice: dict[str, str] | None, granted: list[str]
) -> None:
    ada = service.browser("ada")
    ada.accept("/consent/accept/privacy")
    if choice is not None:
        ada.post("/consent", choice)
    found = pages(service, ada)
    assert {"/", "/manual", "/map", "/portal", "/logs", "/consent"} <= found.keys(), "the site stays usable"
    assert {path: fetched(page) for path, page in found.items() if fetched(page)} == {}
    held = {path: waiting(page) for path, page in found.items() if waiting(page)}
    assert held == {path: [*COUNTER, *FILMS] for path in ("/", "/manual", "/map")}
    status = ada.get("/consent/status", accept="application/json").json
    assert [key for key in ("analytics", "marketing") if key in status["granted"]] == granted


@pytest.mark.parametrize("allowed", [[], ["analytics"], ["marketing"], ["analytics", "marketing"]])
def test_2_12_a_browser_fetches_what_was_allowed_by_category(
    service: Service, page: Page, allowed: list[str]
) -> None:
    calls: list[str] = []

    def answer(route: Route) -> None:
        calls.append(urlsplit(route.request.url).hostname or "")
        route.fulfill(status=200, content_type="text/plain", body="")

    page.route(re.compile(r"^https://"), answer)
    url = service.browser().url
    page.goto(url)
    page.evaluate("categories => consentkit.decide('save', categories)", allowed)
    wanted = [*(["counter.example"] if "analytics" in allowed else [])]
    wanted += ["films.example"] if "marketing" in allowed else []
    for path in ("/", "/manual", "/map"):
        calls.clear()
        page.goto(url + path)
        becomes(page, lambda: sorted(set(calls)), wanted)
        page.wait_for_load_state("networkidle")
        assert sorted(set(calls)) == wanted, path
        assert page.locator("iframe").count() == ("marketing" in allowed), path


def test_2_12_a_cookie_of_a_category_leaves_only_after_a_yes(service: Service) -> None:
    visitor = service.browser()
    assert "_manuals" not in visitor.get("/manual").cookies, "dropped on the way out"
    for choice in ({"decision": "reject-all"}, {"decision": "save", "category": "marketing"}):
        visitor.post("/consent", choice)
        answer = visitor.get("/manual")
        assert answer.status == 200
        assert "_manuals" not in answer.cookies | visitor.cookies
    visitor.post("/consent", {"decision": "save", "category": "analytics"})
    assert "_manuals" in visitor.get("/manual").cookies
    visitor.post("/consent", {"decision": "withdraw-all"})
    assert "_manuals" not in visitor.cookies
    assert "_manuals" not in visitor.get("/manual").cookies


def test_2_12_the_browsers_signal_opts_out(service: Service) -> None:
    with service.app.app_context():
        service.kit.learn("ada", age=Age(years=40), jurisdiction="US-CA")
    assert "_manuals" in service.browser("ada").get("/manual").cookies, "California: allowed until a no"
    assert "_manuals" not in service.browser("ada", **{"Sec-GPC": "1"}).get("/manual").cookies
