"""The same on PostgreSQL: keys, requests sent twice at once, pages, ids that its types would refuse."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from consentkit import ConsentKit
from tests.web.api_caller import Caller
from tests.web.conftest import make_app, make_kit

NEWS = "/subjects/u-1/consents/newsletter"


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


def test_a_long_id_fits_its_index(api: Caller) -> None:
    subject = "%F0%9F%92%A9" * 256
    assert api.put(f"/subjects/{subject}/consents/newsletter", {"action": "refused"}).status_code == 200


def test_a_refused_answer_leaves_nothing(api: Caller) -> None:
    header = {"Idempotency-Key": '"k"'}
    said = {"action": "given", "actor": "operator", "notice": "0" * 64}
    assert api.put(NEWS, said, headers=header).status_code == 422
    assert api.put(NEWS, {"action": "refused"}, headers=header).status_code == 200
