"""`/consent/link`: what the account takes over of what this browser chose, by its signed cookie and by a tick."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, redirect, request, session, url_for
from flask.testing import FlaskClient

from consentkit import Age, ConsentKit, Site
from consentkit.core.texts import built_in, texts
from tests.web.conftest import make_kit

AppOf = Callable[..., Flask]
SAME = {"Sec-Fetch-Site": "same-origin"}
HTML = {**SAME, "Accept": "text/html"}
SITE = Site(name="Test", locales=("en", "de"), link="explicit_choice")


@pytest.fixture
def kit() -> ConsentKit:
    return make_kit(site=SITE)


@pytest.fixture
def app(app: Flask) -> Flask:
    """A host that leads through the question after sign-in, and empties the session to sign out."""

    @app.post("/sign-in")
    def sign_in() -> Any:
        session["user"] = request.form["user"]
        return redirect(url_for("consentkit.link", next="/plain"), 303)

    @app.post("/sign-out")
    def sign_out() -> str:
        session.clear()
        return "out"

    return app


def visitor(app: Flask, decision: str = "accept-all", **more: Any) -> FlaskClient:
    client = app.test_client()
    client.post("/consent", json={"decision": decision, **more}, headers=SAME)
    return client


def sign_in(client: FlaskClient, user: str = "u-1") -> Response:
    client.post("/sign-in", data={"user": user}, headers=HTML)
    return client.get("/consent/link?next=/plain", headers=HTML)


def form(page: Response, *take: str, decision: str = "take", **more: str) -> dict[str, Any]:
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page.text))
    return {**hidden, "decision": decision, "take": list(take), **more}


def said(app: Flask, subject: str = "u-1") -> list[tuple[str, str]]:
    with app.app_context():
        return [(e.item, e.action) for e in app.extensions["consentkit"].kit.ledger.of_subject(subject)]


def granted(client: FlaskClient) -> list[str]:
    found: list[str] = client.get("/consent/status").json["granted"]
    return found


def test_nothing_is_ticked_and_no_is_as_easy(app: Flask) -> None:
    page = sign_in(visitor(app, "save", category=["analytics", "marketing"], purpose=["newsletter"]))
    assert page.status_code == 200
    boxes = re.findall(r'<input type="checkbox"[^>]*>', page.text)
    offered = [re.search(r'value="([\w.]+)"', box)[1] for box in boxes]  # type: ignore[index]
    assert offered == ["newsletter", "statistics", "ads", "transfer", "letters_by_terms"]
    assert not any("checked" in box for box in boxes)
    buttons = re.findall(r'<button class="([^"]+)" type="(\w+)" name="decision" value="(\w+)">', page.text)
    assert buttons == [("ck-button", "submit", "take"), ("ck-button", "submit", "leave")]
    assert page.headers["Cache-Control"] == "no-store"
    assert "Cookie" in page.headers["Vary"]


def test_until_it_is_answered_the_account_has_nothing_but_the_denials(app: Flask) -> None:
    client = visitor(app)
    sign_in(client)
    assert granted(client) == []
    assert said(app) == []
    other = visitor(app, "reject-all")
    with app.app_context():
        app.extensions["consentkit"].kit.give("u-2", ["statistics"])
    sign_in(other, "u-2")
    assert granted(other) == ["analytics"], "an own yes after the browser's no"
    with app.app_context():
        app.extensions["consentkit"].kit.give("u-3", ["statistics"])
    third = visitor(app, "reject-all")
    sign_in(third, "u-3")
    assert granted(third) == [], "the browser's no came later"


def test_what_is_ticked_is_taken_over_and_the_visitor_is_forgotten(app: Flask) -> None:
    client = visitor(app)
    page = sign_in(client)
    answer = client.post("/consent/link", data=form(page, "statistics"), headers=HTML)
    assert (answer.status_code, answer.location) == (303, "/plain")
    assert said(app) == [("statistics", "given")]
    assert granted(client) == ["analytics"]
    assert client.get_cookie("consent") is None
    assert client.get_cookie("consent_hint").value.split("~")[-1] == "analytics"
    assert sign_in(client).location == "/plain", "asked once"


def test_to_take_nothing_over_is_recorded_and_ends_it(app: Flask) -> None:
    for more in ({"decision": "leave"}, {"decision": "take"}):
        client = visitor(app)
        page = sign_in(client)
        client.post("/consent/link", data=form(page, **more), headers=HTML)
        assert said(app)[-1] == ("link", "declined")
        assert granted(client) == []
        assert client.get_cookie("consent") is None
        assert sign_in(client).status_code == 303


def test_after_a_decision_to_leave_them_the_browsers_denials_are_gone(app: Flask) -> None:
    with app.app_context():
        app.extensions["consentkit"].kit.give("u-1", ["statistics"])
    client = visitor(app, "reject-all")
    page = sign_in(client)
    assert granted(client) == []
    answer = client.post("/consent/link", json=form(page, decision="leave"), headers=SAME)
    assert answer.json["granted"] == ["analytics"]
    assert granted(client) == ["analytics"]


def test_a_refusal_can_be_taken_over(app: Flask) -> None:
    client = visitor(app, "reject-all")
    page = sign_in(client)
    answer = client.post("/consent/link", json=form(page, "ads", notice="nonsense"), headers=SAME)
    assert answer.json["taken"] == [{"purpose": "ads", "status": "refused"}]
    assert said(app) == [("ads", "refused")]


class TestPossession:
    """The signed cookie of this browser, nothing else."""

    def test_no_field_names_a_visitor(self, app: Flask) -> None:
        client = visitor(app)
        subject = client.get("/subject").text
        other = app.test_client()
        assert sign_in(other).status_code == 303
        for name in ("visitor", "subject", "account"):
            data = {"decision": "take", "take": "statistics", name: subject}
            assert other.post("/consent/link", data=data, headers=HTML).status_code == 303
        assert said(app) == []

    def test_a_forged_cookie_is_nobodys(self, app: Flask) -> None:
        client = visitor(app)
        value = client.get_cookie("consent").value
        other = app.test_client()
        other.set_cookie("consent", value[:-2] + "xx")
        assert sign_in(other).status_code == 303

    def test_the_api_has_no_such_thing(self, app: Flask) -> None:
        paths = app.test_client().get("/consent/v1/openapi.json").json["paths"]
        assert not any("link" in path for path in paths)

    def test_the_second_person_at_a_computer_gets_nothing(self, app: Flask) -> None:
        client = visitor(app)
        sign_in(client, "first")
        client.post("/sign-out", headers=SAME)
        assert client.get_cookie("consent") is None
        assert client.get_cookie("consent_hint") is None
        assert sign_in(client, "second").location == "/plain"
        assert said(app, "second") == []
        assert granted(client) == []

    def test_nor_who_signs_in_without_a_sign_out_between(self, app: Flask) -> None:
        client = visitor(app)
        sign_in(client, "first")
        assert sign_in(client, "second").location == "/plain"

    def test_after_sign_out_the_browser_is_a_new_visitor(self, app: Flask) -> None:
        client = visitor(app)
        before = client.get("/subject").text
        page = sign_in(client)
        client.post("/consent/link", data=form(page, "statistics", "ads"), headers=HTML)
        client.post("/sign-out", headers=SAME)
        assert granted(client) == []
        assert client.get("/consent/status").json["decided"] is False
        client.post("/consent", json={"decision": "reject-all"}, headers=SAME)
        assert client.get("/subject").text not in (before, "u-1")
        with app.app_context():
            assert app.extensions["consentkit"].kit.decide("u-1", "statistics").allowed

    @pytest.mark.parametrize("site", ["cross-site", "same-site"])
    def test_it_has_to_come_from_our_page(self, app: Flask, site: str) -> None:
        client = visitor(app)
        page = sign_in(client)
        answer = client.post("/consent/link", data=form(page, "statistics"), headers={"Sec-Fetch-Site": site})
        assert (answer.status_code, answer.json["type"]) == (403, "urn:consentkit:problem:cross-site")
        assert said(app) == []


def test_a_minor_is_offered_no_yes(app: Flask, kit: ConsentKit) -> None:
    @kit.age_loader
    def age(subject: str) -> Age:
        return Age(years=12 if subject == "kid" else 40)

    client = visitor(app)
    assert sign_in(client, "kid").status_code == 303
    answer = client.post("/consent/link", data={"decision": "take", "take": "statistics"}, headers=HTML)
    assert answer.status_code == 303
    assert said(app, "kid") == []
    assert sign_in(visitor(app), "grown").status_code == 200


def test_in_strictest_nothing_is_asked_or_moved(app_of: AppOf) -> None:
    app = app_of(make_kit())
    client = visitor(app)
    client.post("/login", data={"user": "u-1"}, headers=SAME)
    assert client.get("/consent/link?next=/plain", headers=HTML).location == "/plain"
    answer = client.post("/consent/link", data={"decision": "take", "take": "statistics"}, headers=HTML)
    assert answer.status_code == 303
    assert (said(app), granted(client)) == ([], [])
    assert client.get("/consent/status").json["link"] is None
    assert client.get_cookie("consent") is not None


def test_a_text_that_changed_meanwhile_is_shown_again(app: Flask, kit: ConsentKit) -> None:
    client = visitor(app)
    page = sign_in(client)
    stale = form(page, "statistics", notice="0" * 64)
    again = client.post("/consent/link", data=stale, headers=HTML)
    assert again.status_code == 409
    assert kit.notice("en").digest in again.text
    said_so = client.post("/consent/link", json=stale, headers=SAME)
    assert (said_so.status_code, said_so.json["notice"]) == (409, kit.notice("en").digest)
    assert said(app) == []
    assert client.post("/consent/link", data=form(again, "statistics"), headers=HTML).status_code == 303
    with app.app_context():
        (event,) = kit.ledger.of_subject("u-1")
        assert (event.notice, event.locale, event.method) == (kit.notice("en").digest, "en", "form")


@pytest.mark.parametrize(
    "body",
    [{}, {"decision": "all"}, {"decision": ["take"]}, {"decision": "take", "take": ["account"]}, [1], "x"],
)
def test_bad_input_is_said(app: Flask, body: object) -> None:
    client = visitor(app)
    sign_in(client)
    answer = client.post("/consent/link", json=body, headers=SAME)
    assert (answer.status_code, answer.json["type"]) == (422, "urn:consentkit:problem:choice-rejected")
    assert said(app) == []


def test_the_question_is_found_as_long_as_it_is_open(app: Flask) -> None:
    client = visitor(app)
    page = sign_in(client)
    assert client.get("/consent/status").json["link"] == "/consent/link"
    assert 'href="/consent/link"' in client.get("/consent", headers=HTML).text
    listed = client.get("/consent/link", headers=SAME).json
    assert listed["choices"][0] == {"purpose": "statistics", "status": "given"}
    client.post("/consent/link", data=form(page, decision="leave"), headers=HTML)
    assert client.get("/consent/status").json["link"] is None
    assert 'href="/consent/link"' not in client.get("/consent", headers=HTML).text


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example"])
def test_the_way_on_stays_on_this_site(app: Flask, target: str) -> None:
    client = app.test_client()
    assert client.get("/consent/link", query_string={"next": target}, headers=HTML).location == "/consent"


def test_every_language_says_it(tmp_path: Path) -> None:
    said = {texts(locale)["link.leave"] for locale in built_in()}
    assert len(said) == len(built_in())


def test_the_receipt_says_what_it_was(app: Flask) -> None:
    client = visitor(app)
    page = sign_in(client)
    client.post("/consent/link", data=form(page, decision="leave"), headers=HTML)
    assert texts("en")["link.title"] in client.get("/consent/receipt", headers=HTML).text


def test_the_hosts_limiter_stops_a_yes_and_never_a_no(app: Flask, kit: ConsentKit) -> None:
    client = visitor(app, "reject-all")
    kit.limiter(lambda subject, endpoint: 7)
    with app.app_context():
        kit.choose(client.get("/subject").text, give=["statistics"])
    page = sign_in(client)
    stopped = client.post("/consent/link", data=form(page, "statistics", "ads"), headers=HTML)
    assert (stopped.status_code, stopped.headers["Retry-After"]) == (429, "7")
    assert said(app) == []
    assert client.post("/consent/link", data=form(page, "ads"), headers=HTML).status_code == 303
    assert said(app) == [("ads", "refused")]
