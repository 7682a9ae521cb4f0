"""Global Privacy Control: on record once, never of somebody unknown, and harmless to the page that carries it."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, jsonify, session
from flask.testing import FlaskClient

from consentkit import ConsentKit
from consentkit.web.identity import signed
from tests.web.conftest import PURPOSES, make_kit

GPC = {"Sec-GPC": "1"}
SAME = {"Sec-Fetch-Site": "same-origin"}
AppOf = Callable[..., Flask]


def events(app: Flask, subject: str | None = None) -> list[tuple[str, str]]:
    """Item and action of what is recorded, of a subject or of everybody."""
    kit: ConsentKit = app.extensions["consentkit"].kit
    with app.app_context():
        if subject is not None:
            return [(e.item, e.action) for e in kit.ledger.of_subject(subject)]
        kit.ledger.seal()
        return [(e.item, e.action) for e in kit.ledger.events()]  # type: ignore[union-attr]


def signed_in(app: Flask, user: str = "u-1", **headers: str) -> FlaskClient:
    client = app.test_client()
    client.post("/login", data={"user": user}, headers={**SAME, **headers})
    return client


def visitor(app: Flask, decision: str = "accept-all", **headers: str) -> tuple[FlaskClient, str]:
    """A browser that has answered, and the visitor's id."""
    client = app.test_client()
    client.post("/consent", json={"decision": decision}, headers={**SAME, **headers})
    return client, client.get("/subject").text


def test_an_account_once_however_often_it_comes(app: Flask) -> None:
    client = signed_in(app)
    for path in ("/plain", "/", "/consent/status", "/plain"):
        assert client.get(path, headers=GPC).status_code == 200
    assert events(app, "u-1") == [("gpc", "objected")]
    assert signed_in(app).get("/plain", headers=GPC).status_code == 200
    assert events(app, "u-1") == [("gpc", "objected")]


def test_a_visitor_once_and_from_the_first_request_on(app: Flask) -> None:
    client, subject = visitor(app)
    seen = client.get("/consent/status", headers=GPC).json
    assert (seen["granted"], seen["gpc"]) == (["analytics"], True)
    assert client.get("/plain", headers=GPC).status_code == 200
    assert events(app, subject)[-1] == ("gpc", "objected")
    assert [item for item, _ in events(app, subject)].count("gpc") == 1
    assert client.get("/consent/status").json["granted"] == ["analytics"], "a missing header lifts nothing"


def test_nobody_becomes_known_by_it(app: Flask) -> None:
    client = app.test_client()
    for path in ("/", "/plain", "/consent", "/consent/status", "/consent/state.css"):
        assert "Set-Cookie" not in client.get(path, headers=GPC).headers
    assert events(app) == []
    assert client.get("/consent/status", headers=GPC).json["gpc"] is True


def test_a_cookie_of_whom_the_ledger_does_not_know_makes_nobody_known(app: Flask) -> None:
    client = app.test_client()
    with app.test_request_context():
        client.set_cookie("consent", signed("visitor:gone"))
    client.get("/plain", headers=GPC)
    assert client.get("/subject").text == "visitor:gone"
    assert events(app) == []


def test_an_erased_visitor_is_not_made_known_again(app: Flask) -> None:
    client, subject = visitor(app)
    with app.app_context():
        app.extensions["consentkit"].kit.erase(subject)
    client.get("/plain", headers=GPC)
    assert ("gpc", "objected") not in events(app)
    assert client.get("/consent/status", headers=GPC).json["granted"] == []


def test_a_yes_in_the_very_request_that_carries_it_is_later(app: Flask) -> None:
    client, subject = visitor(app, **GPC)
    assert sorted(events(app, subject)) == [("ads", "given"), ("gpc", "objected"), ("statistics", "given")]
    for _ in range(2):
        now = client.get("/consent/status", headers=GPC).json
        assert (now["granted"], now["gpc"]) == (["analytics", "marketing"], False)
    assert len(events(app, subject)) == 3


def test_a_yes_by_the_hosts_own_view_is_later_too(app: Flask, kit: ConsentKit) -> None:
    @app.post("/sign-up")
    def sign_up() -> str:
        session["user"] = "u-7"
        kit.give("u-7", "ads", method="form")
        return "welcome"

    app.test_client().post("/sign-up", headers=GPC)
    with app.app_context():
        assert kit.decide("u-7", "ads").reason == "GIVEN"
    assert sorted(events(app, "u-7")) == [("ads", "given"), ("gpc", "objected")]


def test_it_wins_over_an_older_yes_and_loses_to_a_later_one(app: Flask, kit: ConsentKit) -> None:
    with app.app_context():
        kit.give("u-1", ["ads", "statistics"])
    client = signed_in(app)
    assert client.get("/consent/status", headers=GPC).json["granted"] == ["analytics"]
    client.post("/consent", json={"decision": "accept-all"}, headers={**SAME, **GPC})
    for _ in range(2):
        assert client.get("/consent/status", headers=GPC).json["granted"] == ["analytics", "marketing"]
    assert [item for item, _ in events(app, "u-1")].count("gpc") == 1


def test_the_account_and_the_visitor_of_its_browser(app: Flask) -> None:
    client, subject = visitor(app)
    client.post("/login", data={"user": "u-1"}, headers=SAME)
    client.get("/plain", headers=GPC)
    assert ("gpc", "objected") in events(app, subject)
    assert events(app, "u-1") == [("gpc", "objected")]


def test_what_a_visitor_signalled_counts_for_who_signs_in(app: Flask, kit: ConsentKit) -> None:
    client, _ = visitor(app)
    client.get("/plain", headers=GPC)
    with app.app_context():
        kit.give("u-1", ["ads", "statistics"], at=datetime.now(UTC) - timedelta(days=1))
    client.post("/login", data={"user": "u-1"}, headers=SAME)
    assert client.get("/consent/status").json["granted"] == ["analytics"]
    with app.app_context():
        kit.give("u-1", ["ads", "statistics"])
    assert client.get("/consent/status").json["granted"] == ["analytics", "marketing"]


@pytest.mark.parametrize("method", ["OPTIONS", "GET"])
def test_static_files_and_the_api_are_no_pages(app: Flask, method: str) -> None:
    client = signed_in(app)
    paths = ["/consent/static/head.min.js", "/consent/v1/openapi.json", "/nowhere", "/.well-known/gpc.json"]
    for path in paths if method == "GET" else ["/plain"]:
        client.open(path, method=method, headers=GPC).close()
    assert events(app, "u-1") == []


@pytest.mark.parametrize("value", ["0", "true", "11", "", "1;1"])
def test_only_exactly_one_counts(app: Flask, value: str) -> None:
    client = signed_in(app)
    client.get("/plain", headers={"Sec-GPC": value})
    assert events(app, "u-1") == []


def test_a_page_does_not_vary_because_of_it(app: Flask) -> None:
    plain, client = app.test_client().get("/"), signed_in(app, **GPC)
    for answer in (client.get("/", headers=GPC), client.get("/", headers=GPC)):
        assert answer.data == plain.data
        assert answer.headers.get("Vary") == plain.headers.get("Vary")
        assert "Cache-Control" not in answer.headers


def test_a_ledger_that_fails_does_not_break_the_page(
    app: Flask, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = signed_in(app)
    with closing(sqlite3.connect(next(tmp_path.rglob("*.sqlite3")))) as other:
        other.execute("DROP TABLE consentkit_state")
        other.commit()
    caplog.set_level(logging.ERROR, "consentkit")
    assert client.get("/plain", headers=GPC).text == "plain"
    assert [record.event for record in caplog.records] == ["ledger_unavailable"]  # type: ignore[attr-defined]
    assert client.get("/letters", headers=GPC).status_code == 503


def test_a_loader_that_fails_does_not_break_the_page(
    kit: ConsentKit, app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    @kit.subject_loader
    def broken() -> str:
        raise LookupError("u-1 is a secret")

    assert app.test_client().get("/plain", headers=GPC).text == "plain"
    assert [record.event for record in caplog.records] == ["signal_not_recorded"]  # type: ignore[attr-defined]
    assert "secret" not in caplog.text


def test_one_read_more_and_none_without_the_header(app: Flask) -> None:
    client = signed_in(app, **GPC)
    reads: list[str] = []
    database = app.extensions["consentkit"].kit.runtime.database
    database.read(lambda tx: tx._connection.set_trace_callback(reads.append))
    client.get("/plain")
    assert reads == []
    client.get("/plain", headers=GPC)
    assert len([text for text in reads if text.startswith("SELECT")]) == 1


class TestHint:
    def test_one_that_was_written_without_the_signal_is_dropped(self, app: Flask) -> None:
        client, _ = visitor(app)
        answer = client.get("/plain", headers=GPC)
        assert client.get_cookie("consent_hint") is None
        assert "private" in answer.headers["Cache-Control"]
        client.get("/consent/status", headers=GPC)
        assert client.get_cookie("consent_hint").value.split("~")[1:] == ["dg", "analytics"]
        assert "Set-Cookie" not in client.get("/plain", headers=GPC).headers

    def test_a_yes_that_stands_is_kept(self, app: Flask) -> None:
        client, _ = visitor(app, **GPC)
        assert client.get_cookie("consent_hint").value.split("~")[1:] == ["dh", "analytics", "marketing"]
        assert "Set-Cookie" not in client.get("/plain", headers=GPC).headers

    def test_an_answer_that_writes_it_is_left_alone(self, app: Flask) -> None:
        client, _ = visitor(app)
        answer = client.post("/consent", json={"decision": "reject-all"}, headers={**SAME, **GPC})
        hints = [c for c in answer.headers.getlist("Set-Cookie") if c.startswith("consent_hint=")]
        assert len(hints) == 1
        assert client.get_cookie("consent_hint").value.endswith("~dg")


class TestLine:
    """`Opt-out request honored`, wherever it is true and nowhere else (11 CCR 7025(c)(6))."""

    def shown(self, client: FlaskClient, **headers: str) -> list[bool]:
        page = client.get("/consent", headers={"Accept": "text/html", **headers}).text
        css = client.get("/consent/state.css", headers=headers).text
        status = client.get("/consent/status", headers=headers).json
        return ["Opt-out request honored" in page, "[data-consent-gpc]{display:block}" in css, status["gpc"]]

    def test_by_the_header_or_the_record_until_a_yes(self, app: Flask) -> None:
        assert self.shown(app.test_client()) == [False] * 3
        assert self.shown(app.test_client(), **GPC) == [True] * 3
        client, _ = visitor(app, "reject-all")
        assert self.shown(client, **GPC) == [True] * 3
        assert self.shown(client) == [True] * 3
        client.post("/consent", json={"decision": "accept-all"}, headers=SAME)
        assert self.shown(client) == [False] * 3
        assert self.shown(client, **GPC) == [False] * 3

    def test_in_every_language(self, app: Flask) -> None:
        from consentkit.core.texts import built_in, texts

        said = {texts(locale)["banner.gpc"] for locale in built_in()}
        assert len(said) == len(built_in())


class TestSupport:
    """`/.well-known/gpc.json` (W3C GPC, 4)."""

    def test_what_is_declared(self, app_of: AppOf) -> None:
        app = app_of(CONSENTKIT_URL_PREFIX="/privacy")
        answer = app.test_client().get("/.well-known/gpc.json")
        assert answer.mimetype == "application/json"
        assert answer.json == {"gpc": True, "lastUpdate": datetime.now(UTC).date().isoformat()}
        assert answer.headers["Cache-Control"] == "public, max-age=3600"
        assert app.test_client().post("/.well-known/gpc.json").status_code == 405
        assert app.test_client().get("/.well-known/gpc.jsonx").status_code == 404

    def test_nothing_where_no_purpose_heeds_it(self, app_of: AppOf) -> None:
        app = app_of(make_kit(purposes=[replace(p, signals=()) for p in PURPOSES]))
        assert app.test_client().get("/.well-known/gpc.json").status_code == 404
        client = signed_in(app)
        client.get("/plain", headers=GPC)
        assert events(app, "u-1") == []
        assert client.get("/consent/status", headers=GPC).json["gpc"] is False

    @pytest.mark.parametrize("first", [True, False])
    def test_a_hosts_own_one_wins(self, kit: ConsentKit, first: bool, tmp_path: Path) -> None:
        app = Flask("host", instance_path=str(tmp_path))
        app.config["SECRET_KEY"] = "a key for tests"
        own = {"gpc": True, "lastUpdate": "2020-01-01"}
        steps: list[Callable[[], Any]] = [
            lambda: kit.init_app(app),
            lambda: app.add_url_rule("/.well-known/gpc.json", "own", lambda: jsonify(own)),
        ]
        for step in reversed(steps) if first else steps:
            step()
        assert app.test_client().get("/.well-known/gpc.json").json == own

    def test_a_published_catalogue_has_a_date(self, app: Flask) -> None:
        answer: Response = app.test_client().head("/.well-known/gpc.json")
        assert answer.status_code == 200


def test_the_receipt_calls_it_by_its_name(app: Flask) -> None:
    client, _ = visitor(app, "reject-all", **GPC)
    page = client.get("/consent/receipt", headers={"Accept": "text/html"}).text
    assert "Global Privacy Control" in page
