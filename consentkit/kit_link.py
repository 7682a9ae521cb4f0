"""What somebody chose before signing in, and may take over into the account: one by one, and never by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Unpack

from consentkit.core.catalog import Purpose
from consentkit.core.choices import Manner, denying, giving, say
from consentkit.core.errors import ChoiceRejected
from consentkit.core.gate import Decision, Row
from consentkit.core.ids import check_subject
from consentkit.core.minors import is_minor
from consentkit.core.record import VISITOR, Answer, Event
from consentkit.core.terms import Action, Basis, Kind, Reason, Status
from consentkit.kit_read import Answers
from consentkit.kit_record import How, Recorder, refuse_visitor
from consentkit.store.reading import SubjectState

LINK = "link"
_NO = (Status.REFUSED, Status.WITHDRAWN)
_OPEN = frozenset(
    {Reason.NO_ANSWER, Reason.REQUESTED, Reason.EXPIRED, Reason.OUTDATED, Reason.OPTED_OUT_BY_SIGNAL}
    | {Reason.REFUSED, Reason.WITHDRAWN}
)
"""What stands in the way of a purpose that a yes of the account would open."""


@dataclass(frozen=True, slots=True)
class VisitorChoice:
    """What a visitor answered last to a purpose. `event_id`: the event that says so; `expires_us`: of a yes."""

    purpose: str
    granted: bool
    event_id: str
    expires_us: int | None


class LinkVerbs(Recorder, Answers):
    """Only who holds a visitor's signed cookie may be linked to it: consentkit's own page asks, nothing else does."""

    def linkable(self, account: str, visitor: str) -> list[VisitorChoice]:
        """The visitor's last answers that would change something for the account, in the catalogue's order.

        A yes that still holds, a no; nothing that the account answered later. To a minor no yes is offered.
        """
        check_pair(account, visitor)
        self.runtime.ensure()
        found = self.runtime.reader.states("", [account, visitor])
        if any(state.facts.erased_us is not None for state in found.values()):
            return []
        purposes = (p for p in self.runtime.catalog.purposes.values() if p.basis is Basis.CONSENT)
        offered = (self._offer(p, account, found[account], visitor, found[visitor]) for p in purposes)
        return [choice for choice in offered if choice is not None]

    def link(
        self, account: str, visitor: str, purposes: Sequence[str] = (), **how: Unpack[How]
    ) -> list[Event]:
        """Take these of the visitor's choices over into the account; with none, record that it takes none.

        Each event names the one that it continues, and a yes ends when the visitor's would have. Raises
        ChoiceRejected for what is not `linkable`, StoreUnavailable, ValueError.
        """
        offered = {choice.purpose: choice for choice in self.linkable(account, visitor)}
        unknown = [key for key in purposes if key not in offered]
        if unknown:
            raise ChoiceRejected(f"{unknown[0]!r} is no choice that this account can take over now")
        taken = [offered[key] for key in dict.fromkeys(purposes)]
        return self._say(account, lambda manner: self._continued(taken, manner), how)

    def _offer(
        self, purpose: Purpose, account: str, mine: SubjectState, visitor: str, theirs: SubjectState
    ) -> VisitorChoice | None:
        said, own = _own(theirs.rows, purpose.key), _own(mine.rows, purpose.key)
        if said is None or (own is not None and own.order > said.order):
            return None
        if said.grants:
            if not self._decision(purpose, visitor, theirs) or not self._opens(purpose, account, mine):
                return None
        elif said.status not in _NO or (own is not None and own.status in _NO):
            return None
        return VisitorChoice(purpose.key, said.grants, said.event_id, said.expires_us)

    def _opens(self, purpose: Purpose, account: str, mine: SubjectState) -> bool:
        """Whether a yes would open it for the account, and may come from somebody of that age."""
        catalog, now_us = self.runtime.catalog, self.runtime.clock.now()
        facts = self.facts.complete(catalog, account, mine.facts, now_us)
        young = is_minor(facts, self.facts.rules(catalog), now_us)
        return not young and self._decision(purpose, account, mine).reason in _OPEN

    def _decision(self, purpose: Purpose, subject: str, state: SubjectState) -> Decision:
        return self.answer(self.runtime.rules(), f"purpose:{purpose.key}", subject, state, exceptions=False)

    def _continued(self, taken: Sequence[VisitorChoice], manner: Manner) -> list[Answer]:
        if not taken:
            return [say(manner, Kind.SUBJECT, LINK, Action.DECLINED)]
        catalog, said = self.runtime.catalog, []
        for choice in taken:
            named = [f"purpose:{choice.purpose}"]
            made = giving(catalog, named, manner) if choice.granted else []
            (answer,) = made or denying(catalog, named, manner, Action.REFUSED)
            ends = min(filter(None, (answer.expires_us, choice.expires_us)), default=None)
            continues = ("continues", choice.event_id)
            said.append(replace(answer, expires_us=ends, extra=(*answer.extra, continues)))
        return said


def check_pair(account: str, visitor: str) -> None:
    """Raise ChoiceRejected, ValueError for what is not an account and a visitor."""
    refuse_visitor(account)
    check_subject(visitor)
    if not visitor.startswith(VISITOR):
        raise ChoiceRejected(
            "only what a visitor of this browser chose can be taken over: two people are never merged"
        )


def _own(rows: Sequence[Row], purpose: str) -> Row | None:
    said = (r for r in rows if (r.kind, r.item, r.scope, r.actor) == (Kind.PURPOSE, purpose, "", "subject"))
    return next(said, None)
