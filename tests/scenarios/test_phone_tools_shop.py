"""A web shop with trackers and newsletters: what its policy promises is what it does. Named by the promise's number."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from receiving import LOOPBACK, receiving, status
from services import Service

import consentkit
from consentkit import ConsentMissing, Party, Purpose, SeparateConsentNeeded, delete_required
from consentkit.core.catalog import Catalog
from consentkit.testing import assert_no_processing
from example_app.profiles import phone_tools_shop
from example_app.profiles.phone_tools_shop import (
    advise,
    ask_helpers,
    check_card,
    print_invoice,
    send_offer,
    text_offer,
)

START = datetime(2027, 1, 10, tzinfo=UTC)
DAY = timedelta(days=1)
JSON = "application/json"
VENDORS = {
    "comments": "margin-notes.example",
    "questions": "neighbour.example",
    "visits": "headcount.example",
    "networks": "loudhailer.example",
}


@pytest.fixture
def service(tmp_path: Path, live_server: Callable[[Flask], str]) -> Iterator[Service]:
    made = Service(phone_tools_shop, tmp_path, live_server).release(START)
    yield made
    made.close()


# ---------------------------------------------------------------- 4.1 vendors


def live_scripts(page: str) -> list[str]:
    """The addresses that a browser without our script would fetch."""
    tags = re.findall(r"<script\b[^>]*>", page)
    return [tag for tag in tags if ".example" in tag and 'type="text/plain"' not in tag]


def test_4_1_every_vendor_is_named_and_its_script_stays_a_text(service: Service) -> None:
    visitor = service.browser()
    page = visitor.get("/").text
    for purpose, host in VENDORS.items():
        (tag,) = [tag for tag in re.findall(r"<script\b[^>]*>", page) if host in tag]
        assert 'type="text/plain"' in tag
        assert f'"{purpose}"' in tag or service.kit.catalog.purposes[purpose].category in tag  # type: ignore[operator]
    assert live_scripts(page) == []
    choices = visitor.get("/consent").text
    for name in ("Margin Notes", "Ask a Neighbour", "Headcount", "Loudhailer"):
        assert name in choices
    visitor.post("/consent", {"decision": "save", "category": "preferences"})
    granted = visitor.get("/consent/status", accept=JSON).json["granted"]
    assert granted == ["preferences"]


def test_4_1_a_trackers_cookie_leaves_only_after_a_yes_to_its_category(service: Service) -> None:
    visitor = service.browser()
    assert "_headcount" not in visitor.get("/").cookies
    visitor.post("/consent", {"decision": "save", "category": "marketing"})
    assert "_headcount" not in visitor.get("/").cookies
    visitor.post("/consent", {"decision": "save", "category": ["marketing", "analytics"]})
    assert "_headcount" in visitor.get("/").cookies


def another_counter(catalog: Catalog) -> Catalog:
    """The release in which a second company counts visits."""
    party = Party("tally", name="Tally", contact="privacy@tally.example", country="FR")
    purpose = Purpose("heat", title="Where people click", category="analytics", recipients=("tally",))
    return replace(
        catalog,
        parties={**catalog.parties, party.key: party},
        purposes={**catalog.purposes, purpose.key: purpose},
    )


def test_4_1_a_new_vendor_asks_again_for_its_category_and_for_no_other(service: Service) -> None:
    ada = service.browser("ada")
    ada.post("/consent", {"decision": "accept-all"})
    status = ada.get("/consent/status", accept=JSON).json
    assert status["decided"]
    service.release(START + DAY, another_counter)
    ada = service.browser("ada")
    status = ada.get("/consent/status", accept=JSON).json
    assert not status["decided"]
    assert [c for c in ("preferences", "analytics", "marketing") if c in status["granted"]] == [
        "preferences",
        "marketing",
    ]
    assert "Tally" in ada.get("/consent").text
    ada.post("/consent", {"decision": "accept-all"})
    assert ada.get("/consent/status", accept=JSON).json["decided"]


# ---------------------------------------------------------------- 4.2 to 4.6


def test_4_2_channels_are_apart(service: Service) -> None:
    ada = service.browser("ada")
    ada.post("/consent", {"decision": "accept-all"})
    with service.app.app_context():
        assert [send_offer("ada"), text_offer("ada")] == [None, None], "accept all subscribes to nothing"
        ada.post("/consent", {"decision": "save", "purpose": "marketing.email"})
        assert [send_offer("ada"), text_offer("ada")] == ["a letter to ada", None]
        service.kit.give("bob", "marketing.sms")
        found = service.kit.decide_many(["ada", "bob", "cyd"], "marketing.email")
        assert [who for who, decision in found.items() if decision] == ["ada"]


def test_4_3_one_comment_is_printed_after_a_yes_to_that_comment(service: Service) -> None:
    visitor, ada = service.browser(), service.browser("ada")
    assert "<blockquote>" not in visitor.get("/").text
    with service.app.app_context():
        notice = service.kit.purpose_notice("testimonial").digest
    said = {"ask": "testimonial", "scope": "comment:42", "decision": "save", "notice": notice}
    assert ada.post("/consent", {**said, "purpose": "testimonial"}).status == 303
    page = visitor.get("/").text
    assert "It mended my telephone." in page
    assert "The postman sings." not in page
    with service.app.app_context():
        service.kit.give("ada", "testimonial", scope="comment:43")
    assert "The postman sings." in visitor.get("/").text
    assert ada.post("/consent", said).status == 303
    page = visitor.get("/").text
    assert "It mended my telephone." not in page
    assert "The postman sings." in page, "the other comment keeps its yes"


@pytest.mark.parametrize("account", ["ada", None])
def test_4_4_one_request_ends_one_processing(service: Service, account: str | None) -> None:
    browser = service.browser(account)
    everything = {"decision": "save", "category": ["preferences", "analytics", "marketing"]}
    browser.post("/consent", {**everything, "purpose": ["marketing.email", "marketing.push"]})
    assert browser.post("/stop/marketing.email", {}).json == ["withdrawn marketing.email"]
    status = browser.get("/consent/status", accept=JSON).json
    assert "marketing.email" in status["denied"]
    assert {"preferences", "analytics", "marketing", "marketing.push"} <= set(status["granted"])
    if account is not None:
        with service.app.app_context():
            assert send_offer(account) is None


def test_4_5_after_erasure_only_what_the_law_wants_goes_on(service: Service) -> None:
    ada = service.browser("ada")
    ada.post("/consent", {"decision": "accept-all"})
    ada.post("/consent", {"decision": "save", "purpose": "marketing.email"})
    with service.app.app_context():
        kit = service.kit
        kit.give("ada", "testimonial", scope="comment:42")
        kit.ledger.seal()
        before = kit.ledger.verify()
        assert ada.post("/delete", {}).json == ["erased"]
        assert [print_invoice("ada"), check_card("ada")] == ["invoice of ada", "cards of ada"]
        for purpose in kit.catalog.purposes:
            allowed = purpose in ("tax", "fraud")
            assert kit.decide("ada", f"purpose:{purpose}").allowed is allowed, purpose
        with assert_no_processing(subject="ada"):
            assert [send_offer("ada"), advise("ada")] == [None, None]
        assert "It mended" not in service.browser().get("/").text
        left = json.dumps(kit.export("ada"))
        assert "comment:42" not in left, "what was about one text of hers is destroyed"
        service.clock.move(START + 40 * DAY)
        kit.purge()
        after = kit.ledger.verify()
        assert after is not None
        assert before is not None
        assert kit.decide("ada", "tax").allowed
        assert kit.decide("ada", "orders").reason == "ERASED"


def test_4_6_nothing_goes_abroad_by_accept_all(service: Service) -> None:
    ada = service.browser("ada")
    ada.post("/consent", {"decision": "accept-all"})
    with service.app.app_context():
        with pytest.raises(ConsentMissing):
            ask_helpers("ada")
        with pytest.raises(SeparateConsentNeeded):
            service.kit.give("ada", ["transfer_abroad", "marketing.email"])
    assert "VN" in ada.get("/consent").text or "Vietnam" in ada.get("/consent").text
    ada.post("/consent", {"decision": "save", "purpose": "transfer_abroad"})
    with service.app.app_context():
        assert ask_helpers("ada") == "ada asks"


# ---------------------------------------------------------------- 4.7 to 4.9


def test_4_7_those_whom_a_breach_concerns_are_told_and_it_is_known_when(
    service: Service, tmp_path: Path
) -> None:
    for who in ("ada", "bob", "cyd"):
        service.browser(who).post("/consent", {"decision": "reject-all"})
    run = service.app.test_cli_runner().invoke
    (tmp_path / "concerned.txt").write_text("ada\nbob\n")
    announced = run(args=["consent", "announce", "breach", "--to", str(tmp_path / "concerned.txt")])
    assert announced.output.startswith("Addressed to 2 subjects"), announced.output
    for who, told in (("ada", True), ("cyd", False)):
        page = service.browser(who).get("/consent/announcements").text
        assert ("choose a new one today" in page) is told
    service.clock.move(START + DAY)
    service.browser("ada").post(
        "/consent/announcements", {"decision": "shown", "key": "breach", "version": "1"}
    )
    assert service.events("ada")[-1][:3] == ("notified", "breach", "1")
    with service.app.app_context():
        (shown,) = service.kit.ledger.events(subject="ada", action="notified")
        assert shown.effective_at - (START + DAY) < DAY  # type: ignore[union-attr]
    waiting = run(args=["consent", "notify", "breach"]).stdout.splitlines()
    assert [json.loads(line)["subject"] for line in waiting] == ["bob"]
    (tmp_path / "told.txt").write_text("bob\n")
    run(args=["consent", "notify", "breach", "--told", str(tmp_path / "told.txt")])
    assert run(args=["consent", "notify", "breach"]).stdout == ""


def test_4_8_a_declared_child_is_refused_and_nothing_else_is_kept(service: Service) -> None:
    grown = service.browser("ada")
    assert grown.post("/join", {"age": "34"}).json == {"welcome": True}
    assert grown.get("/orders").status == 200
    kid = service.browser("kid")
    answer = kid.post("/join", {"age": "11"})
    assert (answer.status, answer.json) == (403, {"welcome": False})
    assert kid.get("/orders", accept=JSON).json["reason"] == "FORBIDDEN_FOR_MINORS"
    kept = [(action, item) for action, item, *_ in service.events("kid")]
    assert kept == [("refused", "minor"), ("requested", "deletion")], "the shop was told to delete its part"
    kid.post("/consent", {"decision": "save", "purpose": "marketing.email"})
    with service.app.app_context():
        assert send_offer("kid") is None
        assert not any(action == "given" for action, *_ in service.events("kid"))


def test_4_8_what_was_kept_before_it_was_known_is_deleted(service: Service) -> None:
    told: list[str] = []

    def delete_our_own(_kit: object, subject: str, purposes: list[str], **_about: object) -> None:
        told.append(f"{subject}: {', '.join(purposes)}")

    kid = service.browser("kid")
    kid.post("/consent", {"decision": "save", "category": "analytics", "purpose": "marketing.email"})
    with service.app.app_context():
        assert send_offer("kid") == "a letter to kid"
        with delete_required.connected_to(delete_our_own):
            kid.post("/join", {"age": "11"})
        assert send_offer("kid") is None
        assert {action for action, *_ in service.events("kid")} == {"refused", "requested"}
        assert "marketing.email" in "".join(told)
        assert told[0].startswith("kid: ")
        assert service.kit.ledger.verify().completeness


def test_4_9_everything_to_take_along(service: Service) -> None:
    ada = service.browser("ada")
    ada.post("/consent", {"decision": "save", "purpose": "marketing.email"})
    ada.accept("/consent/accept/privacy")
    service.browser("bob").post("/consent", {"decision": "accept-all"})
    mine = ada.get("/my-data", accept=JSON).json
    assert mine["schema"] == "consentkit/export/v1"
    assert mine["subject"] == "ada"
    said = {(e["action"], e["item"]) for e in mine["events"]}
    assert {("given", "marketing.email"), ("refused", "visits"), ("accepted", "privacy")} <= said
    assert "bob" not in json.dumps(mine)
    assert service.browser().get("/my-data").status == 401


def test_4_9_taken_along_to_another_ledger(service: Service, tmp_path: Path) -> None:
    ada = service.browser("ada")
    ada.post("/consent", {"decision": "save", "purpose": "marketing.email"})
    ada.accept("/consent/accept/privacy")
    mine = ada.get("/my-data", accept=JSON).json
    elsewhere = consentkit.open(service.kit.catalog, f"sqlite:///{tmp_path}/elsewhere.sqlite3", key="k" * 64)
    elsewhere.runtime.clock = service.kit.runtime.clock
    assert elsewhere.import_export(mine)
    for item in (*service.kit.catalog.purposes, "privacy"):
        here, there = service.kit.of("ada").decide(item), elsewhere.of("ada").decide(item)
        assert (here.allowed, here.reason) == (there.allowed, there.reason), item
    assert elsewhere.import_export(mine) == []
    elsewhere.runtime.dispose()


def test_4_9_restriction_and_objection_stop_at_once(service: Service) -> None:
    ada = service.browser("ada")
    ada.post("/consent", {"decision": "save", "purpose": "marketing.email"})
    with service.app.app_context():
        assert [send_offer("ada"), advise("ada")] == ["a letter to ada", "ada: install the new version"]
        assert ada.post("/object/advice", {}).json == ["objected"]
        assert [send_offer("ada"), advise("ada")] == ["a letter to ada", None]
        assert ada.post("/restrict", {}).json == ["restricted"]
        with assert_no_processing(subject="ada") as asked:
            assert [send_offer("ada"), advise("ada")] == [None, None]
        assert len(asked) == 1, "advice rests on no consent, so only the letter is watched"
        assert ada.get("/orders", accept=JSON).json["reason"] == "RESTRICTED"
        assert print_invoice("ada"), "what the law wants goes on"
        service.kit.lift("ada")
        assert send_offer("ada") == "a letter to ada"
        assert advise("ada") is None, "the objection stands by itself"


# ---------------------------------------------------------------- 4.11


def evidence(service: Service) -> dict[str, str]:
    """What the message about ada's withdrawal has come to, by recipient."""
    with service.app.app_context():
        found = service.kit.deliveries(subject="ada")
    return {d.recipient: d.status for d in found if d.type == "consent.withdrawn"}


def test_4_11_who_holds_the_data_is_told_and_that_they_were_is_on_record(
    tmp_path: Path, live_server: Callable[[Flask], str]
) -> None:
    with receiving() as letters, receiving() as counter:

        def here(catalog: Catalog) -> Catalog:
            addresses = {"letter_office": letters.url, "headcount": counter.url}
            parties = {
                key: replace(party, webhook=addresses.get(key, "")) for key, party in catalog.parties.items()
            }
            return replace(catalog, parties=parties)

        settings = {
            "CONSENTKIT_WEBHOOK_SECRETS": {"letter_office": letters.secret, "headcount": counter.secret},
            "CONSENTKIT_WEBHOOK_NETWORKS": LOOPBACK,
        }
        service = Service(phone_tools_shop, tmp_path, live_server, **settings).release(START, here)
        ada = service.browser("ada")
        ada.post("/consent", {"decision": "save", "category": "analytics", "purpose": "marketing.email"})
        deliver = service.app.test_cli_runner().invoke
        assert deliver(args=["consent", "deliver"]).exit_code == 0
        assert letters.about("ada") == ["consent.given ada"]
        assert counter.about("ada") == ["consent.given ada"]
        ada.post("/stop/marketing.email", {})
        letters.answering = status(503)
        deliver(args=["consent", "deliver"])
        assert evidence(service) == {"letter_office": "pending"}
        letters.answering = status(204)
        service.clock.move(START + DAY)
        assert deliver(args=["consent", "deliver"]).exit_code == 0
        assert letters.about("ada")[-1] == "consent.withdrawn ada"
        assert counter.about("ada") == ["consent.given ada"], "a letter is not its business"
        assert evidence(service) == {"letter_office": "delivered"}
        ada.post("/delete", {})
        deliver(args=["consent", "deliver"])
        assert letters.about("ada")[-1] == counter.about("ada")[-1]
        assert "erased" in letters.about("ada")[-1]
        service.close()
