"""Regimes by place: silence, the notice, what is left unsaid, and that nothing of it is consent."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from flask import Flask, request
from flask.testing import FlaskClient

from consentkit import Age, Category, ConsentKit, MinorRules, Purpose, RegimeRule, Site
from consentkit.core.terms import Regime
from tests.web.api_caller import Caller
from tests.web.conftest import make_kit, without_gates

AppOf = Callable[..., Flask]
SAME = {"Sec-Fetch-Site": "same-origin"}
GPC = {"Sec-GPC": "1"}
ALL = ["preferences", "analytics", "marketing"]
LOOK = Purpose("look", title="Appearance", category="preferences")


def kit_of(**given: Any) -> ConsentKit:
    """The visitor says where they are in a header, as a content network does."""
    from tests.web.conftest import PURPOSES

    kit = make_kit(purposes=[LOOK, *PURPOSES], **given)

    @kit.jurisdiction_loader
    def where() -> str | None:
        return request.headers.get("X-Place")

    return kit


@pytest.fixture
def kit() -> ConsentKit:
    return kit_of()


def status(client: FlaskClient, place: str | None = None, **headers: str) -> dict[str, Any]:
    found = {**headers, "X-Place": place} if place else headers
    answer: dict[str, Any] = client.get("/consent/status", headers=found).json
    return answer


def choose(client: FlaskClient, place: str, decision: str, **more: Any) -> dict[str, Any]:
    headers = {**SAME, "X-Place": place, **more.pop("headers", {})}
    answer: dict[str, Any] = client.post(
        "/consent", json={"decision": decision, **more}, headers=headers
    ).json
    return answer


def said(app: Flask, client: FlaskClient) -> list[tuple[str, str]]:
    subject = client.get("/subject").text
    with app.app_context():
        return [(e.item, e.action) for e in app.extensions["consentkit"].kit.ledger.of_subject(subject)]


@pytest.mark.parametrize(
    ("place", "granted", "regime", "shown"),
    [
        (None, [], "opt_in", "banner"),
        ("DE", [], "opt_in", "banner"),
        ("ZZ", [], "opt_in", "banner"),
        ("GB", ["preferences", "analytics"], "opt_in", "banner"),
        ("US", ALL, "opt_out", "notice"),
        ("us-ca", ALL, "opt_out", "notice"),
    ],
)
def test_silence_by_place(app: Flask, place: str | None, granted: list[str], regime: str, shown: str) -> None:
    now = status(app.test_client(), place)
    assert (now["granted"], now["unasked"], now["regime"], now["shown"]) == (granted, granted, regime, shown)
    assert now["decided"] is (shown == "notice")
    assert now["id"] is None


def test_regimes_are_by_category(app: Flask) -> None:
    assert status(app.test_client(), "GB")["regimes"] == {
        "preferences": "exempt_with_notice",
        "analytics": "exempt_with_notice",
        "marketing": "opt_in",
    }
    assert set(status(app.test_client())["regimes"].values()) == {"opt_in"}


def test_gates_and_templates_go_by_the_same_place(app: Flask) -> None:
    for place, answer in (("US-CA", "yes"), ("DE", "no"), (None, "no")):
        client = app.test_client()
        assert client.get("/jinja", headers={"X-Place": place} if place else {}).text == answer


def test_the_page_is_the_same_bytes_wherever_one_is(app: Flask) -> None:
    pages = [app.test_client().get("/", headers={"X-Place": p, **GPC}) for p in ("DE", "US-CA", "GB")]
    assert len({page.data for page in pages}) == 1
    assert all("Vary" not in page.headers and "Cache-Control" not in page.headers for page in pages)
    assert b"data-ask" in pages[0].data


def test_what_was_decided_by_place_is_in_no_shared_cache(app: Flask) -> None:
    answer = app.test_client().get("/jinja", headers={"X-Place": "US"})
    assert "private" in answer.headers["Cache-Control"]
    assert {"Cookie", "Sec-GPC"} <= set(answer.vary)


def test_the_row_before_the_loader_before_the_default(app_of: AppOf) -> None:
    kit = kit_of(site=Site(default_jurisdiction="DE"))
    app = app_of(kit)
    with app.app_context():
        kit.learn("u-1", jurisdiction="US-CA")
    client = app.test_client()
    client.post("/login", data={"user": "u-1"}, headers=SAME)
    assert status(client, "DE")["regime"] == "opt_out"
    assert status(app.test_client())["regime"] == "opt_in", "a loader that does not know is not the default"
    plain = make_kit(site=Site(default_jurisdiction="US-CA"))
    assert status(app_of(plain).test_client())["granted"] == ["analytics", "marketing"]


@pytest.mark.parametrize("ask", ["minor", "ask"])
def test_silence_of_somebody_who_may_be_a_minor_is_none(app_of: AppOf, ask: str) -> None:
    now = status(app_of(kit_of(minors=MinorRules(unknown_age=ask))).test_client(), "US")
    assert (now["granted"], now["regime"], now["unasked"]) == ([], "opt_in", [])


def test_silence_of_a_minor_is_none(app: Flask, kit: ConsentKit) -> None:
    @kit.age_loader
    def age(subject: str) -> Age:
        return Age(years=15)

    client = app.test_client()
    client.post("/login", data={"user": "kid"}, headers=SAME)
    assert status(client, "US-CA")["regimes"]["marketing"] == "opt_in"
    assert status(app.test_client(), "US-CA")["regimes"]["marketing"] == "opt_out"


def test_the_operators_floor_and_row(app_of: AppOf) -> None:
    asks = kit_of(categories=[Category("marketing", title="M", regime=Regime.OPT_IN)])
    now = status(app_of(asks).test_client(), "US")
    assert (now["shown"], now["granted"]) == ("banner", ["preferences", "analytics"])
    row = RegimeRule("US", {"analytics": Regime.OPT_OUT}, "our counsel", date(2026, 1, 1))
    assert status(app_of(kit_of(regimes=[row])).test_client(), "US")["granted"] == ["analytics"]


class TestOptOut:
    """What somebody in an opt-out place does."""

    def test_no_is_a_no(self, app: Flask) -> None:
        client = app.test_client()
        now = choose(client, "US", "reject-all")
        assert (now["granted"], now["shown"], now["decided"]) == ([], "nothing", True)
        assert {action for _, action in said(app, client)} == {"refused"}
        assert status(client, "US")["granted"] == []

    def test_what_is_left_on_is_not_recorded_as_a_yes(self, app: Flask) -> None:
        client = app.test_client()
        now = choose(client, "US", "save", category=["preferences", "analytics"])
        assert (now["granted"], now["unasked"]) == (["preferences", "analytics"],) * 2
        assert sorted(said(app, client)) == [
            (key, "refused") for key in ("ads", "letters_by_terms", "newsletter", "transfer")
        ]

    def test_leaving_everything_as_it_is_makes_nobody_known(self, app_of: AppOf) -> None:
        app = without_gates(app_of(make_kit(purposes=[LOOK], site=Site(default_jurisdiction="US"))))
        client = app.test_client()
        now = choose(client, "US", "save", category=["preferences"])
        assert (now["shown"], now["unasked"]) == ("nothing", ["preferences"])
        assert client.get_cookie("consent") is None
        assert status(client)["shown"] == "nothing"

    def test_only_a_yes_holds_at_another_place(self, app: Flask, kit: ConsentKit) -> None:
        for decision, granted in (("accept-all", ALL), ("save", [])):
            client = app.test_client()
            now = choose(client, "US", decision, category=ALL)
            assert (now["granted"], now["unasked"]) == (ALL, [] if granted else ALL)
            with app.app_context():
                kit.learn(client.get("/subject").text, jurisdiction="DE")
            assert status(client, "US")["granted"] == granted

    def test_the_signal_is_a_no(self, app: Flask) -> None:
        now = status(app.test_client(), "US-CA", **GPC)
        assert (now["granted"], now["gpc"]) == (["preferences", "analytics"], True)
        client = app.test_client()
        assert choose(client, "US-CA", "accept-all", headers=GPC)["granted"] == ALL

    def test_who_leaves_the_signal_and_the_rest_unsaid(self, app: Flask) -> None:
        client = app.test_client()
        now = choose(client, "US-CA", "save", category=["preferences", "analytics"], headers=GPC)
        assert (now["granted"], now["gpc"]) == (["preferences", "analytics"], True)
        assert ("ads", "refused") in said(app, client)


class TestNotice:
    """Shown once, put away by whoever wants, and without script, too."""

    def test_putting_it_away_is_remembered_by_the_browser_alone(self, app: Flask) -> None:
        client = app.test_client()
        assert status(client, "US")["shown"] == "notice"
        assert choose(client, "US", "defer")["shown"] == "nothing"
        assert status(client, "US")["shown"] == "nothing"
        assert client.get_cookie("consent") is None
        assert status(client, "DE")["shown"] == "banner", "elsewhere everything is asked"

    def test_the_hint_is_left_alone_on_demand(self, app: Flask) -> None:
        """The answer to this request may be overtaken by one to a later no."""
        client = app.test_client()
        for query, written in (("?hint=keep", False), ("", True)):
            client.get(f"/consent/status{query}", headers={"X-Place": "US"})
            assert (client.get_cookie("consent_hint") is not None) is written

    def test_what_is_asked_anew_is_shown_anew(self, app: Flask) -> None:
        client = app.test_client()
        client.set_cookie("consent_hint", "00000000~a20000~analytics")
        assert status(client, "US")["shown"] == "notice"

    @pytest.mark.parametrize("hint", ["~", "a", "~a", "\N{PILE OF POO}", "x~y~z~~~", "~a~marketing"])
    def test_a_forged_hint_opens_nothing(self, app: Flask, hint: str) -> None:
        client = app.test_client()
        client.set_cookie("consent_hint", f"{app.extensions['consentkit'].kit.revision}{hint}")
        assert status(client, "DE")["granted"] == []
        assert client.get("/jinja", headers={"X-Place": "DE"}).text == "no"

    def test_without_script(self, app: Flask) -> None:
        def css(client: FlaskClient, place: str) -> str:
            return client.get("/consent/state.css", headers={"X-Place": place}).text

        client = app.test_client()
        assert css(client, "DE") == ""
        assert "relaxed]{display:block}" in css(client, "US")
        assert "[data-consent-dismiss]{display:block}" in css(client, "US")
        assert "[data-consent-banner]" not in css(client, "US")
        assert "[data-consent-dismiss]" not in css(client, "GB"), "something is asked there"
        form = {"decision": "defer", "next": "/"}
        away = client.post("/consent", data=form, headers={**SAME, "X-Place": "US", "Accept": "text/html"})
        assert (away.status_code, away.location) == (303, "/")
        assert "[data-consent-banner]{display:none}" in css(client, "US")
        assert "[data-consent-banner]" not in css(client, "DE")

    def test_the_preference_page_says_what_is_on(self, app: Flask) -> None:
        def page(place: str) -> str:
            return app.test_client().get("/consent", headers={"X-Place": place, "Accept": "text/html"}).text

        assert "until you say no" in page("US")
        assert 'value="analytics" aria-describedby="ckp-category-analytics-text" checked' in page("US")
        assert "Nothing optional happens until you say yes" in page("DE")
        assert " checked" not in page("DE")


class TestHint:
    def value(self, client: FlaskClient) -> str | None:
        cookie = client.get_cookie("consent_hint")
        return None if cookie is None else cookie.value.split("~", 1)[1]

    def test_no_cookie_before_an_answer_where_everything_is_asked(self, app: Flask) -> None:
        client = app.test_client()
        for headers in ({"X-Place": "DE"}, {}, {"X-Place": "DE", **GPC}):
            assert "Set-Cookie" not in client.get("/consent/status", headers=headers).headers

    def test_what_silence_allows_ends_with_the_day(self, app: Flask) -> None:
        import time

        client, today = app.test_client(), int(time.time() // 86400)
        status(client, "US")
        assert self.value(client) == f"n{today}~preferences~analytics~marketing"
        choose(client, "US", "defer")
        assert self.value(client) == f"a{today}~preferences~analytics~marketing"
        assert "Set-Cookie" not in client.get("/consent/status", headers={"X-Place": "US"}).headers
        status(client, "GB")
        assert self.value(client) == f"u{today}~preferences~analytics"
        status(client, "DE")
        assert self.value(client) == "u"
        choose(client, "US", "reject-all")
        assert self.value(client) == "d"

    def test_cookies_live_as_long_as_a_no_has_to_be_remembered(self, app: Flask, app_of: AppOf) -> None:
        def life(app: Flask) -> int:
            client = app.test_client()
            client.post("/consent", json={"decision": "reject-all"})
            return int(client.get_cookie("consent").max_age // 86400)

        assert life(app) == 372, "a sale or sharing: twelve months"
        assert life(app_of(make_kit())) == 180, "where everything is asked first"
        ages = [Purpose("ads", title="Ads", category="marketing", reask_after="P5Y")]
        kept = make_kit(purposes=ages, site=Site(default_jurisdiction="US"))
        other = without_gates(app_of(kept))
        assert life(other) == 400, "browsers keep none longer"


class TestAgain:
    """`may_ask`: after a no it is not asked again for six months, twelve for sale or sharing."""

    def test_by_purpose(self, app_of: AppOf) -> None:
        from datetime import UTC, datetime, timedelta

        ads = Purpose("ads", title="Ads", category="marketing", dpv=["SellDataToThirdParties"])
        stats = Purpose("statistics", title="S", category="analytics")
        look = Purpose("look", title="L", category="preferences", reask_after="P30D")
        kit = make_kit(purposes=[look, stats, ads])
        app = without_gates(app_of(kit))
        client = app.test_client()
        client.post("/login", data={"user": "u-1"}, headers=SAME)
        assert status(client)["may_ask"] == ALL
        with app.app_context():
            now = datetime.now(UTC)
            kit.refuse("u-1", ["look", "statistics", "ads"], at=now - timedelta(days=370))
            assert status(client)["may_ask"] == ALL
            kit.refuse("u-1", ["look", "statistics", "ads"], at=now - timedelta(days=200))
            assert status(client)["may_ask"] == ["preferences", "analytics"]
            kit.refuse("u-1", ["look", "statistics", "ads"], at=now - timedelta(days=40))
            assert status(client)["may_ask"] == ["preferences"]
            kit.refuse("u-1", ["look", "statistics", "ads"])
            assert status(client)["may_ask"] == []
            assert status(client)["decided"] is True, "and nobody is asked by itself"
            kit.give("u-1", ["look", "statistics", "ads"])
            assert status(client)["may_ask"] == []

    def test_a_signal_rests_too(self, app: Flask) -> None:
        client = app.test_client()
        client.post("/login", data={"user": "u-1"}, headers=SAME)
        assert "marketing" in status(client)["may_ask"]
        assert "marketing" not in status(client, **GPC)["may_ask"]
        assert "marketing" not in status(client)["may_ask"]


def test_the_api_names_the_row_that_decided(app: Flask, kit: ConsentKit) -> None:
    caller = Caller(app, kit)
    with app.app_context():
        kit.learn("u-1", jurisdiction="US-CA")
        kit.learn("u-2", jurisdiction="DE")
    by_silence = caller.get("/subjects/u-1/decisions/ads").json
    assert (by_silence["reason"], by_silence["rule"]) == ("NOT_REQUIRED", "US-CA")
    assert caller.get("/subjects/u-2/decisions/ads").json["rule"] is None
    batch = caller.call("POST", "/decisions", json={"subjects": ["u-1", "u-2"], "item": "statistics"}).json
    assert [decision["rule"] for decision in batch["decisions"]] == ["US-CA", None]
    listed = {c["item"]: c["rule"] for c in caller.get("/subjects/u-1/consents").json["consents"]}
    assert (listed["ads"], listed["newsletter"]) == ("US-CA", None)
    with app.app_context():
        kit.signalled("u-1")
    events = [(e["kind"], e["item"], e["actor"], e["method"]) for e in caller.events("u-1")]
    assert events == [("signal", "gpc", "browser", "browser_signal")]
    assert caller.get("/subjects/u-1/decisions/ads").json["reason"] == "OPTED_OUT_BY_SIGNAL"


@pytest.mark.parametrize(
    "said", ["us", "USA", "US-CA\n", " us-ca ", "", 5, ["US"], b"US", ZeroDivisionError("u-42")], ids=repr
)
def test_what_a_loader_says_is_checked(
    app: Flask, kit: ConsentKit, said: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def where() -> Any:
        if isinstance(said, Exception):
            raise said
        return said

    kit.jurisdiction_loader(where)
    client = app.test_client()
    known = isinstance(said, str) and said.strip().upper() in ("US", "US-CA")
    assert bool(client.get("/consent/status").json["granted"]) is known
    no = {"decision": "reject-all"}
    assert client.post("/consent", json=no, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200
    subject = client.get("/subject").text
    with app.app_context():
        assert kit.export(subject)["facts"]["jurisdiction"] == (said.strip().upper() if known else None)
    told = [r.getMessage() for r in caplog.records if getattr(r, "event", "") == "jurisdiction_unknown"]
    assert (len(told), "u-42" in "".join(told)) == (0 if known else 1, False)
