"""What has to happen by itself with invitations: second messages, and forgetting."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from consentkit.core.inviting import CONFIRM
from consentkit.core.times import Duration
from consentkit.core.tokens import new_code, new_secret
from consentkit.core.verification import GuardianMethod
from consentkit.guardians.sending import Messages
from consentkit.guardians.setup import Draft, code_hash, ended, link_hash
from consentkit.logs import log, where
from consentkit.store import inviting
from consentkit.store.inviting import Row, Standing

AGAIN_US = 3600 * 1_000_000


@dataclass(frozen=True, slots=True)
class Tended:
    """What `tend_invitations` has done: second messages sent and not sent, invitations ended and forgotten."""

    confirmations: int = 0
    failures: int = 0
    ended: int = 0
    forgotten: int = 0


class Tending(Messages):
    """Run by a command, because an app has no threads of consentkit's."""

    def tend(self) -> Tended:
        """Send the second messages that are due, forget contacts of invitations that are over. Run it by cron.

        Raises StoreUnavailable, NotSetUp where there is no guardian_mailer.
        """
        self.runtime.ensure()
        done = Tended()
        seen: set[str] = set()
        while True:
            now_us = self.runtime.clock.now()
            rows = self.runtime.database.read(lambda tx, t=now_us: inviting.due(tx, t))  # type: ignore[misc]
            rows = [row for row in rows if row.invitation not in seen]
            if not rows:
                return done
            for row in rows:
                seen.add(row.invitation)
                done = self._tend(row, now_us, done)

    def _tend(self, row: Row, now_us: int, done: Tended) -> Tended:
        if row.status is Standing.WAITING and not row.body.sent and now_us < row.expires_us:
            sent = self._ask_again(row, now_us)
            return replace(done, confirmations=done.confirmations + sent, failures=done.failures + (not sent))
        if row.status in (Standing.OPEN, Standing.WAITING):
            over = ended(row, Standing.OVER)
            self.runtime.database.write(lambda tx: inviting.swap(tx, row, over))
            return replace(done, ended=done.ended + 1)
        self.runtime.database.write(lambda tx: inviting.drop(tx, row))
        return replace(done, forgotten=done.forgotten + 1)

    def _ask_again(self, row: Row, now_us: int) -> bool:
        """Send the second message about a yes; False when that failed and is tried again in an hour."""
        keyed, secret, code = self.runtime.keyed, new_secret(), new_code(row.bucket)
        kept = self.kept(row)
        subject = self.runtime.database.read(lambda tx: inviting.subject_of(tx, row.bucket, row.subject_key))
        rules = self.facts.rules(self.runtime.catalog)
        if subject is None or rules is None:
            return False
        expires_us = Duration.parse(rules.invitation_valid_for).after(now_us)
        body = replace(row.body, step=row.body.step + 1, sent=True, link=link_hash(keyed, secret), used_by="")
        body = replace(body, code=code_hash(keyed, row.invitation, code.secret))
        new = replace(row, body=body, place=code.place, attempts=0, expires_us=expires_us, due_us=expires_us)
        if not self.runtime.database.write(lambda tx: inviting.swap(tx, row, new)):
            return True  # somebody else has just sent it
        about_it = (CONFIRM, row.tenant, subject[0], tuple(row.body.answers or ()))
        draft = Draft(*about_it, GuardianMethod(body.method), body.locale, kept["contact"], kept["child"])
        try:
            self.send(draft, new, secret, str(code))
        except Exception as error:
            log(
                logging.ERROR,
                "guardian_message_failed",
                "a second message was not sent\n%(at)s",
                at=where(error),
            )
            later = replace(row, due_us=now_us + AGAIN_US)
            self.runtime.database.write(lambda tx: inviting.swap(tx, new, later))
            return False
        return True
