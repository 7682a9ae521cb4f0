"""The description is held to account: what it says is sent, and every answer has to be as it says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi import checks

import consentkit
from consentkit import Age, MinorRules, Party, Site
from consentkit.core.terms import Action, Basis, Kind, Method, Reason, Status
from consentkit.core.verification import GuardianMethod
from consentkit.web import api_catalog
from consentkit.web.api import OF_SUBJECT, OF_SUBJECT_ITEM, RESOURCES, SUBJECT
from consentkit.web.api_schemas import (
    AcceptanceSchema,
    BatchSchema,
    ConsentSchema,
    FactsSchema,
    InvitationSchema,
)
from tests.web.api_caller import BASE, Caller
from tests.web.conftest import PURPOSES, make_app, make_kit

FILE = Path(consentkit.__file__).parent / "static" / "openapi.json"
WRITTEN: dict[str, Any] = json.loads(FILE.read_text())
OPERATIONS = [(path, method) for path, methods in WRITTEN["paths"].items() for method in methods]
CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
]


class Served(NamedTuple):
    """An app, a key to it, and parts of paths that are there."""

    app: Flask
    key: str
    known: dict[str, str]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    told = [replace(p, recipients=["mailer"]) for p in PURPOSES]
    mailer = Party("mailer", name="M", webhook="https://mailer.example/", processor=True)
    place = Site(name="Test", default_jurisdiction="DE")
    kit = make_kit(purposes=told, parties=[mailer], minors=MinorRules(), site=place)
    kit.guardian_mailer(lambda invitation: None)
    app = make_app(kit, tmp_path_factory.mktemp("openapi"), CONSENTKIT_BASE_URL="https://shop.example")
    with app.app_context():
        kit.learn("kid", age=Age(years=9))
    caller = Caller(app, kit)
    event = caller.put("/subjects/u-1/policies/terms", {"action": "accepted"}).json["event"]
    known = {"purpose": "newsletter", "policy": "terms", "item": "analytics"}
    known |= {"digest": event["notice"], "event_id": event["event_id"], "level": "0", "tile": "000.p/1"}
    caller.get("/checkpoint")  # seals
    return Served(app, caller.key, known)


# ---------------------------------------------------------------- the file


def written(rule: str) -> str:
    """A rule of Flask as OpenAPI writes it."""
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule)


def described() -> Iterator[tuple[str, str]]:
    """Path and method of all that is routed, as the description writes them."""
    for rule, resource in RESOURCES.items():
        yield from ((written(rule), method.lower()) for method in resource)
    yield from (("/subjects/{subject}", method.lower()) for method in SUBJECT)
    for what, resource in OF_SUBJECT.items():
        yield from ((f"/subjects/{{subject}}/{what}", method.lower()) for method in resource)
    names = {"consents": "purpose", "policies": "policy", "decisions": "item"}
    for what, resource in OF_SUBJECT_ITEM.items():
        yield from ((f"/subjects/{{subject}}/{what}/{{{names[what]}}}", m.lower()) for m in resource)


def test_every_operation_is_described() -> None:
    assert sorted(OPERATIONS) == sorted(described())


def test_the_scopes_are_described() -> None:
    resources = {written(rule): resource for rule, resource in RESOURCES.items()}
    for path, method in OPERATIONS:
        first, *more = path.removeprefix("/subjects/{subject}").strip("/").split("/")
        if path.startswith("/subjects"):
            resource = (OF_SUBJECT_ITEM if more else OF_SUBJECT)[first] if first else SUBJECT
        else:
            resource = resources[path]
        scope = resource[method.upper()].scope
        operation = WRITTEN["paths"][path][method]
        if scope is None:
            assert operation["security"] == []
        else:
            assert f"Needs the scope `{scope}`." in operation["description"]


def test_words_are_those_of_the_code() -> None:
    schemas = WRITTEN["components"]["schemas"]
    event, decision = schemas["Event"]["properties"], schemas["Decision"]["properties"]
    assert event["kind"]["enum"] == list(Kind)
    assert event["action"]["enum"] == list(Action)
    assert event["method"]["enum"] == [*Method, None]
    assert decision["reason"]["enum"] == list(Reason)
    assert schemas["Standing"]["properties"]["status"]["enum"] == list(Status)
    purposes = schemas["Catalog"]["properties"]["purposes"]["items"]["properties"]
    assert purposes["basis"]["enum"] == list(Basis)
    assert schemas["Invitation"]["properties"]["method"]["enum"] == list(GuardianMethod)


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("ConsentAnswer", ConsentSchema),
        ("Facts", FactsSchema),
        ("PolicyAnswer", AcceptanceSchema),
        ("Batch", BatchSchema),
        ("Invitation", InvitationSchema),
    ],
)
def test_bodies_have_the_fields_of_the_code(name: str, schema: Any) -> None:
    written = WRITTEN["components"]["schemas"][name]
    assert set(written["properties"]) == set(schema().fields)
    assert set(written["required"]) == {key for key, f in schema().fields.items() if f.required}
    assert written["additionalProperties"] is False


def test_it_is_served_to_everybody(app: Flask) -> None:
    answer: Any = app.test_client().get(f"{BASE}/openapi.json")
    assert answer.status_code == 200
    assert answer.json == WRITTEN
    mounted: Any = app.test_client().get(f"{BASE}/openapi.json", environ_overrides={"SCRIPT_NAME": "/shop"})
    assert mounted.json["servers"] == [{"url": "/shop/consent/v1"}]


# ---------------------------------------------------------------- what it says is sent


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_answers_are_as_described(served: Served, path: str, method: str) -> None:
    schema = schemathesis.openapi.from_wsgi(f"{BASE}/openapi.json", served.app)
    statuses: set[int] = set()

    @given(case=schema[path][method.upper()].as_strategy(), known=st.booleans())
    @settings(
        max_examples=20,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def send(case: Any, known: bool) -> None:
        if known:
            parts = case.path_parameters or {}
            parts.update({name: value for name, value in served.known.items() if name in parts})
            if path == "/invitations" and isinstance(case.body, dict):
                case.body |= {
                    "subject": "kid",
                    "purposes": ["newsletter"],
                    "contact": "a@b.example",
                    "method": "email",
                }
            if path == "/decisions" and isinstance(case.body, dict):
                case.body["item"] = served.known["item"]
        case.headers["Authorization"] = f"Bearer {served.key}"
        response = case.call()
        statuses.add(response.status_code)
        assert response.status_code < 500, response.text
        case.validate_response(response, headers=dict(case.headers), checks=CHECKS)

    send()
    assert 200 in statuses, statuses


def test_a_description_that_lies_is_found(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail: a field that is not there is missed."""
    lying = json.loads(FILE.read_text())
    lying["components"]["schemas"]["Policies"]["required"].append("nothing")
    monkeypatch.setattr(api_catalog, "_description", lambda: lying)
    with pytest.raises(BaseException, match="nothing"):
        test_answers_are_as_described(served, "/policies", "get")
