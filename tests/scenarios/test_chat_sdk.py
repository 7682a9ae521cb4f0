"""A vendor of chat windows: what its policy promises is what it does. Tests are named by the promise's number."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from browsing import Browser
from flask import Flask
from services import Service

from consentkit import ChoiceRejected, ConsentMissing, Event, Party, Policy, PolicyVersion
from consentkit.core.catalog import Catalog
from consentkit.testing import assert_no_processing
from example_app.profiles import chat_sdk
from example_app.profiles.chat_sdk import answer_at_night, disclose, disclose_by_law, print_invoice

START = datetime(2027, 1, 10, tzinfo=UTC)
DAY = timedelta(days=1)
CASE = {"case": "2027/0815", "operator": "staff-7"}
JSON = "application/json"


@pytest.fixture
def service(tmp_path: Path, live_server: Callable[[Flask], str]) -> Iterator[Service]:
    made = Service(chat_sdk, tmp_path, live_server).release(START, privacy=1)
    yield made
    made.close()


def test_1_1_an_account_is_a_contract_and_everything_about_use_is_asked(service: Service) -> None:
    ada = service.browser("ada")
    ada.accept("/consent/accept/privacy")
    assert ada.get("/chat").status == 200, "nobody is asked for the account"
    assert ada.get("/chat/near", accept=JSON).json["reason"] == "NO_ANSWER"
    assert ada.post("/usage", {}, accept=JSON).json["reason"] == "NO_ANSWER"
    page = ada.get("/consent").text
    for text in ("operating system", "Improving the chat", "New services", "Where you are"):
        assert text in page
    ada.post("/consent", {"decision": "accept-all"})
    assert ada.post("/usage", {}).status == 200
    assert ada.get("/chat/near", accept=JSON).status == 403, "a place is asked for by itself"
    ada.post("/consent", {"decision": "save", "category": "analytics", "purpose": "location"})
    assert ada.get("/chat/near").status == 200


def test_1_1_cookies_on_every_page_only_after_a_yes(service: Service) -> None:
    visitor = service.browser()
    assert "_lantern_visit" not in visitor.get("/").cookies
    visitor.post("/consent", {"decision": "accept-all"})
    assert "_lantern_visit" in visitor.get("/").cookies
    assert "_lantern_visit" in visitor.cookies
    visitor.post("/consent", {"decision": "withdraw-all"})
    assert "_lantern_visit" not in visitor.cookies
    assert "_lantern_visit" not in visitor.get("/").cookies


def test_1_2_nothing_goes_to_others_without_prior_consent(service: Service) -> None:
    with service.app.app_context(), assert_no_processing("third_party_disclosure") as asked:
        with pytest.raises(ConsentMissing, match="NO_ANSWER"):
            disclose("ada", to="a shop")
        service.browser("ada").post("/consent", {"decision": "accept-all"})
        with pytest.raises(ConsentMissing, match="NO_ANSWER"):
            disclose("ada", to="a shop")
        assert len(asked) == 2, "accept all is no consent to this"
    ada = service.browser("ada")
    ada.post("/consent", {"decision": "save", "purpose": "third_party_disclosure"})
    with service.app.app_context():
        assert disclose("ada", to="a shop") == "messages of ada to a shop"
        ada.post("/consent", {"decision": "withdraw-all"})
        with pytest.raises(ConsentMissing, match="WITHDRAWN"):
            disclose("ada", to="a shop")


def used_exceptions(service: Service, account: str) -> list[dict[str, str]]:
    """What is on record about processing without consent: who decided, on which ground, in which case."""
    with service.app.app_context():
        events = service.kit.ledger.events(subject=account, action="exception_used")
        bodies = [json.loads(event.body) for event in events if isinstance(event, Event)]
    keys = ("ground", "operator", "reference", "item", "actor")
    return [{key: body[key] for key in keys} for body in bodies]


@pytest.mark.parametrize("ground", ["law", "investigation"])
def test_1_2_except_where_the_law_demands_it_and_that_is_on_record(service: Service, ground: str) -> None:
    kit = service.kit
    with service.app.app_context():
        kit.refuse("ada", "third_party_disclosure")
        assert disclose_by_law(kit, "ada", ground, **CASE) == "messages of ada to the authority"
        with pytest.raises(ConsentMissing, match="REFUSED"):
            disclose("ada", to="the authority")
        with (
            kit.exception(
                ground, subject="ada", purposes=["third_party_disclosure"], reference="1", operator="staff-8"
            ),
            pytest.raises(ConsentMissing, match="NO_ANSWER"),
        ):
            disclose("bob", to="the authority")
    about = {"ground": ground, "item": "third_party_disclosure", "actor": "operator"}
    assert used_exceptions(service, "ada") == [
        {**about, "operator": "staff-7", "reference": "2027/0815"},
        {**about, "operator": "staff-8", "reference": "1"},
    ]
    assert used_exceptions(service, "bob") == []


@pytest.mark.parametrize(
    ("ground", "case", "message"),
    [
        ("a hunch", CASE, "there is no ground"),
        ("", CASE, "there is no ground"),
        ("law", {**CASE, "operator": ""}, "operator= is"),
        ("law", {**CASE, "operator": " "}, "operator= is"),
        ("law", {**CASE, "operator": None}, "operator= is"),
        ("investigation", {**CASE, "operator": "the one with the hat"}, "operator= is"),
        ("law", {**CASE, "case": ""}, "reference= is"),
        ("investigation", {**CASE, "case": " "}, "reference= is"),
        ("investigation", {**CASE, "case": None}, "reference= is"),
    ],
)
def test_1_2_only_when_ground_operator_and_case_are_named(
    service: Service, ground: str, case: dict[str, str], message: str
) -> None:
    with service.app.app_context(), assert_no_processing("third_party_disclosure") as asked:
        with pytest.raises(ChoiceRejected, match=message):
            disclose_by_law(service.kit, "ada", ground, **case)
        assert asked == [], "the block was not entered"
    assert service.events("ada") == []


@pytest.mark.parametrize("left_out", ["reference", "operator"])
def test_1_2_none_of_them_can_be_left_out(service: Service, left_out: str) -> None:
    named = {"reference": "2027/0815", "operator": "staff-7"}
    del named[left_out]
    with service.app.app_context(), pytest.raises(TypeError, match=left_out):
        service.kit.exception("law", subject="ada", purposes=["third_party_disclosure"], **named)
    assert service.events("ada") == []


def test_1_3_aggregated_data_is_never_asked_and_never_blocked(service: Service) -> None:
    ada = service.browser("ada")
    page = ada.get("/consent").text
    assert "<h4>Numbers that identify nobody</h4>" in page, "always listed"
    assert 'value="aggregates"' not in page, "never asked"
    assert ada.get("/numbers").status == 200
    ada.post("/consent", {"decision": "withdraw-all"})
    ada.post("/account/delete", {})
    assert ada.get("/numbers").status == 200
    with service.app.app_context():
        assert service.kit.decide("ada", "aggregates").reason == "NOT_REQUIRED"


def gated_views(service: Service) -> list[tuple[str, str]]:
    """Method and path of every view of the chat that is about personal data, as the service itself lists them."""
    done = service.app.test_cli_runner().invoke(args=["consent", "routes", "--format", "json"])
    views = json.loads(done.stdout)["views"]
    nobody = {key for key, p in service.kit.catalog.purposes.items() if p.basis == "not_personal_data"}
    return [(v["methods"][0], v["path"]) for v in views if set(v["purposes"]) - nobody]


def assert_closed(service: Service, account: str, reason: str) -> None:
    """Every gated view says no with this reason, also after signing in again, in JSON and on a page."""
    views = gated_views(service)
    assert set(views) == {
        ("GET", "/chat"),
        ("GET", "/chat/history"),
        ("GET", "/chat/near"),
        ("POST", "/usage"),
    }
    for _ in range(2):
        browser = service.browser(account)
        for method, path in views:
            ask = browser.get if method == "GET" else partial(browser.post, form={})
            answer = ask(path, accept=JSON)
            assert (answer.status, answer.json["reason"]) == (403, reason), path
            page = ask(path, accept="text/html")
            assert (page.status, page.location) == (403, None), f"{path}: nobody is led back to a question"
            assert "ck-page" in page.text, path


def says_everything(service: Service, account: str) -> Browser:
    """An account that accepted the policy and said yes to whatever it is asked."""
    browser = service.browser(account)
    browser.accept("/consent/accept/privacy")
    every = {"category": ["analytics", "marketing"], "purpose": ["location", "partners"]}
    assert browser.post("/consent", {"decision": "save", **every}).status == 303
    for path in ("/chat", "/chat/history", "/chat/near"):
        assert browser.get(path).status == 200
    assert browser.post("/usage", {}).status == 200
    return browser


def test_1_5_whoever_stops_cannot_go_on_and_signing_in_grants_nothing(service: Service) -> None:
    ada = says_everything(service, "ada")
    assert ada.post("/account/stop", {}).json == ["withdrawn"]
    assert_closed(service, "ada", "WITHDRAWN")
    with service.app.app_context():
        service.kit.give("ada", "purpose:account", method="form")
    assert service.browser("ada").get("/chat").status == 200, "an express yes opens it again"


def test_1_5_a_deleted_account_stays_closed(service: Service) -> None:
    ada = says_everything(service, "ada")
    assert ada.post("/account/delete", {}).json == ["erased"]
    assert_closed(service, "ada", "ERASED")
    with service.app.app_context():
        assert print_invoice("ada") == "invoice of ada", "the tax office still wants it"


def maintenance(catalog: Catalog) -> Catalog:
    """The release that announces something to everybody."""
    text = PolicyVersion("1", texts={"en": "# Tonight\n\nThe chat rests at night."}, summary="It rests.")
    told = Policy("maintenance", title="Maintenance", kind="announcement", versions=[text])
    return replace(catalog, policies={**catalog.policies, told.key: told})


NO_YES: dict[str, tuple[str, dict[str, str]]] = {
    "put off": ("/consent", {"decision": "defer"}),
    "shown": ("/consent/announcements", {"decision": "shown", "key": "maintenance", "version": "1"}),
    "seen": ("/consent/announcements", {"decision": "seen", "key": "maintenance", "version": "1"}),
    "refused": ("/consent", {"decision": "reject-all"}),
    "withdrawn": ("/consent", {"decision": "withdraw-all"}),
    "declined": ("/consent/accept/privacy", {"decision": "decline"}),
}


@pytest.mark.parametrize(("ended", "reason"), [("stop", "WITHDRAWN"), ("delete", "ERASED")])
@pytest.mark.parametrize("act", NO_YES)
def test_1_5_nothing_but_a_yes_opens_it_again(service: Service, act: str, ended: str, reason: str) -> None:
    says_everything(service, "ada").post(f"/account/{ended}", {})
    service.release(START + DAY, maintenance, privacy=1)
    path, form = NO_YES[act]
    before = len(service.events("ada"))
    assert service.browser("ada").post(path, form, accept=JSON).status == 200
    said = service.events("ada")[before:]
    assert said, "it is on record, and opens nothing"
    assert_closed(service, "ada", reason)


def test_1_6_a_major_change_closes_the_chat_until_it_is_answered(service: Service) -> None:
    ada, bob = service.browser("ada"), service.browser("bob")
    for browser in (ada, bob):
        browser.accept("/consent/accept/privacy")
    service.release(START + DAY, privacy=3)
    ada, bob = service.browser("ada"), service.browser("bob")
    led = ada.get("/chat")
    assert (led.status, (led.location or "").split("?")[0]) == (303, "/consent/accept/privacy")
    assert "partner who answers at night" in ada.get("/consent/accept/privacy").text
    assert "New in section 2" in ada.get("/consent/accept/privacy").text
    ada.post("/consent/accept/privacy", {"decision": "decline"})
    assert service.events("ada")[-1][:3] == ("declined", "privacy", "2")
    for path in ("/chat", "/chat/history"):
        assert ada.get(path).status == 403, "who disagrees stops at once"
    bob.accept("/consent/accept/privacy")
    assert bob.get("/chat").status == 200


def test_1_6_a_spelling_mistake_asks_nobody(service: Service) -> None:
    service.browser("ada").accept("/consent/accept/privacy")
    service.release(START + DAY, privacy=2)
    assert service.browser("ada").get("/chat").status == 200
    assert "address" in service.browser("ada").get("/consent/policies/privacy").text
    assert service.events("ada") == [("accepted", "privacy", "1", "tick")]


def another_partner(catalog: Catalog) -> Catalog:
    """The release in which a second company answers at night."""
    second = Party("dawn_shift", name="Dawn Shift", contact="privacy@dawn-shift.example", country="NZ")
    partners = replace(
        catalog.purposes["partners"],
        version=2,
        recipients=("night_shift", "dawn_shift"),
        locations=("NZ", "SG"),
    )
    return replace(
        catalog,
        parties={**catalog.parties, second.key: second},
        purposes={**catalog.purposes, "partners": partners},
    )


def test_1_7_recipients_and_places_are_shown_and_a_new_one_asks_again_for_that_purpose_only(
    service: Service,
) -> None:
    ada = service.browser("ada")
    page = ada.get("/consent").text
    assert "Night Shift" in page
    assert "SG" in page or "Singapore" in page
    notice = service.kit.notice("en").digest
    assert f'value="{notice}"' in page
    ada.post("/consent", {"decision": "save", "purpose": ["partners", "location"], "notice": notice})
    with service.app.app_context():
        assert answer_at_night("ada") == "a partner answers ada"
        (given,) = [a for a in service.kit.receipt("ada")["answers"] if a["item"] == "partners"]
        assert given["notice"] == notice
        assert "Night Shift" in (service.kit.document(notice) or ("", ""))[1]
    service.release(START + DAY, another_partner, privacy=1)
    assert "Dawn Shift" in service.browser("ada").get("/consent").text
    with service.app.app_context():
        with pytest.raises(ConsentMissing, match="OUTDATED"):
            answer_at_night("ada")
        assert service.kit.of("ada").allows("location"), "the rest stays answered"
    service.browser("ada").post("/consent", {"decision": "save", "purpose": ["partners", "location"]})
    with service.app.app_context():
        assert answer_at_night("ada")
