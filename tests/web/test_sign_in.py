"""Sign-in and sign-out: the browser forgets one person before the next."""

from __future__ import annotations

from flask import Flask, session
from flask.testing import FlaskClient

from consentkit import ConsentKit

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
