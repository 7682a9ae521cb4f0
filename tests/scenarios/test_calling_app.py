"""An app for calls: what its policy promises is what its server does. Tests are named by the promise's number."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import Request

import pytest
from browsing import Answer, Browser
from flask import Flask
from receiving import Handler, receiving, status
from services import Service

from consentkit import CatalogError, ConsentKit, ConsentMissing, NotARecipient
from consentkit.core.catalog import Catalog
from consentkit.testing import assert_no_processing
from example_app.profiles import calling_app
from example_app.profiles.calling_app import may_use, ring, tell_agency

START = datetime(2027, 1, 10, tzinfo=UTC)
DAY = timedelta(days=1)
JSON = "application/json"


class Phone(Browser):
    """The app on a telephone: JSON, no pages."""

    def ask(self, path: str) -> Answer:
        return self.get(path, accept=JSON)

    def put(self, path: str, body: dict[str, Any]) -> Answer:
        headers = {"Accept": JSON, "Content-Type": JSON}
        return self._send(Request(self.url + path, json.dumps(body).encode(), headers, method="PUT"))

    def send(self, path: str) -> Answer:
        return self.post(path, {}, accept=JSON)

    def accept_terms(self) -> Answer:
        return self.put("/api/terms", {"accept": True, "notice": self.ask("/api/terms").json["notice"]})

    def allow(self, name: str) -> Answer:
        path = f"/api/permissions/{name}"
        return self.put(path, {"allow": True, "notice": self.ask(path).json["notice"]})


@pytest.fixture
def service(tmp_path: Path, live_server: Callable[[Flask], str]) -> Iterator[Service]:
    made = Service(calling_app, tmp_path, live_server).release(START, terms=1)
    yield made
    made.close()


@pytest.fixture
def phone_of(service: Service) -> Callable[[str], Phone]:
    """`phone_of("ada")`: the app in which an account is signed in, on the present release."""

    return lambda account: service.client(Phone, account)


PhoneOf = Callable[[str], Phone]


def test_3_1_everything_but_the_doorstep_is_closed_before_acceptance(
    service: Service, phone_of: PhoneOf
) -> None:
    done = service.app.test_cli_runner().invoke(
        args=["consent", "routes", "--fail-undeclared", "--format", "json"]
    )
    assert done.exit_code == 0
    views = json.loads(done.output)["views"]
    open_ = {view["path"] for view in views if "terms" not in view["policies"]}
    assert open_ == {"/api/terms", "/sign-in", "/sign-out"}
    closed = [view for view in views if view["path"] not in open_]
    assert len(closed) > 7
    ada = phone_of("ada")
    for view in closed:
        path = view["path"].replace("<name>", "contacts")
        method = {"GET": ada.ask, "POST": ada.send, "PUT": lambda p: ada.put(p, {"allow": True})}[
            view["methods"][0]
        ]
        answer = method(path)
        assert (answer.status, answer.json["item"], answer.json["reason"]) == (403, "terms", "NO_ANSWER"), (
            path
        )
    assert "does not use the app" in ada.ask("/api/terms").json["text"]
    assert ada.accept_terms().json == {"answer": "accepted", "version": "1"}
    assert [ada.ask(f"/api/{what}").status for what in ("calls", "subscription", "device")] == [200] * 3


def test_3_1_who_declines_stays_outside(phone_of: PhoneOf) -> None:
    ada = phone_of("ada")
    assert ada.put("/api/terms", {"accept": False}).json == {"answer": "declined", "version": "1"}
    assert ada.ask("/api/calls").json["reason"] == "REFUSED"
    ada.accept_terms()
    assert ada.ask("/api/calls").status == 200


def test_3_1_a_text_that_was_not_shown_is_not_accepted(service: Service, phone_of: PhoneOf) -> None:
    stale = phone_of("ada").ask("/api/terms").json["notice"]
    service.release(START + DAY, terms=2)
    ada = phone_of("ada")
    assert ada.put("/api/terms", {"accept": True, "notice": stale}).status == 409
    assert ada.put("/api/terms", {"accept": True, "notice": None}).status == 409
    assert service.events("ada") == []


@pytest.mark.parametrize(
    ("name", "path", "method"),
    [
        ("network", "/api/line", "ask"),
        ("contacts", "/api/names", "ask"),
        ("album", "/api/pictures", "send"),
    ],
)
def test_3_2_each_permission_is_asked_by_itself_at_first_use(
    service: Service, phone_of: PhoneOf, name: str, path: str, method: str
) -> None:
    ada = phone_of("ada")
    ada.accept_terms()
    use = getattr(ada, method)
    blocked = use(path)
    assert (blocked.status, blocked.json["needs"]) == (403, [f"permission.{name}"])
    asked = ada.ask(f"/api/permissions/{name}").json
    assert asked["status"] == "unknown"
    assert service.kit.catalog.purposes[f"permission.{name}"].description in json.dumps(asked["question"])
    assert ada.put(f"/api/permissions/{name}", {"allow": True, "notice": "0" * 64}).status == 409
    assert ada.allow(name).json == {"answer": "given"}
    assert use(path).status == 200
    with service.app.app_context():
        others = [k for k in service.kit.catalog.purposes if k.startswith("permission.") and k[11:] != name]
        assert not any(service.kit.of("ada").allows(key) for key in others)
        (event,) = service.kit.ledger.events(subject="ada", item=f"permission.{name}")
        assert (event.method, event.notice) == ("api", asked["notice"])  # type: ignore[union-attr]
    assert ada.put(f"/api/permissions/{name}", {"allow": False}).json == {"answer": "withdrawn"}
    assert use(path).json["reason"] == "WITHDRAWN"


def test_3_2_no_other_permission_is_wanted(service: Service) -> None:
    wanted = {key for key in service.kit.catalog.purposes if key.startswith("permission.")}
    assert wanted == {f"permission.{name}" for name in ("network", "contacts", "album", "notifications")}


def test_3_2_a_job_asks_when_it_runs(service: Service, phone_of: PhoneOf) -> None:
    ada = phone_of("ada")
    ada.accept_terms()
    with service.app.app_context():
        assert ring("ada") is None
        ada.allow("notifications")
        assert ring("ada") == "ada rings"
        ada.put("/api/permissions/notifications", {"allow": False})
        with assert_no_processing("permission.notifications") as asked:
            assert ring("ada") is None
        assert len(asked) == 1


def test_3_3_a_model_is_nobody(phone_of: PhoneOf) -> None:
    ada = phone_of("ada")
    ada.accept_terms()
    ada.post("/consent", {"decision": "reject-all"})
    assert ada.ask("/api/device").status == 200


def test_3_4_what_is_sensitive_has_to_be_asked_expressly(tmp_path: Path) -> None:
    text = (calling_app.FOLDER / "consent.toml").read_text("utf-8")
    assert text.count("explicit = true\n") == 1
    (tmp_path / "consent.toml").write_text(text.replace("explicit = true\n", ""), "utf-8")
    (tmp_path / "policies").symlink_to(calling_app.FOLDER / "policies")
    with pytest.raises(CatalogError, match="explicit") as error:
        ConsentKit.from_file(tmp_path / "consent.toml")
    assert error.value.key.startswith("purposes.hearing")


def test_3_4_nobody_gives_it_along_with_the_rest(service: Service, phone_of: PhoneOf) -> None:
    ada = phone_of("ada")
    ada.post("/consent", {"decision": "accept-all"})
    with service.app.app_context():
        assert service.kit.decide("ada", "hearing").reason == "NO_ANSWER"
        service.kit.give("ada", "hearing")
        assert service.kit.decide("ada", "hearing")


def test_3_5_the_policy_in_effect_when_it_was_collected(service: Service, phone_of: PhoneOf) -> None:
    phone_of("ada").accept_terms()
    with service.app.app_context():
        service.kit.give("ada", "quality")
    first = START + DAY
    service.release(START + 30 * DAY, terms=2)
    second = START + 31 * DAY
    service.clock.move(START + 32 * DAY)
    with service.app.app_context():
        kit = service.kit
        assert [kit.policy_in_effect("terms", at).version for at in (first, second)] == ["1", "2"]  # type: ignore[union-attr]
        text = kit.document(kit.policy_in_effect("terms", first).texts["en"])  # type: ignore[union-attr]
        assert "kept for thirty days" in (text or ("", ""))[1]


def test_3_5_it_may_be_used_if_it_was_allowed_then_and_is_allowed_now(service: Service) -> None:
    with service.app.app_context():
        kit = service.kit
        before, during = START + DAY, START + 3 * DAY
        service.clock.move(START + 2 * DAY)
        kit.give("ada", "quality")
        service.clock.move(START + 4 * DAY)
        assert not may_use(kit, "ada", "quality", before), "not asked yet when it was collected"
        assert may_use(kit, "ada", "quality", during)
        kit.withdraw("ada", "quality")
        assert not may_use(kit, "ada", "quality", during), "withdrawn since"
        assert kit.of("ada").decide("quality", at=during), "and lawful as it was"


def here(catalog: Catalog) -> Catalog:
    """The agency and a bystander have servers on this machine."""
    hosts = {"agency": ("127.0.0.1",), "bystander": ("localhost",)}
    parties = {key: replace(party, hosts=hosts[key]) for key, party in catalog.parties.items()}
    return replace(catalog, parties=parties)


def test_3_6_nothing_leaves_without_permission(service: Service) -> None:
    service.release(START + DAY, here, terms=1)
    with receiving() as agency, service.app.app_context():
        with assert_no_processing("campaigns"), pytest.raises(ConsentMissing, match="NO_ANSWER"):
            tell_agency("ada", agency.url)
        assert agency.connections() == 0, "blocked before anybody was called, so no byte has left"
        service.kit.give("ada", "campaigns")
        assert tell_agency("ada", agency.url) == 204
        assert (agency.connections(), len(agency.messages)) == (1, 1)
        with pytest.raises(NotARecipient, match="bystander"):
            tell_agency("ada", agency.url.replace("127.0.0.1", "localhost"))
        service.kit.withdraw("ada", "campaigns")
        with pytest.raises(ConsentMissing, match="WITHDRAWN"):
            tell_agency("ada", agency.url)
        assert (agency.connections(), len(agency.messages)) == (1, 1)


def test_3_6_every_redirect_is_asked_again(service: Service) -> None:
    service.release(START + DAY, here, terms=1)
    with receiving() as agency, receiving() as next_one, service.app.app_context():
        service.kit.give("ada", "campaigns")
        agency.answering = status(307, Location=next_one.url.replace("127.0.0.1", "localhost"))
        with pytest.raises(NotARecipient, match="bystander"):
            tell_agency("ada", agency.url)
        assert (agency.connections(), next_one.connections()) == (1, 0)

        def withdraws_meanwhile(handler: Handler) -> None:
            with service.app.app_context():
                service.kit.withdraw("ada", "campaigns")
            handler.answer(307, Location=next_one.url)

        agency.answering = withdraws_meanwhile
        with pytest.raises(ConsentMissing, match="WITHDRAWN"):
            tell_agency("ada", agency.url)
        assert (agency.connections(), next_one.connections()) == (2, 0)
        assert (len(agency.messages), next_one.messages) == (2, [])


def test_3_7_a_letter_is_answered_within_two_weeks(service: Service, phone_of: PhoneOf) -> None:
    ada = phone_of("ada")
    ada.accept_terms()
    assert ada.send("/api/feedback").json["reason"] == "NO_ANSWER"
    ada.post("/consent", {"decision": "save", "purpose": "feedback"})
    assert ada.send("/api/feedback").status == 200
    service.clock.move(START + 13 * DAY)
    assert ada.send("/api/feedback").status == 200
    service.clock.move(START + 14 * DAY + timedelta(minutes=1))
    assert ada.send("/api/feedback").json["reason"] == "EXPIRED"
    assert ada.ask("/api/calls").status == 200
