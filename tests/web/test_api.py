"""The API's frame: what is found, which method, which body, and what is answered when the ledger fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask

from consentkit import ConsentKit, LedgerBroken, StoreUnavailable
from consentkit.store import api_keys
from consentkit.web import api_request
from tests.web.api_caller import BASE, Caller, check_problem, over_http

NEWS = "/subjects/u-1/consents/newsletter"
NOTHING: list[dict[str, Any]] = []


@pytest.fixture
def api(app: Flask, kit: ConsentKit) -> Caller:
    return Caller(app, kit)


# ---------------------------------------------------------------- where and how


@pytest.mark.parametrize(
    "path",
    [
        *("", "/", "/nope", "/catalog/", "/events/", "/events/a/b", "/subjects", "/subjects/"),
        *("/subjects/u/nope", "/subjects/u/consents/", "/subjects/u/consents/a/b", "/subjects//consents"),
        "/subjects/u/v/consents",
        "/a%0Ab",
        "/events/%0A/b",
    ],
)
def test_what_is_not_there_is_a_problem(api: Caller, path: str) -> None:
    for method in ("GET", "DELETE", "PUT"):
        assert api.call(method, path).status_code == 404, (method, path)


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/catalog", "GET, HEAD, OPTIONS"),
        ("DELETE", "/events", "GET, HEAD, OPTIONS"),
        ("GET", "/decisions", "OPTIONS, POST"),
        ("GET", "/subjects/u", "DELETE, OPTIONS"),
        ("DELETE", "/subjects/u/consents", "GET, HEAD, OPTIONS"),
        ("GET", "/subjects/u/consents/newsletter", "OPTIONS, PUT"),
        ("DELETE", "/subjects/u/consents/newsletter", "OPTIONS, PUT"),
        ("PATCH", "/subjects/u/decisions/newsletter", "GET, HEAD, OPTIONS"),
        ("TRACE", "/openapi.json", "GET, HEAD, OPTIONS"),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(api: Caller, method: str, path: str, allow: str) -> None:
    answer = api.call(method, path)
    assert (answer.status_code, answer.headers["Allow"]) == (405, allow)
    options = api.call("OPTIONS", path)
    assert (options.status_code, options.headers["Allow"], options.data) == (204, allow, b"")


def test_head_is_get_without_a_body(api: Caller) -> None:
    answer = api.call("HEAD", "/catalog")
    assert (answer.status_code, answer.data) == (200, b"")
    assert api.call("HEAD", "/subjects/u-1/decisions/nope").status_code == 422


def test_the_host_keeps_its_own_404_and_405(app: Flask) -> None:
    @app.errorhandler(404)
    def lost(_error: Exception) -> tuple[str, int]:
        return "the host's own page", 404

    @app.errorhandler(413)
    def large(_error: Exception) -> tuple[str, int]:
        return "the host's own page", 413

    client = app.test_client()
    assert client.get("/nowhere").text == "the host's own page"
    assert client.get("/consent/nowhere").text == "the host's own page"
    assert client.post("/letters").status_code == 405
    assert client.post("/letters").mimetype == "text/html"
    inside = client.get("/consent/v1/nowhere")
    check_problem(404, inside.content_type, inside.json)


def test_a_limit_of_the_host_is_a_problem_too(app: Flask, kit: ConsentKit) -> None:
    app.config["MAX_CONTENT_LENGTH"] = 100
    api = Caller(app, kit)

    @app.errorhandler(413)
    def large(_error: Exception) -> tuple[str, int]:
        return "the host's own page", 413

    assert api.put(NEWS, {"action": "given", "locale": "x" * 200}).status_code == 413


@pytest.mark.parametrize("prefix", ["/consent", "/privacy/choices"])
def test_the_prefix_is_kept(app_of: Callable[..., Flask], kit: ConsentKit, prefix: str) -> None:
    app = app_of(kit, CONSENTKIT_URL_PREFIX=prefix)
    api = Caller(app, kit)
    headers = {"Authorization": f"Bearer {api.key}"}
    at = f"{prefix}/v1/subjects/a%2Fb/consents"
    answer: Any = app.test_client().get(at, headers=headers)
    assert answer.json["subject"] == "a/b"
    shown: Any = app.test_client().get(f"{prefix}/v1/openapi.json").json
    assert shown["servers"] == [{"url": f"{prefix}/v1"}]


def test_cookies_are_not_read_and_no_origin_is_let_in(app: Flask, api: Caller) -> None:
    client = app.test_client()
    client.post("/login", data={"user": "u-1"})
    client.post("/consent", json={"decision": "accept-all"})
    with client.session_transaction() as stored:
        before = dict(stored)
    headers = {"Authorization": f"Bearer {api.key}", "Origin": "https://evil.example"}
    answer: Any = client.get(BASE + "/subjects/u-2/consents", headers=headers)
    assert {c["status"] for c in answer.json["consents"]} == {"unknown"}
    assert not any(name.startswith("Access-Control") for name, _ in answer.headers)
    assert "Cookie" not in answer.headers.get("Vary", "")
    assert "Set-Cookie" not in answer.headers
    assert client.get(BASE + "/subjects/u-1/consents").status_code == 401
    with client.session_transaction() as stored:
        assert dict(stored) == before


# ---------------------------------------------------------------- ids

ODD = [
    "a/b",
    "a//b",
    "/a",
    "a/",
    "/",
    "u/decisions",
    "u/consents",
    "consents",
    "a b",
    "ü-1",
    "人",
    "a+b",
    "%2F",
]
ODD += [
    "a?b",
    "a#b",
    "visitor:x/y",
    "x" * 1024,
    "a%00b",
    "\x01",
    "\n",
    "a\nb/",
    "\u2028",
    "..",
    "a\\b",
    '"',
    "u/export",
]


@pytest.mark.parametrize("subject", ODD)
def test_an_id_may_hold_anything(app: Flask, kit: ConsentKit, api: Caller, subject: str) -> None:
    quoted = quote(subject, safe="")
    with app.app_context():
        kit.refuse(subject, "newsletter")
    for path in (f"/subjects/{quoted}/consents", f"/subjects/{quoted}/decisions/newsletter"):
        answer = api.get(path)
        assert (answer.status_code, answer.json["subject"]) == (200, subject)
    assert answer.json["reason"] == "REFUSED"
    assert api.put(f"/subjects/{quoted}/consents/newsletter", {"action": "withdrawn"}).status_code == 200
    assert [e["action"] for e in api.events(quoted)] == ["refused", "withdrawn"]
    assert api.call("DELETE", f"/subjects/{quoted}").json["status"] == "erased"


@pytest.mark.parametrize("subject", ["a/b", "/a", "u/decisions", "u/consents", "ü/人"])
def test_ids_over_a_socket(
    app: Flask, api: Caller, live_server: Callable[[Flask], str], subject: str
) -> None:
    url = f"{live_server(app)}{BASE}/subjects/{quote(subject, safe='')}/consents"
    sent = json.dumps({"action": "given"}).encode()
    header = {"Content-Type": "application/json"}
    status, _, body = over_http("PUT", url + "/newsletter", api.key, sent, header)
    assert (status, body["subject"], body["event"]["action"]) == (200, subject, "given")
    assert over_http("GET", url, api.key)[2]["consents"][0]["status"] == "given"


@pytest.mark.parametrize("subject", ["%00", "a%00b", "%ff", "x" * 1025, "%C3%BC" * 513])
def test_what_cannot_be_an_id_is_refused(api: Caller, subject: str) -> None:
    for path in (f"/subjects/{subject}/consents", f"/events?subject={subject}"):
        assert api.get(path).status_code == 400, path
    assert api.put(f"/subjects/{subject}/consents/newsletter", {"action": "refused"}).status_code == 400
    assert api.call("DELETE", f"/subjects/{subject}").status_code == 400


@pytest.mark.parametrize(
    ("path", "subject"),
    [
        ("/subjects/a/b/consents", "a/b"),
        ("/subjects/u/decisions/newsletter", "u"),
        ("/subjects/a/b/decisions/newsletter", "a/b"),
        ("/subjects/u/decisions/export", "u"),
        ("/subjects/a/b/export", "a/b"),
    ],
)
def test_a_server_that_hides_the_address_as_it_was_sent(
    app: Flask, api: Caller, path: str, subject: str
) -> None:
    hidden = {"RAW_URI": "", "REQUEST_URI": ""}
    answer = api.get(path, environ_overrides=hidden)
    if path.endswith("decisions/export"):
        assert answer.json["type"] == "urn:consentkit:problem:unknown-item"
    else:
        assert answer.json["subject"] == subject


# ---------------------------------------------------------------- bodies

BODIES: list[tuple[bytes, int]] = [
    (b"", 400),
    (b"{", 400),
    (b"null x", 400),
    (b'{"action": NaN}', 400),
    (b'{"action": "given", "action": "refused"}', 400),
    (b'{"action": "\xff"}', 400),
    ('{"action": "given"}'.encode("utf-16"), 400),
    (b"[" * 60_000, 400),
    (b'{"action": ' + b"1" * 5_000 + b"}", 400),
    (b"null", 422),
    (b"[]", 422),
    (b'"given"', 422),
    (b"{}", 422),
    (b'{"action": "yes"}', 422),
    (b'{"action": null}', 422),
    (b'{"action": ["given"]}', 422),
    (b'{"action": "accepted"}', 422),
    (b'{"action": "given", "extra": 1}', 422),
    (b'{"action": "given", "subject": "u-2"}', 422),
    (b'{"action": "given", "tenant": "acme"}', 422),
    (b'{"action": "given", "connection": "x"}', 422),
    (b'{"action": "given", "method": "telepathy"}', 422),
    (b'{"action": "given", "method": "continued_use"}', 422),
    (b'{"action": "given", "actor": "nobody"}', 422),
    (b'{"action": "given", "actor": "operator"}', 422),
    (b'{"action": "given", "actor": "guardian:1"}', 422),
    (b'{"action": "given", "actor": "browser"}', 422),
    (b'{"action": "given", "locale": "english please"}', 422),
    (b'{"action": "given", "locale": "en\\n"}', 422),
    (b'{"action": "given", "locale": "en\\ud800"}', 422),
    (b'{"action": "given", "notice": "00"}', 422),
    (b'{"action": "given", "notice": "' + b"A" * 64 + b'"}', 422),
    (b'{"action": "given", "notice": 5}', 422),
    (b'{"action": "given", "scope": "comment 42"}', 422),
    (b'{"action": "given", "scope": "comment:42"}', 422),
    (b'{"action": "given", "at": "2026-01-31T12:00:00"}', 422),
    (b'{"action": "given", "at": "yesterday"}', 422),
    (b'{"action": "given", "at": 1700000000}', 422),
    (b'{"action": "given", "at": true}', 422),
    (b'{"action": "given", "at": {}}', 422),
    (b'{"action": "given", "at": "2999-01-01T00:00:00Z"}', 422),
    (b'{"action": "given", "at": "2026-02-30T00:00:00Z"}', 422),
    (b'{"action": "given", "at": "2026-01-01T00:00:00+99:00"}', 422),
    (b'{"action": "given", "at": "0001-01-01T00:00:00+14:00"}', 422),
    (b'{"action": "given", "at": "1969-12-31T23:59:59Z"}', 422),
    (b'{"action": "given", "x": "' + b"y" * 70_000 + b'"}', 413),
]


@pytest.mark.parametrize(("body", "status"), BODIES, ids=lambda value: repr(value)[:60])
def test_a_bad_body_records_nothing(api: Caller, body: bytes, status: int) -> None:
    answer = api.call("PUT", NEWS, data=body, content_type="application/json")
    assert answer.status_code == status, answer.text
    assert api.events("u-1") == NOTHING
    if status == 422 and b"action" in body and answer.json["type"].endswith("invalid-body"):
        assert "given" not in answer.json["detail"] or "one of" in answer.json["detail"]


def test_each_wrong_field_is_named(api: Caller) -> None:
    answer = api.put(NEWS, {"action": "given", "at": "now", "a/b~c": 1, "method": 3})
    assert {e["pointer"] for e in answer.json["errors"]} == {"#/at", "#/a~1b~0c", "#/method"}


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", None])
def test_another_media_type_is_refused(api: Caller, content_type: str | None) -> None:
    answer = api.call("PUT", NEWS, data=b'{"action": "given"}', content_type=content_type)
    assert answer.status_code == 415
    assert api.events("u-1") == NOTHING


def test_huge_bodies_over_a_socket(app: Flask, api: Caller, live_server: Callable[[Flask], str]) -> None:
    header = {"Content-Type": "application/json"}
    url = live_server(app) + BASE
    huge = b'{"action": "given", "locale": "' + b"x" * 65_536 + b'"}'
    status, headers, body = over_http("PUT", url + NEWS, api.key, huge, header)
    check_problem(413, headers["Content-Type"], body)
    assert status == 413
    assert over_http("DELETE", url + "/subjects/u-1", api.key, huge, header)[0] == 413
    fits = b'{"action": "given"' + b" " * 65_000 + b"}"
    assert over_http("PUT", url + NEWS, api.key, fits, header)[0] == 200


def test_a_chunked_body_has_the_same_limit(app: Flask, api: Caller) -> None:
    def send(size: int) -> int:
        body = BytesIO(b'{"action": "refused"' + b" " * size + b"}")
        chunked = {"wsgi.input": body, "wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
        with app.test_client() as client:
            headers = {"Authorization": f"Bearer {api.key}", "Content-Type": "application/json"}
            made = client.put(BASE + NEWS, headers=headers, environ_overrides=chunked)
            return made.status_code

    assert send(100) == 200
    assert send(70_000) == 413


# ---------------------------------------------------------------- queries


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/catalog?x=1",
            "/stats?x=1",
            "/policies?x",
            "/subjects/u/consents?at=x",
            "/subjects/u/export?full=1",
        ),
        *("/events?limit=0", "/events?limit=501", "/events?limit=-1", "/events?limit=ten", "/events?limit="),
        *("/events?limit=%D9%A1", "/events?limit=1&limit=2", "/events?subjet=u", "/events?action=yes"),
        *("/events?after=x", "/events?after=", "/events?after=%00", "/events?after=LTE", "/events?item=%00"),
        *("/events?subject=", "/events?subject=u&after=MTI", "/events?after=MDFhMjAzMWQtODkxZS03MDAwLTljMzU"),
        *("/events?subject=%ff", f"/events?after={'OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5'}"),
        "/subjects/u/decisions/newsletter?at=2026-01-31T12:00:00",
        "/subjects/u/decisions/newsletter?at=2999-01-01T00:00:00Z",
        "/subjects/u/decisions/newsletter?at=0001-01-01T00:00:00%2B14:00",
        "/subjects/u/decisions/newsletter?at=yesterday",
        "/subjects/u/decisions/newsletter?at=",
        "/subjects/u/decisions/newsletter?scope=a%20b",
        f"/subjects/u/decisions/newsletter?scope={'x' * 201}",
    ],
)
def test_a_query_that_makes_no_sense_is_400(api: Caller, path: str) -> None:
    assert api.get(path).status_code == 400


@pytest.mark.parametrize("reason", ["", "two%20words", "Ada", "x" * 41, "%F0%9F%92%A9"])
def test_a_ground_of_erasure_is_no_free_text(api: Caller, reason: str) -> None:
    assert api.call("DELETE", f"/subjects/u-1?reason={reason}").status_code == 400


# ---------------------------------------------------------------- a ledger that fails

ASKED = [
    ("GET", "/events?subject=u"),
    ("GET", "/events/01a2031d-8937-7000-9c3a-f77ce141a9c0"),
    ("GET", "/policies"),
    ("GET", "/stats"),
    ("GET", f"/documents/{'0' * 64}"),
    ("GET", "/subjects/u/consents"),
    ("GET", "/subjects/u/decisions/newsletter"),
    ("GET", "/subjects/u/decisions/newsletter?at=2026-01-31T12:00:00Z"),
    ("GET", "/subjects/u/export"),
    ("GET", "/subjects/u/receipt"),
    ("POST", "/decisions"),
    ("PUT", NEWS),
    ("PUT", "/subjects/u/policies/terms"),
    ("DELETE", "/subjects/u"),
]
SENT = {
    "/decisions": {"subjects": ["u"], "item": "newsletter"},
    NEWS: {"action": "given"},
    "/subjects/u/policies/terms": {"action": "accepted"},
}


@pytest.mark.parametrize(("method", "path"), ASKED)
@pytest.mark.parametrize("accept", ["application/json", "text/html"])
def test_a_failing_ledger_is_503_for_everything(
    app: Flask, api: Caller, tmp_path: Path, method: str, path: str, accept: str
) -> None:
    (ledger,) = tmp_path.rglob("*.sqlite3")
    with app.app_context():
        app.extensions["consentkit"].kit.runtime.dispose()
    for file in tmp_path.rglob("*.sqlite3*"):
        file.unlink()
    ledger.write_bytes(b"not a database, whatever it is called" * 100)
    answer = api.call(method, path, json=SENT.get(path), headers={"Accept": accept})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    assert answer.json["reason"] == "STORE_UNAVAILABLE"


@pytest.mark.parametrize(("method", "path"), ASKED)
def test_a_ledger_that_fails_after_the_key_was_checked(
    app: Flask, kit: ConsentKit, api: Caller, monkeypatch: pytest.MonkeyPatch, method: str, path: str
) -> None:
    """The gate turns a failing store into a decision; over the API that is 503 too, never 200."""
    authenticate = api_keys.authenticate

    def then_fail(*given: Any) -> Any:
        found = authenticate(*given)
        database = kit.runtime.database
        monkeypatch.setattr(database, "read", _fail)
        monkeypatch.setattr(database, "write", _fail)
        monkeypatch.setattr(kit.runtime, "_ready", False)
        monkeypatch.setattr(kit.runtime, "_open", _fail)
        return found

    monkeypatch.setattr(api_request, "authenticate", then_fail)
    answer = api.call(method, path, json=SENT.get(path))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")


def test_a_broken_ledger_is_for_the_log(
    app: Flask,
    kit: ConsentKit,
    api: Caller,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*_given: object) -> None:
        raise LedgerBroken("somebody was here", at="leaf 7")

    with app.app_context():
        monkeypatch.setattr(kit.runtime.reader, "event", broken)
    answer = api.get("/events/01a2031d-8937-7000-9c3a-f77ce141a9c0")
    assert answer.status_code == 500
    assert "somebody" not in answer.text
    assert "somebody was here" in caplog.text


def _fail(*_given: object) -> None:
    raise StoreUnavailable("the disk is gone")
