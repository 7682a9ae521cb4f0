"""The functions of templates: what they write, and that it is the same for everybody."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from banner_site import make_app
from flask import Flask
from markupsafe import Markup

from consentkit import Purpose, UnknownPurpose
from consentkit.core.catalog_rules import build
from consentkit.web import markup


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    return make_app(tmp_path)


@pytest.fixture
def request_context(app: Flask) -> Iterator[None]:
    with app.test_request_context("/"):
        yield


def test_the_page_is_the_same_bytes_for_everybody(app: Flask) -> None:
    nobody, somebody = app.test_client(), app.test_client()
    headers = {"Sec-Fetch-Site": "same-origin"}
    somebody.post("/consent", data={"decision": "accept-all"}, headers=headers)
    assert somebody.get_cookie("consent_hint") is not None
    first = nobody.get("/")
    again = somebody.get("/", headers={"Sec-GPC": "1", "Accept-Language": "de"})
    assert first.data == again.data
    assert "Cookie" not in first.headers.get("Vary", "")
    assert "Set-Cookie" not in somebody.get("/").headers
    assert b"nonce" not in first.data
    assert b"checked" not in first.data


def test_the_banner_is_a_form_that_needs_no_script(app: Flask) -> None:
    html = app.test_client().get("/").text
    kit = app.extensions["consentkit"].kit
    banner = re.search(r"<section.*?</section>", html, re.DOTALL)
    assert banner is not None
    assert '<form method="post" action="/consent"' in banner[0]
    assert f'name="notice" value="{kit.notice("en").digest}"' in banner[0]
    decisions = re.findall(r'name="decision" value="([a-z-]+)" data-consent-action="([a-z-]+)"', banner[0])
    assert decisions == [("accept-all", "accept-all"), ("reject-all", "reject-all"), ("defer", "defer")]
    assert "data-consent-dismiss hidden" in banner[0], "only where nobody has to be asked"
    clobbering = {"action", "method", "submit", "elements", "id", "name"}
    assert not clobbering & set(re.findall(r' name="([^"]+)"', html))
    assert html.index("<section") < html.index("<header"), "first in the body"


def test_what_stands_apart_has_a_tick_of_its_own(app: Flask) -> None:
    html = app.test_client().get("/").text
    assert re.search(r'type="checkbox" id="[^"]+" name="purpose" value="health"', html)
    assert set(re.findall(r'name="category" value="([^"]+)"', html)) == {
        "preferences",
        "analytics",
        "marketing",
    }


def test_texts_of_the_catalogue_are_escaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import banner_site

    evil = '<img src=x onerror="x">'
    real = banner_site.Purpose

    def poisoned(key: str, **kwargs: Any) -> Purpose:
        return real(key, **{**kwargs, "title": evil, "description": evil, "data": [evil]})

    monkeypatch.setattr(banner_site, "Purpose", poisoned)
    client = make_app(tmp_path).test_client()
    for path in ("/", "/consent"):
        html = client.get(path).text
        assert "&lt;img" in html
        assert "<img" not in html


@pytest.mark.usefixtures("request_context")
def test_a_nonce_is_written_only_when_it_is_given() -> None:
    assert "nonce" not in markup.consent_head()
    assert str(markup.consent_head(nonce="abc")).count('nonce="abc"') == 2
    assert 'nonce="abc"' in markup.consent_script("analytics", src="/x.js", nonce="abc")


def test_the_head_may_stand_in_the_page(app: Flask, tmp_path: Path) -> None:
    state = app.extensions["consentkit"]
    with app.test_request_context("/"):
        linked = markup.consent_head()
    with make_app(tmp_path, CONSENTKIT_INLINE=True).test_request_context("/"):
        inline = markup.consent_head()
    assert linked.count("<script src=") == 2
    assert "<style>:root" in inline
    assert inline.count("<script src=") == 1
    for head in (linked, inline):
        assert '<noscript><link rel="stylesheet" href="/consent/state.css"></noscript>' in head
        assert f'data-revision="{state.kit.revision}"' in head


@pytest.mark.usefixtures("request_context")
def test_scripts_are_gated_by_what_the_browser_knows() -> None:
    assert markup.consent_script("analytics", src="/a.js") == Markup(
        '<script type="text/plain" data-category="analytics" data-src="/a.js"></script>'
    )
    of_a_purpose = markup.consent_script(
        "stats", src="/a.js", type="module", async_=True, crossorigin="anonymous"
    )
    assert of_a_purpose == Markup(
        '<script type="text/plain" data-category="analytics" data-service="stats" data-type="module" '
        'data-src="/a.js" async crossorigin="anonymous"></script>'
    )
    assert 'data-category="health"' in markup.consent_script("health", src="/a.js")
    assert 'data-category="necessary"' in markup.consent_script("session", src="/a.js")
    assert "&#34;" in markup.consent_script("stats", src='"><script>')
    with pytest.raises(UnknownPurpose):
        markup.consent_script("statz", src="/a.js")


@pytest.mark.parametrize(
    ("key", "gate"),
    [
        ("ads", "marketing"),
        ("purpose:ads", "marketing"),
        ("marketing", "marketing"),
        ("profile", "profile"),  # stands apart in its category
        ("letter", "letter"),  # in no category
        ("analytics", "analytics"),  # the category
        ("purpose:analytics", "purpose:analytics"),  # the purpose of that name, which stands apart
        ("court", "court"),  # per scope: the browser never knows it, so it never runs
    ],
)
def test_the_key_of_a_gate(key: str, gate: str) -> None:
    catalog = build(
        purposes=[
            Purpose("ads", category="marketing"),
            Purpose("profile", category="marketing", separate=True),
            Purpose("letter"),
            Purpose("count", category="analytics"),
            Purpose("analytics", category="analytics", explicit=True),
            Purpose("court", category="marketing", scoped=True),
        ]
    )
    assert markup.gate_key(catalog, key) == gate


def test_signals_of_consent_mode_need_every_purpose_that_names_them() -> None:
    assert markup.gcm_of(build(purposes=[Purpose("ads", category="marketing")])) is None
    signals = markup.gcm_of(
        build(
            purposes=[
                Purpose("ads", category="marketing", gcm=["ad_storage"]),
                Purpose("letter", gcm=["ad_storage"]),
                Purpose("count", category="analytics", gcm=["analytics_storage"]),
            ]
        )
    )
    assert signals is not None
    assert signals.split() == [
        "ad_storage=marketing,letter",
        "ad_user_data=",
        "ad_personalization=",
        "analytics_storage=analytics",
        "functionality_storage=",
        "personalization_storage=",
        "security_storage=",
    ]


def test_a_site_that_asks_nothing_has_no_banner(tmp_path: Path) -> None:
    from consentkit import ConsentKit

    app = Flask(__name__, instance_path=str(tmp_path))
    app.config["SECRET_KEY"] = "only for tests"
    ConsentKit().init_app(app)
    with app.test_request_context("/"):
        assert markup.consent_banner() == ""
        assert markup.consent_link() == Markup(
            '<a href="/consent?locale=en" data-consent-action="preferences">Privacy choices</a>'
        )


def test_the_banner_speaks_the_language_of_the_page(app: Flask) -> None:
    html = app.test_client().get("/?locale=ar").text
    assert re.search(r'<section[^>]* lang="ar" dir="rtl"', html)
    assert "رفض الكل" in html
    assert '<input type="hidden" name="locale" value="ar">' in html


def test_an_embed_loads_nothing(app: Flask) -> None:
    html = app.test_client().get("/").text
    template = re.search(r'<template data-category="marketing">(.*?)</template>', html, re.DOTALL)
    assert template is not None
    assert "<iframe" in template[1]
    assert html.count("<iframe") == 1


@pytest.mark.parametrize(
    "name", ["base", "preferences", "policy", "accept", "blocked", "unavailable", "receipt"]
)
def test_templates_are_short_and_have_named_blocks(name: str) -> None:
    import consentkit

    source = (Path(consentkit.__file__).parent / "templates" / "consentkit" / f"{name}.html").read_text(
        "utf-8"
    )
    assert len(source.splitlines()) < 60
    assert "{% block content %}" in source
