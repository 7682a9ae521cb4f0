"""Ages and regimes by jurisdiction: the data, the strictest rule, and every threshold to the minute."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from consentkit import AgeRule, CatalogError, MinorRules, Purpose, RegimeRule, Site
from consentkit.core.catalog_rules import build
from consentkit.core.minors import Age, Facts, band_of, is_guarded, is_minor, moved
from consentkit.core.places import Places, age_rules, regime_rules
from consentkit.core.terms import Assurance, Band, Regime
from consentkit.core.times import to_us

RULES = MinorRules()
PLACES = Places()
TODAY = date(2026, 10, 7)
NOW = to_us(datetime(2026, 10, 7, tzinfo=UTC))

AGES = {
    **dict.fromkeys(("BE", "EE", "FI", "IS", "LV", "MT", "NO", "PT", "SE", "GB", "US", "CA"), 13),
    **dict.fromkeys(("AT", "BG", "CY", "IT", "LT", "ES", "CN", "KR", "CA-QC", "CL", "CO", "PE"), 14),
    **dict.fromkeys(("CZ", "DK", "FR", "GR", "SI", "AU", "JP"), 15),
    **dict.fromkeys(("EU", "HR", "DE", "HU", "IE", "LI", "LU", "NL", "PL", "RO", "SK", "BR", "VN"), 16),
    **dict.fromkeys(("IN", "PH", "ID", "MY", "RU", "CH", "HK"), 18),
    "US-CA": 13,
}
"""The same facts, written down a second time by age."""


def test_every_row_is_known_and_has_its_source() -> None:
    assert {code: rule.age for code, rule in age_rules().items()} == AGES
    for rule in [*age_rules().values(), *regime_rules().values()]:
        assert rule.source, rule.code
        assert isinstance(rule.as_of, date), rule.code
    for rule in age_rules().values():
        assert ZoneInfo(rule.zone), rule.code


def born(age: int, day: date) -> date:
    return day.replace(year=day.year - age)


@pytest.mark.parametrize("code", sorted(AGES))
def test_the_day_before_on_and_after(code: str) -> None:
    """Somebody whose birthday of own answers is today, there: guarded until its midnight and not a minute longer."""
    rule = PLACES.at(code).ages
    birthday = datetime(TODAY.year, TODAY.month, TODAY.day, tzinfo=ZoneInfo(rule.zone))
    for days, minutes, guarded in ((-1, 0, True), (0, -1, True), (0, 0, False), (1, 0, False)):
        now_us = to_us(birthday + timedelta(days=days, minutes=minutes))
        band, until_us = band_of(Age(born=born(rule.age, TODAY)), rule, now_us)
        assert is_guarded(Facts(band, until_us, code), RULES, rule, now_us) is guarded, (days, minutes)
        stored = band_of(Age(born=born(rule.age, TODAY)), rule, now_us - 365 * 86_400_000_000)
        assert is_guarded(Facts(*stored, code), RULES, rule, now_us) is guarded, (days, minutes)


@pytest.mark.parametrize("code", ["US-CA", "BR"])
def test_old_enough_to_answer_and_still_a_minor(code: str) -> None:
    rule = PLACES.at(code).ages
    now_us = to_us(datetime(2026, 10, 7, 23, tzinfo=ZoneInfo(rule.zone)))
    for age in range(10, 20):
        facts = Facts(*band_of(Age(born=born(age, TODAY)), rule, now_us))
        assert is_minor(facts, RULES, now_us) is (age < rule.minor_until), age
        assert is_guarded(facts, RULES, rule, now_us) is (age < rule.age), age


@pytest.mark.parametrize(
    ("birthday", "now", "guarded"),
    [
        (
            date(2012, 2, 29),
            "2025-02-28T23:59",
            True,
        ),  # thirteen on 1 March: the later day is the stricter one
        (date(2012, 2, 29), "2025-03-01T00:00", False),
        (date(2011, 3, 1), "2024-02-29T12:00", True),  # a leap day now, and none in three years
        (date(2011, 3, 1), "2024-03-01T00:00", False),
        (date(2011, 2, 28), "2024-02-28T00:00", False),
        (date(2013, 3, 9), "2026-03-08T23:59", True),  # the clocks change in between
        (date(2013, 3, 9), "2026-03-09T00:00", False),
    ],
)
def test_leap_days_and_clock_changes_in_california(birthday: date, now: str, guarded: bool) -> None:
    rule = PLACES.at("US-CA").ages
    now_us = to_us(datetime.fromisoformat(now).replace(tzinfo=ZoneInfo("America/Los_Angeles")))
    facts = Facts(*band_of(Age(born=birthday), rule, now_us - 86_400_000_000))
    assert is_guarded(facts, RULES, rule, now_us) is guarded


def test_midnight_is_that_of_the_place() -> None:
    _, berlin = band_of(Age(born=date(2012, 7, 1)), PLACES.at("DE").ages, NOW)
    _, california = band_of(Age(born=date(2012, 7, 1)), PLACES.at("US-CA").ages, NOW)
    assert berlin == to_us(datetime(2028, 6, 30, 22, tzinfo=UTC))
    assert california == to_us(datetime(2028, 7, 1, 7, tzinfo=UTC))


def test_the_last_midnight_on_earth_where_the_place_is_not_known() -> None:
    _, until_us = band_of(Age(born=date(2012, 7, 1)), PLACES.at(None).ages, NOW)
    assert until_us == to_us(datetime(2030, 7, 1, 12, tzinfo=UTC))


def test_without_time_zone_data_it_is_later_never_earlier() -> None:
    _, until_us = band_of(Age(born=date(2012, 7, 1)), AgeRule("XX", 16, 16, zone="No/Such"), NOW)
    assert until_us == to_us(datetime(2028, 7, 1, 12, tzinfo=UTC))


@pytest.mark.parametrize("code", [None, "", "ZZ", "ZZ-1", "Germany", "\0"])
def test_a_place_that_is_not_known_is_the_strictest(code: str | None) -> None:
    place = PLACES.at(code)
    assert (place.ages.age, place.ages.minor_until, place.decided) == (18, 18, "strictest")
    assert place.ages.actors == ("guardian", "subject")
    assert place.ages.verification is Assurance.VERIFIABLE
    assert {"TargetedAdvertising", "ServiceUsageAnalytics"} <= set(place.ages.forbidden)
    assert place.regime("analytics", Regime.EXEMPT_WITH_NOTICE) is Regime.OPT_IN


def test_a_subdivision_is_its_country_where_it_has_no_row() -> None:
    assert PLACES.at("DE-BY").ages.code == "DE"
    assert PLACES.at("de").ages.code == "DE"
    assert PLACES.at("US-WY").regimes.code == "US"
    assert PLACES.at("US-CA").ages.verification is Assurance.CONFIRMED  # COPPA holds there too


def test_the_stricter_of_operator_and_jurisdiction() -> None:
    fifteen = Places(15)
    assert (fifteen.at("BE").ages.age, fifteen.at("BE").decided) == (15, "operator")
    assert (fifteen.at("DE").ages.age, fifteen.at("DE").decided) == (16, "DE")
    assert fifteen.at("BR").ages.minor_until == 18
    assert (fifteen.at(None).ages.age, fifteen.at(None).decided) == (18, "strictest")


def test_the_operator_may_write_a_row_anew() -> None:
    mine = AgeRule("DE", 14, 14, source="a new law", as_of=TODAY)
    assert Places(ages=[mine]).at("DE").ages.age == 14
    assert Places(16, ages=[mine]).at("DE").ages.age == 16


class TestMoving:
    def facts(self, years: int, code: str) -> Facts:
        rule = PLACES.at(code).ages
        return Facts(*band_of(Age(born=born(years, TODAY)), rule, NOW), code)

    def test_a_minor_takes_the_birthday_along(self) -> None:
        there = moved(self.facts(12, "BE"), PLACES.at("BE").ages, PLACES.at("DE").ages, NOW)
        assert there.minor_until_us == self.facts(12, "DE").minor_until_us

    def test_a_minor_may_be_grown_up_elsewhere(self) -> None:
        there = moved(self.facts(15, "DE"), PLACES.at("DE").ages, PLACES.at("BE").ages, NOW)
        assert (there.band, there.minor_until_us) == (Band.ADULT, None)

    def test_who_is_grown_up_with_thirteen_is_of_unknown_age_where_it_is_sixteen(self) -> None:
        there = moved(self.facts(14, "BE"), PLACES.at("BE").ages, PLACES.at("DE").ages, NOW)
        assert there.band is Band.UNKNOWN


class TestRegimes:
    @pytest.mark.parametrize(
        ("code", "category", "regime"),
        [
            ("DE", "analytics", Regime.OPT_IN),
            ("GB", "analytics", Regime.EXEMPT_WITH_NOTICE),
            ("GB", "preferences", Regime.EXEMPT_WITH_NOTICE),
            ("GB", "marketing", Regime.OPT_IN),
            ("US", "marketing", Regime.OPT_OUT),
            ("US-CA", "analytics", Regime.OPT_OUT),
            ("US-TX", "marketing", Regime.OPT_OUT),
            ("US-CA", "social", Regime.OPT_IN),
            ("US-CA", "", Regime.OPT_IN),
            ("CA-QC", "analytics", Regime.OPT_IN),
        ],
    )
    def test_by_jurisdiction_and_category(self, code: str, category: str, regime: Regime) -> None:
        assert PLACES.at(code).regime(category, None) is regime

    def test_the_operator_may_be_stricter_not_laxer(self) -> None:
        assert PLACES.at("US-CA").regime("analytics", Regime.OPT_IN) is Regime.OPT_IN
        assert PLACES.at("DE").regime("analytics", Regime.OPT_OUT) is Regime.OPT_IN

    def test_a_row_of_the_operator_stands_in_place_of_ours(self) -> None:
        row = RegimeRule("US-CA", {"analytics": Regime.OPT_IN}, "our counsel", TODAY)
        assert Places(regimes=[row]).at("US-CA").regime("marketing", None) is Regime.OPT_IN


@pytest.mark.parametrize(
    ("what", "key"),
    [
        ({"site": Site(default_jurisdiction="Germany")}, "site.default_jurisdiction"),
        ({"minors": MinorRules(ages=[AgeRule("DE", 14, 14)])}, "minors.ages.DE"),
        ({"minors": MinorRules(ages=[AgeRule("D", 14, 14, source="x", as_of=TODAY)])}, "minors.ages.D"),
        ({"minors": MinorRules(ages=[AgeRule("DE", 14, 12, source="x", as_of=TODAY)])}, "minors.ages.DE"),
        ({"minors": MinorRules(ages=[AgeRule("DE", 22, 22, source="x", as_of=TODAY)])}, "minors.ages.DE"),
        ({"regimes": [RegimeRule("US-CA", {"analytics": Regime.OPT_IN})]}, "regimes.US-CA"),
        ({"regimes": [RegimeRule("US", {"nothing": Regime.OPT_IN}, "x", TODAY)]}, "regimes.US"),
    ],
)
def test_rows_that_cannot_be(what: dict[str, object], key: str) -> None:
    with pytest.raises(CatalogError) as caught:
        build(purposes=[Purpose("stats", category="analytics")], **what)  # type: ignore[arg-type]
    assert caught.value.key == key
