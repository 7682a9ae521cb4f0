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
    if grant.guardian:
        who = sa.and_(_actor_is(row, _GUARDIAN), row.level >= grant.level)
    else:
        who = _own(question, row, grant.item)
    conditions = [_about(question, row, grant.item), row.status.in_(_GRANTS), who]
    if grant.valid:
        conditions.append(sa.or_(row.expires_us.is_(None), row.expires_us > question.moment))
    if grant.current:
        conditions.append(row.version >= question.least(grant.item))
    return sa.and_(*conditions)


def denying(question: Question, row: Any, criteria: Criteria) -> Condition:
    """That a row is any of the denials. Of an item whose own answer has to be a yes, no other own one is looked for."""
    yes = {grant.item for grant in criteria.grants if single(question, grant)}
    return sa.or_(*(_denial(question, row, denial, yes) for denial in criteria.denials))


def _denial(question: Question, row: Any, denial: Denial, yes: Set[Item]) -> Condition:
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
            own = _beside(row, _yes(question, item))
            return sa.and_(_yes(question, item, guardian=True)(row), ~own)
        case Spent(item, guardian, outdated):
            spent = row.version < question.least(item) if outdated else row.expires_us <= question.moment
            return sa.and_(_yes(question, item, guardian=guardian)(row), spent)
        case Weak(item, level):
            return sa.and_(_yes(question, item, guardian=True)(row), row.level < level)


def _whole(row: Any) -> Condition:
    """A restriction or an objection to everything, said last, by whomever and about whatever scope."""

    def later(other: Any) -> Condition:
        same = sa.and_(other.kind == Kind.SUBJECT.value, other.item == row.item)
        return sa.and_(same, _order(other) > _order(row))

    about = sa.and_(row.kind == Kind.SUBJECT.value, row.item.in_((RESTRICTION, OBJECTION)))
    said = row.status.in_((Status.RESTRICTED.value, Status.OBJECTED.value))
    return sa.and_(about, said, ~_beside(row, later))


def _standing(question: Question, row: Any, denial: Standing, yes: bool) -> Condition:
    guardian, overruled = (
        _actor_is(row, _GUARDIAN),
        _beside(row, _yes(question, denial.item), _later_than(row)),
    )
    standing = [sa.and_(row.actor != _SELF, ~guardian, ~overruled)]
    if denial.young:
        standing.append(guardian)
    if not yes:
        standing.append(_own(question, row, denial.item))
    said = row.status.in_(sorted(denial.statuses))
    return sa.and_(_about(question, row, denial.item), said, sa.or_(*standing))


def _signalled(question: Question, row: Any, denial: Signalled) -> Condition:
    seen = sa.and_(row.kind == Kind.SIGNAL.value, row.item.in_(denial.signals))
    conditions = [~_beside(row, _yes(question, denial.item), _later_than(row))]
    if denial.guarded:
        conditions.append(~_beside(row, _yes(question, denial.item, guardian=True), _later_than(row)))
    return sa.and_(seen, row.status == Status.OBJECTED.value, *conditions)


def _awaited(question: Question, row: Any, item: Item) -> Condition:
    guardian = sa.literal(_GUARDIAN) + sa.func.substr(row.actor, len(_INVITED) + 1)
    agreed = _beside(row, _yes(question, item, guardian=True), lambda other: other.actor == guardian)
    asked = sa.and_(row.status == Status.REQUESTED.value, _actor_is(row, _INVITED))
    return sa.and_(_about(question, row, item), asked, ~agreed)


def _about(question: Question, row: Any, item: Item) -> Condition:
    scope = row.scope.in_(("", question.scope)) if question.scope else row.scope == ""
    return sa.and_(row.kind == item.kind.value, row.item == item.key, scope)


def _actor_is(row: Any, prefix: str) -> Condition:
    return sa.func.substr(row.actor, 1, len(prefix)) == prefix  # LIKE does not see capitals on SQLite


def _own(question: Question, row: Any, item: Item) -> Condition:
    """The person's own answer; the last one, where one about everything and one about a scope both count."""
    own: Condition = row.actor == _SELF
    if not question.scope:
        return own

    def later(other: Any) -> Condition:
        mine = sa.and_(other.actor == _SELF, _about(question, other, item))
        return sa.and_(mine, _order(other) > _order(row))

    return sa.and_(own, ~_beside(row, later))


def _yes(question: Question, item: Item, *, guardian: bool = False) -> Test:
    return lambda row: granting(question, row, Grant(item, guardian=guardian))


def _later_than(row: Any) -> Test:
    """A yes after a no; at the same instant the no stands."""
    return lambda other: sa.and_(other.effective_us > row.effective_us)


def _order(row: Any) -> Any:
    """As `view.Row.order`."""
    return sa.tuple_(row.effective_us, sa.case((row.status.in_(_DENIALS), 1), else_=0), row.event_id)


def _beside(row: Any, *tests: Test) -> Condition:
    """That the row's subject has another row that meets these."""
    other = STATE.alias()
    same = (other.c.bucket == row.bucket, other.c.subject_key == row.subject_key)
    return sa.exists().where(*same, *(test(other.c) for test in tests))
