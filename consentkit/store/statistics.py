"""How many subjects there are, and how many answers of each kind. Counted when asked, never by the gate."""

# ruff: noqa: S608 - every name is a constant of this package, every value a bind parameter
from __future__ import annotations

from typing import NamedTuple

from consentkit.core.record import VISITOR
from consentkit.store.database import Tx
from consentkit.store.restoring import LOG_SUBJECT
from consentkit.store.tables import PREFIX as _P

_SUBJECTS = (
    "SELECT CASE WHEN erased_us IS NOT NULL THEN 'erased' "
    f"WHEN substr(subject, 1, {len(VISITOR)}) = '{VISITOR}' THEN 'visitors' ELSE 'accounts' END AS who, COUNT(*) "
    f"FROM {_P}subject WHERE tenant = ? AND subject <> '{LOG_SUBJECT}' GROUP BY who"
)
_ANSWERS = (
    "SELECT t.kind, t.item, t.version, t.status, "
    "CASE WHEN t.actor IN ('subject', 'operator', 'browser') THEN t.actor "
    "WHEN substr(t.actor, 1, 9) = 'guardian:' THEN 'guardian' ELSE 'invitation' END AS said_by, COUNT(*) "
    f"FROM {_P}state t JOIN {_P}subject s ON s.bucket = t.bucket AND s.subject_key = t.subject_key "
    "WHERE s.tenant = ? AND s.erased_us IS NULL GROUP BY t.kind, t.item, t.version, t.status, said_by "
    "ORDER BY t.kind, t.item, t.version, t.status, said_by"
)


class Tally(NamedTuple):
    """How many last answers are the same in all of this. `version` is an ordinal."""

    kind: str
    item: str
    version: int
    status: str
    actor: str
    answers: int


def count_subjects(tx: Tx, tenant: str) -> dict[str, int]:
    """Subjects of a tenant: `accounts`, `visitors`, and those of both who are `erased`."""
    found = {who: int(count) for who, count in tx.run(_SUBJECTS, (tenant,))}
    return {who: found.get(who, 0) for who in ("accounts", "visitors", "erased")}


def count_answers(tx: Tx, tenant: str) -> list[Tally]:
    """Last answers of a tenant's subjects who are not erased."""
    return [Tally(*row) for row in tx.run(_ANSWERS, (tenant,))]
