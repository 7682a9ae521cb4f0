"""Every verb and every question, on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ledgers import CHILDREN, OnPostgresql, OnSqlite, ShiftedClock, Suite, catalog, open_kit, rows

from consentkit.core.catalog import Site
from consentkit.core.choices import Manner, giving
from consentkit.core.errors import (
    AcceptanceMissing,
    ChoiceRejected,
    ConsentMissing,
    GuardianNeeded,
    GuardianNotNeeded,
    NoticeOutdated,
    SeparateConsentNeeded,
    UnknownPurpose,
)
from consentkit.core.minors import Age
from consentkit.core.terms import Reason, Status
from consentkit.core.times import from_us
from consentkit.kit import Kit
from consentkit.signals import consent_recorded
from consentkit.store.clock import bucket_of_event, system_us

DAY_US = 86_400_000_000


def reason(kit: Kit, item: str, subject: str = "u-1", **more: Any) -> Reason:
    return kit.of(subject).decide(item, **more).reason


class Verbs(Suite):
    def test_nobody_knows_a_stranger(self, kit: Kit) -> None:
        consents = kit.of("u-1")
        assert consents.decide("news").reason is Reason.NO_ANSWER
        assert consents.status("news") is Status.UNKNOWN
        assert kit.of(None).decide("news").reason is Reason.NO_ANSWER
        assert not rows(kit, "SELECT * FROM consentkit_subject")

    def test_give_and_withdraw(self, kit: Kit) -> None:
        (event,) = kit.give("u-1", "news", method="tick", locale="en", notice="0" * 64)
        decision = kit.of("u-1").decide("news")
        assert (decision.reason, decision.event_id, decision.version) == (Reason.GIVEN, event.event_id, "1")
        assert (event.method, event.locale, event.notice) == ("tick", "en", "0" * 64)
        assert kit.of("u-1").check("news") == decision
        kit.withdraw("u-1", "news")
        assert reason(kit, "news") is Reason.WITHDRAWN
        assert kit.of("u-1").status("news") is Status.WITHDRAWN
        with pytest.raises(ConsentMissing) as caught:
            kit.of("u-1").check("news")
        assert caught.value.decision.reason is Reason.WITHDRAWN

    def test_an_equal_answer_is_recorded_again(self, kit: Kit) -> None:
        first, second = kit.give("u-1", "news")[0], kit.give("u-1", "news", renew=True)[0]
        assert (first.action, second.action) == ("given", "renewed")
        assert [e.event_id for e in kit.ledger.events(subject="u-1")] == [first.event_id, second.event_id]
        assert kit.of("u-1").decide("news").event_id == second.event_id

    def test_a_category_stands_for_its_bundled_purposes(self, kit: Kit) -> None:
        events = kit.give("u-1", "analytics")
        assert [e.item for e in events] == ["stats", "heatmap"]
        assert kit.of("u-1").allows("analytics")
        assert kit.of("u-1").decide("stats").expires is not None
        kit.refuse("u-1", "heatmap")
        assert reason(kit, "analytics") is Reason.REFUSED
        assert reason(kit, "necessary") is Reason.NOT_REQUIRED
        assert reason(kit, "preferences") is Reason.NO_ANSWER

    def test_refusals_are_never_rejected(self, kit: Kit) -> None:
        for verb in (kit.refuse, kit.withdraw):
            for item in ("news", "analytics", "transfer", "quote", "account", "books", "terms", "sign_in"):
                assert verb("u-1", item)
        assert kit.withdraw("u-1", "news", actor="operator")[0].action == "revoked"

    def test_what_cannot_be_given(self, kit: Kit) -> None:
        with pytest.raises(SeparateConsentNeeded):
            kit.give("u-1", ["transfer", "news"])
        with pytest.raises(ChoiceRejected, match="rests on legal_obligation"):
            kit.give("u-1", "books")
        with pytest.raises(ChoiceRejected, match="add scope="):
            kit.give("u-1", "quote")
        with pytest.raises(ChoiceRejected, match="leave scope= out"):
            kit.give("u-1", "news", scope="c:1")
        with pytest.raises(ChoiceRejected, match="cannot consent for a person"):
            kit.give("u-1", "news", actor="operator")
        with pytest.raises(ChoiceRejected, match="not consent to a purpose"):
            kit.give("u-1", "news", method="continued_use")
        with pytest.raises(ChoiceRejected, match="anonymous visitors"):
            kit.give("visitor:1", "news")
        with pytest.raises(GuardianNotNeeded):
            kit.give("u-1", "news", actor="guardian:1")
        with pytest.raises(UnknownPurpose):
            kit.give("u-1", "nws")
        assert not list(kit.ledger.events(subject="u-1"))

    @pytest.mark.parametrize("subject", ["", None, 42, "a\0b", "x" * 1025, "é" * 513])
    def test_what_is_no_id(self, kit: Kit, subject: Any) -> None:
        for verb in (kit.give, kit.withdraw):
            with pytest.raises(ValueError, match="subject"):
                verb(subject, "news")
        for whole in (kit.restrict, kit.erase, kit.learn):
            with pytest.raises(ValueError, match="subject"):
                whole(subject)

    def test_any_text_is_an_id(self, kit: Kit) -> None:
        for subject in ("ü-☃-'\"%s?", "x" * 1024, "é" * 512, " ", "{}", "100%"):
            kit.give(subject, "news")
            assert kit.of(subject).allows("news")

    def test_policies(self, kit: Kit) -> None:
        assert reason(kit, "terms") is Reason.NO_ANSWER
        with pytest.raises(AcceptanceMissing) as caught:
            kit.of("u-1").check("terms")
        assert (caught.value.policy, caught.value.version) == ("terms", "1")
        (event,) = kit.accept("u-1", "terms", method="tick", locale="de")
        assert kit.document(event.notice or "") == ("text/markdown", "# AGB")
        assert reason(kit, "terms") is Reason.ACCEPTED
        kit.decline("u-1", "terms")
        assert reason(kit, "terms") is Reason.REFUSED
        with pytest.raises(NoticeOutdated):
            kit.accept("u-1", "terms", notice="0" * 64)
        assert [e.item for e in kit.accept("u-1", "sign_in", method="login_button")] == ["terms", "privacy"]
        assert kit.of("u-1").allows("sign_in")

    def test_policy_in_effect(self, kit: Kit) -> None:
        release = kit.policy_in_effect("terms", datetime(2021, 1, 1, tzinfo=UTC))
        assert release is not None
        assert release.version == "1"

    def test_restriction_and_objection(self, kit: Kit) -> None:
        kit.give("u-1", "news")
        kit.restrict("u-1")
        assert reason(kit, "news") is reason(kit, "account") is Reason.RESTRICTED
        assert reason(kit, "books") is Reason.NOT_REQUIRED
        kit.lift("u-1")
        assert reason(kit, "news") is Reason.GIVEN
        kit.object("u-1")
        assert reason(kit, "account") is Reason.RESTRICTED
        kit.lift("u-1", actor="operator")
        kit.object("u-1", "account")
        assert reason(kit, "account") is Reason.RESTRICTED
        assert reason(kit, "news") is Reason.GIVEN
        kit.lift("u-1", "account")
        assert reason(kit, "account") is Reason.NOT_REQUIRED

    def test_withdrawing_the_core_purpose_closes_the_service(self, kit: Kit) -> None:
        kit.give("u-1", "news")
        kit.withdraw("u-1", "account")
        assert reason(kit, "news") is reason(kit, "account") is Reason.WITHDRAWN
        kit.give("u-1", "account")
        assert reason(kit, "news") is Reason.GIVEN

    def test_scopes(self, kit: Kit) -> None:
        kit.give("u-1", "quote", scope="comment:1")
        assert kit.of("u-1").allows("quote", scope="comment:1")
        assert not kit.of("u-1").allows("quote", scope="comment:2")
        assert kit.of("u-1").status("quote", scope="comment:1") is Status.GIVEN
        kit.withdraw("u-1", "quote", scope="comment:1")
        assert reason(kit, "quote", scope="comment:1") is Reason.WITHDRAWN

    def test_choose_in_one_act(self, kit: Kit) -> None:
        events = kit.choose("visitor:1", give=["stats", "transfer"], refuse=["heatmap"], withdraw=["news"])
        assert [(e.item, e.action) for e in events] == [
            ("stats", "given"),
            ("transfer", "given"),
            ("heatmap", "refused"),
            ("news", "withdrawn"),
        ]
        assert kit.of("visitor:1").allows("stats")

    def test_given_and_refused_in_one_act_is_refused(self, kit: Kit) -> None:
        kit.choose("u-1", give=["stats"], refuse=["stats"])
        assert reason(kit, "stats") is Reason.REFUSED

    def test_decide_many(self, kit: Kit) -> None:
        kit.give("u-1", "news")
        kit.refuse("u-2", "news")
        found = kit.decide_many(["u-1", "u-2", "u-3", "u-1"], "news")
        assert {k: d.reason for k, d in found.items()} == {
            "u-1": Reason.GIVEN,
            "u-2": Reason.REFUSED,
            "u-3": Reason.NO_ANSWER,
        }
        with pytest.raises(UnknownPurpose):
            kit.decide_many(["u-1"], "nws")

    def test_tenants_are_apart(self, kit: Kit) -> None:
        kit.give("u-1", "news", tenant="a")
        assert kit.of("u-1", tenant="a").allows("news")
        assert not kit.of("u-1", tenant="b").allows("news")
        assert not kit.of("u-1").allows("news")
        (event,) = kit.ledger.events(subject="u-1", tenant="a")
        assert kit.ledger.event(event.event_id, tenant="a") == event
        assert kit.ledger.event(event.event_id, tenant="b") is None
        assert not list(kit.ledger.events(subject="u-1", tenant="b"))

    def test_signals_after_the_answer(self, kit: Kit) -> None:
        seen: list[tuple[str, int]] = []

        def receive(sender: Kit, *, subject: str, tenant: str, events: list[Any]) -> None:
            seen.append((subject, len(events)))
            assert kit.of(subject).allows("stats")

        with consent_recorded.connected_to(receive, sender=kit):
            kit.give("u-1", "analytics")
        assert seen == [("u-1", 2)]

    # ---------------------------------------------------------------- time

    def test_a_grant_expires_by_itself(self, kit: Kit, clock: ShiftedClock) -> None:
        kit.give("u-1", "stats")
        clock.shift_us += 200 * DAY_US
        assert reason(kit, "stats") is Reason.EXPIRED
        assert kit.of("u-1").status("stats") is Status.EXPIRED

    def test_an_older_answer_leaves_the_state_alone(self, kit: Kit) -> None:
        yesterday = datetime.now(UTC) - timedelta(days=1)
        kit.withdraw("u-1", "news")
        (event,) = kit.give("u-1", "news", at=yesterday, method="import")
        assert event.effective_at == yesterday
        assert reason(kit, "news") is Reason.WITHDRAWN
        assert len(list(kit.ledger.events(subject="u-1"))) == 2

    def test_a_grant_and_a_denial_at_the_same_instant(self, kit: Kit) -> None:
        moment = datetime.now(UTC)
        kit.withdraw("u-1", "news", at=moment)
        kit.give("u-1", "news", at=moment)
        assert reason(kit, "news") is Reason.WITHDRAWN
        kit.give("u-2", "news", at=moment)
        kit.withdraw("u-2", "news", at=moment)
        assert reason(kit, "news", "u-2") is Reason.WITHDRAWN

    def test_at_must_be_aware_and_not_ahead(self, kit: Kit) -> None:
        ahead = datetime.now(UTC) + timedelta(minutes=6)
        for call in (kit.of("u-1").decide, lambda item, at: kit.give("u-1", item, at=at)):
            with pytest.raises(ValueError, match="time zone"):
                call("news", at=datetime(2026, 1, 1))
            with pytest.raises(ValueError, match="future"):
                call("news", at=ahead)
        kit.give("u-1", "news", at=datetime.now(UTC) + timedelta(minutes=4))
        kit.withdraw("u-1", "news")
        assert reason(kit, "news") is Reason.WITHDRAWN

    def test_decide_for_a_past_moment(self, kit: Kit, clock: ShiftedClock) -> None:
        clock.shift_us = -3 * DAY_US
        kit.give("u-1", "news")
        kit.accept("u-1", "terms")
        clock.shift_us = -1 * DAY_US
        kit.withdraw("u-1", "news")
        clock.shift_us = 0
        kit.erase("u-1")
        days = {d: from_us(system_us() - d * DAY_US) for d in (4, 2)}
        assert reason(kit, "news", at=days[4]) is Reason.NO_ANSWER
        assert reason(kit, "news", at=days[2]) is Reason.GIVEN
        assert reason(kit, "terms", at=days[2]) is Reason.ACCEPTED
        assert reason(kit, "news", at=from_us(system_us() - DAY_US // 2)) is Reason.WITHDRAWN
        assert reason(kit, "news", at=datetime.now(UTC)) is Reason.ERASED

    def test_a_withdrawal_with_a_slow_clock_counts(self, kit: Kit, url: str) -> None:
        """Another host's clock is a minute ahead; here it is not, and the person withdraws here."""
        ahead = open_kit(url, clock=ShiftedClock(60_000_000), publish=False)
        ahead.give("u-1", "news")
        kit.withdraw("u-1", "news")
        assert reason(kit, "news") is Reason.WITHDRAWN
        ahead.give("u-1", "news")
        kit.withdraw("u-1", "news")
        assert reason(kit, "news") is Reason.WITHDRAWN
        ahead.runtime.dispose()

    # ---------------------------------------------------------------- subjects

    def test_erase(self, kit: Kit) -> None:
        kit.give("u-1", "news")
        (event,) = kit.erase("u-1")
        assert (event.action, event.actor) == ("erased", "operator")
        assert json.loads(event.body)["reason"] == "art17"
        assert reason(kit, "news") is reason(kit, "account") is Reason.ERASED
        assert reason(kit, "books") is Reason.NOT_REQUIRED
        assert kit.erase("u-1") == []
        with pytest.raises(ChoiceRejected, match="unlink"):
            kit.erase("u-1", mode="shred")

    def test_a_new_answer_after_an_erasure_begins_anew(self, kit: Kit) -> None:
        kit.give("u-1", ["news", "ads"])
        kit.erase("u-1")
        kit.give("u-1", "news")
        assert reason(kit, "news") is Reason.GIVEN
        assert reason(kit, "ads") is Reason.NO_ANSWER
        assert [e.action for e in kit.ledger.events(subject="u-1")] == ["given"]
        mapping = rows(kit, "SELECT subject, salt, erased_us FROM consentkit_subject")
        hidden = [row for row in mapping if row[2] is not None]
        assert len(mapping) == 2
        assert hidden[0][0].startswith("erased:")
        assert hidden[0][1] is None
        kit.erase("u-1")
        kit.give("u-1", "news")
        assert reason(kit, "news") is Reason.GIVEN
        assert len(rows(kit, "SELECT subject FROM consentkit_subject WHERE erased_us IS NOT NULL")) == 1

    def test_a_hidden_subject_is_still_erased(self, kit: Kit) -> None:
        kit.give("u-1", "news")
        kit.erase("u-1")
        writer = kit.runtime.writer
        kit.runtime.database.write(lambda tx: writer.hide(tx, "", "u-1"))
        assert not rows(kit, "SELECT 1 FROM consentkit_subject WHERE subject = ?", "u-1")
        assert reason(kit, "news") is Reason.ERASED
        assert kit.erase("u-1") == []
        kit.learn("u-1", jurisdiction="DE")
        assert reason(kit, "news") is Reason.ERASED
        assert not rows(kit, "SELECT 1 FROM consentkit_subject WHERE subject = ?", "u-1")

    def test_rename(self, kit: Kit) -> None:
        given = kit.give("old", "news", locale="en")[0]
        kit.accept("old", "terms")
        kit.object("old", "account")
        kit.learn("old", jurisdiction="DE")
        events = kit.rename("old", "new")
        assert {e.item for e in events} == {"news", "terms", "account"}
        moved = next(e for e in events if e.item == "news")
        assert moved.effective_at == given.effective_at
        assert moved.locale == "en"
        assert json.loads(moved.body)["continues"] == given.event_id
        assert reason(kit, "news", "new") is Reason.GIVEN
        assert reason(kit, "terms", "new") is Reason.ACCEPTED
        assert reason(kit, "account", "new") is Reason.RESTRICTED
        assert reason(kit, "news", "old") is Reason.ERASED
        assert kit.export("new")["facts"]["jurisdiction"] == "DE"

    def test_what_cannot_be_renamed(self, kit: Kit) -> None:
        kit.give("a", "news")
        kit.give("b", "ads")
        with pytest.raises(ChoiceRejected, match="knows 'b' already"):
            kit.rename("a", "b")
        with pytest.raises(ChoiceRejected, match="does not know"):
            kit.rename("nobody", "c")
        with pytest.raises(ChoiceRejected, match="visitors"):
            kit.rename("a", "visitor:1")
        with pytest.raises(ChoiceRejected, match="already"):
            kit.rename("a", "a")
        assert reason(kit, "news", "a") is Reason.GIVEN
        assert len(list(kit.ledger.events(subject="a"))) == 1

    def test_receipt_and_export(self, kit: Kit) -> None:
        kit.give("u-1", "news")
        kit.withdraw("u-1", "news")
        kit.accept("u-1", "terms")
        receipt = kit.receipt("u-1")
        assert {(a["item"], a["status"]) for a in receipt["answers"]} == {
            ("news", "withdrawn"),
            ("terms", "accepted"),
        }
        exported = kit.export("u-1")
        assert [e["action"] for e in exported["events"]] == ["given", "withdrawn", "accepted"]
        assert json.loads(json.dumps(exported)) == exported

    # ---------------------------------------------------------------- the ledger

    def test_events_by_subject(self, kit: Kit) -> None:
        kit.give("u-1", "analytics")
        kit.withdraw("u-1", "stats")
        everything = list(kit.ledger.events(subject="u-1"))
        assert [e.item for e in everything] == ["stats", "heatmap", "stats"]
        assert list(kit.ledger.events(subject="u-1", after=everything[0].event_id)) == everything[1:]
        assert [e.action for e in kit.ledger.events(subject="u-1", item="stats")] == ["given", "withdrawn"]
        assert [e.item for e in kit.ledger.events(subject="u-1", action="withdrawn")] == ["stats"]
        assert list(kit.ledger.events(subject="u-1", limit=2)) == everything[:2]
        assert kit.ledger.event(everything[0].event_id) == everything[0]
        assert kit.ledger.event("nonsense") is None
        assert len({bucket_of_event(e.event_id) for e in everything}) == 1
        with pytest.raises(ValueError, match="after= is an event id"):
            list(kit.ledger.events(subject="u-1", after=3))
        assert not [e for e in kit.ledger.events() if not isinstance(e, type(everything[0]))]

    def test_more_events_than_a_page(self, kit: Kit) -> None:
        answers = [
            kit.runtime.writer.act("", "u-1", giving(kit.catalog, ["news"], Manner(1))) for _ in range(501)
        ]
        kit.runtime.database.write(lambda tx: [kit.runtime.writer.record(tx, act) for act in answers])
        found = [e.event_id for e in kit.ledger.events(subject="u-1")]
        assert found == [act.ids[0] for act in answers] == sorted(found)


class Minors(Suite):
    @pytest.fixture
    def kit(self, url: str, clock: ShiftedClock) -> Iterator[Kit]:
        kit = open_kit(url, catalog(minors=CHILDREN, site=Site(default_jurisdiction="DE")), clock=clock)
        yield kit
        kit.runtime.dispose()

    def test_a_guardian_answers_for_a_child(self, kit: Kit, clock: ShiftedClock) -> None:
        kit.learn("kid", age=Age(years=15))
        assert reason(kit, "news", "kid") is Reason.GUARDIAN_REQUIRED
        with pytest.raises(GuardianNeeded):
            kit.give("kid", "news")
        kit.refuse("kid", "ads")
        (event,) = kit.give("kid", "news", actor="guardian:1")
        assert json.loads(event.body)["band"] == "minor"
        assert reason(kit, "news", "kid") is Reason.GIVEN
        clock.shift_us += 400 * DAY_US
        assert reason(kit, "news", "kid") is Reason.AGED_OUT
        with pytest.raises(GuardianNotNeeded):
            kit.give("kid", "news", actor="guardian:1")
        kit.give("kid", "news")
        assert reason(kit, "news", "kid") is Reason.GIVEN

    def test_a_guardian_revokes(self, kit: Kit) -> None:
        kit.learn("kid", age=Age(years=3))
        kit.give("kid", "news", actor="guardian:1")
        assert kit.withdraw("kid", "news", actor="guardian:1")[0].action == "revoked"
        assert reason(kit, "news", "kid") is Reason.GUARDIAN_REVOKED

    def test_facts_do_not_survive_an_erasure(self, kit: Kit) -> None:
        kit.learn("kid", age=Age(years=3), jurisdiction="FR")
        kit.erase("kid")
        kit.give("kid", "news")
        assert kit.export("kid")["facts"] == {"band": "unknown", "minor_until_us": None, "jurisdiction": "DE"}

    def test_the_age_loader_is_asked_once_and_never_for_visitors(self, kit: Kit) -> None:
        asked: list[str] = []

        def age(subject: str) -> Age:
            asked.append(subject)
            return Age(years=40)

        kit.facts.age = age
        assert reason(kit, "news", "u-1") is Reason.NO_ANSWER
        kit.give("u-1", "news")
        asked.clear()
        assert kit.of("u-1").allows("news")
        kit.of("visitor:1").decide("news")
        assert asked == []


class TestSqlite(OnSqlite, Verbs): ...


class TestPostgresql(OnPostgresql, Verbs): ...


class TestMinorsSqlite(OnSqlite, Minors): ...


class TestMinorsPostgresql(OnPostgresql, Minors): ...
