"""The log holds nothing about people, whatever happens: everything is driven, every record is searched."""

from __future__ import annotations

import ast
import logging
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, current_app

from consentkit import (
    ConsentKit,
    ConsentMissing,
    ExceptionGround,
    Purpose,
    StoreUnavailable,
    consent_recorded,
    decision_made,
    processing_blocked,
)
from consentkit.proof import SigningKey
from consentkit.testing import ConsentClient, prepare, temporary_database
from tests.web.api_caller import Caller
from tests.web.conftest import PURPOSES, make_app, make_kit

ADA, BOB, NEW_ID = "ada@example.org", "bob-4711", "ada-4712"
SCOPE, REFERENCE, OPERATOR = "comment:nicht-fuer-alle", "az-99-7", "staff-12"
IP, AGENT = "203.0.113.77", "Gespensterbrowser/1.0"
HEADERS = {"User-Agent": AGENT, "Sec-GPC": "1", "X-Forwarded-For": IP}
SAME = {"Sec-Fetch-Site": "same-origin"}


class Records(logging.Handler):
    """Everything that the logger `consentkit` was told."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def events(self) -> set[str]:
        return {vars(record)["event"] for record in self.records}

    def text(self) -> str:
        """Every word of every record: message, arguments, fields, traceback."""
        return "\n".join(
            f"{record.getMessage()}\n{vars(record)!r}\n"
            + ("".join(traceback.format_exception(*record.exc_info)) if record.exc_info else "")
            for record in self.records
        )


@pytest.fixture
def records() -> Iterator[Records]:
    logger, handler = logging.getLogger("consentkit"), Records()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(before)


@pytest.fixture
def kit() -> ConsentKit:
    purposes = [*PURPOSES, Purpose("quote", title="Printing a comment", scoped=True)]
    return make_kit(purposes=purposes, exceptions=[ExceptionGround("court_order", title="Order of a court")])


def settings(database: str, request: pytest.FixtureRequest, folder: Path) -> dict[str, Any]:
    if database == "sqlite":
        return temporary_database(folder)
    url = request.getfixturevalue("pg_url")
    log_key = SigningKey.generate("consentkit-log").private_text()
    return {"CONSENTKIT_DATABASE_URL": url, "CONSENTKIT_KEY": "k" * 64, "CONSENTKIT_LOG_KEY": log_key}


@pytest.fixture(params=["sqlite", "postgresql"])
def host(request: pytest.FixtureRequest, kit: ConsentKit, tmp_path: Path) -> Iterator[Flask]:
    app = make_app(kit, tmp_path, **settings(request.param, request, tmp_path))
    app.test_client_class = ConsentClient

    @app.get("/sets-cookies")
    def sets_cookies() -> Response:
        response = current_app.response_class("cookies")
        response.set_cookie("_tally", "value-of-tally")
        response.set_cookie("undeclared", f"value-of-{ADA}")
        return response

    prepare(app)
    yield app
    with app.app_context():
        kit.runtime.dispose()


def browse(app: Flask) -> set[str]:
    """The banner, the pages and the gates, as a visitor and signed in. What must not be in the log."""
    client = app.test_client()
    client.environ_base.update({"REMOTE_ADDR": IP, "HTTP_USER_AGENT": AGENT})
    client.choose("accept-all")
    secrets = {str(client.visitor), str(client.visitor).removeprefix("visitor:")}
    client.choose("save", categories=["analytics"])
    client.post("/consent", data={"decision": "defer"}, headers={**SAME, **HEADERS})
    client.accept("terms")
    client.decline("sign_up")
    for path in ("/", "/letters", "/both", "/account", "/under-terms", "/jinja", "/sets-cookies", "/consent",
                 "/consent/status", "/consent/receipt", "/consent/accept/terms", "/consent/nothing"):  # fmt: skip
        for accept in ("text/html", "application/json"):
            client.get(path, headers={"Accept": accept, **HEADERS})
    client.post("/consent", data={"decision": ADA, "notice": "x", "purpose": ADA}, headers=SAME)
    client.post("/consent", data={"decision": "save", "category": ADA}, headers=SAME)
    client.post("/consent", data={"decision": "accept-all", "notice": "0" * 64}, headers=SAME)
    client.post("/consent", data={"decision": "accept-all"}, headers={"Sec-Fetch-Site": "cross-site"})
    client.post("/login", data={"user": ADA})
    client.get("/letters")
    client.choose("save", purposes=["newsletter"])
    client.choose("withdraw-all")
    for name in ("consent", "consent_hint", "session"):
        cookie = client.get_cookie(name)
        if cookie is not None:
            secrets.add(cookie.value)
    client.set_cookie("consent", f"forged-by-{BOB}")
    client.get("/letters", headers=HEADERS)
    return secrets


def work(app: Flask, kit: ConsentKit) -> None:
    """Jobs, verbs, exceptions, the end of a subject."""

    @kit.gated("newsletter", subject="user")
    def job(user: str) -> None: ...

    kit.give(BOB, ["newsletter", "analytics"], method="paper")
    kit.withdraw(BOB, "newsletter", actor="operator")
    with suppress(ConsentMissing):
        job(BOB)
    how = {"purposes": ["quote"], "reference": REFERENCE, "operator": OPERATOR}
    with kit.exception("court_order", subject=BOB, scope=SCOPE, **how):  # type: ignore[arg-type]
        assert kit.decide(BOB, "quote", scope=SCOPE).reason == "EXCEPTION"
    kit.object(BOB)
    kit.decide_many([ADA, BOB], "analytics")
    for wrong in (lambda: kit.give(ADA, "newslettr"), lambda: kit.give(ADA, "newsletter", method=ADA),
                  lambda: kit.erase(ADA, reason=ADA), lambda: kit.give(f"visitor:{ADA}", "newsletter")):  # fmt: skip
        with suppress(Exception):
            wrong()
    kit.rename(BOB, NEW_ID)
    kit.receipt(NEW_ID)
    kit.export(NEW_ID)
    kit.erase(NEW_ID)
    kit.purge()
    kit.ledger.seal()
    kit.ledger.verify()


def call_the_api(app: Flask, kit: ConsentKit) -> set[str]:
    api = Caller(app, kit)
    api.put(f"/subjects/{ADA}/consents/newsletter", {"action": "given"})
    api.put(f"/subjects/{ADA}/consents/newsletter", {"action": "refused"}, headers={"Idempotency-Key": '"k"'})
    api.put(f"/subjects/{ADA}/consents/{BOB}", {"action": "given"})
    api.put(f"/subjects/{ADA}/consents/newsletter", {"action": "given", "method": ADA, "more": BOB})
    for path in ("consents", "export", "receipt", "decisions/newsletter", f"decisions/{BOB}"):
        api.get(f"/subjects/{ADA}/{path}")
    api.call("POST", "/decisions", json={"item": "newsletter", "subjects": [ADA, BOB]})
    api.get("/events", query_string={"subject": ADA})
    api.call("DELETE", f"/subjects/{ADA}")
    return {api.key}


def run_commands(app: Flask) -> None:
    run = app.test_cli_runner().invoke
    for arguments in (["check"], ["routes"], ["doctor"], ["upgrade"], ["publish"], ["withdraw", ADA, "newsletter"],
                      ["show", ADA], ["show", "nobody"], ["export", ADA], ["erase", ADA, "--yes"], ["purge"],
                      ["seal"], ["verify"], ["keys", "create", "--label", ADA]):  # fmt: skip
        run(args=["consent", *arguments])


def fail(app: Flask, kit: ConsentKit) -> None:
    """Receivers that quote people, a database that quotes rows, a ledger that is gone."""

    def quotes(_kit: object, **about: Any) -> None:
        raise RuntimeError(f"cannot mail {about['subject']} from {IP}")

    with consent_recorded.connected_to(quotes), decision_made.connected_to(quotes):
        with processing_blocked.connected_to(quotes):
            app.test_client().get("/letters")
        kit.give(ADA, "newsletter")
    api, database = Caller(app, kit), kit.runtime.database
    if database.postgresql:
        refuse = "ALTER TABLE consentkit_subject ADD CONSTRAINT no CHECK (subject <> 'new@example.org')"
    else:
        refuse = (
            "CREATE TRIGGER no BEFORE INSERT ON consentkit_subject "
            "BEGIN SELECT RAISE(ABORT, 'refused new@example.org'); END"
        )
    database.write(lambda tx: tx.run(refuse))
    assert api.put("/subjects/new@example.org/consents/newsletter", {"action": "given"}).status_code == 503
    with pytest.raises(StoreUnavailable, match=r"new@example\.org"):
        kit.give("new@example.org", "newsletter")
    gone = "ALTER TABLE consentkit_state RENAME TO gone"
    database.write(lambda tx: tx.run(gone))
    client = app.test_client()
    client.become(f"visitor:{BOB}")
    for path in ("/letters", "/consent", "/"):
        client.get(path, headers={"Accept": "text/html"})
        client.get(path)
    assert not kit.of(ADA).allows("newsletter")
    api.get(f"/subjects/{ADA}/consents")
    kit.decide_many([ADA], "newsletter")


def test_nothing_about_people_is_in_the_log(kit: ConsentKit, host: Flask, records: Records) -> None:
    secrets = {
        ADA,
        BOB,
        NEW_ID,
        IP,
        AGENT,
        SCOPE,
        REFERENCE,
        OPERATOR,
        "new@example.org",
        "forged-by",
        "value-of",
    }
    secrets |= browse(host)
    with host.app_context():
        work(host, kit)
        secrets |= call_the_api(host, kit)
        run_commands(host)
        fail(host, kit)
    secrets |= {f"visitor:{BOB}", "Be kind", "Our monthly letter", "Visitor statistics"}
    text = records.text()
    assert {secret for secret in secrets if secret in text} == set()
    assert records.events >= {
        "answer_recorded",
        "erased",
        "ledger_unavailable",
        "processing_blocked",
        "receiver_failed",
        "undeclared_cookie",
    }


# ---------------------------------------------------------------- what there is


def test_fields_and_levels(kit: ConsentKit, app: Flask, records: Records) -> None:
    app.test_client().get("/letters")
    kit.give("u-1", "newsletter")
    kit.erase("u-1", reason="art17", mode="destroy")
    said = [(r.levelname, r.getMessage()) for r in records.records if vars(r)["event"] != "published"]
    assert said == [
        ("DEBUG", "newsletter is blocked: NO_ANSWER"),
        ("DEBUG", "given: newsletter"),
        ("INFO", "a subject was erased: destroy, art17"),
        ("DEBUG", "erased: subject"),
    ]
    blocked = vars(records.records[0])
    assert (blocked["event"], blocked["item"], blocked["reason"]) == (
        "processing_blocked",
        "newsletter",
        "NO_ANSWER",
    )
    assert Path(str(blocked["pathname"])).name == "kit_gated.py"


def test_a_driver_that_is_gone_is_named_with_what_it_said(records: Records, tmp_path: Path) -> None:
    kit = make_kit()
    make_app(
        kit, tmp_path, CONSENTKIT_DATABASE_URL="postgresql://nobody@127.0.0.1:1/none", CONSENTKIT_KEY="k" * 64
    )
    assert kit.decide("u-1", "newsletter").reason == "STORE_UNAVAILABLE"
    (record,) = records.records
    assert record.levelno == logging.ERROR
    assert vars(record)["event"] == "ledger_unavailable"
    assert vars(record)["error"].startswith("OperationalError, ")
    assert "Connection refused" in record.getMessage()


@pytest.mark.parametrize("path", ["/consent", "/consent/status", "/letters"])
def test_a_failure_is_one_line_of_the_log(app: Flask, kit: ConsentKit, records: Records, path: str) -> None:
    browser = app.test_client()
    browser.post("/consent", data={"decision": "reject-all"}, headers=SAME)
    with kit.runtime.database.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE consentkit_subject RENAME TO gone")
    records.records.clear()
    assert browser.get(path).status_code == 503
    assert [vars(r)["event"] for r in records.records if r.levelno == logging.ERROR] == ["ledger_unavailable"]


def test_a_failure_of_the_api_is_one_line_of_the_log(app: Flask, kit: ConsentKit, records: Records) -> None:
    caller = Caller(app, kit)
    with kit.runtime.database.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE consentkit_subject RENAME TO gone")
    records.records.clear()
    assert caller.get("/subjects/u-1/decisions/newsletter").status_code == 503
    assert [vars(r)["event"] for r in records.records if r.levelno == logging.ERROR] == ["ledger_unavailable"]


def test_in_the_callers_transaction_nothing_is_said_before_the_commit(
    kit: ConsentKit, app: Flask, records: Records
) -> None:
    kit.decide("u-1", "newsletter")
    records.records.clear()
    with kit.runtime.database.engine.begin() as connection:
        kit.give("u-1", "newsletter", connection=connection)
        kit.erase("u-2", connection=connection)
    assert records.records == []


def test_every_event_is_documented() -> None:
    root = Path(__file__).parents[2]
    page, found = (root / "docs" / "observability.md").read_text("utf-8"), set()
    for path in (root / "consentkit").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            name = (
                getattr(node.func, "id", getattr(node.func, "attr", "")) if isinstance(node, ast.Call) else ""
            )
            level = ast.unparse(node.args[0]) if name == "log" and len(node.args) > 2 else ""  # type: ignore[attr-defined]
            if level.removeprefix("logging.") in ("DEBUG", "INFO", "WARNING", "ERROR"):
                found.add(ast.literal_eval(node.args[1]))  # type: ignore[attr-defined]
    assert len(found) > 8
    assert {event for event in found if f"`{event}`" not in page} == set()
