"""The banner in a browser: reachable, equal, quiet, and complete without script."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from banner_site import until
from flask import Flask
from playwright.sync_api import Browser, Page, Request, expect

BANNER, DIALOG, NOTE = "[data-consent-banner]", "[data-consent-dialog]", "[data-consent-note]"
Visit = Callable[..., Page]
WIDTHS = [(1280, 800), (320, 640)]


def button(page: Page, decision: str, within: str = BANNER) -> Any:
    return page.locator(f"{within} [data-consent-action={decision}]")


def events(app: Flask) -> list[tuple[str, str]]:
    """What was recorded: purpose and action, in order."""
    return [(event.item, str(event.action)) for event in app.config["RECORDED"]]


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.id || document.activeElement.tagName"))


# ---------------------------------------------------------------- accessibility


@pytest.mark.parametrize(("locale", "scheme"), [("en", "light"), ("ar", "dark")])
@pytest.mark.parametrize(("width", "height"), WIDTHS)
def test_no_state_has_an_axe_violation(
    visit: Visit, axe: Callable[[], list[Any]], width: int, height: int, locale: str, scheme: Any
) -> None:
    page = visit(f"/?locale={locale}", width=width, height=height)
    page.emulate_media(color_scheme=scheme)
    assert page.evaluate("getComputedStyle(document.querySelector('.ck')).direction") == (
        "rtl" if locale == "ar" else "ltr"
    )
    assert axe() == []
    button(page, "preferences").click()
    page.locator(f"{DIALOG} summary").nth(2).click()
    page.locator(f"{DIALOG} [value=analytics]").check()
    page.wait_for_timeout(200)  # the switch's transition
    assert axe() == []
    button(page, "save", DIALOG).click()
    expect(page.locator(NOTE)).to_be_visible()
    assert axe() == []


@pytest.mark.parametrize("path", ["", "/policies/terms", "/accept/terms", "/receipt"])
@pytest.mark.parametrize(("width", "scheme", "locale"), [(1280, "dark", "en"), (320, "light", "ar")])
def test_no_page_has_an_axe_violation(
    visit: Visit, axe: Callable[[], list[Any]], path: str, width: int, scheme: Any, locale: str
) -> None:
    page = visit("/")
    button(page, "accept-all").click()
    expect(page.locator(NOTE)).to_be_visible()
    page.emulate_media(color_scheme=scheme)
    visit(f"/consent{path}?locale={locale}", width=width, height=700)
    assert axe() == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("document.documentElement.lang") in (locale, "en")
    assert page.locator("header a").count() == 2


def test_the_pages_for_a_no_have_no_axe_violation(
    visit: Visit, app: Flask, axe: Callable[[], list[Any]], expected_noise: list[str]
) -> None:
    expected_noise.append("Failed to load resource")
    from consentkit import requires_consent

    app.add_url_rule("/letters", "letters", requires_consent("stats")(lambda: "letters"))
    page = visit("/")
    button(page, "reject-all").click()
    expect(page.locator(NOTE)).to_be_visible()
    visit("/letters")
    expect(page.get_by_role("heading", level=1)).to_have_text("You said no to this")
    assert axe() == []
    page.get_by_role("link", name="Look at my choices").click()
    expect(page).to_have_url(re.compile("/consent\\?locale=en$"))


def test_one_tab_reaches_the_banner_and_nothing_holds_it(visit: Visit) -> None:
    page = visit()
    assert focused(page) == "BODY", "focus was stolen"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('[data-consent-banner]') !== null")
    for _ in range(3):
        page.keyboard.press("Tab")
    assert focused(page) == "first", "the way out of the banner"


def test_enter_answers_and_focus_goes_to_the_confirmation(visit: Visit, app: Flask) -> None:
    page = visit()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(NOTE)).to_be_focused()
    expect(page.locator(NOTE)).to_have_attribute("role", "alert")
    expect(page.locator(NOTE)).to_contain_text("rejected")
    assert page.locator(BANNER).is_hidden()
    assert ("stats", "refused") in events(app)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(NOTE)).to_be_hidden()
    assert focused(page) == "MAIN", "focus fell to the body"


def test_escape_close_and_backdrop_are_no_answer(visit: Visit, app: Flask) -> None:
    page = visit()
    preferences = button(page, "preferences")
    for leave in (
        lambda: page.keyboard.press("Escape"),
        lambda: button(page, "close", DIALOG).click(),
        lambda: page.mouse.click(5, 5),
    ):
        preferences.focus()
        page.keyboard.press("Enter")
        expect(page.locator(DIALOG)).to_be_visible()
        assert page.evaluate("document.activeElement.closest('dialog') !== null")
        assert page.locator(f"{DIALOG} input:checked").count() == 0, "preselected"
        leave()
        expect(page.locator(DIALOG)).to_be_hidden()
        expect(preferences).to_be_focused()
        expect(page.locator(BANNER)).to_be_visible()
    assert events(app) == []
    assert page.context.cookies() == []


@pytest.mark.parametrize("locale", ["en", "pl"])
@pytest.mark.parametrize("width", [1280, 600, 320])
@pytest.mark.parametrize("where", [BANNER, DIALOG, "main"])
def test_accepting_and_rejecting_are_equal(visit: Visit, where: str, width: int, locale: str) -> None:
    page = visit(f"{'/consent' if where == 'main' else '/'}?locale={locale}", width=width, height=700)
    if where == DIALOG:
        button(page, "preferences").click()
    page.mouse.move(0, 0)  # away from where it opened the dialog
    boxes, styles = [], []
    for decision in ("accept-all", "reject-all"):
        it = button(page, decision, where)
        box = it.bounding_box()
        boxes.append((box["width"], box["height"]))
        styles.append(
            it.evaluate(
                "e => { const s = getComputedStyle(e); return [...s]"
                ".filter(p => !/origin|inline-size|^width/.test(p)).map(p => p + s.getPropertyValue(p)) }"
            )
        )
    assert boxes[0] == boxes[1]
    assert styles[0] == styles[1]
    assert min(boxes[0]) >= 24


WHOLE_WORDS = """() => {
  const broken = [], range = document.createRange();
  for (const e of document.querySelectorAll(".ck button, .ck dt")) {
    if (!e.checkVisibility()) continue;
    for (const node of [...e.childNodes].filter(n => n.nodeType === 3))
      for (const word of node.data.matchAll(/\\S+/g)) {
        range.setStart(node, word.index);
        range.setEnd(node, word.index + word[0].length);
        if (new Set([...range.getClientRects()].map(r => r.top)).size > 1) broken.push(word[0]);
      }
  }
  return broken }"""


@pytest.mark.parametrize("locale", ["en", "de", "fr", "pl"])
def test_no_button_or_label_breaks_a_word_on_a_narrow_screen(visit: Visit, locale: str) -> None:
    page = visit(f"/?locale={locale}", width=320, height=640)
    broken = page.evaluate(WHOLE_WORDS)
    button(page, "preferences").click()
    for summary in page.locator(f"{DIALOG} summary").all():
        summary.click()
    assert broken + page.evaluate(WHOLE_WORDS) == []
    visit(f"/consent?locale={locale}", width=320, height=640)
    for summary in page.locator("main summary").all():
        summary.click()
    assert page.evaluate(WHOLE_WORDS) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_focus_is_never_behind_the_banner(visit: Visit) -> None:
    page = visit("/", width=1280, height=600)
    hidden = []
    for _ in range(50):
        page.keyboard.press("Tab")
        hidden += page.evaluate(
            """() => { const e = document.activeElement, b = document.querySelector('[data-consent-banner]');
            if (e === document.body || b.contains(e)) return [];
            return e.getBoundingClientRect().bottom > b.getBoundingClientRect().top ? [e.outerHTML] : [] }"""
        )
    assert hidden == []


@pytest.mark.parametrize("position", ["bottom", "top"])
@pytest.mark.parametrize(("width", "height", "size"), [(320, 640, 100), (320, 256, 100), (640, 400, 200)])
def test_narrow_low_and_enlarged_screens_lose_nothing(
    visit: Visit, position: str, width: int, height: int, size: int
) -> None:
    page = visit(f"/?locale=de&position={position}", width=width, height=height)
    page.evaluate(f"document.documentElement.style.fontSize = '{size}%'")
    for decision in ("accept-all", "reject-all", "preferences"):
        button(page, decision).scroll_into_view_if_needed()
        expect(button(page, decision)).to_be_in_viewport(ratio=0.99)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    button(page, "preferences").click()
    for decision in ("save", "accept-all", "reject-all"):
        button(page, decision, DIALOG).scroll_into_view_if_needed()
        expect(button(page, decision, DIALOG)).to_be_in_viewport(ratio=0.99)
    assert page.locator(DIALOG).evaluate("e => e.scrollWidth <= e.clientWidth && e.clientWidth <= innerWidth")


def test_forced_colours_and_reduced_motion(visit: Visit) -> None:
    page = visit()
    switch = page.locator(f"{DIALOG} [role=switch]").first
    style = "e => [getComputedStyle(e).appearance, getComputedStyle(e).transitionDuration]"
    assert switch.evaluate(style) == ["none", "0.15s"]
    page.emulate_media(forced_colors="active", reduced_motion="reduce")
    assert switch.evaluate(style) == ["auto", "0s"]


# ---------------------------------------------------------------- first paint


@pytest.mark.parametrize("position", ["bottom", "top"])
@pytest.mark.parametrize("inline", [False, True])
def test_nothing_shifts_and_nothing_flashes(
    page: Page, app: Flask, visit: Visit, expected_noise: list[str], position: str, inline: bool
) -> None:
    expected_noise.append("Failed to load resource")
    use_inline(app, inline)
    visit(f"/?position={position}")
    expect(page.locator(BANNER)).to_be_visible()
    page.wait_for_timeout(300)
    assert page.evaluate("window.shift") == 0
    button(page, "reject-all").click()
    expect(page.locator(NOTE)).to_be_visible()
    # who has decided never sees the banner: not even before the deferred script runs
    page.route(re.compile("consentkit.min.js"), lambda route: route.abort())
    page.add_init_script(
        """window.seen = []; new MutationObserver(() => {
        const banner = document.querySelector('[data-consent-banner]');
        if (banner) seen.push(getComputedStyle(banner).display);
        }).observe(document, { childList: true, subtree: true })"""
    )
    page.goto(page.url)
    assert set(page.evaluate("window.seen")) == {"none"}
    assert page.evaluate("window.shift") == 0
    page.unroute(re.compile("consentkit.min.js"))
    page.goto("about:blank")


def use_inline(app: Flask, inline: bool) -> None:
    """Head script and style in the page, with their hashes in its policy."""
    from dataclasses import replace

    from consentkit.web import assets

    state = app.extensions["consentkit"]
    state.settings = replace(state.settings, inline=inline)
    sources = assets.csp_sources(inline=inline)
    app.config["CSP"] += "".join(f"; {name} {' '.join(values)}" for name, values in sources.items())


# ---------------------------------------------------------------- without script


def test_everything_works_without_script(browser: Browser, url: str, app: Flask) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(url + "/other")
    expect(page.locator(BANNER)).to_be_visible()
    button(page, "reject-all").click()
    expect(page).to_have_url(url + "/other")
    expect(page.locator(BANNER)).to_be_hidden()
    assert {action for _, action in events(app)} == {"refused"}
    page.locator("#link").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Privacy choices")
    page.get_by_role("switch", name="Statistics").check()
    page.get_by_role("checkbox", name="Health data").check()
    page.get_by_role("button", name="Save my choices").click()
    expect(page.get_by_role("status")).to_contain_text("saved")
    expect(page.get_by_role("switch", name="Statistics")).to_be_checked()
    expect(page.get_by_role("checkbox", name="Health data")).to_be_checked()
    expect(page.get_by_role("switch", name="Marketing")).not_to_be_checked()
    assert ("health", "given") in events(app)
    page.get_by_role("button", name="Withdraw everything").click()
    expect(page.get_by_role("switch", name="Statistics")).not_to_be_checked()
    assert ("health", "withdrawn") in events(app)
    context.close()


def test_the_detailed_choice_without_script_is_a_page_in_the_same_language(
    browser: Browser, url: str
) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(url + "/?locale=de")
    button(page, "preferences").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Datenschutz-Einstellungen")
    context.close()


# ---------------------------------------------------------------- answers


def test_a_detailed_choice_grants_exactly_what_was_ticked(visit: Visit, app: Flask) -> None:
    page = visit()
    button(page, "preferences").click()
    page.get_by_role("switch", name="Statistics").check()
    page.get_by_role("checkbox", name="Health data").check()
    button(page, "save", DIALOG).click()
    expect(page.locator(NOTE)).to_be_focused()
    assert sorted(events(app)) == [
        ("ads", "refused"),
        ("health", "given"),
        ("look", "refused"),
        ("stats", "given"),
    ]
    expect(page.locator("html")).to_have_attribute("data-consent-granted", "analytics health")
    detail = page.evaluate("window.events.at(-1)")
    assert detail["decided"] is True
    assert detail["source"] == "dialog"
    assert sorted(detail["granted"]) == ["analytics", "health"]
    assert sorted(detail["denied"]) == ["marketing", "preferences"]
    assert sorted(detail["changed"]) == ["analytics", "health"]
    assert detail["id"]
    assert detail["at"]
    assert len(detail["revision"]) == 8
    page.locator("#link").click()
    assert page.locator(f"{DIALOG} input:checked").evaluate_all("all => all.map(e => e.value)") == [
        "analytics",
        "health",
    ]


def test_accepting_all_leaves_out_what_stands_apart(visit: Visit, app: Flask) -> None:
    page = visit()
    button(page, "accept-all").click()
    expect(page.locator(NOTE)).to_be_visible()
    assert sorted(events(app)) == [("ads", "given"), ("look", "given"), ("stats", "given")]
    assert page.evaluate("consentkit.allows('health')") is False


def test_a_button_of_the_host_answers(visit: Visit, app: Flask) -> None:
    page = visit()
    page.locator("#host-reject").click()
    expect(page.locator(NOTE)).to_be_visible()
    assert page.evaluate("window.events.at(-1).source") == "api"
    assert {action for _, action in events(app)} == {"refused"}
    page.get_by_role("button", name="Hide this message").click()
    page.evaluate("consentkit.show()")
    expect(page.locator(BANNER)).to_be_visible()


def test_the_script_can_answer_for_a_form_of_the_host(visit: Visit, app: Flask) -> None:
    page = visit()
    page.evaluate("consentkit.decide('save', ['analytics', 'health'])")
    expect(page.locator(NOTE)).to_be_visible()
    assert sorted(events(app)) == [
        ("ads", "refused"),
        ("health", "given"),
        ("look", "refused"),
        ("stats", "given"),
    ]


@pytest.mark.parametrize("status", [403, 422, 503, 0])
def test_a_failure_is_said_and_changes_nothing(
    visit: Visit, axe: Callable[[], list[Any]], status: int, expected_noise: list[str]
) -> None:
    expected_noise.append("Failed to load resource")
    page = visit()
    problem = {
        "status": status,
        "content_type": "application/problem+json",
        "body": '{"detail": "<b>no</b>", "decided": true, "granted": ["analytics"]}',
    }
    page.route("**/consent", lambda route: route.fulfill(**problem) if status else route.abort())
    accept = button(page, "accept-all")
    accept.click()
    error = page.locator(f"{BANNER} [role=alert]")
    expect(error).to_contain_text("nothing has changed")
    expect(page.locator(BANNER)).to_be_visible()
    expect(accept).to_be_focused()
    assert page.evaluate("window.order") == ["necessary"]
    assert page.evaluate("window.events") == []
    assert axe() == []
    button(page, "preferences").click()
    button(page, "save", DIALOG).click()
    expect(page.locator(f"{DIALOG} [role=alert]")).to_contain_text("nothing has changed")
    expect(page.locator(DIALOG)).to_be_visible()


def test_a_grant_on_an_older_text_leads_to_the_new_one(
    visit: Visit, app: Flask, expected_noise: list[str]
) -> None:
    expected_noise.append("Failed to load resource")
    page = visit("/other")
    page.evaluate(f"document.querySelector('{BANNER} [name=notice]').value = '{'0' * 64}'")
    button(page, "accept-all").click()
    page.wait_for_url("**/consent?outdated=1**")
    expect(page.get_by_role("alert")).to_contain_text("changed")
    assert ("stats", "given") not in events(app)
    page.get_by_role("button", name="Reject all").click()
    page.wait_for_url("**/other")


def test_an_answer_in_one_tab_reaches_the_other(visit: Visit, url: str) -> None:
    page = visit()
    other = page.context.new_page()
    other.goto(url + "/other")
    button(page, "accept-all").click()
    expect(other.locator(BANNER)).to_be_hidden()
    until(other, "order.includes('3') && order.includes('ads')")
    assert other.evaluate("window.events.at(-1).source") == "restored"
    assert other.locator(NOTE).is_hidden(), "only the tab where one answered speaks"


def test_a_hint_of_another_revision_is_asked_about_once(visit: Visit, url: str) -> None:
    page = visit()
    button(page, "accept-all").click()
    expect(page.locator(NOTE)).to_be_visible()
    page.context.add_cookies([{"name": "consent_hint", "value": "00000000~d~marketing", "url": url}])
    asked: list[Request] = []
    page.on("request", lambda r: asked.append(r) if r.url.endswith("/consent/status") else None)
    visit("/other")
    expect(page.locator(BANNER)).to_be_hidden()
    until(page, "order.includes('3')")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_timeout(100)
    assert len(asked) == 1


def test_gpc_is_shown_and_nothing_is_stored(browser: Browser, url: str, app: Flask) -> None:
    context = browser.new_context(extra_http_headers={"Sec-GPC": "1"})
    context.add_init_script("Object.defineProperty(navigator, 'globalPrivacyControl', {value: true})")
    page = context.new_page()
    page.goto(url)
    expect(page.locator(f"{BANNER} [data-consent-gpc]")).to_be_visible()
    assert context.cookies() == []
    context.close()
    context = browser.new_context(java_script_enabled=False, extra_http_headers={"Sec-GPC": "1"})
    page = context.new_page()
    page.goto(url)
    expect(page.locator(f"{BANNER} [data-consent-gpc]")).to_be_visible()
    context.close()
    assert events(app) == []


def test_no_signal_no_word_about_it(visit: Visit) -> None:
    page = visit()
    assert page.locator(f"{BANNER} [data-consent-gpc]").is_hidden()
