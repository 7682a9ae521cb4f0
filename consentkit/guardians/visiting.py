"""Who comes to the guardian's page, by which link or code, and what is to be shown.

Reading records nothing: whoever follows links in mails by machine changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hmac import compare_digest

from consentkit.core.errors import TokenInvalid
from consentkit.core.gate import Row as Said
from consentkit.core.inviting import ACCESS
from consentkit.core.minors import is_guarded
from consentkit.core.tokens import (
    Session,
    check_ticket,
    new_secret,
    read_code,
    read_session,
    read_ticket,
    signed,
)
from consentkit.core.verification import GuardianMethod
from consentkit.guardians.answering import Replies
from consentkit.guardians.setup import code_hash, ended, link_hash
from consentkit.store import inviting
from consentkit.store.inviting import Row, Standing


class AskedHere(TokenInvalid):
    """This request was made in this very browser, or by the account that is signed in here."""


class Page(StrEnum):
    """What is shown: the questions; what comes before them; what comes after."""

    ANSWER = "answer"
    VERIFY = "verify"
    PAPER = "paper"
    WAITING = "waiting"
    CONFIRM = "confirm"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Visit:
    """Somebody with a good session. `may_allow`: items to which a yes is possible here and now.

    `own`: this guardian's last answers by item; `failed`: a check was made and did not succeed.
    """

    row: Row
    session: Session
    subject: str
    child: str
    page: Page
    items: tuple[str, ...]
    may_allow: frozenset[str]
    own: Mapping[str, Said]
    verified: bool
    failed: bool


class Visits(Replies):
    """Links, codes and sessions. `marks`: texts that know the browser and the account that come."""

    def open_link(self, token: str, marks: Sequence[str]) -> Session:
        """A session for who has a link. Raises TokenInvalid, AskedHere."""
        runtime = self.runtime
        runtime.ensure()
        ticket = read_ticket(token, self.setup.signing_keys(runtime.keyed))
        row = self.find(ticket.invitation)
        try:
            check_ticket(ticket, runtime.clock.now())
        except TokenInvalid as error:
            if error.expired and row is not None and row.is_open and row.body.step == ticket.step:
                self._end(row)  # so that a clock that is moved back does not bring it to life again
            raise
        if row is None or row.body.step != ticket.step:
            raise TokenInvalid("this link is over: a newer message was sent, or nobody is asked any more")
        if not compare_digest(row.body.link, link_hash(runtime.keyed, ticket.secret)):
            raise TokenInvalid("this link is over", expired=row.status is not Standing.OPEN)
        return self._session(row, marks)

    def open_code(self, typed: str, marks: Sequence[str]) -> Session | None:
        """A session for who has typed a code; None for a wrong one, whatever is wrong about it. Raises AskedHere.

        A try is counted before the code is looked at, so that not even two at once make a sixth.
        """
        runtime = self.runtime
        runtime.ensure()
        code, keyed = read_code(typed), runtime.keyed
        rows = [] if code is None else runtime.database.read(lambda tx: inviting.find_by_code(tx, code))
        for row in rows:
            tried = runtime.database.write(lambda tx, r=row: inviting.try_code(tx, r))  # type: ignore[misc]
            secret = code.secret if code is not None else ""
            right = compare_digest(row.body.code, code_hash(keyed, row.invitation, secret))
            if tried and right:
                runtime.database.write(lambda tx, r=row: inviting.give_back(tx, r))  # type: ignore[misc]
                return self._session(row, marks) if self.is_alive(row) else None
        return None

    def locale_of(self, session: Session) -> str | None:
        """The language in which the guardian was asked."""
        row = self.find(session.invitation)
        return row.body.locale if row is not None else None

    def text_of(self, session: Session) -> str:
        """A session as the browser keeps it."""
        return signed(session, self.setup.signing_keys(self.runtime.keyed))

    def visit(self, text: str, marks: Sequence[str]) -> Visit:
        """What is to be shown to a session. Raises TokenInvalid, AskedHere."""
        runtime = self.runtime
        runtime.ensure()
        session = read_session(text, self.setup.signing_keys(runtime.keyed), runtime.clock.now())
        row = self.find(session.invitation)
        if row is None or row.body.step != session.step or not self._belongs(row, session):
            raise TokenInvalid("this link was used already", expired=True)
        subject = self.subject_of(row)
        self._refuse_asker(row, subject, marks)
        own, standing = self.own(row, subject), self.standing_yes(row, subject)
        check = row.body.check or {}
        verified = self.is_verified(row, session)
        method = GuardianMethod(row.body.method)
        free = verified or not (method.needs_verifier or method.on_paper)
        items = tuple(self.items_of(row))
        return Visit(
            row=row,
            session=session,
            subject=subject,
            child=self.kept(row).get("child", ""),
            page=self._page(row, method, free=free),
            items=items,
            may_allow=frozenset(items) if free else standing,
            own=own,
            verified=any(said.level for said in own.values()),
            failed=bool(check.get("failed")),
        )

    # ------------------------------------------------------------ who it is

    def find(self, invitation: str) -> Row | None:
        return self.runtime.database.read(lambda tx: inviting.find(tx, invitation))

    def _session(self, row: Row, marks: Sequence[str]) -> Session:
        if not self.is_alive(row) or row.status not in (Standing.OPEN, Standing.WAITING):
            raise TokenInvalid("this link was used already, or is over", expired=True)
        if row.status is Standing.WAITING and not row.body.sent:
            raise TokenInvalid("this link was used already: a second message follows", expired=True)
        self._refuse_asker(row, self.subject_of(row), marks)
        return Session(row.invitation, row.body.step, new_secret(), self.runtime.clock.now())

    def is_alive(self, row: Row) -> bool:
        return (
            row.is_open is (row.status is not Standing.ANSWERED) and self.runtime.clock.now() < row.expires_us
        )

    def _end(self, row: Row) -> None:
        self.runtime.database.write(lambda tx: inviting.swap(tx, row, ended(row, Standing.OVER)))

    def _refuse_asker(self, row: Row, subject: str, marks: Sequence[str]) -> None:
        keyed = self.runtime.keyed
        known = {keyed.digest_of("guardian asker", mark).hex() for mark in marks}
        if not known.isdisjoint(row.body.askers) or (not row.tenant and f"account:{subject}" in marks):
            raise AskedHere

    def browser_of(self, session: Session) -> str:
        return self.runtime.keyed.digest_of("guardian browser", session.browser).hex()

    def _belongs(self, row: Row, session: Session) -> bool:
        """Whether the invitation is still this browser's to look at."""
        if row.status is Standing.OPEN or (row.status is Standing.WAITING and row.body.sent):
            return self.is_alive(row)
        used = row.status in (Standing.ANSWERED, Standing.WAITING)
        return used and compare_digest(row.body.used_by, self.browser_of(session))

    def is_verified(self, row: Row, session: Session) -> bool:
        verified = row.body.verified or {}
        return compare_digest(str(verified.get("browser", "")), self.browser_of(session))

    def _page(self, row: Row, method: GuardianMethod, *, free: bool) -> Page:
        if row.status is Standing.WAITING:
            return Page.CONFIRM if row.body.sent else Page.WAITING
        if row.body.kind == ACCESS:
            return Page.ANSWER
        if row.status is Standing.ANSWERED:
            return Page.DONE
        if method.on_paper:
            return Page.PAPER
        return Page.ANSWER if free else Page.VERIFY

    def is_needed(self, visit: Visit) -> bool:
        """Whether the child is still so young that a guardian answers."""
        catalog, now_us = self.runtime.catalog, self.runtime.clock.now()
        facts = self.kit._known(visit.row.tenant, visit.subject)
        return is_guarded(
            facts, self.facts.rules(catalog), catalog.places.at(facts.jurisdiction).ages, now_us
        )
