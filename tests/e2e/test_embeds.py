"""Embeds, private tags and resource hints in a browser: with script, without, and what goes over the wire."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from banner_site import LOCALES, STRICT, becomes, until
from flask import Flask, Response, make_response, render_template_string, request
from playwright.sync_api import Browser, BrowserType, Locator, Page, expect

from consentkit import ConsentKit, Event, Party, Purpose, Site, consent_recorded
from consentkit.core.catalog import Controller

BANNER, DIALOG, NOTE = "[data-consent-banner]", "[data-consent-dialog]", "[data-consent-note]"
Visit = Callable[..., Page]
PAGE = """<!doctype html><html lang="{{ locale }}" dir="{{ 'rtl' if locale == 'ar' else 'ltr' }}">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>A page</title>{{ consent_head() }}
<link rel="stylesheet" href="/host.css">{% block head %}{% endblock %}</head>
<body>{{ consent_banner() }}<main><h1>A page</h1>
{% call consent_embed("marketing", title="A film", vendor="video", private=private) %}
<iframe title="A film" src="/player/one"></iframe><script src="/ran.js?film"></script>{% endcall %}
{% call consent_embed("films", title="Another film", private=private) %}
<iframe title="Another film" src="/player/two"></iframe>{% endcall %}
</main>{{ consent_script("analytics", src="/ran.js?stats", private=private) }}
<footer>{{ consent_link(id="link") }}</footer></body></html>"""


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    app = Flask("embeds", instance_path=str(tmp_path))
    app.config.update(SECRET_KEY="only for tests", TESTING=True)
    kit = ConsentKit(
        controller=Controller("Example Ltd", "privacy@example.org"),
        site=Site(name="Example", locales=LOCALES),
        parties=[Party("video", "Harbour Video", url="https://video.example/privacy", country="IE")],
        purposes=[
            Purpose(
                "films", title="Films", category="marketing", recipients=["video"], data=["films watched"]
            ),
            Purpose("stats", title="Statistics", category="analytics"),
        ],
    )
    app.config["RECORDED"] = recorded = []

    @consent_recorded.connect_via(kit)
    def record(_kit: ConsentKit, events: list[Event], **_rest: object) -> None:
        recorded.extend((event.item, event.action) for event in events)

    app.extensions["keep"] = record  # signals hold their receivers weakly
    kit.locale_loader(lambda: request.args.get("locale"))
    kit.init_app(app)

    @app.get("/")
    @app.get("/private")
    def page() -> Response:
        values = {"locale": request.args.get("locale", "en"), "private": request.path == "/private"}
        response = make_response(render_template_string(PAGE, **values))
        response.headers["Content-Security-Policy"] = STRICT
        return response

    @app.get("/player/<film>")
    def player(film: str) -> str:
        return f"<!doctype html><html lang=en><title>{film}</title><p>Film {film}</p>"

    @app.get("/ran.js")
    def ran() -> Response:
        text = f"(window.order ||= []).push({json.dumps(request.query_string.decode())})"
        return Response(text, mimetype="text/javascript")

    @app.get("/host.css")
    def style() -> Response:
        return Response("iframe { inline-size: 100%; block-size: 10rem }", mimetype="text/css")

    app.add_url_rule("/favicon.ico", "icon", lambda: ("", 204))
    return app


def embed(page: Page, number: int = 0) -> Locator:
    return page.locator("[data-consent-embed]").nth(number)


def notice(page: Page, number: int = 0) -> Locator:
    return embed(page, number).locator(".ck-notice")


def press(page: Page, name: str, number: int = 0) -> None:
    embed(page, number).get_by_role("button", name=name).click()


def answer(page: Page, decision: str) -> None:
    page.locator(f"{BANNER} [data-consent-action={decision}]").click()
    expect(page.locator(NOTE)).to_be_visible()


def film(page: Page, number: int) -> Locator:
    return page.frame_locator(f"iframe[src='/player/{('one', 'two')[number]}']").get_by_text("Film")


# ---------------------------------------------------------------- how it looks


@pytest.mark.parametrize(("locale", "scheme"), [("en", "light"), ("ar", "dark")])
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (320, 640)])
def test_the_notice_has_no_axe_violation(
    visit: Visit, axe: Callable[[], list[Any]], width: int, height: int, locale: str, scheme: Any
) -> None:
    page = visit(f"/?locale={locale}", width=width, height=height)
    page.emulate_media(color_scheme=scheme)
    answer(page, "reject-all")
    page.locator("[data-consent-action=hide]").click()
    assert axe() == []
    for summary in page.locator("[data-consent-embed] summary").all():
        summary.click()
    assert axe() == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    boxes = [button.bounding_box() for button in embed(page).get_by_role("button").all()]
    assert len({(round(box["width"]), round(box["height"])) for box in boxes if box}) == 1, "one size"
    assert all(box and box["height"] >= 44 for box in boxes)


def test_names_of_controls_say_what_they_are_for(visit: Visit) -> None:
    page = visit()
    expect(page.get_by_role("group", name="A film", exact=True)).to_be_visible()
    buttons = ("Show this once", "Always allow “Marketing”")
    names = [f"{button} \u2013 {title}" for title in ("A film", "Another film") for button in buttons]
    for name in names:
        expect(page.get_by_role("button", name=name, exact=True)).to_have_count(1)


# ---------------------------------------------------------------- with script


def test_once_shows_just_this_and_tells_nobody(visit: Visit, app: Flask) -> None:
    page = visit()
    sent: list[str] = []
    page.on("request", lambda r: sent.append(f"{r.method} {r.url.split('/', 3)[3]}"))
    press(page, "Show this once")
    expect(film(page, 0)).to_be_visible()
    until(page, "(window.order || []).includes('film')")
    assert sorted(sent) == ["GET player/one", "GET ran.js?film"]
    expect(notice(page)).to_be_hidden()
    assert embed(page).evaluate("e => e === document.activeElement")
    expect(notice(page, 1)).to_be_visible()
    assert page.evaluate("[consentkit.allows('marketing'), consentkit.state.decided]") == [False, False]
    assert app.config["RECORDED"] == []
    assert page.context.cookies() == []
    page.reload()
    expect(notice(page)).to_be_visible()


def test_a_no_stops_what_was_shown_once(visit: Visit) -> None:
    page = visit()
    press(page, "Show this once")
    expect(film(page, 0)).to_be_visible()
    answer(page, "reject-all")
    expect(notice(page)).to_be_visible()
    assert page.locator("iframe").count() == 0


def test_always_allows_the_switch_and_leaves_the_others(visit: Visit, app: Flask) -> None:
    page = visit()
    press(page, "Always allow", 1)
    expect(film(page, 1)).to_be_visible()
    expect(film(page, 0)).to_be_visible()
    expect(page.locator(NOTE)).to_be_focused()
    assert app.config["RECORDED"] == [("films", "given")]
    assert page.evaluate("[consentkit.state.granted, consentkit.state.source]") == [["marketing"], "embed"]
    expect(page.locator(BANNER)).to_be_visible()  # the rest is not answered yet
    page.reload()
    expect(film(page, 0)).to_be_visible()


def test_a_yes_that_could_not_be_saved_shows_nothing(
    visit: Visit, url: str, expected_noise: list[str]
) -> None:
    expected_noise.append("Failed to load resource")
    page = visit()
    page.route("**/consent", lambda route: route.abort())
    press(page, "Always allow")
    expect(embed(page).get_by_role("alert")).to_contain_text("could not be saved")
    assert page.locator("iframe").count() == 0
    page.unroute("**/consent")
    press(page, "Always allow")
    expect(film(page, 0)).to_be_visible()


def test_a_notice_that_has_changed_is_asked_where_nothing_is_cached(
    visit: Visit, app: Flask, expected_noise: list[str]
) -> None:
    expected_noise.append("Failed to load resource")
    page = visit()
    page.evaluate("document.querySelector('[data-consent-embed] [name=notice]').value = '0'.repeat(64)")
    press(page, "Always allow")
    page.wait_for_url("**/consent?outdated=1*")
    assert app.config["RECORDED"] == []


# ---------------------------------------------------------------- private


def test_private_content_comes_with_a_new_page(visit: Visit) -> None:
    page = visit("/private")
    assert "player" not in page.content()
    assert "ran.js" not in page.content()
    press(page, "Always allow")
    expect(film(page, 0)).to_be_visible()
    expect(page.locator(NOTE)).to_be_focused()
    assert page.locator("[data-consent-embed] .ck-notice").count() == 0
    answer(page, "accept-all")
    until(page, "(window.order || []).includes('stats')")
    page.locator("#link").click()
    with page.expect_event("load"):
        page.locator(f"{DIALOG} [data-consent-action=reject-all]").click()
    expect(notice(page)).to_be_visible()
    assert "player" not in page.content()
    assert "ran.js" not in page.content()


def test_private_content_once(visit: Visit, app: Flask) -> None:
    page = visit("/private")
    press(page, "Show this once", 1)
    expect(film(page, 1)).to_be_visible()
    expect(notice(page)).to_be_visible()
    assert app.config["RECORDED"] == []
    page.goto(page.url.split("?")[0])
    expect(notice(page, 1)).to_be_visible()


def test_private_content_leaves_other_tabs_after_a_no(visit: Visit, url: str) -> None:
    page = visit("/private")
    answer(page, "accept-all")
    expect(film(page, 0)).to_be_visible()
    other = page.context.new_page()
    other.goto(url + "/private")
    expect(film(other, 0)).to_be_visible()
    page.locator("#link").click()
    with other.expect_event("load"), page.expect_event("load"):
        page.locator(f"{DIALOG} [data-consent-action=reject-all]").click()
    expect(notice(other)).to_be_visible()
    assert "player" not in other.content()


def test_a_page_of_an_older_answer_is_loaded_once_and_not_for_ever(
    visit: Visit, app: Flask, url: str
) -> None:
    """The hint is of another revision, the ledger says yes: no loop."""
    page = visit("/private")
    answer(page, "accept-all")
    expect(film(page, 0)).to_be_visible()
    (hint,) = [c for c in page.context.cookies() if c["name"] == "consent_hint"]
    page.context.add_cookies([{"name": "consent_hint", "value": "00000000~d~analytics", "url": url}])
    loads: list[str] = []
    page.on("framenavigated", lambda frame: loads.append(frame.url) if frame == page.main_frame else None)
    page.goto(url + "/private")
    expect(film(page, 0)).to_be_visible()
    until(page, "consentkit.allows('marketing')")
    page.wait_for_timeout(300)
    assert len(loads) == 1
    assert hint["value"] != "00000000~d~analytics"


# ---------------------------------------------------------------- without script


@pytest.fixture
def plain(browser: Browser, url: str) -> Iterator[Page]:
    context = browser.new_context(java_script_enabled=False, base_url=url)
    page = context.new_page()
    page.goto("/")
    yield page
    context.close()


@pytest.mark.parametrize("path", ["/", "/private"])
def test_once_without_script(plain: Page, app: Flask, path: str) -> None:
    plain.goto(path)
    press(plain, "Show this once")
    plain.wait_for_url(re.compile(r"consent_once=.*#ck-embed-"))
    expect(film(plain, 0)).to_be_visible()
    assert film(plain, 1).count() == 0
    assert app.config["RECORDED"] == []
    assert plain.context.cookies() == []
    plain.goto(path)
    assert plain.locator("iframe").count() == 0


@pytest.mark.parametrize("path", ["/", "/private"])
def test_always_without_script(plain: Page, app: Flask, path: str) -> None:
    plain.goto(path)
    press(plain, "Always allow", 1)
    expect(film(plain, 1)).to_be_visible()
    assert app.config["RECORDED"] == [("films", "given")]
    plain.goto(path)
    assert plain.locator("iframe").count() == (0 if path == "/" else 2), "the same bytes for all, or private"


def test_the_notice_without_script_has_its_facts(plain: Page) -> None:
    embed(plain).locator("summary").click()
    expect(embed(plain)).to_contain_text("films watched")
    expect(embed(plain).get_by_role("link", name="Harbour Video").first).to_be_visible()


# ---------------------------------------------------------------- connections


@contextmanager
def listening() -> Iterator[tuple[int, list[str]]]:
    """A vendor's server: its port, and who has connected."""
    seen: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    seen.append("connected")
                    connection.settimeout(2)
                    with suppress(OSError):
                        connection.recv(1)
                        connection.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
                    connection.close()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1], seen
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


HINTS = """{{% extends page %}}{{% block head %}}
{{{{ consent_preconnect("films", "http://vendor.example:{0}", vendor="video") }}}}
{{{{ consent_preconnect("films", "//prefetched.example", rel="dns-prefetch") }}}}
{{{{ consent_preconnect("films", "http://preloaded.example/a.js", rel="preload", as_="script") }}}}
{{% endblock %}}"""


@pytest.mark.parametrize("allowed", [False, True])
def test_no_name_is_looked_up_and_no_connection_made_before_a_yes(
    app: Flask,
    url: str,
    tmp_path: Path,
    browser_type: BrowserType,
    whole_browser_launch_args: dict[str, Any],
    allowed: bool,
) -> None:
    """By the vendor's socket, and by the browser's own log of names that it has resolved."""
    log = tmp_path / "net.json"
    with listening() as (port, seen):
        template = HINTS.format(port)

        @app.get("/hints")
        def hints() -> str:
            page = app.jinja_env.from_string(PAGE)
            return render_template_string(template, page=page, locale="en", private=False)

        flags = ["--host-resolver-rules=MAP vendor.example 127.0.0.1", f"--log-net-log={log}"]
        arguments = {
            **whole_browser_launch_args,
            "args": [*whole_browser_launch_args.get("args", []), *flags],
        }
        # Only a profile that is kept: Chromium ignores hints in private windows.
        browser = browser_type.launch_persistent_context(tmp_path / "profile", **arguments)
        page = browser.new_page()
        page.goto(url + "/hints")
        until(page, "window.consentkit !== undefined")
        page.wait_for_timeout(500)
        assert seen == []
        answer(page, "accept-all" if allowed else "reject-all")
        if allowed:
            becomes(page, lambda: bool(seen), True)
            assert (
                page.locator("link[rel=preconnect]").get_attribute("href") == f"http://vendor.example:{port}/"
            )
        else:
            page.reload()
            page.wait_for_timeout(500)
            assert seen == []
        browser.close()
    said = json.dumps(json.loads(log.read_text("utf-8"))["events"])  # the rest names our own flags
    assert "/hints" in said, "the log is there"
    names = ("vendor", "prefetched", "preloaded")
    assert [f"{name}.example" in said for name in names] == [allowed] * 3
