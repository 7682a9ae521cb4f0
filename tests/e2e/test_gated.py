"""Gated tags in a browser: what waits, in which order it runs, what never runs, and how it stops."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from banner_site import NONCE, becomes, until
from flask import Flask
from playwright.sync_api import BrowserType, Page, expect

BANNER, DIALOG, NOTE = "[data-consent-banner]", "[data-consent-dialog]", "[data-consent-note]"
Visit = Callable[..., Page]
GATED = re.compile(r"/(tag\.js\?(1|2|3|ads|health)|embed\.html)$")


def answer(page: Page, decision: str) -> None:
    page.locator(f"{BANNER} [data-consent-action={decision}]").click()
    expect(page.locator(NOTE)).to_be_visible()


def listen(page: Page) -> list[str]:
    """The addresses that are fetched from now on."""
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url))
    return fetched


def test_nothing_gated_is_fetched_before_consent_or_after_a_refusal(page: Page, visit: Visit) -> None:
    fetched = listen(page)
    visit()
    until(page, "order.includes('necessary')")
    answer(page, "reject-all")
    visit("/other")
    until(page, "order.includes('necessary')")
    page.wait_for_timeout(200)
    assert [url for url in fetched if GATED.search(url)] == []
    assert any(url.endswith("tag.js?necessary") for url in fetched)


def test_only_what_was_allowed_is_fetched(page: Page, visit: Visit) -> None:
    fetched = listen(page)
    visit()
    page.evaluate("consentkit.decide('save', ['analytics'])")
    until(page, "order.includes('3')")
    assert [url for url in fetched if re.search(r"\?(ads|health)$|embed", url)] == []
    assert page.evaluate("window.order.filter(x => x !== 'necessary')") == ["1", "2", "3"]


def test_scripts_run_in_the_order_of_the_page(visit: Visit) -> None:
    page = visit("/?nonce")
    answer(page, "accept-all")
    until(page, "order.includes('ads')")
    assert page.evaluate("order.filter(x => x !== 'necessary')") == ["1", "2", "inline", "3", "ads"]
    visit("/?nonce")
    until(page, "order.includes('ads')")
    assert page.evaluate("order") == ["1", "2", "inline", "3", "ads", "necessary"]
    assert page.evaluate("window.events.map(e => e.source)") == ["restored"]


def test_an_embed_waits_behind_a_notice(visit: Visit) -> None:
    page = visit()
    notice = page.locator("[data-consent-embed] .ck-notice")
    expect(notice).to_contain_text("Marketing")
    assert page.locator("iframe").count() == 0
    notice.get_by_role("link").click()
    expect(page.get_by_role("switch", name="Marketing")).to_be_focused()
    page.keyboard.press("Space")
    page.locator(f"{DIALOG} [data-consent-action=save]").click()
    expect(page.frame_locator("iframe").get_by_text("A video")).to_be_visible()
    expect(notice).to_be_hidden()


def test_templates_images_and_async_are_as_authored(app: Flask, visit: Visit) -> None:
    app.config["EXTRA"] = """
        <template data-category="analytics"><p id="inside">Hi</p><script src="/tag.js?1"></script>
        <script src="/tag.js?t2"></script><script type="application/json" id="data">{}</script></template>
        <img id="pixel" alt="" data-category="analytics" data-src="/pixel.gif">
        <iframe id="evil" title="evil" data-category="analytics" data-src="javascript:alert(1)"></iframe>
        <script type="text/plain" data-category="analytics" data-type="module" data-src="/tag.js?module">
        </script>
        <script type="text/plain" data-category="analytics" data-src="/tag.js?async" async id="later">
        </script>"""
    page = visit()
    page.route(
        "**/pixel.gif", lambda route: route.fulfill(status=200, content_type="image/gif", body=b"GIF89a")
    )
    assert page.locator("#inside").count() == 0
    page.evaluate("consentkit.decide('save', ['analytics'])")
    until(page, "order.includes('module') && order.includes('async') && order.includes('t2')")
    order = [x for x in page.evaluate("order") if x != "async"]
    assert order == ["necessary", "1", "2", "3", "1", "t2", "module"]
    expect(page.locator("#inside")).to_be_visible()
    assert page.locator("#pixel").get_attribute("src", timeout=1000) is not None
    assert page.locator("#evil").get_attribute("src", timeout=1000) is None
    assert page.locator("#data").get_attribute("type") == "application/json"
    assert page.locator("#later").evaluate("e => e.async") is True


def test_a_tag_without_the_nonce_of_the_page_never_runs(app: Flask, visit: Visit) -> None:
    """What somebody injects into a page must not run with our rights (strict-dynamic)."""
    app.config["EXTRA"] = f"""
        <script type="text/plain" data-category="analytics">ran("injected")</script>
        <script type="text/plain" data-category="necessary">ran("injected necessary")</script>
        <script type="text/plain" data-category="analytics" nonce="wrong">ran("wrong nonce")</script>
        <script type="text/plain" data-category="analytics" data-src="/tag.js?injected"></script>
        <template data-category="analytics"><script>ran("injected template")</script></template>
        <template data-category="analytics"><script nonce="{NONCE}">ran("own template")</script></template>"""
    page = visit("/?nonce")
    answer(page, "accept-all")
    until(page, "order.includes('own template')")
    page.wait_for_timeout(200)
    assert page.evaluate("order.filter(x => /inject|wrong/.test(x))") == []


def test_withdrawing_stops_what_runs_by_a_new_page(visit: Visit, url: str) -> None:
    page = visit()
    answer(page, "accept-all")
    until(page, "order.includes('3')")
    page.context.add_cookies([{"name": "_st1", "value": "x", "url": url}])
    page.evaluate("window.before = true")
    page.locator("#link").click()
    with page.expect_event("load"):
        page.locator(f"{DIALOG} [data-consent-action=reject-all]").click()
    until(page, "window.before === undefined")
    expect(page.locator(NOTE)).to_be_focused()
    expect(page.locator(NOTE)).to_contain_text("rejected")
    assert page.evaluate("order.filter(x => x !== 'necessary')") == []
    becomes(page, lambda: "_st1" in {cookie["name"] for cookie in page.context.cookies()}, False)
    page.reload()
    assert page.locator(NOTE).is_hidden(), "the confirmation is said once"


def test_a_host_that_stops_its_scripts_itself_keeps_the_page(visit: Visit) -> None:
    page = visit()
    answer(page, "accept-all")
    until(page, "order.includes('3')")
    page.evaluate(
        "window.before = true; addEventListener('consentkit:change', (e) => e.preventDefault(), true)"
    )
    page.locator("#link").click()
    page.locator(f"{DIALOG} [data-consent-action=reject-all]").click()
    expect(page.locator(NOTE)).to_be_focused()
    assert page.evaluate("window.before") is True


def test_refusing_what_never_ran_keeps_the_page(visit: Visit) -> None:
    page = visit()
    page.evaluate("window.before = true")
    answer(page, "reject-all")
    page.wait_for_timeout(200)
    assert page.evaluate("window.before") is True


def test_swapped_content_is_looked_through(visit: Visit) -> None:
    page = visit()
    answer(page, "accept-all")
    page.evaluate(
        """() => { const tag = document.createElement('script'); tag.type = 'text/plain';
        tag.dataset.category = 'analytics'; tag.dataset.src = '/tag.js?swapped';
        document.querySelector('main').append(tag);
        document.dispatchEvent(new Event('htmx:afterSwap')) }"""
    )
    until(page, "order.includes('swapped')")
    page.evaluate(
        """() => { const tag = document.createElement('script'); tag.type = 'text/plain';
        tag.dataset.category = 'health'; tag.dataset.src = '/tag.js?denied';
        document.querySelector('main').append(tag); return consentkit.rescan() }"""
    )
    assert "denied" not in page.evaluate("order")


def test_consent_mode_has_one_default_and_one_update(visit: Visit) -> None:
    page = visit()
    layer = "() => dataLayer.map(entry => [...entry])"
    names = {"ad_storage", "ad_user_data", "ad_personalization", "analytics_storage"}
    others = {"functionality_storage", "personalization_storage", "security_storage"}
    (default,) = page.evaluate(layer)
    assert default[:2] == ["consent", "default"]
    assert default[2] == {**dict.fromkeys(names | others, "denied"), "wait_for_update": 500}
    page.evaluate("consentkit.decide('save', ['analytics'])")
    until(page, "order.includes('3')")
    _, update = page.evaluate(layer)
    assert update[:2] == ["consent", "update"]
    assert update[2] == {**dict.fromkeys(names | others, "denied"), "analytics_storage": "granted"}


def test_a_page_from_the_back_forward_cache_knows_the_new_answer(
    browser_type: BrowserType, whole_browser_launch_args: dict[str, Any], url: str
) -> None:
    """Playwright switches the cache off by default."""
    browser = browser_type.launch(
        **whole_browser_launch_args, ignore_default_args=["--disable-back-forward-cache"]
    )
    page = browser.new_page()
    page.goto(url + "/")
    expect(page.locator(BANNER)).to_be_visible()
    page.evaluate("window.kept = true")
    page.goto(url + "/other")
    answer(page, "accept-all")
    page.evaluate("history.back()")
    page.wait_for_url(url + "/", wait_until="commit")
    if not page.evaluate("window.kept"):
        browser.close()
        pytest.fail("the page was not kept by the back-forward cache")
    expect(page.locator(BANNER)).to_be_hidden()
    until(page, "order.includes('3')")
    browser.close()
