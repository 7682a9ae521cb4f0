"""Facts about a subject's age, and what a guardian's rule asks. Only a band and an instant are kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from consentkit.core.catalog import MinorRules
from consentkit.core.terms import Band
from consentkit.core.times import add_years, from_us, to_us

STRICTEST_AGE = 18


@dataclass(frozen=True, slots=True)
class Age:
    """A person's age: `years`, or `born` (a date). Only the band is ever stored.

    With `years` the birthday is taken as tomorrow. Raises ValueError for neither, both, or nonsense.
    """

    years: int | None = None
    born: date | None = None

    def __post_init__(self) -> None:
        if (self.years is None) == (self.born is None):
            raise ValueError("give years= or born=, not both and not neither")
        if self.years is not None and not 0 <= self.years <= 150:
            raise ValueError(f"an age of {self.years} years is not possible")

    def majority(self, threshold: int, today: date) -> date:
        """The day on which the person reaches `threshold` years."""
        if self.born is not None:
            if self.born > today:
                raise ValueError("the birth date lies in the future")
            return add_years(self.born, threshold)
        return add_years(today + timedelta(days=1), threshold - (self.years or 0) - 1)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a subject: written by `learn` and with each answer, wiped by erasure."""

    band: Band = Band.UNKNOWN
    minor_until_us: int | None = None
    jurisdiction: str | None = None
    erased_us: int | None = None


NOTHING_KNOWN = Facts()


def threshold(rules: MinorRules) -> int:
    """The age from which a person answers alone: the operator's, else the strictest."""
    return rules.age if rules.age is not None else STRICTEST_AGE


def band_of(age: Age, rules: MinorRules, now_us: int) -> tuple[Band, int | None]:
    """The band of an age and the instant at which a minor stops being one (midnight UTC)."""
    today = from_us(now_us).date()
    day = age.majority(threshold(rules), today)
    if day <= today:
        return Band.ADULT, None
    return Band.MINOR, to_us(datetime(day.year, day.month, day.day, tzinfo=UTC))


def is_minor(facts: Facts, rules: MinorRules | None, now_us: int) -> bool:
    """Whether minors' rules hold. Without rules for minors nobody is one."""
    if rules is None or facts.band is Band.ADULT:
        return False
    if facts.band is Band.MINOR:
        return facts.minor_until_us is None or now_us < facts.minor_until_us
    return rules.unknown_age in ("minor", "ask")
