"""What an audience asks: the gate's steps said about sets of rows, so that SQL answers for everybody at once.

Each step of `core.gate` has one here, of the same number and name, in the same order. Where the gate looks at one
subject's rows, a step here notes which row there has to be (a grant) and which there must not be (a denial);
`store.audience` writes them as SQL. The tests compare both tables, and both answers on random ledgers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from consentkit.core.case import Minority
from consentkit.core.catalog import Item, MinorRules
from consentkit.core.criteria import (
    Alone,
    Awaited,
    Criteria,
    Denial,
    Grant,
    Signalled,
    Spent,
    Standing,
    Weak,
    Whole,
)
from consentkit.core.gate import DENIED, against
from consentkit.core.places import Place
from consentkit.core.rulebook import Rulebook
from consentkit.core.terms import UNREGULATED, Basis, Kind, Regime
from consentkit.core.view import Rule


@dataclass(slots=True)
class _Asking:
    """One item's question about one kind of person; steps add to it."""

    rule: Rule
    place: Place
    age: Minority
    minors: MinorRules | None
    book: Rulebook
    grants: list[Grant] = field(default_factory=list)
    denials: list[Denial] = field(default_factory=list)
    alive: bool = False
    silence: bool = False

    @property
    def item(self) -> Item:
        return Item(self.rule.kind, self.rule.item)

    @property
    def minor(self) -> bool:
        return self.age[0]

    @property
    def young(self) -> bool:
        return self.age[1]

    @property
    def guarded(self) -> bool:
        return self.young and self.rule.minors == "guardian"

    @property
    def own_needed(self) -> bool:
        return not self.guarded or self.place.ages.joint

    @property
    def every_guardian(self) -> bool:
        return self.minors is not None and self.minors.guardians == "all"

    @property
    def closed(self) -> bool:
        """Whether a child is turned away."""
        return self.young and self.minors is not None and self.minors.turns_away


_Answer = bool | None
"""What a step says: True allowed, but for the denials so far; False never; None the next step."""
_NOS = tuple(sorted(DENIED))


def criteria(
    rules: Iterable[Rule], book: Rulebook, place: Place, age: Minority, minors: MinorRules | None
) -> Criteria | None:
    """Who of the subjects of a place and an age is allowed all of these items; None: nobody.

    The floor of a version and the present moment are left to whoever compares: they change with time.
    """
    asked = [_Asking(rule, place, age, minors, book) for rule in rules]
    if not all(_ask(one) for one in asked):
        return None
    grants = [grant for one in asked for grant in one.grants]
    denials = [denial for one in asked for denial in one.denials]
    return Criteria(
        tuple(dict.fromkeys(grants)), tuple(_merged(grants, denials)), any(one.alive for one in asked)
    )


def _merged(grants: Iterable[Grant], denials: Iterable[Denial]) -> Iterator[Denial]:
    """Each denial once, those of one item together; nobody who has to answer is alone with a guardian's yes."""
    answered = {grant.item for grant in grants if not grant.guardian}
    standing: dict[tuple[Item, bool], set[str]] = {}
    for denial in dict.fromkeys(denials):
        if isinstance(denial, Standing):
            standing.setdefault((denial.item, denial.young), set()).update(denial.statuses)
        elif not (isinstance(denial, Alone) and denial.item in answered):
            yield denial
    for (item, young), statuses in standing.items():
        yield Standing(item, tuple(sorted(statuses)), young)


def _ask(asking: _Asking) -> bool:
    for _number, step in POLICY_STEPS if asking.rule.kind is Kind.POLICY else PURPOSE_STEPS:
        answer = step(asking)
        if answer is not None:
            return answer
    raise AssertionError("the last step always answers")


def _exception(asking: _Asking) -> _Answer:
    return None  # open for the code of one block about one subject: no list is made from it


def _unregulated(asking: _Asking) -> _Answer:
    return True if asking.rule.basis in UNREGULATED else None


def _erased(asking: _Asking) -> _Answer:
    asking.alive = True
    return None


def _restricted(asking: _Asking) -> _Answer:
    statuses = against(asking.rule.basis, asking.rule.item in asking.book.core)
    asking.denials += [Whole(), Standing(asking.item, statuses, asking.young)]
    return None


def _turned_away(asking: _Asking) -> _Answer:
    return False if asking.closed else None


def _forbidden_for_minors(asking: _Asking) -> _Answer:
    forbidden = not set(asking.rule.dpv).isdisjoint(asking.place.ages.forbidden)
    return False if asking.minor and (forbidden or asking.rule.minors == "never") else None


def _core_closed(asking: _Asking) -> _Answer:
    asking.denials += [Standing(Item(Kind.PURPOSE, key), _NOS, asking.young) for key in asking.book.core]
    return None


def _policies_missing(asking: _Asking) -> _Answer:
    for key in asking.rule.policies:
        policy = replace(asking, rule=asking.book.rules[key])  # the same lists: what it asks is asked here
        if not _ask(policy):
            return False
        asking.alive = asking.alive or policy.alive
    return None


def _other_basis(asking: _Asking) -> _Answer:
    return True if asking.rule.basis is not Basis.CONSENT else None


def _denied(asking: _Asking) -> _Answer:
    asking.denials.append(Standing(asking.item, _NOS, asking.young))
    return None


def _opted_out(asking: _Asking) -> _Answer:
    if asking.rule.signals:
        asking.denials.append(Signalled(asking.item, asking.rule.signals, asking.guarded))
    return None


def _guardian(asking: _Asking) -> _Answer:
    if asking.guarded:
        level = max(asking.rule.level, asking.place.ages.verification.level)
        asking.grants.append(Grant(asking.item, guardian=True, level=level))
        if asking.every_guardian:
            asking.denials += [Awaited(asking.item), Weak(asking.item, level)]
    return None


def _aged_out(asking: _Asking) -> _Answer:
    if not asking.young:
        asking.denials.append(Alone(asking.item))
    return None


def _unanswered(asking: _Asking) -> _Answer:
    if asking.own_needed:
        regime = asking.place.regime(asking.rule.category, asking.rule.regime)
        asking.silence = not asking.minor and regime is not Regime.OPT_IN
        if not asking.silence:
            asking.grants.append(Grant(asking.item))
    return None


def _expired(asking: _Asking) -> _Answer:
    asking.grants[:] = [replace(g, valid=True) if g.item == asking.item else g for g in asking.grants]
    asking.denials += _spent(asking, outdated=False)
    return None


def _outdated(asking: _Asking) -> _Answer:
    asking.grants[:] = [replace(g, current=True) if g.item == asking.item else g for g in asking.grants]
    asking.denials += _spent(asking, outdated=True)
    return None


def _spent(asking: _Asking, outdated: bool) -> Iterator[Spent]:
    """Where silence is enough, the yes that there is counts; and of several guardians each one's."""
    if asking.silence:
        yield Spent(asking.item, guardian=False, outdated=outdated)
    if asking.guarded and asking.every_guardian:
        yield Spent(asking.item, guardian=True, outdated=outdated)


def _granted(asking: _Asking) -> _Answer:
    return True


Step = tuple[int, Callable[[_Asking], _Answer]]
PURPOSE_STEPS: Sequence[Step] = (
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
POLICY_STEPS: Sequence[Step] = tuple(
    step for step in PURPOSE_STEPS if step[0] in (2, 4, 5, 10, *range(12, 18)) or step[1] is _turned_away
)
