"""The page after sign-in, in a browser: nothing is ticked, both ways are equal, and no script is needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from flask import Flask, redirect, render_template_string, session, url_for
from playwright.sync_api import Browser, Page, expect

from consentkit import ConsentKit, Purpose, Site
from consentkit.core.texts import built_in, texts

PAGE = """<!doctype html><html lang="en"><head><title>Library</title>{{ consent_head() }}</head>
<body>{{ consent_banner() }}<main><h1>Library</h1>
<form method="post" action="/sign-in"><button>Sign in</button></form></main></body></html>"""


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    kit = ConsentKit(
        site=Site(name="Library", locales=built_in(), link="explicit_choice"),
        purposes=[
            Purpose("history", title="What you borrowed", category="preferences"),
            Purpose("counts", title="Visitor statistics", category="analytics", data=["pages seen"]),
        ],
    )
    app = Flask("library", instance_path=str(tmp_path))
    app.config["SECRET_KEY"] = "only for tests"
    kit.subject_loader(lambda: session.get("card"))
    kit.init_app(app)

    @app.get("/")
    def home() -> str:
        return render_template_string(PAGE)

    @app.post("/sign-in")
    def sign_in() -> Any:
        session["card"] = "ada"
        return redirect(url_for("consentkit.link", next="/"), 303)

    return app


@pytest.fixture
def asked(browser: Browser, live_server: Callable[[Flask], str], app: Flask) -> Callable[..., Page]:
    """Somebody who accepted everything and has just signed in, with or without script."""
    url = live_server(app)

    def go(*, script: bool = True) -> Page:
        page = browser.new_context(java_script_enabled=script).new_page()
        page.goto(url)
        page.get_by_role("button", name="Accept all").first.click()
        expect(page.locator("[data-consent-banner]")).to_be_hidden()
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Your choices before you signed in")
        return page

    return go


@pytest.mark.parametrize("script", [True, False])
def test_take_one(asked: Callable[..., Page], app: Flask, script: bool) -> None:
    page = asked(script=script)
    assert page.get_by_role("checkbox", checked=True).count() == 0
    boxes = [
        page.get_by_role("button", name=name).bounding_box()
        for name in ("Take over what is ticked", "Take over nothing")
    ]
    assert (boxes[0]["width"], boxes[0]["height"]) == (boxes[1]["width"], boxes[1]["height"])  # type: ignore[index]
    page.get_by_role("checkbox", name="Visitor statistics").check()
    page.get_by_role("button", name="Take over what is ticked").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Library")
    with app.app_context():
        events = app.extensions["consentkit"].kit.ledger.of_subject("ada")
        assert [(e.item, e.action) for e in events] == [("counts", "given")]
    page.context.close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (320, "dark")])
def test_no_axe_violation_in_any_language(asked: Callable[..., Page], width: int, scheme: Any) -> None:
    page = asked()
    page.set_viewport_size({"width": width, "height": 700})
    page.emulate_media(color_scheme=scheme)
    for locale in built_in():
        page.goto(page.url.split("/consent")[0] + f"/consent/link?locale={locale}")
        expect(page.get_by_role("heading", level=1)).to_have_text(texts(locale)["link.title"])
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), locale
        if locale in ("en", "ar"):
            assert Axe().run(page).response["violations"] == []
    page.context.close()
