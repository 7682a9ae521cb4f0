"""`consentkit.testing`, as the test suite of a host app uses it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, abort, redirect

from consentkit import (
    Bundle,
    ConsentKit,
    MinorRules,
    Policy,
    PolicyVersion,
    Purpose,
)
from consentkit.core.errors import ChoiceRejected, UnknownPurpose
from consentkit.testing import (
    ConsentClient,
    assert_allowed,
    assert_blocked,
    frozen_clock,
    given,
    prepare,
    temporary_database,
)
from tests.web.conftest import add_views, make_kit

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
JSON, HTML = {"Accept": "application/json"}, {"Accept": "text/html"}


def make_app(kit: ConsentKit, folder: Path, **config: object) -> Flask:
    app = Flask("host", instance_path=str(folder / "instance"))
    app.config.update({"SECRET_KEY": "s", "TESTING": True, **temporary_database(folder), **config})
    app.test_client_class = ConsentClient
    kit.init_app(app)
    add_views(app)
    prepare(app)
    return app


@pytest.fixture
def host(kit: ConsentKit, tmp_path: Path) -> Flask:
    return make_app(kit, tmp_path)


@pytest.fixture
def client(host: Flask) -> ConsentClient:
    client = host.test_client()
    assert isinstance(client, ConsentClient)
    return client


# ---------------------------------------------------------------- the ledger


def test_the_ledger_is_a_file_of_the_test(host: Flask, kit: ConsentKit, tmp_path: Path) -> None:
    given(kit, "u-1", "newsletter")
    assert (tmp_path / "consentkit.sqlite3").stat().st_size > 0
    assert not (tmp_path / "instance").exists()


def test_prepare_may_be_called_again(host: Flask) -> None:
    prepare(host)


def test_a_kit_of_several_apps_is_reached_through_the_app(kit: ConsentKit, tmp_path: Path) -> None:
    apps = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        apps.append(make_app(kit, tmp_path / name))
    given(apps[0], "u-1", "newsletter")
    with frozen_clock(apps[1], NEW_YEAR):
        assert_blocked(lambda: _decide(apps[1]))
    assert_allowed(lambda: _decide(apps[0]))


def _decide(app: Flask) -> object:
    with app.app_context():
        return app.extensions["consentkit"].kit.decide("u-1", "newsletter")


# ---------------------------------------------------------------- the client


@pytest.mark.parametrize("config", [{}, {"CONSENTKIT_URL_PREFIX": "/privacy"}, {"SERVER_NAME": "shop.example"},
                                    {"PREFERRED_URL_SCHEME": "https"},
                                    {"PREFERRED_URL_SCHEME": "https", "SERVER_NAME": "a.shop.example",
                                     "CONSENTKIT_COOKIE_DOMAIN": "shop.example"}])  # fmt: skip
def test_a_visitor_chooses_and_withdraws(kit: ConsentKit, tmp_path: Path, config: dict[str, str]) -> None:
    client = make_app(kit, tmp_path, **config).test_client()
    assert isinstance(client, ConsentClient)
    assert client.visitor is None
    assert_blocked(client.get("/both", headers=JSON), "NO_ANSWER")
    client.choose("accept-all")
    assert client.visitor is not None
    assert kit.of(client.visitor).allows("analytics")
    client.choose("withdraw-all")
    assert kit.of(client.visitor).status("statistics") == "withdrawn"


def test_ticks(kit: ConsentKit, client: ConsentClient) -> None:
    answer = client.choose("save", categories=["analytics"], purposes=["newsletter"], locale="de")
    assert answer.status_code == 200
    assert client.visitor is not None
    consents = kit.of(client.visitor)
    assert [consents.status(item) for item in ("statistics", "newsletter", "ads")] == [
        "given",
        "given",
        "refused",
    ]
    (event,) = kit.ledger.events(subject=client.visitor, item="newsletter")
    assert (event.locale, event.notice) == ("de", kit.notice("de").digest)  # type: ignore[union-attr]


def test_accept_and_decline(client: ConsentClient) -> None:
    assert_blocked(client.get("/account", headers=JSON), "NO_ANSWER")
    client.accept("terms")
    assert_allowed(client.get("/account"))
    client.decline("terms")
    assert_blocked(client.get("/account", headers=JSON), "REFUSED")
    client.accept("sign_up", locale="de")
    assert_allowed(client.get("/account"))


@pytest.mark.parametrize("answer", [lambda c: c.choose("everything"), lambda c: c.choose("save", categories=["no"]),
                                    lambda c: c.accept("letter")])  # fmt: skip
def test_an_answer_that_is_refused_is_not_overlooked(
    client: ConsentClient, answer: Callable[[ConsentClient], object]
) -> None:
    with pytest.raises((AssertionError, LookupError), match=r"refused: 4(09|22)|there is no policy"):
        answer(client)


def test_the_client_goes_with_flask_logins(host: Flask) -> None:
    from flask_login import FlaskLoginClient

    class Client(ConsentClient, FlaskLoginClient):  # type: ignore[misc]
        pass

    host.test_client_class = Client
    client = host.test_client(user=None)
    client.choose("accept-all")
    assert client.visitor


# ---------------------------------------------------------------- given


def test_given_takes_every_kind_of_key(kit: ConsentKit, host: Flask) -> None:
    events = given(kit, "u-1", "newsletter", "analytics", "sign_up", "transfer")
    assert [e.item for e in events] == ["newsletter", "statistics", "terms", "privacy", "transfer"]
    assert all(kit.of("u-1").allows(item) for item in ("newsletter", "analytics", "terms", "transfer"))


def test_given_takes_the_words_of_the_verbs(kit: ConsentKit, host: Flask) -> None:
    at = datetime.now(UTC) - timedelta(days=3)
    (event,) = given(kit, "u-1", "newsletter", at=at, method="paper", locale="de", tenant="acme")
    assert (event.effective_at, event.method, event.locale) == (at, "paper", "de")
    assert kit.of("u-1", tenant="acme").allows("newsletter")


def test_given_to_a_visitor(kit: ConsentKit, client: ConsentClient) -> None:
    client.choose("reject-all")
    assert client.visitor is not None
    given(kit, client.visitor, "newsletter", "terms")
    assert_allowed(client.get("/letters"))
    assert_allowed(client.get("/account"))


def test_given_accepts_in_a_way_that_the_policy_allows(tmp_path: Path) -> None:
    texts = {"en": "# T", "de": "# D"}
    strict = Policy("terms", title="T", versions=[PolicyVersion("1", acceptance=("tick",), texts=texts)])
    kit = ConsentKit(policies=[strict], bundles=[Bundle("all", ["terms"])])
    make_app(kit, tmp_path)
    (event,) = given(kit, "u-1", "all", locale="de")
    assert event.method == "tick"
    with pytest.raises(ChoiceRejected):
        given(kit, "u-1", "terms", method="paper")


def test_given_refuses_what_the_catalogue_does_not_have(kit: ConsentKit, host: Flask) -> None:
    with pytest.raises(UnknownPurpose):
        given(kit, "u-1", "newslettr")


# ---------------------------------------------------------------- the clock


def test_consent_ends(tmp_path: Path) -> None:
    kit = ConsentKit(purposes=[Purpose("newsletter", title="N", valid_for="P6M")])
    app = make_app(kit, tmp_path)
    with app.app_context(), frozen_clock(kit, NEW_YEAR) as clock:
        (event,) = given(kit, "u-1", "newsletter")
        assert clock.now == NEW_YEAR
        assert timedelta(0) <= event.recorded_at - NEW_YEAR < timedelta(milliseconds=1)
        assert clock.move(timedelta(days=180)) == NEW_YEAR + timedelta(days=180)
        assert_allowed(kit.decide("u-1", "newsletter"))
        clock.move(datetime(2026, 7, 1, tzinfo=UTC))
        assert_blocked(kit.decide("u-1", "newsletter"), "EXPIRED")
    with app.app_context():
        assert abs(kit.runtime.clock.now() / 1e6 - datetime.now(UTC).timestamp()) < 60


def test_a_policy_of_the_future_comes_into_force_and_does_not_stay(tmp_path: Path) -> None:
    later = PolicyVersion("2", effective=datetime(2099, 1, 1, tzinfo=UTC), texts={"en": "# 2"})
    first = PolicyVersion("1", texts={"en": "# 1"})
    kit = ConsentKit(policies=[Policy("terms", title="T", versions=[first, later])])
    make_app(kit, tmp_path)
    given(kit, "u-1", "terms")
    with frozen_clock(kit, datetime(2099, 6, 1, tzinfo=UTC)):
        assert_blocked(kit.decide("u-1", "terms"), "OUTDATED")
    assert_allowed(kit.decide("u-1", "terms"))


def test_the_clock_goes_on_after_an_error(kit: ConsentKit, host: Flask) -> None:
    before = kit.runtime.clock.now
    with pytest.raises(KeyError), frozen_clock(kit, NEW_YEAR):
        raise KeyError
    assert kit.runtime.clock.now is before


def test_a_naive_moment_is_refused(kit: ConsentKit, host: Flask) -> None:
    before = kit.runtime.clock.now
    with pytest.raises(ValueError, match="time zone"), frozen_clock(kit, datetime(2026, 1, 1)):
        pass
    assert kit.runtime.clock.now is before


# ---------------------------------------------------------------- blocked and allowed


def test_a_response_that_is_blocked(client: ConsentClient) -> None:
    assert_blocked(client.get("/letters", headers=JSON), "NO_ANSWER")
    assert_blocked(client.get("/letters", headers=HTML))
    assert_blocked(client.get("/account", headers=HTML))
    client.choose("reject-all")
    page = client.get("/letters", headers=HTML)
    assert page.status_code == 403
    assert_blocked(page)


def test_a_page_names_no_reason_a_callable_does(client: ConsentClient) -> None:
    with pytest.raises(AssertionError, match="pass a callable"):
        assert_blocked(client.get("/letters", headers=HTML), "NO_ANSWER")
    assert_blocked(lambda: client.get("/letters", headers=HTML), "NO_ANSWER")


def test_another_reason_is_not_good_enough(client: ConsentClient) -> None:
    with pytest.raises(AssertionError, match="blocked by NO_ANSWER, not by WITHDRAWN"):
        assert_blocked(client.get("/letters", headers=JSON), "WITHDRAWN")


def test_what_others_refuse_is_not_blocked(host: Flask, client: ConsentClient) -> None:
    answers: dict[str, Callable[[], object]] = {
        "forbidden": lambda: abort(403),
        "members": lambda: redirect("/login?next=/consent", 303),
        "link": lambda: redirect("/consent", 302),
        "thanks": lambda: redirect("/consent-was-given", 303),
        "problem": lambda: Response(
            json.dumps({"type": "about:blank"}), 403, mimetype="application/problem+json"
        ),
    }
    for path, answer in answers.items():
        host.add_url_rule(f"/{path}", path, answer)  # type: ignore[arg-type]
    for path in answers:
        with pytest.raises(AssertionError, match="not blocked"):
            assert_blocked(client.get(f"/{path}"))
    for path in ("forbidden", "problem"):
        with pytest.raises(AssertionError, match="failed"):
            assert_allowed(client.get(f"/{path}"))


def test_allowed_says_why_not(client: ConsentClient, kit: ConsentKit) -> None:
    with pytest.raises(AssertionError, match="blocked by NO_ANSWER"):
        assert_allowed(client.get("/letters", headers=JSON))
    with pytest.raises(AssertionError, match="blocked by NO_ANSWER"):
        assert_allowed(kit.decide("u-1", "newsletter"))


def test_a_job(kit: ConsentKit, host: Flask) -> None:
    sent = []

    @kit.gated("newsletter", subject="user")
    def send(user: str) -> None:
        sent.append(user)

    @kit.gated("newsletter", subject="user", skip=True)
    def skip(user: str) -> None:
        sent.append(user)

    for job in (send, skip):
        assert_blocked(lambda job=job: job("u-1"), "NO_ANSWER")  # type: ignore[misc]
    given(kit, "u-1", "newsletter")
    for job in (send, skip):
        assert_allowed(lambda job=job: job("u-1"))  # type: ignore[misc]
    assert sent == ["u-1", "u-1"]
    with pytest.raises(AssertionError, match="not blocked: returned None"):
        assert_blocked(lambda: send("u-1"))


async def async_job(user: str) -> str:
    return user


def generator_job(user: str) -> Iterator[str]:
    yield user


async def async_generator_job(user: str) -> AsyncIterator[str]:
    yield user


@pytest.mark.parametrize("body", [async_job, generator_job, async_generator_job])
@pytest.mark.parametrize("skip", [False, True])
def test_a_job_that_runs_later_is_run(kit: ConsentKit, host: Flask, body: Any, skip: bool) -> None:
    job = kit.gated("newsletter", subject="user", skip=skip)(body)

    async def in_a_loop() -> None:
        assert_blocked(lambda: job("u-1"), "NO_ANSWER")

    assert_blocked(lambda: job("u-1"), "NO_ANSWER")
    asyncio.run(in_a_loop())
    with pytest.raises(AssertionError, match="blocked by NO_ANSWER"):
        assert_allowed(lambda: job("u-1"))
    given(kit, "u-1", "newsletter")
    assert_allowed(lambda: job("u-1"))
    with pytest.raises(AssertionError, match="not blocked"):
        assert_blocked(lambda: job("u-1"))


def test_what_a_callable_returns_is_looked_at(kit: ConsentKit, client: ConsentClient) -> None:
    with pytest.raises(AssertionError, match="it failed: 404"):
        assert_allowed(lambda: client.get("/nowhere"))
    with pytest.raises(AssertionError, match="blocked by NO_ANSWER"):
        assert_allowed(lambda: kit.of("u-1").allows("newsletter"))
    with pytest.raises(AssertionError, match="blocked by NO_ANSWER"):
        assert_allowed(lambda: kit.decide("u-1", "newsletter"))
    assert_blocked(lambda: kit.of("u-1").allows("newsletter"), "NO_ANSWER")
    with pytest.raises(AssertionError, match="failed: returned False"):
        assert_allowed(lambda: False)
    with pytest.raises(AssertionError, match="not blocked: returned False"):
        assert_blocked(lambda: False)
    given(kit, "u-1", "newsletter")
    assert_allowed(lambda: kit.of("u-1").allows("newsletter"))


def test_the_way_to_a_response_is_looked_at(host: Flask, client: ConsentClient) -> None:
    page = client.get("/letters", headers=HTML, follow_redirects=True)
    assert page.status_code == 200
    assert_blocked(page)
    with pytest.raises(AssertionError, match="blocked: 303 SEE OTHER to /consent"):
        assert_allowed(page)
    same = {**HTML, "Sec-Fetch-Site": "same-origin"}
    answer = client.post("/consent", data={"decision": "reject-all", "next": "/consent"}, headers=same)
    assert answer.status_code == 303
    assert_allowed(answer)


def test_the_age_page_is_a_block_too(tmp_path: Path) -> None:
    kit = make_kit(minors=MinorRules(age=16, unknown_age="ask"))
    answer = make_app(kit, tmp_path).test_client().get("/letters", headers=HTML)
    assert answer.location == "/consent/age?next=/letters"
    assert_blocked(answer)
    with pytest.raises(AssertionError, match="blocked"):
        assert_allowed(answer)


def test_an_answer_without_a_body_tells_that_it_was_blocked_and_not_why(client: ConsentClient) -> None:
    client.choose("reject-all")
    for headers in (JSON, HTML):
        answer = client.head("/letters", headers=headers)
        assert (answer.status_code, answer.data, answer.headers["Consent-Gate"]) == (403, b"", "blocked")
        assert "REFUSED" not in str(answer.headers)
        assert_blocked(answer)
        assert_blocked(lambda headers=headers: client.head("/letters", headers=headers), "REFUSED")  # type: ignore[misc]
        with pytest.raises(AssertionError, match="blocked"):
            assert_allowed(answer)
    assert "Consent-Gate" not in client.get("/plain").headers
    assert "Consent-Gate" not in client.get("/consent", headers=HTML).headers


def test_an_error_of_another_kind_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError):
        assert_blocked(lambda: 1 / 0)
