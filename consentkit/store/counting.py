"""How many subjects a new version asks again. Read at deploy time, never by the gate."""

# ruff: noqa: S608 - every name is a constant of this package, every value a bind parameter
from __future__ import annotations

from consentkit.core.terms import DENIALS, GRANTS, Kind
from consentkit.store.database import Tx
from consentkit.store.tables import PREFIX as _P

_GRANTS = sorted(status.value for status in GRANTS)
_DENIALS = sorted(status.value for status in DENIALS)
_ASKED_AGAIN = (
    f"SELECT COUNT(*) FROM (SELECT DISTINCT t.bucket, t.subject_key FROM {_P}state t "
    f"JOIN {_P}subject s ON s.bucket = t.bucket AND s.subject_key = t.subject_key "
    "WHERE t.kind = ? AND t.item = ? AND t.version < ? AND s.erased_us IS NULL "
    f"AND t.status IN ({', '.join('?' * len(_GRANTS))}) "
    f"AND NOT EXISTS (SELECT 1 FROM {_P}state d WHERE d.bucket = t.bucket AND d.subject_key = t.subject_key "
    "AND d.kind = t.kind AND d.item = t.item AND d.scope IN ('', t.scope) AND d.effective_us >= t.effective_us "
    f"AND d.status IN ({', '.join('?' * len(_DENIALS))}))) AS asked"
)


def asked_again(tx: Tx, kind: Kind, item: str, floor: int) -> int:
    """Subjects who are not erased and whose grant for an item, not denied since, is of a version below `floor`."""
    return int(tx.run(_ASKED_AGAIN, (kind.value, item, floor, *_GRANTS, *_DENIALS))[0][0])
