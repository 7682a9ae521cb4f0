"""An audience as SQL: `core.criteria` said about the rows of state.

Two shapes of one question. A set, for a mailing: the rows of state are read once for what there has to be and once
for what there must not be, and joined as sets; no row is looked up for each subject. A condition, for a query of the
host's about a few of its rows: each is looked up by its key.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.sql.operators import custom_op

from consentkit.core.criteria import Criteria
from consentkit.core.record import VISITOR
from consentkit.store.criteria import STATE, denying, granting, single, suspect
from consentkit.store.crowds import Condition, Question, Where, belongs, sections
from consentkit.store.database import Database, store_errors
from consentkit.store.tables import PREFIX, metadata

Ids = sa.Select[Any]
Text = sa.ColumnElement[Any]

CHUNK = 5000
_SUBJECT = metadata.tables[f"{PREFIX}subject"]
_PLUS: Any = custom_op("+")


def audience(question: Question, among: Ids | None = None) -> Ids:
    """The ids that are allowed: of all accounts that the ledger knows, or of these ids."""
    found = [_members(question, among, *who) for who in sections(question.crowds).items()]
    if not found:
        return sa.select(_SUBJECT.c.subject).where(sa.false())
    return found[0] if len(found) == 1 else sa.select(sa.union_all(*found).subquery().c.subject)


class Answer(NamedTuple):
    """The row of a subject, and as a condition on it whether the gate allows: the same whatever the ids are."""

    subject: Any
    condition: Condition


def answer(question: Question) -> Answer:
    """The gate's answer about a row."""
    subject = _SUBJECT.alias()
    found = [_meets(question, subject, *who) for who in sections(question.crowds).items()]
    return Answer(subject, _plainly(sa.or_(sa.false(), *found)))


def allowed(question: Question, answer: Answer, candidate: Text, unseen: Condition) -> Condition:
    """The condition that an id is allowed; `unseen`: what holds of one that the ledger does not know.

    A subquery for a value and not for existence: PostgreSQL would make a join of the other, and work everybody out
    for a page of twenty.
    """
    subject, condition = answer
    known = sa.select(condition).where(*_row_of(subject, question, candidate))
    one = known.correlate_except(subject).scalar_subquery()  # the id's table is that of the query around
    return sa.func.coalesce(one, unseen, type_=sa.Boolean)


def strangers(question: Question, ids: Ids, unseen: Callable[[Text], Condition]) -> Ids:
    """Of some ids, once each, those that the ledger does not know and of which `unseen` holds."""
    (candidate,) = ids.subquery().c
    known = sa.exists().where(*_row_of(_SUBJECT.alias(), question, candidate))
    return sa.select(candidate).distinct().where(candidate.is_not(None), ~known, unseen(candidate))


def exact(question: Question, ids: Text) -> Text:
    """Ids as the texts that the gate is asked about: not padded, and capitals count, whatever their column says."""
    return sa.collate(sa.cast(ids, sa.Text), "default" if question.postgresql else "BINARY")


def none_of(question: Question, candidate: Text, ids: Callable[[], Sequence[str]]) -> Condition:
    """That an id is none of these; they are asked for when the statement is executed.

    One parameter for all of them: PostgreSQL takes 65,535, and there may be more.
    """
    these: sa.TableValuedAlias
    if question.postgresql:
        array = sa.bindparam("consentkit", callable_=ids, type_=sa.ARRAY(sa.Text), unique=True)
        these = sa.func.unnest(array).table_valued("value").render_derived()
    else:
        listed = sa.bindparam(
            "consentkit", callable_=lambda: json.dumps(list(ids())), type_=sa.Text, unique=True
        )
        these = sa.func.json_each(listed).table_valued("value")
    return sa.and_(candidate.is_not(None), candidate.not_in(sa.select(these.c.value)))


def hidden(question: Question) -> Ids:
    """What stands in the ledger in place of the ids of erased subjects."""
    subject = _SUBJECT.alias()
    return sa.select(subject.c.subject).where(subject.c.salt.is_(None), _is_of(question, subject))


def to_hide(question: Question) -> Ids:
    """The ids of erased subjects that are not hidden yet."""
    subject = _SUBJECT.alias()
    soon = (subject.c.erased_us.is_not(None), subject.c.salt.is_not(None))
    return sa.select(subject.c.subject).where(*soon, _is_of(question, subject))


def _is_of(question: Question, subject: Any) -> Condition:
    """The tenant, but not by its index: SQLite would read everybody in it, for the few that a smaller one holds."""
    tenant = subject.c.tenant
    return (tenant if question.postgresql else sa.UnaryExpression(tenant, operator=_PLUS)) == question.tenant


def stream(database: Database, statement: Ids) -> Iterator[str]:
    """The ids bit by bit, from a server-side cursor on PostgreSQL. Raises StoreUnavailable."""
    with store_errors(), database.engine.connect() as connection:
        if database.postgresql:
            # All rows are wanted, not the first ones soon. And tables that were small when they were last analyzed
            # would be joined by loops in loops.
            connection.exec_driver_sql("SET LOCAL cursor_tuple_fraction = 1.0")
            connection.exec_driver_sql("SET LOCAL enable_nestloop = off")
        with closing(connection.execution_options(yield_per=CHUNK).scalars(statement)) as found:
            yield from found


def _row_of(subject: Any, question: Question, candidate: Text) -> tuple[Condition, Condition]:
    # The ledger's column stands first: on SQLite the first one says whether capitals count.
    return subject.c.tenant == question.tenant, subject.c.subject == candidate


def _members(question: Question, among: Ids | None, criteria: Criteria, where: Where) -> Ids:
    """The set of subjects who meet some criteria."""
    subject = _SUBJECT.alias()
    conditions = [subject.c.tenant == question.tenant, *_facts(question, subject, criteria, where)]
    rows: Any = subject
    if question.postgresql:
        for grant in criteria.grants:
            row = STATE.alias()
            is_granting = _unguessed(granting(question, row.c, grant))
            conditions.append(sa.exists().where(*_same(row, subject), is_granting))
    elif criteria.grants:
        rows, needed = _rows_first(question, criteria, subject)
        conditions += needed
    if criteria.denials:
        conditions.append(~sa.exists().where(*_same(_denied(question, criteria), subject)))
    if among is None:
        conditions.append(sa.func.substr(subject.c.subject, 1, len(VISITOR)) != VISITOR)
    else:
        conditions.append(subject.c.subject.in_(among))
    return sa.select(subject.c.subject).select_from(rows).where(*conditions)


def _rows_first(question: Question, criteria: Criteria, subject: Any) -> tuple[Any, list[Condition]]:
    """SQLite: the rows of grants, in the order of their key, then the subject of each. The plus says so."""
    sources: list[Any] = []
    conditions: list[Condition] = []
    for grant in sorted(criteria.grants, key=lambda grant: not single(question, grant)):
        row = STATE.alias()
        if single(question, grant):
            sources.append(row)
            conditions.append(granting(question, row.c, grant))
        else:
            keys = sa.select(row.c.bucket, row.c.subject_key).where(granting(question, row.c, grant))
            sources.append(keys.distinct().subquery())
    rows: Any = sources[0]
    first = sources[0].c
    for other in sources[1:]:
        rows = rows.join(other, sa.and_(*_same(other, sources[0])))
    same_bucket = subject.c.bucket == sa.UnaryExpression(first.bucket, operator=_PLUS)
    return rows.join(subject, sa.and_(same_bucket, subject.c.subject_key == first.subject_key)), conditions


def _denied(question: Question, criteria: Criteria) -> Any:
    """The subjects with a denial, once each.

    DISTINCT twice, so that each step is a set of its own: rows that may be denials are found by reading all once,
    and only of these the subject's other rows are looked up.
    """
    row = STATE.alias()
    rows = sa.select(row).where(_unguessed(suspect(question, row.c, criteria))).distinct().subquery()
    proof = _plainly(denying(question, rows.c, criteria))
    return sa.select(rows.c.bucket, rows.c.subject_key).where(proof).distinct().subquery()


def _plainly(condition: Condition) -> Condition:
    """A condition as a value, true or false: PostgreSQL does not take it apart."""
    return sa.case((condition, sa.true()), else_=sa.false())


def _unguessed(condition: Condition) -> Condition:
    """A condition of which PostgreSQL does not guess how many rows meet it, but takes half a percent.

    It would guess one row, because bucket and key, or kind and item, depend on each other; and loop over a million.
    """
    return sa.case((condition, 1), else_=0) == 1


def _meets(question: Question, subject: Any, criteria: Criteria, where: Where) -> Condition:
    """The condition on one subject's row."""
    conditions = _facts(question, subject, criteria, where)
    for grant in criteria.grants:
        row = STATE.alias()
        conditions.append(sa.exists().where(*_same(row, subject), granting(question, row.c, grant)))
    if criteria.denials:
        row = STATE.alias()
        conditions.append(~sa.exists().where(*_same(row, subject), denying(question, row.c, criteria)))
    return sa.and_(sa.true(), *conditions)


def _facts(question: Question, subject: Any, criteria: Criteria, where: Where) -> list[Condition]:
    inside = belongs(subject.c, question, where)
    alive = [subject.c.erased_us.is_(None)] if criteria.alive else []
    return [*alive, *([inside] if inside is not None else [])]


def _same(one: Any, other: Any) -> list[Condition]:
    return [one.c.bucket == other.c.bucket, one.c.subject_key == other.c.subject_key]
