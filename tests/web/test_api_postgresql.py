"""The same on PostgreSQL: keys, requests sent twice at once, pages, ids that its types would refuse."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from consentkit import ConsentKit
from consentkit.proof import SigningKey
from consentkit.verify import verify
from tests.web.api_caller import Caller
from tests.web.conftest import make_app, make_kit

NEWS = "/subjects/u-1/consents/newsletter"
LOG_KEY = SigningKey("consentkit-log", bytes(range(32)))


@pytest.fixture
def pg_kit() -> ConsentKit:
    return make_kit()


@pytest.fixture
def pg_app(pg_kit: ConsentKit, pg_url: str, tmp_path: Path) -> Iterator[Flask]:
    app = make_app(pg_kit, tmp_path, CONSENTKIT_DATABASE_URL=pg_url, CONSENTKIT_KEY="k" * 32)
    with app.app_context():
        pg_kit.runtime.upgrade()
        pg_kit.runtime.publish()
    yield app
    with app.app_context():
        pg_kit.runtime.dispose()


@pytest.fixture
def api(pg_app: Flask, pg_kit: ConsentKit) -> Caller:
    return Caller(pg_app, pg_kit, tenant="acme")


def test_two_at_once_record_once(api: Caller) -> None:
    answers: list[Any] = []
    start = threading.Barrier(6)

    def send() -> None:
        start.wait()
        answers.append(api.put(NEWS, {"action": "withdrawn"}, headers={"Idempotency-Key": '"k"'}))

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json["event"]["event_id"] for answer in answers}) == 1
    assert len(api.events("u-1")) == 1


def test_pages_and_events(api: Caller) -> None:
    for _ in range(5):
        said = api.put(NEWS, {"action": "refused"}).json["event"]
    assert len(api.events("u-1")) == 5
    assert api.get(f"/events/{said['event_id'].upper()}").json["body"] == said["body"]
    assert api.get("/events").status_code == 200


@pytest.mark.parametrize("event_id", ["x", "%00", "0" * 36, "01a2031d-8937-7000-9c3a-f77ce141a9c0"])
def test_there_is_no_such_event(api: Caller, event_id: str) -> None:
    assert api.get(f"/events/{event_id}").status_code == 404


@pytest.mark.parametrize(
    "path", ["/subjects/a%00b/consents", "/events?item=%00", "/events?subject=u&after=eA"]
)
def test_what_the_database_would_refuse_is_refused_before(api: Caller, path: str) -> None:
    assert api.get(path).status_code == 400


def test_proofs_and_tiles_come_with_the_sealer(
    pg_app: Flask, pg_kit: ConsentKit, pg_url: str, api: Caller, tmp_path: Path
) -> None:
    event = api.put(NEWS, {"action": "refused"}).json["event"]["event_id"]
    early = api.get(f"/events/{event}/proof")
    assert (early.status_code, early.json["type"]) == (409, "urn:consentkit:problem:not-sealed")
    assert int(early.headers["Retry-After"]) > 0
    assert Caller(pg_app, pg_kit).get(f"/events/{event}/proof").status_code == 404
    assert api.get("/checkpoint").json["type"] == "urn:consentkit:problem:no-checkpoint"
    assert api.get("/tile/0/000.p/1").status_code == 404
    assert api.get("/log-key").json["type"] == "urn:consentkit:problem:no-log-key"

    config = {"CONSENTKIT_KEY": "k" * 32, "CONSENTKIT_LOG_KEY": LOG_KEY.private_text()}
    kit = make_kit()
    sealer = make_app(kit, tmp_path, CONSENTKIT_DATABASE_URL=pg_url, **config)
    with sealer.app_context():
        assert kit.ledger.seal().size == 1
    served = Caller(sealer, kit).get("/log-key").text
    with sealer.app_context():
        kit.runtime.dispose()
    assert served == f"{LOG_KEY.verifier}\n"
    shown = verify(api.get(f"/events/{event}/proof").text, served)
    assert api.get("/tile/0/000.p/1").data == shown.checkpoint.root
    assert api.get("/checkpoint").text.split("\n")[1] == "1"


def test_a_long_id_fits_its_index(api: Caller) -> None:
    subject = "%F0%9F%92%A9" * 256
    assert api.put(f"/subjects/{subject}/consents/newsletter", {"action": "refused"}).status_code == 200


def test_a_refused_answer_leaves_nothing(api: Caller) -> None:
    header = {"Idempotency-Key": '"k"'}
    said = {"action": "given", "actor": "operator", "notice": "0" * 64}
    assert api.put(NEWS, said, headers=header).status_code == 422
    assert api.put(NEWS, {"action": "refused"}, headers=header).status_code == 200
