"""What a visitor chose, and what of it an account may take over: never more than both said, never a minor's yes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ledgers import OnPostgresql, OnSqlite, ShiftedClock, Suite, open_kit

from consentkit import Age, ChoiceRejected, MinorRules, Purpose, Site
from consentkit.core.catalog_rules import build
from consentkit.kit import Kit

VISITOR, ACCOUNT = "visitor:abc", "u-1"
DAY_US = 24 * 3600 * 1_000_000


def asked() -> list[Purpose]:
    return [
        Purpose("news", title="News"),
        Purpose("stats", title="Stats", category="analytics", valid_for="P6M"),
        Purpose("ads", title="Ads", category="marketing", signals=["gpc"]),
        Purpose("transfer", title="Transfer", category="marketing", separate=True),
        Purpose("quote", title="Quote", scoped=True),
        Purpose("account", title="Account", basis="contract", core=True),
    ]


def offered(kit: Kit, account: str = ACCOUNT) -> dict[str, bool]:
    return {choice.purpose: choice.granted for choice in kit.linkable(account, VISITOR)}


class LinkSuite(Suite):
    @pytest.fixture
    def kit(self, url: str, clock: ShiftedClock) -> Iterator[Kit]:
        kit = open_kit(url, build(purposes=asked(), minors=MinorRules(age=16)), clock=clock)
        kit.choose(VISITOR, give=["news", "stats", "transfer"], refuse=["ads"], method="button")
        yield kit
        kit.runtime.dispose()

    def test_signing_in_gives_the_account_nothing(self, kit: Kit) -> None:
        assert offered(kit) == {"news": True, "stats": True, "ads": False, "transfer": True}
        assert list(kit.ledger.of_subject(ACCOUNT)) == []
        assert not kit.decide(ACCOUNT, "news").allowed

    def test_what_is_taken_over_names_what_it_continues(self, kit: Kit) -> None:
        before = {e.item: e for e in kit.ledger.of_subject(VISITOR)}
        events = kit.link(ACCOUNT, VISITOR, ["transfer", "stats", "ads"], method="form", locale="en")
        said = {e.item: (e.action, e.actor, e.method, json.loads(e.body)["continues"]) for e in events}
        assert said == {
            key: (action, "subject", "form", before[key].event_id)
            for key, action in (("transfer", "given"), ("stats", "given"), ("ads", "refused"))
        }
        assert [kit.decide(ACCOUNT, key).reason for key in ("stats", "ads", "news")] == [
            "GIVEN",
            "REFUSED",
            "NO_ANSWER",
        ]
        assert len(kit.ledger.of_subject(VISITOR)) == 4, "of the visitor nothing changes"
        assert offered(kit) == {"news": True}
        assert kit.ledger.verify().faults == []

    def test_to_take_nothing_over_is_on_record_too(self, kit: Kit) -> None:
        (event,) = kit.link(ACCOUNT, VISITOR, method="form")
        assert (event.kind, event.item, event.action, event.method) == ("subject", "link", "declined", "form")
        assert "continues" not in json.loads(event.body), "and says nothing about the visitor"
        assert kit.decide(ACCOUNT, "news").reason == "NO_ANSWER"
        assert kit.decide(ACCOUNT, "account").allowed

    def test_a_yes_ends_when_the_visitors_would_have(self, kit: Kit, clock: ShiftedClock) -> None:
        ends = kit.decide(VISITOR, "stats").expires
        clock.shift_us += 30 * DAY_US
        kit.link(ACCOUNT, VISITOR, ["stats"])
        assert kit.decide(ACCOUNT, "stats").expires == ends

    def test_what_does_not_hold_any_more_is_not_offered(self, kit: Kit, clock: ShiftedClock) -> None:
        clock.shift_us += 200 * DAY_US
        assert "stats" not in offered(kit)
        kit.signalled(VISITOR)
        assert offered(kit) == {"news": True, "ads": False, "transfer": True}

    def test_what_the_account_said_later_stays(self, kit: Kit) -> None:
        kit.refuse(ACCOUNT, ["news", "ads"])
        kit.give(ACCOUNT, "stats")
        assert offered(kit) == {"transfer": True}
        with pytest.raises(ChoiceRejected, match="'news'"):
            kit.link(ACCOUNT, VISITOR, ["news"])

    def test_an_earlier_answer_of_the_account_may_be_changed(self, kit: Kit) -> None:
        earlier = datetime.now(UTC) - timedelta(days=1)
        kit.refuse(ACCOUNT, ["news"], at=earlier)
        kit.give(ACCOUNT, "ads", at=earlier)
        kit.give(ACCOUNT, "stats", at=earlier)
        kit.refuse(ACCOUNT, "transfer", at=earlier)
        assert offered(kit) == {"news": True, "ads": False, "transfer": True}
        kit.link(ACCOUNT, VISITOR, ["ads"])
        assert kit.decide(ACCOUNT, "ads").reason == "REFUSED"

    @pytest.mark.parametrize("years", [9, 15])
    def test_to_a_minor_no_yes_is_offered_and_none_is_taken(self, kit: Kit, years: int) -> None:
        kit.learn(ACCOUNT, age=Age(years=years), jurisdiction="DE")
        assert offered(kit) == {"ads": False}
        with pytest.raises(ChoiceRejected):
            kit.link(ACCOUNT, VISITOR, ["news"])
        (event,) = kit.link(ACCOUNT, VISITOR, ["ads"])
        assert (event.item, event.action) == ("ads", "refused")
        assert not kit.decide(ACCOUNT, "news").allowed

    def test_where_parent_and_child_answer_together_a_child_takes_no_yes_over_either(self, kit: Kit) -> None:
        kit.learn(ACCOUNT, age=Age(years=13), jurisdiction="FR")
        assert offered(kit) == {"ads": False}

    def test_of_erased_people_nothing_is_offered(self, kit: Kit) -> None:
        kit.give("u-2", "news")
        kit.erase("u-2")
        assert offered(kit, "u-2") == {}
        kit.erase(VISITOR)
        assert offered(kit) == {}
        with pytest.raises(ChoiceRejected):
            kit.link(ACCOUNT, VISITOR, ["news"])

    def test_restricted_people_are_offered_no_yes(self, kit: Kit) -> None:
        kit.restrict(ACCOUNT)
        assert offered(kit) == {"ads": False}

    @pytest.mark.parametrize(
        ("account", "visitor", "error"),
        [
            ("u-1", "u-2", ChoiceRejected),
            (VISITOR, "visitor:other", ChoiceRejected),
            ("", VISITOR, ValueError),
            ("u-1", "", ValueError),
        ],
    )
    def test_two_people_are_never_merged(self, kit: Kit, account: str, visitor: str, error: Any) -> None:
        with pytest.raises(error):
            kit.link(account, visitor)
        with pytest.raises(error):
            kit.linkable(account, visitor)

    @pytest.mark.parametrize("key", ["account", "quote", "nothing", "analytics", "purpose:news"])
    def test_only_what_is_offered(self, kit: Kit, key: str) -> None:
        with pytest.raises(ChoiceRejected):
            kit.link(ACCOUNT, VISITOR, ["news", key])
        assert list(kit.ledger.of_subject(ACCOUNT)) == []


class TestLinkingSqlite(OnSqlite, LinkSuite):
    def test_nor_a_yes_to_a_minor_who_answers_alone(self, url: str) -> None:
        kit = open_kit(url, build(purposes=asked(), minors=MinorRules()))
        kit.choose(VISITOR, give=["news", "transfer"], refuse=["ads"])
        kit.learn(ACCOUNT, age=Age(years=14), jurisdiction="US-CA")
        assert kit.decide(ACCOUNT, "news").reason == "NO_ANSWER"
        assert offered(kit) == {"ads": False}
        kit.runtime.dispose()

    def test_what_silence_allows_is_not_offered(self, url: str) -> None:
        kit = open_kit(url, build(purposes=asked(), site=Site(default_jurisdiction="US")))
        kit.choose(VISITOR, give=["stats", "news"])
        assert offered(kit) == {"news": True}
        kit.runtime.dispose()


class TestLinkingPostgresql(OnPostgresql, LinkSuite): ...
