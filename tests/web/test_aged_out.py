"""At the threshold a guardian's yes ends and the person is asked: over HTTP, on both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from ledgers import KEY, LOG_KEY, ShiftedClock

from consentkit import Age, ConsentKit, MinorRules, Site
from consentkit.testing import prepare
from tests.web.conftest import make_kit

HTML = {"Accept": "text/html"}
OWN = {"Sec-Fetch-Site": "same-origin"}
DAY_US = 24 * 3600 * 1_000_000


class Birthday:
    """A browser that is signed in as somebody of fifteen, whose birthday is tomorrow, in Germany."""

    def __init__(self, app: Flask, kit: ConsentKit) -> None:
        self.kit, self.clock, self.client = kit, ShiftedClock(), app.test_client()
        with app.app_context():
            kit.runtime.clock = self.clock
            kit.learn("kid", age=Age(years=15))
        self.client.post("/login", data={"user": "kid"})

    def comes(self) -> None:
        self.clock.shift_us += DAY_US

    def status(self) -> Any:
        return self.client.get("/consent/status").json

    def reason(self) -> str:
        found: Any = self.client.get("/letters").json
        return str(found["reason"])


@pytest.fixture(params=["sqlite", "postgresql"])
def birthday(request: pytest.FixtureRequest, app_of: Callable[..., Flask]) -> Iterator[Birthday]:
    config: dict[str, str] = {}
    if request.param == "postgresql":
        config["CONSENTKIT_DATABASE_URL"] = request.getfixturevalue("pg_url")
        config |= {"CONSENTKIT_KEY": KEY, "CONSENTKIT_LOG_KEY": LOG_KEY}
    kit = make_kit(minors=MinorRules(), site=Site(name="Test", default_jurisdiction="DE"))
    app = app_of(kit, **config)
    prepare(app)
    yield Birthday(app, kit)
    with app.app_context():
        kit.runtime.dispose()


def allowed(client: FlaskClient) -> bool:
    return client.get("/letters", headers=HTML).status_code == 200


def test_the_person_is_asked(birthday: Birthday) -> None:
    kit, client = birthday.kit, birthday.client
    kit.give("kid", ["newsletter", "statistics", "ads"], actor="guardian:1", assurance="verifiable")
    assert allowed(client)
    assert birthday.status()["decided"]
    assert "analytics" in birthday.status()["granted"]
    birthday.comes()
    led = client.get("/letters", headers=HTML)
    assert (led.status_code, led.location) == (303, "/consent?next=/letters")
    program: Any = client.get("/letters")
    assert (program.status_code, program.json["reason"]) == (403, "AGED_OUT")
    assert program.json["needs"] == ["newsletter"]
    assert not birthday.status()["decided"]
    assert birthday.status()["granted"] == []


def test_the_persons_own_yes(birthday: Birthday) -> None:
    kit, client = birthday.kit, birthday.client
    kit.give("kid", "newsletter", actor="guardian:1", assurance="verifiable")
    early: Any = client.post("/consent", json={"decision": "save", "purpose": ["newsletter"]}, headers=OWN)
    assert early.status_code == 422
    birthday.comes()
    client.post("/consent", json={"decision": "save", "purpose": ["newsletter"]}, headers=OWN)
    assert allowed(client)
    assert birthday.status()["decided"]


def test_the_persons_own_no(birthday: Birthday) -> None:
    kit, client = birthday.kit, birthday.client
    kit.give("kid", ["newsletter", "statistics", "ads"], actor="guardian:1", assurance="verifiable")
    birthday.comes()
    client.post("/consent", json={"decision": "reject-all"}, headers=OWN)
    assert birthday.reason() == "REFUSED"
    assert birthday.status()["decided"]


def test_a_guardians_no_ends_too(birthday: Birthday) -> None:
    kit = birthday.kit
    kit.give("kid", "newsletter", actor="guardian:1", assurance="verifiable")
    kit.withdraw("kid", "newsletter", actor="guardian:1")
    assert birthday.reason() == "GUARDIAN_REVOKED"
    birthday.comes()
    assert birthday.reason() == "NO_ANSWER"


def test_what_the_guardian_said_stays_as_proof(birthday: Birthday) -> None:
    kit = birthday.kit
    (event,) = kit.give("kid", "newsletter", actor="guardian:1", assurance="verifiable")
    birthday.comes()
    kit.give("kid", "newsletter")
    said = [(e.actor, e.action) for e in kit.ledger.of_subject("kid")]
    assert said == [("guardian:1", "given"), ("subject", "given")]
    kit.ledger.seal()
    assert kit.ledger.verify().completeness
    assert kit.ledger.prove(event.event_id)


def test_nothing_is_written_at_the_threshold(birthday: Birthday) -> None:
    """It is computed: no command has to run, and a clock that goes back is a child again."""
    kit, client = birthday.kit, birthday.client
    kit.give("kid", "newsletter", actor="guardian:1", assurance="verifiable")
    before = kit.export("kid")
    birthday.comes()
    assert not allowed(client)
    assert kit.export("kid") == before
    birthday.clock.shift_us -= DAY_US
    assert allowed(client)
