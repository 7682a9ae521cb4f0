"""Tags that wait for consent: vendors, content that the server leaves out, what is shown one time."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from flask import Flask, Response, render_template_string, request, stream_template_string
from flask.testing import FlaskClient

from consentkit import (
    CatalogError,
    ConsentKit,
    Cookie,
    Party,
    Purpose,
    Site,
    UnknownPurpose,
    current_consents,
)
from consentkit.core.catalog import Controller
from consentkit.core.errors import StoreUnavailable
from consentkit.store.database import Database
from consentkit.web.gated_tags import consent_script
from tests.web.conftest import make_app

SAME = {"Sec-Fetch-Site": "same-origin"}
HTML = {"Accept": "text/html", **SAME}
FILM = '<iframe src="https://video.example/1"></iframe>'
EMBED = "{% call consent_embed(key, title=title, vendor=vendor, private=private) %}" + FILM + "{% endcall %}"
PARTIES = [
    Party("video", "Harbour Video", url="https://video.example/privacy", country="IE"),
    Party("maps", "Maps Ltd"),
]


def purposes(**films: Any) -> list[Purpose]:
    values = {"recipients": ["video"], "data": ["films watched"], "cookies": [Cookie("_reel")], **films}
    return [
        Purpose("films", title="Films with advertising", category="marketing", **values),
        Purpose("ads", title="Advertising", category="marketing", recipients=["maps"]),
        Purpose("study", title="A study", category="analytics", recipients=["maps"], separate=True),
        Purpose("stats", title="Statistics", category="analytics"),
        Purpose("letter", title="Letter", recipients=["maps"]),
        Purpose("quote", title="Quoting you", scoped=True),
    ]


def kit_of(**films: Any) -> ConsentKit:
    return ConsentKit(
        purposes=purposes(**films),
        parties=PARTIES,
        controller=Controller("Harbour Press", "privacy@press.example"),
        site=Site(name="Test", locales=("en", "de")),
    )


def app_on(folder: Path, kit: ConsentKit, **config: Any) -> Flask:
    app = make_app(kit, folder, **config)
    for view in ("letters", "both", "account", "under_terms"):
        app.view_functions.pop(view)

    @app.get("/film")
    @app.get("/café/film")
    def film() -> str:
        values = {"title": "A film", "key": "marketing", "vendor": None, "private": False}
        for name, value in request.args.items():
            values[name] = value == "1" if name == "private" else value
        return render_template_string(EMBED, **values)

    @app.get("/script")
    def script() -> str:
        return render_template_string(
            "{{ consent_script('analytics', src='/tag.js', private=True, type='module') }}"
        )

    @app.get("/link")
    def link() -> str:
        return render_template_string(
            "{{ consent_preconnect('films', 'https://video.example', private=True) }}"
        )

    return app


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    return app_on(tmp_path, kit_of())


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def write(app: Flask) -> Callable[..., str]:
    """What a template writes on a page."""

    def render(source: str, **values: Any) -> str:
        with app.test_request_context("/"):
            return render_template_string(source, **values)

    return render


def accept(client: FlaskClient, *categories: str) -> None:
    client.post("/consent", data={"decision": "save", "category": list(categories)}, headers=SAME)


def form_in(page: str, decision: str) -> dict[str, str]:
    """What the form of an embed sends when that button is pressed."""
    form = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page))
    assert f'name="decision" value="{decision}"' in page
    return {**form, "decision": decision}


def press(client: FlaskClient, path: str, decision: str, headers: Any = HTML) -> Any:
    return client.post("/consent", data=form_in(client.get(path).text, decision), headers=headers)


def recorded(app: Flask, client: FlaskClient) -> list[tuple[str, str, str | None]]:
    subject = client.get("/consent/receipt").get_json()["subject"]
    if subject is None:
        return []
    with app.app_context():
        events = app.extensions["consentkit"].kit.ledger.of_subject(subject)
    return [(event.item, event.action, event.notice) for event in events]


# ---------------------------------------------------------------- vendors


def test_the_notice_names_the_vendor(client: FlaskClient) -> None:
    page = client.get("/film?vendor=video").text
    assert 'Provider: <a href="https://video.example/privacy" rel="noreferrer">Harbour Video</a> (IE)' in page
    assert "Harbour Video" in client.get("/film?vendor=video&key=films").text
    assert "Provider" not in client.get("/film").text
    assert "Provider: Maps Ltd</p>" in client.get("/film?vendor=maps&key=letter").text


def test_tags_name_their_vendor(write: Callable[[str], str]) -> None:
    assert write("{{ consent_script('films', src='/a.js', vendor='video') }}") == (
        '<script type="text/plain" data-category="marketing" data-service="films" data-vendor="video" '
        'data-src="/a.js"></script>'
    )
    assert write(
        "{{ consent_preconnect('marketing', 'https://v.example', vendor='video', crossorigin=True) }}"
    ) == (
        '<link rel="preconnect" data-category="marketing" data-vendor="video" data-src="https://v.example" '
        "crossorigin>"
    )


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            "consent_script('films', src='/a.js', vendor='nobody')",
            "no such party. Known parties: maps, video",
        ),
        ("consent_script('films', src='/a.js', vendor='maps')", "'maps' receives nothing by 'films'"),
        ("consent_script('analytics', src='/a.js', vendor='video')", "receives nothing by 'analytics'"),
        ("consent_script('analytics', src='/a.js', vendor='maps')", "receives nothing by 'analytics'"),
        ("consent_preconnect('letter', 'https://v', vendor='video')", 'Add "video" to recipients'),
        ("consent_embed('letter', title='x', vendor='video')", "with a new version: people are asked again"),
    ],
)
def test_a_vendor_that_nobody_was_told_of_is_an_error(
    write: Callable[[str], str], call: str, sentence: str
) -> None:
    with pytest.raises(CatalogError, match=re.escape(sentence)):
        write("{{ " + call + " }}")


def test_a_vendor_of_any_purpose_of_the_category_will_do(write: Callable[[str], str]) -> None:
    assert 'data-vendor="maps"' in write("{{ consent_script('marketing', src='/a.js', vendor='maps') }}")


def test_a_new_vendor_needs_a_new_version_and_asks_again_for_its_category(tmp_path: Path) -> None:
    first = app_on(tmp_path, kit_of())
    client = first.test_client()
    accept(client, "marketing", "analytics")
    revision = first.extensions["consentkit"].kit.revision
    with pytest.raises(CatalogError, match="recipients changed under version 1"):
        app_on(tmp_path, kit_of(recipients=["video", "maps"]))
    second = app_on(tmp_path, kit_of(recipients=["video", "maps"], version=2))
    again = second.test_client()
    again.set_cookie("consent", client.get_cookie("consent").value)
    said = again.get("/consent/status").get_json()
    assert (said["decided"], said["granted"]) == (False, ["analytics"])
    with second.test_request_context(
        "/", headers={"Cookie": f"consent={client.get_cookie('consent').value}"}
    ):
        assert current_consents.decide("films").reason == "OUTDATED"
        assert current_consents.decide("ads").reason == "GIVEN"
    assert second.extensions["consentkit"].kit.revision != revision


# ---------------------------------------------------------------- what the server leaves out


def test_content_stays_with_the_server_until_it_is_allowed(client: FlaskClient) -> None:
    page = client.get("/film?private=1")
    assert FILM not in page.text
    assert "<template" not in page.text
    assert page.text.count("<button") == 2
    assert (page.headers["Vary"], page.headers["Cache-Control"]) == ("Cookie", "private")
    accept(client, "marketing")
    page = client.get("/film?private=1")
    assert FILM in page.text
    assert "<template" not in page.text
    assert "<button" not in page.text
    assert page.headers["Cache-Control"] == "private"
    accept(client)
    assert FILM not in client.get("/film?private=1").text


def test_what_is_left_out_is_not_even_made(write: Callable[[str], str]) -> None:
    call = "{% call consent_embed('films', title='x', private=private) %}{{ 1 // 0 }}{% endcall %}"
    assert "<form" in write(call.replace("private=private", "private=True"))
    with pytest.raises(ZeroDivisionError):
        write(call.replace("private=private", "private=False"))


def test_only_private_pages_are_made_for_one_person(client: FlaskClient) -> None:
    accept(client, "marketing")
    page = client.get("/film")
    assert page.data == client.application.test_client().get("/film").data
    assert "Vary" not in page.headers
    assert "Cache-Control" not in page.headers


@pytest.mark.parametrize("guard", ["report", "off"])
@pytest.mark.parametrize("path", ["/film?private=1", "/branch"])
def test_the_host_cannot_take_that_back(tmp_path: Path, guard: str, path: str) -> None:
    app = app_on(tmp_path, kit_of(), CONSENTKIT_COOKIE_GUARD=guard)

    @app.get("/branch")
    def branch() -> str:
        return render_template_string("{% if consents.allows('marketing') %}yes{% endif %}")

    @app.after_request
    def publish(response: Response) -> Response:
        response.headers["Cache-Control"] = "public, max-age=300"
        response.headers.pop("Vary", None)
        return response

    page = app.test_client().get(path)
    assert "Cookie" in page.headers["Vary"]
    private = "private" in page.headers["Cache-Control"]
    assert private == (path != "/branch")


def test_a_stream_leaves_out_what_was_asked_too_late(
    client: FlaskClient, app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    page = "{% call consent_embed('films', title='x', private=True) %}FILM{% endcall %}{{ tag() }}"

    def tag() -> str:
        return str(consent_script("films", src="/tag.js", private=True))

    @app.get("/stream")
    def stream() -> Any:
        if "early" in request.args:
            tag()
        return Response(
            stream_template_string(page, tag=tag), headers={"Cache-Control": "public, max-age=300"}
        )

    accept(client, "marketing")
    late = client.get("/stream")
    assert ("FILM" in late.text, "/tag.js" in late.text) == (False, False)
    assert "private_too_late" in {getattr(record, "event", "") for record in caplog.records}
    early = client.get("/stream?early=1")
    assert ("FILM" in early.text, "/tag.js" in early.text) == (True, True)
    assert early.headers["Cache-Control"] == "max-age=300, private"
    once = re.search(r'name="embed" value="(\w+)"', late.text)[1]  # type: ignore[index]
    accept(client)
    form = {"decision": "once", "embed": once, "next": "/stream"}
    address = client.post("/consent", data=form, headers=HTML).location
    assert "FILM" not in client.get(address).text, "nobody said that this is not to be stored"


@pytest.mark.parametrize("name", ["x onload", "a=b", "a>", "a/b", 'a"b', "a'b", "", "_", "a\x00", "a\tb"])
def test_a_name_that_is_no_attributes_is_refused(write: Callable[..., str], name: str) -> None:
    for call in ("consent_script('stats', **more)", "consent_link(**more)"):
        with pytest.raises(ValueError, match="name of an attribute"):
            write("{{ " + call + " }}", more={name: "1"})
    assert 'data-x.y:z="1"' in write("{{ consent_script('stats', **more) }}", more={"data-x.y:z": "1"})


@pytest.mark.parametrize(
    ("path", "category", "tag"),
    [
        ("/script", "analytics", '<script type="module" src="/tag.js" {}></script>'),
        ("/link", "marketing", '<link rel="preconnect" href="https://video.example" {}>'),
    ],
)
def test_tags_that_the_server_leaves_out(client: FlaskClient, path: str, category: str, tag: str) -> None:
    page = client.get(path)
    assert page.text == f'<template data-consent-private="{category}"></template>'
    assert page.headers["Vary"] == "Cookie"
    accept(client, category)
    mark = f'data-consent-private="{category}" data-consent-shown'
    assert client.get(path).text == tag.format(mark)


def test_a_purpose_waits_for_the_switch_that_answers_it(client: FlaskClient, app: Flask) -> None:
    client.post("/login", data={"user": "u-1"}, headers=SAME)
    with app.app_context():
        app.extensions["consentkit"].kit.give("u-1", "purpose:films")
    assert FILM not in client.get("/film?private=1&key=films").text, "the browser could not know"


def test_a_ledger_that_cannot_be_read_puts_nothing_in(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept(client, "marketing")

    def fail(*_: object) -> None:
        raise StoreUnavailable

    monkeypatch.setattr(Database, "read", fail)
    page = client.get("/film?private=1")
    assert (page.status_code, FILM in page.text) == (200, False)


# ---------------------------------------------------------------- once


@pytest.mark.parametrize("private", ["0", "1"])
def test_once_leads_back_to_the_page_and_records_nothing(
    client: FlaskClient, app: Flask, private: str
) -> None:
    path = f"/film?private={private}"
    back = press(client, path, "once", {**HTML, "Referer": f"http://localhost{path}"})
    assert (back.status_code, back.headers["Cache-Control"]) == (303, "no-store")
    assert re.fullmatch(r"/film\?private=.&consent_once=[\w.-]+#ck-embed-[0-9a-f]{12}", back.location)
    page = client.get(back.location)
    assert FILM in page.text
    assert "<template" not in page.text
    assert "data-consent-private" not in page.text
    assert page.headers["Cache-Control"] == "no-store"
    assert back.location.split("#")[1] in page.text
    assert "Set-Cookie" not in back.headers
    assert "Set-Cookie" not in page.headers
    assert recorded(app, client) == []
    assert "<form" in client.get(path).text, "once"


def test_once_for_one_embed_and_for_a_minute(client: FlaskClient) -> None:
    where = press(client, "/film?private=1", "once").location
    token = where.split("=")[1].split("#")[0]
    assert FILM in client.get(f"/film?private=1&consent_once={token}").text
    assert FILM not in client.get(f"/film?private=1&title=Another&consent_once={token}").text
    assert FILM not in client.get(f"/film?private=1&consent_once={token}x").text
    assert FILM not in client.get("/film?private=1&consent_once=").text
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=61), tick=False):
        assert FILM not in client.get(f"/film?private=1&consent_once={token}").text


@pytest.mark.parametrize(
    ("referer", "expected"),
    [
        ("http://localhost/film?page=2&consent_once=old.x&q=%C3%A9", "/film?page=2&q=%C3%A9&"),
        ("http://localhost/", "/film?"),  # Referrer-Policy: origin
        ("https://elsewhere.example/film?page=2", "/film?"),
        (None, "/film?"),
    ],
)
def test_the_way_back(client: FlaskClient, referer: str | None, expected: str) -> None:
    headers = {**HTML, **({"Referer": referer} if referer else {})}
    assert press(client, "/film", "once", headers).location.startswith(expected + "consent_once=")


def test_the_way_back_to_a_page_that_is_not_ascii(client: FlaskClient) -> None:
    where = press(
        client, "/café/film", "once", {**HTML, "Referer": "http://localhost/caf%C3%A9/film?p=1"}
    ).location
    assert where.startswith("/caf%C3%A9/film?p=1&consent_once=")
    assert FILM in client.get(where).text


@pytest.mark.parametrize("embed", ["", "nonsense", "0" * 13, '"><script>'])
def test_an_embed_that_is_none(client: FlaskClient, embed: str) -> None:
    answer = client.post("/consent", data={"decision": "once", "embed": embed}, headers=SAME)
    assert (answer.status_code, answer.json["type"]) == (422, "urn:consentkit:problem:choice-rejected")


def test_another_site_shows_nothing(client: FlaskClient) -> None:
    form = form_in(client.get("/film").text, "once")
    answer = client.post("/consent", data=form, headers={"Sec-Fetch-Site": "cross-site"})
    assert (answer.status_code, answer.json["type"]) == (403, "urn:consentkit:problem:cross-site")


def test_once_leads_to_no_other_site(client: FlaskClient) -> None:
    form = {**form_in(client.get("/film").text, "once"), "next": "//evil.example/"}
    assert client.post("/consent", data=form, headers=HTML).location.startswith("/?consent_once=")


def test_a_program_is_told_the_address(client: FlaskClient) -> None:
    assert press(client, "/film", "once", SAME).json["url"].startswith("/film?consent_once=")


# ---------------------------------------------------------------- always


def test_always_answers_the_switch_with_its_own_notice_and_nothing_else(
    client: FlaskClient, app: Flask
) -> None:
    back = press(client, "/film", "save")
    assert back.status_code == 303
    digest = app.extensions["consentkit"].kit.purpose_notice("marketing").digest
    assert recorded(app, client) == [("films", "given", digest), ("ads", "given", digest)]
    assert FILM in client.get(back.location).text, "what was asked for is shown, also without script"
    with app.app_context():
        _, text = app.extensions["consentkit"].kit.document(digest)
    page = client.get("/film").text
    for said in ("films watched", "Harbour Video", "Maps Ltd", "Harbour Press"):
        assert said in text
        assert said in page


def test_always_for_what_stands_apart(client: FlaskClient, app: Flask) -> None:
    press(client, "/film?key=letter", "save")
    assert [(item, action) for item, action, _ in recorded(app, client)] == [("letter", "given")]


def test_a_stale_yes_is_not_recorded(client: FlaskClient, app: Flask) -> None:
    form = form_in(client.get("/film").text, "save") | {"notice": "0" * 64}
    assert client.post("/consent", data=form, headers=SAME).status_code == 409
    page = client.post("/consent", data=form, headers=HTML)
    assert page.status_code == 409
    for said in ("Marketing", "Films with advertising", "films watched"):
        assert said in page.text
    assert recorded(app, client) == []
    fresh = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page.text))
    assert client.post("/consent", data={**fresh, "category": "marketing"}, headers=SAME).status_code == 200
    assert len(recorded(app, client)) == 2


def test_a_category_that_is_asked_by_itself_may_be_refused_and_withdrawn(
    client: FlaskClient, app: Flask
) -> None:
    press(client, "/film?key=films", "save")
    for expected in ("withdrawn", "refused"):
        said = client.post("/consent", data={"decision": "save", "ask": "marketing"}, headers=SAME).json
        assert said["asked"]["category"] == "marketing"
        assert said["asked"]["status"] == expected
    actions = [(item, action) for item, action, _ in recorded(app, client)]
    assert actions[-2:] == [("films", "refused"), ("ads", "refused")]


@pytest.mark.parametrize("yes", [{"purpose": "films"}, {"category": "analytics"}])
def test_another_key_than_the_one_that_is_asked(client: FlaskClient, app: Flask, yes: dict[str, str]) -> None:
    digest = app.extensions["consentkit"].kit.purpose_notice("marketing").digest
    form = {"decision": "save", "ask": "marketing", "notice": digest, **yes}
    answer = client.post("/consent", data=form, headers=SAME)
    if "category" in yes:
        assert answer.status_code == 422
    else:
        assert answer.json["asked"]["status"] == "refused", "the category was not ticked"


def test_what_a_browser_cannot_answer_for_good_is_shown_once_only(client: FlaskClient) -> None:
    page = client.get("/film?key=quote").text
    assert re.findall(r'name="decision" value="(\w+)"', page) == ["once"]
    where = press(client, "/film?key=quote", "once", {**HTML, "Referer": "http://localhost/film?key=quote"})
    assert FILM in client.get(where.location).text


def test_without_the_button_for_once(write: Callable[[str], str]) -> None:
    page = write("{% call consent_embed('films', title='x', once=False) %}" + FILM + "{% endcall %}")
    assert re.findall(r'name="decision" value="(\w+)"', page) == ["save"]
    assert "no choice is saved" not in page


# ---------------------------------------------------------------- resource hints


@pytest.mark.parametrize("rel", ["preconnect", "dns-prefetch", "prefetch", "preload", "modulepreload"])
def test_hints_have_no_address_that_a_browser_reads(write: Callable[[str], str], rel: str) -> None:
    call = f"{{{{ consent_preconnect('stats', 'https://x.example/a', rel='{rel}', as_='script') }}}}"
    assert write(call) == (
        f'<link rel="{rel}" data-category="analytics" data-src="https://x.example/a" as="script">'
    )


def test_hints_of_another_kind_and_unknown_keys(write: Callable[[str], str]) -> None:
    with pytest.raises(ValueError, match="write one of preconnect, dns-prefetch"):
        write("{{ consent_preconnect('stats', 'https://x', rel='stylesheet') }}")
    with pytest.raises(UnknownPurpose):
        write("{{ consent_preconnect('statz', 'https://x') }}")
