"""Signals: sent at every place, once, by the app's kit, after commit; receivers that fail change nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from blinker import Signal
from flask import Flask, render_template_string

from consentkit import ConsentKit, ConsentMissing, consent_recorded, decision_made, processing_blocked
from consentkit.web.gates import current_consents
from tests.web.api_caller import Caller

HTML, SAME = {"Accept": "text/html"}, {"Sec-Fetch-Site": "same-origin"}


@contextmanager
def heard(signal: Signal) -> Iterator[list[dict[str, Any]]]:
    said: list[dict[str, Any]] = []

    def receive(sender: object, **about: Any) -> None:
        said.append({"sender": sender, **about})

    with signal.connected_to(receive):
        yield said


# ---------------------------------------------------------------- where they are sent


def test_every_gate_that_stops_says_so_once(kit: ConsentKit, app: Flask) -> None:
    @kit.gated("newsletter", subject="user")
    def job(user: str) -> None: ...

    @kit.gated("newsletter", subject="user", skip=True)
    def skipped(user: str) -> None: ...

    client = app.test_client()
    with heard(processing_blocked) as said:
        client.get("/letters")
        client.get("/letters", headers=HTML)
        client.get("/account")
        client.get("/under-terms", headers=HTML)
        skipped("u-1")
        with pytest.raises(ConsentMissing):
            job("u-1")
    assert [(s["decision"].item, s["decision"].reason, s["subject"]) for s in said] == [
        ("newsletter", "NO_ANSWER", None),
        ("newsletter", "NO_ANSWER", None),
        ("terms", "NO_ANSWER", None),
        ("letters_by_terms", "POLICY_NOT_ACCEPTED", None),
        ("newsletter", "NO_ANSWER", "u-1"),
        ("newsletter", "NO_ANSWER", "u-1"),
    ]
    assert all(s["sender"] is kit for s in said)


def test_every_question_about_the_present_is_told_once(kit: ConsentKit, app: Flask) -> None:
    kit.give("u-1", "analytics")
    api = Caller(app, kit)
    with heard(decision_made) as said:
        app.test_client().get("/account")
        api.get("/subjects/u-1/decisions/analytics")
        api.get("/subjects/u-1/consents")
        kit.decide_many(["u-1", "u-2"], "analytics")
        with app.test_request_context("/"):
            app.preprocess_request()
            render_template_string("{{ consents.allows('analytics') }}")
            current_consents.status("analytics")
    assert [(s["asked"], s["decision"].allowed, s["subject"], s["tenant"]) for s in said] == [
        ("terms", False, None, ""),
        ("analytics", True, "u-1", ""),
        ("analytics", True, "u-1", ""),
        ("analytics", False, "u-2", ""),
        ("analytics", False, None, ""),
    ]
    assert all(s["sender"] is kit for s in said)


def test_answers_are_told_wherever_they_come_from(kit: ConsentKit, app: Flask) -> None:
    api, client = Caller(app, kit), app.test_client()
    page = app.test_client().get("/consent/accept/terms", headers=HTML).text
    digest = page.partition('name="notice" value="terms:')[2][:64]
    accepted = {"decision": "accept", "agree": "1", "notice": f"terms:{digest}"}
    with heard(consent_recorded) as said:
        client.post("/consent", data={"decision": "reject-all"}, headers=SAME)
        client.post("/consent/accept/terms", data=accepted, headers=SAME)
        api.put("/subjects/u-1/consents/newsletter", {"action": "given"})
        once = {"headers": {"Idempotency-Key": '"k-1"'}}
        for _ in range(2):
            api.put("/subjects/u-2/consents/newsletter", {"action": "refused"}, **once)
        kit.rename("u-2", "u-3")
        kit.erase("u-1")
    told = [(s["subject"], [e.action for e in s["events"]]) for s in said]
    assert [actions for _, actions in told] == [
        ["refused"] * 5,
        ["accepted"],
        ["given"],
        ["refused"],
        ["refused"],
        ["erased"],
    ]
    assert [subject for subject, _ in told[2:]] == ["u-1", "u-2", "u-3", "u-1"]
    assert all(s["sender"] is kit for s in said)


# ---------------------------------------------------------------- receivers that fail


def fails(_sender: object, **about: Any) -> None:
    raise KeyError(about["subject"])


async def is_a_coroutine(_sender: object, **about: Any) -> None: ...


@pytest.mark.parametrize("receiver", [fails, is_a_coroutine])
def test_a_recorded_answer_stays_recorded_and_answered(
    kit: ConsentKit, app: Flask, caplog: pytest.LogCaptureFixture, receiver: Any
) -> None:
    client = app.test_client()
    client.post("/consent", data={"decision": "accept-all"}, headers=SAME)
    with consent_recorded.connected_to(receiver), heard(consent_recorded) as said:
        answer = client.post("/consent", data={"decision": "withdraw-all"}, headers=SAME)
        assert kit.give("u-1", "newsletter")[0].action == "given"
    assert answer.status_code == 200
    assert answer.json is not None
    assert answer.json["granted"] == []
    assert any("_tally" in value or "consent" in value for value in answer.headers.getlist("Set-Cookie"))
    assert len(said) == 2, "the other receivers are called"
    records = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert [vars(r)["event"] for r in records] == ["receiver_failed", "receiver_failed"]
    assert vars(records[1])["receiver"] == receiver.__qualname__
    assert vars(records[1])["signal"] == "consent-recorded"
    assert "u-1" not in caplog.text, "the message of the error may name the person"


def test_a_gate_stays_a_gate(kit: ConsentKit, app: Flask) -> None:
    with processing_blocked.connected_to(fails), decision_made.connected_to(fails):
        answer = app.test_client().get("/letters")
        assert answer.status_code == 403
        assert answer.get_json()["reason"] == "NO_ANSWER"
        kit.give("u-1", "newsletter")
        assert kit.decide("u-1", "newsletter").allowed


def test_what_ends_the_process_is_no_failure(kit: ConsentKit, app: Flask) -> None:
    def leaves(_sender: object, **_about: Any) -> None:
        raise SystemExit

    with consent_recorded.connected_to(leaves), pytest.raises(SystemExit):
        kit.refuse("u-1", "newsletter")
    assert kit.of("u-1").status("newsletter") == "refused"


def test_a_muted_signal(kit: ConsentKit, app: Flask) -> None:
    with heard(consent_recorded) as said, consent_recorded.muted():
        kit.refuse("u-1", "newsletter")
    assert said == []
