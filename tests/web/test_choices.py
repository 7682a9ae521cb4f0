"""POST /consent: what each decision records, cookies, stale notices, cross-site requests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO

import pytest
from flask import Flask
from flask.testing import FlaskClient
from itsdangerous import TimestampSigner

from consentkit import ConsentKit, Event, MinorRules, Purpose
from tests.web.conftest import PURPOSES, make_kit

SAME = {"Sec-Fetch-Site": "same-origin"}
HTML = {"Accept": "text/html", **SAME}
CHUNKED = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}


def events(app: Flask, kit: ConsentKit, client: FlaskClient) -> list[Event]:
    with app.app_context():
        subject = "visitor:" + client.get_cookie("consent").value.split(".")[0]
        return [e for e in kit.ledger.events(subject=subject) if isinstance(e, Event)]


def said(app: Flask, kit: ConsentKit, client: FlaskClient) -> list[tuple[str, str]]:
    return [(event.item, event.action) for event in events(app, kit, client)]


def test_accept_all_never_grants_what_stands_apart(app: Flask, kit: ConsentKit) -> None:
    client = app.test_client()
    body = {"decision": "accept-all", "notice": kit.notice("en").digest}
    answer = client.post("/consent", json=body)
    assert (answer.json["decided"], answer.json["granted"]) == (True, ["analytics", "marketing"])
    assert said(app, kit, client) == [("statistics", "given"), ("ads", "given")]
    first = events(app, kit, client)[0]
    assert (first.version, first.method, first.locale, first.notice) == (
        "1",
        "button",
        "en",
        kit.notice("en").digest,
    )


def test_reject_all_refuses_everything_that_is_asked(app: Flask, kit: ConsentKit) -> None:
    client = app.test_client()
    answer = client.post("/consent", json={"decision": "reject-all"})
    assert (answer.json["decided"], answer.json["granted"]) == (True, [])
    refused = {item for item, action in said(app, kit, client) if action == "refused"}
    assert refused == {"statistics", "ads", "transfer", "newsletter", "letters_by_terms"}


def test_save_takes_ticks_and_withdraws_what_was_given(app: Flask, kit: ConsentKit) -> None:
    client = app.test_client()
    client.post("/consent", data={"decision": "save", "category": ["analytics"], "purpose": ["transfer"]})
    recorded = dict(said(app, kit, client))
    assert (recorded["statistics"], recorded["transfer"], recorded["ads"]) == ("given", "given", "refused")
    client.post("/consent", data={"decision": "save"}, headers=SAME)
    recorded = dict(said(app, kit, client))
    assert (recorded["statistics"], recorded["transfer"], recorded["ads"]) == (
        "withdrawn",
        "withdrawn",
        "refused",
    )


def test_withdraw_all_takes_back_what_was_given(app: Flask, kit: ConsentKit) -> None:
    client = app.test_client()
    client.post("/consent", json={"decision": "accept-all"})
    answer = client.post("/consent", json={"decision": "withdraw-all"}, headers=SAME)
    assert (answer.json["granted"], answer.json["changed"]) == ([], ["analytics", "marketing"])
    assert said(app, kit, client)[2:] == [("statistics", "withdrawn"), ("ads", "withdrawn")]


def test_an_old_cookie_does_not_bring_consent_back(app: Flask) -> None:
    client = app.test_client()
    client.post("/consent", json={"decision": "accept-all"})
    old = {name: client.get_cookie(name).value for name in ("consent", "consent_hint")}
    client.post("/consent", json={"decision": "withdraw-all"}, headers=SAME)
    for name, value in old.items():
        client.set_cookie(name, value)
    assert client.get("/jinja").text == "no"
    assert client.get("/consent/status").json["granted"] == []


def test_withdrawal_expires_cookies_host_only_and_by_domain(app: Flask) -> None:
    client = app.test_client()
    client.post("/consent", json={"decision": "accept-all"}, base_url="http://www.shop.example")
    client.set_cookie("_tally_x", "1", domain="www.shop.example")
    client.set_cookie("other", "1", domain="www.shop.example")
    base = "http://www.shop.example"
    answer = client.post("/consent", json={"decision": "reject-all"}, base_url=base, headers=SAME)
    gone = [line for line in answer.headers.getlist("Set-Cookie") if "Max-Age=0" in line]
    assert {line.split("=")[0] for line in gone} == {"_tally_x"}
    domains = {part.strip() for line in gone for part in line.split(";") if "Domain" in part}
    assert domains == {"Domain=www.shop.example", "Domain=shop.example"}
    assert len(gone) == 3


@pytest.mark.parametrize("notice", ["0" * 64, "nonsense"])
def test_a_stale_grant_is_409_and_records_nothing(app: Flask, kit: ConsentKit, notice: str) -> None:
    client = app.test_client()
    answer = client.post("/consent", data={"decision": "accept-all", "notice": notice})
    assert (answer.status_code, answer.json["notice"]) == (409, kit.notice("en").digest)
    assert client.get_cookie("consent") is None, "nobody is known of whom nothing is recorded"
    page = client.post("/consent", data={"decision": "accept-all", "notice": notice}, headers=HTML)
    assert (page.status_code, kit.notice("en").digest in page.text) == (409, True)


def test_a_stale_refusal_is_recorded(app: Flask, kit: ConsentKit) -> None:
    client = app.test_client()
    answer = client.post("/consent", data={"decision": "reject-all", "notice": "0" * 64})
    assert answer.status_code == 200
    assert ("statistics", "refused") in said(app, kit, client)


@pytest.mark.parametrize("notice", ["nonsense", 5, ["x"], {"a": 1}, "é" * 64])
def test_a_no_counts_whatever_came_with_it(app: Flask, kit: ConsentKit, notice: object) -> None:
    client = app.test_client()
    assert client.post("/consent", json={"decision": "accept-all", "notice": notice}).status_code == 409
    client = app.test_client()
    assert client.post("/consent", json={"decision": "reject-all", "notice": notice}).status_code == 200
    refused = events(app, kit, client)
    assert {(event.action, event.notice) for event in refused} == {("refused", None)}


def test_in_a_stale_save_only_the_denials_count(app: Flask, kit: ConsentKit) -> None:
    client = app.test_client()
    client.post("/consent", data={"decision": "save", "category": ["analytics"]})
    form = {"decision": "save", "category": ["marketing"], "notice": "0" * 64}
    assert client.post("/consent", data=form, headers=SAME).status_code == 409
    recorded = dict(said(app, kit, client))
    assert (recorded["statistics"], recorded["ads"]) == ("withdrawn", "refused")


def test_the_notice_of_any_language_of_the_site_is_good(app: Flask, kit: ConsentKit) -> None:
    client = app.test_client()
    form = {"decision": "accept-all", "notice": kit.notice("de").digest, "locale": "de"}
    client.post("/consent", data=form)
    assert {(e.locale, e.notice) for e in events(app, kit, client)} == {("de", kit.notice("de").digest)}


def test_a_material_change_asks_for_its_category_again(app_of: Callable[..., Flask]) -> None:
    old = app_of().test_client()
    old.post("/consent", json={"decision": "accept-all"})
    changed = [replace(p, version=2, recipients=()) if p.key == "statistics" else p for p in PURPOSES]
    new = app_of(make_kit(purposes=changed)).test_client()
    new.set_cookie("consent", old.get_cookie("consent").value)
    now = new.get("/consent/status").json
    assert (now["decided"], now["granted"]) == (False, ["marketing"])
    assert now["revision"] != old.get("/consent/status").json["revision"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"decision": "maybe"},
        {"decision": "save", "category": {"a": 1}},
        {"decision": "save", "category": [1]},
        {"decision": ["save"]},
        [],
        "x",
    ],
)
def test_bad_input_is_422_and_records_nothing(app: Flask, body: object) -> None:
    client = app.test_client()
    answer = client.post("/consent", json=body)
    assert (answer.status_code, answer.content_type) == (422, "application/problem+json")
    assert answer.headers.getlist("Set-Cookie") == []


@pytest.mark.parametrize(
    ("headers", "cookie", "allowed"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, True, True),
        ({"Sec-Fetch-Site": "none"}, True, True),
        ({"Sec-Fetch-Site": "same-site"}, True, False),
        ({"Sec-Fetch-Site": "cross-site"}, False, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"}, False, False),
        ({"Origin": "http://localhost"}, True, True),
        ({"Origin": "http://localhost:81"}, True, False),
        ({"Origin": "http://elsewhere.example"}, False, False),
        ({"Origin": "null"}, False, False),
        ({"Origin": "http://["}, False, False),
        ({}, False, True),
        ({}, True, False),
    ],
)
def test_cross_site_posts_are_refused(
    app: Flask, headers: dict[str, str], cookie: bool, allowed: bool
) -> None:
    for path, form in (
        ("/consent", {"decision": "reject-all"}),
        ("/consent/accept/terms", {"decision": "decline"}),
    ):
        client = app.test_client()
        if cookie:
            client.set_cookie("anything", "1")
        assert client.post(path, data=form, headers=headers).status_code == (200 if allowed else 403)


@pytest.mark.parametrize(
    ("target", "goes"),
    [
        ("/letters", "/letters"),
        ("/a?b=c", "/a?b=c"),
        ("/a?b=//c#//d", "/a?b=//c#//d"),
        ("//evil.example", "/"),
        ("/a//evil.example", "/"),
        ("/..//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("/a\r\nX: y", "/"),
        ("", "/"),
    ],
)
def test_next_stays_on_this_site(app: Flask, target: str, goes: str) -> None:
    answer = app.test_client().post("/consent", data={"decision": "reject-all", "next": target}, headers=HTML)
    assert (answer.status_code, answer.location) == (303, goes)


def test_next_can_be_sent(app: Flask) -> None:
    body = {"decision": "reject-all", "next": "/\ud800"}
    answer = app.test_client().post("/consent", json=body, headers=HTML)
    assert (answer.status_code, answer.location) == (303, "/")


def test_without_next_one_comes_back_to_the_page_of_the_banner(app: Flask) -> None:
    headers = {**HTML, "Referer": "http://localhost/plain?x=1"}
    answer = app.test_client().post("/consent", data={"decision": "reject-all"}, headers=headers)
    assert answer.location == "/plain?x=1"


def signed(key: str, value: str, salt: str = "consentkit.visitor.v1") -> str:
    return TimestampSigner(key, salt=salt).sign(value).decode()


@pytest.mark.parametrize(
    "cookie",
    [
        *("", "x", "a.b.c", "…", "\x00", "." * 50, "é.b.c"),
        pytest.param(signed("another key", "abc"), id="another key"),
        pytest.param(signed("a key for tests", "abc", salt="another"), id="another salt"),
        pytest.param(signed("a key for tests", "abc")[:-2], id="cut"),
        pytest.param("Zm9v" + signed("a key for tests", "abc"), id="another value"),
    ],
)
def test_a_cookie_that_is_not_ours_is_nobody(app: Flask, cookie: str) -> None:
    client = app.test_client()
    header = f"consent={cookie}".encode("utf-8", "surrogateescape").decode("latin-1")
    answer = client.get("/subject", headers={"Cookie": header})
    assert (answer.status_code, answer.text) == (200, "None")
    assert client.get("/letters", headers={"Cookie": header}).json["reason"] == "NO_ANSWER"


def test_the_cookies_of_the_other_scheme_are_not_read(app: Flask) -> None:
    client = app.test_client()
    answer = client.post("/consent", json={"decision": "accept-all"}, base_url="https://localhost")
    visitor = next(
        line for line in answer.headers.getlist("Set-Cookie") if line.startswith("__Host-consent=")
    )
    assert all(
        part in visitor for part in ("Secure", "HttpOnly", "Path=/", "SameSite=Lax", "Max-Age=15552000")
    )
    assert "Domain" not in visitor
    value = visitor.split("=", 1)[1].split(";")[0]
    https, http = {"base_url": "https://localhost"}, {}
    for name, options, known in (
        ("__Host-consent", https, True),
        ("consent", https, False),
        ("consent", http, True),
        ("__Host-consent", http, False),
    ):
        client = app.test_client(use_cookies=False)
        text = client.get("/subject", headers={"Cookie": f"{name}={value}"}, **options).text
        assert (text != "None") is known, (name, options)


def test_a_cookie_domain_switches_the_prefix(app_of: Callable[..., Flask]) -> None:
    client = app_of(CONSENTKIT_COOKIE_DOMAIN="shop.example").test_client()
    answer = client.post("/consent", json={"decision": "reject-all"}, base_url="https://www.shop.example")
    lines = answer.headers.getlist("Set-Cookie")
    assert any(line.startswith("__Secure-consent=") and "Domain=shop.example" in line for line in lines)


def test_a_rotated_secret_key_keeps_visitors(app_of: Callable[..., Flask]) -> None:
    old = app_of().test_client()
    old.post("/consent", json={"decision": "accept-all"})
    app = app_of(SECRET_KEY_FALLBACKS=["a key for tests"])
    app.config["SECRET_KEY"] = "a new key"
    new = app.test_client()
    new.set_cookie("consent", old.get_cookie("consent").value)
    assert new.get("/jinja").text == "yes"


def test_both_cookies_are_small(app: Flask) -> None:
    client = app.test_client()
    client.post("/consent", json={"decision": "accept-all"})
    assert sum(len(n) + len(client.get_cookie(n).value) for n in ("consent", "consent_hint")) <= 250


def test_signed_in_the_account_answers_and_the_visitors_denials_count(app: Flask, kit: ConsentKit) -> None:
    client = app.test_client()
    client.post("/consent", json={"decision": "accept-all"})
    client.post("/login", data={"user": "u-1"}, headers=SAME)
    assert client.get("/subject").text == "u-1"
    assert client.get("/jinja").text == "no"
    with app.app_context():
        kit.give("u-1", "analytics")
    assert client.get("/jinja").text == "yes"
    other = app.test_client()
    other.post("/consent", json={"decision": "reject-all"})
    other.post("/login", data={"user": "u-1"}, headers=SAME)
    assert other.get("/jinja").text == "no"
    other.post("/consent", json={"decision": "accept-all"}, headers=SAME)
    assert other.get("/jinja").text == "yes"


def test_gpc_opts_out_where_the_purpose_says_so_until_a_grant(app: Flask) -> None:
    for value, counts in (
        ("1", True),
        ("0, 1", True),
        ("0", False),
        ("true", False),
        ("11", False),
        ("", False),
    ):
        assert app.test_client().get("/consent/status", headers={"Sec-GPC": value}).json["gpc"] is counts
    client = app.test_client()
    client.post("/consent", json={"decision": "accept-all"}, headers={"Sec-GPC": "1"})
    granted = client.get("/consent/status", headers={"Sec-GPC": "1"}).json["granted"]
    assert granted == ["analytics", "marketing"]
    client.post("/consent", json={"decision": "reject-all"}, headers=SAME)
    assert client.get("/consent/status", headers={"Sec-GPC": "1"}).json["granted"] == []


def test_the_memo_is_dropped_by_every_verb(app: Flask, kit: ConsentKit) -> None:
    @app.get("/twice")
    def twice() -> str:
        from consentkit import current_consents

        kit.give("u-9", "newsletter")
        before = current_consents.allows("newsletter")
        kit.withdraw("u-9", "newsletter")
        return f"{before} {current_consents.allows('newsletter')}"

    client = app.test_client()
    client.post("/login", data={"user": "u-9"})
    assert client.get("/twice").text == "True False"


def test_one_open_app_context_does_not_mix_visitors(app: Flask) -> None:
    with app.app_context():
        first, second = app.test_client(), app.test_client()
        first.post("/consent", json={"decision": "accept-all"})
        assert first.get("/jinja").text == "yes"
        assert second.get("/jinja").text == "no"


def test_a_subject_loader_may_not_use_our_ids(app: Flask, kit: ConsentKit) -> None:
    client = app.test_client()
    with pytest.raises(Exception, match="begin with 'visitor:' are ours"):
        client.post("/login", data={"user": "visitor:abc"})


def test_purposes_without_a_category_are_not_part_of_the_banner(app_of: Callable[..., Flask]) -> None:
    app = app_of(make_kit(purposes=[p for p in PURPOSES if p.category in (None, "necessary")]))
    assert app.test_client().get("/consent/status").json["decided"] is True


def test_a_tick_beside_accept_all_grants_nothing_and_takes_nothing_back(app: Flask, kit: ConsentKit) -> None:
    client = app.test_client()
    ticked = {"decision": "accept-all", "purpose": ["transfer", "newsletter"], "category": ["analytics"]}
    client.post("/consent", data=ticked)
    assert dict(said(app, kit, client)) == {"statistics": "given", "ads": "given"}
    client.post("/consent", data={"decision": "save", "purpose": ["transfer"]}, headers=SAME)
    answer = client.post("/consent", data={"decision": "accept-all"}, headers=SAME)
    assert answer.json["granted"] == ["analytics", "marketing", "transfer"]


REMOVED = (
    {"category": "gone"},
    {"purpose": ["gone"]},
    {"category": ["marketing", "gone"], "purpose": "gone"},
)


@pytest.mark.parametrize("removed", [*REMOVED, {"category": None}, {"category": {"a": 1}, "purpose": 5}])
@pytest.mark.parametrize("decision", ["reject-all", "withdraw-all"])
def test_what_is_ticked_beside_a_no_to_everything_does_not_matter(
    app: Flask, kit: ConsentKit, decision: str, removed: dict[str, object]
) -> None:
    client = app.test_client()
    client.post("/consent", json={"decision": "accept-all"})
    answer = client.post("/consent", json={"decision": decision, **removed}, headers=SAME)
    assert (answer.status_code, answer.json["granted"]) == (200, [])
    assert {("statistics", "withdrawn"), ("ads", "withdrawn")} <= set(said(app, kit, client))


@pytest.mark.parametrize("removed", REMOVED)
def test_a_cached_page_with_a_removed_key_still_says_no(
    app: Flask, kit: ConsentKit, removed: dict[str, object]
) -> None:
    client = app.test_client()
    client.post("/consent", json={"decision": "save", "category": "analytics"})
    answer = client.post("/consent", json={"decision": "save", **removed}, headers=SAME)
    assert (answer.status_code, answer.json["notice"]) == (409, kit.notice("en").digest)
    assert "there is no " in answer.json["detail"]
    now = dict(said(app, kit, client))
    assert (now["statistics"], now["transfer"]) == ("withdrawn", "refused")
    assert "given" not in now.values()
    assert "analytics" not in client.get_cookie("consent_hint").value
    all_of_it = client.post("/consent", json={"decision": "accept-all", **removed}, headers=SAME)
    assert (all_of_it.status_code, client.get("/jinja").text) == (409, "no")


def test_who_names_no_notice_was_shown_none(app: Flask, kit: ConsentKit) -> None:
    client = app.test_client()
    client.post("/consent", json={"decision": "save", "category": "analytics"})
    asked = {"decision": "save", "ask": "newsletter"}
    assert client.post("/consent", json=asked, headers=SAME).status_code == 200
    assert {event.notice for event in events(app, kit, client)} == {None}


@pytest.mark.parametrize("path", ["/consent", "/consent/link", "/consent/age", "/consent/accept/terms"])
@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded"])
def test_a_form_has_an_end(app_of: Callable[..., Flask], path: str, kind: str) -> None:
    app = app_of(make_kit(minors=MinorRules(unknown_age="ask")))
    huge = b'{"decision": "reject-all", "x": "' + b"a" * 70_000 + b'"}'
    body = huge if "json" in kind else b"decision=reject-all&x=" + b"a" * 70_000
    for more in ({"data": body}, {"input_stream": BytesIO(body), "environ_overrides": CHUNKED}):
        answer = app.test_client().post(path, content_type=kind, headers=SAME, **more)  # type: ignore[arg-type]
        assert (answer.status_code, answer.content_type) == (413, "application/problem+json")


@pytest.mark.parametrize("path", ["/consent", "/consent/link", "/consent/age"])
def test_what_no_form_is_as_deep_as_is_no_error_of_ours(app_of: Callable[..., Flask], path: str) -> None:
    client = app_of(make_kit(minors=MinorRules(unknown_age="ask"))).test_client()
    deep = b'{"decision": "reject-all", "x": ' + b"[" * 30_000 + b"]" * 30_000 + b"}"
    answer = client.post(path, data=deep, content_type="application/json", headers=SAME)
    assert answer.status_code == (200 if path == "/consent/link" else 422)


def test_a_referer_that_is_no_address_costs_no_answer(app: Flask, kit: ConsentKit) -> None:
    client = app.test_client()
    headers = {**HTML, "Referer": "http://[x"}
    answer = client.post("/consent", data={"decision": "reject-all"}, headers=headers)
    assert (answer.status_code, answer.location) == (303, "/")
    assert ("ads", "refused") in said(app, kit, client)


def test_putting_the_question_off_is_no_answer_and_makes_nobody_known(app: Flask, kit: ConsentKit) -> None:
    stranger = app.test_client()
    answer = stranger.post("/consent", json={"decision": "defer"})
    assert (answer.status_code, answer.json["decided"], answer.headers.getlist("Set-Cookie")) == (
        200,
        False,
        [],
    )
    client = app.test_client()
    client.post("/consent", json={"decision": "accept-all"})
    client.post("/consent", json={"decision": "defer"}, headers=SAME)
    assert said(app, kit, client)[2:] == [("statistics", "deferred"), ("ads", "deferred")]
    assert client.get("/consent/status").json["granted"] == ["analytics", "marketing"]


def test_a_category_never_stands_for_the_purpose_of_the_same_name(app_of: Callable[..., Flask]) -> None:
    purposes = [
        Purpose("counting", title="Counting", category="analytics"),
        Purpose("analytics", title="Deep analytics", category="analytics", separate=True),
    ]
    purposes += [p for p in PURPOSES if p.category is None]
    client = app_of(make_kit(purposes=purposes)).test_client()
    now = client.post("/consent", json={"decision": "accept-all"}).json
    assert (now["granted"], now["denied"][0]) == (["analytics"], "purpose:analytics")
    now = client.post("/consent", data={"decision": "save", "purpose": ["analytics"]}, headers=SAME).json
    assert (now["granted"], now["denied"][0]) == (["purpose:analytics"], "analytics")


def test_static_files_with_their_version_are_kept_for_a_year(app: Flask) -> None:
    client = app.test_client()
    for query, kept in (("?v=abc", True), ("", False)):
        with client.get(f"/consent/static/consentkit.min.js{query}") as answer:
            assert ("max-age=31536000" in answer.headers["Cache-Control"]) is kept
