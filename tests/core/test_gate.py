"""The decision table as data: every rule, every reason; first match wins, ties deny."""
# ruff: noqa: E501 - a case of the table is a line

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from consentkit.core.catalog import MinorRules
from consentkit.core.gate import ALLOWING, Row, Rule, View, decide, decide_one, unavailable
from consentkit.core.minors import Facts
from consentkit.core.places import AgeRule, Place, RegimeRule
from consentkit.core.terms import ANSWERS, DENIALS, GRANTS, Assurance, Band, Basis, Kind, Reason, Regime

NOW = 1_000_000
MINORS = MinorRules(age=16)
CLOSED_TO_MINORS = MinorRules(age=16, children="not_allowed")
CHILD = Facts(Band.MINOR, NOW + 1)
ADULT = Facts(Band.ADULT)
GROWN = Facts(Band.MINOR, NOW)  # a minor until this very instant
ERASED = Facts(erased_us=5)

RULE = Rule(Kind.PURPOSE, "ads", version="3", floor=3, minors="guardian", level=1, signals=("gpc",))
TERMS = Rule(Kind.POLICY, "terms", version="2.0", floor=2)
ACCOUNT = Rule(Kind.PURPOSE, "account", basis=Basis.CONTRACT)


def row(status: str, actor: str = "subject", at: int = 100, **more: Any) -> Row:
    """A row about `ads` in its current version, by a strong guardian where one speaks."""
    values = {"kind": "purpose", "item": "ads", "scope": "", "version": 3, "level": 1, "expires_us": None}
    values |= {"event_id": f"{at:08}-{actor}-{status}", **more}
    return Row(actor=actor, status=status, effective_us=at, **values)


def signal(at: int, status: str = "objected", item: str = "gpc") -> Row:
    return row(status, "browser", at, kind="signal", item=item)


def whole(status: str, item: str = "restriction", at: int = 100, actor: str = "subject") -> Row:
    return row(status, actor, at, kind="subject", item=item)


def place(regime: Regime = Regime.OPT_IN, **ages: Any) -> Place:
    """A place of one age of sixteen that asks for nothing else."""
    rule = AgeRule("XX", **{"age": 16, "minor_until": 16, **ages})
    return Place("XX", rule, RegimeRule("XX", {"stats": regime}), "XX")


JOINT = place(actors=("guardian", "subject"))
OPT_OUT, EXEMPT = place(Regime.OPT_OUT), place(Regime.EXEMPT_WITH_NOTICE)
STATS = {"category": "stats"}


def view(*rows: Row, facts: Facts = ADULT, **more: Any) -> View:
    values: dict[str, Any] = {
        "now_us": NOW,
        "place": place(),
        "minors": MINORS,
        "rules": {"terms": TERMS},
        "core": ("account",),
    }
    return View(rows=rows, facts=facts, **(values | more))


GIVEN, REFUSED = row("given"), row("refused")
GUARDIAN = row("given", "guardian:1")
ACCEPTED = row("accepted", kind="policy", item="terms", version=2)
CLOSED = row("withdrawn", item="account")

TABLE: list[tuple[str, Rule, View, Reason]] = [
    # 2
    ("an exception opens a refused purpose", RULE, view(REFUSED, exceptions=frozenset({"ads"})), Reason.EXCEPTION),
    ("an exception opens an erased one", RULE, view(facts=ERASED, exceptions=frozenset({"ads"})), Reason.EXCEPTION),
    ("an exception opens only its purpose", RULE, view(exceptions=frozenset({"x"})), Reason.NO_ANSWER),
    # 3
    *(
        (f"{basis} asks nobody", replace(RULE, basis=basis), view(whole("restricted"), facts=ERASED), Reason.NOT_REQUIRED)
        for basis in (Basis.LEGAL_OBLIGATION, Basis.NOT_PERSONAL_DATA)
    ),
    # 4
    ("erased", RULE, view(GIVEN, facts=ERASED), Reason.ERASED),
    ("erased closes a contract too", ACCOUNT, view(facts=ERASED), Reason.ERASED),
    ("erased before restricted", RULE, view(whole("restricted"), facts=ERASED), Reason.ERASED),
    # 5
    ("restricted", RULE, view(GIVEN, whole("restricted")), Reason.RESTRICTED),
    ("restricted by the operator", RULE, view(GIVEN, whole("restricted", actor="operator")), Reason.RESTRICTED),
    ("restricted closes a contract too", ACCOUNT, view(whole("restricted")), Reason.RESTRICTED),
    ("lifted", RULE, view(GIVEN, whole("restricted"), whole("lifted", at=101, actor="operator")), Reason.GIVEN),
    ("lifted and restricted at once", RULE, view(GIVEN, whole("restricted"), whole("lifted", actor="operator")), Reason.RESTRICTED),
    ("objected to all", RULE, view(GIVEN, whole("objected", "objection")), Reason.RESTRICTED),
    ("objected to this", RULE, view(row("objected")), Reason.RESTRICTED),
    ("objected to this contract", ACCOUNT, view(row("objected", item="account")), Reason.RESTRICTED),
    ("objected to another", RULE, view(GIVEN, row("objected", item="mail")), Reason.GIVEN),
    ("objected, later given", RULE, view(row("objected", "operator", 99), GIVEN), Reason.GIVEN),
    ("a signal is no objection", replace(RULE, signals=()), view(GIVEN, signal(200)), Reason.GIVEN),
    ("a policy while restricted", TERMS, view(ACCEPTED, whole("restricted")), Reason.RESTRICTED),
    # 6
    ("never for a minor", replace(RULE, minors="never"), view(GIVEN, GUARDIAN, facts=CHILD), Reason.FORBIDDEN_FOR_MINORS),
    ("never, and grown up", replace(RULE, minors="never"), view(GIVEN, facts=GROWN), Reason.GIVEN),
    ("forbidden before core", replace(RULE, minors="never"), view(CLOSED, facts=CHILD), Reason.FORBIDDEN_FOR_MINORS),
    # 7
    ("core withdrawn", RULE, view(GIVEN, CLOSED), Reason.WITHDRAWN),
    ("core refused", RULE, view(GIVEN, replace(CLOSED, status="refused")), Reason.REFUSED),
    ("core itself", ACCOUNT, view(CLOSED), Reason.WITHDRAWN),
    ("core given again", RULE, view(GIVEN, replace(CLOSED, status="given")), Reason.GIVEN),
    ("core closed by the guardian", ACCOUNT, view(row("revoked", "guardian:1", item="account"), facts=CHILD), Reason.GUARDIAN_REVOKED),
    ("a policy is above core", TERMS, view(ACCEPTED, CLOSED), Reason.ACCEPTED),
    # 8
    ("a policy missing", replace(RULE, policies=("terms",)), view(GIVEN), Reason.POLICY_NOT_ACCEPTED),
    ("a policy old", replace(RULE, policies=("terms",)), view(GIVEN, replace(ACCEPTED, version=1)), Reason.POLICY_NOT_ACCEPTED),
    ("a policy accepted", replace(RULE, policies=("terms",)), view(GIVEN, ACCEPTED), Reason.GIVEN),
    ("a policy missing for a contract", replace(ACCOUNT, policies=("terms",)), view(), Reason.POLICY_NOT_ACCEPTED),
    ("a policy before a refusal", replace(RULE, policies=("terms",)), view(REFUSED), Reason.POLICY_NOT_ACCEPTED),
    # 9
    *(
        (f"{basis} is not asked", replace(RULE, basis=basis), view(), Reason.NOT_REQUIRED)
        for basis in (Basis.CONTRACT, Basis.VITAL_INTEREST, Basis.PUBLIC_TASK, Basis.LEGITIMATE_INTEREST)
    ),
    # 10
    ("refused", RULE, view(REFUSED), Reason.REFUSED),
    ("withdrawn", RULE, view(row("withdrawn")), Reason.WITHDRAWN),
    ("revoked by the operator", RULE, view(GIVEN, row("revoked", "operator", 101)), Reason.REVOKED),
    ("revoked, then given", RULE, view(row("revoked", "operator", 99), GIVEN), Reason.GIVEN),
    ("revoked and given at once", RULE, view(row("revoked", "operator"), GIVEN), Reason.REVOKED),
    ("the last denial is answered", RULE, view(row("revoked", "operator", 101), REFUSED), Reason.REVOKED),
    ("the last denial, the other way", RULE, view(row("revoked", "operator", 99), REFUSED), Reason.REFUSED),
    ("invalidated", RULE, view(GIVEN, row("invalidated", "operator", 101)), Reason.INVALIDATED),
    ("guardian revoked", RULE, view(GUARDIAN, row("revoked", "guardian:2"), facts=CHILD), Reason.GUARDIAN_REVOKED),
    ("guardian revoked, then own grant", RULE, view(row("given", at=200), GUARDIAN, row("revoked", "guardian:2"), facts=CHILD), Reason.GUARDIAN_REVOKED),
    ("guardian revoked, grown up", RULE, view(GIVEN, row("revoked", "guardian:2", 200), facts=GROWN), Reason.GIVEN),
    ("guardian refused", RULE, view(row("refused", "guardian:1"), facts=CHILD), Reason.REFUSED),
    ("a visitor's refusal counts", RULE, view(GIVEN, row("refused", "visitor", 101)), Reason.REFUSED),
    ("a visitor's older refusal", RULE, view(row("refused", "visitor", 99), GIVEN), Reason.GIVEN),
    ("declined", TERMS, view(row("declined", kind="policy", item="terms")), Reason.REFUSED),
    ("a policy withdrawn", TERMS, view(row("withdrawn", kind="policy", item="terms")), Reason.WITHDRAWN),
    ("a refusal in an older version", RULE, view(row("refused", version=1)), Reason.REFUSED),
    ("a refusal does not expire", RULE, view(row("refused", expires_us=1)), Reason.REFUSED),
    # 11
    ("opted out after the grant", RULE, view(GIVEN, signal(101)), Reason.OPTED_OUT_BY_SIGNAL),
    ("opted out at the grant", RULE, view(GIVEN, signal(100)), Reason.OPTED_OUT_BY_SIGNAL),
    ("granted after the signal", RULE, view(GIVEN, signal(99)), Reason.GIVEN),
    ("granted after, and sent again", RULE, view(GIVEN, signal(99), signals=frozenset({"gpc"})), Reason.GIVEN),
    ("a signal without an answer", RULE, view(signal(1)), Reason.OPTED_OUT_BY_SIGNAL),
    ("a signal of this request", RULE, view(signals=frozenset({"gpc"})), Reason.OPTED_OUT_BY_SIGNAL),
    ("a signal that the purpose ignores", RULE, view(GIVEN, signal(101, item="dnt")), Reason.GIVEN),
    ("a signal lifted", RULE, view(GIVEN, signal(101, "lifted")), Reason.GIVEN),
    ("opted out in an opt-out regime", replace(RULE, **STATS), view(signal(1), place=OPT_OUT), Reason.OPTED_OUT_BY_SIGNAL),
    ("the guardian granted after the signal", RULE, view(GUARDIAN, signal(99), facts=CHILD), Reason.GIVEN),
    ("the signal came after the guardian", RULE, view(GUARDIAN, signal(101), facts=CHILD), Reason.OPTED_OUT_BY_SIGNAL),
    # 12
    ("no guardian", RULE, view(GIVEN, facts=CHILD), Reason.GUARDIAN_REQUIRED),
    ("guardian asked", RULE, view(row("requested", "invitation"), facts=CHILD), Reason.GUARDIAN_PENDING),
    ("guardian too weak", RULE, view(replace(GUARDIAN, level=0), facts=CHILD), Reason.GUARDIAN_ASSURANCE_TOO_LOW),
    ("one of two guardians strong", RULE, view(replace(GUARDIAN, level=0), row("given", "guardian:2"), facts=CHILD), Reason.GIVEN),
    ("unknown age as adult", RULE, view(GIVEN, facts=Facts()), Reason.GIVEN),
    ("unknown age as minor", RULE, view(GIVEN, facts=Facts(), minors=MinorRules(unknown_age="minor")), Reason.GUARDIAN_REQUIRED),
    ("unknown age to be asked", RULE, view(GIVEN, facts=Facts(), minors=MinorRules(unknown_age="ask")), Reason.GUARDIAN_REQUIRED),
    ("children are not allowed", RULE, view(GIVEN, GUARDIAN, facts=CHILD, minors=CLOSED_TO_MINORS), Reason.FORBIDDEN_FOR_MINORS),
    ("nor for a contract", ACCOUNT, view(facts=CHILD, minors=CLOSED_TO_MINORS), Reason.FORBIDDEN_FOR_MINORS),
    ("nor by a policy", TERMS, view(ACCEPTED, facts=CHILD, minors=CLOSED_TO_MINORS), Reason.FORBIDDEN_FOR_MINORS),
    ("the law still counts", replace(RULE, basis=Basis.LEGAL_OBLIGATION), view(facts=CHILD, minors=CLOSED_TO_MINORS), Reason.NOT_REQUIRED),
    ("old enough to be no child", RULE, view(GIVEN, facts=CHILD, minors=CLOSED_TO_MINORS, place=place(age=13)), Reason.GIVEN),
    ("grown up where children are not allowed", RULE, view(GIVEN, facts=GROWN, minors=CLOSED_TO_MINORS), Reason.GIVEN),
    ("no rules for minors", RULE, view(GIVEN, facts=CHILD, minors=None), Reason.GIVEN),
    ("minors may answer themselves", replace(RULE, minors="allowed"), view(GIVEN, facts=CHILD), Reason.GIVEN),
    ("a policy needs a guardian", replace(TERMS, minors="guardian"), view(ACCEPTED, facts=CHILD), Reason.GUARDIAN_REQUIRED),
    # 13
    ("aged out", RULE, view(GUARDIAN, facts=GROWN), Reason.AGED_OUT),
    ("not yet aged out", RULE, view(GUARDIAN, facts=CHILD), Reason.GIVEN),
    ("aged out, answered alone", RULE, view(GUARDIAN, GIVEN, facts=GROWN), Reason.GIVEN),
    ("aged out before opt-out", replace(RULE, **STATS), view(GUARDIAN, facts=GROWN, place=OPT_OUT), Reason.AGED_OUT),
    # 14
    ("no answer", RULE, view(), Reason.NO_ANSWER),
    ("lifted is no answer", RULE, view(row("lifted")), Reason.NO_ANSWER),
    ("requested", RULE, view(row("requested", "invitation")), Reason.REQUESTED),
    ("opt-out", replace(RULE, **STATS), view(place=OPT_OUT), Reason.NOT_REQUIRED),
    ("exempt with notice", replace(RULE, **STATS), view(place=EXEMPT), Reason.NOT_REQUIRED),
    ("opt-out never for a minor", replace(RULE, minors="allowed", **STATS), view(facts=CHILD, place=OPT_OUT), Reason.NO_ANSWER),
    ("the operator asks first", replace(RULE, regime=Regime.OPT_IN, **STATS), view(place=OPT_OUT), Reason.NO_ANSWER),
    ("the operator may not be laxer", replace(RULE, regime=Regime.OPT_OUT, **STATS), view(), Reason.NO_ANSWER),
    ("no category, no regime", RULE, view(place=OPT_OUT), Reason.NO_ANSWER),
    ("forbidden by the place", replace(RULE, dpv=("Ads",)), view(GUARDIAN, facts=CHILD, place=place(forbidden=("Ads",))), Reason.FORBIDDEN_FOR_MINORS),
    ("forbidden, and grown up", replace(RULE, dpv=("Ads",)), view(GIVEN, place=place(forbidden=("Ads",))), Reason.GIVEN),
    ("another purpose is forbidden", replace(RULE, dpv=("Mail",)), view(GUARDIAN, facts=CHILD, place=place(forbidden=("Ads",))), Reason.GIVEN),
    ("the place wants to verify better", RULE, view(GUARDIAN, facts=CHILD, place=place(verification=Assurance.VERIFIABLE)), Reason.GUARDIAN_ASSURANCE_TOO_LOW),
    ("old enough to answer, still a minor", RULE, view(GIVEN, facts=CHILD, place=place(age=13)), Reason.GIVEN),
    ("old enough, and a guardian's yes", RULE, view(GUARDIAN, facts=CHILD, place=place(age=13)), Reason.AGED_OUT),
    ("old enough, and silence", replace(RULE, **STATS), view(facts=CHILD, place=place(Regime.OPT_OUT, age=13)), Reason.NO_ANSWER),
    ("joint, own missing", RULE, view(GUARDIAN, facts=CHILD, place=JOINT), Reason.NO_ANSWER),
    ("joint, both", RULE, view(GUARDIAN, GIVEN, facts=CHILD, place=JOINT), Reason.GIVEN),
    ("joint, guardian missing", RULE, view(GIVEN, facts=CHILD, place=JOINT), Reason.GUARDIAN_REQUIRED),
    # 15
    ("expired at the instant", RULE, view(row("given", expires_us=NOW)), Reason.EXPIRED),
    ("valid until the instant", RULE, view(row("given", expires_us=NOW + 1)), Reason.GIVEN),
    ("the guardian's expired", RULE, view(replace(GUARDIAN, expires_us=NOW), facts=CHILD), Reason.EXPIRED),
    ("joint, one expired", RULE, view(GUARDIAN, row("given", expires_us=NOW), facts=CHILD, place=JOINT), Reason.EXPIRED),
    ("the other guardian's is good", RULE, view(row("given", "guardian:1", 200, expires_us=NOW), row("given", "guardian:2"), facts=CHILD), Reason.GIVEN),
    ("expired before outdated", RULE, view(row("given", version=1, expires_us=NOW)), Reason.EXPIRED),
    ("a policy expired", TERMS, view(replace(ACCEPTED, expires_us=NOW)), Reason.EXPIRED),
    # 16
    ("outdated", RULE, view(row("given", version=2)), Reason.OUTDATED),
    ("a newer version than the known one", RULE, view(row("given", version=4)), Reason.GIVEN),
    ("a policy outdated", TERMS, view(replace(ACCEPTED, version=1)), Reason.OUTDATED),
    ("the other guardian's is current", RULE, view(row("given", "guardian:1", 200, version=2), row("given", "guardian:2", expires_us=NOW + 5), facts=CHILD), Reason.GIVEN),
    # 17
    ("given", RULE, view(GIVEN), Reason.GIVEN),
    ("renewed", RULE, view(row("renewed")), Reason.GIVEN),
    ("accepted", TERMS, view(ACCEPTED), Reason.ACCEPTED),
    ("another kind of the same name", RULE, view(replace(GIVEN, kind="policy")), Reason.NO_ANSWER),
    ("an operator's grant is not the person's", RULE, view(row("given", "operator")), Reason.NO_ANSWER),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "what", "reason"), [case[1:] for case in TABLE], ids=[case[0] for case in TABLE]
)
def test_the_table(rule: Rule, what: View, reason: Reason) -> None:
    decision = decide_one(rule, what)
    assert decision.reason is reason
    assert decision.allowed is bool(decision) is (reason in ALLOWING)
    assert decision.item == rule.item


def test_every_reason_is_in_the_table() -> None:
    assert {case[3] for case in TABLE} | {Reason.STORE_UNAVAILABLE} == set(Reason)
    assert not unavailable("ads")
    assert unavailable("ads").reason is Reason.STORE_UNAVAILABLE


def test_what_a_decision_tells() -> None:
    given_row = row("given", expires_us=NOW + 1)
    decision = decide_one(RULE, view(given_row))
    assert (decision.version, decision.event_id) == ("3", given_row.event_id)
    assert decision.expires is not None
    assert decide_one(RULE, view()).needs == ("ads",)
    assert decide_one(RULE, view(facts=CHILD)).needs == ("guardian",)
    assert decide_one(replace(RULE, policies=("terms",)), view(GIVEN)).needs == ("terms",)
    assert decide_one(RULE, view(GIVEN, CLOSED)).event_id == CLOSED.event_id
    both = view(
        row("given", expires_us=NOW + 9), replace(GUARDIAN, expires_us=NOW + 3), facts=CHILD, place=JOINT
    )
    ends = decide_one(RULE, both).expires
    assert ends is not None
    assert ends.microsecond == 3


@pytest.mark.parametrize("children", ["guardian", "not_allowed"])
def test_an_unknown_age_is_asked_first(children: str) -> None:
    ask = MinorRules(unknown_age="ask", children=children)
    for rule in (RULE, replace(RULE, minors="never"), replace(RULE, dpv=("Ads",))):
        what = view(GIVEN, facts=Facts(), minors=ask, place=place(forbidden=("Ads",)))
        decision = decide_one(rule, what)
        assert (decision.needs, decision.asks_age) == (("age",), True)
        known = decide_one(rule, replace(what, facts=CHILD))
        assert not known.asks_age
        assert "age" not in known.needs
        assert not decide_one(rule, replace(what, minors=MinorRules(unknown_age="minor"))).asks_age
    # a purpose may have the key "age"
    assert not decide_one(replace(RULE, item="age"), view()).asks_age
    assert decide_one(replace(RULE, item="age"), view()).needs == ("age",)


class TestSeveralItems:
    def test_all_must_allow(self) -> None:
        mail = replace(RULE, item="mail")
        assert decide([RULE, mail], view(GIVEN)).reason is Reason.NO_ANSWER
        assert decide([RULE, mail], view(GIVEN, row("given", item="mail"))).allowed

    def test_the_denial_with_the_lowest_number_is_answered(self) -> None:
        never, mail = (
            replace(RULE, item="kids", minors="never"),
            replace(RULE, item="mail", policies=("terms",)),
        )
        what = view(REFUSED, facts=CHILD)
        assert decide([RULE, mail, never], what).reason is Reason.FORBIDDEN_FOR_MINORS
        assert decide([RULE, mail], what).reason is Reason.POLICY_NOT_ACCEPTED
        assert decide([mail, RULE], what).item == "mail"

    def test_an_allowing_rule_with_a_lower_number_hides_no_denial(self) -> None:
        free = replace(RULE, item="log", basis=Basis.NOT_PERSONAL_DATA)
        assert decide([free, RULE], view()).reason is Reason.NO_ANSWER

    def test_nothing_asked_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="nothing was asked"):
            decide([], view())


class TestScopes:
    RULE = replace(RULE, scoped=True)

    def test_each_thing_has_an_answer_of_its_own(self) -> None:
        rows = (row("given", scope="c:1"), row("refused", scope="c:2"))
        assert decide_one(self.RULE, view(*rows, scope="c:1")).allowed
        assert decide_one(self.RULE, view(*rows, scope="c:2")).reason is Reason.REFUSED
        assert decide_one(self.RULE, view(*rows)).reason is Reason.NO_ANSWER

    def test_a_denial_of_all_things_holds_for_each(self) -> None:
        rows = (row("given", scope="c:1"), row("withdrawn", at=101))
        assert decide_one(self.RULE, view(*rows, scope="c:1")).reason is Reason.WITHDRAWN

    def test_a_later_grant_for_one_thing_opens_it(self) -> None:
        rows = (row("withdrawn", at=99), row("given", scope="c:1"))
        assert decide_one(self.RULE, view(*rows, scope="c:1")).allowed
        assert decide_one(self.RULE, view(*rows, scope="c:2")).reason is Reason.WITHDRAWN


class TestPolicies:
    """Policies run rules 1, 2, 4, 5, 10 and 12 to 17 only."""

    @pytest.mark.parametrize(
        "rule",
        [
            replace(TERMS, basis=Basis.LEGAL_OBLIGATION),
            replace(TERMS, minors="never"),
            replace(TERMS, policies=("missing",)),
            replace(TERMS, basis=Basis.CONTRACT),
            replace(TERMS, signals=("gpc",)),
        ],
    )
    def test_the_other_rules_do_not_run(self, rule: Rule) -> None:
        what = view(CLOSED, signal(500), signals=frozenset({"gpc"}), facts=CHILD)
        assert decide_one(rule, what).reason is Reason.NO_ANSWER

    def test_opt_out_is_not_for_policies(self) -> None:
        assert decide_one(TERMS, view()).reason is Reason.NO_ANSWER


# ---------------------------------------------------------------- properties

ACTORS = ["subject", "guardian:1", "guardian:2", "operator", "browser", "invitation", "visitor"]
ROWS = st.builds(
    row,
    st.sampled_from(sorted({a.value for a in ANSWERS} | {"requested"})),
    st.sampled_from(ACTORS),
    st.integers(90, 110),
    kind=st.sampled_from(["purpose", "policy", "subject", "signal"]),
    item=st.sampled_from(["ads", "account", "terms", "restriction", "objection", "gpc"]),
    version=st.integers(1, 4),
    level=st.integers(0, 2),
    expires_us=st.sampled_from([None, NOW, NOW + 1]),
    event_id=st.uuids().map(str),
)
DENIALS_SAID = ROWS.filter(
    lambda r: (
        r.status in DENIALS and (r.status in ("restricted", "objected")) >= (r.kind in ("subject", "signal"))
    )
)
RULES = st.builds(
    replace,
    st.just(RULE),
    basis=st.sampled_from(Basis),
    minors=st.sampled_from(["guardian", "never", "allowed"]),
    regime=st.sampled_from([None, *Regime]),
    category=st.sampled_from(["", "stats"]),
    policies=st.sampled_from([(), ("terms",)]),
    dpv=st.sampled_from([(), ("Ads",)]),
)
VIEWS = st.builds(
    lambda rows, facts, where, exceptions, unknown, children: view(
        *{(r.kind, r.item, r.scope, r.actor): r for r in rows}.values(),
        facts=facts,
        place=where,
        exceptions=exceptions,
        minors=unknown and MinorRules(age=16, unknown_age=unknown, children=children),
    ),
    st.lists(ROWS, max_size=8),
    st.sampled_from([ADULT, CHILD, GROWN, Facts(), ERASED]),
    st.sampled_from([place(), JOINT, OPT_OUT, EXEMPT, place(age=13), place(forbidden=("Ads",))]),
    st.sampled_from([frozenset(), frozenset({"ads"})]),
    st.sampled_from([None, "adult", "minor", "ask"]),
    st.sampled_from(["guardian", "not_allowed"]),
)


@given(RULES, VIEWS)
def test_no_yes_without_a_grant(rule: Rule, what: View) -> None:
    decision = decide_one(rule, what)
    if decision.reason in (Reason.EXCEPTION, Reason.NOT_REQUIRED):
        return
    grants = [r for r in what.rows if r.item == "ads" and r.kind == "purpose" and r.status in GRANTS]
    assert not decision.allowed or grants


@settings(max_examples=500)
@given(RULES, VIEWS, DENIALS_SAID)
def test_a_later_denial_never_opens(rule: Rule, what: View, denial: Row) -> None:
    """The denial replaces its actor's row, as the ledger does; it is later than everything else.

    Only a refusal in place of an objection may open what rests on no consent: that is rule 9.
    """
    key = (denial.kind, denial.item, denial.scope, denial.actor)
    kept = [r for r in what.rows if (r.kind, r.item, r.scope, r.actor) != key]
    replaced = [r.status for r in what.rows if r not in kept]
    assume(rule.basis is Basis.CONSENT or "objected" not in replaced or denial.status == "objected")
    after = decide_one(rule, replace(what, rows=[*kept, replace(denial, effective_us=500)]))
    assert decide_one(rule, what).allowed or not after.allowed


@given(RULES, VIEWS, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(rule: Rule, what: View, chance: Any) -> None:
    mixed = list(what.rows)
    chance.shuffle(mixed)
    assert decide_one(rule, replace(what, rows=mixed)).reason is decide_one(rule, what).reason


@given(RULES, VIEWS)
def test_no_child_gets_in_where_children_are_not_allowed(rule: Rule, what: View) -> None:
    closed = replace(what, facts=CHILD, minors=CLOSED_TO_MINORS, place=place(), exceptions=frozenset())
    allowed = rule.basis in (Basis.LEGAL_OBLIGATION, Basis.NOT_PERSONAL_DATA)
    assert decide_one(rule, closed).allowed is allowed


@given(RULES, VIEWS)
def test_an_erased_subject_is_not_processed(rule: Rule, what: View) -> None:
    decision = decide_one(rule, replace(what, facts=ERASED, exceptions=frozenset()))
    assert decision.reason in (Reason.ERASED, Reason.NOT_REQUIRED)
    assert decision.allowed is (rule.basis in (Basis.LEGAL_OBLIGATION, Basis.NOT_PERSONAL_DATA))
