"""Which cookies are expired, in which forms, and which stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from consentkit import Cookie, Purpose
from tests.web.conftest import make_kit

SAME = {"Sec-Fetch-Site": "same-origin"}
BASE = "http://www.shop.example"
PURPOSES = (
    Purpose("statistics", title="Statistics", category="analytics", cookies=[Cookie("_tally*")]),
    Purpose("tests", title="A/B", category="analytics", cookies=[Cookie("_both"), Cookie("__Secure-ab")]),
    Purpose(
        "ads",
        title="Ads",
        category="marketing",
        cookies=[Cookie("_both"), Cookie("_ads", path="/shop"), Cookie("_wide", domain="cdn.example")],
    ),
    Purpose("letter", title="Letter", cookies=[Cookie("_letter")]),
    Purpose("basket", title="Basket", basis="contract", category="necessary", cookies=[Cookie("basket")]),
    Purpose("odd", title="Odd", category="preferences", cookies=[Cookie("*_look"), Cookie("session")]),
    Purpose("named", title="Named", category="preferences", cookies=[Cookie("pref[a]"), Cookie("café")]),
)
MakeApp = Callable[..., Flask]


@pytest.fixture
def client(app_of: MakeApp) -> FlaskClient:
    app = app_of(make_kit(purposes=PURPOSES, policies=(), bundles=()))
    for view in ("letters", "both", "account", "under_terms"):
        app.view_functions.pop(view)
    return app.test_client()


def send(client: FlaskClient, *names: str, **cookies: str) -> None:
    for name in (*names, *cookies):
        client.set_cookie(name, "1", domain="www.shop.example")


def say(client: FlaskClient, **data: Any) -> Any:
    return client.post("/consent", data=data, base_url=BASE, headers=SAME)


def gone(response: Any) -> dict[str, set[str]]:
    """By name the forms that are expired: `domain path`."""
    found: dict[str, set[str]] = {}
    for line in response.headers.getlist("Set-Cookie"):
        if "Max-Age=0" in line:
            parts = dict(part.strip().partition("=")[::2] for part in line.split(";")[1:])
            form = f"{parts.get('Domain', '')} {parts['Path']}".strip()
            found.setdefault(line.partition("=")[0], set()).add(form)
    return found


ROOT = {"/", "www.shop.example /", "shop.example /"}


def test_every_form_of_what_was_sent(client: FlaskClient) -> None:
    send(client, "_tally1", "_both", "_wide", "other", "basket")
    found = gone(say(client, decision="reject-all"))
    assert found.pop("_ads") == ROOT | {form.removesuffix("/") + "/shop" for form in ROOT}
    assert found == {"_tally1": ROOT, "_both": ROOT, "_wide": ROOT | {"cdn.example /"}}


def test_what_another_purpose_allows_stays(client: FlaskClient) -> None:
    send(client, "_tally1", "_both", "_letter")
    found = gone(say(client, decision="save", category="marketing"))
    assert found.keys() == {"_tally1", "_letter"}


def test_session_and_what_does_not_rest_on_consent_stay(client: FlaskClient) -> None:
    send(client, "basket", "session", "consent_hint", "my_look")
    assert gone(say(client, decision="reject-all")).keys() == {"my_look", "_ads"}


@pytest.mark.parametrize(
    "no",
    [
        {"decision": "withdraw-all"},
        {"decision": "save"},
        {"decision": "save", "ask": "letter"},
    ],
)
def test_every_way_of_saying_no(client: FlaskClient, no: dict[str, str]) -> None:
    say(client, decision="save", purpose="letter")
    send(client, "_letter")
    assert "_letter" in gone(say(client, **no))


def test_the_prefix_of_a_name_needs_a_secure_header(client: FlaskClient) -> None:
    send(client, "__Secure-ab", "_tally1")
    lines = say(client, decision="reject-all").headers.getlist("Set-Cookie")
    assert {"; Secure" in line for line in lines if line.startswith("__Secure-ab")} == {True}
    assert {"; Secure" in line for line in lines if line.startswith("_tally1")} == {False}


@pytest.mark.parametrize("host", ["localhost:5000", "127.0.0.1", "[::1]:5000"])
def test_hosts_without_a_domain(client: FlaskClient, host: str) -> None:
    headers = {**SAME, "Cookie": "_tally1=1"}
    plain = client.application.test_client(use_cookies=False)
    answer = plain.post(
        "/consent", data={"decision": "reject-all"}, base_url=f"http://{host}", headers=headers
    )
    assert gone(answer)["_tally1"] == {"/"}


class Jar:
    """A browser's cookies, each kept by domain and path; what is in `lasting` it does not delete."""

    def __init__(self, names: list[str], lasting: tuple[str, ...] = ()) -> None:
        self.kept = {(name, "shop.example /") for name in (*names, *lasting)}
        self.lasting = lasting

    @property
    def header(self) -> str:
        return "; ".join(f"{name}=1" for name, _ in sorted(self.kept))

    def take(self, answer: Any) -> None:
        lines = [line for line in answer.headers.getlist("Set-Cookie") if "Max-Age=0" in line]
        assert sum(len(line) + 14 for line in lines) <= 3000
        found = gone(answer)
        self.kept -= {
            (name, form) for name, forms in found.items() for form in forms if name not in self.lasting
        }


@pytest.mark.parametrize(
    "jar",
    [
        Jar([f"_tally{n:02}" for n in range(60)]),
        Jar([f"_tally{n}".ljust(100, "x") for n in range(25)]),
        Jar([f"_tally_z{n}" for n in range(5)], tuple(f"_tally_a{n:02}" for n in range(30))),
        Jar(["_tally".ljust(1100, "x"), "_tally1"]),
    ],
)
def test_a_head_that_proxies_take_and_the_rest_with_the_next_pages(client: FlaskClient, jar: Jar) -> None:
    browser = client.application.test_client(use_cookies=False)
    form = {"data": {"decision": "reject-all"}, "base_url": BASE}
    jar.take(browser.post("/consent", headers={**SAME, "Cookie": jar.header}, **form))
    for _ in range(80):
        jar.take(browser.get("/consent/status", base_url=BASE, headers={"Cookie": jar.header}))
    assert {name for name, _ in jar.kept} == set(jar.lasting)


@pytest.mark.parametrize(
    "name", ["pref[a]", "café", "_tally a", '_tally"q"', "_tally,b", "_tally€", "_tally\xff", "_tally(x)/@"]
)
def test_odd_names_byte_for_byte(client: FlaskClient, name: str) -> None:
    sent = name.encode("latin-1" if "\xff" in name else "utf-8").decode("latin-1")
    browser = client.application.test_client(use_cookies=False)
    form = {"data": {"decision": "reject-all"}, "base_url": BASE}
    headers = {**SAME, "Cookie": f"basket=1;\t{sent}=1=2; other; =x; _tally\x01=1"}
    answer = browser.post("/consent", headers=headers, **form)
    assert gone(answer).keys() == {sent, "_ads"}


def test_a_bracket_is_a_bracket() -> None:
    assert Cookie("pref[a]").matches("pref[a]")
    assert not Cookie("pref[a]").matches("prefa")
    assert Cookie("[*]?").matches("[x]y")


def test_a_host_with_its_root_dot_has_domains_with_it(client: FlaskClient) -> None:
    browser = client.application.test_client(use_cookies=False)
    form = {"data": {"decision": "reject-all"}, "base_url": "http://www.shop.example."}
    answer = browser.post("/consent", headers={**SAME, "Cookie": "_tally1=1"}, **form)
    assert gone(answer)["_tally1"] == {"/", "shop.example. /", "www.shop.example. /"}


def test_what_has_ended_otherwise_goes_when_the_visitor_looks(client: FlaskClient, app_of: MakeApp) -> None:
    """Revoked by the operator, expired, outdated, never asked: the gate's no is enough."""
    client.post("/login", data={"user": "u-1"}, base_url=BASE, headers=SAME)
    kit = client.application.extensions["consentkit"].kit
    say(client, decision="accept-all")
    send(client, "_tally1")
    assert gone(client.get("/consent/status", base_url=BASE)) == {}
    with client.application.app_context():
        kit.withdraw("u-1", "analytics", actor="operator")
    assert gone(client.get("/consent/status", base_url=BASE)) == {"_tally1": ROOT}
    stranger = client.application.test_client()
    send(stranger, "_tally1")
    assert gone(stranger.get("/consent", base_url=BASE))["_tally1"] == ROOT
    assert gone(stranger.get("/plain", base_url=BASE)) == {}


def test_a_restriction_deletes_nothing_that_rests_on_a_contract(client: FlaskClient) -> None:
    client.post("/login", data={"user": "u-1"}, base_url=BASE, headers=SAME)
    kit = client.application.extensions["consentkit"].kit
    with client.application.app_context():
        kit.restrict("u-1")
    send(client, "basket", "_tally1")
    assert "basket" not in gone(client.get("/consent/status", base_url=BASE))
