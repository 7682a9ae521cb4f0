"""An audience as SQL: `core.criteria` said about the rows of state.

Two shapes of one question. A set, for a mailing: the rows of state are read once in the order of their key for what
there has to be, and once for what there must not be; no row is looked up for each subject. A condition, for a query
of the host's about a few of its rows: each is looked up by its key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.operators import custom_op

from consentkit.core.criteria import Criteria, Grant
from consentkit.core.record import VISITOR
from consentkit.store.criteria import STATE, denying, granting, single
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


def allowed(question: Question, candidate: Text) -> Condition:
    """The condition that the ledger knows an id and that it is allowed."""
    subject = _SUBJECT.alias()
    found = [_meets(question, subject, *who) for who in sections(question.crowds).items()]
    return _row_of(subject, question, candidate, sa.or_(sa.false(), *found))


def stranger(
    question: Question, candidate: Text, but: Callable[[], Sequence[str]] | None = None
) -> Condition:
    """The condition that the ledger does not know an id; `but` for these, asked for at execution."""
    known = _row_of(_SUBJECT.alias(), question, candidate)
    if but is None:
        return sa.and_(candidate.is_not(None), ~known)
    ids = sa.bindparam("consentkit", callable_=but, type_=sa.Text, expanding=True, unique=True)
    return sa.and_(candidate.is_not(None), ~known, candidate.not_in(ids))


def hidden(tenant: str) -> Ids:
    """What stands in the ledger in place of the ids of erased subjects."""
    subject = _SUBJECT.alias()
    return sa.select(subject.c.subject).where(subject.c.salt.is_(None), subject.c.tenant == tenant)


def stream(database: Database, statement: Ids) -> Iterator[str]:
    """The ids bit by bit, from a server-side cursor on PostgreSQL. Raises StoreUnavailable."""
    with store_errors(), database.engine.connect() as connection:
        if database.postgresql:  # all rows are wanted, not the first ones soon
            connection.exec_driver_sql("SET LOCAL cursor_tuple_fraction = 1.0")
        yield from connection.execution_options(yield_per=CHUNK).scalars(statement)


def _row_of(subject: Any, question: Question, candidate: Text, *conditions: Condition) -> Condition:
    """That the ledger has a row of an id, which meets these. The id's own table is that of the query around."""
    # The ledger's column stands first: on SQLite the first one says whether capitals count.
    same = (subject.c.tenant == question.tenant, subject.c.subject == candidate)
    return sa.exists().where(*same, *conditions).correlate_except(subject)


def _members(question: Question, among: Ids | None, criteria: Criteria, where: Where) -> Ids:
    """The set: rows of state first, then the subject of each."""
    subject = _SUBJECT.alias()
    conditions = [subject.c.tenant == question.tenant, *_facts(question, subject, criteria, where)]
    sources = []
    for grant in sorted(criteria.grants, key=lambda grant: not single(question, grant)):
        source, needed = _source(question, grant)
        sources.append(source)
        conditions += needed
    rows: Any = subject
    if sources:
        rows = sources[0]
        for other in sources[1:]:
            rows = rows.join(other, sa.and_(*_same(other, sources[0])))
        rows = rows.join(subject, sa.and_(*_same(subject, sources[0], apart=True)))
    if criteria.denials:
        denied = _denied(question, criteria)
        conditions.append(~sa.exists().where(*_same(denied, subject)))
    if among is None:
        conditions.append(sa.func.substr(subject.c.subject, 1, len(VISITOR)) != VISITOR)
    else:
        conditions.append(subject.c.subject.in_(among))
    return sa.select(subject.c.subject).select_from(rows).where(*conditions)


def _source(question: Question, grant: Grant) -> tuple[Any, list[Condition]]:
    """Where the subjects with a grant are, one row each; and what its rows have to meet."""
    row = STATE.alias()
    if single(question, grant):
        return row, [granting(question, row.c, grant)]
    keys = sa.select(row.c.bucket, row.c.subject_key).where(granting(question, row.c, grant))
    return keys.distinct().subquery(), []


def _denied(question: Question, criteria: Criteria) -> Any:
    """The subjects with a denial, once each: so that a join with them is a join of two sets."""
    row = STATE.alias()
    denials = denying(question, row.c, criteria)
    return sa.select(row.c.bucket, row.c.subject_key).where(denials).distinct().subquery()


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


def _same(one: Any, other: Any, *, apart: bool = False) -> list[Condition]:
    """The same subject. `apart`: SQLite is not to look `other` up for each of `one`; the plus says so."""
    bucket = sa.UnaryExpression(other.c.bucket, operator=_PLUS) if apart else other.c.bucket
    return [one.c.bucket == bucket, one.c.subject_key == other.c.subject_key]
