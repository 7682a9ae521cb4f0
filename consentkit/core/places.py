"""What the law asks at a place: ages and regimes by jurisdiction, with source and date (ages.toml, regimes.toml).

The strictest of the operator's rule and the jurisdiction's holds. A place that is not known is the strictest.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta, timezone, tzinfo
from functools import cache
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo

from consentkit.core.terms import Assurance, Regime

STRICTEST = "strictest"
STRICTEST_AGE = 18
OPERATOR = "operator"
_LAST_MIDNIGHT = timezone(timedelta(hours=-12))
_REGIMES = list(Regime)


@dataclass(frozen=True, slots=True)
class AgeRule:
    """Who has to answer for a minor in one jurisdiction.

    `age`: years from which a person answers alone; `minor_until`: years up to which prohibitions hold and silence
    is never a yes. `actors`: of `guardian` and `subject`. `forbidden`: DPV purposes. `source` and `as_of`: where
    the rule is written, and when that was read. `code`: the jurisdiction, or `strictest`.
    """

    code: str
    age: int
    minor_until: int
    actors: tuple[str, ...] = ("guardian",)
    verification: Assurance = Assurance.NONE
    forbidden: tuple[str, ...] = ()
    zone: str = ""
    source: str = ""
    as_of: date | None = None

    @property
    def joint(self) -> bool:
        """Whether the minor has to answer beside the guardian."""
        return "subject" in self.actors

    @property
    def timezone(self) -> tzinfo:
        """Where a birthday begins. A machine without time zone data takes the last place on earth."""
        try:
            return ZoneInfo(self.zone) if self.zone else _LAST_MIDNIGHT
        except (OSError, ValueError, LookupError):
            return _LAST_MIDNIGHT


@dataclass(frozen=True, slots=True)
class RegimeRule:
    """What silence means in one jurisdiction, by category; a category that is not named asks first."""

    code: str
    regimes: Mapping[str, Regime] = field(default_factory=dict)
    source: str = ""
    as_of: date | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """What holds for a subject. `decided`: the row that set the age, or `operator`."""

    code: str
    ages: AgeRule
    regimes: RegimeRule
    decided: str

    def regime(self, category: str, floor: Regime | None) -> Regime:
        """The strictest of the place's regime for a category and the operator's; without category opt-in."""
        if not category:
            return Regime.OPT_IN
        here = self.regimes.regimes.get(category, Regime.OPT_IN)
        return here if floor is None else strictest((here, floor))


def strictest(regimes: Iterable[Regime]) -> Regime:
    """The strictest of several; of none opt-in."""
    return min(regimes, key=_REGIMES.index, default=Regime.OPT_IN)


class Places:
    """Every place, with the operator's age and the operator's own rows laid over the data."""

    def __init__(
        self,
        age: int | None = None,
        ages: Iterable[AgeRule] = (),
        regimes: Iterable[RegimeRule] = (),
    ) -> None:
        self._age = age
        self.ages = {**age_rules(), **{rule.code: rule for rule in ages}}
        self.regimes = {**regime_rules(), **{rule.code: rule for rule in regimes}}
        self._strictest = _strictest(self.ages.values())
        self._found: dict[str | None, Place] = {}

    def at(self, jurisdiction: str | None) -> Place:
        """What holds in a jurisdiction: its own row, else its country's, else the strictest of all."""
        found = self._found.get(jurisdiction)
        if found is None:
            found = self._look_up(jurisdiction)
            if len(self._found) < 1000:
                self._found[jurisdiction] = found
        return found

    @property
    def codes(self) -> tuple[str, ...]:
        """Every jurisdiction that has a row; any other one is its country, or the strictest place."""
        return tuple(sorted({*self.ages, *self.regimes}))

    def _look_up(self, jurisdiction: str | None) -> Place:
        code = (jurisdiction or "").upper()
        country = code.split("-")[0]
        rule = self.ages.get(code) or self.ages.get(country) or self._strictest
        decided = rule.code
        if self._age is not None and self._age > rule.age:
            rule, decided = (
                replace(rule, age=self._age, minor_until=max(self._age, rule.minor_until)),
                OPERATOR,
            )
        regimes = self.regimes.get(code) or self.regimes.get(country) or RegimeRule(code or STRICTEST)
        return Place(code or STRICTEST, rule, regimes, decided)


@cache
def age_rules() -> Mapping[str, AgeRule]:
    """The rows of ages.toml by code."""
    return {code: age_rule(code, row) for code, row in _rows("ages.toml").items()}


@cache
def regime_rules() -> Mapping[str, RegimeRule]:
    """The rows of regimes.toml by code."""
    return {code: regime_rule(code, row) for code, row in _rows("regimes.toml").items()}


def age_rule(code: str, row: Mapping[str, Any]) -> AgeRule:
    """A row as a rule. Raises KeyError without an age, ValueError for an unknown verification."""
    age = row["age"]
    return AgeRule(
        code,
        age,
        max(age, row.get("minor_until", age)),
        tuple(sorted(row.get("actors", ("guardian",)))),
        Assurance(row.get("verification", Assurance.NONE)),
        tuple(row.get("forbidden", ())),
        row.get("zone", ""),
        row.get("source", ""),
        row.get("as_of"),
    )


def regime_rule(code: str, row: Mapping[str, Any]) -> RegimeRule:
    """A row as a rule: every key but source and date is a category."""
    regimes = {key: Regime(value) for key, value in row.items() if key not in ("source", "as_of")}
    return RegimeRule(code, regimes, row.get("source", ""), row.get("as_of"))


def _rows(name: str) -> dict[str, dict[str, Any]]:
    """Rows with their date; a subdivision takes from its country what it does not say."""
    raw = tomllib.loads(files("consentkit.core").joinpath(name).read_text("utf-8"))
    as_of = {"as_of": raw.pop("as_of")}
    return {code: {**as_of, **raw.get(code.split("-")[0], {}), **row} for code, row in raw.items()}


def _strictest(rules: Iterable[AgeRule]) -> AgeRule:
    """Componentwise: the highest age, every actor, every prohibition, the best verification."""
    rules = list(rules)
    return AgeRule(
        STRICTEST,
        STRICTEST_AGE,
        STRICTEST_AGE,
        tuple(sorted({actor for rule in rules for actor in rule.actors})),
        max((rule.verification for rule in rules), key=lambda level: level.level),
        tuple(sorted({purpose for rule in rules for purpose in rule.forbidden})),
        source="the jurisdiction is not known: the strictest of every row",
    )
