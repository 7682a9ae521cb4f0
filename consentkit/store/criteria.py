"""The criteria of an audience as conditions on a row of state: a yes there has to be, a no there must not be.

Written as the gate reads rows (`core.case`): of the person's own answers the last one counts, of a guardian's those
of a child, of anybody else's those that the person did not overrule.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Any

import sqlalchemy as sa

from consentkit.core.catalog import Item
from consentkit.core.criteria import (
    Alone,
    Awaited,
    Criteria,
    Denial,
    Grant,
    Signalled,
    Spent,
    Standing,
    Weak,
    Whole,
)
from consentkit.core.terms import DENIALS, GRANTS, Kind, Status
from consentkit.core.view import OBJECTION, RESTRICTION
from consentkit.store.crowds import Condition, Question
from consentkit.store.tables import PREFIX, metadata

Test = Callable[[Any], Condition]

STATE = metadata.tables[f"{PREFIX}state"]
_GRANTS = sorted(status.value for status in GRANTS)
_DENIALS = sorted(status.value for status in DENIALS)
_SELF, _GUARDIAN, _INVITED = "subject", "guardian:", "invitation:"


def single(question: Question, grant: Grant) -> bool:
    """Whether a subject has at most one row that may be this grant."""
    return not grant.guardian and not question.scope


def granting(question: Question, row: Any, grant: Grant) -> Condition:
    """That a row is this grant."""
    return sa.and_(
        _yes(question, row, grant), _last(question, row, grant.item) if not grant.guardian else sa.true()
    )


def suspect(question: Question, row: Any, criteria: Criteria) -> Condition:
    """That a row may be one of the denials, by what it says itself."""
    return sa.or_(*(about for about, _ in _denials(question, row, criteria)))


def denying(question: Question, row: Any, criteria: Criteria) -> Condition:
    """That a row is one of the denials, by what the subject's other rows say, too."""
    return sa.or_(*(sa.and_(*both) for both in _denials(question, row, criteria)))


Denying = tuple[Condition, Condition]
"""What a row says itself, and what has to hold of the subject's other rows."""


def _denials(question: Question, row: Any, criteria: Criteria) -> list[Denying]:
    """Of an item whose own answer has to be a yes, no other own answer is looked for."""
    yes = {grant.item for grant in criteria.grants if single(question, grant)}
    return [_denial(question, row, denial, yes) for denial in criteria.denials]


def _denial(question: Question, row: Any, denial: Denial, yes: Set[Item]) -> Denying:
    match denial:
        case Whole():
            return _whole(row)
        case Standing():
            return _standing(question, row, denial, denial.item in yes)
        case Signalled():
            return _signalled(question, row, denial)
        case Awaited():
            return _awaited(question, row, denial.item)
        case Alone(item):
            own = _beside(row, lambda other: granting(question, other, Grant(item)))
            return _yes(question, row, Grant(item, guardian=True)), ~own
        case Weak(item, level):
            return sa.and_(_yes(question, row, Grant(item, guardian=True)), row.level < level), sa.true()
        case Spent(item, guardian, outdated):
            spent = row.version < question.least(item) if outdated else row.expires_us <= question.moment
            last = sa.true() if guardian else _last(question, row, item)
            return sa.and_(_yes(question, row, Grant(item, guardian=guardian)), spent), last


def _whole(row: Any) -> Denying:
    """A restriction or an objection to everything, said last, by whomever and about whatever scope."""

    def later(other: Any) -> Condition:
        same = sa.and_(other.kind == Kind.SUBJECT.value, other.item == row.item)
        return sa.and_(same, _order(other) > _order(row))

    about = sa.and_(row.kind == Kind.SUBJECT.value, row.item.in_((RESTRICTION, OBJECTION)))
    said = row.status.in_((Status.RESTRICTED.value, Status.OBJECTED.value))
    return sa.and_(about, said), ~_beside(row, later)


def _standing(question: Question, row: Any, denial: Standing, yes: bool) -> Denying:
    own, guardian = row.actor == _SELF, _actor_is(row, _GUARDIAN)
    others = sa.and_(row.actor != _SELF, ~guardian)
    who = [others, *([guardian] if denial.young else []), *([] if yes else [own])]
    said = row.status.in_(sorted(denial.statuses))
    proof = sa.case(
        (own, _last(question, row, denial.item)),
        (guardian, sa.true()),
        else_=~_beside(row, _granted_after(question, row, Grant(denial.item))),
    )
    return sa.and_(_about(question, row, denial.item), said, sa.or_(*who)), proof


def _signalled(question: Question, row: Any, denial: Signalled) -> Denying:
    seen = sa.and_(row.kind == Kind.SIGNAL.value, row.item.in_(denial.signals))
    grants = [Grant(denial.item), *([Grant(denial.item, guardian=True)] if denial.guarded else [])]
    later = (_beside(row, _granted_after(question, row, grant)) for grant in grants)
    return sa.and_(seen, row.status == Status.OBJECTED.value), sa.and_(*(~each for each in later))


def _awaited(question: Question, row: Any, item: Item) -> Denying:
    guardian = sa.literal(_GUARDIAN) + sa.func.substr(row.actor, len(_INVITED) + 1)

    def agreed(other: Any) -> Condition:
        return sa.and_(_yes(question, other, Grant(item, guardian=True)), other.actor == guardian)

    asked = sa.and_(row.status == Status.REQUESTED.value, _actor_is(row, _INVITED))
    return sa.and_(_about(question, row, item), asked), ~_beside(row, agreed)


def _granted_after(question: Question, row: Any, grant: Grant) -> Test:
    """A yes after a no; at the same instant the no stands."""
    return lambda other: sa.and_(granting(question, other, grant), other.effective_us > row.effective_us)


def _yes(question: Question, row: Any, grant: Grant) -> Condition:
    """That a row is a yes of whom the grant is; whether the person said anything later is not asked."""
    guardian = sa.and_(_actor_is(row, _GUARDIAN), row.level >= grant.level)
    who = guardian if grant.guardian else row.actor == _SELF
    conditions = [_about(question, row, grant.item), row.status.in_(_GRANTS), who]
    if grant.valid:
        conditions.append(sa.or_(row.expires_us.is_(None), row.expires_us > question.moment))
    if grant.current:
        conditions.append(row.version >= question.least(grant.item))
    return sa.and_(*conditions)


def _last(question: Question, row: Any, item: Item) -> Condition:
    """That the person said nothing later: matters where one answer about everything and one about a scope count."""
    if not question.scope:
        return sa.true()

    def later(other: Any) -> Condition:
        mine = sa.and_(other.actor == _SELF, _about(question, other, item))
        return sa.and_(mine, _order(other) > _order(row))

    return ~_beside(row, later)


def _about(question: Question, row: Any, item: Item) -> Condition:
    scope = row.scope.in_(("", question.scope)) if question.scope else row.scope == ""
    return sa.and_(row.kind == item.kind.value, row.item == item.key, scope)


def _actor_is(row: Any, prefix: str) -> Condition:
    return sa.func.substr(row.actor, 1, len(prefix)) == prefix  # LIKE does not see capitals on SQLite


def _order(row: Any) -> Any:
    """As `view.Row.order`."""
    return sa.tuple_(row.effective_us, sa.case((row.status.in_(_DENIALS), 1), else_=0), row.event_id)


def _beside(row: Any, test: Test) -> Condition:
    """That the row's subject has another row of which something holds."""
    other = STATE.alias()
    same = (other.c.bucket == row.bucket, other.c.subject_key == row.subject_key)
    return sa.exists().where(*same, test(other.c))
