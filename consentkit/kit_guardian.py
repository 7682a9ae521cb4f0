"""Verbs about guardians. The pages that the links lead to ask `guardians.desk`."""

from __future__ import annotations

from typing import TypeVar

from consentkit.core.catalog import SLUG
from consentkit.core.inviting import ACCESS, INVITE
from consentkit.core.record import Event
from consentkit.core.verification import Verifier
from consentkit.guardians.answering import Replies
from consentkit.guardians.inviting import Invitations
from consentkit.guardians.setup import GuardianSetup, Mailer
from consentkit.guardians.tending import Tended, Tending
from consentkit.kit_policies import PolicyVerbs
from consentkit.kit_record import Keys, keys_of, refuse_visitor

M = TypeVar("M", bound=Mailer)


class GuardianVerbs(PolicyVerbs):
    """Whoever holds parental responsibility is asked by a link, and answers on a page of consentkit."""

    guardian: GuardianSetup

    def guardian_mailer(self, function: M) -> M:
        """The callback that sends a message: `function(invitation)`. When it raises, nobody was invited."""
        self.guardian.mailer = function
        return function

    def add_verifier(self, verifier: Verifier) -> None:
        """Somebody who checks guardians, by card, identity document or call. Raises ValueError for an odd name."""
        if not SLUG.fullmatch(verifier.name):
            raise ValueError(f"a verifier's name is a short word such as harbour-id, not {verifier.name!r}")
        self.guardian.verifiers[verifier.name] = verifier

    def invite_guardian(
        self,
        subject: str,
        purposes: Keys,
        *,
        contact: str,
        method: str,
        child: str = "",
        locale: str | None = None,
        tenant: str | None = None,
    ) -> str:
        """Ask a guardian about purposes and policies, by a link that your `guardian_mailer` sends.

        `contact`: an e-mail address or a telephone number, kept encrypted until it is answered or over. `child`: how
        the page calls the child. The same happens for known and unknown contacts. Returns the invitation's id.
        Raises GuardianNotNeeded, AssuranceTooLow, AskedTooOften, ChoiceRejected, MessageNotSent, UnknownPurpose,
        StoreUnavailable, NotSetUp, ValueError.
        """
        refuse_visitor(subject)
        office = Invitations(self, self.guardian)
        return office.invite(
            office.draft(INVITE, subject, tenant, locale, contact, child, method, keys_of(purposes))
        )

    def guardian_access(
        self,
        subject: str,
        *,
        contact: str,
        child: str = "",
        locale: str | None = None,
        tenant: str | None = None,
    ) -> None:
        """Send a guardian a fresh link to the own page: see, change, withdraw, export.

        Nothing is returned, and nothing is sent to a contact that has not answered for this child. A message that
        cannot be sent is logged. Raises StoreUnavailable, NotSetUp, ValueError.
        """
        refuse_visitor(subject)
        office = Invitations(self, self.guardian)
        office.give_access(office.draft(ACCESS, subject, tenant, locale, contact, child))

    def cancel_invitation(self, invitation: str) -> list[Event]:
        """Take an invitation back: its link is worth nothing from now on.

        Raises ChoiceRejected where there is no open one of this id, StoreUnavailable.
        """
        self.runtime.ensure()
        return Invitations(self, self.guardian).cancel(invitation)

    def record_signed_form(
        self,
        invitation: str,
        *,
        give: Keys = (),
        refuse: Keys = (),
        disclose: Keys = (),
        evidence: str,
        operator: str,
    ) -> list[Event]:
        """Record the answers on a form that a guardian has signed, on an invitation by `signed_form`.

        Every item of the invitation is in `give` or `refuse`, and in `disclose` too where the tick about third
        parties is set. `evidence`: SHA-256 of the scan. `operator`: the staff id of who read it. Raises
        TokenInvalid, ChoiceRejected, StoreUnavailable, ValueError.
        """
        self.runtime.ensure()
        answers = (keys_of(give), keys_of(refuse), keys_of(disclose))
        return Replies(self, self.guardian).signed_form(invitation, *answers, evidence, operator)

    def tend_invitations(self) -> Tended:
        """Send the second messages that are due, forget the contacts of invitations that are over.

        `flask consent invitations` does this; run it by cron. Raises StoreUnavailable, NotSetUp where there is no
        guardian_mailer.
        """
        self.runtime.ensure()
        return Tending(self, self.guardian).tend()
