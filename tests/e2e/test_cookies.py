"""Cookies in a real browser: after a no they are gone, in whatever form they were set, and stay away."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from banner_site import becomes
from flask import Flask, Response, render_template_string, request
from playwright.sync_api import BrowserContext, BrowserType, Page, expect

from consentkit import ConsentKit, Cookie, Purpose, Site

BANNER, DIALOG, NOTE = "[data-consent-banner]", "[data-consent-dialog]", "[data-consent-note]"
PAGE = """<!doctype html><html lang="en"><head><title>A page</title>{{ consent_head() }}</head>
<body>{{ consent_banner() }}<main><h1>A page</h1>{{ consent_notice("letter") }}</main>
<footer>{{ consent_link(id="link") }}</footer></body></html>"""


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    app = Flask("cookies", instance_path=str(tmp_path))
    app.config.update(SECRET_KEY="only for tests", TESTING=True)
    cookies = [Cookie("_st*"), Cookie("_deep", path="/deep")]
    ConsentKit(
        site=Site(name="Shop"),
        purposes=[
            Purpose("stats", title="Statistics", category="analytics", cookies=cookies),
            Purpose("ads", title="Ads", category="marketing", cookies=[Cookie("_ads")]),
            Purpose("letter", title="Letter", cookies=[Cookie("_letter")]),
        ],
    ).init_app(app)

    @app.get("/")
    @app.get("/deep/page")
    def page() -> str:
        return render_template_string(PAGE)

    @app.get("/favicon.ico")
    def icon() -> tuple[str, int]:
        return "", 204

    @app.after_request
    def count(response: Response) -> Response:
        if request.path == "/deep/page":
            for name in ("_st_server", "_ads", "_letter"):
                response.set_cookie(name, "1", max_age=3600)
        return response

    return app


HOSTS = ["www.shop.example", "a.b.shop.example", "shop.localhost", "127.0.0.1"]
RULES = "MAP shop.example 127.0.0.1, MAP *.shop.example 127.0.0.1"


@pytest.fixture(params=HOSTS)
def site(
    request: pytest.FixtureRequest,
    live_server: Callable[[Flask], str],
    app: Flask,
    browser_type: BrowserType,
    browser_type_launch_args: dict[str, Any],
) -> Iterator[tuple[BrowserContext, str]]:
    """A browser that finds the host here, and the address of the site."""
    port = live_server(app).rsplit(":", 1)[1]
    arguments = [*browser_type_launch_args.get("args", []), f"--host-resolver-rules={RULES}"]
    browser = browser_type.launch(**{**browser_type_launch_args, "args": arguments})
    yield browser.new_context(), f"http://{request.param}:{port}"
    browser.close()


def kept(context: BrowserContext) -> set[str]:
    """The cookies that the browser holds, but ours: name, domain, path."""
    return {
        f"{c['name']} {c['domain']} {c['path']}"
        for c in context.cookies()
        if not c["name"].startswith("consent")
    }


def names(context: BrowserContext) -> set[str]:
    return {line.split()[0] for line in kept(context)}


def write_as_a_tag(page: Page) -> None:
    """Set cookies in every form that a script on this page may use."""
    host = str(page.evaluate("location.hostname"))
    labels = host.split(".") if re.search("[a-z]", host) else []
    domains = ["", *(".".join(labels[n:]) for n in range(len(labels) - 1))]
    for number, domain in enumerate(domains):
        for path in ("/", "/deep"):
            name = f"_st{number}" if path == "/" else "_deep"
            attributes = f"; path={path}; max-age=3600" + (f"; domain={domain}" if domain else "")
            page.evaluate("text => { document.cookie = text }", f"{name}=1{attributes}")


def answer(page: Page, decision: str) -> None:
    page.locator(f"{BANNER} [data-consent-action={decision}]").click()
    expect(page.locator(NOTE)).to_be_visible()


def no_by_the_dialog(page: Page) -> None:
    page.locator("#link").click()
    page.locator(f"{DIALOG} [data-consent-action=reject-all]").click()
    expect(page.locator(NOTE)).to_be_visible()


def no_by_withdraw_all(page: Page) -> None:
    page.evaluate("consentkit.decide('withdraw-all')")
    expect(page.locator(NOTE)).to_be_visible()


def no_without_script(page: Page) -> None:
    page.goto(re.sub(r"(//[^/]*)/.*", r"\1/consent", page.url))
    page.get_by_role("button", name="Withdraw everything").click()
    page.wait_for_url("**/consent?saved=1")


@pytest.mark.parametrize("no", [no_by_the_dialog, no_by_withdraw_all, no_without_script])
def test_after_a_no_every_form_is_gone(site: tuple[BrowserContext, str], no: Callable[[Page], None]) -> None:
    context, url = site
    page = context.new_page()
    page.goto(url + "/")
    answer(page, "accept-all")
    page.goto(url + "/deep/page")
    write_as_a_tag(page)
    becomes(page, lambda: names(context) >= {"_st0", "_deep", "_st_server", "_ads"}, True)
    if ".example" in url:
        domains = {line.split()[1] for line in kept(context)}
        assert {".shop.example", url.split("/")[2].split(":")[0]} < domains
    no(page)
    becomes(page, lambda: kept(context), set())
    page.goto(url + "/deep/page")
    assert kept(context) == set(), "the server sets none any more"


def test_a_no_to_one_purpose_takes_its_cookies_only(site: tuple[BrowserContext, str]) -> None:
    context, url = site
    page = context.new_page()
    page.goto(url + "/")
    answer(page, "accept-all")
    asked = page.locator("[data-consent-ask]")
    asked.get_by_role("button", name="Allow", exact=True).click()
    expect(asked.get_by_role("status")).not_to_be_empty()
    page.goto(url + "/deep/page")
    assert names(context) == {"_st_server", "_ads", "_letter"}
    page.goto(url + "/")
    asked.get_by_role("button", name="Do not allow").click()
    expect(asked.get_by_role("status")).not_to_be_empty()
    becomes(page, lambda: names(context), {"_st_server", "_ads"})


def test_a_no_takes_what_was_there_before_the_banner(site: tuple[BrowserContext, str]) -> None:
    context, url = site
    page = context.new_page()
    page.goto(url + "/deep/page")
    write_as_a_tag(page)
    becomes(page, lambda: names(context) >= {"_st0", "_deep"}, True)
    page.goto(url + "/")
    answer(page, "reject-all")
    becomes(page, lambda: kept(context), set())


def test_where_the_yes_has_to_wait_the_no_counts(
    live_server: Callable[[Flask], str], app: Flask, page: Page
) -> None:
    """The limiter of the host answers 429 to what is new."""
    says: list[Any] = [True]
    app.extensions["consentkit"].kit.limiter(lambda *_: says[0])
    page.goto(live_server(app) + "/")
    page.evaluate("consentkit.decide('save', ['analytics'])")
    expect(page.locator(NOTE)).to_be_visible()
    says[0] = 30
    page.locator("#link").click()
    page.get_by_role("switch", name="Statistics").uncheck()
    page.get_by_role("switch", name="Marketing").check()
    page.locator(f"{DIALOG} [data-consent-action=save]").click()
    expect(page.locator(f"{DIALOG} [data-consent-error]")).to_contain_text("could not be saved")
    expect(page.locator("html")).to_have_attribute("data-consent-granted", "")
    assert page.evaluate("consentkit.allows('analytics')") is False


@pytest.mark.parametrize("width", [320, 1280])
def test_the_page_for_too_many_answers(
    live_server: Callable[[Flask], str], app: Flask, page: Page, axe: Callable[[], list[Any]], width: int
) -> None:
    app.extensions["consentkit"].kit.limiter(lambda *_: 30)
    page.set_viewport_size({"width": width, "height": 640})
    page.goto(live_server(app) + "/consent")
    page.get_by_role("button", name="Reject all").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Please wait a moment")
    expect(page.get_by_text("try again in 30 seconds")).to_be_visible()
    assert axe() == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
