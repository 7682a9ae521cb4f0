"""What is done at the guardian's page: answer, confirm, be verified, see what is recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from hmac import compare_digest
from typing import Any

from consentkit.core.errors import ChoiceRejected, TokenInvalid, VerifierFailed
from consentkit.core.inviting import Reply
from consentkit.core.record import Event
from consentkit.core.times import AHEAD_US, from_us, to_us
from consentkit.core.tokens import new_secret
from consentkit.core.verification import GuardianCheck, GuardianMethod, VerificationResult, Verifier
from consentkit.guardians.answering import Proof
from consentkit.guardians.setup import link_hash
from consentkit.guardians.visiting import Page, Visit, Visits
from consentkit.kit import Kit
from consentkit.store.inviting import Row, Standing

CHECKS = 10
"""How often a verifier, who may cost money, is asked for one invitation."""


class Desk(Visits):
    """One kit's counter for guardians."""

    kit: Kit

    def __init__(self, kit: Kit) -> None:
        super().__init__(kit, kit.guardian)

    def reply(self, visit: Visit, reply: Reply) -> list[Event]:
        """Record what was answered. Raises NoticeOutdated, ChoiceRejected, GuardianNotNeeded, TokenInvalid."""
        if visit.page not in (Page.ANSWER, Page.VERIFY, Page.PAPER):
            raise TokenInvalid("this was answered already", expired=True)
        if not visit.may_allow.issuperset(reply.yes):
            raise ChoiceRejected("who allows something has to be verified first")
        return self.answer(
            visit.row, visit.subject, reply, self._proof(visit), self.browser_of(visit.session)
        )

    def second(self, visit: Visit, *, agreed: bool) -> list[Event]:
        """The answer to the second message. Raises NoticeOutdated, GuardianNotNeeded, TokenInvalid."""
        if visit.page is not Page.CONFIRM:
            raise TokenInvalid("there is nothing to confirm", expired=True)
        return self.confirm(visit.row, visit.subject, agreed, self.browser_of(visit.session))

    def receipt(self, visit: Visit) -> dict[str, Any]:
        """This guardian's own answers, with proofs. The child's id only for a guardian who was verified."""
        whole = self.kit.receipt(visit.subject, tenant=visit.row.tenant)
        actor = f"guardian:{visit.row.body.number}"
        answers = [answer for answer in whole["answers"] if answer["actor"] == actor]
        last = answers[-1]["event_id"] if answers else None
        subject = visit.subject if visit.verified else None
        return {**whole, "id": last, "subject": subject, "guardian": actor, "answers": answers}

    def export(self, visit: Visit) -> dict[str, Any]:
        """Everything the ledger holds about the child (16 CFR 312.6). Raises ChoiceRejected for one not verified."""
        if not visit.verified:
            raise ChoiceRejected("only a guardian who was verified may see what is recorded about the child")
        whole: dict[str, Any] = self.kit.export(visit.subject, tenant=visit.row.tenant)
        return whole

    # ------------------------------------------------------------ being verified

    def start_check(self, visit: Visit) -> str:
        """Where the browser is led to be verified. Raises VerifierFailed, ChoiceRejected, NotSetUp."""
        method = GuardianMethod(visit.row.body.method)
        if not method.needs_verifier or visit.page not in (Page.VERIFY, Page.ANSWER):
            raise ChoiceRejected("nobody is checked for this")
        verifier, address = self.setup.verifier_for(method), self.setup.address()
        secret, now_us = new_secret(), self.runtime.clock.now()
        started = {
            "reference": link_hash(self.runtime.keyed, secret),
            "browser": self.browser_of(visit.session),
            "provider": verifier.name,
            "started_us": now_us,
        }
        if visit.row.body.checks >= CHECKS:
            raise VerifierFailed("nobody is checked more often for one invitation")
        body = replace(visit.row.body, check=started, verified=None, checks=visit.row.body.checks + 1)
        self.put(visit.row, replace(visit.row, body=body))
        reference = f"{visit.row.invitation}.{secret}"
        callback = f"{address}/callback/{verifier.name}"
        return verifier.start(GuardianCheck(reference, method, visit.row.body.locale, address, callback))

    def finish_check(self, verifier: Verifier, headers: Mapping[str, str], sent: bytes) -> bool:
        """Take a verifier's signed result, once. Raises TokenInvalid for one that is not genuine, old or replayed."""
        runtime = self.runtime
        runtime.ensure()
        now_us = runtime.clock.now()
        result = verifier.read(headers, sent, from_us(now_us))
        invitation, _, secret = result.reference.partition(".")
        row = self.find(invitation)
        check = (row.body.check if row is not None else None) or {}
        if row is None or not self._fits(row, check, verifier, result, link_hash(runtime.keyed, secret)):
            raise TokenInvalid("there is no such check, or its result was here already")
        found = None
        if result.verified:
            found = {
                "browser": check["browser"],
                "provider": verifier.name,
                "at_us": to_us(result.at),
                "evidence": result.evidence,
            }
        left = None if result.verified else {"failed": True}
        self.put(row, replace(row, body=replace(row.body, check=left, verified=found)))
        return result.verified

    def _fits(
        self,
        row: Row,
        check: Mapping[str, Any],
        verifier: Verifier,
        result: VerificationResult,
        reference: str,
    ) -> bool:
        asked = compare_digest(str(check.get("reference", "")), reference)
        same = check.get("provider") == verifier.name and result.method == row.body.method
        now = from_us(self.runtime.clock.now())
        ahead = timedelta(microseconds=AHEAD_US)
        timely = asked and from_us(check["started_us"]) - ahead <= result.at <= now + ahead
        return (
            asked
            and same
            and timely
            and row.status in (Standing.OPEN, Standing.ANSWERED)
            and self.is_alive(row)
        )

    def _proof(self, visit: Visit) -> Proof:
        method, now_us = GuardianMethod(visit.row.body.method), self.runtime.clock.now()
        if method.needs_verifier:
            seen = visit.row.body.verified or {}
            if not self.is_verified(visit.row, visit.session):
                return Proof()
            evidence = (("evidence", seen["evidence"]),) if seen["evidence"] else ()
            extra = (("provider", seen["provider"]), ("verified_us", seen["at_us"]), *evidence)
            return Proof(level=method.assurance.level, extra=extra)
        if method is GuardianMethod.EMAIL:
            return Proof(level=method.assurance.level, extra=(("verified_us", now_us),))
        return Proof()
