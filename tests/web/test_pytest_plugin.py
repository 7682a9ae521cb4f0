"""The pytest plugin, in runs of its own in a fresh folder: with it, without it, on either database."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import PgServer

ROOT = Path(__file__).parents[2]

CONFTEST = """
import pytest
from flask import Flask
from consentkit import ConsentKit, Policy, PolicyVersion, Purpose, requires_acceptance, requires_consent

pytest_plugins = ["consentkit.testing.plugin"]

consent = ConsentKit(
    purposes=[Purpose("newsletter", title="Letter")],
    policies=[Policy("terms", title="Terms", versions=[PolicyVersion("1", texts={"en": "Be kind."})])],
)


@pytest.fixture
def app(consent_database):
    app = Flask("shop")
    app.config.update(SECRET_KEY="s", TESTING=True, **consent_database)
    consent.init_app(app)
    app.add_url_rule("/letters", "letters", requires_consent("newsletter")(lambda: "letters"))
    app.add_url_rule("/members", "members", requires_acceptance("terms")(lambda: "members"))
    return app
"""

TESTS = """
import pytest
from conftest import consent
from consentkit import gated
from consentkit.testing import assert_allowed, assert_blocked, assert_no_processing, prepare


@pytest.mark.parametrize("again", [1, 2])
def test_every_test_has_a_ledger_of_its_own(consents, consent_client, again):
    assert_blocked(consent_client.get("/letters"), "NO_ANSWER")
    who = consent_client.become("visitor:ada")
    assert consents.events(who) == []
    consents.give(who, "newsletter", "terms")
    assert_allowed(consent_client.get("/letters"))
    assert_allowed(consent_client.get("/members"))
    consents.withdraw(who, "newsletter")
    with assert_no_processing("newsletter", subject=who) as asked:
        assert_blocked(consent_client.get("/letters"), "WITHDRAWN")
    assert len(asked) == 1
    assert [event.action for event in consents.events(who)] == ["given", "accepted", "withdrawn"]


@gated("newsletter", subject="user")
def send(user):
    return user


@consent.gated("newsletter", subject="user")
def send_too(user):
    return user


@pytest.mark.parametrize("again", [1, 2])
def test_without_an_app_context_the_app_of_the_test_is_asked(app, consents, again):
    for job in (send, send_too):
        assert_blocked(lambda: job("u-1"), "NO_ANSWER")
    consents.give("u-1", "newsletter")
    for job in (send, send_too):
        assert_allowed(lambda: job("u-1"))


@pytest.mark.parametrize("again", [1, 2])
def test_also_where_only_the_app_was_asked_for(app, again):
    prepare(app)
    assert_blocked(lambda: send("u-1"), "NO_ANSWER")


def test_the_client_answers_the_banner(consent_client, consents):
    consent_client.choose("save", purposes=["newsletter"])
    consent_client.accept("terms")
    assert consents.decide(consent_client.visitor, "newsletter").allowed
    consents.refuse("u-42", "newsletter")
    assert consents.decide("u-42", "newsletter").reason == "REFUSED"


def test_where_the_ledger_is(consent_database, request):
    wanted = request.config.getoption("--consentkit-database-url") or request.config.getini("consentkit_database_url")
    scheme = "postgresql+psycopg://" if wanted else "sqlite:///"
    assert consent_database["CONSENTKIT_DATABASE_URL"].startswith(scheme)
"""


def run(folder: Path, *arguments: str) -> str:
    """A pytest run that must pass, with warnings as errors; what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """The folder of a host's test suite."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_shop.py").write_text(TESTS)
    return tmp_path


def test_on_sqlite(suite: Path) -> None:
    assert "8 passed" in run(suite)
    assert [path.name for path in suite.iterdir() if path.name not in ("conftest.py", "test_shop.py")] in (
        [],
        ["__pycache__"],
    )


@pytest.mark.parametrize("named", ["option", "ini"])
def test_on_postgresql(suite: Path, pg_server: PgServer, named: str) -> None:
    def databases() -> set[str]:
        with pg_server._admin.connect() as connection:
            return {str(row[0]) for row in connection.exec_driver_sql("SELECT datname FROM pg_database")}

    url, before = pg_server.url("postgres"), databases()
    if named == "ini":
        (suite / "pytest.ini").write_text(f"[pytest]\nconsentkit_database_url = {url}\n")
    assert "8 passed" in run(suite, *(["--consentkit-database-url", url] if named == "option" else []))
    assert databases() == before


def test_a_run_that_does_not_name_it_never_imports_consentkit(tmp_path: Path) -> None:
    (tmp_path / "test_other.py").write_text(
        "import sys\n\ndef test_other():\n"
        "    assert [name for name in sys.modules if name.partition('.')[0] == 'consentkit'] == []\n"
        "    assert 'flask' not in sys.modules\n"
    )
    assert "1 passed" in run(tmp_path)
    assert "consent" not in run(tmp_path, "--fixtures")


def test_no_entry_point_loads_it(tmp_path: Path) -> None:
    code = (
        "from importlib.metadata import distribution; "
        "print([e.name for e in distribution('consentkit').entry_points if e.group == 'pytest11'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
