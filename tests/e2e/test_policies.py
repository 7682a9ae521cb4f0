"""Acceptance, archive, differences, announcements and notices in a real browser: seen, read out, clicked."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, render_template_string, request
from playwright.sync_api import Browser, Page, expect
from releases import DATE, START, Site, version

from consentkit import Party, Policy, PolicyVersion, Purpose
from consentkit import Site as Facts

Visit = Callable[..., Page]
PLACES = ("/consent/accept/terms", "/consent/accept/terms?version=3", "/consent/policies/terms")
CHANGED = "/consent/policies/terms/2/diff"
WIDTHS = (320, 1280)

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>Home</title>{{ consent_head() }}</head>
<body>{{ consent_announcements() }}<main><h1>Home</h1><p>Welcome.</p>
{{ consent_notice("location") }}</main></body></html>"""


def long_text(kept: str, extra: str = "") -> dict[str, str]:
    """Terms of some length, in three scripts."""
    clauses = "\n\n".join(
        f"{n}. You may read, and you may write to us about clause {n}." for n in range(3, 20)
    )
    english = (
        f"# Terms of use\n\nThese are the terms of Harbour Press.\n\n1. Be kind to other readers.\n\n"
        f"2. We keep your letters for {kept}, and then destroy them.\n\n{clauses}\n\n{extra}"
        "| Data | Kept |\n|---|---|\n| Letters | " + kept + " |\n"
    )
    return {
        "en": english,
        "zh": f"# 使用条款\n\n请友善对待其他读者。\n\n我们保存您的信件{kept}\uff0c然后销毁。",
        "ar": f"# شروط الاستخدام\n\nكن لطيفًا مع القراء الآخرين.\n\nنحتفظ برسائلك {kept} ثم نتلفها.",
    }


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Version 2 is in force and 3 announced; Ada accepted 1; a breach concerns her."""
    breach = Policy(
        "breach",
        title="Your password was read",
        kind="announcement",
        audience="selected",
        versions=[PolicyVersion("1", texts={"en": "# Breach"}, summary="Change it today.")],
    )
    given: dict[str, Any] = {
        "more": (breach,),
        "site": Facts(name="Harbour Press", locales=("en", "de", "zh", "ar")),
        "parties": [Party("maps", "Maps Ltd", url="https://maps.example/", country="IE")],
        "purposes": (
            *(Purpose(key, title=key, policies=()) for key in ("newsletter", "letters_by_terms")),
            Purpose("statistics", title="Statistics", category="analytics"),
            Purpose(
                "location",
                title="Where you are",
                description="To show what is near.",
                data=["place, to 100 m"],
                recipients=["maps"],
                retention="one day",
            ),
        ),
    }
    first = version("1", START, texts=long_text("two years"))
    second = version(
        "2", texts=long_text("five years", "20. We may change these terms.\n\n"), summary="Kept for longer"
    )
    third = version(
        "3", DATE, texts=long_text("ten years", "20. We may change these terms.\n\n"), summary="Longer still"
    )
    made = Site(tmp_path)
    made.deploy(START, first, **given)
    with made.app.app_context():
        made.kit.accept("ada", "terms")
        made.kit.announce("breach", ["ada"])
    made.deploy(START + timedelta(days=1), first, second, third, **given)
    made.app.add_url_rule("/home", "home_page", lambda: render_template_string(PAGE))
    made.app.add_url_rule("/favicon.ico", "icon", lambda: ("", 204))
    yield made
    made.close()


@pytest.fixture
def app(site: Site) -> Flask:
    return site.app


def sign_in(page: Page, url: str, user: str = "ada") -> None:
    page.request.post(f"{url}/login", form={"user": user})


def keep(page: Page, name: str) -> None:
    """A picture for those who look: CONSENTKIT_SCREENSHOTS=<folder>."""
    if folder := os.environ.get("CONSENTKIT_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def no_wider_than_the_window(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


# ---------------------------------------------------------------- how it looks and reads


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "place", [*PLACES, CHANGED, "/consent/policies/terms/3", "/consent/announcements", "/home"]
)
def test_pages_fit_and_have_no_accessibility_faults(
    visit: Visit, axe: Callable[[], list[Any]], url: str, page: Page, place: str, width: int
) -> None:
    sign_in(page, url)
    visit(place, width=width, height=800)
    page.wait_for_load_state("networkidle")
    keep(page, f"{re.sub(r'[^a-z0-9]+', '-', place)}-{width}")
    no_wider_than_the_window(page)
    assert axe() == []


@pytest.mark.parametrize("scheme", ["dark"])
@pytest.mark.parametrize("place", [CHANGED, "/consent/policies/terms/3", "/home"])
def test_in_the_dark(visit: Visit, axe: Callable[[], list[Any]], page: Page, place: str, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    visit(place, width=800, height=800)
    page.wait_for_load_state("networkidle")
    keep(page, f"{re.sub(r'[^a-z0-9]+', '-', place)}-{scheme}")
    assert axe() == []


@pytest.mark.parametrize("locale", ["ar", "zh"])
@pytest.mark.parametrize("place", ["/consent/policies/terms/2", CHANGED, PLACES[0]])
def test_other_scripts(
    visit: Visit, axe: Callable[[], list[Any]], page: Page, place: str, locale: str
) -> None:
    visit(f"{place}?locale={locale}", width=320, height=800)
    keep(page, f"{re.sub(r'[^a-z0-9]+', '-', place)}-{locale}")
    expected = "rtl" if locale == "ar" else "ltr"
    assert page.locator("article").first.evaluate("e => getComputedStyle(e).direction") == expected
    no_wider_than_the_window(page)
    assert axe() == []


def test_a_text_without_a_translation_keeps_its_own_direction(
    visit: Visit, axe: Callable[[], list[Any]]
) -> None:
    page = visit("/consent/policies/privacy?locale=ar")
    assert page.evaluate("getComputedStyle(document.body).direction") == "rtl"
    assert page.locator("article").evaluate("e => getComputedStyle(e).direction") == "ltr"
    assert axe() == []


def test_changes_are_not_told_by_colour_alone(visit: Visit) -> None:
    page = visit(CHANGED)
    lines = {
        tag: page.locator(f"article {tag}").first.evaluate("e => getComputedStyle(e).textDecorationLine")
        for tag in ("ins", "del")
    }
    assert lines == {"ins": "underline", "del": "line-through"}
    assert "[added: five]" in (page.locator("article").text_content() or "")
    page.emulate_media(forced_colors="active")
    assert (
        page.locator("article del").first.evaluate("e => getComputedStyle(e).textDecorationLine")
        == "line-through"
    )


def test_the_archive_on_paper(visit: Visit, page: Page, tmp_path: Path) -> None:
    for number, place in enumerate((CHANGED, "/consent/policies/terms/1")):
        visit(place)
        page.emulate_media(media="print", color_scheme="dark")
        keep(page, f"print-{number}")
        expect(page.locator(".ck-bar")).to_be_hidden()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert page.locator("h1").first.evaluate("e => getComputedStyle(e).color") == "rgb(0, 0, 0)"
        assert len(page.pdf()) > 5000


# ---------------------------------------------------------------- announcements


def test_what_is_visible_is_recorded_once_and_goes_when_it_was_seen(
    visit: Visit, page: Page, url: str, site: Site
) -> None:
    sign_in(page, url)
    with page.expect_response(lambda r: r.request.method == "POST" and "/announcements" in r.url):
        visit("/home")
    bar = page.locator("[data-consent-announcements]")
    expect(bar.locator("form:visible")).to_have_count(2)
    expect(bar).to_contain_text("Your password was read")
    page.wait_for_load_state("networkidle")
    told = [said for said in site.said() if said[0] == "notified"]
    assert sorted(said[1:3] for said in told) == [("breach", "1"), ("terms", "3")]
    visit("/home")
    page.wait_for_load_state("networkidle")
    assert [said for said in site.said() if said[0] == "notified"] == told
    for left in (1, 0):
        page.locator("[data-consent-announcement]:visible button").first.click()
        expect(bar.locator("form:visible")).to_have_count(left)
    expect(bar).to_be_hidden()
    assert page.evaluate("document.activeElement.localName") == "main"
    visit("/home")
    page.wait_for_load_state("networkidle")
    expect(page.locator("[data-consent-announcements]")).to_be_hidden()


def test_who_acknowledged_never_sees_it_flash(visit: Visit, page: Page) -> None:
    visit("/home").locator("[data-consent-announcement]:visible button").click()
    expect(page.locator("[data-consent-announcements]")).to_be_hidden()
    page.route("**/consent/status*", lambda route: route.abort())
    page.add_init_script(
        "window.shift = 0; new PerformanceObserver((l) => { for (const e of l.getEntries()) window.shift += e.value; })"
        ".observe({ type: 'layout-shift', buffered: true });"
    )
    page.goto(page.url)
    expect(page.locator("[data-consent-announcements]")).to_be_hidden()
    assert page.evaluate("window.shift") == 0


def test_what_was_acknowledged_does_not_come_back(visit: Visit, app: Flask, page: Page) -> None:
    """The status is asked for, is slow, and still tells of it after it was acknowledged."""
    acknowledged = threading.Event()

    @app.after_request
    def late(response: Response) -> Response:
        if request.path == "/consent/status" and "hint" in request.args:
            acknowledged.wait(10)
        return response

    with page.expect_response("**/consent/status?*hint=keep") as first:
        visit("/home").locator("[data-consent-announcement]:visible button").click()
        expect(page.locator("[data-consent-announcements]")).to_be_hidden()
        acknowledged.set()
    assert [item["key"] for item in first.value.json()["announcements"]] == ["terms"]
    page.wait_for_load_state("networkidle")
    expect(page.locator("[data-consent-announcements]")).to_be_hidden()


@pytest.fixture
def expected_noise() -> list[str]:
    return ["Failed to load resource"]


def test_another_account_on_the_same_browser_sees_its_own(visit: Visit, page: Page, url: str) -> None:
    sign_in(page, url)
    visit("/home")
    page.locator("[data-consent-announcement=terms] button").click()
    expect(page.locator("[data-consent-announcement=terms]")).to_be_hidden()
    sign_in(page, url, "bob")
    visit("/home")
    expect(page.locator("[data-consent-announcement=terms]")).to_be_visible()
    expect(page.locator("[data-consent-announcement=breach]")).to_have_count(0)


def test_a_failure_is_said(visit: Visit, page: Page) -> None:
    visit("/home")
    page.route("**/consent/announcements", lambda route: route.abort())
    page.locator("[data-consent-announcement]:visible button").click()
    expect(page.locator("[data-consent-announcement] [data-consent-error]").first).to_contain_text(
        "could not be saved"
    )
    expect(page.locator("[data-consent-announcement=terms]")).to_be_visible()


# ---------------------------------------------------------------- notices at collection


def test_a_notice_is_answered_in_place(visit: Visit, page: Page) -> None:
    visit("/home")
    page.evaluate("document.addEventListener('consentkit:notice', (e) => { window.said = e.detail })")
    page.get_by_role("button", name="Allow", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("You have allowed this.")
    assert page.evaluate("window.said") == {"purpose": "location", "scope": "", "granted": True}
    page.wait_for_function("consentkit.allows('location')")
    page.get_by_role("button", name="Do not allow").click()
    expect(page.get_by_role("status")).to_contain_text("You have not allowed this")
    page.wait_for_function("!consentkit.allows('location')")
    keep(page, "notice-answered")


def test_yes_and_no_are_of_one_size(visit: Visit, page: Page) -> None:
    visit("/home", width=320, height=800)
    boxes = [page.get_by_role("button", name=n, exact=True).bounding_box() for n in ("Allow", "Do not allow")]
    assert {(box["width"], box["height"]) for box in boxes if box} == {
        (boxes[0]["width"], boxes[0]["height"])
    }


def test_a_stale_notice_leads_to_the_new_one(visit: Visit, page: Page) -> None:
    visit("/home")
    page.evaluate("document.querySelector('[data-consent-ask] [name=notice]').value = '0'.repeat(64)")
    page.get_by_role("button", name="Allow", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("The text has changed")
    page.get_by_role("button", name="Allow", exact=True).click()
    page.wait_for_url("**/home")


def test_everything_but_a_selection_works_without_script(browser: Browser, url: str, site: Site) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{url}/home")
        expect(page.locator("[data-consent-announcement]:visible")).to_have_count(1)
        page.locator("[data-consent-announcement] button").click()
        assert page.url == f"{url}/home"
        expect(page.locator("[data-consent-announcement]:visible")).to_have_count(0)
        page.get_by_role("button", name="Allow", exact=True).click()
        assert page.url == f"{url}/home"
        state = context.request.get(f"{url}/consent/status").json()
        assert "location" in state["granted"]
        assert state["announcements"] == []
