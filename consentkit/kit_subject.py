"""Verbs about a subject as a whole: erasure, another id."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection

from consentkit.core.errors import ChoiceRejected
from consentkit.core.ids import check_subject
from consentkit.core.record import Event
from consentkit.core.times import Duration
from consentkit.kit_record import Recorder, refuse_visitor
from consentkit.logs import log
from consentkit.store.erasing import MARK, MODES, Unsealed, erase, hide_overdue
from consentkit.store.journal import line_of, missing, unlisted
from consentkit.store.renaming import rename
from consentkit.store.retention import purge_superseded
from consentkit.store.visitors import erase_old_visitors

REASON = re.compile(r"[a-z0-9][a-z0-9_.-]{0,39}")
_SEALS = 3
T = TypeVar("T")


class SubjectVerbs(Recorder):
    """What is known of a subject, and its end."""

    def erase(
        self,
        subject: str,
        *,
        reason: str = "art17",
        mode: str = "unlink",
        tenant: str | None = None,
        connection: Connection | None = None,
    ) -> list[Event]:
        """Erase a subject (GDPR 17): from now on all but legal obligations answers ERASED.

        `mode="unlink"`: the events stay as pseudonymous proof, those with a scope are destroyed. `"destroy"`:
        all are, and the record of erasure lists their places in the tree. What is destroyed is sealed first.
        With `connection=` it is not in the erasure journal until `complete_journal`, or `flask consent purge`.
        Where nothing is left to do: an empty list. Raises ChoiceRejected for another mode or reason,
        Unsealed with `connection=` when something has to be sealed first, StoreUnavailable, ValueError.
        """
        check_subject(subject, tenant)
        if mode not in MODES:
            raise ChoiceRejected(f"mode={mode!r} is not known: write {' or '.join(map(repr, MODES))}")
        if not REASON.fullmatch(reason):
            raise ChoiceRejected("reason= is a short word such as art17: the record keeps no free text")
        self.runtime.ensure()
        events = self._erase(subject, reason, mode, tenant or "", connection)
        if self.runtime.journal is not None and connection is None:
            self.runtime.journal.add(line_of(event, mode) for event in events)
        if events and connection is None:
            log(
                logging.INFO, "erased", "a subject was erased: %(mode)s, %(reason)s", mode=mode, reason=reason
            )
        self._recorded(subject, tenant or "", events, connection)
        return events

    def _erase(
        self, subject: str, reason: str, mode: str, tenant: str, connection: Connection | None
    ) -> list[Event]:
        doing = partial(erase, self.runtime.writer, tenant, subject, reason, mode, connection)
        return doing() if connection is not None else self._sealed_first(doing)

    def _sealed_first(self, destroy: Callable[[], T]) -> T:
        """Seal, as often as others go on writing, what has to be in the tree before it is destroyed."""
        for _ in range(_SEALS):
            try:
                return destroy()
            except Unsealed:
                self.runtime.seal()
        return destroy()

    def purge(self) -> int:
        """Hide the ids of subjects whose erasure is older than the site's `erasure_deadline`; how many."""
        self.runtime.ensure()
        deadline = Duration.parse(self.runtime.catalog.site.erasure_deadline)
        return hide_overdue(self.runtime.writer, self.runtime.clock.now(), deadline)

    def purge_events(self) -> int:
        """Destroy superseded answers whose purpose's `retention` is over; how many. The last answers stay.

        `retention` counts where it is an ISO 8601 duration; sealed events only. Raises StoreUnavailable.
        """
        self.runtime.ensure()
        gone = 0
        for purpose in self.runtime.catalog.purposes.values():
            with suppress(ValueError):
                retention = Duration.parse(purpose.retention)
                gone += purge_superseded(
                    self.runtime.writer, purpose.key, retention, self.runtime.clock.now()
                )
        return gone

    def purge_visitors(self, progress: Callable[[int], None] | None = None) -> int:
        """Erase the anonymous visitors of whom nothing was recorded for the site's `visitor_retention`; how many.

        As `erase` with `mode="unlink"`, with the reason `visitor_retention`; not in the journal, because after a
        restore the next run does it again. Raises StoreUnavailable.
        """
        self.runtime.ensure()
        retention, gone = Duration.parse(self.runtime.catalog.site.visitor_retention), 0
        writer, now_us = self.runtime.writer, self.runtime.clock.now()
        for said in erase_old_visitors(writer, retention, now_us, self._sealed_first):
            for visitor, event in said:
                self._recorded(visitor, "", [event])
            gone += len(said)
            if progress is not None:
                progress(gone)
        if gone:
            log(logging.INFO, "visitors_erased", "erased %(count)d visitors", count=gone)
        return gone

    def complete_journal(self) -> int:
        """Enter what the erasure journal lacks: erasures of a transaction of yours, or while it could not be written.

        `flask consent purge` does this. Returns how many. Raises StoreUnavailable, ConsentKitError for the file.
        """
        self.runtime.ensure()
        journal = self.runtime.journal
        lacking = unlisted(self.runtime.database, journal) if journal is not None else []
        if journal is not None:
            journal.add(lacking)
        return len(lacking)

    def reapply_erasures(self) -> int:
        """Erase again what the journal lists and the database has forgotten (a restored backup); how many.

        First every subject is marked, so that nothing is processed; then events are destroyed, which has to seal:
        where the anchor is ahead of the database it raises LedgerBroken, and `flask consent new-log` comes first.
        """
        self.runtime.ensure()
        journal = self.runtime.journal
        forgotten = [
            (line, subject)
            for line in (journal.lines() if journal is not None else ())
            if (subject := self.runtime.database.read(lambda tx, line=line: missing(tx, line))) is not None  # type: ignore[misc]
        ]
        marked = {
            (line.tenant, subject)
            for line, subject in forgotten
            if erase(self.runtime.writer, line.tenant, subject, line.reason, MARK)
        }
        for line, subject in forgotten:
            self.erase(subject, reason=line.reason, mode=line.mode, tenant=line.tenant)
        return len(marked)

    def rename(self, old: str, new: str, *, tenant: str | None = None) -> list[Event]:
        """Carry a subject's answers over to another id of the host, as of the instants they were said.

        The old id is erased; each new event names the one it continues. Raises ChoiceRejected,
        StoreUnavailable, ValueError.
        """
        check_subject(old, tenant)
        refuse_visitor(new)
        self.runtime.ensure()
        events = rename(self.runtime.writer, self.runtime.reader, tenant or "", old, new)
        self._forget(old, tenant or "")
        self._recorded(new, tenant or "", events)
        return events
