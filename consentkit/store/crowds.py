"""The crowds of an audience as conditions on a subject's row: its place, its age.

What changes with time (the moment, the floor of a version, the line between two ages) is a parameter whose value is
asked for when a statement is executed: a statement that is kept stays true.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from consentkit.core.case import Minority
from consentkit.core.catalog import Item
from consentkit.core.criteria import Criteria
from consentkit.core.crowds import CHILD, GROWING, GROWN, Crowd
from consentkit.core.terms import Band

Condition = sa.ColumnElement[bool]
Section = Minority | None
"""The subjects of a crowd at one age; None: those of unknown age, where the host could be asked for it."""

Where = Sequence[tuple[Crowd, frozenset[Section]]]


@dataclass
class Question:
    """Whom an audience is about. `now`: microseconds; `floor`: the lowest ordinal of an item that is still good."""

    tenant: str
    scope: str
    crowds: Sequence[Crowd]
    postgresql: bool
    now: Callable[[], int]
    floor: Callable[[Item], int]
    _parameters: dict[object, sa.BindParameter[Any]] = field(default_factory=dict)

    def at(self, what: object, value: Callable[[], int]) -> sa.BindParameter[Any]:
        """A parameter that is asked for at execution; one for each thing, so that two places cannot differ."""
        if what not in self._parameters:
            parameter = sa.bindparam("consentkit", callable_=value, type_=sa.BigInteger, unique=True)
            self._parameters[what] = parameter
        return self._parameters[what]

    @property
    def moment(self) -> sa.BindParameter[Any]:
        """The present, in microseconds."""
        return self.at("now", self.now)

    def least(self, item: Item) -> sa.BindParameter[Any]:
        """The lowest ordinal of an item's version that is still good."""
        return self.at(item, lambda: self.floor(item))

    def line(self, crowd: Crowd, which: str) -> sa.BindParameter[Any]:
        """From which `minor_until_us` somebody is a minor (`minor_from`), or a child (`child_from`)."""
        value: Callable[[int], int] = getattr(crowd, which)
        return self.at((id(crowd), which), lambda: value(self.now()))


def sections(crowds: Sequence[Crowd]) -> dict[Criteria, Where]:
    """Who has to meet which criteria; whoever is nowhere in it is allowed nothing."""
    found: dict[Criteria, dict[int, tuple[Crowd, set[Section]]]] = {}
    for crowd in crowds:
        for section, criteria in _sections(crowd).items():
            if criteria is not None:
                found.setdefault(criteria, {}).setdefault(id(crowd), (crowd, set()))[1].add(section)
    return {
        criteria: [(crowd, frozenset(those)) for crowd, those in where.values()]
        for criteria, where in found.items()
    }


def _sections(crowd: Crowd) -> Mapping[Section, Criteria | None]:
    found: dict[Section, Criteria | None] = dict(crowd.by_age.items())
    if crowd.unknown is None:
        found[None] = crowd.of_unknown_age
    return found


def belongs(subject: Any, question: Question, where: Where) -> Condition | None:
    """The condition of being in one of these sections; None where that is everybody."""
    whole = [crowd for crowd, those in where if those == _sections(crowd).keys()]
    if len(whole) == len(question.crowds):
        return None
    conditions = []
    for crowd, those in where:
        parts = []
        if len(question.crowds) > 1:
            parts.append(_place(subject, question.crowds, crowd))
        if crowd not in whole:
            parts.append(_age(subject, question, crowd, those))
        conditions.append(sa.and_(*parts))
    return sa.or_(*conditions)


def _place(subject: Any, crowds: Sequence[Crowd], crowd: Crowd) -> Condition:
    """The row's jurisdiction, else its country; any other one is the strictest place."""
    named = sorted(code for each in crowds for code in each.codes)
    told = sa.func.upper(subject.jurisdiction)
    country = sa.case((sa.func.substr(told, 3, 1).in_(("", "-")), sa.func.substr(told, 1, 2)), else_="")
    code = sa.case((told.in_(named), told), else_=country)
    somewhere: Condition = sa.false()
    if crowd.elsewhere:
        others = [other for other in named if other not in crowd.codes]
        somewhere = code.not_in(others) if others else sa.true()
    elif crowd.codes:
        somewhere = code.in_(sorted(crowd.codes))
    if crowd.nowhere:
        return sa.or_(subject.jurisdiction.is_(None), somewhere)
    return sa.and_(subject.jurisdiction.is_not(None), somewhere)


def _age(subject: Any, question: Question, crowd: Crowd, those: frozenset[Section]) -> Condition:
    band, until = sa.func.coalesce(subject.band, Band.UNKNOWN.value), subject.minor_until_us
    minor_from, child_from = (question.line(crowd, name) for name in ("minor_from", "child_from"))
    by_until = {
        GROWN: until < minor_from,
        GROWING: sa.and_(until >= minor_from, until < child_from),
        CHILD: sa.or_(until.is_(None), sa.and_(until >= minor_from, until >= child_from)),
    }
    ages = [condition for age, condition in by_until.items() if age in those]
    conditions = [sa.and_(band == Band.MINOR.value, sa.or_(*ages))] if ages else []
    if crowd.adult in those:
        conditions.append(band == Band.ADULT.value)
    if crowd.unknown in those:
        conditions.append(band == Band.UNKNOWN.value)
    return sa.or_(*conditions)
