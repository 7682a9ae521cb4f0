"""Notices at collection: the purpose's own text, its own yes and no, and the digest of what was shown."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, render_template_string
from flask.testing import FlaskClient

from consentkit import ConsentKit, Party, Purpose, Site
from consentkit.core.catalog import Controller
from consentkit.core.errors import UnknownPurpose
from tests.web.conftest import make_kit

SAME = {"Sec-Fetch-Site": "same-origin"}
HTML = {"Accept": "text/html", **SAME}


def purposes(**location: Any) -> tuple[Purpose, ...]:
    where = {
        "title": {"en": "Where you are", "de": "Wo Sie sind"},
        "description": "To show what is near.",
        "data": ["place, to 100 m"],
        "recipients": ["maps"],
        "retention": "one day",
        **location,
    }
    return (
        Purpose("location", **where),
        Purpose("stats", title="Statistics", category="analytics"),
        Purpose("transfer", title="Transfer", separate=True),
        Purpose("quote", title="Quoting you", scoped=True),
        Purpose("orders", title="Orders", basis="contract"),
    )


def kit_of(**location: Any) -> ConsentKit:
    return make_kit(
        purposes=purposes(**location),
        policies=(),
        bundles=(),
        parties=[Party("maps", "Maps Ltd", url="https://maps.example/", country="IE")],
        controller=Controller("Harbour Press", "privacy@press.example"),
        site=Site(name="Test", locales=("en", "de")),
    )


def app_of(folder: Path, **location: Any) -> Flask:
    app = Flask("host", instance_path=str(folder / "instance"))
    app.config.update(SECRET_KEY="a key for tests", TESTING=True)
    kit_of(**location).init_app(app)
    pages = {"near": "consent_notice('location')", "quote": "consent_notice('quote', scope='comment:42')"}
    for name, call in pages.items():
        app.add_url_rule(f"/{name}", name, lambda call=call: render_template_string("{{ " + call + " }}"))
    return app


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    return app_of(tmp_path)


def form_in(page: str, yes: bool, **changed: str) -> dict[str, str]:
    """What the form on a page sends."""
    form = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page))
    if yes:
        form["purpose"] = form["ask"]
    return {**form, **changed}


def answer(client: FlaskClient, yes: bool, path: str = "/near", headers: Any = SAME, **changed: str) -> Any:
    form = form_in(client.get(path).text, yes, **changed)
    return client.post("/consent", data={k: v for k, v in form.items() if v}, headers=headers)


def events(app: Flask, client: FlaskClient) -> list[Any]:
    receipt = client.get("/consent/receipt").get_json()
    with app.app_context():
        return app.extensions["consentkit"].kit.ledger.of_subject(receipt["subject"])  # type: ignore[no-any-return]


def test_the_notice_says_what_is_collected_for_whom_and_how_long(app: Flask) -> None:
    page = app.test_client().get("/near").text
    for said in (
        "Where you are",
        "To show what is near.",
        "place, to 100 m",
        "Maps Ltd",
        "one day",
        "Harbour Press",
    ):
        assert said in page
    assert page.count("<button") == 2
    assert "checked" not in page


def test_it_is_the_same_bytes_for_everybody(app: Flask) -> None:
    known, new = app.test_client(), app.test_client()
    answer(known, yes=True)
    assert known.get("/near").data == new.get("/near").data
    assert "Set-Cookie" not in new.get("/near").headers


@pytest.mark.parametrize("yes", [True, False])
def test_only_this_purpose_is_answered_with_the_digest_of_its_notice(app: Flask, yes: bool) -> None:
    client = app.test_client()
    said = answer(client, yes).get_json()
    assert said["asked"]["status"] == ("given" if yes else "refused")
    (event,) = events(app, client)
    kit: ConsentKit = app.extensions["consentkit"].kit
    notice = kit.purpose_notice("location", "en")
    assert (event.item, event.action, event.method) == ("location", said["asked"]["status"], "form")
    assert (event.notice, event.version) == (notice.digest, "1")
    assert event.notice != kit.notice("en").digest
    with app.app_context():
        media, text = kit.document(event.notice) or ("", "")
    assert media == "application/json"
    assert json.loads(text)["purpose"]["retention"] == "one day"


def test_every_notice_in_every_language_is_kept_at_publication(app: Flask) -> None:
    kit: ConsentKit = app.extensions["consentkit"].kit
    for purpose in ("location", "stats", "transfer", "quote"):
        for locale in ("en", "de"):
            notice = kit.purpose_notice(purpose, locale)
            with app.app_context():
                assert kit.document(notice.digest) == ("application/json", notice.body)
    assert kit.purpose_notice("location", "de").digest != kit.purpose_notice("location", "en").digest
    assert kit.purpose_notice("location", "fr") == kit.purpose_notice("location", "en")


def test_a_yes_that_is_taken_back_is_withdrawn(app: Flask) -> None:
    client = app.test_client()
    assert answer(client, yes=True).get_json()["asked"]["status"] == "given"
    assert answer(client, yes=False).get_json()["asked"]["status"] == "withdrawn"
    assert answer(client, yes=False).get_json()["asked"]["status"] == "refused"


def test_what_was_answered_elsewhere_stays(app: Flask) -> None:
    client = app.test_client()
    client.post("/consent", data={"decision": "save", "category": "analytics"}, headers=SAME)
    said = answer(client, yes=True).get_json()
    assert sorted(said["granted"]) == ["analytics", "location"]
    assert said["changed"] == ["location"]
    assert "location" in client.get_cookie("consent_hint").value


def test_one_that_stands_apart_is_answered_alone(app: Flask) -> None:
    digest = app.extensions["consentkit"].kit.purpose_notice("transfer").digest
    form = {"ask": "transfer", "purpose": "transfer", "decision": "save", "notice": digest}
    assert (
        app.test_client().post("/consent", json=form, headers=SAME).get_json()["asked"]["status"] == "given"
    )


def test_a_scoped_purpose_is_answered_for_one_thing(app: Flask) -> None:
    client = app.test_client()
    said = answer(client, yes=True, path="/quote").get_json()["asked"]
    assert (said["scope"], said["status"]) == ("comment:42", "given")
    other = answer(client, yes=False, path="/quote", scope="comment:43").get_json()["asked"]
    assert (other["scope"], other["status"]) == ("comment:43", "refused")
    (first, _) = events(app, client)
    with app.app_context():
        consents = app.extensions["consentkit"].kit.of(client.get("/consent/receipt").get_json()["subject"])
        assert (
            consents.allows("quote", scope="comment:42"),
            consents.allows("quote", scope="comment:43"),
        ) == (True, False)
    assert first.scope == "comment:42"


def test_without_script_it_leads_back_to_the_page(app: Flask) -> None:
    headers = {**HTML, "Referer": "http://localhost/near?step=2"}
    back = answer(app.test_client(), yes=True, headers=headers)
    assert (back.status_code, back.location) == (303, "/near?step=2")
    assert answer(app.test_client(), yes=False, headers=HTML, next="//evil.example").location == "/"


def test_a_stale_yes_shows_the_new_notice_and_a_stale_no_is_recorded(tmp_path: Path) -> None:
    old = form_in(app_of(tmp_path).test_client().get("/near").text, yes=True)
    app = app_of(tmp_path, version=2, retention="ten years")
    client = app.test_client()
    stale = client.post("/consent", data=old, headers=SAME)
    assert (stale.status_code, stale.get_json()["notice"]) == (
        409,
        app.extensions["consentkit"].kit.purpose_notice("location").digest,
    )
    page = client.post("/consent", data=old, headers=HTML)
    assert page.status_code == 409
    assert "ten years" in page.text
    assert "Set-Cookie" not in page.headers
    fresh = form_in(page.text, yes=True)
    assert client.post("/consent", data=fresh, headers=SAME).status_code == 200
    del old["purpose"]
    refused = client.post("/consent", data=old, headers=SAME)
    assert refused.get_json()["asked"]["status"] == "withdrawn"
    assert events(app, client)[-1].notice == old["notice"]


def test_a_no_with_a_nonsense_digest_is_still_a_no(app: Flask) -> None:
    client = app.test_client()
    assert answer(client, yes=False, notice="nonsense").get_json()["asked"]["status"] == "refused"
    assert events(app, client)[0].notice is None


@pytest.mark.parametrize(
    "changed",
    [
        {"ask": "nowhere"},
        {"ask": "orders"},
        {"purpose": "stats"},
        {"purpose": "nowhere"},
        {"decision": "accept-all"},
        {"decision": ""},
        {"notice": ""},
        {"scope": "comment:42"},
    ],
)
def test_bad_input_is_refused_and_records_nothing(app: Flask, changed: dict[str, str]) -> None:
    client = app.test_client()
    refused = answer(client, yes=True, **changed)
    assert (refused.status_code, refused.content_type) == (422, "application/problem+json")
    assert client.get_cookie("consent") is None


def test_a_no_for_one_thing_to_what_is_not_asked_for_one_thing(app: Flask) -> None:
    assert answer(app.test_client(), yes=False, scope="comment:42").status_code == 422


@pytest.mark.parametrize("body", [{"ask": ["location", "stats"]}, {"ask": 7}, {"ask": {"a": 1}}])
def test_a_json_body_of_the_wrong_shape(app: Flask, body: dict[str, Any]) -> None:
    refused = app.test_client().post("/consent", json={"decision": "save", **body}, headers=SAME)
    assert refused.status_code == 422


def test_other_sites_answer_nothing(app: Flask) -> None:
    assert answer(app.test_client(), yes=True, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


def test_a_get_answers_nothing(app: Flask) -> None:
    client = app.test_client()
    query = form_in(client.get("/near").text, yes=True)
    assert client.get("/consent", query_string=query).status_code == 200
    assert client.get_cookie("consent") is None


@pytest.mark.parametrize("key", ["nowhere", "orders", "marketing", "necessary"])
def test_a_template_cannot_ask_what_is_no_question(app: Flask, key: str) -> None:
    with app.test_request_context("/"), pytest.raises(UnknownPurpose):
        render_template_string("{{ consent_notice(key) }}", key=key)
