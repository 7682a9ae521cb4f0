"""Recipients: telling them, what each message has come to, sending one again."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Protocol, cast

from consentkit.core.catalog import Party
from consentkit.core.errors import ChoiceRejected, ConsentKitError, StoreUnavailable
from consentkit.core.gate import Decision
from consentkit.core.propagation import Audiences, rule_of, type_of
from consentkit.core.record import Event
from consentkit.core.rulebook import Rulebook
from consentkit.core.terms import Kind
from consentkit.core.times import from_us, rfc3339, to_us
from consentkit.kit_deliver import Delivered, Progress, audiences, deliver, outbox_of
from consentkit.kit_ledger import Ledger
from consentkit.kit_subject import REASON
from consentkit.logs import harmless, log
from consentkit.runtime import Runtime
from consentkit.store import deliveries, lag
from consentkit.store.database import Tx
from consentkit.store.deliveries import Row
from consentkit.store.delivering import Deliverer, send_again
from consentkit.store.outbox import PENDING, of_tenant, told_since
from consentkit.store.reading import SubjectState


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a message about an event has come to at one recipient.

    `status`: `delivered`, `pending`, `gone` (pending, and the recipient wants no more: 410), `unaddressed` (the
    subject's id was erased before) or `dropped` (given up: `tried_at` says when, `error` why). `since`: when the
    event was recorded. `delivered_at`: when it first arrived, also while it is sent once more. `error`: what
    happened last.
    """

    event_id: str
    type: str
    item: str
    recipient: str
    name: str
    status: str
    since: datetime
    delivered_at: datetime | None = None
    attempts: int = 0
    tried_at: datetime | None = None
    next_try_at: datetime | None = None
    error: str | None = None

    @property
    def json(self) -> dict[str, Any]:
        """As the API shows it, times in RFC 3339."""
        shown = {field.name: getattr(self, field.name) for field in fields(self)}
        return {k: rfc3339(to_us(v)) if isinstance(v, datetime) else v for k, v in shown.items()}

    @property
    def for_the_person(self) -> dict[str, Any]:
        """As the receipt shows it: what went wrong between two machines is not in it."""
        return {key: self.json[key] for key in ("recipient", "name", "status", "since", "delivered_at")}


@dataclass(frozen=True, slots=True)
class Recipient:
    """A party that is told by webhook, and what it waits for.

    `waiting`: open messages; `since`: when the first of them was queued. `unqueued`: sealed events of which it is not
    known yet whether it has to be told. `disabled_at`: when it answered 410.
    """

    key: str
    name: str
    waiting: int
    since: datetime | None = None
    disabled_at: datetime | None = None
    attempts: int = 0
    next_try_at: datetime | None = None
    error: str | None = None
    unqueued: int = 0


class _Gate(Protocol):
    """The part of a kit that answers."""

    def answer(
        self,
        rulebook: Rulebook,
        item: str,
        subject: str | None,
        state: SubjectState,
        *,
        scope: str = "",
        exceptions: bool = True,
    ) -> Decision:
        """The one place where rows meet the gate."""


class RecipientVerbs:
    """Verbs and questions about those who are told."""

    @property
    def runtime(self) -> Runtime:
        """The catalogue at work on a database."""
        raise AssertionError("a kit has a runtime")

    def deliver(self, progress: Progress | None = None) -> Delivered:
        """One round: queue what was sealed, send what is due to every recipient, in the order of the ledger.

        Any number may run at once. On SQLite what is pending is sealed first; with PostgreSQL a sealer has to run.
        `more` of the result: call it again now. Raises StoreUnavailable, and ConsentKitError for a
        CONSENTKIT_WEBHOOK_CA that cannot be read.
        """
        from consentkit.integrations.webhooks import connecting

        runtime = self.runtime
        runtime.ensure()
        if not runtime.database.postgresql:
            try:
                runtime.seal()
            except StoreUnavailable:
                raise
            except ConsentKitError as error:  # what is sealed already is delivered all the same
                log(logging.ERROR, "sealing_failed", "cannot seal: %(error)s", error=harmless(error))
        return deliver(runtime, self._may, connecting(runtime.webhooks), progress)

    def _may(self, subject: str, purposes: Sequence[str], scope: str) -> dict[str, bool]:
        """What the gate says now. A loader of the host that raises knows nothing, and that allows nothing."""
        kit, runtime = cast(_Gate, self), self.runtime
        rules, state = runtime.rules(), runtime.reader.state("", subject)
        try:
            found = {
                key: kit.answer(rules, f"purpose:{key}", subject, state, scope=scope, exceptions=False)
                for key in purposes
            }
        except StoreUnavailable:
            raise
        except Exception as error:
            log(logging.ERROR, "loader_failed", "a loader raised: %(error)s", error=harmless(error))
            return dict.fromkeys(purposes, False)
        return {key: decision.allowed for key, decision in found.items()}

    def deliveries(
        self, *, subject: str | None = None, event_id: str | None = None, tenant: str | None = None
    ) -> list[Delivery]:
        """What the messages about a subject's events, or about one event, have come to; oldest event first.

        Tenants' events are told to nobody. Raises StoreUnavailable, ValueError unless one of the two is given.
        """
        if (subject is None) == (event_id is None):
            raise ValueError("deliveries() needs subject= or event_id=")
        ledger = Ledger(self.runtime)
        if subject is not None:
            return deliveries_of(self.runtime, ledger.of_subject(subject, tenant=tenant))
        event = ledger.event(event_id or "", tenant=tenant or "")
        return [] if event is None else deliveries_of(self.runtime, [event])

    def recipients(self) -> list[Recipient]:
        """Everybody who is told by webhook, or was, and what waits for them. Raises StoreUnavailable."""
        self.runtime.ensure()
        parties = self.runtime.catalog.parties
        standings, (unqueued, _) = self.runtime.database.read(
            lambda tx: (deliveries.standings(tx), lag.unqueued(tx))
        )
        return [
            Recipient(
                key=s.recipient,
                name=parties[s.recipient].name if s.recipient in parties else "",
                waiting=s.open,
                since=_moment(s.oldest_us),
                disabled_at=_moment(s.disabled_us),
                attempts=s.attempts,
                next_try_at=_moment(s.next_try_us),
                error=s.last_error,
                unqueued=unqueued if s.since_leaf >= 0 else 0,
            )
            for s in standings
        ]

    def redeliver(self, event_id: str, recipient: str | None = None) -> list[str]:
        """Send the message about an event once more, in the next round, under its old id; returns to whom.

        Without `recipient`: to everybody whom the event concerns. Raises LookupError for an event that there is
        not, ChoiceRejected where nothing can be sent, StoreUnavailable.
        """
        runtime = self.runtime
        runtime.ensure()
        event = runtime.reader.event(event_id, "")
        if event is None:
            raise LookupError(f"there is no event {event_id!r}")
        leaf = event.leaf_index
        if leaf is None or leaf > runtime.database.read(deliveries.queued_up_to):
            raise ChoiceRejected("the event is not queued yet: `flask consent deliver` does that")
        parties = {*runtime.database.read(told_since), *audiences(runtime).webhooks}
        messages = dict(outbox_of(runtime, self._may).messages(event, dict.fromkeys(parties, 0)))
        chosen = {party: sealed for party, sealed in messages.items() if recipient in (None, party)}
        if not chosen:
            raise ChoiceRejected(f"the event does not concern {recipient or 'anybody who is told'}")
        if None in chosen.values():
            raise ChoiceRejected("the id of the event's subject was erased, so there is nobody to name")
        now_us = runtime.clock.now()

        def work(tx: Tx) -> None:
            for party, sealed in chosen.items():
                send_again(tx, party, leaf, now_us, sealed or b"")

        runtime.database.write(work)
        return sorted(chosen)

    def drop_messages(self, recipient: str, reason: str) -> int:
        """Give up what is open for a party that is told no more; how many. It is on record as dropped, never as told.

        `reason`: a short word such as `dissolved`. Raises LookupError for a recipient that there is not,
        ChoiceRejected for one that is told, or another reason; StoreUnavailable.
        """
        if not REASON.fullmatch(reason):
            raise ChoiceRejected("reason= is a short word such as dissolved: the record keeps no free text")
        self.runtime.ensure()
        found = {s.recipient: s for s in self.runtime.database.read(deliveries.standings)}
        if recipient not in found:
            raise LookupError(f"nothing is open for a recipient {recipient!r}")
        if found[recipient].since_leaf >= 0:
            raise ChoiceRejected(
                f"{recipient!r} is told: take its webhook out of the catalogue, and publish that"
            )
        return Deliverer(self.runtime.database).drop(recipient, self.runtime.clock.now(), reason)

    def enable_recipient(self, recipient: str) -> bool:
        """Tell a recipient again that wanted no more (410), and try what waits now; False for one there is not."""
        self.runtime.ensure()
        return Deliverer(self.runtime.database).enable(recipient)


def deliveries_of(runtime: Runtime, events: Sequence[Event]) -> list[Delivery]:
    """What the messages about these events have come to; those that are not queued yet are pending, too."""
    who = audiences(runtime)
    told = [e for e in events if rule_of(e.kind, e.action, e.item) is not None]
    if not told or of_tenant(told[0]):
        return []
    leaves = [event.leaf_index for event in told if event.leaf_index is not None]

    def look(tx: Tx) -> tuple[int, dict[str, int], list[Row]]:
        return deliveries.queued_up_to(tx), told_since(tx), deliveries.rows_of(tx, leaves)

    upto, since, rows = runtime.database.read(look)
    of_leaf: dict[int, list[Row]] = {}
    for row in rows:
        of_leaf.setdefault(row.leaf_index, []).append(row)
    found = []
    for event in told:
        leaf = event.leaf_index
        if leaf is None or leaf > upto:
            among = {*since, *who.webhooks}
            keys = [r for r in who.told(event, among) if leaf is None or since.get(r, 0) <= leaf]
            found += [_delivery(who, event, Row(-1, key, PENDING)) for key in keys]
        else:
            found += [_delivery(who, event, row) for row in of_leaf.get(leaf, ())]
    return found


def received_by(runtime: Runtime, event: Event) -> dict[str, Any]:
    """Who receives data, and where they are processed, as the version of the purpose said that was answered."""
    releases = runtime.published.purposes.get(event.item, ()) if event.kind == Kind.PURPOSE else ()
    said: dict[str, Any] = next(
        (json.loads(r.definition) for r in releases if str(r.version) == event.version), {}
    )
    parties = runtime.catalog.parties
    known = [parties.get(key, Party(key, name=key)) for key in said.get("recipients", ())]
    recipients = [{"key": party.key, "name": party.name, "country": party.country} for party in known]
    return {"recipients": recipients, "locations": said.get("locations", [])}


def _delivery(who: Audiences, event: Event, row: Row) -> Delivery:
    party = who.catalog.parties.get(row.recipient)
    gone = row.status == PENDING and row.disabled_us is not None
    return Delivery(
        event_id=event.event_id,
        type=type_of(event),
        item=event.item,
        recipient=row.recipient,
        name=party.name if party is not None else "",
        status="gone" if gone else row.status,
        since=event.recorded_at,
        delivered_at=_moment(row.delivered_us),
        attempts=row.attempts,
        tried_at=_moment(row.tried_us),
        next_try_at=_moment(row.next_try_us),
        error=row.last_error,
    )


def _moment(us: int | None) -> datetime | None:
    return None if us is None else from_us(us)
