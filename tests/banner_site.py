"""A small site with a banner, gated tags and an embed: what the browser tests visit."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from flask import Flask, Response, make_response, render_template_string, request
from playwright.sync_api import Error, Page

from consentkit import (
    ConsentKit,
    Cookie,
    Event,
    Party,
    Policy,
    PolicyVersion,
    Purpose,
    Site,
    consent_recorded,
)
from consentkit.core.catalog import Controller
from consentkit.core.terms import Basis

LOCALES = ("en", "de", "fr", "es", "it", "nl", "pl", "pt", "zh", "ja", "ar")
STRICT = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; "
    "require-trusted-types-for 'script'; trusted-types consentkit"
)
NONCE = "bm9uY2U"
STRICT_DYNAMIC = (
    f"script-src 'nonce-{NONCE}' 'strict-dynamic'; object-src 'none'; base-uri 'none'; "
    "require-trusted-types-for 'script'; trusted-types consentkit"
)

PAGE = """<!doctype html>
<html lang="{{ locale }}" dir="{{ 'rtl' if locale == 'ar' else 'ltr' }}">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>A page</title>
<script src="/listen.js"{% if nonce %} nonce="{{ nonce }}"{% endif %}></script>
{{ consent_head(nonce=nonce) }}
<link rel="stylesheet" href="/host.css"></head>
<body>{{ consent_banner(position) }}
<header><a href="/" id="first">Start</a> <a href="/other">Other</a></header>
<main><h1>A page</h1>
{% for i in range(40) %}<p>Some text with <a href="#p{{ i }}">a link</a> in it, long enough to wrap.</p>
{% endfor %}
{% call consent_embed("marketing", title="A video") %}
<iframe title="A video" src="/embed.html"></iframe>{% endcall %}
<button type="button" id="host-reject" data-consent-action="reject-all">No, thanks to everything</button>
</main>
<footer>{{ consent_link(id="link") }}</footer>
{{ consent_script("analytics", src="/tag.js?1", nonce=nonce) }}
{{ consent_script("analytics", src="/tag.js?2", nonce=nonce) }}
{% if nonce %}<script type="text/plain" data-category="analytics" nonce="{{ nonce }}">ran("inline")</script>
{% endif %}{{ consent_script("stats", src="/tag.js?3", nonce=nonce) }}
{{ consent_script("ads", src="/tag.js?ads", nonce=nonce) }}
{{ consent_script("health", src="/tag.js?health", nonce=nonce) }}
{{ consent_script("session", src="/tag.js?necessary", nonce=nonce) }}
{{ extra|safe }}
</body></html>"""

LISTEN = """
window.order = []; window.ran = (what) => window.order.push(what); window.events = [];
document.addEventListener("consentkit:change", (e) => window.events.push(e.detail));
window.shift = 0;
new PerformanceObserver((list) => { for (const e of list.getEntries()) window.shift += e.value; })
  .observe({ type: "layout-shift", buffered: true });
"""


STYLE = """
html { background: light-dark(#fff, #111) } a { color: light-dark(#00c, #9cf) } iframe { height: 5rem }
body { margin: 0 auto; max-width: 60rem; padding: 0 1rem; font-family: sans-serif }
"""


def until(page: Page, expression: str, seconds: float = 5) -> None:
    """Wait until an expression is true. `page.wait_for_function` needs `unsafe-eval`, forbidden here."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(Error):  # the page is being left
            if page.evaluate(expression):
                return
        page.wait_for_timeout(20)
    raise AssertionError(f"never true: {expression}; order: {page.evaluate('window.order')}")


def becomes(page: Page, read: Callable[[], Any], wanted: Any, seconds: float = 5) -> None:
    """Wait until something outside of the page is so: a browser writes a script's cookies later."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and read() != wanted:
        page.wait_for_timeout(20)
    assert read() == wanted


def make_kit() -> ConsentKit:
    """Four categories, one purpose that stands apart, a policy."""
    return ConsentKit(
        controller=Controller("Example Ltd", "privacy@example.org"),
        site=Site(name="Example", locales=LOCALES),
        parties=[Party("stats-co", "Statistics Ltd", url="https://example.org/", country="IE")],
        policies=[
            Policy(
                "terms",
                title="Terms",
                versions=[
                    PolicyVersion("1", texts={"en": "# Terms\n\nBe kind.\n\n- one\n- two"}, summary="Short")
                ],
            )
        ],
        purposes=[
            Purpose(
                "session",
                title="Signing in",
                category="necessary",
                basis=Basis.CONTRACT,
                cookies=[Cookie("session", "Keeps you signed in", "until you leave")],
            ),
            Purpose("look", title="Appearance", category="preferences"),
            Purpose(
                "stats",
                title="Visitor statistics",
                description="Counts pages.",
                category="analytics",
                data=["pages seen", "kind of device"],
                recipients=["stats-co"],
                cookies=[Cookie("_st*", "Tells visitors apart", "13 months")],
                gcm=["analytics_storage"],
            ),
            Purpose(
                "ads",
                title="Advertising",
                category="marketing",
                gcm=["ad_storage", "ad_user_data", "ad_personalization"],
                signals=["gpc"],
            ),
            Purpose("health", title="Health data for research", description="A study.", explicit=True),
        ],
    )


def make_app(folder: Path, **config: Any) -> Flask:
    """The site. `?nonce`, `?locale=` and `?position=` change its page, `config["EXTRA"]` adds to it."""
    app = Flask("banner_site", instance_path=str(folder))
    app.config.update(SECRET_KEY="only for tests", CSP=STRICT, EXTRA="", **config)
    consent = make_kit()
    app.config["RECORDED"] = recorded = []

    @consent_recorded.connect_via(consent)
    def record(_kit: ConsentKit, events: list[Event], **_rest: object) -> None:
        recorded.extend(events)

    app.extensions["keep"] = record  # signals hold their receivers weakly

    @consent.locale_loader
    def locale() -> str | None:
        return request.args.get("locale")

    consent.init_app(app)

    @app.get("/")
    @app.get("/other")
    def page() -> Response:
        nonce = NONCE if "nonce" in request.args else None
        response = make_response(
            render_template_string(
                PAGE,
                locale=request.args.get("locale", "en"),
                nonce=nonce,
                position=request.args.get("position", "bottom"),
                extra=app.config["EXTRA"],
            )
        )
        response.headers["Content-Security-Policy"] = STRICT_DYNAMIC if nonce else app.config["CSP"]
        return response

    @app.get("/favicon.ico")
    def icon() -> tuple[str, int]:
        return "", 204

    @app.get("/listen.js")
    def listen() -> Response:
        return Response(LISTEN, mimetype="text/javascript")

    @app.get("/tag.js")
    def tag() -> Response:
        name = request.query_string.decode()
        if name == "1":
            time.sleep(0.2)  # the first tag is the slowest: order must hold all the same
        return Response(f"ran({json.dumps(name)})", mimetype="text/javascript")

    @app.get("/host.css")
    def style() -> Response:
        return Response(STYLE, mimetype="text/css")

    @app.get("/embed.html")
    def embedded() -> str:
        return "<!doctype html><html lang=en><title>A video</title><p>A video</p>"

    return app
