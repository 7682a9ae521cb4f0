"""One item's question, with the rows that bear on it sorted out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from consentkit.core.minors import is_guarded, is_minor
from consentkit.core.terms import DENIALS, Status
from consentkit.core.view import Row, Rule, View

INVITATION = "invitation:"
"""The actor of an invitation is named after the guardian who is asked: `invitation:<n>`, `guardian:<n>`."""

Minority = tuple[bool, bool]
"""Whether the subject is a minor, and so young that a guardian answers."""


class Case:
    """What a step of the gate looks at."""

    __slots__ = (
        "_grants",
        "denials",
        "guarded",
        "guardians",
        "minor",
        "own",
        "own_needed",
        "rows",
        "rule",
        "view",
        "young",
    )

    def __init__(self, rule: Rule, view: View, age: Minority) -> None:
        self.rule, self.view = rule, view
        self.minor, self.young = age
        self.guarded = self.young and rule.minors == "guardian"
        self.own_needed = not self.guarded or view.place.ages.joint
        self.rows = about(view, rule.kind, rule.item)
        self.own = own_answer(self.rows)
        self.denials = [r for r in self.rows if r.status in DENIALS]
        self.guardians = [r for r in self.rows if r.actor.startswith("guardian:") and r.grants]
        self._grants: list[Row] | None = None

    @property
    def every_guardian(self) -> bool:
        """Whether each guardian who was invited has to agree, and not only one."""
        return self.view.minors is not None and self.view.minors.guardians == "all"

    @property
    def level(self) -> int:
        """How well the guardian has to be verified: as the purpose demands, or the place."""
        return max(self.rule.level, self.view.place.ages.verification.level)

    @property
    def grants(self) -> list[Row]:
        """The grants on which a yes rests: the person's own, and the best guardian's or every guardian's."""
        if self._grants is None:
            found = [self.own] if self.own_needed and self.own is not None else []
            if self.guarded and self.every_guardian:
                found += self.guardians
            elif self.guarded:
                strong = [r for r in self.guardians if r.level >= self.level]
                found.append(
                    max(strong, key=lambda r: (not self.is_over(r), r.version >= self.rule.floor, r.order))
                )
            self._grants = found
        return self._grants

    def is_over(self, row: Row) -> bool:
        """Whether a grant has expired."""
        return row.expires_us is not None and row.expires_us <= self.view.now_us

    @property
    def invited(self) -> list[Row]:
        """Invitations that their guardian has not answered with a yes, those that are over too.

        One that names no guardian is answered by whoever says yes.
        """
        agreed = {r.actor.replace("guardian:", INVITATION, 1) for r in self.guardians}
        agreed |= {"invitation"} if agreed else set()
        asked = (r for r in self.rows if r.status == Status.REQUESTED and r.actor.startswith("invitation"))
        return [r for r in asked if r.actor not in agreed]


def age_of(view: View) -> Minority:
    """By what is known of the subject, at the moment of the question."""
    if view.minors is None:
        return False, False
    minor = is_minor(view.facts, view.minors, view.now_us)
    return minor, minor and is_guarded(view.facts, view.minors, view.place.ages, view.now_us)


def about(view: View, kind: str, item: str) -> list[Row]:
    """The rows about an item; of scoped ones those of the scope that is asked about."""
    scope = view.scope
    return [r for r in view.rows if r.item == item and r.kind == kind and (not r.scope or r.scope == scope)]


def order(row: Row) -> tuple[int, bool, str]:
    """The later answer is the greater."""
    return row.order


def own_answer(rows: Sequence[Row]) -> Row | None:
    """The person's own last answer."""
    own: Row | None = None
    for row in rows:
        if row.actor == "subject" and (own is None or row.order > own.order):
            own = row
    return own


def standing(rows: Sequence[Row], own: Row | None, minor: bool, statuses: Iterable[str]) -> Row | None:
    """The last denial that still counts.

    Of the person's own answers only the last counts, a guardian's only before the threshold, anybody
    else's until the person grants again.
    """
    found: Row | None = None
    for row in rows:
        if row.status not in statuses:
            continue
        if row.actor == "subject":
            stands = row is own
        elif row.actor.startswith("guardian:"):
            stands = minor
        else:
            stands = own is None or not own.grants or own.order <= row.order
        if stands and (found is None or row.order > found.order):
            found = row
    return found
