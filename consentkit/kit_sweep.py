"""The minors sweep: finds children's data without a guardian's consent, has it deleted, says who has not yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from consentkit.core.errors import ChoiceRejected
from consentkit.core.gate import decide_one
from consentkit.core.ids import check_subject
from consentkit.core.minors import Facts
from consentkit.core.propagation import Audiences
from consentkit.core.record import BUCKETS, Answer, Event
from consentkit.core.sweeping import (
    GUARDIAN_MISSING,
    HOST,
    WANTING,
    confirmation,
    confirmations,
    deletion,
    gated,
    purposes_of,
    refused,
    reminder,
    requested,
    wanting_since,
)
from consentkit.core.terms import Action, Kind
from consentkit.core.times import Duration, from_us
from consentkit.core.view import View
from consentkit.kit_minors import MinorVerbs
from consentkit.store import sweeping
from consentkit.store.database import Tx
from consentkit.store.sweeping import Child

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep has done: how many subjects were looked at, how many deletions required or reminded of.

    `turned_away`: children who are not allowed, of whom it was not known before.
    """

    looked_at: int = 0
    required: int = 0
    reminded: int = 0
    turned_away: int = 0


@dataclass(frozen=True, slots=True)
class Deletion:
    """A deletion that was required, and who has not confirmed it: `host`, and keys of parties."""

    subject: str
    tenant: str
    since: datetime
    purposes: tuple[str, ...]
    reason: str
    waiting: tuple[str, ...]


class SweepVerbs(MinorVerbs):
    """Children's data that may not be kept."""

    def sweep_minors(self, progress: Progress | None = None) -> Swept:
        """Require the deletion of children's data for which no verified guardian has answered in time.

        Each required deletion is an event, the signal `delete_required`, and a message to the recipients' webhooks;
        while the host has not confirmed it, a reminder after each `purge_after`. Where children are not allowed,
        what the ledger holds of one is destroyed. Run again it finds nothing new. Raises StoreUnavailable,
        ConsentKitError where events have to be sealed first and there is no key for it.
        """
        self.runtime.ensure()
        swept = Swept()
        if self.facts.rules(self.runtime.catalog) is None:
            return swept
        for bucket in range(BUCKETS):
            found = sweeping.children(self.runtime.database, bucket, unknown=self.facts.age is not None)
            swept = self._sweep(found, swept)
            if progress is not None and found:
                progress(swept.looked_at)
        return swept

    def confirm_deleted(self, subject: str, *, by: str = HOST, tenant: str | None = None) -> list[Event]:
        """Record that what was required of a subject is deleted: by the host, or `by` a party that received data.

        Nothing is open, or it was confirmed before: an empty list. Raises ChoiceRejected, StoreUnavailable,
        ValueError.
        """
        check_subject(subject, tenant)
        self.runtime.ensure()
        if by != HOST and by not in self.runtime.catalog.parties:
            raise ChoiceRejected(f"by={by!r}: write {HOST!r}, or the key of a party of the catalogue")

        def judge(_tx: Tx, one: Child) -> Answer | None:
            is_open = requested(one.rows) is not None and by not in confirmations(one.rows)
            return confirmation(by) if is_open else None

        one = self.runtime.database.read(lambda tx: sweeping.child(tx, tenant or "", subject))
        if one is None:
            return []
        done = sweeping.record(self.runtime.writer, [(one, confirmation(by))], judge)
        events = [event for _, event in done]
        self._recorded(subject, tenant or "", events)
        return events

    def unconfirmed_deletions(self) -> Iterator[Deletion]:
        """Every deletion that was required and that somebody has not confirmed. Streams.

        A recipient confirms by its answer to the webhook; for one without, call `confirm_deleted`.
        """
        self.runtime.ensure()
        told = Audiences(self.runtime.catalog, self.runtime.published)
        for bucket in range(BUCKETS):
            for one in sweeping.asked_to_delete(self.runtime.database, bucket):
                found = self.runtime.database.read(lambda tx, one=one: _open(tx, one, told))  # type: ignore[misc]
                if found is not None:
                    yield found

    def _sweep(self, found: Sequence[Child], swept: Swept) -> Swept:
        """One bucket."""
        turned = sum(self._swept_away(one) for one in found)
        judged = self.runtime.database.read(lambda tx: [(one, self._judge(tx, one)) for one in found])
        said = [(one, answer) for one, answer in judged if answer is not None]
        events = []
        for start in range(0, len(said), sweeping.AT_ONCE):
            some = said[start : start + sweeping.AT_ONCE]
            done = sweeping.record(self.runtime.writer, some, self._judge)
            for one, event in done:
                self._recorded(one.subject, one.tenant, [event])
                self._tell_to_delete(one.tenant, one.subject, event)
            events += [event for _, event in done]
        required = sum(event.action == Action.REQUESTED for event in events)
        return Swept(
            swept.looked_at + len(found),
            swept.required + required,
            swept.reminded + len(events) - required,
            swept.turned_away + turned,
        )

    def _swept_away(self, one: Child) -> bool:
        """Turn away a child who is not allowed and was not yet, or of whom not everything is destroyed."""
        facts = self._facts_now(one)
        if not self._is_refused(facts) or requested(one.rows) is not None:
            return False
        if refused(one.rows) is None:
            super()._turn_away(one.tenant, one.subject, facts)
        self._expel(one.tenant, one.subject, sealing=True)
        return refused(one.rows) is None

    def _facts_now(self, one: Child) -> Facts:
        """As the gate sees them."""
        catalog, now_us = self.runtime.catalog, self.runtime.clock.now()
        known = one.state.facts
        return known if one.tenant else self.facts.complete(catalog, one.subject, known, now_us)

    def _judge(self, tx: Tx, one: Child) -> Answer | None:
        """What has to be recorded of a child now: a deletion, a reminder, or nothing."""
        rules, now_us = self.facts.rules(self.runtime.catalog), self.runtime.clock.now()
        if rules is None or (
            one.is_visitor and not any(r.grants for r in one.rows if r.kind == Kind.PURPOSE)
        ):
            return None
        over = Duration.parse(rules.purge_after).after
        wanting = {key: since for key, since in self._wanting(one).items() if over(since) <= now_us}
        asked, done_us = requested(one.rows), confirmations(one.rows).get(HOST)
        if asked is None:
            return deletion(wanting, GUARDIAN_MISSING) if wanting else None
        said = sweeping.body_of(tx, asked.event_id)
        before = purposes_of(said)
        if done_us is not None:
            again = {key for key, since in wanting.items() if key not in before or since > done_us}
            return deletion(again, GUARDIAN_MISSING) if again else None
        if wanting.keys() - before:
            return deletion(wanting.keys() | before, GUARDIAN_MISSING)
        due = over(max(asked.effective_us, sweeping.reminded_us(tx, one))) <= now_us
        return reminder(before, said["reason"]) if due else None

    def _wanting(self, one: Child) -> dict[str, int]:
        """The purposes that are closed for want of a guardian, and since when nobody is about to answer."""
        runtime = self.runtime
        book, facts = runtime.rules(), self._facts_now(one)
        view = View(
            now_us=runtime.clock.now(),
            place=runtime.catalog.places.at(facts.jurisdiction),
            rows=one.rows,
            facts=facts,
            minors=self.facts.rules(runtime.catalog),
            rules=book.rules,
            core=book.core,
        )
        found = {}
        for key in gated(runtime.catalog):
            if decide_one(book.rules[key], view).reason in WANTING:
                first_us = runtime.published.purposes[key][0].published_us
                found[key] = wanting_since(key, one.rows, max(one.facts_us, first_us))
        return found


def _open(tx: Tx, one: Child, told: Audiences) -> Deletion | None:
    """The last deletion that was required of a subject, where somebody has not confirmed it."""
    asked = requested(one.rows)
    if asked is None:
        return None
    said, done = sweeping.body_of(tx, asked.event_id), confirmations(one.rows)
    purposes = purposes_of(said)
    recipients = told.of_purposes(purposes) - sweeping.delivered_to(tx, one, asked)
    waiting = [who for who in (HOST, *sorted(recipients)) if who not in done]
    if not waiting:
        return None
    since = from_us(asked.effective_us)
    return Deletion(
        one.subject, one.tenant, since, tuple(sorted(purposes)), str(said.get("reason")), tuple(waiting)
    )
