"""Gates in views: what is blocked, and how the answer fits the client."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest
from flask import Blueprint, Flask, request
from flask.testing import FlaskClient
from sqlalchemy import event
from werkzeug.exceptions import NotFound
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

from consentkit import (
    ConsentKit,
    ConsentKitError,
    ConsentMissing,
    UnknownPurpose,
    current_consents,
    gated,
    requires_acceptance,
    requires_consent,
)
from tests.web.conftest import make_app, make_kit, policies

HTML = {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}


def post(client: FlaskClient, **form: object) -> object:
    return client.post("/consent", data=form, headers={"Sec-Fetch-Site": "same-origin"})


@pytest.mark.parametrize("accept", ["", "*/*", "application/json", "text/*", "text/html;q=0"])
def test_without_text_html_a_no_is_problem_json(app: Flask, accept: str) -> None:
    answer = app.test_client().get("/letters", headers={"Accept": accept} if accept else {})
    assert (answer.status_code, answer.content_type) == (403, "application/problem+json")
    assert (answer.json["reason"], answer.json["item"], answer.json["version"]) == (
        "NO_ANSWER",
        "newsletter",
        "1",
    )
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_browser_is_led_to_the_question_and_back(app: Flask) -> None:
    answer = app.test_client().get("/letters?page=2", headers=HTML)
    assert answer.status_code == 303
    assert answer.location == "/consent?next=/letters?page%3D2"


@pytest.mark.parametrize(
    ("path", "back"),
    [
        ("/letters", "/app/letters"),
        ("/letters?page=2&q=%C3%A4", "/app/letters?page=2&q=%C3%A4"),
        ("/of/a%20b%3Fc", "/app/of/a%20b%3Fc"),
    ],
)
def test_below_a_prefix_too_one_comes_back_to_the_page(app: Flask, path: str, back: str) -> None:
    app.add_url_rule("/of/<path:name>", "of", requires_consent("newsletter")(lambda name: name))
    client = Client(DispatcherMiddleware(NotFound(), {"/app": app}))
    asked = client.get(f"/app{path}", headers=HTML)
    assert asked.status_code == 303
    form = hidden(client.get(asked.location, headers=HTML).text)
    chosen = {**form, "decision": "save", "purpose": "newsletter"}
    answer = client.post("/app/consent", data=chosen, headers={**HTML, "Sec-Fetch-Site": "same-origin"})
    assert (answer.status_code, answer.location) == (303, back)
    assert client.get(answer.location, headers=HTML).status_code == 200


def hidden(page: str) -> dict[str, str]:
    """The hidden fields of the only form."""
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page)
    return {name: unescape(value) for name, value in found}


@pytest.mark.parametrize(
    ("page", "form"),
    [
        ("/consent", {"decision": "accept-all"}),
        ("/consent", {"decision": "save", "ask": "newsletter"}),
        ("/consent", {"decision": "once", "embed": "0123456789ab"}),
        ("/consent/accept/terms", {"decision": "accept", "method": "button"}),
    ],
)
def test_below_a_prefix_who_comes_from_nowhere_goes_to_the_app_s_own_start_page(
    app: Flask, kit: ConsentKit, page: str, form: dict[str, str]
) -> None:
    with app.app_context():
        digest = kit.runtime.published.policies["terms"][0].texts["en"]
    client = Client(DispatcherMiddleware(NotFound(), {"/app": app}))
    form = {**form, "notice": f"terms:{digest}"} if "accept/" in page else form
    answer = client.post(f"/app{page}", data=form, headers={**HTML, "Sec-Fetch-Site": "same-origin"})
    assert (answer.status_code, answer.location.partition("?")[0]) == (303, "/app/")


def test_after_a_no_a_browser_is_not_nagged(app: Flask) -> None:
    client = app.test_client()
    post(client, decision="reject-all")
    answer = client.get("/letters", headers=HTML)
    assert answer.status_code == 403
    assert 'href="/consent' in answer.text


def test_other_methods_than_get_are_not_redirected(app: Flask) -> None:
    assert app.test_client().post("/both", headers=HTML).status_code == 403


def test_all_items_must_allow_also_for_async_views(app: Flask) -> None:
    client = app.test_client()
    post(client, decision="save", purpose="newsletter")
    assert client.get("/letters").text == "You asked for these."
    assert client.get("/both").json["item"] == "statistics"
    post(client, decision="save", purpose="newsletter", category="analytics")
    assert client.get("/both").text == "both"


@pytest.mark.parametrize("items", [("newsletter", "ads", "terms"), ("terms", "newsletter", "ads")])
def test_of_several_the_denial_of_the_lowest_rule_is_answered(
    app: Flask, kit: ConsentKit, items: tuple[str, ...]
) -> None:
    app.add_url_rule("/all", "all", requires_consent(*items)(lambda: "all"))
    client = app.test_client()
    client.post("/login", data={"user": "u-1"})
    kit.refuse("u-1", "ads")
    answer = client.get("/all")
    assert (answer.json["item"], answer.json["reason"]) == ("ads", "REFUSED")
    assert client.get("/all", headers=HTML).status_code == 403, "who said no is not led to another question"


def test_several_items_are_one_read(app: Flask, kit: ConsentKit) -> None:
    app.add_url_rule("/all", "all", requires_consent("newsletter", "analytics", "terms")(lambda: "all"))
    client, said = app.test_client(), list[str]()
    client.post("/login", data={"user": "u-1"})
    kit.give("u-1", "newsletter")
    kit.runtime.dispose()
    engine = kit.runtime.database.engine
    event.listen(engine, "connect", lambda driver, _: driver.set_trace_callback(said.append))
    client.get("/all")
    assert len([statement for statement in said if "consentkit_state" in statement]) == 1


def test_a_policy_is_asked_on_its_page_and_a_declined_one_is_not(app: Flask) -> None:
    client = app.test_client()
    assert client.get("/account", headers=HTML).location == "/consent/accept/terms?next=/account"
    assert client.get("/under-terms", headers=HTML).location == "/consent/accept/terms?next=/under-terms"
    client.post("/consent/accept/terms", data={"decision": "decline"})
    for path in ("/account", "/under-terms"):
        answer = client.get(path, headers=HTML)
        assert (answer.status_code, answer.location) == (403, None)
    assert client.get("/account").json["reason"] == "REFUSED"
    assert client.get("/under-terms").json["reason"] == "POLICY_NOT_ACCEPTED"


def test_a_new_version_of_the_terms_closes_the_account_until_accepted(app_of: Callable[..., Flask]) -> None:
    old = app_of().test_client()
    accept(old, "terms")
    assert old.get("/account").text == "your account"
    new = app_of(make_kit(policies=policies(2))).test_client()
    new.set_cookie("consent", old.get_cookie("consent").value)
    assert new.get("/account").json["reason"] == "OUTDATED"
    accept(new, "terms")
    assert new.get("/account").text == "your account"


def test_an_editorial_version_asks_nobody(app_of: Callable[..., Flask]) -> None:
    old = app_of().test_client()
    accept(old, "terms")
    new = app_of(make_kit(policies=policies(2, change="editorial"))).test_client()
    new.set_cookie("consent", old.get_cookie("consent").value)
    assert new.get("/account").text == "your account"


def accept(client: FlaskClient, key: str) -> object:
    page = client.get(f"/consent/accept/{key}", headers=HTML).text
    notices = [part.split('"')[0] for part in page.split('name="notice" value="')[1:]]
    form = {"decision": "accept", "method": "tick", "agree": "1", "notice": notices}
    answer = client.post(f"/consent/accept/{key}", data=form, headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == 200, answer.text
    return answer


def test_jinja_asks_and_only_then_the_page_varies_by_cookie(app: Flask) -> None:
    client = app.test_client()
    assert client.get("/jinja").text == "no"
    post(client, decision="accept-all")
    answer = client.get("/jinja")
    assert (answer.text, "Cookie" in answer.headers.get("Vary", "")) == ("yes", True)
    assert answer.headers.get("Cache-Control") is None, "docs/gates.md says so"
    for path in ("/plain", "/"):
        assert "Cookie" not in client.get(path).headers.get("Vary", "")


@pytest.mark.parametrize("way", ["before_request", "before_app_request"])
def test_a_gate_before_every_request_leaves_our_own_pages_open(app: Flask, way: str) -> None:
    ran: list[str] = []
    hooks = Blueprint("hooks", __name__)
    add = app.before_request if way == "before_request" else hooks.before_app_request
    add(requires_acceptance("terms")(lambda: ran.append(request.path)))
    app.register_blueprint(hooks)
    client = app.test_client()
    page = client.get("/plain", headers=HTML)
    assert (page.status_code, page.location) == (303, "/consent/accept/terms?next=/plain")
    ours = ("/consent", "/consent/status", "/consent/static/consentkit.css", "/consent/v1/openapi.json")
    for path in (page.location, *ours):
        with client.get(path, headers=HTML) as answer:
            assert answer.status_code == 200
    assert post(client, decision="reject-all").status_code == 200
    assert client.get("/plain").status_code == 403
    accept(client, "terms")
    assert ran == [], "what stands behind the gate"
    assert client.get("/plain").text == "plain"
    assert ran == ["/plain"]


def test_a_gate_before_a_blueprint_lets_flask_s_own_options_pass(app: Flask) -> None:
    club = Blueprint("club", __name__, url_prefix="/club")
    club.before_request(requires_consent("newsletter")(lambda: None))
    club.add_url_rule("/page", "page", lambda: "page", methods=["GET", "POST"])
    club.add_url_rule("/own", "own", lambda: "mine", methods=["OPTIONS"], provide_automatic_options=False)
    app.register_blueprint(club)
    client = app.test_client()
    answer = client.options("/club/page")
    assert (answer.status_code, answer.text) == (200, "")
    assert {"GET", "POST"} <= set(answer.headers["Allow"].split(", "))
    assert [client.options("/club/own").status_code, client.post("/club/page").status_code] == [403, 403]


def test_a_decorator_with_an_unknown_key_fails_at_the_first_request(kit: ConsentKit, tmp_path: Path) -> None:
    app = make_app(kit, tmp_path)
    app.add_url_rule("/typo", "typo", requires_consent("newsleter")(lambda: "x"))
    with pytest.raises(UnknownPurpose, match=r"the view 'typo' requires 'newsleter'.*newsletter"):
        app.test_client().get("/plain")


def test_decorators_need_a_key() -> None:
    with pytest.raises(ConsentKitError, match=r"@requires_consent\('terms'\)"):
        requires_consent()


def test_a_failing_store_is_503_and_blocks(app: Flask) -> None:
    client = app.test_client()
    post(client, decision="save", purpose="newsletter")
    with sqlite3.connect(Path(app.instance_path) / "consentkit.sqlite3") as other:
        other.execute("ALTER TABLE consentkit_state RENAME TO gone")
    for path, headers in (("/letters", {}), ("/letters", HTML), ("/consent/status", {}), ("/consent", HTML)):
        answer = client.get(path, headers=headers)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    assert client.get("/jinja").text == "no"
    assert post(client, decision="reject-all").status_code == 503
    assert client.get("/plain").text == "plain"


def test_a_newer_schema_blocks(app_of: Callable[..., Flask]) -> None:
    first = app_of()
    with sqlite3.connect(Path(first.instance_path) / "consentkit.sqlite3") as other:
        other.execute("INSERT INTO consentkit_schema VALUES (999, 0)")
    client = app_of().test_client()
    client.set_cookie("consent", cookie_of(first))
    assert client.get("/letters").status_code == 503


def cookie_of(app: Flask) -> str:
    client = app.test_client()
    post(client, decision="accept-all")
    return str(client.get_cookie("consent").value)


def sent_to(friend: str | None) -> str:
    return f"sent to {friend}"


def test_a_no_about_somebody_else_leads_nobody_to_answer(app: Flask, kit: ConsentKit) -> None:
    jobs = {
        "letter": kit.gated("newsletter", subject="friend"),
        "join": kit.gated("terms", subject="friend"),
        "other": kit.gated("newsletter", subject="friend", tenant="t"),
    }
    for name, gate in jobs.items():
        app.add_url_rule(f"/{name}/<friend>", name, gate(sent_to))
    client = app.test_client()
    client.post("/login", data={"user": "ada"})
    kit.give("ada", "newsletter")
    kit.refuse("eve", "newsletter")
    for path in ("/letter/bob", "/letter/eve", "/join/bob", "/other/ada"):
        page = client.get(path, headers=HTML)
        assert (page.status_code, page.location) == (403, None)
        assert "<h1>Not allowed</h1>" in page.text
        assert "You " not in page.text
        assert "/consent/accept" not in page.text
        answer = client.get(path)
        assert (answer.json["title"], answer.status_code) == ("Not allowed", 403)
        assert not any(name in page.text + answer.text for name in ("bob", "eve", "ada"))
    assert client.get("/letter/eve").json["reason"] == "REFUSED"
    assert client.get("/join/ada", headers=HTML).location == "/consent/accept/terms?next=/join/ada"
    assert client.get("/letter/ada").text == "sent to ada"


def test_a_job_about_the_visitor_leads_to_the_question(app: Flask, kit: ConsentKit) -> None:
    app.add_url_rule("/mine", "mine", lambda: send(current_consents.subject))
    app.add_url_rule("/checked", "checked", lambda: str(current_consents.check("newsletter")))
    send = kit.gated("newsletter", subject="friend")(sent_to)
    for client in (app.test_client(), signed_in := app.test_client()):
        if client is signed_in:
            client.post("/login", data={"user": "ada"})
        assert client.get("/mine", headers=HTML).location == "/consent?next=/mine"
        assert client.get("/checked", headers=HTML).location == "/consent?next=/checked"


def test_gated_asks_when_it_runs(app: Flask, kit: ConsentKit) -> None:
    sent = []

    @kit.gated("newsletter", subject="user_id")
    def send(user_id: str) -> str:
        sent.append(user_id)
        return "sent"

    @kit.gated("newsletter", subject="user_id", skip=True)
    def send_or_skip(user_id: str) -> str:
        return "sent"

    with app.app_context():
        with pytest.raises(ConsentMissing) as caught:
            send("u-1")
        assert caught.value.decision.reason == "NO_ANSWER"
        assert send_or_skip(user_id="u-1") is None
        kit.give("u-1", "newsletter")
        assert (send("u-1"), send_or_skip("u-1")) == ("sent", "sent")
        kit.withdraw("u-1", "newsletter")
        with pytest.raises(ConsentMissing):
            send("u-1")
    assert sent == ["u-1"]


def test_gated_of_the_module_blocks_where_no_app_can_be_meant(tmp_path: Path) -> None:
    apps = [make_app(make_kit(), tmp_path / name) for name in ("a", "b")]

    @gated("newsletter", subject="user_id")
    def send(user_id: str) -> str:
        return "sent"

    with pytest.raises(ConsentKitError, match="nothing is processed"):
        send("u-1")
    with apps[0].app_context():
        apps[0].extensions["consentkit"].kit.give("u-1", "newsletter")
        assert send("u-1") == "sent"
    with apps[1].app_context(), pytest.raises(ConsentMissing):
        send("u-1")
