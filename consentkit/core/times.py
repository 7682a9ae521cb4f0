"""Time values: integer microseconds UTC, and ISO 8601 durations counted on the calendar."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

AHEAD_US = 5 * 60 * 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ONE = timedelta(microseconds=1)
_DURATION = re.compile(
    r"P(?=.)(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?=.)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?"
)

_UNITS = ("years", "months", "weeks", "days", "hours", "minutes", "seconds")


def to_us(moment: datetime) -> int:
    """Microseconds since 1970-01-01 UTC. Raises ValueError for a naive datetime, and for what is none."""
    if not isinstance(moment, datetime):
        raise ValueError(f"{moment!r} is no moment: pass an aware datetime, for example datetime.now(UTC)")
    if moment.tzinfo is None:
        raise ValueError("a time zone is missing: pass an aware datetime, for example datetime.now(UTC)")
    return (moment - _EPOCH) // _ONE


def not_ahead(us: int, now_us: int) -> int:
    """The moment itself. Raises ValueError when it lies more than five minutes ahead, or before 1970."""
    if us < 0:
        raise ValueError("at= lies before 1970: is the year right?")
    if us > now_us + AHEAD_US:
        raise ValueError("at= lies in the future; 5 minutes are tolerated, for clocks that differ")
    return us


def from_us(us: int) -> datetime:
    """The aware UTC datetime of a number of microseconds."""
    return _EPOCH + timedelta(microseconds=us)


def rfc3339(us: int) -> str:
    """RFC 3339 text in UTC with microseconds, such as `2026-01-31T12:00:00.000000Z`."""
    return from_us(us).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


@dataclass(frozen=True, slots=True)
class Duration:
    """An ISO 8601 duration. Years and months are anniversaries, not a number of days."""

    text: str
    months: int
    rest: timedelta

    @classmethod
    def parse(cls, text: str) -> Duration:
        """Read `P6M`, `P30D`, `P1Y6M`, `PT15M`. Raises ValueError for anything else, and for centuries."""
        found = _DURATION.fullmatch(text) if isinstance(text, str) else None
        if found is None or max(map(len, filter(None, found.groups()))) > 4:
            raise ValueError(f"{text!r} is not an ISO 8601 duration such as P6M or P30D")
        years, months, weeks, days, hours, minutes, seconds = (int(n or 0) for n in found.groups())
        rest = timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
        if years * 366 + months * 31 + rest.days > 36_600:
            raise ValueError(f"{text!r} is longer than a hundred years")
        return cls(text, 12 * years + months, rest)

    @property
    def parts(self) -> list[tuple[int, str]]:
        """What it says, as it was written: `P1Y6M` is 1 `years` and 6 `months`, `P13M` is 13 `months`."""
        found = _DURATION.fullmatch(self.text)
        numbers = found.groups() if found is not None else ()
        return [(int(n), unit) for n, unit in zip(numbers, _UNITS, strict=False) if int(n or 0)]

    def after(self, us: int) -> int:
        """The instant this long after `us`; 31 January plus one month is the last day of February."""
        moment = from_us(us)
        year, month = divmod(moment.year * 12 + moment.month - 1 + self.months, 12)
        day = min(moment.day, calendar.monthrange(year, month + 1)[1])
        return to_us(moment.replace(year=year, month=month + 1, day=day) + self.rest)

    @property
    def shortest(self) -> timedelta:
        """A lower bound, a month as 28 days: what is younger is not over."""
        return timedelta(days=28 * self.months) + self.rest

    @property
    def days(self) -> int:
        """In days, a month as thirty."""
        return self.months * 30 + self.rest.days

    @property
    def days_at_most(self) -> int:
        """An upper bound in days, to compare a duration with a limit."""
        return self.months * 31 + self.rest.days + (1 if self.rest.seconds else 0)


def add_years(day: date, years: int) -> date:
    """The anniversary; 29 February becomes 1 March in a common year (the later day, the stricter one)."""
    try:
        return day.replace(year=day.year + years)
    except ValueError:
        return date(day.year + years, 3, 1)
