"""The neutral age page: no hint, one answer per session, no date kept; gates lead there and back."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from consentkit import Age, ConsentKit, MinorRules, Site
from consentkit.core.texts import built_in
from tests.web.conftest import make_app, make_kit

PAGE = "/consent/age"
HTML = {"Accept": "text/html"}
OWN = {"Sec-Fetch-Site": "same-origin", **HTML}
CHILD = {"day": "3", "month": "9", "year": str(date.today().year - 10)}
GROWN = {"day": "3", "month": "9", "year": "1987"}
ASKING = MinorRules(age=13, unknown_age="ask")


def kit_of(minors: MinorRules | None = ASKING, **more: Any) -> ConsentKit:
    values: dict[str, Any] = {"site": Site(name="Test", locales=built_in(), default_jurisdiction="DE")}
    return make_kit(**{**values, "minors": minors, **more})


@pytest.fixture
def kit() -> ConsentKit:
    return kit_of()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def say(client: FlaskClient, form: dict[str, str], **headers: str) -> Any:
    return client.post(PAGE, data=form, headers={**OWN, **headers})


def band(kit: ConsentKit, client: FlaskClient) -> str:
    """What the ledger knows of whoever this browser is."""
    subject = client.get("/subject").text
    return str(kit.export(subject)["facts"]["band"])


# ---------------------------------------------------------------- neutral


@pytest.mark.parametrize("locale", built_in())
def test_nothing_hints_at_an_age(client: FlaskClient, locale: str) -> None:
    page = client.get(f"{PAGE}?locale={locale}", headers=HTML)
    assert page.status_code == 200
    main = re.search(r"<main.*</main>", page.text, re.S)
    assert main is not None
    shown = re.sub(r"<[^>]*>", " ", main[0])
    assert re.findall(r"\d", shown.replace("西暦4桁", "")) == []
    inputs = re.findall(r'<input type="text"[^>]*>', main[0])
    assert [re.search(r'name="(\w+)"', i)[1] for i in inputs] == (  # type: ignore[index]
        ["year", "month", "day"] if locale in ("zh", "ja") else ["day", "month", "year"]
    )
    assert all('value=""' in i for i in inputs)
    assert "checkbox" not in main[0]
    assert "age." not in shown  # every text is there


def test_it_is_for_one_person_only(client: FlaskClient) -> None:
    page = client.get(PAGE, headers=HTML)
    assert page.headers["Cache-Control"] == "no-store"
    assert "Cookie" in page.headers["Vary"]
    assert "Set-Cookie" not in page.headers


def test_where_ages_do_not_count_there_is_no_page(app_of: Callable[..., Flask]) -> None:
    client = app_of(kit_of(None)).test_client()
    assert client.get(PAGE, headers=HTML).status_code == 404
    assert say(client, GROWN).status_code == 404


def test_a_host_with_an_age_loader_has_one(app_of: Callable[..., Flask]) -> None:
    kit = kit_of(None)
    kit.age_loader(lambda _: None)
    assert app_of(kit).test_client().get(PAGE, headers=HTML).status_code == 200


# ---------------------------------------------------------------- there and back


def test_a_gate_leads_there_and_back(kit: ConsentKit, client: FlaskClient) -> None:
    led = client.get("/letters?n=3", headers=HTML)
    assert (led.status_code, led.location) == (303, f"{PAGE}?next=/letters?n%3D3")
    page = client.get(led.location, headers=HTML)
    assert 'name="next" value="/letters?n=3"' in page.text
    back = say(client, {**GROWN, "next": "/letters?n=3"})
    assert (back.status_code, back.location) == (303, "/letters?n=3")
    asked = client.get(back.location, headers=HTML)
    assert (asked.status_code, asked.location) == (303, "/consent?next=/letters?n%3D3")
    assert band(kit, client) == "adult"


def test_a_child_is_told_what_it_needs(kit: ConsentKit, client: FlaskClient) -> None:
    back = say(client, {**CHILD, "next": "/letters"})
    blocked = client.get(back.location, headers=HTML)
    assert blocked.status_code == 403
    assert "A parent or guardian has to agree" in blocked.text
    assert band(kit, client) == "minor"


def test_a_program_is_told_that_the_age_is_missing(client: FlaskClient) -> None:
    blocked: Any = client.get("/letters")
    assert (blocked.status_code, blocked.json["reason"]) == (403, "GUARDIAN_REQUIRED")
    assert blocked.json["needs"] == ["age"]
    assert client.post("/both", headers=HTML).status_code == 403  # a form is not sent twice


def test_a_policy_in_the_way(app_of: Callable[..., Flask]) -> None:
    kit = kit_of(MinorRules(age=13, unknown_age="ask", children="not_allowed"))
    client = app_of(kit).test_client()
    assert client.get("/account", headers=HTML).location == f"{PAGE}?next=/account"
    assert client.get("/under-terms", headers=HTML).location == f"{PAGE}?next=/under-terms"
    say(client, CHILD)
    for path in ("/account", "/under-terms", "/letters"):
        blocked = client.get(path, headers=HTML)
        assert blocked.status_code == 403
        assert "Not for minors" in blocked.text


def test_other_unknown_ages_are_not_asked(app_of: Callable[..., Flask]) -> None:
    client = app_of(kit_of(MinorRules(unknown_age="minor"))).test_client()
    assert client.get("/letters", headers=HTML).status_code == 403


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example/", "/\\evil.example", "x"])
def test_nobody_is_led_elsewhere(client: FlaskClient, target: str) -> None:
    assert "evil" not in client.get(PAGE, query_string={"next": target}, headers=HTML).text
    assert say(client, {**GROWN, "next": target}).location == f"{PAGE}?locale=en"
    again = client.get(PAGE, query_string={"next": target}, headers=HTML)
    assert (again.status_code, again.location) == (200, None)


def test_who_has_answered_goes_on(client: FlaskClient) -> None:
    say(client, GROWN)
    assert client.get(f"{PAGE}?next=/letters", headers=HTML).location == "/letters"
    assert "nothing more to answer" in client.get(PAGE, headers=HTML).text


# ---------------------------------------------------------------- one answer


def test_there_is_one_answer_in_a_session(kit: ConsentKit, client: FlaskClient) -> None:
    say(client, CHILD)
    again = say(client, GROWN)
    assert (again.status_code, band(kit, client)) == (403, "minor")
    assert "taken once" in again.text
    problem: Any = client.post(PAGE, json=GROWN, headers={"Sec-Fetch-Site": "same-origin"})
    assert (problem.status_code, problem.json["type"]) == (403, "urn:consentkit:problem:age-answered")


def test_the_back_button_and_a_lost_visitor_cookie(kit: ConsentKit, client: FlaskClient) -> None:
    """The page is not kept by the browser, and a new visitor id is no new chance."""
    say(client, CHILD)
    client.delete_cookie("consent")
    assert client.get(PAGE, headers=HTML).status_code == 403
    assert say(client, GROWN).status_code == 403
    assert client.get("/letters", headers=HTML).location == f"{PAGE}?next=/letters"
    assert client.get("/subject").text == "None"


def test_the_cookie_of_the_session(client: FlaskClient) -> None:
    response = say(client, CHILD)
    (cookie,) = [line for line in response.headers.getlist("Set-Cookie") if line.startswith("consent_age=")]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Max-Age" not in cookie
    assert "xpires" not in cookie
    grown = say(client.application.test_client(), GROWN)
    values = [re.search(r"consent_age=(\w+)\.", str(r.headers)) for r in (response, grown)]
    assert {found and found[1] for found in values} == {"answered"}  # it does not say which


@pytest.mark.parametrize("value", ["", "answered", "answered.aaaaaa.bbbbbb", "x" * 3000])
def test_a_forged_cookie_is_none(kit: ConsentKit, client: FlaskClient, value: str) -> None:
    client.set_cookie("consent_age", value)
    assert say(client, GROWN).status_code == 303
    assert band(kit, client) == "adult"


def test_after_a_day_it_is_another_session(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    say(client, CHILD)
    client.delete_cookie("consent")
    import time

    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 25 * 3600)
    assert client.get(PAGE, headers=HTML).status_code == 200


# ---------------------------------------------------------------- what is no date


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ({}, "each as a number"),
        ({"day": "3", "month": "9"}, "each as a number"),
        ({"day": "three", "month": "9", "year": "1987"}, "each as a number"),
        ({"day": "-3", "month": "9", "year": "1987"}, "each as a number"),
        ({"day": "3", "month": "9", "year": "1987.5"}, "each as a number"),
        ({"day": "3", "month": "9", "year": "19870"}, "each as a number"),
        ({"day": "3", "month": "9", "year": "87"}, "four digits"),
        ({"day": "3", "month": "9", "year": "0987"}, "four digits"),
        ({"day": "29", "month": "2", "year": "2011"}, "no such day"),
        ({"day": "31", "month": "4", "year": "1987"}, "no such day"),
        ({"day": "0", "month": "0", "year": "1987"}, "no such day"),
        ({"day": "1", "month": "13", "year": "1987"}, "no such day"),
        ({"day": "3", "month": "9", "year": "1800"}, "too long ago"),
        ({"day": "3", "month": "9", "year": "2999"}, "still to come"),
    ],
)
def test_what_is_no_date_costs_nothing(
    kit: ConsentKit, client: FlaskClient, written: dict[str, str], why: str
) -> None:
    page = say(client, {**written, "next": "/letters"})
    assert page.status_code == 422
    assert why in page.text
    assert 'role="alert"' in page.text
    assert 'name="next" value="/letters"' in page.text
    for value in written.values():
        assert f'value="{value}"' in page.text
    assert "Set-Cookie" not in page.headers
    problem: Any = client.post(PAGE, json=written)
    assert (problem.status_code, problem.json["type"]) == (422, "urn:consentkit:problem:age-invalid")
    assert client.get("/subject").text == "None"
    assert say(client, GROWN).status_code == 303
    assert band(kit, client) == "adult"


def test_markup_in_a_field_is_text(client: FlaskClient) -> None:
    page = say(client, {"day": '"><script>', "month": "9", "year": "1987"})
    assert "<script" not in page.text


@pytest.mark.parametrize("sent", ["[]", '"x"', "{", "null", '{"year": [1987], "month": 9, "day": 3}'])
def test_what_is_no_object(client: FlaskClient, sent: str) -> None:
    assert client.post(PAGE, data=sent, content_type="application/json").status_code == 422


def test_a_leap_day_and_other_digits(kit: ConsentKit, client: FlaskClient) -> None:
    assert say(client, {"day": " ٢٩ ", "month": "٠٢", "year": "٢٠٠٠"}).status_code == 303
    assert band(kit, client) == "adult"


# ---------------------------------------------------------------- who, and what is kept


def test_only_the_band_is_kept(kit: ConsentKit, client: FlaskClient, tmp_path: Path) -> None:
    say(client, {"day": "17", "month": "11", "year": "1973"})
    subject = client.get("/subject").text
    assert subject.startswith("visitor:")
    exported = kit.export(subject)
    assert exported["facts"] == {"band": "adult", "minor_until_us": None, "jurisdiction": "DE"}
    assert exported["events"] == []
    kit.runtime.dispose()
    assert not any(b"1973" in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


def test_nothing_of_it_is_logged(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    say(client, {"day": "17", "month": "11", "year": "1973"})
    say(client, {"day": "17", "month": "11", "year": "1800"})
    assert not re.search(r"1973|1800", caplog.text)


def test_a_program_answers_too(kit: ConsentKit, client: FlaskClient) -> None:
    response: Any = client.post(PAGE, json={"year": 1987, "month": 9, "day": 3})
    assert (response.status_code, response.json) == (200, {"band": "adult"})
    assert band(kit, client) == "adult"
    other = client.application.test_client()
    child: Any = other.post(PAGE, json={key: int(value) for key, value in CHILD.items()})
    assert child.json == {"band": "minor"}


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}])
def test_other_sites_do_not_answer(client: FlaskClient, headers: dict[str, str]) -> None:
    assert client.post(PAGE, data=GROWN, headers=headers).status_code == 403
    assert client.get("/subject").text == "None"


def test_an_account_answers_for_itself(kit: ConsentKit, client: FlaskClient) -> None:
    client.post("/login", data={"user": "u-1"})
    assert client.get("/letters", headers=HTML).location == f"{PAGE}?next=/letters"
    response = say(client, GROWN)
    assert not [c for c in response.headers.getlist("Set-Cookie") if c.startswith("consent=")]
    assert kit.export("u-1")["facts"]["band"] == "adult"
    assert client.get("/letters", headers=HTML).location == "/consent?next=/letters"


def test_what_a_visitor_said_holds_for_the_account(kit: ConsentKit, client: FlaskClient) -> None:
    say(client, GROWN)
    client.post("/login", data={"user": "u-1"})
    assert kit.export("u-1")["facts"]["band"] == "adult"
    child = client.application.test_client()
    say(child, CHILD)
    child.post("/login", data={"user": "u-2"})
    assert kit.export("u-2")["facts"]["band"] == "minor"
    assert say(child, GROWN).status_code == 403
    child.post("/login", data={"user": "u-1"})  # somebody else, whose age is known
    assert kit.export("u-1")["facts"]["band"] == "adult"


def test_what_was_said_in_another_session_does_not(kit: ConsentKit, client: FlaskClient) -> None:
    say(client, GROWN)
    client.delete_cookie("consent_age")
    client.post("/login", data={"user": "u-1"})
    assert kit.export("u-1")["facts"]["band"] == "unknown"
    assert say(client, CHILD).status_code == 303
    assert kit.export("u-1")["facts"]["band"] == "minor"


def test_an_age_that_is_known_is_not_asked(kit: ConsentKit, client: FlaskClient) -> None:
    kit.age_loader(lambda subject: Age(years=40) if subject == "u-1" else None)
    kit.learn("u-2", age=Age(years=10))
    for user, code in (("u-1", 303), ("u-2", 403)):
        client.post("/login", data={"user": user})
        assert client.get(f"{PAGE}?next=/letters", headers=HTML).status_code == 303
        assert say(client, GROWN).status_code == 403
        assert client.get("/letters", headers=HTML).status_code == code
    assert kit.export("u-1")["facts"]["band"] == "unknown"  # the loader's word is not written down


def test_a_yes_on_the_banner_leads_there(client: FlaskClient) -> None:
    shown = {"decision": "save", "category": "analytics", "next": "/plain"}
    led = client.post("/consent", data=shown, headers=OWN)
    assert (led.status_code, led.location) == (303, f"{PAGE}?next=/plain")
    same = {"Sec-Fetch-Site": "same-origin"}
    problem: Any = client.post("/consent", json={"decision": "accept-all"}, headers=same)
    assert (problem.status_code, problem.json["type"]) == (422, "urn:consentkit:problem:age-needed")
    assert problem.headers["Location"].startswith(PAGE)
    no: Any = client.post("/consent", json={"decision": "reject-all"}, headers=same)
    assert no.status_code == 200


SAID = {"decision": "save", "category": "analytics"}


def cookies(client: FlaskClient) -> dict[str, str]:
    return {cookie.key: cookie.value for cookie in client._cookies.values()}  # type: ignore[union-attr]


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_the_no_beside_it_is_recorded(client: FlaskClient, kit: ConsentKit, accept: str) -> None:
    """Whose age is not known may say yes to nothing but what minors may, and no to everything."""
    answer = client.post("/consent", data=SAID, headers={**OWN, "Accept": accept})
    assert answer.status_code == (303 if accept == "text/html" else 422)
    said = [(e.item, e.action) for e in kit.ledger.of_subject(client.get("/subject").text)]
    assert ("ads", "refused") in said
    assert ("statistics", "given") not in said
    assert "consent_hint" in cookies(client)


@pytest.mark.parametrize("children", ["guardian", "not_allowed"])
def test_a_child_that_takes_back_one_thing_and_ticks_another(
    app_of: Callable[..., Flask], children: str
) -> None:
    kit = kit_of(MinorRules(age=13, children=children))
    app = app_of(kit)
    client = app.test_client()
    client.post("/login", data={"user": "kid"})
    with app.app_context():
        kit.give("kid", ["ads"])
    kit.age_loader(lambda subject: Age(years=10))
    client.set_cookie("_ads", "1")
    answer: Any = client.post("/consent", data=SAID, headers={"Sec-Fetch-Site": "same-origin"})
    assert (answer.status_code, answer.json["type"]) == (422, "urn:consentkit:problem:choice-rejected")
    with app.app_context():
        said = [(e.item, e.action) for e in kit.ledger.of_subject("kid")]
    assert said[-1 if children == "guardian" else 0][1] != "given"
    assert {action for item, action in said if item == "ads"} & {"withdrawn", "refused"}
    assert ("statistics", "given") not in said
    assert any(line.startswith("_ads=;") for line in answer.headers.getlist("Set-Cookie"))


def test_the_banner_asks_until_there_is_an_answer(client: FlaskClient) -> None:
    def decided() -> bool:
        return bool(client.get("/consent/status").json["decided"])  # type: ignore[index]

    assert not decided()
    say(client, GROWN)
    assert not decided()
    no = client.post("/consent", json={"decision": "reject-all"}, headers={"Sec-Fetch-Site": "same-origin"})
    assert no.status_code == 200
    assert decided()


def test_a_child_sees_a_page_instead_of_a_problem(client: FlaskClient) -> None:
    say(client, CHILD)
    refused = client.post("/consent", data={"decision": "accept-all"}, headers=OWN)
    assert refused.status_code == 422
    assert refused.mimetype == "text/html"
    assert "A parent or guardian has to agree" in refused.text


def test_the_ledger_fails(kit: ConsentKit, client: FlaskClient, tmp_path: Path) -> None:
    kit.runtime.dispose()
    for file in (tmp_path / "instance").glob("consentkit.sqlite3*"):
        file.write_bytes(b"no database")
    assert client.get(PAGE, headers={**HTML, "Cookie": ""}).status_code in (200, 503)
    assert say(client, GROWN).status_code == 503


def test_a_purpose_at_the_point_of_collection(app_of: Callable[..., Flask]) -> None:
    kit = kit_of()
    app = app_of(kit)
    digest = kit.purpose_notice("newsletter").digest
    form = {"ask": "newsletter", "decision": "save", "purpose": "newsletter", "notice": digest}
    led = app.test_client().post("/consent", data={**form, "next": "/plain"}, headers=OWN)
    assert (led.status_code, led.location) == (303, f"{PAGE}?next=/plain")


def test_without_a_secret_key(tmp_path: Path) -> None:
    """Nothing is signed with an empty key."""
    app = make_app(kit_of(), tmp_path)
    app.config["SECRET_KEY"] = None
    app.testing = False
    assert app.test_client().get(PAGE, headers=HTML).status_code == 500
