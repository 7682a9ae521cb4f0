"""Where silence is enough, and the signal that ends it, in a browser: with and without script."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from banner_site import LOCALES, becomes, make_app, until
from flask import Flask, Response, request
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from consentkit.core.texts import texts

BANNER, DIALOG, LINE = "[data-consent-banner]", "[data-consent-dialog]", "[data-consent-gpc]"
SIGNAL = "Object.defineProperty(navigator, 'globalPrivacyControl', {value: true})"
Open = Callable[..., Page]


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    """The site with a place in a header; purposes of `marketing` heed the signal."""
    app = make_app(tmp_path)
    app.extensions["consentkit"].kit.jurisdiction_loader(lambda: request.headers.get("X-Place"))
    return app


@pytest.fixture
def open_at(browser: Browser, url: str) -> Iterator[Open]:
    """`open_at("US", script=False, gpc="header")`: a page of a new browser at that place."""
    contexts: list[BrowserContext] = []

    def go(place: str | None = None, path: str = "/", *, script: bool = True, gpc: str = "") -> Page:
        headers = ({"X-Place": place} if place else {}) | ({"Sec-GPC": "1"} if "header" in gpc else {})
        context = browser.new_context(java_script_enabled=script, extra_http_headers=headers)
        contexts.append(context)
        if "script" in gpc:
            context.add_init_script(SIGNAL)
        page = context.new_page()
        page.goto(url + path)
        return page

    yield go
    for context in contexts:
        context.close()


def button(page: Page, decision: str, within: str = BANNER) -> Locator:
    return page.locator(f"{within} [data-consent-action={decision}]")


def recorded(app: Flask) -> list[tuple[str, str]]:
    return [(event.item, str(event.action)) for event in app.config["RECORDED"]]


# ---------------------------------------------------------------- by place


def test_where_silence_is_enough_tags_run_and_a_notice_is_shown_once(open_at: Open, url: str) -> None:
    page = open_at("US-CA")
    until(page, "order.includes('1') && order.includes('3') && order.includes('ads')")
    assert page.evaluate("order.includes('health')") is False, "what stands apart is asked"
    expect(page.locator(BANNER)).to_be_visible()
    expect(page.locator(BANNER)).to_contain_text("until you say no")
    expect(page.locator(BANNER)).not_to_contain_text("With your permission", use_inner_text=True)
    expect(button(page, "defer")).to_be_visible()
    expect(button(page, "reject-all")).to_be_visible()
    button(page, "defer").click()
    expect(page.locator(BANNER)).to_be_hidden()
    assert page.evaluate("document.activeElement.tagName") == "MAIN"
    page.goto(url + "/other")
    expect(page.locator(BANNER)).to_be_hidden()
    until(page, "order.includes('ads')")
    assert [cookie["name"] for cookie in page.context.cookies()] == ["consent_hint"]


def test_the_second_page_knows_before_it_is_painted(open_at: Open, url: str) -> None:
    page = open_at("US")
    until(page, "order.includes('ads')")
    page.route(re.compile("/consent/status"), lambda route: route.abort())
    page.goto(url + "/other")
    until(page, "order.includes('ads')")
    assert page.evaluate("document.documentElement.dataset.consent") == "notice"
    assert page.evaluate("window.shift") == 0


def test_opting_out_stops_what_runs(open_at: Open, app: Flask) -> None:
    page = open_at("US")
    until(page, "order.includes('ads')")
    with page.expect_event("load"):
        button(page, "reject-all").click()
    until(page, "document.documentElement.dataset.consent === 'decided'")
    assert page.evaluate("order.filter(name => name !== 'necessary')") == []
    assert {action for _, action in recorded(app)} == {"refused"}


@pytest.fixture
def slowly(app: Flask) -> threading.Event:
    """What the server says of the visitor's standing comes late: when the event is set."""
    told = threading.Event()

    @app.after_request
    def late(response: Response) -> Response:
        if request.path == "/consent/status":
            told.wait(10)
        return response

    return told


def test_a_no_is_not_undone_by_what_was_said_before_it(
    open_at: Open, slowly: threading.Event, url: str
) -> None:
    """The status overtaken by an answer comes with a hint of its own."""
    page = open_at("US")
    with page.expect_response("**/consent/status") as first:
        button(page, "reject-all").click()
        expect(page.locator("html")).to_have_attribute("data-consent", "decided")
        slowly.set()
    assert first.value.json()["granted"] == ["preferences", "analytics", "marketing"]
    becomes(page, lambda: hint_of(page).split("~")[1], "d")
    assert page.evaluate("[order, consentkit.state.granted]") == [["necessary"], []]
    page.goto(url + "/other")
    until(page, "order.includes('necessary')")
    assert page.evaluate("order") == ["necessary"]


def test_what_is_heard_while_a_no_is_on_its_way_starts_nothing(
    open_at: Open, slowly: threading.Event, app: Flask
) -> None:
    recorded = threading.Event()

    @app.after_request
    def late(response: Response) -> Response:
        if request.method == "POST":
            recorded.wait(10)
        return response

    page = open_at("US")
    with page.expect_response("**/consent") as answer:
        with page.expect_response("**/consent/status") as told, page.expect_request("**/consent"):
            button(page, "reject-all").click()
            slowly.set()
        assert told.value.json()["granted"] == ["preferences", "analytics", "marketing"]
        page.wait_for_timeout(300)
        assert page.evaluate("order") == ["necessary"]
        recorded.set()
    assert answer.value.json()["granted"] == []
    until(page, "document.documentElement.dataset.consent === 'decided'")
    assert page.evaluate("[order, consentkit.state.granted]") == [["necessary"], []]


def test_a_no_in_another_tab_is_not_undone_either(open_at: Open, slowly: threading.Event, url: str) -> None:
    slowly.set()
    page = open_at("US")
    until(page, "order.includes('ads')")
    page.context.clear_cookies()
    slowly.clear()
    other = page.context.new_page()
    other.goto(url + "/other")
    with page.expect_event("load"), other.expect_response("**/consent/status") as first:
        button(page, "reject-all").click()
        expect(other.locator("html")).to_have_attribute("data-consent", "decided")
        slowly.set()
    assert first.value.json()["granted"] == ["preferences", "analytics", "marketing"]
    becomes(other, lambda: hint_of(other).split("~")[1], "d")
    assert other.evaluate("[order, consentkit.state.granted]") == [["necessary"], []]


def hint_of(page: Page) -> str:
    return {str(c["name"]): str(c["value"]) for c in page.context.cookies()}["consent_hint"]


def test_no_is_as_easy_as_yes_in_the_notice(open_at: Open) -> None:
    page = open_at("US")
    expect(button(page, "defer")).to_be_visible()
    boxes = [button(page, decision).bounding_box() for decision in ("accept-all", "reject-all")]
    assert boxes[0] is not None
    assert boxes[1] is not None
    assert (boxes[0]["width"], boxes[0]["height"]) == (boxes[1]["width"], boxes[1]["height"])
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('[data-consent-banner]') !== null")


def test_the_dialog_shows_what_is_on_and_what_is_left_on_says_nothing(open_at: Open, app: Flask) -> None:
    page = open_at("US")
    until(page, "order.includes('ads')")
    button(page, "preferences").click()
    expect(page.locator(DIALOG)).to_contain_text("used until you say no")
    on = page.locator(f"{DIALOG} input:checked").evaluate_all("all => all.map(e => e.value)")
    assert on == ["preferences", "analytics", "marketing"]
    page.get_by_role("switch", name="Marketing").uncheck()
    with page.expect_event("load"):  # a new page stops what ran
        button(page, "save", DIALOG).click()
    until(page, "document.documentElement.dataset.consent === 'decided'")
    assert sorted(recorded(app)) == [("ads", "refused"), ("health", "refused")]


def test_in_britain_statistics_run_and_marketing_is_asked(open_at: Open) -> None:
    page = open_at("GB")
    until(page, "order.includes('3')")
    assert page.evaluate("order.includes('ads')") is False
    expect(page.locator(BANNER)).to_be_visible()
    expect(button(page, "defer")).to_be_hidden()
    expect(page.locator(BANNER)).to_contain_text("until you say no")


@pytest.mark.parametrize("place", ["DE", None])
def test_where_one_is_asked_nothing_changes(open_at: Open, place: str | None) -> None:
    page = open_at(place)
    until(page, "order.includes('necessary')")
    page.wait_for_load_state("networkidle")
    assert page.evaluate("[order, events]") == [["necessary"], []]
    expect(page.locator(BANNER)).not_to_contain_text("until you say no", use_inner_text=True)
    assert page.context.cookies() == []


def test_consent_mode_follows_the_regime(open_at: Open) -> None:
    page = open_at("US")
    until(page, "order.includes('ads')")
    said = page.evaluate("dataLayer.map(e => [e[1], e[2].ad_storage, e[2].analytics_storage])")
    assert said == [["default", "denied", "denied"], ["update", "granted", "granted"]]


def test_a_hint_of_yesterday_runs_nothing_by_itself(open_at: Open, url: str, app: Flask) -> None:
    page = open_at("DE")
    revision = app.extensions["consentkit"].kit.revision
    stale = f"{revision}~a{int(time.time() // 86400) - 1}~preferences~analytics~marketing"
    page.context.add_cookies([{"name": "consent_hint", "value": stale, "url": url}])
    page.goto(url + "/other")
    expect(page.locator(BANNER)).to_be_visible()
    assert page.evaluate("order") == ["necessary"]


# ---------------------------------------------------------------- without script


def test_without_script_the_same_by_a_sheet_of_ones_own(open_at: Open, url: str) -> None:
    page = open_at("US", script=False)
    expect(page.locator(BANNER)).to_contain_text("until you say no", use_inner_text=True)
    expect(page.locator(BANNER)).not_to_contain_text("With your permission", use_inner_text=True)
    button(page, "defer").click()
    expect(page).to_have_url(url + "/")
    expect(page.locator(BANNER)).to_be_hidden()
    german = open_at("DE", script=False)
    expect(german.locator(BANNER)).to_contain_text("With your permission", use_inner_text=True)
    expect(german.locator(BANNER)).not_to_contain_text("until you say no", use_inner_text=True)
    expect(button(german, "defer")).to_be_hidden()


# ---------------------------------------------------------------- the signal


@pytest.mark.parametrize("place", ["US-CA", "DE"])
@pytest.mark.parametrize("gpc", ["header", "header script", "script"])
def test_the_signal_is_honoured_and_said(open_at: Open, place: str, gpc: str, app: Flask) -> None:
    """Also where it is said to the page alone, and the header never comes to the server."""
    page = open_at(place, gpc=gpc)
    expect(page.locator(f"{BANNER} {LINE}")).to_be_visible()
    until(page, f"order.includes('{'3' if place == 'US-CA' else 'necessary'}')")
    page.wait_for_load_state("networkidle")
    assert page.evaluate("order.includes('ads')") is False
    assert page.evaluate("order.includes('3')") is (place == "US-CA")
    assert page.evaluate("consentkit.state.denied.includes('marketing')") is True
    if "script" in gpc:
        assert page.evaluate("events.map((event) => event.source)") == ["gpc"]
    assert recorded(app) == []


def test_a_yes_after_a_signal_that_only_the_page_hears(open_at: Open, url: str) -> None:
    page = open_at("US-CA", gpc="script")
    until(page, "order.includes('3')")
    page.evaluate("consentkit.decide('accept-all')")
    until(page, "order.includes('ads')")
    page.goto(url + "/other")
    until(page, "order.includes('ads')")
    assert page.evaluate("document.documentElement.dataset.consentSignal") == ""


@pytest.mark.parametrize("place", ["US-CA", "DE"])
def test_the_signal_without_script(open_at: Open, place: str) -> None:
    page = open_at(place, script=False, gpc="header")
    expect(page.locator(f"{BANNER} {LINE}")).to_be_visible()
    expect(open_at(place, script=False).locator(f"{BANNER} {LINE}")).to_be_hidden()


@pytest.mark.parametrize("locale", LOCALES)
def test_the_line_in_every_language(open_at: Open, locale: str) -> None:
    page = open_at("US", f"/?locale={locale}", gpc="header script")
    expect(page.locator(f"{BANNER} {LINE}")).to_have_text(texts(locale)["banner.gpc"])
    page.goto(page.url.split("?")[0] + f"consent?locale={locale}")
    expect(page.get_by_text(texts(locale)["banner.gpc"])).to_be_visible()


def test_switched_on_later_it_stops_what_silence_allowed(open_at: Open, url: str) -> None:
    page = open_at("US-CA")
    until(page, "order.includes('ads')")
    page.context.set_extra_http_headers({"X-Place": "US-CA", "Sec-GPC": "1"})
    page.context.add_init_script(SIGNAL)
    page.goto(url + "/other")
    expect(page.locator(f"{BANNER} {LINE}")).to_be_visible()
    until(page, "order.includes('3')")
    assert page.evaluate("order.includes('ads')") is False


def test_an_explicit_yes_after_it_stands_and_the_line_goes(open_at: Open, url: str, app: Flask) -> None:
    page = open_at("US-CA", gpc="header script")
    expect(page.locator(f"{BANNER} {LINE}")).to_be_visible()
    button(page, "accept-all").click()
    until(page, "order.includes('ads')")
    page.goto(url + "/other")
    until(page, "order.includes('ads')")
    page.locator("#link").click()
    expect(page.locator(DIALOG)).to_be_visible()
    expect(page.locator(f"{DIALOG} {LINE}")).to_be_hidden()
    assert [item for item, _ in recorded(app)].count("gpc") == 1


@pytest.mark.parametrize(("locale", "scheme", "width"), [("en", "light", 1280), ("ar", "dark", 320)])
def test_the_notice_has_no_axe_violation(
    open_at: Open, locale: str, scheme: Any, width: int, page: Page, axe: Callable[[], list[Any]]
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    shown = open_at("US-CA", f"/?locale={locale}", gpc="header script")
    shown.set_viewport_size({"width": width, "height": 700})
    shown.emulate_media(color_scheme=scheme)
    expect(button(shown, "defer")).to_be_visible()
    assert Axe().run(shown).response["violations"] == []
    assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")
