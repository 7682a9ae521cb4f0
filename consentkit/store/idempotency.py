"""Requests that may be sent twice: what they recorded is remembered for a day, in the same transaction."""

# ruff: noqa: S608 - every name is a constant of this package, every value a bind parameter
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from consentkit.core.record import bucket_of
from consentkit.store.database import Tx
from consentkit.store.tables import PREFIX as _P

if TYPE_CHECKING:
    from consentkit.runtime import Runtime

KEPT_US = 24 * 3600 * 1_000_000

_TABLE = f"{_P}idempotency"
_FORGET = f"DELETE FROM {_TABLE} WHERE bucket = ? AND expires_us <= ?"
_CLAIM = (
    f"INSERT INTO {_TABLE} (bucket, tenant, key, fingerprint, event_ids, expires_us) "
    "VALUES (?, ?, ?, ?, '', ?) ON CONFLICT (bucket, tenant, key) DO NOTHING"
)
_FIND = f"SELECT fingerprint, event_ids FROM {_TABLE} WHERE bucket = ? AND tenant = ? AND key = ?"
_DONE = f"UPDATE {_TABLE} SET event_ids = ? WHERE bucket = ? AND tenant = ? AND key = ?"


class KeyReused(Exception):
    """The key was used for another request."""


def once(
    runtime: Runtime,
    place: tuple[str, str],
    request: str,
    work: Callable[[Connection], Sequence[str]],
) -> list[str] | None:
    """Do `work` unless this request was handled before. Returns the event ids of then, None when it is new.

    `place`: tenant and key. `request`: the whole request as text; only a keyed hash of it is stored. `work`
    records on the connection and gives its event ids; both are committed together with the key, so of two
    requests at once one records and the other waits for it. Raises KeyReused, StoreUnavailable and what
    `work` raises; then nothing is recorded or remembered.
    """
    runtime.ensure()
    where = (bucket_of(*place), *place)
    fingerprint = runtime.keyed.secret_hash(f"idempotency\0{request}")
    now_us, database = runtime.clock.now(), runtime.database

    def claim(tx: Tx) -> list[str] | None:
        tx.count(_FORGET, (where[0], now_us))
        if tx.count(_CLAIM, (*where, fingerprint, now_us + KEPT_US)):
            return None
        known, event_ids = tx.run(_FIND, where)[0]
        if bytes(known) != fingerprint:
            raise KeyReused
        return str(event_ids).split()

    with database.connection() as connection:
        before = database.write(claim, connection)
        if before is None:
            done = " ".join(work(connection))
            database.write(lambda tx: tx.count(_DONE, (done, *where)), connection)
    return before
