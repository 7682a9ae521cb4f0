"""Inviting a guardian, sending one a fresh link, and taking an invitation back."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

from consentkit.core.errors import AskedTooOften, ChoiceRejected, GuardianNotNeeded, MessageNotSent
from consentkit.core.inviting import check_askable
from consentkit.core.minors import is_guarded
from consentkit.core.record import Event
from consentkit.core.terms import Action
from consentkit.core.times import Duration
from consentkit.core.tokens import new_secret
from consentkit.core.verification import GuardianMethod
from consentkit.guardians.sending import Messages
from consentkit.guardians.setup import Draft, ended
from consentkit.kit_ledger import Ledger
from consentkit.logs import log, where
from consentkit.store import inviting
from consentkit.store.database import Tx
from consentkit.store.inviting import Row, Standing
from consentkit.store.reading import SubjectState

ACCESS_VALID = "PT1H"


class Invitations(Messages):
    """What the verbs of `kit_guardian` do."""

    def invite(self, draft: Draft) -> str:
        """Enter, send, and record that it was asked. The invitation's id."""
        catalog, now_us = self.runtime.catalog, self.runtime.clock.now()
        if draft.method.needs_verifier:
            self.setup.verifier_for(draft.method)
        rules, facts = self.facts.rules(catalog), self.facts_of(draft, now_us)
        place = catalog.places.at(facts.jurisdiction)
        if rules is None or not is_guarded(facts, rules, place.ages, now_us):
            raise GuardianNotNeeded("the subject is not known as a minor, and answers alone")
        check_askable(catalog, place, draft.items, draft.method)
        secret, expires_us = new_secret(), Duration.parse(rules.invitation_valid_for).after(now_us)
        row, code = self.enter(draft, secret, expires_us, facts)
        if row.status is not Standing.WITHHELD:
            self.send_or_forget(draft, row, secret, code)
        self.request(row, draft.subject, draft.items, row.expires_us)
        return row.invitation

    def give_access(self, draft: Draft) -> None:
        """Send a link to a contact that has answered for this child; to any other one nothing."""
        state = self.runtime.reader.state(draft.tenant, draft.subject)
        if state.key is None or state.facts.erased_us is not None:
            return
        number = self.number(draft, state.key)
        items = self._items(state, number)
        known = self._is_guarded(draft) and any(r.actor == f"guardian:{number}" for r in state.rows)
        draft = replace(draft, items=items, method=self._last_method(draft, number))
        secret, now_us = new_secret(), self.runtime.clock.now()
        expires_us = Duration.parse(ACCESS_VALID).after(now_us)
        try:
            row, code = self.enter(draft, secret, expires_us, None, withheld=not known)
        except AskedTooOften:  # nobody is to learn by this whether the contact is known
            return
        if row.status is Standing.WITHHELD:
            return
        try:
            self.send_or_forget(draft, row, secret, code)
        except MessageNotSent as error:  # to say so would say that the contact is known
            message = "a guardian's link was not sent: %(error)s\n%(at)s"
            cause = type(error.__cause__).__name__
            log(
                logging.ERROR,
                "guardian_link_failed",
                message,
                error=cause,
                at=where(error.__cause__ or error),
            )

    def cancel(self, invitation: str) -> list[Event]:
        """End an invitation and record that nobody is asked any more."""

        def work(tx: Tx) -> tuple[Row, str]:
            row = inviting.find(tx, invitation)
            known = None if row is None else inviting.subject_of(tx, row.bucket, row.subject_key)
            if row is None or known is None or not row.is_open:
                raise ChoiceRejected(f"there is no open invitation {invitation!r}")
            inviting.swap(tx, row, ended(row, Standing.OVER))
            return row, known[0]

        row, subject = self.runtime.database.write(work)
        return self.request(row, subject, row.body.items, None, Action.LIFTED)

    def _is_guarded(self, draft: Draft) -> bool:
        catalog, now_us = self.runtime.catalog, self.runtime.clock.now()
        facts = self.facts_of(draft, now_us)
        return is_guarded(
            facts, self.facts.rules(catalog), catalog.places.at(facts.jurisdiction).ages, now_us
        )

    def _items(self, state: SubjectState, number: int) -> tuple[str, ...]:
        """What this guardian has answered or was asked."""
        actors, rules = (f"guardian:{number}", f"invitation:{number}"), self.runtime.rules().rules
        known = {r.item for r in state.rows if r.actor in actors and not r.scope}
        return tuple(item for item in rules if item in known)

    def _last_method(self, draft: Draft, number: int) -> GuardianMethod:
        """By which method this guardian was asked last."""
        events = Ledger(self.runtime).of_subject(draft.subject, tenant=draft.tenant)
        for event in reversed(events):
            said = json.loads(event.body).get("verification")
            if event.actor == f"guardian:{number}" and said in list(GuardianMethod):
                return GuardianMethod(said)
        return draft.method
