"""Who is in an audience, as rows that there have to be and rows that there must not be. Values only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from consentkit.core.catalog import Item


@dataclass(frozen=True, slots=True)
class Grant:
    """A yes that there has to be: the person's own last answer, or one of a guardian of at least this level.

    `valid`: it is not over; `current`: its version is not below the floor.
    """

    item: Item
    guardian: bool = False
    level: int = 0
    valid: bool = False
    current: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """A no to an item that still counts, see `case.standing`; a guardian's only with `young`."""

    item: Item
    statuses: tuple[str, ...]
    young: bool


@dataclass(frozen=True, slots=True)
class Whole:
    """A restriction, or an objection to everything, that was not lifted."""


@dataclass(frozen=True, slots=True)
class Signalled:
    """An opt-out signal that is later than every explicit grant."""

    item: Item
    signals: tuple[str, ...]
    guarded: bool


@dataclass(frozen=True, slots=True)
class Alone:
    """A guardian's yes without the person's own."""

    item: Item


@dataclass(frozen=True, slots=True)
class Spent:
    """A yes that is over, or `outdated`: the person's own, or with `guardian` one of any guardian."""

    item: Item
    guardian: bool
    outdated: bool


@dataclass(frozen=True, slots=True)
class Weak:
    """A yes of a guardian below this level."""

    item: Item
    level: int


@dataclass(frozen=True, slots=True)
class Awaited:
    """An invitation whose guardian has not said yes."""

    item: Item


Denial = Standing | Whole | Signalled | Alone | Spent | Weak | Awaited


@dataclass(frozen=True, slots=True)
class Criteria:
    """Who is allowed: those with all of the grants and none of the denials; `alive`: and who is not erased."""

    grants: tuple[Grant, ...] = ()
    denials: tuple[Denial, ...] = ()
    alive: bool = False

    @property
    def silent(self) -> bool:
        """Whether somebody who never answered is allowed."""
        return not self.grants


def all_of(many: Iterable[Criteria | None]) -> Criteria | None:
    """What whoever meets each of these meets; None where one of them is met by nobody."""
    grants: dict[Grant, None] = {}
    denials: dict[Denial, None] = {}
    alive = False
    for one in many:
        if one is None:
            return None
        grants |= dict.fromkeys(one.grants)
        denials |= dict.fromkeys(one.denials)
        alive = alive or one.alive
    return Criteria(tuple(grants), tuple(denials), alive)
