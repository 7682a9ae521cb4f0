"""Preference, policy, acceptance and receipt pages: what they show, bad input, caching."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from flask import Flask

from consentkit import ConsentKit, Cookie, MinorRules, Policy, PolicyVersion, Purpose
from consentkit.verify import verify
from tests.web.conftest import PURPOSES, make_kit, policies

SAME = {"Sec-Fetch-Site": "same-origin"}
HTML = {"Accept": "text/html", **SAME}


def test_a_page_with_the_banner_has_the_same_bytes_for_everybody(app: Flask) -> None:
    first, second = app.test_client(), app.test_client()
    second.post("/consent", json={"decision": "reject-all"})
    plain = first.get("/")
    assert plain.data == second.get("/", headers={"Sec-GPC": "1", "Accept-Language": "de"}).data
    assert "Set-Cookie" not in plain.headers


def test_our_own_pages_are_not_cached_by_others(app: Flask) -> None:
    client = app.test_client()
    for path in ("/consent", "/consent/status", "/consent/accept/terms", "/consent/receipt"):
        assert client.get(path).headers["Cache-Control"] == "no-store", path
    assert client.get("/consent/state.css").headers["Cache-Control"] == "private, no-cache"


def test_state_css_hides_the_banner_from_those_who_decided(app: Flask) -> None:
    client = app.test_client()
    assert client.get("/consent/state.css").text == ""
    client.post("/consent", json={"decision": "reject-all"})
    assert "[data-consent-banner]{display:none}" in client.get("/consent/state.css").text


def test_the_preference_page_shows_what_was_chosen(app: Flask) -> None:
    client = app.test_client()
    client.post("/consent", data={"decision": "save", "category": ["analytics"], "purpose": ["newsletter"]})
    page = client.get("/consent", headers=HTML).text
    boxes = {(name, value): "checked" in rest for name, value, rest in _boxes(page)}
    assert boxes[("category", "analytics")]
    assert boxes[("purpose", "newsletter")]
    assert not boxes[("category", "marketing")]
    assert not boxes[("purpose", "transfer")]


def _boxes(page: str) -> list[tuple[str, str, str]]:
    found = []
    for tag in re.findall(r"<input[^>]*type=\"?checkbox[^>]*>", page):
        name, value = re.search(r'name="(\w+)"', tag), re.search(r'value="([^"]+)"', tag)
        if name and value:
            found.append((name[1], value[1], tag))
    return found


def test_people_read_durations_in_their_language(app_of: Callable[..., Flask]) -> None:
    cookies = [Cookie("_a", duration="P2Y"), Cookie("_b", duration="until you leave")]
    kept = Purpose(
        "analytics",
        title="Statistics",
        category="analytics",
        valid_for="P6M",
        retention="P13M",
        cookies=cookies,
    )
    kit = make_kit(purposes=[*PURPOSES, kept])
    browser = app_of(kit).test_client()
    for page in ("/", "/consent"):
        shown = browser.get(page).text
        for said in ("13 months", "6 months", "(2 years)", "(until you leave)"):
            assert said in shown
        assert "P13M" not in shown
    assert "13 Monate" in (german := browser.get("/consent?locale=de").text)
    assert "6 Monaten" in german
    assert '"retention":"P13M"' in kit.notice("de").body


def test_the_policy_page_renders_markdown_without_raw_html(app_of: Callable[..., Flask]) -> None:
    text = "# Title\n\n<script>alert(1)</script>\n\n[x](javascript:alert(1)) **bold**"
    policy = Policy("terms", title="T", versions=[PolicyVersion("1", texts={"en": text})])
    page = (
        app_of(make_kit(policies=[policy, policies()[1]])).test_client().get("/consent/policies/terms").text
    )
    assert "<strong>bold</strong>" in page
    assert "<script>alert" not in page
    assert 'href="javascript' not in page


def test_plain_text_stays_as_written(app_of: Callable[..., Flask]) -> None:
    version = PolicyVersion("1", texts={"en": "a < b\n  *kept*"}, media_type="text/plain")
    kit = make_kit(policies=[Policy("terms", title="T", versions=[version]), policies()[1]])
    assert "a &lt; b\n  *kept*" in app_of(kit).test_client().get("/consent/policies/terms").text


def test_every_published_version_stays_readable(app_of: Callable[..., Flask]) -> None:
    client = app_of(make_kit(policies=policies(2))).test_client()
    assert "Terms 2" in client.get("/consent/policies/terms").text
    assert "Terms 1" in client.get("/consent/policies/terms/1").text
    assert client.get("/consent/policies/terms/3").status_code == 404
    assert client.get("/consent/policies/nowhere").status_code == 404


def test_the_language_is_chosen_by_the_address_then_by_the_browser(app: Flask) -> None:
    client = app.test_client()
    path = "/consent/policies/privacy"
    assert "Datenschutz" in client.get(path, headers={"Accept-Language": "de-AT,de;q=0.9"}).text
    assert "Datenschutz" in client.get(f"{path}?locale=de").text
    assert "Datenschutz" not in client.get(f"{path}?locale=en", headers={"Accept-Language": "de"}).text
    assert 'lang="de"' in client.get("/consent?locale=de").text


def form_of(app: Flask, key: str, **changed: object) -> dict[str, object]:
    page = app.test_client().get(f"/consent/accept/{key}", headers=HTML).text
    notices = re.findall(r'name="notice" value="([^"]+)"', page)
    return {"decision": "accept", "method": "tick", "agree": "1", "notice": notices, **changed}


def test_a_page_at_an_address_of_the_host_is_in_the_browsers_language(app: Flask, kit: ConsentKit) -> None:
    browser = app.test_client()
    browser.post("/consent", data={"decision": "reject-all"}, headers=SAME)
    german = {"Accept-Language": "de-DE,de;q=0.9,en;q=0.5", **HTML}
    refused = browser.get("/letters", headers=german)
    assert (refused.status_code, '<html lang="de"' in refused.text) == (403, True)
    kit.locale_loader(lambda: "en")
    assert '<html lang="en"' in browser.get("/letters", headers=german).text


def test_of_a_bundle_only_what_was_declined_is_said_to_be(app: Flask, kit: ConsentKit) -> None:
    browser = app.test_client()
    browser.post("/login", data={"user": "u-1"})
    kit.accept("u-1", "privacy")
    kit.decline("u-1", "terms")
    page = browser.get("/consent/accept/sign_up").text
    assert "You have declined" not in page
    assert page.count("· declined") == 1
    kit.decline("u-1", "privacy")
    assert "You have declined" in browser.get("/consent/accept/sign_up").text


def test_own_cookies_are_listed_under_necessary(app: Flask, kit: ConsentKit) -> None:
    browser = app.test_client()
    for page in ("/", "/consent"):
        shown = browser.get(page).text
        for name in ("consent", "consent_hint", "consent_seen"):
            assert shown.count(f"<code>{name}</code>") == 1
        assert "consent_age" not in shown
        secure = browser.get(page, base_url="https://localhost").text
        assert "<code>__Host-consent</code>" in secure
        assert "<code>consent</code>" not in secure
    assert "Erkennt diesen Browser wieder" in browser.get("/consent?locale=de").text
    assert "(180 Tage)" in browser.get("/consent?locale=de").text
    assert "consent_hint" not in kit.notice("en").body


def test_own_cookies_that_the_catalogue_declares_are_not_listed_twice(app_of: Callable[..., Flask]) -> None:
    declared = Purpose(
        "session", title="S", category="necessary", basis="contract", cookies=[Cookie("consent_*")]
    )
    rules = MinorRules(unknown_age="ask")
    shown = app_of(make_kit(purposes=[*PURPOSES, declared], minors=rules)).test_client().get("/consent").text
    assert "<code>consent_*</code>" in shown
    assert "<code>consent_hint</code>" not in shown
    assert "<code>consent_age</code>" not in shown
    assert "<code>consent</code>" in shown


def test_a_bundle_is_accepted_in_one_act_with_one_event_each(app: Flask, kit: ConsentKit) -> None:
    client = app.test_client()
    answer = client.post("/consent/accept/sign_up", data=form_of(app, "sign_up"), headers=SAME)
    assert [said["policy"] for said in answer.json["accepted"]] == ["terms", "privacy"]
    assert client.get("/account").status_code == 200
    with app.app_context():
        event = kit.ledger.event(answer.json["accepted"][1]["event_id"])
    assert event is not None
    assert (event.method, event.version, event.locale) == ("tick", "2026-01", "en")
    assert event.notice == kit.policy_in_effect("privacy").texts["en"]


def test_after_acceptance_a_browser_goes_back(app: Flask) -> None:
    form = form_of(app, "terms", next="/account")
    answer = app.test_client().post("/consent/accept/terms", data=form, headers=HTML)
    assert (answer.status_code, answer.location) == (303, "/account")
    form = form_of(app, "terms", next="//evil.example")
    assert app.test_client().post("/consent/accept/terms", data=form, headers=HTML).location == "/"


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"agree": ""}, 422),
        ({"notice": []}, 422),
        ({"notice": ["terms"]}, 422),
        ({"notice": ["terms:nonsense"]}, 409),
        ({"notice": ["terms:" + "0" * 64]}, 409),
        ({"method": "continued_use"}, 422),
        ({"decision": "perhaps"}, 422),
    ],
)
def test_what_is_not_an_acceptance_records_nothing(
    app: Flask, changed: dict[str, object], status: int
) -> None:
    client = app.test_client()
    answer = client.post("/consent/accept/terms", data=form_of(app, "terms", **changed), headers=SAME)
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    assert client.get_cookie("consent") is None
    assert client.get("/account").json["reason"] == "NO_ANSWER"


def test_a_stale_acceptance_shows_the_new_text(app: Flask) -> None:
    form = form_of(app, "terms", notice=["terms:" + "0" * 64])
    answer = app.test_client().post("/consent/accept/terms", data=form, headers=HTML)
    assert answer.status_code == 409
    assert "Be kind." in answer.text


def test_an_unknown_policy_has_no_page(app: Flask) -> None:
    assert app.test_client().get("/consent/accept/nowhere").status_code == 404
    assert app.test_client().post("/consent/accept/nowhere", data={"decision": "accept"}).status_code == 404


def test_the_receipt_says_what_was_answered(app: Flask, kit: ConsentKit) -> None:
    client = app.test_client()
    nothing = client.get("/consent/receipt", headers=HTML)
    assert (nothing.status_code, "No answers" in nothing.text or "no answer" in nothing.text.lower()) == (
        200,
        True,
    )
    client.post("/consent", json={"decision": "accept-all", "notice": kit.notice("en").digest})
    receipt = client.get("/consent/receipt").json
    answers = {answer["item"]: answer for answer in receipt["answers"]}
    assert (answers["statistics"]["status"], answers["statistics"]["version"]) == ("given", "1")
    assert answers["statistics"]["notice"] == kit.notice("en").digest
    assert answers["statistics"]["sealed"] is True
    shown = verify(answers["statistics"]["proof"], receipt["log_key"])
    assert shown.body["event_id"] == answers["statistics"]["event_id"]
    assert "Sealed in the ledger" in client.get("/consent/receipt", headers=HTML).text
    with app.app_context():
        media, text = kit.document(answers["statistics"]["notice"])
    assert (media, text) == ("application/json", kit.notice("en").body)


def test_after_a_no_the_page_offers_only_what_is_taken(app_of: Callable[..., Flask]) -> None:
    """Version 2 took rights away and was declined: version 3 may not be accepted by a button all the same."""
    classes = [("1", "material", ()), ("2", "reduces_rights", ("tick",)), ("3", "material", ("button",))]
    versions = [PolicyVersion(v, change=c, acceptance=a, texts={"en": f"# {v}"}) for v, c, a in classes]
    cookie, client = None, None
    for count in (1, 2, 3):
        terms = Policy("terms", title="T", versions=versions[:count])
        client = app_of(make_kit(policies=[terms, policies()[1]])).test_client()
        if cookie:
            client.set_cookie("consent", cookie)
        if count == 1:
            form = form_of(client.application, "terms")
            client.post("/consent/accept/terms", data=form, headers=SAME)
        if count == 2:
            client.post("/consent/accept/terms", data={"decision": "decline"}, headers=SAME)
        cookie = client.get_cookie("consent").value
    page = client.get("/consent/accept/terms", headers=HTML).text
    assert 'value="button"' not in page
