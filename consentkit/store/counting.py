"""How many subjects a new version asks again. Read at deploy time, never by the gate."""

# ruff: noqa: S608 - every name is a constant of this package, every value a bind parameter
from __future__ import annotations

from consentkit.core.terms import GRANTS, Kind
from consentkit.store.database import Tx
from consentkit.store.tables import PREFIX as _P

_GRANTS = sorted(status.value for status in GRANTS)


def asked_again(tx: Tx, kind: Kind, item: str, floor: int) -> int:
    """Subjects who are not erased and whose grant for an item is of a version below `floor`."""
    statement = (
        f"SELECT COUNT(*) FROM (SELECT DISTINCT t.bucket, t.subject_key FROM {_P}state t "
        f"JOIN {_P}subject s ON s.bucket = t.bucket AND s.subject_key = t.subject_key "
        f"WHERE t.kind = ? AND t.item = ? AND t.version < ? "
        f"AND t.status IN ({', '.join('?' * len(_GRANTS))}) AND s.erased_us IS NULL) AS asked"
    )
    return int(tx.run(statement, (kind.value, item, floor, *_GRANTS))[0][0])
