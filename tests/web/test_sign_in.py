"""Sign-in and sign-out: the browser forgets one person before the next."""

from __future__ import annotations

from flask import Flask, Response, request, session
from flask.testing import FlaskClient

from consentkit import ConsentKit, current_consents

SAME = {"Sec-Fetch-Site": "same-origin"}


def hint(client: FlaskClient) -> str | None:
    cookie = client.get_cookie("consent_hint")
    return None if cookie is None else cookie.value.split("~", 1)[1]


def sign_in(client: FlaskClient, user: str) -> None:
    client.post("/login", data={"user": user}, headers=SAME)


def add_sign_out(app: Flask) -> None:
    @app.post("/logout")
    def logout() -> str:
        session.pop("user", None)
        return "out"


def test_the_hint_of_a_visitor_does_not_speak_for_an_account(app: Flask) -> None:
    client = app.test_client()
    client.post("/consent", json={"decision": "accept-all"})
    assert hint(client) == "d~analytics~marketing"
    sign_in(client, "u-1")
    assert hint(client) == "u"
    assert client.get("/consent/status").json["decided"] is False


def test_an_account_that_decided_is_not_asked_again_on_another_device(app: Flask, kit: ConsentKit) -> None:
    with app.app_context():
        kit.give("u-1", ["analytics", "marketing"])
    client = app.test_client()
    sign_in(client, "u-1")
    assert hint(client) == "d~analytics~marketing"


def test_sign_out_forgets_visitor_and_hint(app: Flask, kit: ConsentKit) -> None:
    add_sign_out(app)
    client = app.test_client()
    client.post("/consent", json={"decision": "accept-all"})
    sign_in(client, "u-1")
    client.post("/consent", json={"decision": "accept-all"}, headers=SAME)
    client.post("/logout", headers=SAME)
    assert (hint(client), client.get_cookie("consent")) == (None, None)
    assert client.get("/jinja").text == "no"


def test_a_lost_session_is_no_way_from_one_account_to_another(app: Flask, kit: ConsentKit) -> None:
    """The browser was closed: the session's cookie is gone, the visitor's is there for half a year."""
    client = app.test_client()
    with app.app_context():
        kit.give("u-1", "analytics")
        kit.give("u-2", "analytics")
    client.post("/consent", json={"decision": "reject-all"})
    visitor = client.get_cookie("consent").value
    sign_in(client, "u-1")
    marked = client.get_cookie("consent").value
    assert marked.split(".")[0] == visitor.split(".")[0]
    assert "u-1" not in marked
    client.delete_cookie("session")
    assert client.get("/jinja").text == "no"
    sign_in(client, "u-1")
    assert client.get("/jinja").text == "no", "the same person's no"
    client.delete_cookie("session")
    sign_in(client, "u-2")
    assert client.get_cookie("consent") is None
    assert (client.get("/jinja").text, hint(client)) == ("yes", "u~analytics")


def test_the_mark_is_made_where_nobody_saw_the_sign_in(app: Flask, kit: ConsentKit) -> None:
    """A session from before, or none at all: the first page that asks is soon enough."""

    @app.before_request
    def by_token() -> None:
        session.modified = False

    kit.subject_loader(lambda: request.headers.get("X-User"))
    with app.app_context():
        kit.give("u-2", "analytics")
    client = app.test_client()
    client.post("/consent", json={"decision": "reject-all"})
    page = client.get("/jinja", headers={"X-User": "u-1"})
    assert page.headers["Cache-Control"] == "private"
    again = client.get("/jinja", headers={"X-User": "u-1"})
    assert "Set-Cookie" not in again.headers
    assert client.get("/jinja", headers={"X-User": "u-2"}).text == "yes"
    assert client.get_cookie("consent") is None


def test_a_new_answer_is_of_whoever_gives_it(app: Flask) -> None:
    client = app.test_client()
    client.post("/consent", json={"decision": "accept-all"})
    sign_in(client, "u-1")
    client.delete_cookie("session")
    client.post("/consent", json={"decision": "reject-all"}, headers=SAME)
    sign_in(client, "u-2")
    assert client.get_cookie("consent") is not None, "a no of the one who signs in"


def test_a_cookie_without_a_mark_is_of_whoever_holds_it(app: Flask) -> None:
    client = app.test_client()
    client.post("/consent", json={"decision": "accept-all"})
    old = client.get_cookie("consent").value
    assert old.count(".") == 2
    sign_in(client, "u-1")
    other = app.test_client()
    other.set_cookie("consent", old)
    assert other.get("/jinja").text == "yes"


def test_who_signs_in_during_a_request_is_asked_about_from_then_on(app: Flask, kit: ConsentKit) -> None:
    @app.get("/in/<user>")
    def come(user: str) -> str:
        before = current_consents.allows("analytics")
        session["user"] = user
        response = f"{before} {current_consents.subject} {current_consents.allows('analytics')}"
        session.pop("user")
        return f"{response} {current_consents.allows('analytics')}"

    client = app.test_client()
    client.post("/consent", json={"decision": "accept-all"})
    assert client.get("/in/u-1").text == "True u-1 False True"


def test_what_is_set_at_sign_in_is_decided_for_the_account(app: Flask) -> None:
    @app.post("/in-and-count")
    def come() -> Response:
        current_consents.allows("analytics")
        session["user"] = "u-1"
        response = Response("in")
        response.set_cookie("_tally1", "1")
        return response

    client = app.test_client()
    client.post("/consent", json={"decision": "accept-all"})
    client.post("/in-and-count", headers=SAME)
    assert client.get_cookie("_tally1") is None


def test_from_one_account_to_another(app: Flask, kit: ConsentKit) -> None:
    with app.app_context():
        kit.give("u-1", ["analytics", "marketing"])
    client = app.test_client()
    sign_in(client, "u-1")
    sign_in(client, "u-2")
    assert hint(client) == "u"


def test_other_changes_of_the_session_change_nothing(app: Flask) -> None:
    @app.post("/cart")
    def cart() -> str:
        session["cart"] = session.get("cart", 0) + 1
        return "ok"

    client = app.test_client()
    client.post("/consent", json={"decision": "accept-all"})
    before = client.get_cookie("consent").value
    answer = client.post("/cart", headers=SAME)
    assert not any("consent" in line for line in answer.headers.getlist("Set-Cookie"))
    assert client.get_cookie("consent").value == before
    assert hint(client) == "d~analytics~marketing"
