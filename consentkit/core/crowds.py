"""Subjects sorted by what the gate asks of them: by their place and their age. For audiences in SQL.

The gate sees one subject's facts; here stand the facts of all who are asked the same. When somebody stops being a
minor is found by asking `minors` itself, so that SQL only compares `minor_until_us` with an instant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from consentkit.core.audience import criteria
from consentkit.core.case import Minority
from consentkit.core.catalog import MinorRules
from consentkit.core.criteria import Criteria, all_of
from consentkit.core.minors import Facts, is_guarded, is_minor
from consentkit.core.places import Place
from consentkit.core.rulebook import Rulebook
from consentkit.core.terms import Band
from consentkit.core.view import Rule

GROWN, GROWING, CHILD = (False, False), (True, False), (True, True)
_LONGEST_US = 200 * 366 * 86_400 * 1_000_000


@dataclass(frozen=True, slots=True)
class Crowd:
    """Subjects who are asked the same at each age.

    `codes`: their jurisdictions; `elsewhere`: those that no row of the law's tables names, too; `nowhere`: those of
    whom no jurisdiction is written down, too. `adult`, `unknown`: what a band comes to. `minor_from`, `child_from`:
    the least `minor_until_us` of a minor, and of one whom a guardian answers for, at a moment.
    """

    codes: frozenset[str]
    elsewhere: bool
    nowhere: bool
    by_age: Mapping[Minority, Criteria | None]
    adult: Minority
    unknown: Minority | None
    minor_from: Callable[[int], int]
    child_from: Callable[[int], int]

    @property
    def of_unknown_age(self) -> Criteria | None:
        """What is asked of somebody of unknown age; `unknown` None: of any age."""
        return all_of(self.by_age.values()) if self.unknown is None else self.by_age[self.unknown]


@dataclass(frozen=True)
class Asked:
    """What an audience is about: the items, and where facts about subjects come from.

    `default`: the place of those of whom none is written down; `ask_age`: an unknown age could be asked of the host.
    """

    rules: Sequence[Rule]
    book: Rulebook
    minors: MinorRules | None
    default: str | None
    ask_age: bool


def crowds(asked: Asked, placed: Callable[[Facts, int], Facts]) -> list[Crowd]:
    """Everybody, in as few crowds as the items need. `placed`: facts without a place, in the default one."""
    places = asked.book.catalog.places
    countries = {code.split("-")[0] for code in places.codes}
    named = {code: places.at(code) for code in sorted({*places.codes, *countries})}
    alike: dict[object, list[str]] = {}
    for code, place in {**named, "": places.at(None)}.items():
        alike.setdefault(_same(asked, place), []).append(code)
    moves = asked.minors is not None and asked.default is not None
    nowhere = places.at(asked.default)
    found = [
        _crowd(
            asked,
            places.at(codes[0]),
            frozenset(codes) - {""},
            elsewhere="" in codes,
            nowhere=not moves and same == _same(asked, nowhere),
        )
        for same, codes in alike.items()
    ]
    return [*found, _crowd(asked, nowhere, frozenset(), nowhere=True, placed=placed)] if moves else found


def _same(asked: Asked, place: Place) -> object:
    """Equal for places where everybody is asked the same at the same moment."""
    ages = _ages(asked, place)
    rules = tuple(criteria(asked.rules, asked.book, place, age, asked.minors) for age in ages)
    return ages, rules, place.ages.zone if GROWING in ages else "", place.ages.minor_until - place.ages.age


def _ages(asked: Asked, place: Place) -> tuple[Minority, ...]:
    if asked.minors is None:
        return (GROWN,)
    return (GROWN, CHILD) if place.ages.age == place.ages.minor_until else (GROWN, GROWING, CHILD)


def _crowd(
    asked: Asked,
    place: Place,
    codes: frozenset[str],
    *,
    elsewhere: bool = False,
    nowhere: bool = False,
    placed: Callable[[Facts, int], Facts] = lambda facts, now_us: facts,
) -> Crowd:
    minors = asked.minors

    def age(facts: Facts, now_us: int) -> Minority:
        facts = placed(facts, now_us)
        return is_minor(facts, minors, now_us), is_guarded(facts, minors, place.ages, now_us)

    def least(which: int) -> Callable[[int], int]:
        return lambda now_us: _least(lambda us: age(Facts(Band.MINOR, us), now_us)[which], now_us)

    by_age = {each: criteria(asked.rules, asked.book, place, each, minors) for each in _ages(asked, place)}
    unknown = None if asked.ask_age and minors is not None else age(Facts(), 0)
    bands = age(Facts(Band.ADULT), 0), unknown
    return Crowd(codes, elsewhere, nowhere, by_age, *bands, least(0), least(1))


def _least(holds: Callable[[int], bool], now_us: int) -> int:
    """The least instant for which something holds that, once it holds, holds for every later one."""
    low, high = now_us - _LONGEST_US, now_us + _LONGEST_US
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low
