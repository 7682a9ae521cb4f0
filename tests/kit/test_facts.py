"""Where facts come from: the host's loaders are asked about the host's people only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from ledgers import OnPostgresql, OnSqlite, ShiftedClock, Suite, open_kit

from consentkit import Age, GuardianNeeded, MinorRules, Purpose
from consentkit.core.catalog_rules import build
from consentkit.kit import Kit


class FactSuite(Suite):
    def test_the_age_loader_is_not_asked_about_a_tenants_subjects(self, kit: Kit) -> None:
        asked: list[str] = []

        def age(subject: str) -> Age:
            asked.append(subject)
            return Age(years=9)

        kit.facts.age = age
        kit.give("u-1", "news", tenant="t", notice="0" * 64)
        assert kit.decide("u-1", "news", tenant="t").allowed
        assert kit.decide_many(["u-1"], "news", tenant="t")["u-1"].allowed
        assert asked == []
        assert kit.decide("u-1", "news").reason == "GUARDIAN_REQUIRED"
        assert asked == ["u-1"]

    @pytest.mark.parametrize(
        "at", [datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))), datetime(1969, 12, 31, tzinfo=UTC)]
    )
    def test_moments_before_1970_are_refused(self, kit: Kit, at: datetime) -> None:
        with pytest.raises(ValueError, match="before 1970"):
            kit.give("u-1", "news", at=at)

    @pytest.mark.parametrize(
        "event_id", ["", "x", "g" * 36, "0190_000-0000-7000-8000-000000000000", "'; DROP TABLE x; --"]
    )
    def test_what_is_no_event_id_is_no_event(self, kit: Kit, event_id: str) -> None:
        assert kit.ledger.event(event_id) is None

    def test_somebody_who_has_not_answered_has_no_answers(self, kit: Kit) -> None:
        kit.learn("u-1", jurisdiction="DE")
        state = kit.runtime.reader.state("", "u-1")
        assert (state.facts.jurisdiction, state.rows) == ("DE", ())


class PlaceSuite(Suite):
    """Rules of a place, from the age to the decision."""

    @pytest.fixture
    def kit(self, url: str, clock: ShiftedClock) -> Iterator[Kit]:
        ads = Purpose("ads", title="Ads", dpv=("TargetedAdvertising",))
        asked = build(purposes=[Purpose("news", title="News"), ads], minors=MinorRules(age=13))
        kit = open_kit(url, asked, clock=clock)
        yield kit
        kit.runtime.dispose()

    def reason(self, kit: Kit, item: str = "news") -> str:
        return kit.decide("kid", item).reason

    def test_where_the_place_is_not_known_everything_is_asked_for(self, kit: Kit) -> None:
        kit.learn("kid", age=Age(years=17))
        with pytest.raises(GuardianNeeded):
            kit.give("kid", "news")
        assert list(kit.ledger.events(subject="kid")) == []
        kit.give("kid", "news", actor="guardian:1")
        assert kit.decide("kid", "news").reason == "GUARDIAN_ASSURANCE_TOO_LOW"
        kit.give("kid", "news", actor="guardian:1", assurance="verifiable")
        assert (self.reason(kit), kit.decide("kid", "news").rule) == ("NO_ANSWER", None)
        kit.give("kid", "news")
        assert self.reason(kit) == "GIVEN"
        assert kit.decide("kid", "ads").rule == "strictest"

    def test_in_france_child_and_parent_agree_together(self, kit: Kit) -> None:
        kit.learn("kid", age=Age(years=13), jurisdiction="FR")
        (event,) = kit.give("kid", "news")
        body = json.loads(event.body)
        assert (body["age_rule"], body["actors"]) == ("FR", "guardian subject")
        assert (self.reason(kit), kit.decide("kid", "news").rule) == ("GUARDIAN_REQUIRED", "FR")
        kit.give("kid", "news", actor="guardian:1")
        assert self.reason(kit) == "GIVEN"
        kit.withdraw("kid", "news")
        assert self.reason(kit) == "WITHDRAWN"

    def test_a_row_and_the_operator(self, kit: Kit) -> None:
        kit.learn("kid", age=Age(years=12), jurisdiction="GB")
        assert (self.reason(kit), kit.decide("kid", "news").rule) == ("GUARDIAN_REQUIRED", "GB")
        kit.learn("other", age=Age(years=13), jurisdiction="GB")
        assert "age_rule" not in json.loads(kit.give("other", "news")[0].body)
        assert kit.decide("other", "news").allowed

    def test_what_no_guardian_can_allow(self, kit: Kit) -> None:
        kit.learn("kid", age=Age(years=17), jurisdiction="IN")
        kit.give("kid", "ads", actor="guardian:1", assurance="verifiable")
        decision = kit.decide("kid", "ads")
        assert (decision.reason, decision.rule) == ("FORBIDDEN_FOR_MINORS", "IN")
        kit.learn("kid", jurisdiction="US")
        assert kit.decide("kid", "ads").reason == "AGED_OUT"

    def test_who_moves_keeps_the_birthday(self, kit: Kit) -> None:
        day = date.today()
        born = day.replace(year=day.year - 14, day=1)
        kit.learn("kid", age=Age(born=born), jurisdiction="DE")
        there = kit.export("kid")["facts"]["minor_until_us"]
        kit.learn("kid", jurisdiction="IN")
        kit.learn("kid", jurisdiction="DE")
        assert kit.export("kid")["facts"]["minor_until_us"] == there
        kit.learn("kid", jurisdiction="BE")
        assert kit.export("kid")["facts"] == {"band": "adult", "minor_until_us": None, "jurisdiction": "BE"}

    @pytest.mark.parametrize("place", ["Germany", "de", "D", "DE-", "DEU", ""])
    def test_what_is_no_jurisdiction(self, kit: Kit, place: str) -> None:
        with pytest.raises(ValueError, match="ISO 3166"):
            kit.learn("kid", jurisdiction=place)


class RegimeSuite(Suite):
    @pytest.fixture
    def kit(self, url: str, clock: ShiftedClock) -> Iterator[Kit]:
        stats = Purpose("stats", title="Statistics", category="analytics", signals=["gpc"])
        apart = Purpose("transfer", title="Transfer", category="analytics", separate=True)
        kit = open_kit(url, build(purposes=[stats, apart], minors=MinorRules()), clock=clock)
        yield kit
        kit.runtime.dispose()

    @pytest.mark.parametrize(
        ("place", "reason", "rule"),
        [
            ("DE", "NO_ANSWER", None),
            ("GB", "NOT_REQUIRED", "GB"),
            ("US-CA", "NOT_REQUIRED", "US-CA"),
            ("US-WY", "NOT_REQUIRED", "US"),
            ("ZZ", "NO_ANSWER", None),
        ],
    )
    def test_silence_by_place(self, kit: Kit, place: str, reason: str, rule: str | None) -> None:
        kit.learn("u-1", age=Age(years=40), jurisdiction=place)
        decision = kit.decide("u-1", "stats")
        assert (decision.reason, decision.rule) == (reason, rule)
        assert kit.decide("u-1", "transfer").reason == "NO_ANSWER"
        kit.refuse("u-1", "stats")
        assert kit.decide("u-1", "stats").reason == "REFUSED"

    def test_silence_of_a_minor_is_never_a_yes(self, kit: Kit) -> None:
        kit.learn("kid", age=Age(years=14), jurisdiction="US-CA")
        assert kit.decide("kid", "stats").reason == "NO_ANSWER"
        kit.give("kid", "stats")
        assert kit.decide("kid", "stats").allowed


class TestPlacesSqlite(OnSqlite, PlaceSuite): ...


class TestPlacesPostgresql(OnPostgresql, PlaceSuite): ...


class TestRegimesSqlite(OnSqlite, RegimeSuite): ...


class TestRegimesPostgresql(OnPostgresql, RegimeSuite): ...


class TestSqlite(OnSqlite, FactSuite): ...


class TestPostgresql(OnPostgresql, FactSuite): ...
