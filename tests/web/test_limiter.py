"""The host's limiter: what it is asked, what it may stop, and that it never stands between a person and a no."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from consentkit import ConsentKit, MinorRules, Policy, PolicyVersion
from tests.web.conftest import make_kit, policies

SAME = {"Sec-Fetch-Site": "same-origin"}
HTML = {"Accept": "text/html", **SAME}
CHOICES, ACCEPT, SEEN = "consentkit.preferences", "consentkit.accept", "consentkit.announcements"
YES, NO = {"decision": "accept-all"}, {"decision": "reject-all"}


class Limiter:
    """Says the same to everybody; keeps who asked."""

    def __init__(self) -> None:
        self.says: Any = True
        self.asked: list[tuple[str | None, str]] = []

    def __call__(self, subject: str | None, endpoint: str) -> Any:
        self.asked.append((subject, endpoint))
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


@pytest.fixture
def limiter() -> Limiter:
    return Limiter()


@pytest.fixture
def app(app_of: Callable[..., Flask], limiter: Limiter) -> Flask:
    news = Policy(
        "news", title="News", kind="announcement", versions=[PolicyVersion("1", texts={"en": "News."})]
    )
    kit = make_kit(policies=[*policies(), news])
    kit.limiter(limiter)
    return app_of(kit)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def known(client: FlaskClient, limiter: Limiter) -> FlaskClient:
    """The client after a first yes."""
    says, limiter.says = limiter.says, True
    assert client.post("/consent", data=YES, headers=SAME).status_code == 200
    limiter.asked.clear()
    limiter.says = says
    return client


def recorded(app: Flask, client: FlaskClient) -> list[str]:
    subject = client.get("/consent/receipt").get_json()["subject"]
    with app.app_context():
        kit: ConsentKit = app.extensions["consentkit"].kit
        return [] if subject is None else [f"{e.item} {e.action}" for e in kit.ledger.of_subject(subject)]


@pytest.mark.parametrize("body", [YES, NO, {"decision": "save", "category": "analytics"}])
def test_somebody_new_is_asked_about_before_anything_is_made(
    client: FlaskClient, limiter: Limiter, app: Flask, body: dict[str, str]
) -> None:
    limiter.says = 17
    answer = client.post("/consent", data=body, headers=SAME)
    assert (answer.status_code, answer.headers["Retry-After"], answer.headers["Cache-Control"]) == (
        429,
        "17",
        "no-store",
    )
    assert answer.json["type"] == "urn:consentkit:problem:too-many-requests"
    assert "Set-Cookie" not in answer.headers
    assert limiter.asked == [(None, CHOICES)]
    assert recorded(app, client) == []
    limiter.says = True
    assert client.post("/consent", data=body, headers=SAME).status_code == 200


def test_a_no_of_somebody_known_is_always_recorded(client: FlaskClient, limiter: Limiter, app: Flask) -> None:
    limiter.says = 17
    known(client, limiter)
    for body in (
        NO,
        {"decision": "withdraw-all"},
        {"decision": "save"},
        {"decision": "save", "ask": "newsletter"},
    ):
        assert client.post("/consent", data=body, headers=SAME).status_code == 200
    assert client.post("/consent/accept/terms", data={"decision": "decline"}, headers=SAME).status_code == 200
    assert limiter.asked == []
    assert {"statistics withdrawn", "ads withdrawn", "newsletter refused", "terms declined"} <= set(
        recorded(app, client)
    )


def test_of_a_mixed_answer_the_no_is_recorded_and_the_yes_waits(
    client: FlaskClient, limiter: Limiter, app: Flask
) -> None:
    known(client, limiter)
    limiter.says = 17
    body = {"decision": "save", "category": "marketing", "purpose": "newsletter"}
    answer = client.post("/consent", data=body, headers=SAME)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "17")
    said = recorded(app, client)
    assert "statistics withdrawn" in said
    assert "newsletter given" not in said
    (account,) = {subject for subject, _ in limiter.asked}
    assert account == client.get("/consent/receipt").get_json()["subject"]
    assert client.get("/consent/status").get_json()["granted"] == ["marketing"]
    assert "analytics" not in client.get_cookie("consent_hint").value


def test_a_yes_of_somebody_known_waits(client: FlaskClient, limiter: Limiter, app: Flask) -> None:
    known(client, limiter)
    before = recorded(app, client)
    limiter.says = 17
    digest = app.extensions["consentkit"].kit.purpose_notice("newsletter").digest
    asked = {"decision": "save", "ask": "newsletter", "purpose": "newsletter", "notice": digest}
    for body in (YES, asked, {"decision": "defer"}):
        assert client.post("/consent", data=body, headers=SAME).status_code == 429
    assert recorded(app, client) == before


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/consent/accept/terms", {"decision": "accept", "agree": "yes"}),
        ("/consent/accept/terms", {"decision": "decline"}),
        ("/consent/announcements", {"decision": "seen", "key": "news"}),
        ("/consent", {"decision": "save", "ask": "newsletter"}),
    ],
)
def test_every_endpoint_that_would_make_a_visitor(
    client: FlaskClient, limiter: Limiter, app: Flask, path: str, body: dict[str, str]
) -> None:
    limiter.says = 17
    answer = client.post(path, data=body, headers=SAME)
    assert (answer.status_code, len(limiter.asked)) == (429, 1)
    assert "Set-Cookie" not in answer.headers


def test_what_makes_nothing_is_not_asked_about(client: FlaskClient, limiter: Limiter) -> None:
    limiter.says = 17
    for path in ("/", "/consent", "/consent/status", "/consent/receipt", "/consent/announcements"):
        assert client.get(path).status_code == 200
    once = {"decision": "once", "embed": "0" * 12}
    assert client.post("/consent", data=once, headers=SAME).status_code == 200
    shown = {"decision": "shown", "key": "news"}
    assert client.post("/consent/announcements", data=shown, headers=SAME).status_code == 200
    assert client.post("/consent", data={"decision": "defer"}, headers=SAME).status_code == 200
    assert client.post("/consent", data=YES, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert limiter.asked == []


def test_a_browser_gets_a_page(client: FlaskClient, limiter: Limiter) -> None:
    limiter.says = 17
    answer = client.post("/consent?locale=de", data={**NO, "locale": "de"}, headers=HTML)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "17")
    assert "in 17 Sekunden" in answer.text


@pytest.mark.parametrize(
    ("says", "seconds"),
    [
        *((False, "60"), (0, "1"), (-5, "1"), (0.2, "1"), (1.5, "2"), (3600, "3600")),
        *((float("inf"), "60"), (float("-inf"), "60"), (float("nan"), "60")),
    ],
)
def test_how_long(client: FlaskClient, limiter: Limiter, says: object, seconds: str) -> None:
    limiter.says = says
    assert client.post("/consent", data=NO, headers=SAME).headers["Retry-After"] == seconds
    known(client, limiter)
    answer = client.post("/consent", data=YES, headers=SAME)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, seconds), "a yes of somebody known"


@pytest.mark.parametrize("broken", [ZeroDivisionError("u-42"), None, "no", [1]], ids=repr)
def test_a_limiter_that_fails_stops_the_yes_of_strangers_only(
    client: FlaskClient, limiter: Limiter, app: Flask, broken: object, caplog: pytest.LogCaptureFixture
) -> None:
    limiter.says = broken
    answer = client.post("/consent", data=YES, headers=SAME)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "60")
    assert "limiter_failed" in {getattr(record, "event", "") for record in caplog.records}
    assert client.post("/consent", data=NO, headers=SAME).status_code == 200, "a stranger's no"
    assert client.post("/consent", data=YES, headers=SAME).status_code == 200, "the yes of somebody known"
    assert recorded(app, client)[-1] == "ads given"


def test_accounts_are_known(client: FlaskClient, limiter: Limiter) -> None:
    client.post("/login", data={"user": "u-1"}, headers=SAME)
    limiter.says = 17
    assert client.post("/consent", data=NO, headers=SAME).status_code == 200
    assert client.post("/consent", data=YES, headers=SAME).status_code == 429
    assert limiter.asked == [("u-1", CHOICES)]


def test_the_api(app: Flask, client: FlaskClient, limiter: Limiter) -> None:
    secret = app.test_cli_runner().invoke(
        args=["consent", "keys", "create", "--label", "crm", "--scope", "write", "--scope", "erase"]
    )
    headers = {"Authorization": f"Bearer {secret.output.split()[-1]}"}

    def put(what: str, action: str) -> Any:
        return client.put(f"/consent/v1/subjects/u-7/{what}", json={"action": action}, headers=headers)

    limiter.says = 17
    for what, action in (("consents/newsletter", "given"), ("policies/terms", "accepted")):
        answer = put(what, action)
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "17")
        assert answer.json["type"] == "urn:consentkit:problem:too-many-requests"
    assert [subject for subject, _ in limiter.asked] == ["u-7", "u-7"]
    for what, action in (("consents/newsletter", "refused"), ("policies/terms", "declined")):
        assert put(what, action).status_code == 200
    assert client.delete("/consent/v1/subjects/u-7", headers=headers).status_code == 200
    limiter.says = ZeroDivisionError()
    assert put("consents/newsletter", "given").status_code == 200
    assert len(limiter.asked) == 3


def test_a_date_of_birth(app_of: Callable[..., Flask], limiter: Limiter) -> None:
    kit = make_kit(minors=MinorRules(age=16))
    kit.limiter(limiter)
    client = app_of(kit).test_client()
    limiter.says = 17
    date = {"year": "1987", "month": "3", "day": "9"}
    assert client.post("/consent/age", data=date, headers=SAME).status_code == 429
    assert limiter.asked == [(None, "consentkit.age")]


def test_without_a_limiter_nothing_is_limited(app_of: Callable[..., Flask]) -> None:
    client = app_of().test_client()
    for _ in range(3):
        assert client.post("/consent", data=YES, headers=SAME).status_code == 200
