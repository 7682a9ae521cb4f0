"""Lawful exceptions over HTTP: one request is inside the block, others about the same person are not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from flask import Flask, session

from consentkit import ConsentKit, ExceptionGround, Purpose, current_consents, requires_consent
from consentkit.kit_exception import Opening
from tests.web.api_caller import Caller
from tests.web.conftest import PURPOSES, make_app, make_kit

GROUND = ExceptionGround("court_order", title="Order of a court", source="GDPR 6(1)(c)")


def order(kit: ConsentKit) -> Opening:
    how = {"reference": "2026/0815", "operator": "staff-7"}
    return kit.exception("court_order", subject="u-1", purposes=["disclosure"], **how)


class OverHttp:
    """Runs on either database."""

    @pytest.fixture
    def kit(self) -> ConsentKit:
        purposes = [*PURPOSES, Purpose("disclosure", title="Disclosure to third parties")]
        return make_kit(purposes=purposes, exceptions=[GROUND])

    @pytest.fixture
    def app(self, kit: ConsentKit, url: str, tmp_path: Path) -> Iterator[Flask]:
        app = make_app(kit, tmp_path, CONSENTKIT_DATABASE_URL=url, CONSENTKIT_KEY="k" * 32)
        add_views(app, kit)
        with app.app_context():
            kit.runtime.upgrade()
            kit.runtime.publish()
        yield app
        with app.app_context():
            kit.runtime.dispose()

    def test_requests_at_once(self, app: Flask, kit: ConsentKit, live_server: Callable[[Flask], str]) -> None:
        base, caller = live_server(app), Caller(app, kit)
        meet: threading.Barrier = app.config["MEET"]

        def get(path: str) -> str:
            return str(urlopen(Request(base + path)).read().decode())

        with ThreadPoolExecutor(2) as clients:
            inside = clients.submit(get, "/inside")
            meet.wait()
            others = [get("/peek"), get("/peek-async")]
            told = caller.get("/subjects/u-1/decisions/disclosure").json
            blocked = app.test_client().get("/gated")
            meet.wait()
        assert inside.result() == "True True"
        assert others == ["False", "False"]
        assert (told["allowed"], told["reason"]) == (False, "NO_ANSWER")
        assert (blocked.status_code, blocked.json["reason"]) == (403, "NO_ANSWER")
        assert get("/peek") == "False"
        assert [event["action"] for event in caller.events("u-1")] == ["exception_used"]

    def test_an_async_view(self, app: Flask, kit: ConsentKit) -> None:
        assert app.test_client().get("/inside-async").text == "True False True"
        assert app.test_client().get("/peek").text == "False"

    def test_the_same_worker_thread_serves_the_next_request_closed(self, app: Flask) -> None:
        """A block that somebody entered by hand and never left ends with the view's function."""
        client = app.test_client()
        assert client.get("/never-left").text == "True"
        assert client.get("/peek").text == "False"

    def test_only_in_the_app_whose_ledger_has_it(self, app: Flask, kit: ConsentKit, tmp_path: Path) -> None:
        other = make_app(kit, tmp_path / "other")
        with app.app_context(), order(kit):
            assert kit.of("u-1").allows("disclosure")
            with other.app_context():
                assert not kit.of("u-1").allows("disclosure")
            assert kit.of("u-1").allows("disclosure")


def add_views(app: Flask, kit: ConsentKit) -> None:
    """`/inside` waits twice inside its block, so that the test can look from elsewhere meanwhile."""
    app.config["MEET"] = meet = threading.Barrier(2, timeout=30)

    def asked() -> bool:
        return kit.of("u-1").allows("disclosure")

    @app.get("/inside")
    def inside() -> str:
        session["user"] = "u-1"
        with order(kit):
            meet.wait()
            meet.wait()
            return f"{asked()} {current_consents.allows('disclosure')}"

    @app.get("/inside-async")
    async def inside_async() -> str:
        async def other() -> bool:
            return asked()

        with order(kit):
            await asyncio.sleep(0)
            return f"{asked()} {await asyncio.create_task(other())} {await other()}"

    @app.get("/peek")
    def peek() -> str:
        return str(asked())

    @app.get("/peek-async")
    async def peek_async() -> str:
        return str(asked())

    @app.get("/gated")
    @requires_consent("disclosure")
    def gated() -> str:
        return "processed"

    @app.get("/never-left")
    def never_left() -> str:
        order(kit).__enter__()
        return str(asked())


class TestSqlite(OverHttp):
    @pytest.fixture
    def url(self, sqlite_url: str) -> str:
        return sqlite_url


class TestPostgresql(OverHttp):
    @pytest.fixture
    def url(self, pg_url: str) -> str:
        return pg_url
