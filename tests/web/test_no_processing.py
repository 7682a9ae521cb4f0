"""`assert_no_processing`: it fails when a gate, of whatever kind, said yes inside the block."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from weakref import WeakSet

import pytest
import requests
import sqlalchemy as sa
from flask import Flask, Response, render_template_string

import consentkit
from consentkit import ConsentKit, gated
from consentkit.core.errors import UnknownPurpose
from consentkit.core.record import VISITOR
from consentkit.testing import ConsentClient, assert_no_processing, given
from consentkit.web import state
from tests.web.api_caller import Caller
from tests.web.conftest import make_kit
from tests.web.test_testing import JSON, make_app

YES = pytest.raises(AssertionError, match="processed: a gate allowed")


@pytest.fixture
def host(kit: ConsentKit, tmp_path: Path) -> Flask:
    return make_app(kit, tmp_path)


@pytest.fixture
def client(host: Flask) -> ConsentClient:
    return ConsentClient(host, host.response_class, use_cookies=True)


def test_a_view(client: ConsentClient) -> None:
    with assert_no_processing("newsletter") as asked:
        client.get("/letters", headers=JSON)
    assert [(d.item, d.reason) for d in asked] == [("newsletter", "NO_ANSWER")]
    client.choose("save", purposes=["newsletter"])
    with YES, assert_no_processing("newsletter"):
        client.get("/letters")
    with assert_no_processing("ads") as asked:
        client.get("/letters")
    assert asked == []


def test_our_own_pages_process_nothing(client: ConsentClient) -> None:
    client.choose("accept-all")
    client.accept("terms")
    with assert_no_processing("analytics", "marketing", "terms"):
        for path in ("/consent", "/consent/status", "/consent/state.css", "/consent/receipt", "/"):
            assert client.get(path).status_code == 200
        client.choose("save", categories=["analytics"])


def ask_a_job(host: Flask) -> None:
    kit = host.extensions["consentkit"].kit
    kit.gated("analytics", subject="user")(lambda user: None)("u-1")


def ask_a_coroutine(host: Flask) -> None:
    @gated("statistics", subject="user")
    async def count(user: str) -> None: ...

    with host.app_context():
        asyncio.run(count("u-1"))


def ask_directly(host: Flask) -> None:
    host.extensions["consentkit"].kit.of("u-1").allows("statistics")


def ask_for_many(host: Flask) -> None:
    host.extensions["consentkit"].kit.decide_many(["u-2", "u-1"], "purpose:statistics")


def ask_in_a_template(host: Flask) -> None:
    with host.test_request_context("/"):
        host.preprocess_request()
        render_template_string("{{ consents.allows('analytics') }}")


def ask_in_a_thread(host: Flask) -> None:
    thread = threading.Thread(target=ask_directly, args=[host])
    thread.start()
    thread.join()


def send_a_cookie(host: Flask) -> None:
    response = host.test_client().get("/sets-tally")
    assert "_tally" in response.headers["Set-Cookie"]


def call_out(host: Flask) -> None:
    session = host.extensions["consentkit"].kit.gated_session("statistics", subject="u-1")
    with pytest.raises(requests.ConnectionError):
        session.get("http://127.0.0.1:1/", timeout=5)


@pytest.mark.parametrize(
    "ask",
    [
        ask_a_job,
        ask_a_coroutine,
        ask_directly,
        ask_for_many,
        ask_in_a_template,
        ask_in_a_thread,
        send_a_cookie,
        call_out,
    ],
)
@pytest.mark.parametrize("watched", ["analytics", "statistics", "purpose:statistics"])
def test_every_way_to_ask(
    kit: ConsentKit, host: Flask, monkeypatch: pytest.MonkeyPatch, ask: Callable[[Flask], None], watched: str
) -> None:
    kit.subject_loader(lambda: "u-1")
    given(kit, "u-1", "analytics")

    @host.get("/sets-tally")
    def sets_tally() -> Response:
        response = Response("tally")
        response.set_cookie("_tally", "1")
        return response

    with YES, assert_no_processing(watched):
        ask(host)
    with YES, assert_no_processing():
        ask(host)
    with assert_no_processing("ads", "terms"):
        ask(host)


def test_the_api(kit: ConsentKit, host: Flask) -> None:
    api = Caller(host, kit)
    given(kit, "u-1", "analytics")
    with YES, assert_no_processing("analytics", kit=kit):
        api.get("/subjects/u-1/decisions/analytics")
    with assert_no_processing("analytics") as asked:
        api.get("/subjects/u-1/consents")  # a list, asked for by nobody who processes
        api.call("POST", "/decisions", json={"item": "analytics", "subjects": ["u-2", "u-3"]})
    assert len(asked) == 2


def test_only_one_subject(kit: ConsentKit, host: Flask) -> None:
    given(kit, "u-1", "newsletter")
    with assert_no_processing("newsletter", subject="u-2") as asked:
        kit.decide_many(["u-1", "u-2"], "newsletter")
    assert len(asked) == 1
    with YES, assert_no_processing("newsletter", subject="u-1"):
        kit.decide_many(["u-1", "u-2"], "newsletter")


def test_only_one_app(kit: ConsentKit, tmp_path: Path) -> None:
    apps = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        apps.append(make_app(make_kit(), tmp_path / name))
    given(apps[0], "u-1", "newsletter")
    ask = apps[0].extensions["consentkit"].kit.of("u-1").allows
    with assert_no_processing("newsletter", kit=apps[1]):
        assert ask("newsletter")
    with YES, assert_no_processing("newsletter", kit=apps[0]):
        assert ask("newsletter")


def test_a_policy_and_what_needs_no_consent(kit: ConsentKit, host: Flask, client: ConsentClient) -> None:
    given(kit, client.become(), "terms")
    with YES, assert_no_processing("terms"):
        assert client.get("/account").status_code == 200
    with assert_no_processing():
        assert kit.decide("u-1", "account"), "a contract is not consent"
    with YES, assert_no_processing("account"):
        kit.decide("u-1", "account")


def test_the_past_is_not_processing(kit: ConsentKit, host: Flask) -> None:
    given(kit, "u-1", "newsletter")
    with assert_no_processing("newsletter"):
        assert kit.decide("u-1", "newsletter", at=datetime.now(UTC))


def test_a_typo_is_seen(kit: ConsentKit, host: Flask) -> None:
    with pytest.raises(UnknownPurpose), assert_no_processing("newslettr", kit=host):
        pass


def test_a_typo_is_seen_where_only_the_kit_that_is_asked_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "_apps", WeakSet())
    kit = consentkit.open(make_kit().catalog, f"sqlite:///{tmp_path}/ledger.sqlite3")
    typo = pytest.raises(UnknownPurpose, match="no kit that was asked has 'newslettr'")
    with typo, assert_no_processing("newslettr", "ads"):
        kit.decide("u-1", "newsletter")
    with assert_no_processing("newsletter"):
        kit.decide("u-1", "ads")
    kit.runtime.dispose()


def test_an_id_that_is_no_text(kit: ConsentKit, host: Flask) -> None:
    job = kit.gated("newsletter", subject="user")(lambda user: user)
    for who in (42, uuid.uuid4()):
        given(kit, str(who), "newsletter")
        with YES, assert_no_processing("newsletter", subject=who):
            job(who)
        with assert_no_processing("newsletter", subject="u-1"):
            job(who)


def test_a_gate_that_says_no_processes_nothing_of_what_it_would_have_allowed(
    kit: ConsentKit, host: Flask, client: ConsentClient
) -> None:
    given(kit, client.become(), "newsletter")
    with assert_no_processing("newsletter") as asked:
        assert client.get("/both", headers=JSON).status_code == 403
    assert asked == []


# ---------------------------------------------------------------- audiences


def select(kit: ConsentKit) -> object:
    return kit.audience("newsletter")


def condition(kit: ConsentKit) -> object:
    return kit.allowed("newsletter", sa.column("id", sa.Text))


def stream(kit: ConsentKit) -> object:
    return list(kit.audience_ids("purpose:newsletter"))


def some(kit: ConsentKit) -> object:
    return list(kit.audience_ids("newsletter", among=["u-1", "u-2"]))


@pytest.mark.parametrize("read", [select, condition, stream, some])
def test_an_audience_is_a_question_about_everybody(
    kit: ConsentKit, host: Flask, read: Callable[[ConsentKit], object]
) -> None:
    given(kit, "u-1", "newsletter")
    kit.refuse("u-2", "newsletter")
    yes = pytest.raises(AssertionError, match=r"newsletter' for an audience .*name a subject=")
    with yes, assert_no_processing("newsletter"):
        read(kit)
    with YES, assert_no_processing("newsletter", subject="u-1"):
        read(kit)
    with assert_no_processing("newsletter", subject="u-2") as asked:
        read(kit)
    assert [decision.reason for decision in asked] == ["REFUSED"]
    with assert_no_processing("ads"):
        read(kit)


def test_an_error_in_the_block_is_not_hidden(kit: ConsentKit, host: Flask) -> None:
    given(kit, "u-1", "newsletter")

    def fails() -> None:
        kit.decide("u-1", "newsletter")
        _ = 1 / 0

    with pytest.raises(ZeroDivisionError), assert_no_processing("newsletter"):
        fails()


@pytest.mark.parametrize("config", [{}, {"PREFERRED_URL_SCHEME": "https"}, {"SERVER_NAME": "shop.example"},
                                    {"CONSENTKIT_COOKIE_DOMAIN": "shop.example", "SERVER_NAME": "a.shop.example",
                                     "PREFERRED_URL_SCHEME": "https"}])  # fmt: skip
def test_a_client_becomes_a_visitor_who_answered_before(
    kit: ConsentKit, tmp_path: Path, config: dict[str, str]
) -> None:
    host = make_app(kit, tmp_path, **config)
    client = ConsentClient(host, host.response_class, use_cookies=True)
    who = client.become()
    assert client.visitor == who
    assert client.get("/letters", headers=JSON).status_code == 403
    given(kit, who, "newsletter")
    assert client.get("/letters").status_code == 200
    assert client.become(f"{VISITOR}ada") == f"{VISITOR}ada" == client.visitor
    assert client.get("/letters", headers=JSON).status_code == 403
    with pytest.raises(AssertionError, match="begins with"):
        client.become("u-42")
