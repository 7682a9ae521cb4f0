"""The age page in a real browser: with a keyboard, without script, after the back button."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, render_template_string
from playwright.sync_api import Browser, Page, expect

from consentkit import Controller, MinorRules, Site
from consentkit.core.texts import built_in
from tests.web.conftest import make_app, make_kit

Visit = Callable[..., Page]
PAGE = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Home</title>{{ consent_head() }}</head>'
    '<body>{{ consent_banner() }}<main><h1>Home</h1>{{ consent_notice("newsletter") }}</main></body></html>'
)
AGE_PAGE = re.compile(r"/consent/age\?next=/home$")


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    kit = make_kit(
        controller=Controller("Harbour Press", "privacy@harbour.example"),
        site=Site(name="Harbour Press", locales=built_in(), default_jurisdiction="DE"),
        minors=MinorRules(unknown_age="ask"),
    )
    app = make_app(kit, tmp_path)
    app.add_url_rule("/favicon.ico", "icon", lambda: ("", 204))
    app.add_url_rule("/home", "home_page", lambda: render_template_string(PAGE))
    return app


def keep(page: Page, name: str) -> None:
    """A picture for those who look: CONSENTKIT_SCREENSHOTS=<folder>."""
    if folder := os.environ.get("CONSENTKIT_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def write(page: Page, day: str, month: str, year: str) -> None:
    for name, value in (("Day", day), ("Month", month), ("Year", year)):
        page.get_by_label(name, exact=True).fill(value)
    page.get_by_role("button", name="Continue").click()


@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize("locale", ["en", "de", "zh", "ar", "pl"])
def test_it_fits_and_has_no_accessibility_faults(
    visit: Visit, axe: Callable[[], list[Any]], page: Page, locale: str, width: int
) -> None:
    visit(f"/consent/age?locale={locale}", width=width, height=800)
    keep(page, f"age-{locale}-{width}")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert axe() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_faults_and_the_end_have_none_either(
    visit: Visit, axe: Callable[[], list[Any]], page: Page, scheme: Any, expected_noise: list[str]
) -> None:
    expected_noise += ["Failed to load resource"]
    page.emulate_media(color_scheme=scheme)
    visit("/consent/age", width=320, height=800)
    write(page, "29", "2", "2011")
    expect(page.get_by_role("alert")).to_have_text("There is no such day. Please check day and month.")
    expect(page.get_by_label("Day", exact=True)).to_have_value("29")
    keep(page, f"age-fault-{scheme}")
    assert axe() == []
    write(page, "28", "2", "1987")
    expect(page.get_by_role("status")).to_contain_text("nothing more to answer")
    assert axe() == []
    page.context.clear_cookies(name="consent")
    visit("/consent/age")
    expect(page.get_by_text("privacy@harbour.example")).to_be_visible()
    keep(page, f"age-used-{scheme}")
    assert axe() == []


def test_with_a_keyboard_there_and_back(visit: Visit, page: Page) -> None:
    visit("/letters")
    assert page.url.endswith("/consent/age?next=/letters")
    page.get_by_label("Day", exact=True).focus()
    for key in ("3", "Tab", "9", "Tab", "1987"):
        page.keyboard.press(key) if key == "Tab" else page.keyboard.type(key)
    page.keyboard.press("Enter")
    page.wait_for_url("**/consent?next=/letters")
    expect(page.get_by_role("heading", name="Privacy choices")).to_be_visible()


def test_the_back_button_gives_no_second_chance(visit: Visit, page: Page, expected_noise: list[str]) -> None:
    expected_noise += ["Failed to load resource"]
    visit("/consent/age?next=/plain")
    write(page, "1", "1", "2020")
    page.wait_for_url("**/plain")
    page.go_back()
    page.wait_for_load_state()
    assert page.get_by_role("button", name="Continue").count() == 0
    visit("/letters")
    expect(page.get_by_role("heading")).to_have_text("A parent or guardian has to agree")


def test_without_script(browser: Browser, url: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{url}/letters")
    write(page, "3", "9", "1987")
    expect(page.get_by_role("heading", name="Privacy choices")).to_be_visible()
    context.close()


def test_the_banners_yes_leads_there(visit: Visit, page: Page, expected_noise: list[str]) -> None:
    expected_noise += ["Failed to load resource"]
    visit("/home")
    page.get_by_role("button", name="Accept all").first.click()
    page.wait_for_url(AGE_PAGE)
    write(page, "3", "9", "1987")
    page.wait_for_url("**/home")
    page.get_by_role("button", name="Accept all").first.click()
    expect(page.locator("html")).to_have_attribute("data-consent", "decided")


def test_so_does_the_yes_to_a_notice(visit: Visit, page: Page, expected_noise: list[str]) -> None:
    expected_noise += ["Failed to load resource"]
    visit("/home")
    page.locator("[data-consent-ask]").get_by_role("button", name="Allow", exact=True).click()
    page.wait_for_url(AGE_PAGE)
