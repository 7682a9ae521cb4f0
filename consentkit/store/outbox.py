"""The outbox: a follower turns sealed events into one open message per recipient, each exactly once.

A message is kept encrypted until it is delivered, because it names the subject: an erasure may hide the id, or
destroy the event, while a recipient still has to be told.
"""

# ruff: noqa: S608 - every name is a constant of this package, every value a bind parameter
from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from consentkit.core.errors import ConsentKitError
from consentkit.core.propagation import Audiences, payload
from consentkit.core.record import Event
from consentkit.logs import harmless, log
from consentkit.store import sql
from consentkit.store.clock import bucket_of_event
from consentkit.store.database import Database, Tx
from consentkit.store.following import position, position_in
from consentkit.store.keys import Keyed
from consentkit.store.publishing import read_published
from consentkit.store.reading import LedgerReader
from consentkit.store.tables import PREFIX as _P

PAGE, PAGES = 200, 25
PENDING, DELIVERED, UNADDRESSED = "pending", "delivered", "unaddressed"
_KNOWN = f"SELECT recipient, since_leaf FROM {_P}recipient"
_ADD = (
    f"INSERT INTO {_P}recipient (recipient, since_leaf) VALUES (?, ?) ON CONFLICT (recipient) "
    "DO UPDATE SET since_leaf = excluded.since_leaf"
)
_END = f"UPDATE {_P}recipient SET since_leaf = -1 WHERE recipient = ?"
_SIZE = f"SELECT COALESCE(MAX(leaf_index) + 1, 0) FROM {_P}leaf"
_BEGIN = f"INSERT INTO {_P}follower (name, position, failures) VALUES (?, ?, 0) ON CONFLICT (name) DO NOTHING"
_MOVE = f"UPDATE {_P}follower SET position = ? WHERE name = ? AND position = ?"
_PUT = (
    f"INSERT INTO {_P}delivery (recipient, leaf_index, status, attempts, queued_us, subject_sealed) "
    "VALUES (?, ?, ?, 0, ?, ?) ON CONFLICT (recipient, leaf_index) DO NOTHING"
)
_SUBJECT = f"SELECT subject FROM {_P}subject WHERE bucket = ? AND subject_key = ? AND salt IS NOT NULL"
_KEPT = f"SELECT subject_sealed FROM {_P}kept_id WHERE bucket = ? AND subject_key = ?"
_EVERY_KEPT = f"SELECT bucket, subject_key FROM {_P}kept_id"
_DROP_KEPT = f"DELETE FROM {_P}kept_id WHERE bucket = ? AND subject_key = ? AND NOT EXISTS ({sql.UNQUEUED})"


Judge = Callable[[str, Sequence[str], str], Mapping[str, bool]]
"""Whether a subject's data may be processed now, by purpose, for one scope."""
Message = tuple[str, bytes | None]


@dataclass(frozen=True, slots=True)
class Queued:
    """What a run of the follower has done. `more`: sealed events are left over for the next one."""

    messages: int
    more: bool


def register(tx: Tx, parties: Iterable[str]) -> None:
    """Begin to tell parties: of what is sealed from now on, and of nothing that came before they were named."""
    new = sorted(set(parties) - told_since(tx).keys())
    if new:
        size = tx.run(_SIZE)[0][0]
        tx.many(_ADD, [(party, size) for party in new])


def retire(tx: Tx, parties: Iterable[str]) -> None:
    """Tell nobody else any more. What is open for others stays open."""
    over = sorted(told_since(tx).keys() - set(parties))
    if over:
        tx.many(_END, [(party,) for party in over])


def told_since(tx: Tx) -> dict[str, int]:
    """Who is told, and from which leaf on."""
    return {recipient: leaf for recipient, leaf in tx.run(_KNOWN) if leaf >= 0}


class Outbox:
    """Queues messages for recipients."""

    def __init__(
        self, database: Database, reader: LedgerReader, keyed: Keyed, audiences: Audiences, judge: Judge
    ) -> None:
        self._database, self._reader, self._keyed = database, reader, keyed
        self._audiences, self._judge = audiences, judge

    def queue(self, now_us: int) -> Queued:
        """Queue what was sealed since the last run. Any number may run at once. Raises StoreUnavailable."""
        since = self._begin()
        if not since:
            return Queued(0, False)
        at, queued = position(self._database, sql.WEBHOOKS).position, 0
        for _ in range(PAGES):
            page = self._reader.sealed(after=at, limit=PAGE)
            if not page:
                break
            last = page[-1].leaf_index or 0
            rows = [
                (recipient, event.leaf_index, PENDING if sealed else UNADDRESSED, now_us, sealed)
                for event in page
                if isinstance(event, Event)
                for recipient, sealed in self._messages_or_none(event, since)
            ]
            if not self._database.write(lambda tx, a=at, z=last, r=rows: self._put(tx, since, a, z, r)):  # type: ignore[misc]
                return Queued(queued, True)
            at, queued = last, queued + len(rows)
        self._forget_ids()
        return Queued(queued, len(page) == PAGE)

    def _begin(self) -> dict[str, int]:
        """Who is told, and since when. A party that was not registered begins where the follower is."""

        def work(tx: Tx) -> dict[str, int]:
            since, place = told_since(tx), position_in(tx, sql.WEBHOOKS)
            at = -1 if place is None else place.position
            new = dict.fromkeys(sorted(self._audiences.webhooks.keys() - since.keys()), at + 1)
            tx.many(_ADD, list(new.items()))
            if place is None and (since or new):
                tx.count(_BEGIN, (sql.WEBHOOKS, min((since | new).values()) - 1))
            return since | new

        since = self._database.read(told_since)
        begun = self._database.read(lambda tx: position_in(tx, sql.WEBHOOKS)) is not None or not since
        if begun and self._audiences.webhooks.keys() <= since.keys():
            return since
        return self._database.write(work)

    def _messages_or_none(self, event: Event, since: Mapping[str, int]) -> list[Message]:
        """The same; an event of which no message can be made stops no other one.

        Nothing is sent of it, and that is on record for everybody: `redeliver` makes up for it.
        """
        try:
            return list(self.messages(event, since))
        except ConsentKitError:
            raise
        except Exception as error:
            said = "nobody can be told of the event %(event_id)s: %(error)s"
            log(logging.ERROR, "event_untold", said, event_id=event.event_id, error=harmless(error))
            leaf = event.leaf_index or 0
            return [(recipient, None) for recipient, first in sorted(since.items()) if first <= leaf]

    def messages(self, event: Event, since: Mapping[str, int]) -> Iterator[Message]:
        """Recipients and what each is sent about a sealed event, as it is kept; None when the subject's id is gone.

        `since`: who is told, and from which leaf on.
        """
        leaf, body = event.leaf_index or 0, json.loads(event.body)
        told = {r: p for r, p in self._audiences.told(event, since).items() if since[r] <= leaf}
        if not told or of_tenant(event):
            return
        subject = self._subject(bucket_of_event(event.event_id), bytes.fromhex(body["subject_key"]))
        if subject is None:
            yield from ((recipient, None) for recipient in told)
            return
        asked = self._audiences.judged(event, {key for purposes in told.values() for key in purposes})
        may = self._judge(subject, asked, event.scope)
        for recipient, purposes in told.items():
            text = payload(event, subject, self._audiences.allowed(recipient, purposes, may))
            yield recipient, self._keyed.seal(text, bound_to(recipient, event.event_id))

    def _put(
        self, tx: Tx, since: Mapping[str, int], at: int, last: int, rows: Sequence[tuple[object, ...]]
    ) -> bool:
        """Move the follower and queue the page's messages.

        False when another one has moved it, or when they were made by what is no longer published: whoever is told
        since then would never hear of them.
        """
        if read_published(tx) != self._audiences.published or told_since(tx) != since:
            return False
        if tx.count(_MOVE, (last, sql.WEBHOOKS, at)) == 0:
            return False
        tx.many(_PUT, rows)
        return True

    def _subject(self, bucket: int, key: bytes) -> str | None:
        """The host's id: in the mapping, or kept when an erasure hid it."""
        if found := self._database.read(lambda tx: tx.run(_SUBJECT, (bucket, key))):
            return str(found[0][0])
        kept = self._database.read(lambda tx: tx.run(_KEPT, (bucket, key)))
        return self._keyed.unseal(bytes(kept[0][0]), key.hex()) if kept else None

    def _forget_ids(self) -> None:
        """Wipe the kept ids of those whose last messages are queued."""
        for bucket, key in self._database.read(lambda tx: tx.run(_EVERY_KEPT)):
            params = (bucket, bytes(key), bucket, bytes(key))
            self._database.write(lambda tx, p=params: tx.count(_DROP_KEPT, p))  # type: ignore[misc]


def of_tenant(event: Event) -> bool:
    """Whether the subject is a tenant's: those ids are the tenant's own, and are told to nobody."""
    return bool(json.loads(event.body)["tenant"])


def bound_to(recipient: str, event_id: str) -> str:
    """What a sealed message is bound to."""
    return f"the message about {event_id} to {recipient}"
