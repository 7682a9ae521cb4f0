"""Durations on the calendar, instants, birthdays."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentkit.core.catalog import MinorRules
from consentkit.core.minors import Age, Facts, band_of, is_minor
from consentkit.core.places import AgeRule
from consentkit.core.terms import Band
from consentkit.core.texts import for_people, texts
from consentkit.core.times import Duration, add_years, from_us, not_ahead, rfc3339, to_us


def after(duration: str, start: str) -> str:
    moment = datetime.fromisoformat(start + "T12:00:00+00:00")
    return from_us(Duration.parse(duration).after(to_us(moment))).date().isoformat()


@pytest.mark.parametrize(
    ("duration", "start", "end"),
    [
        ("P1M", "2026-01-31", "2026-02-28"),
        ("P1M", "2028-01-31", "2028-02-29"),
        ("P1Y", "2028-02-29", "2029-02-28"),
        ("P4Y", "2024-02-29", "2028-02-29"),
        ("P6M", "2026-08-31", "2027-02-28"),
        ("P13M", "2026-12-31", "2028-01-31"),
        ("P12M", "2026-12-01", "2027-12-01"),
        ("P1Y2M3D", "2026-01-01", "2027-03-04"),
        ("P2W", "2026-01-01", "2026-01-15"),
        ("PT36H", "2026-01-01", "2026-01-03"),
        ("PT15M", "2026-01-01", "2026-01-01"),
    ],
)
def test_durations_are_anniversaries(duration: str, start: str, end: str) -> None:
    assert after(duration, start) == end


@pytest.mark.parametrize(
    "text", ["", "P", "PT", "6M", "P1.5M", "p6m", "P6M ", "P-1M", "P1D2M", "PT1D", "P1MT", "P99999D"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not an ISO 8601 duration"):
        Duration.parse(text)


def test_centuries_are_no_duration() -> None:
    with pytest.raises(ValueError, match="a hundred years"):
        Duration.parse("P101Y")
    assert after("P100Y", "2026-01-01") == "2126-01-01"


@given(st.datetimes(timezones=st.just(UTC)))
def test_instants_are_exact(moment: datetime) -> None:
    assert from_us(to_us(moment)) == moment
    assert datetime.fromisoformat(rfc3339(to_us(moment))) == moment


def test_an_instant_needs_a_time_zone() -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    assert rfc3339(to_us(noon)) == "2026-01-01T10:00:00.000000Z"
    with pytest.raises(ValueError, match="a time zone is missing"):
        to_us(datetime(2026, 1, 1))


def test_five_minutes_ahead_are_tolerated() -> None:
    assert not_ahead(300_000_000, 0) == 300_000_000
    with pytest.raises(ValueError, match="future"):
        not_ahead(300_000_001, 0)


NOW = to_us(datetime(2026, 6, 15, 12, tzinfo=UTC))
RULES = MinorRules(age=16)
SIXTEEN = AgeRule("XX", 16, 16, zone="UTC")


class TestAge:
    @pytest.mark.parametrize(
        ("age", "band", "until"),
        [
            (Age(years=16), Band.ADULT, None),
            (Age(years=15), Band.MINOR, "2026-06-16"),  # the birthday is taken as tomorrow
            (Age(years=0), Band.MINOR, "2041-06-16"),
            (Age(born=date(2010, 6, 15)), Band.ADULT, None),
            (Age(born=date(2010, 6, 16)), Band.MINOR, "2026-06-16"),
            (Age(born=date(2012, 2, 29)), Band.MINOR, "2028-02-29"),
            (Age(born=date(2011, 12, 31)), Band.MINOR, "2027-12-31"),
        ],
    )
    def test_bands(self, age: Age, band: Band, until: str | None) -> None:
        found, until_us = band_of(age, SIXTEEN, NOW)
        assert found is band
        assert (from_us(until_us).date().isoformat() if until_us is not None else None) == until

    def test_29_february_in_a_common_year_is_1_march(self) -> None:
        assert add_years(date(2012, 2, 29), 14) == date(2026, 3, 1)
        assert add_years(date(2012, 2, 29), 16) == date(2028, 2, 29)

    @pytest.mark.parametrize(
        "what",
        [
            {},
            {"years": 3, "born": date(2020, 1, 1)},
            {"years": -1},
            {"years": 151},
            {"years": 11.5},
            {"years": True},
            {"years": "11"},
            {"born": datetime(2014, 5, 1, tzinfo=UTC)},
            {"born": "2014-05-01"},
        ],
    )
    def test_nonsense(self, what: dict[str, object]) -> None:
        with pytest.raises(ValueError, match="years="):
            Age(**what)  # type: ignore[arg-type]

    def test_not_yet_born_and_long_dead(self) -> None:
        with pytest.raises(ValueError, match="future"):
            band_of(Age(born=date(2026, 6, 16)), SIXTEEN, NOW)
        with pytest.raises(ValueError, match="150 years"):
            band_of(Age(born=date(1800, 1, 1)), SIXTEEN, NOW)

    def test_an_age_is_not_for_logs(self) -> None:
        assert repr(Age(years=11)) == repr(Age(born=date(2014, 5, 1))) == "Age()"

    def test_the_instant_of_majority(self) -> None:
        facts = Facts(Band.MINOR, NOW)
        assert is_minor(facts, RULES, NOW - 1)
        assert not is_minor(facts, RULES, NOW)
        assert is_minor(Facts(Band.MINOR), RULES, NOW)
        assert not is_minor(Facts(Band.MINOR), None, NOW)

    @pytest.mark.parametrize(("unknown_age", "minor"), [("adult", False), ("minor", True), ("ask", True)])
    def test_unknown_ages(self, unknown_age: str, minor: bool) -> None:
        assert is_minor(Facts(), MinorRules(unknown_age=unknown_age), NOW) is minor


@pytest.mark.parametrize(
    ("locale", "duration", "case", "said"),
    [
        ("en", "P13M", "", "13 months"),
        ("en", "P1Y6M", "", "1 year, 6 months"),
        ("en", "PT15M", "", "15 minutes"),
        ("en", "until you leave", "", "until you leave"),
        ("en", "P0D", "", "P0D"),
        ("de", "P30D", "", "30 Tage"),
        ("de", "P30D", "after", "30 Tagen"),
        ("de", "P1M", "after", "1 Monat"),
        ("de", "P2W", "after", "2 Wochen"),
        ("fr", "P6M", "", "6 mois"),
        ("es", "P2Y", "", "2 años"),
        ("pl", "P1M", "", "1 miesiąc"),
        ("pl", "P13M", "", "13 miesięcy"),
        ("pl", "P22M", "", "22 miesiące"),
        ("pl", "P6M", "after", "6 miesiącach"),
        ("ar", "P2Y", "", "سنتان"),
        ("ar", "P2Y", "after", "سنتين"),
        ("ar", "P6M", "", "6 أشهر"),
        ("ar", "P13M", "", "13 شهرًا"),
        ("ar", "P100D", "", "100 يوم"),
        ("ja", "P1Y6M", "", "1年6か月"),
        ("zh", "P6M", "after", "6 个月"),
        ("de-AT", "P2Y", "", "2 Jahre"),
        ("sv", "P2Y", "", "2 years"),
    ],
)
def test_durations_for_people(locale: str, duration: str, case: str, said: str) -> None:
    assert for_people(duration, texts(locale), case) == said
