"""The append-only events, as readers see them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from consentkit.core.errors import ConsentKitError, StoreUnavailable
from consentkit.core.merkle import TILE_WIDTH
from consentkit.core.record import Event
from consentkit.core.times import rfc3339, to_us
from consentkit.logs import harmless, log
from consentkit.runtime import Runtime
from consentkit.store.database import Tx
from consentkit.store.following import Followed, Handler, follow
from consentkit.store.proving import NotSealed, prove, read_checkpoint, read_tile
from consentkit.store.reading import Erased
from consentkit.store.restoring import Lost
from consentkit.store.sealing import Progress, Sealed
from consentkit.store.verifying import Report, broken, verify


class Ledger:
    """The append-only events."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def events(
        self,
        *,
        subject: str | None = None,
        item: str | None = None,
        action: str | None = None,
        after: str | int | None = None,
        tenant: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Event | Erased]:
        """Events of a subject by event id (`after`: an event id), unsealed ones included.

        Without a subject: sealed events of all in leaf order (`after`: a leaf index), with
        `Erased(leaf_index)` where an event was destroyed. Streams; `limit` bounds the number.
        Raises StoreUnavailable.
        """
        self._runtime.ensure()
        if subject is None:
            self._seal_first()
        equal = {k: v for k, v in (("item", item), ("action", action)) if v is not None}
        reader, left = self._runtime.reader, limit
        while left is None or left > 0:
            size = 500 if left is None else min(left, 500)
            page: Sequence[Event | Erased]
            if subject is not None:
                page = reader.events(tenant or "", subject, after=_text(after), limit=size, **equal)
            else:
                page = reader.sealed(
                    after=-1 if after is None else int(after), limit=size, tenant=tenant, **equal
                )
            yield from page
            if len(page) < size:
                return
            last = page[-1]
            after = last.event_id if subject is not None and isinstance(last, Event) else last.leaf_index
            left = None if left is None else left - len(page)

    def of_subject(self, subject: str, *, tenant: str | None = None) -> list[Event]:
        """All events of a subject by event id. Raises StoreUnavailable."""
        return [e for e in self.events(subject=subject, tenant=tenant) if isinstance(e, Event)]

    def follow(self, name: str, handle: Handler, *, tenant: str | None = None) -> Followed:
        """Hand the events sealed since the last time to `handle`, in order, each at least once.

        The place is kept under `name`. A handler that raises is tried again later with the same event; pauses
        grow up to a day. Without a sealer at work call `seal` first. Raises StoreUnavailable, ValueError for a name
        of our own.
        """
        if name.startswith("consentkit:"):
            raise ValueError("names of followers that begin with consentkit: are ours")
        self._seal_first()
        now_us = self._runtime.clock.now()
        return follow(self._runtime.database, self._runtime.reader, name, handle, now_us, tenant=tenant)

    def seal(self, progress: Progress | None = None) -> Sealed:
        """Put what is pending into the signed Merkle tree. Raises LedgerBroken, StoreUnavailable."""
        return self._runtime.seal(progress)

    def begin_new_log(self) -> list[Lost]:
        """After a restore that lost sealed events: go on under a new origin, with the loss on record.

        Raises ConsentKitError where nothing was lost, StoreUnavailable.
        """
        return self._runtime.begin_new_log()

    def checkpoint(self) -> str | None:
        """The latest signed checkpoint (c2sp.org/tlog-checkpoint); on SQLite what is pending is sealed first."""
        self._seal_first()
        return self._runtime.database.read(read_checkpoint)

    def tile(self, level: int, number: int, width: int = TILE_WIDTH) -> bytes | None:
        """The first hashes of a tile (c2sp.org/tlog-tiles); None beyond the latest checkpoint, which is asked first.

        Never seals: what the tiles are of is the checkpoint that `checkpoint` gave. Raises LedgerBroken.
        """
        self._runtime.ensure()
        return self._runtime.database.read(lambda tx: read_tile(tx, level, number, width))

    def prove(self, event_id: str) -> str:
        """The proof that an event is in the ledger (c2sp.org/tlog-proof@v1); it verifies without the ledger.

        Raises NotSealed (PostgreSQL: the sealer has not come by yet), LookupError for an unknown id.
        """
        self._seal_first()
        return self._runtime.database.read(lambda tx: prove(tx, event_id))

    def proofs(self, events: Sequence[Event]) -> list[str | None]:
        """The proof of each event; None for one that is not sealed. A ledger that cannot be sealed has no new ones."""
        try:
            self._seal_first()
        except StoreUnavailable:
            raise
        except ConsentKitError as error:
            message = "the consent ledger cannot be sealed: %(error)s"
            log(logging.ERROR, "sealing_failed", message, error=harmless(error))
        return self._runtime.database.read(lambda tx: [_proof(tx, event.event_id) for event in events])

    @property
    def key(self) -> str | None:
        """The log's public key, or None where this process does not know it."""
        try:
            return str(self._runtime.log_keys.verifier)
        except ConsentKitError:
            return None

    def verify(self, progress: Callable[[int], None] | None = None) -> Report:
        """Check the whole ledger; never writes. Returns a report, or raises LedgerBroken with the first fault.

        The error's `report` holds all faults: integrity and completeness apart.
        """
        self._runtime.ensure()
        report = verify(self._runtime.database, self._runtime.keyed, self._runtime.log_keys, progress)
        if report.faults:
            raise broken(report)
        return report

    def _seal_first(self) -> None:
        """On SQLite reading seals; on PostgreSQL reads never write."""
        self._runtime.ensure()
        if not self._runtime.database.postgresql:
            self._runtime.seal()

    def event(self, event_id: str, *, tenant: str | None = None) -> Event | None:
        """One event by its id, or None."""
        self._runtime.ensure()
        return self._runtime.reader.event(event_id, tenant)


def _proof(tx: Tx, event_id: str) -> str | None:
    try:
        return prove(tx, event_id)
    except NotSealed:
        return None


def _text(after: str | int | None) -> str | None:
    if after is not None and not isinstance(after, str):
        raise ValueError("after= is an event id when a subject is given, a leaf index otherwise")
    return after


def event_json(event: Event) -> dict[str, Any]:
    """An event as JSON shows it: names as in the class, times in RFC 3339."""
    shown = asdict(event)
    return shown | {
        "recorded_at": rfc3339(to_us(event.recorded_at)),
        "effective_at": rfc3339(to_us(event.effective_at)),
    }
