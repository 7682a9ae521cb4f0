"""The main line, on the example site, in a real browser against a real server: ask, obey, stop, prove."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from banner_site import becomes
from flask import Flask
from playwright.sync_api import Browser, BrowserContext, Page, expect

from example_app import create_app

PASSWORD = "low water at noon"
ACCEPT, REJECT = "[data-consent-banner] [value=accept-all]", "[data-consent-banner] [value=reject-all]"
Axe = Callable[[], list[Any]]
Visit = Callable[..., Page]


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    return site(tmp_path)


def site(folder: Path, terms: str = "1") -> Flask:
    """The example site; the same folder is the same site, as after a restart."""
    return create_app({"TESTING": True}, instance_path=folder, terms=terms)


@pytest.fixture
def hits(url: str) -> Callable[[], int]:
    """What the server has counted so far."""
    return lambda: int(read(f"{url}/metrics/hits")["hits"])


def read(address: str, **headers: str) -> Any:
    with urlopen(Request(address, headers=headers)) as response:
        return json.load(response)


def cookies(context: BrowserContext) -> dict[str, str]:
    return {str(cookie.get("name")): str(cookie.get("value")) for cookie in context.cookies()}


def settle(page: Page) -> None:
    page.wait_for_load_state("networkidle")


def sign_up(page: Page, url: str, email: str = "reader@example.org", edition: str = "") -> str:
    """Make an account; its id."""
    page.goto(f"{url}{edition}/sign-up")
    page.fill("#email", email)
    page.fill("#password", PASSWORD)
    page.check("#agree")
    page.click("main form .button")
    page.wait_for_url(f"{url}{edition}/account")
    return page.locator("main p > code").inner_text()


def say_hit(page: Page) -> tuple[int, dict[str, Any]]:
    """Report a page view past the banner, as a forged or left-over script would; the server's answer."""
    answer = page.evaluate(
        """async () => {
            const body = new URLSearchParams({ path: "/" });
            const said = await fetch("/metrics/hit", { method: "POST", body });
            return [said.status, await said.json()];
        }"""
    )
    return int(answer[0]), dict(answer[1])


# ---------------------------------------------------------------- with script


def test_before_an_answer_nothing_happens(visit: Visit, hits: Callable[[], int]) -> None:
    page = visit("/articles/lighthouse")
    settle(page)
    expect(page.locator("[data-consent-banner]")).to_be_visible()
    expect(page.locator("iframe")).to_have_count(0)
    assert cookies(page.context) == {}
    assert hits() == 0


def test_reject_leaves_the_counter_at_zero(visit: Visit, hits: Callable[[], int]) -> None:
    page = visit("/")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.click(REJECT)
    expect(page.locator("[data-consent-banner]")).to_be_hidden()
    page = visit("/articles/lighthouse")
    settle(page)
    expect(page.locator("[data-consent-banner]")).to_be_hidden()
    assert set(cookies(page.context)) == {"consent", "consent_hint"}
    assert [url for url in asked if "/metrics/" in url or "/player/" in url] == []
    assert hits() == 0


def test_accept_counts(visit: Visit, hits: Callable[[], int]) -> None:
    page = visit("/")
    with page.expect_response("**/metrics/hit") as said:
        page.click(ACCEPT)
    assert said.value.status == 204
    assert hits() == 1
    with page.expect_response("**/metrics/hit"):
        page = visit("/articles/lighthouse")
    assert hits() == 2
    becomes(page, lambda: "_tally" in cookies(page.context), True)
    expect(page.frame_locator("iframe").get_by_role("heading")).to_have_text("Harbour Player")


def test_withdrawal_stops_it_and_old_cookies_do_not_bring_it_back(
    visit: Visit, hits: Callable[[], int], expected_noise: list[str]
) -> None:
    expected_noise.append("Failed to load resource: the server responded with a status of 403")
    page = visit("/")
    with page.expect_response("**/metrics/hit"):
        page.click(ACCEPT)
    with page.expect_response("**/metrics/hit"):
        page = visit("/articles/lighthouse")
    page.frame_locator("iframe").get_by_role("heading").wait_for()
    settle(page)
    context = page.context
    becomes(page, lambda: set(cookies(context)), {"consent", "consent_hint", "_tally", "_reel"})
    before = context.cookies()
    counted = hits()

    page = visit("/consent")
    page.click("main [value=withdraw-all]")
    page.wait_for_url("**/consent?saved=1")
    assert set(cookies(context)) == {"consent", "consent_hint"}
    page = visit("/articles/lighthouse")
    settle(page)
    expect(page.locator("iframe")).to_have_count(0)
    assert set(cookies(context)) == {"consent", "consent_hint"}
    assert hits() == counted

    context.clear_cookies()
    context.add_cookies([cookie for cookie in before if cookie.get("name") in ("consent", "consent_hint")])  # type: ignore[misc]
    with page.expect_response("**/metrics/hit") as said:
        page = visit("/")  # the old hint makes the script run: what it says is refused
    assert said.value.status == 403
    assert say_hit(page) == (403, {"counted": False, "reason": "WITHDRAWN"})
    film = page.goto(f"{page.url}player/waves")
    assert film is not None
    assert film.status == 403
    assert hits() == counted


def test_a_forged_hint_opens_nothing(
    visit: Visit, url: str, hits: Callable[[], int], expected_noise: list[str]
) -> None:
    expected_noise.append("Failed to load resource: the server responded with a status of 403")
    page = visit("/")
    revision = page.locator("script[data-revision]").first.get_attribute("data-revision")
    page.context.add_cookies(
        [{"name": "consent_hint", "value": f"{revision}~d~analytics~marketing", "url": url}]
    )
    with page.expect_response("**/metrics/hit") as said:
        visit("/")
    assert said.value.status == 403
    assert say_hit(page) == (403, {"counted": False, "reason": "NO_ANSWER"})
    assert hits() == 0


# ---------------------------------------------------------------- without script


@pytest.fixture
def plain(browser: Browser) -> Iterator[Page]:
    """A browser whose script is switched off."""
    context = browser.new_context(java_script_enabled=False)
    yield context.new_page()
    context.close()


def shown(page: Page, url: str, path: str = "/") -> bool:
    """Open a page with all of its pictures; whether it asks."""
    page.goto(url + path, wait_until="networkidle")
    return page.locator("[data-consent-banner]").is_visible()


def test_reject_without_script(plain: Page, url: str, hits: Callable[[], int]) -> None:
    assert shown(plain, url)
    assert cookies(plain.context) == {}
    plain.click(REJECT)
    settle(plain)
    assert not shown(plain, url)
    assert not shown(plain, url, "/articles/lighthouse")
    assert set(cookies(plain.context)) == {"consent", "consent_hint"}
    assert hits() == 0


def test_accept_and_withdraw_without_script(plain: Page, url: str, hits: Callable[[], int]) -> None:
    assert shown(plain, url)
    assert hits() == 0
    plain.click(ACCEPT)
    settle(plain)
    assert not shown(plain, url, "/articles/beach")
    counted, before = hits(), plain.context.cookies()
    assert counted >= 1

    plain.goto(f"{url}/consent")
    plain.click("main [value=withdraw-all]")
    plain.wait_for_url("**/consent?saved=1")
    assert not shown(plain, url)
    assert hits() == counted

    plain.context.clear_cookies()
    plain.context.add_cookies(before)  # type: ignore[arg-type]
    assert not shown(plain, url)
    assert hits() == counted


def test_terms_without_script(plain: Page, url: str) -> None:
    account = sign_up(plain, url)
    assert account.startswith("u-")
    plain.goto(f"{url}/letter")
    plain.check("#yes")
    plain.click("main form .button")
    plain.goto(f"{url}/letters")
    assert plain.locator("main article").count() == 2


# ---------------------------------------------------------------- the account: terms and letter


def test_new_terms_close_the_account_page_until_they_are_accepted(
    page: Page, live_server: Callable[[Flask], str], tmp_path: Path
) -> None:
    old = live_server(site(tmp_path))
    page.goto(old)
    page.click(REJECT)
    sign_up(page, old)
    page.goto(f"{old}/account")
    expect(page.locator("h1")).to_have_text("Your account")

    new = live_server(site(tmp_path, terms="2"))
    page.goto(f"{new}/account?from=test")
    assert page.url.startswith(f"{new}/consent/accept/terms?next=")
    expect(page.locator("main")).to_contain_text("accounts that nobody uses for two years are closed")
    page.check("#ckp-agree")
    page.click("main [value=accept]")
    page.wait_for_url(f"{new}/account?from=test")
    expect(page.locator("h1")).to_have_text("Your account")


def test_who_declines_the_terms_gets_403_and_no_redirect(
    page: Page, live_server: Callable[[Flask], str], tmp_path: Path
) -> None:
    old = live_server(site(tmp_path))
    sign_up(page, old)
    new = live_server(site(tmp_path, terms="2"))
    page.goto(f"{new}/account")
    page.click("main [value=decline]")
    page.wait_for_url("**/consent")
    answer = page.goto(f"{new}/account")
    assert answer is not None
    assert (answer.status, page.url) == (403, f"{new}/account")
    assert answer.request.redirected_from is None
    page.click("main .ck-button")
    page.wait_for_url(f"{new}/consent/accept/terms?locale=en")
    page.check("#ckp-agree")
    page.click("main [value=accept]")
    expect(page.locator("h1")).to_have_text("How a tide table is made")
    page.goto(f"{new}/account")
    expect(page.locator("h1")).to_have_text("Your account")


def test_the_job_sends_only_with_consent(visit: Visit, page: Page, url: str) -> None:
    sign_up(page, url)
    send, said = page.get_by_role("button", name="Send me a test letter"), page.locator("main [role=status]")
    send.click()
    expect(said).to_have_text("Not sent. The gate answered NO_ANSWER.")
    visit("/letter")
    page.check("#yes")
    page.click("main form .button")
    visit("/account")
    send.click()
    expect(said).to_contain_text("Sent.")
    visit("/letter")
    page.get_by_role("button", name="Stop the letter").click()
    visit("/account")
    send.click()
    expect(said).to_have_text("Not sent. The gate answered WITHDRAWN.")
    expect(page.locator("main li")).to_have_count(1)


# ---------------------------------------------------------------- evidence


@pytest.fixture
def key(app: Flask) -> str:
    """A key of the REST API, made as an operator makes it."""
    made = app.test_cli_runner().invoke(args=["consent", "keys", "create", "--label", "auditor"])
    assert made.exit_code == 0, made.output
    return str(made.stdout.strip())


def test_every_answer_is_in_the_api(page: Page, url: str, key: str) -> None:
    account = sign_up(page, url)
    page.goto(f"{url}/letter")
    page.check("#yes")
    page.click("main form .button")
    page.goto(url)
    with page.expect_response("**/consent"):
        page.click(ACCEPT)
    page.goto(f"{url}/consent")
    notice = page.locator("main [name=notice]").get_attribute("value")
    page.click("main [value=withdraw-all]")
    page.wait_for_url("**/consent?saved=1")

    found = read(f"{url}/consent/v1/events?subject={account}", Authorization=f"Bearer {key}")["events"]
    said = [(event["kind"], event["item"], event["action"], event["method"]) for event in found]
    assert said[:2] == [("policy", "terms", "accepted", "tick"), ("policy", "privacy", "accepted", "tick")]
    assert said[2] == ("purpose", "newsletter", "given", "form")
    assert set(said[3:5]) == {("purpose", p, "given", "button") for p in ("page_views", "films")}
    assert {s[:3] for s in said[5:]} == {
        ("purpose", p, "withdrawn") for p in ("page_views", "films", "newsletter")
    }
    assert all(event["version"] == "1" for event in found)
    assert all(re.fullmatch("[0-9a-f]{64}", event["notice"]) for event in found), found
    assert {event["notice"] for event in found[2:]} == {notice}
    assert {event["locale"] for event in found} == {"en"}
    terms = page.goto(f"{url}/consent/policies/terms")
    assert terms is not None
    assert found[0]["notice"] in terms.text()


def test_german(page: Page, url: str, key: str) -> None:
    page.goto(f"{url}/de/")
    expect(page.locator("html")).to_have_attribute("lang", "de")
    expect(page.locator("h1")).to_have_text("Wie eine Gezeitentafel entsteht")
    with page.expect_response("**/consent"):
        page.get_by_role("button", name="Alle ablehnen").click()
    expect(page.get_by_role("alert")).to_contain_text("abgelehnt")
    account = sign_up(page, url, edition="/de")
    expect(page.locator("h1")).to_have_text("Ihr Konto")
    found = read(f"{url}/consent/v1/events?subject={account}", Authorization=f"Bearer {key}")["events"]
    assert {event["locale"] for event in found} == {"de"}
    page.get_by_role("link", name="Nutzungsbedingungen").click()
    page.wait_for_url("**/consent/policies/terms*")
    expect(page.locator("html")).to_have_attribute("lang", "de")
    assert found[0]["notice"] in page.content()
    blocked = page.goto(f"{url}/de/letters")
    assert blocked is not None
    assert blocked.status == 403
    expect(page.locator("html")).to_have_attribute("lang", "de")


# ---------------------------------------------------------------- accessibility


@pytest.mark.parametrize("width", [320, 1280])
def test_axe_finds_nothing(
    visit: Visit, page: Page, axe: Axe, url: str, width: int, expected_noise: list[str]
) -> None:
    expected_noise.append("Failed to load resource: the server responded with a status of 403")
    found: dict[str, Any] = {}

    def look(name: str) -> None:
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        found[name] = (axe(), f"{wide} px too wide" if wide > 0 else "")

    visit("/", width=width, height=800)
    look("home with banner")
    page.click(REJECT)
    expect(page.locator("[data-consent-note]")).to_be_visible()
    look("home with confirmation")
    for path in (
        *("/", "/de/", "/articles/lighthouse", "/letter", "/sign-in", "/sign-up"),
        *("/consent", "/consent/receipt", "/consent/policies/terms", "/consent/accept/terms", "/letters"),
    ):
        visit(path)
        look(path)
    sign_up(page, url)
    page.click("main .form .button")
    expect(page.locator("main [role=status]")).not_to_be_empty()
    look("account")
    visit("/letter")
    look("letter, signed in")
    visit("/consent/receipt")
    look("receipt, signed in")
    assert {name: faults for name, faults in found.items() if faults != ([], "")} == {}
