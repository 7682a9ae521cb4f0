"""Facts over the API: age and place, for programs that have no Python."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from flask import Flask

from consentkit import Age, MinorRules, Site, delete_required
from tests.web.api_caller import Caller
from tests.web.conftest import make_kit

YEAR = date.today().year


@pytest.fixture
def api(app_of: Callable[..., Flask]) -> Caller:
    kit = make_kit(minors=MinorRules(age=13), site=Site(default_jurisdiction="GB"))
    return Caller(app_of(kit), kit)


def test_what_is_learned_decides(api: Caller) -> None:
    known = api.put("/subjects/kid/facts", {"age": 12, "jurisdiction": "DE"})
    facts = known.json["facts"]
    assert (known.status_code, facts["band"], facts["jurisdiction"]) == (200, "minor", "DE")
    assert facts == api.get("/subjects/kid/export").json["facts"]
    blocked = api.get("/subjects/kid/decisions/newsletter").json
    assert (blocked["reason"], blocked["needs"]) == ("GUARDIAN_REQUIRED", ["guardian"])
    refused = api.put("/subjects/kid/consents/newsletter", {"action": "given"})
    assert refused.json["type"] == "urn:consentkit:problem:guardian-needed"
    grown = api.put("/subjects/kid/facts", {"born": f"{YEAR - 40}-02-28"})
    assert grown.json == {
        "subject": "kid",
        "facts": {"band": "adult", "minor_until_us": None, "jurisdiction": "DE"},
    }
    moved = api.put("/subjects/kid/facts", {"jurisdiction": "GB"})
    assert moved.json["facts"]["jurisdiction"] == "GB"


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"age": -1},
        {"age": 151},
        {"age": 12.5},
        {"age": "12"},
        {"age": True},
        {"age": None},
        {"age": 12, "born": f"{YEAR - 12}-01-01"},
        {"born": "2011-02-29"},
        {"born": "2999-01-01"},
        {"born": "1800-01-01"},
        {"born": "01.05.2014"},
        {"born": "20140501"},
        {"born": 20140501},
        {"born": "2014-05-01T00:00:00Z"},
        {"jurisdiction": "Germany"},
        {"jurisdiction": "de"},
        {"jurisdiction": ""},
        {"jurisdiction": "DE\n"},
        {"jurisdiction": None},
        {"age": 12, "name": "Ada"},
    ],
)
def test_what_is_no_fact(api: Caller, said: dict[str, Any]) -> None:
    refused = api.put("/subjects/kid/facts", said)
    assert (refused.status_code, refused.json["type"]) == (422, "urn:consentkit:problem:invalid-body")
    assert api.get("/subjects/kid/export").json["facts"]["band"] == "unknown"


def test_a_leap_day(api: Caller) -> None:
    assert api.put("/subjects/kid/facts", {"born": "2000-02-29"}).json["facts"]["band"] == "adult"


def test_an_unknown_place_is_the_strictest(api: Caller) -> None:
    api.put("/subjects/u-1/facts", {"age": 17, "jurisdiction": "ZZ"})
    assert api.get("/subjects/u-1/decisions/newsletter").json["reason"] == "GUARDIAN_REQUIRED"


@pytest.mark.parametrize("scope", ["read", "erase"])
def test_the_scope(app_of: Callable[..., Flask], scope: str) -> None:
    kit = make_kit()
    reader = Caller(app_of(kit), kit, scopes=[scope])
    assert reader.put("/subjects/kid/facts", {"age": 12}).status_code == 403


def test_nobody_elses_subjects(app_of: Callable[..., Flask]) -> None:
    kit = make_kit(minors=MinorRules(age=13), site=Site(default_jurisdiction="GB"))
    kit.age_loader(lambda _: Age(years=40))
    app = app_of(kit)
    theirs, own = Caller(app, kit, tenant="school"), Caller(app, kit)
    theirs.put("/subjects/kid/facts", {"age": 12, "jurisdiction": "GB"})
    assert theirs.get("/subjects/kid/decisions/newsletter").json["reason"] == "GUARDIAN_REQUIRED"
    assert own.get("/subjects/kid/decisions/newsletter").json["reason"] == "NO_ANSWER"
    assert own.get("/subjects/kid/export").json["facts"]["band"] == "unknown"


def test_an_erased_subject(api: Caller) -> None:
    api.put("/subjects/kid/consents/newsletter", {"action": "given"})
    api.call("DELETE", "/subjects/kid")
    assert api.put("/subjects/kid/facts", {"age": 12}).json["facts"]["band"] == "unknown"
    assert api.get("/subjects/kid/decisions/newsletter").json["reason"] == "ERASED"


def test_children_who_are_not_allowed(app_of: Callable[..., Flask]) -> None:
    closed = MinorRules(age=13, children="not_allowed")
    kit = make_kit(minors=closed, site=Site(default_jurisdiction="GB"))
    heard: list[str] = []

    @delete_required.connect_via(kit)
    def hear(_kit: object, subject: str, **_more: object) -> None:
        heard.append(subject)

    api = Caller(app_of(kit), kit)
    api.put("/subjects/kid/consents/newsletter", {"action": "given"})
    api.put("/subjects/kid/facts", {"age": 12})
    assert [event["action"] for event in api.events("kid")] == ["refused", "requested"]
    assert heard == ["kid"]
    refused = api.put("/subjects/kid/consents/newsletter", {"action": "given"})
    assert refused.json["type"] == "urn:consentkit:problem:not-for-children"
