"""Facts about a subject's age, and what a guardian's rule asks. Only a band and an instant are kept."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

from consentkit.core.catalog import MinorRules
from consentkit.core.places import AgeRule, Places
from consentkit.core.terms import Band
from consentkit.core.times import add_years, from_us, to_us

OLDEST = 150


@dataclass(frozen=True, slots=True)
class Age:
    """A person's age: `years`, or `born` (a date). Only the band is ever stored.

    With `years` the birthday is taken as tomorrow. Its text shows neither. Raises ValueError for neither, both,
    or nonsense.
    """

    years: int | None = field(default=None, repr=False)
    born: date | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if (self.years is None) == (self.born is None):
            raise ValueError("give years= or born=, not both and not neither")
        if self.years is not None and (isinstance(self.years, bool) or not isinstance(self.years, int)):
            raise ValueError("years= is a whole number")
        if self.years is not None and not 0 <= self.years <= OLDEST:
            raise ValueError(f"years= is a number from 0 to {OLDEST}")
        if self.born is not None and (isinstance(self.born, datetime) or not isinstance(self.born, date)):
            raise ValueError("born= is a date, such as datetime.date(2014, 5, 1); or give years=")

    def majority(self, threshold: int, today: date) -> date:
        """The day on which the person reaches `threshold` years."""
        if self.born is not None:
            if self.born > today:
                raise ValueError("the birth date lies in the future")
            if today.year - self.born.year > OLDEST:
                raise ValueError(f"the birth date lies more than {OLDEST} years back")
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


def band_of(age: Age, rule: AgeRule, now_us: int) -> tuple[Band, int | None]:
    """The band of an age and the instant at which a minor stops being one: midnight at the place."""
    today = from_us(now_us).astimezone(rule.timezone).date()
    day = age.majority(rule.minor_until, today)
    if day <= today:
        return Band.ADULT, None
    return Band.MINOR, _midnight(day, rule)


def minor_until(age: Age, rule: AgeRule, now_us: int) -> int:
    """The instant at which somebody of this age now stops being a minor, or stopped: midnight at the place."""
    return _midnight(age.majority(rule.minor_until, from_us(now_us).astimezone(rule.timezone).date()), rule)


def moved(facts: Facts, old: AgeRule, new: AgeRule, now_us: int) -> Facts:
    """The facts by the rule of another place.

    An adult of a place with a lower age is of unknown age where the age is higher: the birth date was never kept.
    """
    if old.minor_until == new.minor_until and old.zone == new.zone:
        return facts
    if facts.band is Band.MINOR and facts.minor_until_us is not None:
        majority = from_us(facts.minor_until_us).astimezone(old.timezone).date()
        day = add_years(majority, new.minor_until - old.minor_until)
        if day <= from_us(now_us).astimezone(new.timezone).date():
            return replace(facts, band=Band.ADULT, minor_until_us=None)
        return replace(facts, minor_until_us=_midnight(day, new))
    if facts.band is Band.ADULT and new.minor_until > old.minor_until:
        return replace(facts, band=Band.UNKNOWN)
    return facts


def grown(then: Facts, known: Facts, places: Places, at_us: int) -> Facts:
    """Facts of a past moment, of which events keep no more than the band, with the majority that is known today.

    Nobody's birthday changes. Whose majority is not kept any more was a child.
    """
    if then.band is not Band.MINOR or known.minor_until_us is None:
        return then
    here, there = (places.at(facts.jurisdiction).ages for facts in (known, then))
    return replace(moved(known, here, there, at_us), jurisdiction=then.jurisdiction)


def adds(known: Facts, said: Facts) -> bool:
    """Whether facts that were looked up for an answer only add to what is known by now.

    Who learned others meanwhile is not overruled.
    """
    if known.jurisdiction is not None:
        return known.band is Band.UNKNOWN and known.jurisdiction == said.jurisdiction
    return known.band is Band.UNKNOWN or said.band is not Band.UNKNOWN


def is_minor(facts: Facts, rules: MinorRules | None, now_us: int) -> bool:
    """Whether minors' rules hold. Without rules for minors nobody is one."""
    if rules is None or facts.band is Band.ADULT:
        return False
    if facts.band is Band.MINOR:
        return facts.minor_until_us is None or now_us < facts.minor_until_us
    return rules.unknown_age in ("minor", "ask")


def is_guarded(facts: Facts, rules: MinorRules | None, rule: AgeRule, now_us: int) -> bool:
    """Whether a guardian has to answer: a minor, and younger than the place's age of own answers."""
    if not is_minor(facts, rules, now_us):
        return False
    return facts.minor_until_us is None or facts.minor_until_us > guarded_line(rule, now_us)


def guarded_line(rule: AgeRule, now_us: int) -> int:
    """The `minor_until_us` of somebody who comes of the age of own answers at this very moment.

    Where the two ages of a rule are one, that is now: minors are guarded to the end.
    """
    years = rule.minor_until - rule.age
    if not years:
        return now_us
    here = from_us(now_us).astimezone(rule.timezone)
    try:
        there = here.replace(year=here.year + years)
    except ValueError:  # 29 February: who was born on 1 March is a day younger
        there = here.replace(year=here.year + years, day=28)
    return to_us(there)


def _midnight(day: date, rule: AgeRule) -> int:
    return to_us(datetime(day.year, day.month, day.day, tzinfo=rule.timezone))
