"""init_app: states kept apart, refusals in a sentence, settings."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from flask import Flask

from consentkit import ConsentKit, ConsentKitError, Purpose
from tests.web.conftest import make_app, make_kit


def test_a_second_init_app_is_refused_with_a_sentence(app: Flask, kit: ConsentKit) -> None:
    with pytest.raises(ConsentKitError, match="initialised on app 'host' already"):
        kit.init_app(app)


def test_one_kit_on_two_apps_keeps_their_ledgers_apart(tmp_path: Path) -> None:
    kit = make_kit()
    one, two = (make_app(kit, tmp_path / name) for name in ("one", "two"))
    with one.app_context():
        kit.give("u-1", "newsletter")
        assert kit.of("u-1").allows("newsletter")
    with two.app_context():
        assert not kit.of("u-1").allows("newsletter")
    with pytest.raises(ConsentKitError, match=r"app\.app_context"):
        kit.of("u-1").allows("newsletter")


def test_nothing_to_ask_works(tmp_path: Path) -> None:
    client = make_bare(ConsentKit(), tmp_path).test_client()
    assert client.get("/consent").status_code == 200
    assert client.post("/consent", data={"decision": "accept-all"}).json["decided"] is True


def make_bare(kit: ConsentKit, folder: Path, **config: object) -> Flask:
    app = Flask("bare", instance_path=str(folder / "instance"))
    app.config.update(SECRET_KEY="k", **config)
    kit.init_app(app)
    return app


def test_the_kit_works_outside_a_request_when_there_is_one_app(tmp_path: Path) -> None:
    kit = ConsentKit(purposes=[Purpose("newsletter", title="N")])
    app = make_bare(kit, tmp_path)
    kit.give("u-1", "newsletter")
    assert kit.of("u-1").allows("newsletter")
    assert app.name == "bare"


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"CONSENTKIT_DATABASE_URL": "mysql://host/db"}, "SQLite or PostgreSQL, not in mysql"),
        ({"CONSENTKIT_DATABASE_URL": "sqlite://"}, "in memory proves nothing"),
        ({"CONSENTKIT_DATABASE_URL": "nonsense"}, "is not a database URL"),
        ({"CONSENTKIT_DATABSE_URL": "x"}, "CONSENTKIT_DATABSE_URL is not a setting"),
        ({"CONSENTKIT_URL_PREFIX": "consent/"}, "begins with /"),
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path: Path, config: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConsentKitError, match=sentence):
        make_bare(ConsentKit(), tmp_path, **config)


def test_embedded_sqlite_warns_outside_debug_and_tests(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "consentkit"):
        make_bare(ConsentKit(), tmp_path / "tests", TESTING=True)
        assert caplog.text == ""
        make_bare(ConsentKit(), tmp_path / "live")
    assert "set CONSENTKIT_DATABASE_URL" in caplog.text


def test_a_url_that_is_not_published_blocks_and_names_the_command(tmp_path: Path) -> None:
    kit = ConsentKit(purposes=[Purpose("newsletter", title="N")])
    app = make_bare(kit, tmp_path, CONSENTKIT_DATABASE_URL=f"sqlite:///{tmp_path}/ledger.sqlite3")
    assert kit.of("u-1").decide("newsletter").reason == "STORE_UNAVAILABLE"
    with pytest.raises(ConsentKitError, match="flask consent upgrade"):
        kit.runtime.ensure()
    kit.runtime.upgrade()
    with pytest.raises(ConsentKitError, match="flask consent publish"):
        kit.runtime.ensure()
    kit.runtime.publish()
    kit.give("u-1", "newsletter")
    assert kit.of("u-1").allows("newsletter")
    assert app.test_client().get("/consent").status_code == 200


def test_the_hosts_404_stays_the_hosts(app: Flask) -> None:
    answer = app.test_client().get("/nowhere")
    assert (answer.status_code, answer.content_type) == (404, "text/html; charset=utf-8")


def test_flask_wtf_does_not_ask_our_forms_for_its_token(tmp_path: Path) -> None:
    from flask_wtf import CSRFProtect

    for late in (False, True):
        app = Flask("wtf", instance_path=str(tmp_path / str(late)))
        app.config.update(SECRET_KEY="k", TESTING=False, WTF_CSRF_ENABLED=True)
        kit = ConsentKit()
        if late:
            kit.init_app(app)
            CSRFProtect(app)
        else:
            CSRFProtect(app)
            kit.init_app(app)
        app.add_url_rule("/host", "host", lambda: "x", methods=["POST"])
        client = app.test_client()
        assert client.post("/consent", data={"decision": "reject-all"}).status_code == 200
        assert client.post("/host").status_code == 400
