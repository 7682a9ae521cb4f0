"""The fixtures that other tests stand on."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest
from fetching import Tag, answerable, fetched, form_with, waiting
from flask import Flask
from receiving import receiving
from sqlalchemy import NullPool, create_engine

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication
    from playwright.sync_api import Page

    Serve = Callable[[WSGIApplication], str]


@pytest.fixture
def app() -> Flask:
    app = Flask(__name__)

    @app.get("/")
    def index() -> str:
        return '<!doctype html><title>Hello</title><p id="p">no</p><script>p.append("!")</script>'

    return app


def test_live_server_serves_several_apps_and_stops(app: Flask, live_server: Serve) -> None:
    first, second = live_server(app), live_server(Flask("other"))
    assert first != second
    with urlopen(first) as answer:
        assert b"Hello" in answer.read()
    assert "live_server" in {thread.name for thread in threading.enumerate()}


def test_no_server_outlives_its_test() -> None:
    assert "live_server" not in {thread.name for thread in threading.enumerate()}


def test_browser(app: Flask, live_server: Serve, page: Page, request: pytest.FixtureRequest) -> None:
    assert _parts(request) == {"browser"}
    page.goto(live_server(app))
    assert page.title() == "Hello"
    assert page.text_content("#p") == "no!"


PAGE = """<link rel=preconnect href=https://link.example><a href=https://other.example>read</a>
<script src=https://run.example/1.js></script><script type=module src=https://run.example/2.js></script>
<script type=text/plain data-category=ads data-src=https://wait.example/1.js></script>
<noscript><img src=//pixel.example></noscript>
<template data-category=films><iframe src=https://film.example></iframe></template>
<iframe src=https://frame.example></iframe><script src=/ours.js></script>
<form action=/a><input type=hidden name=h value=1><input type=checkbox name=p value=x checked>
<input type=checkbox name=p value=y><button name=decision value=save></button></form>"""


def test_what_a_page_fetches_what_waits_and_what_can_be_answered() -> None:
    assert fetched(PAGE) == [
        Tag("iframe", "frame.example", None),
        Tag("img", "pixel.example", None),
        Tag("link", "link.example", None),
        Tag("script", "run.example", None),
        Tag("script", "run.example", None),
    ]
    assert waiting(PAGE) == [Tag("iframe", "film.example", "films"), Tag("script", "wait.example", "ads")]
    form = form_with(PAGE, ("p", "x"))
    assert (form.action, form.hidden, form.buttons) == ("/a", {"h": "1"}, (("decision", "save"),))
    assert form.boxes == {("p", "x"): True, ("p", "y"): False}
    assert answerable(PAGE) == {"1", "x", "y", "save"}


def test_a_receiver_counts_connections_on_which_nothing_is_said() -> None:
    with receiving() as receiver:
        assert receiver.connections() == 0
        port = int(receiver.url.split(":")[2].split("/")[0])
        for number in (1, 2):
            socket.create_connection(("127.0.0.1", port)).close()
            assert receiver.connections() == number
        assert receiver.messages == []


SEVEN = ("create table t (a int)", "insert into t values (7)", "select a from t")


def _query(url: str, *statements: str) -> list[tuple[object, ...]]:
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        for statement in statements[:-1]:
            connection.exec_driver_sql(statement)
        return [tuple(row) for row in connection.exec_driver_sql(statements[-1])]


def test_sqlite(sqlite_url: str) -> None:
    assert _query(sqlite_url, *SEVEN) == [(7,)]


@pytest.mark.parametrize("time", ["first", "second"])
def test_each_test_has_a_postgresql_database_of_its_own(
    pg_url: str, time: str, request: pytest.FixtureRequest
) -> None:
    assert _parts(request) == {"pg"}
    assert _query(pg_url, *SEVEN) == [(7,)]


def test_postgresql_stores_text_as_utf8_and_tells_time_in_utc(pg_url: str) -> None:
    assert _query(pg_url, "select current_setting('server_encoding')") == [("UTF8",)]
    assert _query(pg_url, "select current_setting('timezone')") == [("UTC",)]


@pytest.mark.skipif("CONSENTKIT_TEST_PG_URL" in os.environ, reason="a server from elsewhere may listen")
def test_our_postgresql_listens_on_no_port(pg_url: str) -> None:
    assert _query(pg_url, "show listen_addresses") == [("",)]


@pytest.mark.usefixtures("sqlite_url")
def test_other_tests_are_not_marked(request: pytest.FixtureRequest) -> None:
    assert _parts(request) == set()


def _parts(request: pytest.FixtureRequest) -> set[str]:
    return {mark.name for mark in request.node.iter_markers()} & {"browser", "pg"}
