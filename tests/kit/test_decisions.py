"""Promises that privacy policies make about decisions: what is asked never, once, for one thing, and of the past."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa
from ledgers import OnPostgresql, OnSqlite, ShiftedClock, Suite, catalog, open_kit

from consentkit import Age, ConsentMissing, MinorRules, Policy, PolicyVersion, Purpose, Reason
from consentkit.core.catalog import Site
from consentkit.core.errors import ChoiceRejected
from consentkit.core.terms import Basis
from consentkit.core.times import from_us
from consentkit.kit import Kit

DAY = timedelta(days=1)
PURPOSES = [
    Purpose("account", title="Your account", basis=Basis.CONTRACT, core=True),
    Purpose("service_messages", title="Service messages", basis=Basis.CONTRACT),
    Purpose("invoices", title="Invoices for the tax office", basis=Basis.LEGAL_OBLIGATION),
    Purpose("device_info", title="Model and system", basis=Basis.NOT_PERSONAL_DATA, category="analytics"),
    Purpose("usage", title="Usage", category="analytics"),
    Purpose("heatmap", title="Heatmap", category="analytics"),
    Purpose("marketing.push", title="Promotions"),
    Purpose("feedback", title="Your letter to us", valid_for="P7D"),
    Purpose("testimonial", title="Printing your comment", scoped=True),
]


class DecisionSuite(Suite):
    @pytest.fixture
    def kit(self, url: str, clock: ShiftedClock) -> Iterator[Kit]:
        kit = open_kit(url, catalog(purposes=PURPOSES), clock=clock)
        yield kit
        kit.runtime.dispose()

    @pytest.fixture
    def later(self, clock: ShiftedClock) -> Any:
        """Let time pass; returns a moment just before it did, when all that was said was in force."""

        def pass_by(span: timedelta = DAY) -> datetime:
            clock.shift_us += 1_000
            before = from_us(clock.now())
            clock.shift_us += span // timedelta(microseconds=1)
            return before

        return pass_by

    # ------------------------------------------------------------ what is never asked

    def test_what_is_not_personal_is_listed_never_asked_and_never_blocked(self, kit: Kit) -> None:
        asked = [p.key for p in kit.catalog.purposes_of("analytics")]
        assert "device_info" in kit.notice().body
        assert asked == ["usage", "heatmap"]
        for said in (
            lambda: kit.refuse("u-1", "analytics"),
            lambda: kit.object("u-1", "device_info"),
            lambda: kit.restrict("u-1"),
            lambda: kit.withdraw("u-1", "account"),
            lambda: kit.erase("u-1"),
        ):
            said()
            decision = kit.of("u-1").decide("device_info")
            assert (decision.allowed, decision.reason) == (True, Reason.NOT_REQUIRED)
        assert kit.of(None).allows("device_info")

    def test_several_purposes_together_are_as_strict_as_the_strictest(self, kit: Kit) -> None:
        """Device data are nobody's until they are combined with what is somebody's."""
        combine = kit.gated("device_info", "usage", subject="who")(lambda who: "combined")
        assert kit.of("u-1").allows("device_info")
        with pytest.raises(ConsentMissing, match=r"'usage'.*NO_ANSWER"):
            combine("u-1")
        kit.give("u-1", "analytics")
        assert combine("u-1") == "combined"
        assert kit.of("u-1").decide("analytics").reason == Reason.GIVEN

    def test_of_several_denials_the_one_of_the_earliest_rule_is_answered(self, kit: Kit) -> None:
        who = kit.of("u-1")
        kit.give("u-1", "usage")
        assert (who.decide("analytics").item, who.decide("analytics").reason) == ("heatmap", "NO_ANSWER")
        kit.withdraw("u-1", "usage")
        assert (who.decide("analytics").item, who.decide("analytics").reason) == ("usage", "WITHDRAWN")
        kit.object("u-1", "heatmap")
        assert (who.decide("analytics").item, who.decide("analytics").reason) == ("heatmap", "RESTRICTED")

    def test_service_messages_always_promotions_by_choice(self, kit: Kit) -> None:
        who = kit.of("u-1")
        assert (who.allows("service_messages"), who.allows("marketing.push")) == (True, False)
        kit.give("u-1", "marketing.push")
        assert who.allows("marketing.push")
        kit.choose("u-1", withdraw=["marketing.push"], refuse=["usage", "heatmap"])
        assert who.decide("marketing.push").reason == Reason.WITHDRAWN
        assert who.decide("service_messages").reason == Reason.NOT_REQUIRED

    # ------------------------------------------------------------ the core purpose

    def test_withdrawing_an_optional_purpose_leaves_the_rest(self, kit: Kit) -> None:
        kit.give("u-1", ["usage", "heatmap"])
        kit.withdraw("u-1", "usage")
        allowed = {
            key: kit.of("u-1").allows(key) for key in ("account", "service_messages", "heatmap", "usage")
        }
        assert allowed == {"account": True, "service_messages": True, "heatmap": True, "usage": False}

    @pytest.mark.parametrize("verb", ["withdraw", "refuse"])
    def test_without_the_core_purpose_the_service_is_closed(self, kit: Kit, verb: str) -> None:
        kit.give("u-1", ["usage", "marketing.push"])
        getattr(kit, verb)("u-1", "account")
        who, reason = kit.of("u-1"), {"withdraw": "WITHDRAWN", "refuse": "REFUSED"}[verb]
        for key in ("account", "service_messages", "usage", "marketing.push", "heatmap"):
            decision = who.decide(key)
            assert (decision.allowed, decision.reason, decision.needs) == (False, reason, ("account",))
        assert who.allows("invoices")

    def test_coming_back_gives_nothing_again(self, kit: Kit) -> None:
        kit.give("u-1", "usage")
        kit.withdraw("u-1", "account")
        kit.continue_use("u-1")
        kit.learn("u-1", jurisdiction="DE")
        kit.accept("u-1", "terms", method="login_button")
        assert kit.of("u-1").decide("usage").reason == Reason.WITHDRAWN
        kit.give("u-1", "account")
        assert (kit.of("u-1").allows("account"), kit.of("u-1").allows("usage")) == (True, True)

    def test_after_erasure_the_service_is_closed(self, kit: Kit) -> None:
        kit.give("u-1", "usage")
        kit.erase("u-1")
        kit.continue_use("u-1")
        for key in ("account", "service_messages", "usage"):
            assert kit.of("u-1").decide(key).reason == Reason.ERASED
        assert kit.of("u-1").allows("invoices")

    # ------------------------------------------------------------ one thing

    def test_consent_for_one_comment_is_withdrawn_alone(self, kit: Kit) -> None:
        who = kit.of("u-1")
        for scope in ("comment:1", "comment:2"):
            kit.give("u-1", "testimonial", scope=scope)
        kit.withdraw("u-1", "testimonial", scope="comment:1")
        answers = {n: who.decide("testimonial", scope=f"comment:{n}").reason for n in (1, 2, 3)}
        assert answers == {1: "WITHDRAWN", 2: "GIVEN", 3: "NO_ANSWER"}
        assert who.decide("testimonial").reason == Reason.NO_ANSWER
        assert who.status("testimonial", scope="comment:1") == "withdrawn"
        kit.withdraw("u-1", "testimonial")  # and all at once
        assert not who.allows("testimonial", scope="comment:2")

    # ------------------------------------------------------------ what cannot be asked

    @pytest.mark.parametrize("who", [42, 4.2, b"u-1", "", "a\0b", "\ud800", "x" * 1025, ["u-1"]])
    def test_what_is_no_id(self, kit: Kit, who: Any) -> None:
        questions: list[Callable[[], object]] = [
            lambda: kit.of(who),
            lambda: kit.decide(who, "usage"),
            lambda: kit.decide_many(["u-1", who], "usage"),
            lambda: list(kit.audience_ids("usage", among=["u-1", who])),
            lambda: kit.receipt(who),
            lambda: kit.export(who),
        ]
        for question in questions:
            with pytest.raises(ValueError, match=r"subject|surrogates"):
                question()

    @pytest.mark.parametrize("tenant", [42, b"", "a\0b", "x" * 1025])
    def test_what_is_no_tenant(self, kit: Kit, tenant: Any) -> None:
        questions: list[Callable[[], object]] = [
            lambda: kit.decide("u-1", "usage", tenant=tenant),
            lambda: kit.of(None, tenant=tenant),
            lambda: kit.decide_many(["u-1"], "usage", tenant=tenant),
            lambda: kit.audience("usage", tenant=tenant),
            lambda: kit.audience_ids("usage", tenant=tenant),
            lambda: kit.audience_ids("usage", tenant=tenant, among=["u-1"]),
            lambda: kit.allowed("usage", sa.column("id", sa.Text), tenant=tenant),
        ]
        for question in questions:
            with pytest.raises(ValueError, match="tenant"):
                question()

    @pytest.mark.parametrize("item", [None, 5, ["usage"], b"usage"])
    def test_what_is_no_key(self, kit: Kit, item: Any) -> None:
        questions: list[Callable[[], object]] = [
            lambda: kit.decide("u-1", item),
            lambda: kit.decide("u-1", item, at=datetime.now(UTC)),
            lambda: kit.decide_many(["u-1"], item),
            lambda: kit.of("u-1").status(item),
            lambda: kit.audience(item),
            lambda: kit.audience_ids(item),
        ]
        for question in questions:
            with pytest.raises(ValueError, match="no key"):
                question()

    def test_what_is_no_moment(self, kit: Kit, clock: ShiftedClock) -> None:
        for moment in ("2026-01-01", 5, from_us(clock.now()).date()):
            with pytest.raises(ValueError, match="no moment"):
                kit.decide("u-1", "usage", at=moment)  # type: ignore[arg-type]

    def test_many_are_any_iterable_but_one_text(self, kit: Kit) -> None:
        found = kit.decide_many((f"u-{n}" for n in range(2)), "usage")
        assert {who: d.reason for who, d in found.items()} == dict.fromkeys(("u-0", "u-1"), "NO_ANSWER")
        with pytest.raises(ValueError, match="not one text"):
            kit.decide_many("u-1", "usage")

    def test_a_loader_that_fails_for_one_denies_that_one(
        self, url: str, clock: ShiftedClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        kit = self.release(url, clock, Purpose("usage", title="U", basis="contract"))

        def age(subject: str) -> Age:
            if subject == "u-1":
                raise RuntimeError("the host's database is away")
            return Age(years=30)

        kit.facts.age = age
        found = kit.decide_many(["u-0", "u-1", "u-2"], "usage")
        assert [str(d.reason) for d in found.values()] == [
            "NOT_REQUIRED",
            "STORE_UNAVAILABLE",
            "NOT_REQUIRED",
        ]
        assert [record.event for record in caplog.records] == ["subject_unanswered"]  # type: ignore[attr-defined]
        assert "away" not in caplog.text
        kit.runtime.dispose()

    def test_a_row_that_makes_no_sense_denies_that_one(self, kit: Kit) -> None:
        for who in ("u-0", "u-1", "u-2"):
            kit.give(who, "feedback")
        spoilt = ["UPDATE consentkit_subject SET band = 'xx' WHERE subject = 'u-1'"]
        if not kit.runtime.database.postgresql:  # which has types
            spoilt += [
                "UPDATE consentkit_subject SET band = 'minor', minor_until_us = 'soon' WHERE subject = 'u-1'",
                "UPDATE consentkit_subject SET band = NULL, minor_until_us = NULL WHERE subject = 'u-1'; "
                "UPDATE consentkit_state SET expires_us = 'soon' WHERE subject_key = "
                "(SELECT subject_key FROM consentkit_subject WHERE subject = 'u-1')",
            ]
        for statements in spoilt:
            with kit.runtime.database.engine.begin() as connection:
                for statement in statements.split("; "):
                    connection.exec_driver_sql(statement)
            assert kit.decide("u-1", "feedback").reason == Reason.STORE_UNAVAILABLE
            found = kit.decide_many(["u-0", "u-1", "u-2"], "feedback")
            assert [str(d.reason) for d in found.values()] == ["GIVEN", "STORE_UNAVAILABLE", "GIVEN"]

    def test_the_status_is_that_of_the_own_answer_whatever_denies(self, kit: Kit, later: Any) -> None:
        kit.give("u-1", "feedback")
        later(8 * DAY)
        kit.restrict("u-1")
        who = kit.of("u-1")
        assert (who.decide("feedback").reason, who.status("feedback")) == (Reason.RESTRICTED, "expired")
        said = [answer["status"] for answer in kit.receipt("u-1")["answers"]]
        assert said == ["expired", "restricted"]

    def test_an_outdated_answer_is_that_too_while_a_policy_is_missing(
        self, url: str, clock: ShiftedClock
    ) -> None:
        old = self.release(url, clock, Purpose("usage", title="Usage"))
        old.give("u-1", "usage")
        old.runtime.dispose()
        kit = self.release(url, clock, Purpose("usage", title="Usage", version=2, policies=["terms"]))
        who = kit.of("u-1")
        assert (who.decide("usage").reason, who.status("usage")) == (Reason.POLICY_NOT_ACCEPTED, "outdated")
        kit.runtime.dispose()

    # ------------------------------------------------------------ time

    def test_a_short_consent_ends_by_itself(self, kit: Kit, clock: ShiftedClock, later: Any) -> None:
        who = kit.of("u-1")
        (given,) = kit.give("u-1", "feedback", at=from_us(clock.now()))
        assert who.decide("feedback").expires == given.effective_at + 7 * DAY
        in_time = later(7 * DAY - timedelta(seconds=10))
        assert who.allows("feedback")
        later(timedelta(seconds=10))
        assert (who.decide("feedback").reason, who.status("feedback")) == (Reason.EXPIRED, "expired")
        assert len(kit.ledger.of_subject("u-1")) == 1  # nobody had to write that down
        assert who.decide("feedback", at=in_time).allowed
        kit.give("u-1", "feedback", renew=True)
        assert who.allows("feedback")
        later(3 * DAY)
        kit.refuse("u-1", "feedback")
        later(30 * DAY)
        assert who.decide("feedback").reason == Reason.REFUSED  # only a yes ends

    def test_any_past_moment(self, kit: Kit, later: Any) -> None:
        who, moments = kit.of("u-1"), {"before": later()}
        for verb in ("refuse", "give", "withdraw", "object", "lift", "give"):
            getattr(kit, verb)("u-1", "usage")
            moments[f"{len(moments)} {verb}"] = later()
        kit.withdraw("u-1", "account")
        moments["closed"] = later()
        kit.erase("u-1")
        found = {name: str(who.decide("usage", at=at).reason) for name, at in moments.items()}
        assert found == {
            "before": "NO_ANSWER",
            "1 refuse": "REFUSED",
            "2 give": "GIVEN",
            "3 withdraw": "WITHDRAWN",
            "4 object": "RESTRICTED",
            "5 lift": "NO_ANSWER",
            "6 give": "GIVEN",
            "closed": "WITHDRAWN",
        }
        assert who.decide("usage").reason == Reason.ERASED
        assert who.decide("invoices", at=moments["closed"]).allowed

    def test_the_very_instant_counts(self, kit: Kit, later: Any) -> None:
        (event,) = kit.give("u-1", "usage")
        later()
        who, instant = kit.of("u-1"), event.effective_at
        assert who.decide("usage", at=instant).allowed
        assert not who.decide("usage", at=instant - timedelta(microseconds=1)).allowed

    def test_no_moment_to_come_and_none_without_a_zone(self, kit: Kit, clock: ShiftedClock) -> None:
        now = from_us(clock.now())
        for moment in (now + DAY, datetime(2026, 1, 1), datetime(1969, 1, 1, tzinfo=UTC)):
            with pytest.raises(ValueError, match=r"future|ahead|zone|1970"):
                kit.of("u-1").decide("usage", at=moment)

    def test_a_child_then_and_a_grown_up_now(self, url: str, clock: ShiftedClock, later: Any) -> None:
        rules = catalog(purposes=[Purpose("usage", title="Usage")], minors=MinorRules(age=16))
        kit = open_kit(url, rules, clock=clock)
        kit.learn("kid-7", age=Age(years=15), jurisdiction="DE")
        kit.give("kid-7", "usage", actor="guardian:1", assurance="verifiable")
        then = later(2 * 366 * DAY)
        who = kit.of("kid-7")
        assert who.decide("usage", at=then).reason == Reason.GIVEN
        assert who.decide("usage").reason == Reason.AGED_OUT
        kit.runtime.dispose()

    # ------------------------------------------------------------ the catalogue and the facts of then

    def release(self, url: str, clock: ShiftedClock, *purposes: Purpose, **more: Any) -> Kit:
        return open_kit(url, catalog(purposes=purposes, **more), clock=clock)

    def test_by_the_basis_of_then(self, url: str, clock: ShiftedClock, later: Any) -> None:
        old = self.release(url, clock, Purpose("usage", title="Usage"))
        old.refuse("u-1", "usage")
        then = later()
        old.runtime.dispose()
        kit = self.release(url, clock, Purpose("usage", title="Usage", version=2, basis=Basis.CONTRACT))
        assert kit.decide("u-1", "usage").reason == Reason.NOT_REQUIRED
        decision = kit.decide("u-1", "usage", at=then)
        assert (decision.reason, decision.version) == (Reason.REFUSED, "1")
        kit.runtime.dispose()

    def test_by_what_is_not_material_too(self, url: str, clock: ShiftedClock, later: Any) -> None:
        """Signals, minors, policies, category and core change under one version: the catalogue of then has them."""
        then_and_now = [
            ({"core": True}, {}),
            ({"policies": ["privacy"]}, {}),
            ({"minors": "never"}, {"minors": "allowed"}),
            ({"signals": ["gpc"]}, {}),
        ]
        for n, (was, now) in enumerate(then_and_now):
            key, who = f"p{n}", f"u-{n}"
            old = self.release(url, clock, Purpose(key, title="P", **was), minors=MinorRules(age=16))
            old.signalled(who)
            old.learn(who, age=Age(years=9))
            before = old.decide(who, key)
            then = later()
            old.runtime.dispose()
            kit = self.release(url, clock, Purpose(key, title="P", **now))
            kit.give(who, key)
            assert kit.decide(who, key).allowed
            assert kit.decide(who, key, at=then) == before
            kit.runtime.dispose()

    def test_a_purpose_and_a_category_that_are_gone(self, url: str, clock: ShiftedClock, later: Any) -> None:
        site = Site(default_jurisdiction="US-CA")
        old = self.release(url, clock, Purpose("usage", title="Usage", category="analytics"), site=site)
        old.refuse("u-1", "usage")
        then = later()
        old.runtime.dispose()
        kit = self.release(url, clock, Purpose("letter", title="Letter", category="analytics"))
        with pytest.raises(LookupError):
            kit.decide("u-1", "usage")
        with pytest.raises(LookupError):
            kit.decide("u-1", "never", at=then)
        answers = [kit.decide("u-1", key, at=then).reason for key in ("usage", "analytics", "letter")]
        assert answers == [Reason.REFUSED, Reason.REFUSED, Reason.NOT_REQUIRED]
        assert kit.decide("u-2", "usage", at=then).reason == Reason.NOT_REQUIRED  # silence was enough there
        kit.runtime.dispose()

    def test_a_catalogue_of_then_that_was_changed_says_nothing(
        self, url: str, clock: ShiftedClock, later: Any
    ) -> None:
        old = self.release(url, clock, Purpose("usage", title="Usage", basis=Basis.CONTRACT))
        then = later()
        old.runtime.dispose()
        kit = self.release(url, clock, Purpose("usage", title="Usage", version=2))
        kit.runtime._catalogues = [(0, "0" * 64), (2**62, kit.runtime._digest)]
        assert kit.decide("u-1", "usage", at=then).reason == Reason.STORE_UNAVAILABLE
        kit.runtime.dispose()

    def test_a_child_who_answers_alone_and_one_whose_age_came_later(
        self, url: str, clock: ShiftedClock, later: Any
    ) -> None:
        kit = self.release(url, clock, Purpose("usage", title="Usage"), minors=MinorRules())
        kit.learn("teen", age=Age(years=14), jurisdiction="US-CA")
        kit.give("teen", "usage")
        kit.give("kid", "usage")
        then = later()
        assert kit.decide("teen", "usage", at=then).reason == Reason.GIVEN
        kit.learn("kid", age=Age(years=9))
        assert kit.decide("kid", "usage").reason == Reason.GUARDIAN_REQUIRED
        assert kit.decide("kid", "usage", at=then).reason == Reason.GIVEN  # nobody knew
        kit.learn("teen", age=Age(years=14), jurisdiction="FR")
        assert kit.decide("teen", "usage", at=then).reason == Reason.GIVEN
        kit.runtime.dispose()

    def test_the_age_loader_says_how_old_somebody_was(self, url: str, clock: ShiftedClock) -> None:
        kit = self.release(url, clock, Purpose("usage", title="U", basis="contract", minors="never"))
        now = from_us(clock.now())
        kit.facts.age = lambda subject: Age(born=now.date() - 20 * 365 * DAY)
        assert kit.decide("u-1", "usage", at=now).allowed
        assert kit.decide("u-1", "usage", at=now - 8 * 365 * DAY).reason == Reason.FORBIDDEN_FOR_MINORS
        kit.runtime.dispose()

    @pytest.mark.parametrize("seed", range(6))
    def test_now_is_a_moment_too(self, url: str, clock: ShiftedClock, seed: int) -> None:
        chance = Random(seed)
        purposes = [
            Purpose("account", title="A", basis="legitimate_interest", core=chance.random() < 0.5),
            Purpose("usage", title="U", category="analytics", valid_for="P30D", signals=["gpc"]),
            Purpose("letter", title="L", minors="never", policies=["terms"]),
            Purpose("quote", title="Q", minors="allowed", scoped=True),
        ]
        more: dict[str, Any] = {
            "minors": chance.choice([None, MinorRules(), MinorRules(age=16, unknown_age="minor")]),
            "site": Site(default_jurisdiction=chance.choice([None, "US-CA", "DE"])),
        }
        kit = self.release(url, clock, *purposes, **more)
        keys = [p.key for p in purposes]
        for _ in range(60):
            clock.shift_us += chance.choice([1_000, 10 * 86_400_000_000])
            self.something(kit, chance, f"u-{chance.randrange(8)}", chance.choice(keys))
        clock.shift_us += 1_000_000
        for who, key in itertools.product([f"u-{n}" for n in range(9)], [*keys, "analytics", "terms"]):
            for scope in ("", "c:1"):
                past = kit.of(who).decide(key, at=from_us(clock.now()), scope=scope)
                assert past == kit.of(who).decide(key, scope=scope), (who, key)
        kit.runtime.dispose()

    def something(self, kit: Kit, chance: Random, who: str, key: str) -> None:
        """One thing that a person, a guardian or the operator may do; some of them are rejected."""
        scope = {"scope": "c:1"} if key == "quote" else {}
        actor = chance.choice(["subject", "subject", "guardian:1", "operator"])
        place = chance.choice([None, "DE", "FR", "US-CA"])
        doing: list[Callable[[], object]] = [
            lambda: kit.give(who, key, **{"actor": actor, **scope}),  # type: ignore[arg-type]
            lambda: kit.give(who, key, **scope),  # type: ignore[arg-type]
            lambda: kit.withdraw(who, key, **{"actor": actor, **scope}),  # type: ignore[arg-type]
            lambda: kit.object(who, chance.choice([(), key])),
            lambda: kit.lift(who, chance.choice([(), key])),
            lambda: kit.accept(who, "terms"),
            lambda: kit.signalled(who),
            lambda: kit.learn(who, age=Age(years=chance.choice([9, 14, 17, 30])), jurisdiction=place),
            lambda: kit.learn(who, jurisdiction=place),
            lambda: chance.random() < 0.2 and kit.erase(who),
        ]
        with contextlib.suppress(ChoiceRejected):
            chance.choice(doing)()

    def test_by_the_policy_in_effect_when_it_was_collected_and_today(
        self, url: str, clock: ShiftedClock, later: Any
    ) -> None:
        """Was it allowed when it was collected, and is it now? Two questions, by the versions of their time."""
        usage = Purpose("usage", title="Usage", policies=["privacy"])

        def release(*numbers: str) -> Kit:
            versions = [PolicyVersion(n, texts={"en": f"# Privacy {n}"}) for n in numbers]
            policies = [Policy("privacy", title="Privacy", versions=versions)]
            return open_kit(url, catalog(purposes=[usage], policies=policies, bundles=()), clock=clock)

        old = release("1")
        early = later()
        old.accept("u-1", "privacy")
        old.give("u-1", "usage")
        collected = later(30 * DAY)
        old.runtime.dispose()
        kit = release("1", "2")
        who = kit.of("u-1")
        in_effect = [kit.policy_in_effect("privacy", at) for at in (collected, None)]
        assert [found and found.version for found in in_effect] == ["1", "2"]
        assert who.decide("usage", at=collected).reason == Reason.GIVEN
        assert who.decide("privacy", at=collected).version == "1"
        assert who.decide("usage").reason == Reason.POLICY_NOT_ACCEPTED
        assert who.decide("usage", at=early).reason == Reason.POLICY_NOT_ACCEPTED
        kit.accept("u-1", "privacy")
        assert who.allows("usage")
        assert who.decide("privacy", at=collected).version == "1"
        kit.runtime.dispose()


class TestSqlite(OnSqlite, DecisionSuite): ...


class TestPostgresql(OnPostgresql, DecisionSuite): ...
