"""A web shop with trackers and newsletters: what its policy promises is what it does. Named by the promise's number."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
import time_machine
from banner_site import becomes
from browsing import Browser
from fetching import Tag, fetched, form_with, waiting
from flask import Flask
from receiving import LOOPBACK, Message, Receiver, receiving, status
from services import Service
from standardwebhooks import WebhookVerificationError

import consentkit
from consentkit import (
    Age,
    CatalogError,
    ConsentKit,
    ConsentMissing,
    Delivery,
    Event,
    Party,
    Purpose,
    SeparateConsentNeeded,
    delete_required,
)
from consentkit.core.catalog import Catalog
from consentkit.testing import assert_no_processing
from example_app.profiles import phone_tools_shop
from example_app.profiles.phone_tools_shop import (
    advise,
    ask_helpers,
    check_card,
    print_invoice,
    push_offer,
    send_offer,
    text_offer,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

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


def test_4_1_every_vendor_is_named_and_its_script_stays_a_text(service: Service) -> None:
    visitor = service.browser()
    category = {key: str(service.kit.catalog.purposes[key].category) for key in VENDORS}
    tags = sorted(Tag("script", host, category[key]) for key, host in VENDORS.items())
    choices = visitor.get("/consent").text
    for name in ("Margin Notes", "Ask a Neighbour", "Headcount", "Loudhailer"):
        assert name in choices
    for choice in ({"decision": "defer"}, {"decision": "save", "category": "preferences"}):
        page = visitor.get("/").text
        assert (fetched(page), sorted(waiting(page))) == ([], tags)
        visitor.post("/consent", choice)
    assert visitor.get("/consent/status", accept=JSON).json["granted"] == ["preferences"]


@pytest.mark.parametrize(
    ("category", "released"),
    [
        ("preferences", ["margin-notes.example", "neighbour.example"]),
        ("analytics", ["headcount.example"]),
        ("marketing", ["loudhailer.example"]),
    ],
)
def test_4_1_a_yes_releases_the_vendors_of_that_category_and_no_other(
    service: Service, page: Page, category: str, released: list[str]
) -> None:
    called: list[str] = []

    def answer(route: Route) -> None:
        called.append(urlsplit(route.request.url).hostname or "")
        route.fulfill(status=200, content_type="text/javascript", body="")

    page.route(re.compile(r"^https://"), answer)
    url = service.browser().url
    page.goto(url)
    page.wait_for_load_state("networkidle")
    assert called == []
    page.evaluate("category => consentkit.decide('save', [category])", category)
    page.goto(url)
    becomes(page, lambda: sorted(set(called)), released)
    page.wait_for_load_state("networkidle")
    assert sorted(set(called)) == released
    called.clear()
    with page.expect_event("load"):  # a new page stops what ran
        page.evaluate("void consentkit.decide('withdraw-all')")
    page.wait_for_load_state("networkidle")
    assert called == []
    page.goto(url)
    page.wait_for_load_state("networkidle")
    assert called == []


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


def tally_counts_too(catalog: Catalog, version: int = 2) -> Catalog:
    """The release in which Headcount is no longer the only one who learns of a visit."""
    party = Party("tally", name="Tally", contact="privacy@tally.example", country="FR")
    visits = replace(catalog.purposes["visits"], version=version, recipients=("headcount", "tally"))
    return replace(
        catalog,
        parties={**catalog.parties, party.key: party},
        purposes={**catalog.purposes, "visits": visits},
    )


def test_4_1_a_new_recipient_of_a_purpose_asks_again_for_it_and_for_no_other(service: Service) -> None:
    service.browser("ada").post("/consent", {"decision": "accept-all"})
    service.browser("bob").post("/consent", {"decision": "reject-all"})
    with pytest.raises(CatalogError, match="visits"):
        service.release(START + DAY, lambda catalog: tally_counts_too(catalog, version=1))
    service.release(START + 2 * DAY, tally_counts_too)
    ada, bob = service.browser("ada"), service.browser("bob")
    status = ada.get("/consent/status", accept=JSON).json
    assert not status["decided"], "asked again"
    assert "analytics" not in status["granted"]
    assert {"preferences", "marketing"} <= set(status["granted"])
    assert "_headcount" not in ada.get("/").cookies, "the vendor of before has no yes either"
    with service.app.app_context():
        decision = service.kit.decide("ada", "visits")
        assert (decision.reason, decision.needs) == ("OUTDATED", ("visits",))
        assert service.kit.decide("bob", "visits").reason == "REFUSED", "a no stays a no"
    assert "_headcount" not in bob.get("/").cookies
    assert "Tally" in ada.get("/consent").text
    ada.post("/consent", {"decision": "accept-all"})
    assert ada.get("/consent/status", accept=JSON).json["decided"]
    assert "_headcount" in ada.get("/").cookies


# ---------------------------------------------------------------- 4.2 to 4.6


def test_4_2_channels_are_apart(service: Service) -> None:
    ada = service.browser("ada")
    ada.post("/consent", {"decision": "accept-all"})
    with service.app.app_context():
        jobs = (send_offer, text_offer, push_offer)
        assert [job("ada") for job in jobs] == [None, None, None], "accept all subscribes to nothing"
        for channel, said in (
            ("email", ["a letter to ada", None, None]),
            ("sms", [None, "a text to ada", None]),
            ("push", [None, None, "a push to ada"]),
        ):
            ada.post("/consent", {"decision": "save", "purpose": f"marketing.{channel}"})
            assert [job("ada") for job in jobs] == said


CROWD = 3000
CHANNELS = ("marketing.email", "marketing.sms", "marketing.push")


def subscribe(kit: ConsentKit, shop: sa.Engine) -> dict[str, set[str]]:
    """Thousands of accounts that answered in all ways; who is to get news by which channel."""
    accounts = [f"u-{number:04}" for number in range(CROWD)]
    wanted: dict[str, set[str]] = {channel: set() for channel in CHANNELS}
    with shop.begin() as tx:
        for number, who in enumerate(accounts):
            asked = [channel for bit, channel in enumerate(CHANNELS) if number >> bit & 1]
            stopped = asked[:1] if number % 5 == 0 else []
            if asked:
                kit.give(who, asked, connection=tx)
            else:
                kit.refuse(who, CHANNELS, connection=tx)
            if stopped:
                kit.withdraw(who, stopped, connection=tx)
            for channel in set(asked) - set(stopped):
                wanted[channel].add(who)
    for number, end in enumerate((kit.restrict, kit.object, kit.erase)):
        for who in accounts[7 + number :: 500]:
            end(who)
            for names in wanted.values():
                names.discard(who)
    for who in accounts[15::500]:
        kit.learn(who, age=Age(years=11))
        for names in wanted.values():
            names.discard(who)
    return wanted


def test_4_2_a_mailing_goes_to_those_who_subscribed_to_that_channel(service: Service) -> None:
    shop = sa.create_engine(service.kit.runtime.database.engine.url, poolclass=sa.NullPool)
    customers = sa.Table("customers", sa.MetaData(), sa.Column("account", sa.Text, primary_key=True))
    with service.app.app_context():
        kit = service.kit
        wanted = subscribe(kit, shop)
        everybody = [f"u-{number:04}" for number in range(CROWD)]
        everybody += [f"never-asked-{number}" for number in range(100)]
        with shop.begin() as tx:
            customers.create(tx)
            tx.execute(customers.insert(), [{"account": who} for who in everybody])
        for channel in CHANNELS:
            with shop.connect() as tx:
                audience = list(tx.scalars(kit.audience(channel)))
                query = sa.select(customers.c.account).where(kit.allowed(channel, customers.c.account))
                joined = list(tx.scalars(query))
            gate = {who for who, decision in kit.decide_many(everybody, channel).items() if decision}
            assert len(audience) == len(joined) == len(gate) > CROWD / 3, "each once"
            assert set(audience) == set(joined) == gate == wanted[channel], channel
            assert sorted(kit.audience_ids(channel)) == sorted(gate)
        assert len({frozenset(names) for names in wanted.values()}) == 3, "the channels are apart"


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


def turn(browser: Browser, purpose: str) -> str:
    """Open the choices, change one box, press the one button: what a person does to say yes, and to say no."""
    box = ("purpose", purpose)
    form = form_with(browser.get("/consent").text, box)
    ticked = {key for key, on in form.boxes.items() if on} ^ {box}
    assert ("decision", "save") in form.buttons
    sent: dict[str, list[str]] = {name: [value] for name, value in form.hidden.items()}
    for name, value in sorted(ticked):
        sent.setdefault(name, []).append(value)
    assert browser.post(form.action, {**sent, "decision": "save"}).status == 303
    return "yes" if box in ticked else "no"


@pytest.mark.parametrize("account", ["ada", None])
def test_4_4_to_withdraw_is_as_easy_as_to_give(service: Service, account: str | None) -> None:
    browser = service.browser(account)
    browser.post("/consent", {"decision": "save", "category": "analytics", "purpose": "marketing.push"})
    before = browser.get("/consent/status", accept=JSON).json["granted"]
    for said in ("yes", "no", "yes", "no"):
        assert turn(browser, "marketing.email") == said, "the same steps, one after the other"
        now = browser.get("/consent/status", accept=JSON).json["granted"]
        assert set(now) == set(before) | ({"marketing.email"} if said == "yes" else set())
    if account is not None:
        about = [action for action, item, *_ in service.events(account) if item == "marketing.email"]
        assert about == ["refused", "given", "withdrawn", "given", "withdrawn"]
        with service.app.app_context():
            assert [send_offer(account), push_offer(account)] == [None, f"a push to {account}"]


@pytest.mark.parametrize("account", ["ada", None])
def test_4_4_one_press_ends_everything_as_one_press_gives_it(service: Service, account: str | None) -> None:
    browser = service.browser(account)
    form = form_with(browser.get("/consent").text, ("purpose", "marketing.email"))
    assert ("decision", "withdraw-all") not in form.buttons, "nothing to withdraw yet"
    browser.post(form.action, {**form.hidden, "decision": "accept-all"})
    assert {"preferences", "analytics", "marketing"} <= granted(browser)
    form = form_with(browser.get("/consent").text, ("purpose", "marketing.email"))
    assert {("decision", "accept-all"), ("decision", "withdraw-all")} <= set(form.buttons)
    browser.post(form.action, {**form.hidden, "decision": "withdraw-all"})
    assert granted(browser) & {"preferences", "analytics", "marketing", *CHANNELS} == set()


def granted(browser: Browser) -> set[str]:
    """What is allowed for whoever has this browser."""
    return set(browser.get("/consent/status", accept=JSON).json["granted"])


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


def test_4_9_all_that_the_ledger_holds_is_in_it(service: Service, tmp_path: Path) -> None:
    ada = service.browser("ada", **{"Sec-GPC": "1"})
    assert ada.post("/join", {"age": "34"}).status == 200
    ada.get("/")
    ada.post("/consent", {"decision": "save", "category": "preferences", "purpose": "marketing.email"})
    ada.post("/consent", {"decision": "defer"})
    ada.accept("/consent/accept/privacy")
    (tmp_path / "concerned.txt").write_text("ada\n")
    announce = ["consent", "announce", "breach", "--to", str(tmp_path / "concerned.txt")]
    assert service.app.test_cli_runner().invoke(args=announce).exit_code == 0
    ada.post("/consent/announcements", {"decision": "seen", "key": "breach", "version": "1"})
    ada.post("/object/advice", {})
    ada.post("/restrict", {})
    with service.app.app_context():
        kit = service.kit
        kit.learn("ada", jurisdiction="FR")
        kit.lift("ada")
        for scope in ("comment:42", "comment:43"):
            kit.give("ada", "testimonial", scope=scope)
        kit.withdraw("ada", "testimonial", scope="comment:42")
        for item in ("marketing.sms", "marketing.push"):
            kit.give("bob", item)
        held = kit.ledger.of_subject("ada")
    mine = ada.get("/my-data", accept=JSON).json
    assert mine["facts"] == {"band": "adult", "minor_until_us": None, "jurisdiction": "FR"}
    assert len(mine["events"]) == len(held)
    for shown, event in zip(mine["events"], held, strict=True):
        assert shown.keys() == {field.name for field in fields(Event)}
        for name, value in shown.items():
            here = getattr(event, name)
            there = datetime.fromisoformat(value) if isinstance(here, datetime) else value
            assert there == here, f"{name} of {event.action} {event.item}"
    kinds = {(event["kind"], event["action"]) for event in mine["events"]}
    assert kinds >= {
        *(("purpose", action) for action in ("given", "refused", "withdrawn", "deferred", "objected")),
        *(("subject", action) for action in ("restricted", "lifted")),
        ("policy", "accepted"),
        ("signal", "objected"),
        ("announcement", "notified"),
        ("announcement", "accepted"),
    }
    scopes = [(e["action"], e["scope"]) for e in mine["events"] if e["item"] == "testimonial"]
    assert scopes[-3:] == [("given", "comment:42"), ("given", "comment:43"), ("withdrawn", "comment:42")]


def test_4_9_what_is_wrong_is_corrected(service: Service) -> None:
    """What is known about somebody is replaced; an answer given by mistake is followed by the right one."""
    ada = service.browser("ada")
    assert ada.post("/join", {"age": "11"}).status == 403, "meant 41"
    assert ada.get("/orders").status == 403
    assert ada.post("/join", {"age": "41"}).json == {"welcome": True}
    assert ada.get("/orders").status == 200
    with service.app.app_context():
        for place in ("DE", "FR"):
            service.kit.learn("ada", jurisdiction=place)
    assert ada.get("/my-data", accept=JSON).json["facts"] == {
        "band": "adult",
        "minor_until_us": None,
        "jurisdiction": "FR",
    }
    ada.post("/consent", {"decision": "save", "purpose": "marketing.sms"})
    ada.post("/consent", {"decision": "save", "purpose": "marketing.email"})
    with service.app.app_context():
        assert [send_offer("ada"), text_offer("ada")] == ["a letter to ada", None]
        service.kit.rename("ada", "ada-2")
        assert [send_offer("ada"), send_offer("ada-2")] == [None, "a letter to ada-2"]
    right = service.browser("ada-2").get("/my-data", accept=JSON).json
    assert (right["subject"], right["facts"]["jurisdiction"]) == ("ada-2", "FR")


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


Recipients = tuple[Service, Receiver, Receiver]


@pytest.fixture
def recipients(tmp_path: Path, live_server: Callable[[Flask], str]) -> Iterator[Recipients]:
    """The shop, and the servers of the letter office and of Headcount, which are on this machine."""
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
        yield service, letters, counter
        service.close()


def deliver(service: Service) -> int:
    """One round; how it ended."""
    exit_code: int = service.app.test_cli_runner().invoke(args=["consent", "deliver"]).exit_code
    return exit_code


def evidence(service: Service, action: str, item: str) -> list[Delivery]:
    """What the message about ada's last such event has come to, by recipient."""
    with service.app.app_context():
        (*_, event) = service.kit.ledger.events(subject="ada", item=item, action=action)
        found = service.kit.deliveries(subject="ada")
    return [each for each in found if each.event_id == event.event_id]  # type: ignore[union-attr]


def assert_signed(receiver: Receiver, message: Message, at: datetime, *, not_by: Receiver) -> None:
    """Its recipient finds the signature good at that moment; with another's secret it is not."""
    with time_machine.travel(at, tick=False):
        receiver.verify(message)
        with pytest.raises(WebhookVerificationError, match="No matching signature"):
            receiver.verify(message, not_by.secret)


@pytest.mark.parametrize(
    ("purpose", "recipient"), [("marketing.email", "letter_office"), ("visits", "headcount")]
)
def test_4_11_each_recipient_is_told_of_its_withdrawal_and_that_it_was_is_on_record(
    recipients: Recipients, purpose: str, recipient: str
) -> None:
    service, letters, counter = recipients
    told, other = (letters, counter) if recipient == "letter_office" else (counter, letters)
    ada = service.browser("ada")
    ada.post("/consent", {"decision": "save", "category": "analytics", "purpose": "marketing.email"})
    assert deliver(service) == 0
    for each, item in ((letters, "marketing.email"), (counter, "visits")):
        assert [(m.said, m.json["data"]["item"]) for m in each.messages] == [("consent.given ada", item)]
    told.answering = status(503)
    service.clock.move(START + DAY)
    assert ada.post(f"/stop/{purpose}", {}).json == [f"withdrawn {purpose}"]
    deliver(service)
    (pending,) = evidence(service, "withdrawn", purpose)
    assert (pending.recipient, pending.status, pending.delivered_at) == (recipient, "pending", None)
    told.answering = status(204)
    service.clock.move(START + 2 * DAY)
    assert deliver(service) == 0
    service.clock.move(START + 3 * DAY)
    (done,) = evidence(service, "withdrawn", purpose)
    assert (done.recipient, done.status, done.type) == (recipient, "delivered", "consent.withdrawn")
    assert START + DAY <= done.since < START + DAY + timedelta(minutes=1)
    assert done.delivered_at is not None
    assert START + 2 * DAY <= done.delivered_at < START + 2 * DAY + timedelta(minutes=1)
    data = told.messages[-1].json["data"]
    assert (data["event_id"], data["item"], data["subject"]) == (done.event_id, purpose, "ada")
    assert len(other.messages) == 1, "it is not the other's business"
    assert told.distinct == ["consent.given ada", "consent.withdrawn ada"], "sent again under its old id"
    for message, days in zip(told.messages, (0, 1, 2), strict=True):
        assert_signed(told, message, START + days * DAY, not_by=other)
    assert_signed(other, other.messages[0], START, not_by=told)


def test_4_11_everybody_who_holds_the_data_is_told_of_an_erasure(recipients: Recipients) -> None:
    service, letters, counter = recipients
    ada = service.browser("ada")
    ada.post("/consent", {"decision": "save", "category": "analytics", "purpose": "marketing.email"})
    assert deliver(service) == 0
    ada.post("/delete", {})
    assert deliver(service) == 0
    for each in (letters, counter):
        assert each.about("ada") == ["consent.given ada", "subject.erased ada"]
    assert_signed(letters, letters.messages[-1], START, not_by=counter)
    assert_signed(counter, counter.messages[-1], START, not_by=letters)
