"""The guardian's pages in a real browser: without script, narrow and wide, dark, from right to left, on paper."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from guardian_site import make_app, make_kit, outbox_of
from guardians import PARENT, Outbox
from playwright.sync_api import Browser, BrowserContext, Page, expect

from consentkit import ConsentKit, Site
from consentkit.integrations.verifiers import HttpVerifier
from example_app import create_app, verifier
from tests.guardians import catalog

Axe = Callable[[], list[Any]]
ALL = ("news", "club", "rules")
LOCALES = ("en", "de", "ar", "ja", "zh", "fr", "es", "it", "nl", "pl", "pt")


@pytest.fixture
def kit() -> ConsentKit:
    site = Site(name="Harbour Press", locales=LOCALES, default_jurisdiction="DE")
    check = HttpVerifier(
        "notary", "https://notary.example/", verifier.new_secret(), ["gov_id"], title="The notary"
    )
    return make_kit(catalog=catalog(site=site), verifiers=[check])


@pytest.fixture
def app(kit: ConsentKit, tmp_path: Path) -> Flask:
    return make_app(kit, tmp_path)


@pytest.fixture
def outbox(kit: ConsentKit) -> Outbox:
    return outbox_of(kit)


@pytest.fixture
def ask(kit: ConsentKit, app: Flask, url: str, outbox: Outbox) -> Callable[..., str]:
    """Asks the guardian; the link."""

    def send(*items: str, method: str = "email", locale: str = "en") -> str:
        with app.test_request_context(base_url=url):
            kit.invite_guardian("kid", items, contact=PARENT, method=method, locale=locale, child="Mia")
        return outbox[-1].url

    return send


@pytest.fixture
def guardian(browser: Browser) -> Iterator[BrowserContext]:
    """A guardian's browser, without script."""
    with browser.new_context(java_script_enabled=False, locale="en-GB") as context:
        yield context


def keep(page: Page, name: str) -> None:
    """A picture for those who look: CONSENTKIT_SCREENSHOTS=<folder>."""
    if folder := os.environ.get("CONSENTKIT_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"guardian-{name}.png", full_page=True)


def no_wider_than_the_window(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def reason(kit: ConsentKit, app: Flask, item: str = "news") -> str:
    with app.app_context():
        return kit.decide("kid", item).reason


# ---------------------------------------------------------------- without script


def test_a_guardian_answers_without_script(
    guardian: BrowserContext, ask: Callable[..., str], url: str, kit: ConsentKit, app: Flask
) -> None:
    page = guardian.new_page()
    page.goto(ask(*ALL))
    assert page.url == f"{url}/consent/guardian?locale=en"
    expect(page.get_by_role("heading", level=1)).to_have_text("Harbour Press asks for your permission")
    assert page.locator("input:checked").count() == 0
    for item, answer in (("Our letter", "I allow this"), ("The club", "I do not allow this")):
        page.get_by_role("group", name=item).get_by_label(answer, exact=True).check()
    save = page.get_by_role("button", name="Save my answers")
    save.click()
    assert page.url == f"{url}/consent/guardian?locale=en"  # the browser itself asks for the third answer
    page.get_by_role("group", name="House rules").get_by_label("I have read it and accept it").check()
    save.click()
    expect(page.get_by_role("status")).to_have_text("Your answers are recorded.")
    assert [reason(kit, app, item) for item in ALL] == ["GIVEN", "REFUSED", "ACCEPTED"]
    page.reload()
    expect(page.get_by_role("status")).to_have_text("Your answers are recorded.")


def test_refusing_everything_is_as_easy(
    guardian: BrowserContext, ask: Callable[..., str], kit: ConsentKit, app: Flask
) -> None:
    page = guardian.new_page()
    page.goto(ask(*ALL))
    save, refuse = (
        page.get_by_role("button", name=name) for name in ("Save my answers", "Refuse everything")
    )
    boxes = [button.bounding_box() for button in (save, refuse)]
    assert boxes[0] is not None
    assert boxes[1] is not None
    assert abs(boxes[0]["width"] - boxes[1]["width"]) < 1
    look = "e => [getComputedStyle(e).backgroundColor, getComputedStyle(e).fontSize]"
    styles = [button.evaluate(look) for button in (save, refuse)]
    assert styles[0] == styles[1]
    refuse.click()
    expect(page.get_by_role("status")).to_have_text("Your answers are recorded.")
    assert reason(kit, app) == "REFUSED"


def test_the_token_leaks_nowhere(guardian: BrowserContext, ask: Callable[..., str], url: str) -> None:
    page = guardian.new_page()
    sent: list[tuple[str, str]] = []
    page.on("request", lambda request: sent.append((request.url, request.headers.get("referer", ""))))
    link = ask("news", "rules")
    page.goto(link)
    page.get_by_role("link", name=re.compile("House rules")).click()
    page.wait_for_url("**/consent/policies/**")
    token = link.rpartition("/")[2]
    assert [address for address, _ in sent if token in address] == [link]
    assert [referer for _, referer in sent if "guardian" in referer] == []
    page.go_back()
    assert token not in page.url
    assert token not in page.content()


def test_the_childs_own_browser_is_told_to_stop(
    browser: Browser, url: str, outbox: Outbox, kit: ConsentKit, app: Flask
) -> None:
    with browser.new_context() as child:
        child.request.post(f"{url}/login", form={"user": "kid"})
        child.request.post(f"{url}/ask", form={"item": "news"})
        child.request.post(f"{url}/logout")
        page = child.new_page()
        page.goto(outbox[-1].url)
        expect(page.get_by_role("heading", level=1)).to_have_text("Only a parent or guardian can answer this")
        page.goto(f"{url}/consent/guardian")
        page.get_by_label("Code").fill(outbox[-1].code)
        page.get_by_role("button", name="Open").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Only a parent or guardian can answer this")
    assert reason(kit, app) == "GUARDIAN_PENDING"


def test_the_code_on_another_device(
    guardian: BrowserContext, ask: Callable[..., str], url: str, outbox: Outbox
) -> None:
    ask("news")
    page = guardian.new_page()
    page.goto(f"{url}/consent/guardian")
    page.get_by_label("Code").fill("0000-0000-0000")
    page.get_by_role("button", name="Open").click()
    expect(page.get_by_role("alert")).to_contain_text("cannot be used")
    page.get_by_label("Code").fill(outbox[-1].code.lower())
    page.get_by_role("button", name="Open").click()
    expect(page.get_by_role("group", name="Our letter")).to_be_visible()


# ---------------------------------------------------------------- accessible

PLACES: list[tuple[str, Any]] = [
    ("answer", {"items": ALL}),
    ("verify", {"items": ("photos", "identity"), "method": "gov_id"}),
    ("paper", {"items": ("photos", *ALL), "method": "signed_form"}),
    ("waiting", {"items": ALL, "method": "email_plus"}),
    ("own", {"items": ALL}),
    ("code", None),
    ("gone", None),
]


def come_to(
    page: Page, name: str, how: Any, ask: Callable[..., str], kit: ConsentKit, app: Flask, url: str
) -> None:
    """Lead the page to one of the places."""
    if name in ("code", "gone"):
        page.goto(f"{url}/consent/guardian" + ("/gone" if name == "gone" else ""))
        return
    page.goto(ask(*how["items"], method=how.get("method", "email")))
    if name in ("waiting", "own"):
        for label in ("I allow this", "I have read it and accept it"):
            for choice in page.get_by_label(label, exact=True).all():
                choice.check()
        page.get_by_role("button", name="Save my answers").click()
        page.wait_for_url("**saved=1**")
    if name == "own":
        with app.test_request_context(base_url=url):
            kit.guardian_access("kid", contact=PARENT, child="Mia")
        page.goto(outbox_of(kit)[-1].url)


@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize(("name", "how"), PLACES, ids=[place[0] for place in PLACES])
def test_axe_finds_nothing(
    page: Page,
    axe: Axe,
    ask: Callable[..., str],
    kit: ConsentKit,
    app: Flask,
    url: str,
    name: str,
    how: Any,
    width: int,
) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    come_to(page, name, how, ask, kit, app, url)
    keep(page, f"{name}-{width}")
    no_wider_than_the_window(page)
    assert axe() == []


def test_axe_finds_nothing_in_errors_and_in_the_dark(
    page: Page, axe: Axe, ask: Callable[..., str], url: str
) -> None:
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 400, "height": 800})
    page.goto(ask(*ALL))
    page.eval_on_selector_all("[required]", "all => all.forEach(e => e.removeAttribute('required'))")
    page.get_by_role("button", name="Save my answers").click()
    expect(page.get_by_role("alert")).to_contain_text("Please answer every question")
    keep(page, "error-dark")
    assert axe() == []
    page.goto(f"{url}/consent/guardian")


@pytest.mark.parametrize("locale", LOCALES)
def test_every_language(page: Page, axe: Axe, ask: Callable[..., str], locale: str) -> None:
    page.set_viewport_size({"width": 320, "height": 800})
    page.goto(ask("news", "rules", locale=locale))
    keep(page, f"locale-{locale}")
    assert page.locator("html").get_attribute("lang") == locale
    assert page.locator("html").get_attribute("dir") == ("rtl" if locale == "ar" else "ltr")
    no_wider_than_the_window(page)
    assert axe() == []


def test_the_form_on_paper(page: Page, ask: Callable[..., str]) -> None:
    page.goto(ask("photos", "news", method="signed_form"))
    page.emulate_media(media="print")
    keep(page, "paper-printed")
    expect(page.locator(".ck-paper").first).to_be_visible()
    expect(page.locator(".ck-signature")).to_be_visible()
    expect(page.get_by_role("button", name="Refuse everything")).to_be_hidden()


# ---------------------------------------------------------------- the example site, with Harbour ID


def test_a_parent_is_checked_by_another_site(
    browser: Browser, live_server: Callable[[Flask], str], tmp_path: Path
) -> None:
    secret = verifier.new_secret()
    provider = live_server(verifier.create_verifier(secret))
    config = {"TESTING": True, "VERIFIER_URL": provider, "VERIFIER_SECRET": secret}
    url = live_server(create_app(config, instance_path=tmp_path / "site"))
    with browser.new_context() as child, browser.new_context() as parent:
        page = child.new_page()
        page.goto(f"{url}/sign-up")
        page.fill("#email", "kid@example.org")
        page.fill("#password", "low water at noon")
        page.select_option("#age", "11")
        page.check("#agree")
        page.click("main form .button")
        page.goto(f"{url}/letter")
        keep(page, "example-letter")
        page.fill("#contact", "parent@example.org")
        page.get_by_label("Harbour ID looks at an identity card").check()
        page.get_by_role("button", name="Ask").click()
        expect(page.get_by_role("status")).to_contain_text("Sent.")
        page.goto(f"{url}/outbox")
        link = page.get_by_role("link", name="Open the link of this message").get_attribute("href")
        assert link is not None
        keep(page, "example-outbox")

        page = parent.new_page()
        page.goto(link)
        page.get_by_role("button", name="Go to Harbour ID").click()
        page.wait_for_url(f"{provider}/check/**")  # although the site's policy allows forms to itself only
        keep(page, "example-provider")
        page.get_by_role("button", name="I show my identity card").click()
        page.wait_for_url(f"{url}/consent/guardian")
        expect(page.get_by_role("status")).to_have_text("You have been checked. Now you can answer.")
        keep(page, "example-answer")
        page.get_by_label("I allow this", exact=True).check()
        page.get_by_role("button", name="Save my answers").click()
        expect(page.get_by_role("status")).to_have_text("Your answers are recorded.")

        page = child.pages[0]
        page.goto(f"{url}/letters")
        expect(page.get_by_role("heading", level=1)).to_have_text("Letters so far")
