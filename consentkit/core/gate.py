"""The one function that says yes. First match wins; of several denials the lowest rule is answered.

It reads no clock and no table: a `View` holds all it may know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from consentkit.core.case import Case, Minority, about, age_of, order, own_answer, standing
from consentkit.core.terms import UNREGULATED, Band, Basis, Kind, Reason, Regime, Status
from consentkit.core.times import from_us
from consentkit.core.view import OBJECTION, RESTRICTION, Row, Rule, View

__all__ = [
    "AGE",
    "ALLOWING",
    "OBJECTION",
    "RESTRICTION",
    "Decision",
    "Row",
    "Rule",
    "View",
    "decide",
    "decide_one",
    "lowest",
    "unavailable",
]


@dataclass(frozen=True, slots=True)
class Decision:
    """The gate's answer. True in a boolean context only when processing is allowed.

    `version` is the version in force; `event_id` the event that decided; `expires` when a grant ends;
    `needs` what would have to be answered first (keys of items, `guardian`, or `age`); `rule` the jurisdiction
    whose row decided, `operator` or `strictest`, where a rule of a place did; `number` that of the gate's rule.
    """

    allowed: bool
    reason: Reason
    item: str
    version: str | None = None
    event_id: str | None = None
    expires: datetime | None = None
    needs: tuple[str, ...] = ()
    rule: str | None = None
    number: int = field(default=0, compare=False)

    def __bool__(self) -> bool:
        return self.allowed

    @property
    def asks_age(self) -> bool:
        """Whether it is a no only because the subject's age is not known, and may be asked."""
        return self.needs == (AGE,) and self.reason in (Reason.FORBIDDEN_FOR_MINORS, Reason.GUARDIAN_REQUIRED)


AGE = "age"
Outcome = tuple[Reason, Row | None, tuple[str, ...]]
ALLOWING = frozenset({Reason.EXCEPTION, Reason.NOT_REQUIRED, Reason.GIVEN, Reason.ACCEPTED})
DENIED: dict[str, Reason] = {
    Status.REFUSED: Reason.REFUSED,
    Status.DECLINED: Reason.REFUSED,
    Status.WITHDRAWN: Reason.WITHDRAWN,
    Status.REVOKED: Reason.REVOKED,
    Status.INVALIDATED: Reason.INVALIDATED,
}


def _denial(row: Row) -> Reason:
    by_guardian = row.status == Status.REVOKED and row.actor.startswith("guardian:")
    return Reason.GUARDIAN_REVOKED if by_guardian else DENIED[row.status]


OBJECTABLE = frozenset({Basis.LEGITIMATE_INTEREST, Basis.PUBLIC_TASK})
_OBJECTED: tuple[Status, ...] = (Status.OBJECTED,)
_AGAINST: tuple[Status, ...] = (Status.OBJECTED, Status.REFUSED, Status.WITHDRAWN)


def against(basis: Basis, core: bool) -> tuple[Status, ...]:
    """The answers to a purpose that are an objection to it.

    Where there is no consent to withdraw, a no is an objection (GDPR 21(1)); a no to a core purpose has rule 7.
    """
    return _AGAINST if basis in OBJECTABLE and not core else _OBJECTED


# Python 3.11 calls a function for each `Kind.POLICY`, ten times as slow as a name.
_POLICY, _CONSENT, _ACCEPTED, _GIVEN = Kind.POLICY, Basis.CONSENT, Reason.ACCEPTED, Reason.GIVEN


def _exception(case: Case) -> Outcome | None:
    return (Reason.EXCEPTION, None, ()) if case.rule.item in case.view.exceptions else None


def _unregulated(case: Case) -> Outcome | None:
    return (Reason.NOT_REQUIRED, None, ()) if case.rule.basis in UNREGULATED else None


def _erased(case: Case) -> Outcome | None:
    return (Reason.ERASED, None, ()) if case.view.facts.erased_us is not None else None


def _restricted(case: Case) -> Outcome | None:
    said = [r for r in case.view.rows if r.kind == "subject"]
    for item in (RESTRICTION, OBJECTION) if said else ():
        last = max((r for r in said if r.item == item), key=order, default=None)
        if last is not None and last.status in (Status.RESTRICTED, Status.OBJECTED):
            return Reason.RESTRICTED, last, ()
    if not case.denials:
        return None
    statuses = _OBJECTED
    if case.rule.basis is not _CONSENT:
        statuses = against(case.rule.basis, case.rule.item in case.view.core)
    objected = standing(case.denials, case.own, case.young, statuses)
    return (Reason.RESTRICTED, objected, ()) if objected is not None else None


def _turned_away(case: Case) -> Outcome | None:
    closed = case.young and case.view.minors is not None and case.view.minors.turns_away
    return (Reason.FORBIDDEN_FOR_MINORS, None, _age_first(case)) if closed else None


def _forbidden_for_minors(case: Case) -> Outcome | None:
    if not case.minor:
        return None
    forbidden = case.rule.minors == "never" or not set(case.rule.dpv).isdisjoint(
        case.view.place.ages.forbidden
    )
    return (Reason.FORBIDDEN_FOR_MINORS, None, _age_first(case)) if forbidden else None


def _age_first(case: Case, *needs: str) -> tuple[str, ...]:
    """What is needed of a minor; the age first, of somebody who is one only until it is known."""
    asked = case.view.minors is not None and case.view.minors.unknown_age == "ask"
    return (AGE,) if asked and case.view.facts.band is Band.UNKNOWN else needs


def _core_closed(case: Case) -> Outcome | None:
    for item in case.view.core:
        rows = about(case.view, Kind.PURPOSE, item)
        row = standing(rows, own_answer(rows), case.young, DENIED)
        if row is not None:
            return _denial(row), row, (item,)
    return None


def _policies_missing(case: Case) -> Outcome | None:
    if not case.rule.policies:
        return None
    missing = tuple(p for p in case.rule.policies if not decide_one(case.view.rules[p], case.view))
    return (Reason.POLICY_NOT_ACCEPTED, None, missing) if missing else None


def _other_basis(case: Case) -> Outcome | None:
    return (Reason.NOT_REQUIRED, None, ()) if case.rule.basis is not _CONSENT else None


def _denied(case: Case) -> Outcome | None:
    row = standing(case.denials, case.own, case.young, DENIED) if case.denials else None
    return (_denial(row), row, ()) if row is not None else None


def _opted_out(case: Case) -> Outcome | None:
    if not case.rule.signals:
        return None
    explicit = [
        r.effective_us for r in (case.own, *(case.guardians if case.guarded else ())) if r and r.grants
    ]
    for row in case.view.rows:
        seen = row.kind == Kind.SIGNAL and row.item in case.rule.signals and row.status == Status.OBJECTED
        if seen and row.effective_us >= max(explicit, default=row.effective_us):
            return Reason.OPTED_OUT_BY_SIGNAL, row, ()
    if not explicit and case.view.signals.intersection(case.rule.signals):
        return Reason.OPTED_OUT_BY_SIGNAL, None, ()
    return None


def _guardian(case: Case) -> Outcome | None:
    if not case.guarded:
        return None
    invited = case.invited
    if not case.guardians or (invited and case.every_guardian):
        if any(not case.is_over(r) for r in invited):
            return Reason.GUARDIAN_PENDING, None, ("guardian",)
        return Reason.GUARDIAN_REQUIRED, None, _age_first(case, "guardian")
    choose = min if case.every_guardian else max
    verified = choose(case.guardians, key=lambda r: r.level)
    if verified.level < case.level:
        return Reason.GUARDIAN_ASSURANCE_TOO_LOW, verified, ("guardian",)
    return None


def _aged_out(case: Case) -> Outcome | None:
    if case.young or not case.guardians or (case.own is not None and case.own.grants):
        return None
    return Reason.AGED_OUT, max(case.guardians, key=order), (case.rule.item,)


def _unanswered(case: Case) -> Outcome | None:
    if not case.own_needed or (case.own is not None and case.own.grants):
        return None
    if not case.minor and case.view.place.regime(case.rule.category, case.rule.regime) is not Regime.OPT_IN:
        return Reason.NOT_REQUIRED, None, ()
    asked = any(r.status == Status.REQUESTED and r.actor == "invitation" for r in case.rows)
    return (Reason.REQUESTED if asked else Reason.NO_ANSWER), None, (case.rule.item,)


def _expired(case: Case) -> Outcome | None:
    for row in case.grants:
        if case.is_over(row):
            return Reason.EXPIRED, row, (case.rule.item,)
    return None


def _outdated(case: Case) -> Outcome | None:
    for row in case.grants:
        if row.version < case.rule.floor:
            return Reason.OUTDATED, row, (case.rule.item,)
    return None


def _granted(case: Case) -> Outcome | None:
    grants = case.grants
    row = grants[0] if len(grants) == 1 else min(grants, key=lambda r: (r.expires_us is None, r.expires_us))
    return (_ACCEPTED if case.rule.kind is _POLICY else _GIVEN), row, ()


Step = tuple[int, Callable[[Case], Outcome | None]]
_PURPOSE_STEPS: tuple[Step, ...] = (
    (2, _exception),
    (3, _unregulated),
    (4, _erased),
    (5, _restricted),
    (6, _turned_away),
    (6, _forbidden_for_minors),
    (7, _core_closed),
    (8, _policies_missing),
    (9, _other_basis),
    (10, _denied),
    (11, _opted_out),
    (12, _guardian),
    (13, _aged_out),
    (14, _unanswered),
    (15, _expired),
    (16, _outdated),
    (17, _granted),
)
"""Rule 1, the store fails, is answered by the caller that reads the store: `unavailable`."""
_FOR_MINORS, _SILENCE = (6, 12, 13), 14
_BY_PLACE = (*_FOR_MINORS, _SILENCE)
_FOR_POLICIES = (2, 4, 5, 10, *range(12, 18))
_POLICY_STEPS = tuple(s for s in _PURPOSE_STEPS if s[0] in _FOR_POLICIES or s[1] is _turned_away)


def unavailable(item: str) -> Decision:
    """Rule 1: the store fails, so nothing is allowed."""
    return Decision(False, Reason.STORE_UNAVAILABLE, item, number=1)


def _by_place(number: int, case: Case, reason: Reason) -> str | None:
    """The row of the law's table that decided in one of these steps: a rule for minors, or the regime of silence."""
    if number in _FOR_MINORS:
        return case.view.place.decided
    return case.view.place.regimes.code if reason is Reason.NOT_REQUIRED else None


def _decide(rule: Rule, view: View, age: Minority) -> Decision:
    case = Case(rule, view, age)
    for number, step in _POLICY_STEPS if rule.kind is _POLICY else _PURPOSE_STEPS:
        outcome = step(case)
        if outcome is None:
            continue
        reason, row, needs = outcome
        allowed = reason in ALLOWING
        event_id = ends = None
        if row is not None:
            event_id = row.event_id or None  # a signal of this very request is not recorded yet
            ends = from_us(row.expires_us) if allowed and row.expires_us is not None else None
        law = _by_place(number, case, reason) if number in _BY_PLACE else None
        version = rule.version or None
        return Decision(allowed, reason, rule.item, version, event_id, ends, needs, law, number)
    raise AssertionError("the last rule always answers")


def decide_one(rule: Rule, view: View) -> Decision:
    """The answer for one item."""
    return _decide(rule, view, age_of(view))


def decide(rules: Sequence[Rule], view: View) -> Decision:
    """The answer for several items: all must allow, else the denial of the lowest rule.

    An empty sequence is a programming error (ValueError): the caller says what nothing means.
    """
    if not rules:
        raise ValueError("nothing was asked")
    age = age_of(view)
    if len(rules) == 1:
        return _decide(rules[0], view, age)
    answers = [_decide(rule, view, age) for rule in rules]
    return lowest([answer for answer in answers if not answer.allowed] or answers)


def lowest(answers: Sequence[Decision]) -> Decision:
    """The answer of the lowest rule."""
    return min(answers, key=lambda answer: answer.number)
