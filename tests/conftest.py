"""Fixtures for everybody: a ledger of one's own on SQLite or PostgreSQL, a served app, a browser.

A missing PostgreSQL or browser is an error, never a silent skip. A part is left out on purpose and by
name, ``CONSENTKIT_SKIP=browser,pg``, and the run says so at both ends; ``CI=true`` refuses it.
"""

from __future__ import annotations

import os
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from sqlalchemy import Engine

PARTS = {"browser": "browser_type", "pg": "pg_server"}  # and the fixture that all of its tests come to
SKIP = {name for name in os.environ.get("CONSENTKIT_SKIP", "").split(",") if name}
LEFT_OUT = pytest.StashKey[dict[str, int]]()

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
HEADLESS_SHELL = "chromium-headless-shell"
CHROMIUM_ON_MACOS = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
CHROMIUM_FLAGS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
]

# ---------------------------------------------------------------- parts that may be left out


def pytest_configure(config: pytest.Config) -> None:
    if unknown := SKIP - PARTS.keys():
        raise pytest.UsageError(
            f"CONSENTKIT_SKIP knows {', '.join(sorted(PARTS))}, not {', '.join(sorted(unknown))}"
        )
    if SKIP and os.environ.get("CI") == "true":
        raise pytest.UsageError("CONSENTKIT_SKIP is refused with CI=true: there everything is tested")
    config.stash[LEFT_OUT] = dict.fromkeys(sorted(SKIP), 0)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        for part, fixture in PARTS.items():
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(part)
        for part in sorted(SKIP):
            if item.get_closest_marker(part):
                item.add_marker(pytest.mark.skip(reason=f"left out by CONSENTKIT_SKIP={part}"))
                config.stash[LEFT_OUT][part] += 1
                break
    # Playwright keeps an event loop running in this thread: what comes after cannot run async views.
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)


def pytest_report_header(config: pytest.Config) -> list[str]:
    left_out = config.stash[LEFT_OUT]
    return [
        f"chromium: {chromium() or 'the one that playwright downloads'}",
        f"parts left out: {', '.join(left_out) or 'none'}",
    ]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for part, count in config.stash[LEFT_OUT].items():
        terminalreporter.section(f"PART LEFT OUT: {part}, tests not run: {count}", sep="!", red=True)


# ---------------------------------------------------------------- browser


def chromium(*, whole: bool = False) -> str | None:
    """The browser to drive; none: the one that playwright downloads, where it does.

    `whole`: not the one without windows, which is twice as fast, but keeps no page for the way back and connects to
    nobody ahead of time.
    """
    if chosen := os.environ.get("CONSENTKIT_CHROMIUM"):
        return chosen
    names = CHROMIUM_NAMES if whole else (HEADLESS_SHELL, *CHROMIUM_NAMES)
    found = next(filter(None, map(shutil.which, names)), None)
    return found or (CHROMIUM_ON_MACOS if Path(CHROMIUM_ON_MACOS).exists() else None)


@pytest.fixture(scope="session")
def browser_type_launch_args(
    browser_type_launch_args: dict[str, Any],
    browser_name: str,
) -> dict[str, Any]:
    """The system's own browser; pytest-playwright has no option for its path.

    Playwright's default stays, no sandbox: root and most containers cannot have one, and the pages are ours.
    """
    arguments = dict(browser_type_launch_args)
    if browser_name == "firefox" and (firefox := shutil.which("firefox-esr") or shutil.which("firefox")):
        arguments |= {"executable_path": firefox, "channel": "moz-firefox"}
    if browser_name == "chromium":
        arguments["args"] = CHROMIUM_FLAGS
        if path := chromium():
            arguments["executable_path"] = path
    return arguments


@pytest.fixture
def whole_browser_launch_args(
    browser_type_launch_args: dict[str, Any],
    browser_name: str,
) -> dict[str, Any]:
    """The same for what only the whole browser does."""
    path = chromium(whole=True) if browser_name == "chromium" else None
    return browser_type_launch_args | ({"executable_path": path} if path else {})


def _read_whole(app: WSGIApplication) -> WSGIApplication:
    """Close a response before it is sent: werkzeug's server forgets to when the browser has gone away."""

    def read(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        parts = app(environ, start_response)
        try:
            return [b"".join(parts)]
        finally:
            getattr(parts, "close", lambda: None)()

    return read


@contextmanager
def _served(app: WSGIApplication) -> Iterator[str]:
    from werkzeug.serving import make_server

    server = make_server("127.0.0.1", 0, _read_whole(app), threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=[0.02], name="live_server", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def live_server() -> Iterator[Callable[[WSGIApplication], str]]:
    """``live_server(app)`` serves an app until the test is over and answers its base URL."""
    with ExitStack() as running:
        yield lambda app: running.enter_context(_served(app))


# ---------------------------------------------------------------- databases


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A SQLite database of the test's own; its file is made by whoever connects first."""
    return f"sqlite:///{tmp_path}/ledger.sqlite3"


class PgServer:
    """Makes and drops databases on a running server, version 15 or newer."""

    def __init__(self, url: str) -> None:
        from sqlalchemy import NullPool, create_engine, make_url

        self._url = make_url(url)
        self._admin: Engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)

    def url(self, database: str) -> str:
        return self._url.set(database=database).render_as_string(hide_password=False)

    @contextmanager
    def database(self, template: str | None = None) -> Iterator[str]:
        """The name of a new database; it is dropped afterwards, whoever is still connected."""
        name = f"ck_{uuid.uuid4().hex}"
        copy = f" template {template} strategy file_copy" if template else ""
        self._execute(f"create database {name}{copy}")
        try:
            yield name
        finally:
            self._execute(f"drop database {name} with (force)")

    def _execute(self, statement: str) -> None:
        with self._admin.connect() as connection:
            connection.exec_driver_sql(statement)


@pytest.fixture(scope="session")
def pg_server() -> Iterator[PgServer]:
    """$CONSENTKIT_TEST_PG_URL, which runs already and is never stopped, or a server of our own."""
    if url := os.environ.get("CONSENTKIT_TEST_PG_URL"):
        yield PgServer(url)
        return
    from pgserver import Server

    own = Server()
    yield PgServer(own.url())
    own.stop()


@pytest.fixture(scope="session")
def pg_template(pg_server: PgServer) -> Iterator[str]:
    """The name of the database, with tables, that `pg_url` copies; nobody may be connected to it then."""
    from ledgers import make_tables

    with pg_server.database() as name:
        make_tables(pg_server.url(name))
        yield name


@pytest.fixture
def pg_url(pg_server: PgServer, pg_template: str) -> Iterator[str]:
    """A PostgreSQL database of the test's own."""
    with pg_server.database(template=pg_template) as name:
        yield pg_server.url(name)
