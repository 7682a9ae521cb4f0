"""What is recorded and asked over the API: purposes, policies, decisions, erasure, and requests sent twice."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from consentkit import Age, Category, ConsentKit, MinorRules, Party, Purpose, consent_recorded
from consentkit.core.catalog_rules import canonical
from tests.web.api_caller import Caller
from tests.web.conftest import PURPOSES, make_kit, policies

NEWS = "/subjects/u-1/consents/newsletter"
TERMS = "/subjects/u-1/policies/terms"


@pytest.fixture
def api(app: Flask, kit: ConsentKit) -> Caller:
    return Caller(app, kit)


def status(api: Caller, subject: str, item: str) -> str:
    (found,) = (c for c in api.get(f"/subjects/{subject}/consents").json["consents"] if c["item"] == item)
    return str(found["status"])


# ---------------------------------------------------------------- purposes


@pytest.mark.parametrize(
    ("action", "allowed", "reason"),
    [
        ("given", True, "GIVEN"),
        ("renewed", True, "GIVEN"),
        ("refused", False, "REFUSED"),
        ("withdrawn", False, "WITHDRAWN"),
    ],
)
def test_an_answer_is_recorded_and_decides(api: Caller, action: str, allowed: bool, reason: str) -> None:
    said = {"action": action, "method": "tick", "locale": "de", "notice": "ab" * 32}
    answer = api.put(NEWS, said)
    event = answer.json["event"]
    assert answer.status_code == 200
    assert {name: event[name] for name in said} == said
    assert (event["item"], event["kind"], event["actor"]) == ("newsletter", "purpose", "subject")
    assert api.get(f"/events/{event['event_id']}").json["body"] == event["body"]
    decision = api.get("/subjects/u-1/decisions/newsletter").json
    assert (decision["allowed"], decision["reason"], decision["event_id"]) == (
        allowed,
        reason,
        event["event_id"],
    )
    assert status(api, "u-1", "newsletter") == action


def test_nobody_known_is_unknown(api: Caller) -> None:
    answer = api.get("/subjects/nobody/consents")
    assert answer.status_code == 200
    assert {c["status"] for c in answer.json["consents"]} == {"unknown"}
    assert {c["item"] for c in answer.json["consents"]} >= {"newsletter", "terms", "privacy"}
    assert api.get("/subjects/nobody/decisions/newsletter").json["reason"] == "NO_ANSWER"
    assert api.get("/subjects/nobody/export").json["events"] == []
    assert api.get("/subjects/nobody/receipt").json["answers"] == []
    assert api.get("/events?subject=nobody").json == {"events": [], "cursor": None}


@pytest.mark.parametrize(
    "key", ["nope", "analytics", "terms", "sign_up", "purpose:nope", "%00", "%F0%9F%92%A9"]
)
def test_only_purposes_are_given(api: Caller, key: str) -> None:
    answer = api.put(f"/subjects/u-1/consents/{key}", {"action": "given"})
    assert (answer.status_code, answer.json["type"]) == (422, "urn:consentkit:problem:unknown-purpose")
    assert api.events("u-1") == []


@pytest.mark.parametrize("key", ["nope", "newsletter", "sign_up"])
def test_only_policies_are_accepted(api: Caller, key: str) -> None:
    answer = api.put(f"/subjects/u-1/policies/{key}", {"action": "accepted"})
    assert (answer.status_code, answer.json["type"]) == (422, "urn:consentkit:problem:unknown-policy")
    assert api.events("u-1") == []


def test_a_purpose_with_its_categorys_key_is_the_purpose(app_of: Callable[..., Flask]) -> None:
    kit = make_kit(purposes=[*PURPOSES, Purpose("analytics", category="analytics")])
    api = Caller(app_of(kit), kit)
    assert api.put("/subjects/u-1/consents/analytics", {"action": "given"}).status_code == 200
    assert [e["item"] for e in api.events("u-1")] == ["analytics"]
    assert api.get("/subjects/u-1/decisions/purpose:analytics").json["allowed"] is True
    assert api.get("/subjects/u-1/decisions/analytics").json["allowed"] is True
    asked = {"subjects": ["u-1"], "item": "analytics"}
    assert api.call("POST", "/decisions", json=asked).json["decisions"][0]["allowed"] is True


def test_a_visitor_can_be_read_and_withdrawn_but_not_granted(app: Flask, api: Caller) -> None:
    client = app.test_client()
    client.post("/consent", json={"decision": "accept-all"})
    visitor = client.get("/subject").text
    assert visitor.startswith("visitor:")
    at = f"/subjects/{visitor}/consents/statistics"
    assert status(api, visitor, "statistics") == "given"
    refused = api.put(at, {"action": "given"})
    assert (refused.status_code, refused.json["type"]) == (422, "urn:consentkit:problem:choice-rejected")
    accepted = api.put(f"/subjects/{visitor}/policies/terms", {"action": "accepted"})
    assert accepted.status_code == 422
    assert api.put(at, {"action": "withdrawn"}).status_code == 200
    assert status(api, visitor, "statistics") == "withdrawn"


def test_an_answer_can_be_dated_back_but_not_over_a_later_one(api: Caller) -> None:
    api.put(NEWS, {"action": "withdrawn"})
    old = api.put(NEWS, {"action": "given", "method": "import", "at": "2025-06-01T12:00:00+02:00"})
    assert old.json["event"]["effective_at"] == "2025-06-01T10:00:00.000000Z"
    assert status(api, "u-1", "newsletter") == "withdrawn"
    then = api.get("/subjects/u-1/decisions/newsletter?at=2025-06-02T00:00:00Z").json
    assert (then["allowed"], then["event_id"]) == (True, old.json["event"]["event_id"])
    for before in ("2025-06-01T11:59:59%2B02:00", "2025-06-01T11:59:59+02:00", "2025-06-01t09:59:59z"):
        assert api.get(f"/subjects/u-1/decisions/newsletter?at={before}").json["reason"] == "NO_ANSWER"


def test_a_little_ahead_is_a_clock_that_differs(api: Caller) -> None:
    soon = (datetime.now(UTC) + timedelta(minutes=4)).isoformat()
    assert api.put(NEWS, {"action": "given", "at": soon}).status_code == 200
    late = (datetime.now(UTC) + timedelta(minutes=6)).isoformat()
    assert api.put(NEWS, {"action": "given", "at": late}).status_code == 422


def test_another_actor_revokes(api: Caller) -> None:
    api.put(NEWS, {"action": "given"})
    event = api.put(NEWS, {"action": "withdrawn", "actor": "operator"}).json["event"]
    assert (event["action"], event["actor"]) == ("revoked", "operator")
    assert api.get("/subjects/u-1/decisions/newsletter").json["reason"] == "REVOKED"


def test_a_scoped_purpose_is_answered_for_one_thing(app_of: Callable[..., Flask]) -> None:
    kit = make_kit(purposes=[*PURPOSES, Purpose("publish", scoped=True)])
    api = Caller(app_of(kit), kit)
    at = "/subjects/u-1/consents/publish"
    assert api.put(at, {"action": "given"}).status_code == 422
    assert api.put(at, {"action": "given", "scope": "photo:1"}).status_code == 200
    listed = api.get("/subjects/u-1/consents").json["consents"]
    found = {c["scope"]: c["status"] for c in listed if c["item"] == "publish"}
    assert found == {"": "unknown", "photo:1": "given"}
    asked = "/subjects/u-1/decisions/publish?scope="
    assert api.get(asked + "photo:1").json["allowed"] is True
    assert api.get(asked + "photo:2").json["allowed"] is False
    batch = api.call("POST", "/decisions", json={"subjects": ["u-1"], "item": "publish", "scope": "photo:1"})
    assert batch.json["decisions"][0]["allowed"] is True


# ---------------------------------------------------------------- policies


def test_an_acceptance_records_the_text(api: Caller) -> None:
    event = api.put("/subjects/u-1/policies/privacy", {"action": "accepted", "locale": "de"}).json["event"]
    text = b"# Datenschutz"
    assert (event["action"], event["version"], event["locale"]) == ("accepted", "2026-01", "de")
    assert event["notice"] == hashlib.sha256(text).hexdigest()
    shown = api.get(f"/documents/{event['notice']}")
    assert (shown.data, shown.content_type) == (text, "text/markdown; charset=utf-8")
    assert status(api, "u-1", "privacy") == "accepted"


def test_a_text_that_is_not_in_force_is_409_and_the_current_one_is_named(
    app_of: Callable[..., Flask],
) -> None:
    old_kit = make_kit()
    old = Caller(app_of(old_kit), old_kit).get("/policies").json["policies"][0]["versions"][0]["texts"]["en"]
    kit = make_kit(policies=policies(2))
    api = Caller(app_of(kit), kit)
    answer = api.put(TERMS, {"action": "accepted", "notice": old})
    assert answer.status_code == 409
    assert api.events("u-1") == []
    current = answer.json["current"]
    assert api.get(f"/documents/{current}").text.startswith("# Terms 2")
    assert api.put(TERMS, {"action": "accepted", "notice": current}).json["event"]["version"] == "2"
    assert api.put(TERMS, {"action": "declined", "notice": old}).status_code == 200
    assert api.get("/subjects/u-1/decisions/terms").json["reason"] == "REFUSED"


@pytest.mark.parametrize("body", [{"action": "given"}, {"action": "accepted", "scope": "x"}])
def test_a_policy_takes_its_own_words(api: Caller, body: dict[str, str]) -> None:
    assert api.put(TERMS, body).status_code == 422


def test_policies_list_every_version(app_of: Callable[..., Flask]) -> None:
    kit = make_kit(policies=policies(2, "editorial"))
    terms, privacy = Caller(app_of(kit), kit).get("/policies").json["policies"]
    assert (terms["key"], terms["in_force"]) == ("terms", "2")
    assert [(v["version"], v["change"]) for v in terms["versions"]] == [
        ("1", "material"),
        ("2", "editorial"),
    ]
    assert set(privacy["versions"][0]["texts"]) == {"en", "de"}


# ---------------------------------------------------------------- decisions, catalogue


def test_a_batch_answers_in_its_order(api: Caller) -> None:
    api.put(NEWS, {"action": "given"})
    asked = {"subjects": ["x", "u-1", "x", "ü/人"], "item": "newsletter"}
    found = api.call("POST", "/decisions", json=asked).json["decisions"]
    assert [(d["subject"], d["allowed"]) for d in found] == [
        ("x", False),
        ("u-1", True),
        ("x", False),
        ("ü/人", False),
    ]


@pytest.mark.parametrize(
    "body",
    [
        {"subjects": [], "item": "newsletter"},
        {"subjects": ["u"] * 1001, "item": "newsletter"},
        {"subjects": "u", "item": "newsletter"},
        {"subjects": ["u", 1], "item": "newsletter"},
        {"subjects": ["u", None], "item": "newsletter"},
        {"subjects": ["u", ""], "item": "newsletter"},
        {"subjects": ["a\0b"], "item": "newsletter"},
        {"subjects": ["\ud800"], "item": "newsletter"},
        {"subjects": ["u"], "item": "nope"},
        {"subjects": ["u"], "item": "\ud800"},
        {"subjects": ["u"], "item": ["newsletter"]},
        {"subjects": ["u"], "item": "newsletter", "at": "2026-01-31T12:00:00Z"},
        {"subjects": ["u"], "item": "newsletter", "scope": "a b"},
        {"subjects": ["u"]},
        {"item": "newsletter"},
    ],
    ids=str,
)
def test_a_bad_batch_is_422(api: Caller, body: dict[str, Any]) -> None:
    assert api.call("POST", "/decisions", json=body).status_code == 422


def test_a_full_batch_fits(api: Caller) -> None:
    asked = {"subjects": [f"{n:036}" for n in range(1000)], "item": "analytics"}
    assert len(api.call("POST", "/decisions", json=asked).json["decisions"]) == 1000


@pytest.mark.parametrize("item", ["nope", "purpose:analytics", "%00"])
def test_an_unknown_item_is_422(api: Caller, item: str) -> None:
    assert api.get(f"/subjects/u-1/decisions/{item}").status_code == 422


@pytest.mark.parametrize("item", ["newsletter", "analytics", "necessary", "terms", "sign_up", "purpose:ads"])
def test_every_kind_of_key_can_be_asked(api: Caller, item: str) -> None:
    assert api.get(f"/subjects/u-1/decisions/{item}").json["item"] == item


def test_the_catalogue_names_its_notices_and_no_secret(app_of: Callable[..., Flask]) -> None:
    party = Party("mailer", name="Mailer", country="DE", webhook="https://example.org/s3cret")
    kit = make_kit(parties=[party])
    api = Caller(app_of(kit), kit)
    shown = api.get("/catalog")
    assert [p["key"] for p in shown.json["purposes"]][:2] == ["newsletter", "statistics"]
    assert shown.json["purposes"][1]["cookies"][0]["name"] == "_tally*"
    own = {cookie["name"]: cookie for cookie in shown.json["own_cookies"]}
    assert list(own) == ["consent", "consent_hint", "consent_seen"]
    assert own["consent"]["duration"] == "P180D"
    assert set(own["consent"]["description"]) == {"en", "de"}
    assert "s3cret" not in shown.text
    notice = shown.json["notices"]["de"]
    assert hashlib.sha256(api.get(f"/documents/{notice}").data).hexdigest() == notice
    hidden = hashlib.sha256(canonical(kit.catalog).encode()).hexdigest()
    with api.app.app_context():
        assert kit.document(hidden) is not None
    assert api.get(f"/documents/{hidden}").status_code == 404


def test_the_catalogue_calls_categories_as_people_read_them(app_of: Callable[..., Flask]) -> None:
    kit = make_kit(categories=[Category("embeds", title={"en": "Embeds"}), Category("own", title="Own")])
    listed = Caller(app_of(kit), kit).get("/catalog").json["categories"]
    titles = {category["key"]: category["title"] for category in listed}
    assert titles["analytics"] == {"en": "Statistics", "de": "Statistik"}
    assert (titles["embeds"], titles["own"]) == ({"en": "Embeds"}, "Own")
    assert {category["key"]: category["description"] for category in listed}["own"] == ""


@pytest.mark.parametrize("digest", ["0" * 64, "x", "%00", "A" * 64])
def test_there_is_no_such_text(api: Caller, digest: str) -> None:
    assert api.get(f"/documents/{digest}").status_code == 404


# ---------------------------------------------------------------- erasure


def test_erasure_ends_everything(app: Flask, kit: ConsentKit, api: Caller) -> None:
    api.put(NEWS, {"action": "given"})
    answer = api.call("DELETE", "/subjects/u-1?reason=art17.1b")
    assert (answer.status_code, answer.json["status"]) == (200, "erased")
    assert '"reason":"art17.1b"' in answer.json["event"]["body"]
    assert api.get("/subjects/u-1/decisions/newsletter").json["reason"] == "ERASED"
    events = len(api.events("u-1"))
    again = api.call("DELETE", "/subjects/u-1")
    assert again.json == {"subject": "u-1", "status": "erased", "event": None}
    assert len(api.events("u-1")) == events
    api.put(NEWS, {"action": "given"})
    assert api.get("/subjects/u-1/decisions/newsletter").json["allowed"] is True


def test_events_can_be_destroyed(api: Caller) -> None:
    event = api.put(NEWS, {"action": "given"}, headers=keyed('"k"')).json["event"]["event_id"]
    assert api.call("DELETE", "/subjects/u-1?mode=shred").status_code == 400
    assert api.call("DELETE", "/subjects/u-1").json["event"] is not None
    assert api.get(f"/events/{event}").status_code == 200
    assert api.call("DELETE", "/subjects/u-1?mode=destroy").json["event"] is not None
    assert api.get(f"/events/{event}").status_code == 404
    assert {e["action"] for e in api.events("u-1")} == {"erased"}
    assert api.put(NEWS, {"action": "given"}, headers=keyed('"k"')).status_code == 410


def test_erasing_nobody_records_nothing(app: Flask, kit: ConsentKit, api: Caller) -> None:
    answer = api.call("DELETE", "/subjects/nobody")
    assert answer.json == {"subject": "nobody", "status": "unknown", "event": None}
    assert api.get("/subjects/nobody/decisions/newsletter").json["reason"] == "NO_ANSWER"
    with app.app_context():
        assert kit.runtime.reader.state("", "nobody").key is None


# ---------------------------------------------------------------- the request is not the person's


def test_the_callers_place_is_not_the_persons(app: Flask, kit: ConsentKit, api: Caller) -> None:
    @kit.jurisdiction_loader
    def where() -> str:
        return "US-CA"

    api.put(NEWS, {"action": "given"})
    assert api.get("/subjects/u-1/export").json["facts"]["jurisdiction"] is None
    assert '"jurisdiction":null' in api.events("u-1")[0]["body"]


def test_the_hosts_ages_are_of_its_own_accounts(app_of: Callable[..., Flask]) -> None:
    kit = make_kit(minors=MinorRules(age=16))

    @kit.age_loader
    def age(subject: str) -> Age:
        return Age(years=9)

    app = app_of(kit)
    needed = Caller(app, kit).put(NEWS, {"action": "given"})
    assert (needed.status_code, needed.json["type"]) == (422, "urn:consentkit:problem:guardian-needed")
    tenant = Caller(app, kit, tenant="acme")
    assert tenant.put(NEWS, {"action": "given", "notice": "0" * 64}).status_code == 200


# ---------------------------------------------------------------- sent twice


def keyed(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key}


def test_the_same_request_is_recorded_once(app: Flask, kit: ConsentKit, api: Caller) -> None:
    heard: list[str] = []

    def listen(sender: object, **said: Any) -> None:
        heard.extend(event.event_id for event in said["events"])
        assert sender is kit
        assert (said["subject"], said["tenant"]) == ("u-1", "")

    with consent_recorded.connected_to(listen):
        first = api.put(NEWS, {"action": "given", "locale": "en"}, headers=keyed('"8e03978e"'))
        again = api.put(NEWS, {"locale": "en", "action": "given"}, headers=keyed(' "8e03978e" '))
    assert first.status_code == again.status_code == 200
    assert first.json == again.json
    assert heard == [first.json["event"]["event_id"]]
    assert len(api.events("u-1")) == 1


def test_without_the_header_each_request_is_recorded(api: Caller) -> None:
    assert api.put(NEWS, {"action": "given"}).json != api.put(NEWS, {"action": "given"}).json
    assert len(api.events("u-1")) == 2


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (NEWS, {"action": "refused"}),
        (NEWS, {"action": "given", "locale": "en"}),
        (NEWS, {"action": "given", "at": "2026-01-31T12:00:00Z"}),
        ("/subjects/u-2/consents/newsletter", {"action": "given"}),
        ("/subjects/u-1/consents/statistics", {"action": "given"}),
        (TERMS, {"action": "accepted"}),
    ],
)
def test_another_request_with_the_key_is_refused(api: Caller, path: str, body: dict[str, str]) -> None:
    api.put(NEWS, {"action": "given"}, headers=keyed('"k"'))
    answer = api.put(path, body, headers=keyed('"k"'))
    assert (answer.status_code, answer.json["type"]) == (422, "urn:consentkit:problem:idempotency-key-reused")
    assert [e["action"] for e in api.events("u-1")] == ["given"]
    assert api.events("u-2") == []


@pytest.mark.parametrize(
    "key", ["", "k", '"', '""', "'k'", '"k";', '"ü"', '"a\\b"', '"a", "b"', f'"{"x" * 256}"', "5", "?1"]
)
def test_a_key_is_a_quoted_string(api: Caller, key: str) -> None:
    answer = api.put(NEWS, {"action": "given"}, headers=keyed(key))
    assert (answer.status_code, answer.json["type"]) == (400, "urn:consentkit:problem:bad-idempotency-key")
    assert api.events("u-1") == []


@pytest.mark.parametrize("key", ['"k"', r'"a\"b\\c"', f'"{"x" * 255}"', '" ~!"'])
def test_keys_that_are_strings(api: Caller, key: str) -> None:
    answers = [api.put(NEWS, {"action": "given"}, headers=keyed(key)).json for _ in range(2)]
    assert answers[0] == answers[1]


def test_what_was_refused_is_not_remembered(api: Caller) -> None:
    assert api.put(NEWS, {"action": "given", "actor": "operator"}, headers=keyed('"k"')).status_code == 422
    stale = api.put(TERMS, {"action": "accepted", "notice": "0" * 64}, headers=keyed('"k"'))
    assert stale.status_code == 409
    assert api.put(NEWS, {"action": "given"}, headers=keyed('"k"')).status_code == 200
    assert len(api.events("u-1")) == 1


def test_after_a_day_the_key_is_free(
    app: Flask, kit: ConsentKit, api: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.put(NEWS, {"action": "given"}, headers=keyed('"k"'))
    with app.app_context():
        clock = kit.runtime.clock
        now = clock.now
        monkeypatch.setattr(clock, "now", lambda: now() + 86_400 * 1_000_000 - 10_000_000)
        assert api.put(NEWS, {"action": "refused"}, headers=keyed('"k"')).status_code == 422
        monkeypatch.setattr(clock, "now", lambda: now() + 86_400 * 1_000_000)
        assert api.put(NEWS, {"action": "refused"}, headers=keyed('"k"')).status_code == 200
        rows = kit.runtime.database.read(lambda tx: tx.run("SELECT count(*) FROM consentkit_idempotency"))
    assert rows == [(1,)]


def test_the_table_names_nobody(app: Flask, kit: ConsentKit, api: Caller) -> None:
    api.put("/subjects/ada-lovelace/consents/newsletter", {"action": "given"}, headers=keyed('"k"'))
    with app.app_context():
        rows = kit.runtime.database.read(lambda tx: tx.run("SELECT * FROM consentkit_idempotency"))
    assert "lovelace" not in str(rows)
    assert len(rows[0][3]) == 32


def test_two_at_once_record_once(app: Flask, api: Caller) -> None:
    answers: list[Any] = []
    start = threading.Barrier(8)

    def send() -> None:
        start.wait()
        answers.append(api.put(NEWS, {"action": "given"}, headers=keyed('"k"')))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json["event"]["event_id"] for answer in answers}) == 1
    assert len(api.events("u-1")) == 1


def test_nothing_is_remembered_when_the_ledger_fails_midway(
    app: Flask, kit: ConsentKit, api: Caller, tmp_path: Path
) -> None:
    with app.app_context():
        kit.runtime.database.write(
            lambda tx: tx.count(
                "CREATE TRIGGER no_room BEFORE INSERT ON consentkit_pending BEGIN SELECT RAISE(ABORT, 'full'); END"
            )
        )
    assert api.put(NEWS, {"action": "given"}, headers=keyed('"k"')).status_code == 503
    with app.app_context():
        kit.runtime.database.write(lambda tx: tx.count("DROP TRIGGER no_room"))
        assert kit.runtime.database.read(lambda tx: tx.run("SELECT * FROM consentkit_idempotency")) == []
    assert api.events("u-1") == []
    assert api.put(NEWS, {"action": "given"}, headers=keyed('"k"')).status_code == 200


def test_the_host_hears_of_every_answer(app: Flask, kit: ConsentKit, api: Caller) -> None:
    heard: list[tuple[object, str]] = []
    with consent_recorded.connected_to(lambda sender, **said: heard.append((sender, said["subject"])), kit):
        api.put(NEWS, {"action": "given"})
        api.call("DELETE", "/subjects/u-1")
    assert heard == [(kit, "u-1"), (kit, "u-1")]
