"""A pytest plugin: `pytest_plugins = ["consentkit.testing.plugin"]` in the conftest.py at the root of your tests.

It is not registered as an entry point: a pytest run that does not name it never imports consentkit. The fixtures
`consents` and `consent_client` use a fixture `app` of yours, which gives `consent_database` to its app.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import NullPool, create_engine, make_url

from consentkit.proof import SigningKey
from consentkit.testing.client import ConsentClient
from consentkit.testing.ledger import AppConsents, kit_of, prepare, temporary_database
from consentkit.web.state import passing_apps

_SETTING = "consentkit_database_url"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option and the ini key for tests on PostgreSQL."""
    text = "a PostgreSQL server, postgresql://user@host/database: each test gets a database of its own there"
    parser.getgroup("consentkit").addoption("--consentkit-database-url", metavar="URL", help=text)
    parser.addini(_SETTING, text)


@pytest.fixture
def consent_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Configuration for a ledger of this test alone: a SQLite file, or a new PostgreSQL database.

    Without an app context it is this test's app that is asked: the apps of earlier tests are out of the way.
    """
    url = request.config.getoption("--consentkit-database-url") or request.config.getini(_SETTING)
    if not url:
        with passing_apps():
            yield temporary_database(tmp_path)
        return
    with _new_database(str(url)) as made, passing_apps():
        log_key = SigningKey.generate("consentkit-log").private_text()
        yield {"CONSENTKIT_DATABASE_URL": made, "CONSENTKIT_KEY": "k" * 64, "CONSENTKIT_LOG_KEY": log_key}


@pytest.fixture
def _prepared_app(app: Flask) -> Iterator[Flask]:
    """Your `app` with its tables; its connections are closed afterwards."""
    prepare(app)
    yield app
    with kit_of(app) as kit:
        kit.runtime.dispose()


@pytest.fixture
def consents(_prepared_app: Flask) -> AppConsents:
    """What people said to your `app`: `consents.give("u-42", "newsletter")`, `withdraw`, `refuse`, `decide`."""
    return AppConsents(_prepared_app)


@pytest.fixture
def consent_client(_prepared_app: Flask) -> ConsentClient:
    """A browser of a new visitor of your `app`, which can answer the banner."""
    return ConsentClient(_prepared_app, _prepared_app.response_class, use_cookies=True)


@contextmanager
def _new_database(url: str) -> Iterator[str]:
    """A database on the server of the URL, dropped afterwards, whoever is still connected."""
    name, server = f"consentkit_{uuid.uuid4().hex}", make_url(url)
    if server.drivername == "postgresql":
        server = server.set(drivername="postgresql+psycopg")
    admin = create_engine(server, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    try:
        yield server.set(database=name).render_as_string(hide_password=False)
    finally:
        with admin.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
