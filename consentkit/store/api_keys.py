"""API keys: made once, shown once, stored as a keyed hash. A key carries its tenant and its scopes."""

# ruff: noqa: S608 - every name is a constant of this package, every value a bind parameter
from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from consentkit.core.times import from_us
from consentkit.store.tables import PREFIX as _P

if TYPE_CHECKING:
    from consentkit.runtime import Runtime

SCOPES = ("read", "write", "erase")
MARK = "ck"

_PRESENTED = re.compile(rf"{MARK}_([0-9a-f]{{16}})_[0-9a-f]{{64}}")
_NAME = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{0,200}")
_COLUMNS = "key_id, tenant, scopes, label, created_us, revoked_us"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret. `tenant` is "" for the installation's own subjects."""

    key_id: str
    tenant: str
    scopes: tuple[str, ...]
    label: str
    created_at: datetime
    revoked_at: datetime | None = None

    def may(self, scope: str) -> bool:
        """Whether the key has a scope."""
        return scope in self.scopes


def create_key(runtime: Runtime, *, label: str, tenant: str = "", scopes: Sequence[str] = ("read",)) -> str:
    """Make a key. What is returned is the only copy of the secret.

    Raises ValueError for an unknown scope or a label that is empty or not printable, StoreUnavailable.
    """
    wanted = [scope for scope in SCOPES if scope in scopes]
    if isinstance(scopes, str) or not wanted or set(scopes) - set(SCOPES):
        raise ValueError(f"scopes: one or more of {', '.join(SCOPES)}")
    if not label.strip() or not _NAME.fullmatch(label) or not _NAME.fullmatch(tenant):
        raise ValueError("label and tenant: at most 200 printable characters; the label is not empty")
    runtime.ensure()
    key_id = secrets.token_hex(8)
    secret = f"{MARK}_{key_id}_{secrets.token_hex(32)}"
    hashed = runtime.keyed.secret_hash(secret)
    row = (key_id, hashed, tenant, " ".join(wanted), label, runtime.clock.now())
    statement = (
        f"INSERT INTO {_P}api_key (key_id, secret_hash, tenant, scopes, label, created_us) "
        "VALUES (?, ?, ?, ?, ?, ?)"
    )
    runtime.database.write(lambda tx: tx.count(statement, row))
    return secret


def list_keys(runtime: Runtime) -> list[ApiKey]:
    """All keys, revoked ones too, oldest first. Raises StoreUnavailable."""
    runtime.ensure()
    statement = f"SELECT {_COLUMNS} FROM {_P}api_key ORDER BY created_us, key_id"
    return [_key(row) for row in runtime.database.read(lambda tx: tx.run(statement))]


def revoke_key(runtime: Runtime, key_id: str) -> bool:
    """End a key: its next request is refused. False when there is no such key, or it has ended already."""
    runtime.ensure()
    statement = f"UPDATE {_P}api_key SET revoked_us = ? WHERE key_id = ? AND revoked_us IS NULL"
    params = (runtime.clock.now(), key_id)
    return runtime.database.write(lambda tx: tx.count(statement, params)) > 0


def authenticate(runtime: Runtime, secret: str) -> ApiKey | None:
    """The key of this secret, or None when there is none or it was revoked. Raises StoreUnavailable.

    Nothing is remembered between calls, so that a revocation holds at once.
    """
    presented = _PRESENTED.fullmatch(secret)
    if presented is None:
        return None
    runtime.ensure()
    statement = f"SELECT {_COLUMNS}, secret_hash FROM {_P}api_key WHERE key_id = ?"
    rows = runtime.database.read(lambda tx: tx.run(statement, (presented[1],)))
    stored = bytes(rows[0][-1]) if rows else bytes(32)
    genuine = hmac.compare_digest(stored, runtime.keyed.secret_hash(secret))
    if not genuine or not rows:
        return None
    found = _key(rows[0][:-1])
    return None if found.revoked_at is not None else found


def _key(row: Sequence[Any]) -> ApiKey:
    key_id, tenant, scopes, label, created, revoked = row
    ended = None if revoked is None else from_us(revoked)
    return ApiKey(key_id, tenant, tuple(scopes.split()), label, from_us(created), ended)
