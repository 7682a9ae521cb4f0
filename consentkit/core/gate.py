"""The one function that says yes. First match wins; of several denials the lowest rule is answered.

It reads no clock and no table: a `View` holds all it may know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from consentkit.core.catalog import MinorRules
from consentkit.core.minors import NOTHING_KNOWN, Facts, is_minor
from consentkit.core.terms import DENIALS, GRANTS, UNREGULATED, Basis, Kind, Reason, Regime, Status
from consentkit.core.times import from_us

RESTRICTION, OBJECTION = "restriction", "objection"


@dataclass(frozen=True, slots=True)
class Row:
    """An actor's last answer to an item. `version` is an ordinal, `level` a guardian's assurance."""

    kind: str
    item: str
    scope: str
    actor: str
    status: str
    version: int
    level: int
    effective_us: int
    expires_us: int | None
    event_id: str

    @property
    def order(self) -> tuple[int, bool, str]:
        """The later answer is the greater; at the same instant a denial beats a grant."""
        return (self.effective_us, self.status in DENIALS, self.event_id)

    @property
    def grants(self) -> bool:
        """Whether it is a yes."""
        return self.status in GRANTS


@dataclass(frozen=True, slots=True)
class Rule:
    """What the catalogue asks for one item at one moment. `floor`: the lowest ordinal still good."""

    kind: Kind
    item: str
    version: str = ""
    floor: int = 0
    basis: Basis = Basis.CONSENT
    minors: str = "allowed"
    level: int = 0
    policies: tuple[str, ...] = ()
    signals: tuple[str, ...] = ()
    regime: Regime = Regime.OPT_IN
    scoped: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """All that the gate may know when it answers. `signals`: opt-out signals of this very request."""

    now_us: int
    rows: Sequence[Row] = ()
    facts: Facts = NOTHING_KNOWN
    minors: MinorRules | None = None
    joint: bool = False
    rules: Mapping[str, Rule] = field(default_factory=dict)
    core: tuple[str, ...] = ()
    exceptions: frozenset[str] = frozenset()
    signals: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Decision:
    """The gate's answer. True in a boolean context only when processing is allowed.

    `version` is the version in force; `event_id` the event that decided; `expires` when a grant ends;
    `needs` what would have to be answered first (keys of items, or `guardian`).
    """

    allowed: bool
    reason: Reason
    item: str
    version: str | None = None
    event_id: str | None = None
    expires: datetime | None = None
    needs: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.allowed


@dataclass(frozen=True, slots=True)
class _Case:
    """One item's question with the rows that bear on it."""

    rule: Rule
    view: View
    rows: tuple[Row, ...]
    minor: bool

    @property
    def guarded(self) -> bool:
        return self.minor and self.rule.minors == "guardian"

    @property
    def own(self) -> Row | None:
        return max((r for r in self.rows if r.actor == "subject"), key=_order, default=None)

    @property
    def guardians(self) -> list[Row]:
        return [r for r in self.rows if r.actor.startswith("guardian:") and r.grants]

    @property
    def own_needed(self) -> bool:
        return not self.guarded or self.view.joint


Outcome = tuple[Reason, Row | None, tuple[str, ...]]
ALLOWING = frozenset({Reason.EXCEPTION, Reason.NOT_REQUIRED, Reason.GIVEN, Reason.ACCEPTED})
_CORE_DENIALS = {Status.REFUSED: Reason.REFUSED, Status.WITHDRAWN: Reason.WITHDRAWN}
_DENIED = {
    Status.REFUSED: Reason.REFUSED,
    Status.DECLINED: Reason.REFUSED,
    Status.WITHDRAWN: Reason.WITHDRAWN,
    Status.REVOKED: Reason.REVOKED,
    Status.INVALIDATED: Reason.INVALIDATED,
}


def _order(row: Row) -> tuple[int, bool, str]:
    return row.order


def _exception(case: _Case) -> Outcome | None:
    return (Reason.EXCEPTION, None, ()) if case.rule.item in case.view.exceptions else None


def _unregulated(case: _Case) -> Outcome | None:
    return (Reason.NOT_REQUIRED, None, ()) if case.rule.basis in UNREGULATED else None


def _erased(case: _Case) -> Outcome | None:
    return (Reason.ERASED, None, ()) if case.view.facts.erased_us is not None else None


def _restricted(case: _Case) -> Outcome | None:
    for item in (RESTRICTION, OBJECTION):
        said = [r for r in case.view.rows if r.kind == Kind.SUBJECT and r.item == item]
        last = max(said, key=_order, default=None)
        if last is not None and last.status in (Status.RESTRICTED, Status.OBJECTED):
            return Reason.RESTRICTED, last, ()
    objected = [r for r in case.rows if r.status == Status.OBJECTED]
    return (Reason.RESTRICTED, objected[0], ()) if objected else None


def _forbidden_for_minors(case: _Case) -> Outcome | None:
    return (Reason.FORBIDDEN_FOR_MINORS, None, ()) if case.minor and case.rule.minors == "never" else None


def _core_closed(case: _Case) -> Outcome | None:
    for row in case.view.rows:
        closed = _CORE_DENIALS.get(Status(row.status)) if row.item in case.view.core else None
        if closed and row.kind == Kind.PURPOSE and row.actor == "subject":
            return closed, row, (row.item,)
    return None


def _policies_missing(case: _Case) -> Outcome | None:
    missing = tuple(p for p in case.rule.policies if not decide_one(case.view.rules[p], case.view))
    return (Reason.POLICY_NOT_ACCEPTED, None, missing) if missing else None


def _other_basis(case: _Case) -> Outcome | None:
    return (Reason.NOT_REQUIRED, None, ()) if case.rule.basis is not Basis.CONSENT else None


def _denied(case: _Case) -> Outcome | None:
    standing = [r for r in case.rows if r.status in _DENIED and not _overruled(r, case)]
    if not standing:
        return None
    row = max(standing, key=_order)
    by_guardian = row.actor.startswith("guardian:") and row.status == Status.REVOKED
    return (Reason.GUARDIAN_REVOKED if by_guardian else _DENIED[Status(row.status)]), row, ()


def _overruled(row: Row, case: _Case) -> bool:
    """Of the person's answers the last counts; a guardian's before the threshold; others' until a later own grant."""
    if row.actor == "subject":
        return row is not case.own
    if row.actor.startswith("guardian:"):
        return not case.minor
    return case.own is not None and case.own.grants and case.own.order > row.order


def _opted_out(case: _Case) -> Outcome | None:
    own = case.own
    granted_us = own.effective_us if own is not None and own.grants else -1
    for row in case.view.rows:
        if row.kind == Kind.SIGNAL and row.item in case.rule.signals and row.status == Status.OBJECTED:
            if row.effective_us >= granted_us:
                return Reason.OPTED_OUT_BY_SIGNAL, row, ()
    if granted_us < 0 and case.view.signals.intersection(case.rule.signals):
        return Reason.OPTED_OUT_BY_SIGNAL, None, ()
    return None


def _guardian(case: _Case) -> Outcome | None:
    if not case.guarded:
        return None
    if not case.guardians:
        pending = [r for r in case.rows if r.actor == "invitation" and r.status == Status.REQUESTED]
        reason = Reason.GUARDIAN_PENDING if pending else Reason.GUARDIAN_REQUIRED
        return reason, None, ("guardian",)
    if max(r.level for r in case.guardians) < case.rule.level:
        return Reason.GUARDIAN_ASSURANCE_TOO_LOW, case.guardians[0], ("guardian",)
    return None


def _aged_out(case: _Case) -> Outcome | None:
    if case.minor or not case.guardians or (case.own is not None and case.own.grants):
        return None
    return Reason.AGED_OUT, max(case.guardians, key=_order), (case.rule.item,)


def _unanswered(case: _Case) -> Outcome | None:
    own = case.own
    if not case.own_needed or (own is not None and own.grants):
        return None
    if case.rule.regime is not Regime.OPT_IN and not case.minor:
        return Reason.NOT_REQUIRED, None, ()
    asked = any(r.status == Status.REQUESTED for r in case.rows)
    return (Reason.REQUESTED if asked else Reason.NO_ANSWER), None, (case.rule.item,)


def _grants(case: _Case) -> list[Row]:
    """The grants on which the answer rests: the person's own, and the guardian's where one is needed."""
    found = [case.own] if case.own_needed and case.own is not None else []
    if case.guarded:
        strong = [r for r in case.guardians if r.level >= case.rule.level]
        found.append(max(strong, key=lambda r: (r.expires_us is None, r.expires_us or 0, r.version)))
    return found


def _expired(case: _Case) -> Outcome | None:
    for row in _grants(case):
        if row.expires_us is not None and row.expires_us <= case.view.now_us:
            return Reason.EXPIRED, row, (case.rule.item,)
    return None


def _outdated(case: _Case) -> Outcome | None:
    for row in _grants(case):
        if row.version < case.rule.floor:
            return Reason.OUTDATED, row, (case.rule.item,)
    return None


def _granted(case: _Case) -> Outcome | None:
    row = _grants(case)[0]
    return (Reason.ACCEPTED if case.rule.kind is Kind.POLICY else Reason.GIVEN), row, ()


Step = Callable[[_Case], Outcome | None]
_STEPS: tuple[tuple[int, Step, bool], ...] = (  # number of the rule, rule, whether it holds for policies too
    (2, _exception, True),
    (3, _unregulated, False),
    (4, _erased, True),
    (5, _restricted, True),
    (6, _forbidden_for_minors, False),
    (7, _core_closed, False),
    (8, _policies_missing, False),
    (9, _other_basis, False),
    (10, _denied, True),
    (11, _opted_out, False),
    (12, _guardian, True),
    (13, _aged_out, True),
    (14, _unanswered, True),
    (15, _expired, True),
    (16, _outdated, True),
    (17, _granted, True),
)
"""Rule 1, the store fails, is answered by the caller that reads the store: `unavailable`."""


def unavailable(item: str) -> Decision:
    """Rule 1: the store fails, so nothing is allowed."""
    return Decision(False, Reason.STORE_UNAVAILABLE, item)


def _decide(rule: Rule, view: View) -> tuple[int, Decision]:
    rows = tuple(r for r in view.rows if r.item == rule.item and r.kind == rule.kind)
    case = _Case(rule, view, rows, is_minor(view.facts, view.minors, view.now_us))
    policy = rule.kind is Kind.POLICY
    for number, step, for_policies in _STEPS:
        outcome = step(case) if for_policies or not policy else None
        if outcome is not None:
            reason, row, needs = outcome
            allowed = reason in ALLOWING
            ends = (
                from_us(row.expires_us)
                if allowed and row is not None and row.expires_us is not None
                else None
            )
            event_id = row.event_id if row is not None else None
            return number, Decision(allowed, reason, rule.item, rule.version or None, event_id, ends, needs)
    raise AssertionError("the last rule always answers")


def decide_one(rule: Rule, view: View) -> Decision:
    """The answer for one item."""
    return _decide(rule, view)[1]


def decide(rules: Sequence[Rule], view: View) -> Decision:
    """The answer for several items: all must allow, else the denial of the lowest rule.

    An empty sequence is a programming error (ValueError): the caller says what nothing means.
    """
    if not rules:
        raise ValueError("nothing was asked")
    answers = [_decide(rule, view) for rule in rules]
    denials = [answer for answer in answers if not answer[1].allowed]
    return min(denials or answers, key=lambda answer: answer[0])[1]
