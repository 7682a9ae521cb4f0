"""Ages, children who are not allowed, and the sweep: on both databases."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any

import pytest
from ledgers import OnPostgresql, OnSqlite, ShiftedClock, Suite, open_kit, rows
from receiving import receiving, status, webhooks

from consentkit import (
    Age,
    AgeNeeded,
    ChoiceRejected,
    ConsentKitError,
    Event,
    GuardianNeeded,
    MinorRules,
    NotForChildren,
    Party,
    Policy,
    PolicyVersion,
    Purpose,
    Site,
    delete_required,
)
from consentkit.core.catalog import Catalog
from consentkit.core.catalog_rules import build
from consentkit.core.terms import Basis
from consentkit.kit import Kit
from consentkit.kit_sweep import Swept

DAY_US = 24 * 3600 * 1_000_000
VISITOR = "visitor:abcdefghij"
CLOSED = MinorRules(age=13, children="not_allowed")


def asked(minors: MinorRules | None = None, **more: Any) -> Catalog:
    """`news` goes to a mailer with a webhook and to a printer without; `map` goes to nobody."""
    parts: dict[str, Any] = {
        "site": Site(default_jurisdiction="GB"),
        "purposes": [
            Purpose("account", basis=Basis.CONTRACT),
            Purpose("tax", basis=Basis.LEGAL_OBLIGATION),
            Purpose("news", recipients=["mailer", "printer"]),
            Purpose("map", category="analytics"),
            Purpose("puzzle", minors="allowed"),
        ],
        "parties": [Party("mailer", name="Mailer"), Party("printer", name="Printer")],
        "policies": [Policy("terms", versions=[PolicyVersion("1", texts={"en": "Be kind."})])],
        "minors": minors or MinorRules(),
    }
    return build(**(parts | more))


def said(kit: Kit, subject: str) -> list[str]:
    """What the ledger holds of a subject."""
    return [f"{e.action} {e.item}" for e in kit.ledger.of_subject(subject)]


class Heard:
    """What `delete_required` told; keep it as long as it has to listen."""

    def __init__(self, kit: Kit) -> None:
        self.all: list[dict[str, Any]] = []
        delete_required.connect(self._hear, kit)

    def _hear(self, _kit: Kit, **told: Any) -> None:
        self.all.append(told)

    @property
    def subjects(self) -> list[str]:
        return [told["subject"] for told in self.all]


@contextmanager
def without_log_key(kit: Kit) -> Iterator[None]:
    """A process that knows the public key only."""
    runtime = kit.runtime
    settings, runtime._log = runtime._log, (str(runtime.log_keys.verifier), None)
    del runtime.log_keys
    yield
    runtime._log = settings
    del runtime.log_keys


class AgeSuite(Suite):
    """A person's own word, and facts that are learned."""

    @pytest.fixture
    def kit(self, url: str, clock: ShiftedClock) -> Iterator[Kit]:
        kit = open_kit(url, asked(MinorRules(unknown_age="ask")), clock=clock)
        yield kit
        kit.runtime.dispose()

    def test_an_unknown_age_is_asked_first(self, kit: Kit) -> None:
        assert kit.decide("u-1", "news").needs == ("age",)
        with pytest.raises(AgeNeeded):
            kit.give("u-1", "news")
        assert issubclass(AgeNeeded, GuardianNeeded)
        kit.give("u-1", "puzzle")
        kit.refuse("u-1", "map")
        assert kit.declare_age("u-1", Age(years=12))
        assert kit.decide("u-1", "news").needs == ("guardian",)
        with pytest.raises(GuardianNeeded) as error:
            kit.give("u-1", "news")
        assert not isinstance(error.value, AgeNeeded)

    def test_a_persons_own_word_is_taken_once(self, kit: Kit) -> None:
        assert kit.declare_age(VISITOR, Age(years=12))
        assert not kit.declare_age(VISITOR, Age(years=40))
        assert kit.export(VISITOR)["facts"]["band"] == "minor"
        assert kit.export(VISITOR)["events"] == []
        kit.learn(VISITOR, age=Age(years=40))  # the host knows better
        assert kit.export(VISITOR)["facts"]["band"] == "adult"

    def test_of_two_words_at_once_one_counts(self, kit: Kit) -> None:
        ages = [Age(years=n) for n in (9, 40, 10, 11)]
        for number in range(5):
            start, taken = threading.Barrier(len(ages)), []

            def say(age: Age, subject: str = f"u-{number}", start: Any = start, taken: Any = taken) -> None:
                start.wait()
                if kit.declare_age(subject, age):
                    taken.append(age.years)

            threads = [threading.Thread(target=say, args=[age]) for age in ages]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(taken) == 1
            band = "minor" if taken[0] < 13 else "adult"
            assert kit.export(f"u-{number}")["facts"]["band"] == band

    def test_an_erased_subject_says_nothing(self, kit: Kit) -> None:
        kit.declare_age("u-1", Age(years=12))
        kit.erase("u-1")
        assert not kit.declare_age("u-1", Age(years=40))
        assert kit.decide("u-1", "news").reason == "ERASED"

    def test_an_answer_does_not_undo_what_is_learned_meanwhile(
        self, kit: Kit, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The answer was prepared by facts that were read before."""
        append = kit.runtime.writer.append

        def learn_first(*told: Any, **how: Any) -> list[Event]:
            kit.learn("u-1", age=Age(years=12))
            return append(*told, **how)

        monkeypatch.setattr(kit.runtime.writer, "append", learn_first)
        kit.refuse("u-1", "news")
        assert kit.export("u-1")["facts"]["band"] == "minor"

    @pytest.mark.parametrize(
        ("age", "why"),
        [
            (Age(born=date(2999, 1, 1)), "future"),
            (Age(born=date(1800, 1, 1)), "150 years"),
            (11, "Age"),
            (date(2014, 1, 1), "Age"),
        ],
    )
    def test_what_is_no_age(self, kit: Kit, age: Any, why: str) -> None:
        for verb in (lambda: kit.learn("u-1", age=age), lambda: kit.declare_age("u-1", age)):
            with pytest.raises(ValueError, match=why):
                verb()
        assert kit.runtime.reader.state("", "u-1").key is None

    def test_a_birthday_on_29_february(self, kit: Kit) -> None:
        """Who was born on a leap day is of age on 1 March of a common year, and at midnight of the place."""
        kit.runtime.clock.shift_us = self.until(kit, datetime(2025, 2, 28, 12, tzinfo=UTC))  # type: ignore[attr-defined]
        kit.learn("kid", age=Age(born=date(2012, 2, 29)), jurisdiction="SE")
        until_us = kit.export("kid")["facts"]["minor_until_us"]
        assert datetime.fromtimestamp(until_us / 1e6, UTC) == datetime(2025, 2, 28, 23, tzinfo=UTC)

    def until(self, kit: Kit, moment: datetime) -> int:
        return int(moment.timestamp() * 1e6) - kit.runtime.clock.now()

    @pytest.mark.parametrize(
        ("place", "hour_utc"), [("PT", 25), ("JP", 15), ("US-CA", 32), ("IN", 18), (None, 36)]
    )
    def test_the_threshold_is_midnight_of_the_place(
        self, kit: Kit, clock: ShiftedClock, place: str | None, hour_utc: int
    ) -> None:
        """In the year 2030, on 9 January; hours are counted from midnight UTC of 9 January less one day."""
        rule = kit.catalog.places.at(place or "ZZ").ages
        clock.shift_us = self.until(kit, datetime(2030, 1, 1, tzinfo=UTC))
        born = date(2030 - rule.minor_until, 1, 9)
        kit.learn("kid", age=Age(born=born), jurisdiction=place or "ZZ")
        until_us = kit.export("kid")["facts"]["minor_until_us"]
        hours = (
            datetime.fromtimestamp(until_us / 1e6, UTC) - datetime(2030, 1, 8, tzinfo=UTC)
        ).total_seconds()
        assert int(hours / 3600) == hour_utc


class ClosedSuite(Suite):
    """`children = "not_allowed"`."""

    @pytest.fixture
    def kit(self, url: str, clock: ShiftedClock) -> Iterator[Kit]:
        kit = open_kit(url, asked(CLOSED), clock=clock)
        yield kit
        kit.runtime.dispose()

    @pytest.fixture
    def heard(self, kit: Kit) -> Heard:
        return Heard(kit)

    def closed(self, kit: Kit, subject: str) -> None:
        for item in ("news", "map", "account", "puzzle", "terms"):
            assert kit.decide(subject, item).reason == "FORBIDDEN_FOR_MINORS"
        assert kit.decide(subject, "tax").allowed

    def test_a_declared_child_is_refused_and_only_that_is_kept(self, kit: Kit) -> None:
        kit.learn(VISITOR, age=Age(years=12))
        assert said(kit, VISITOR) == ["refused minor"]
        self.closed(kit, VISITOR)
        kit.learn(VISITOR, age=Age(years=11))
        assert said(kit, VISITOR) == ["refused minor"]
        kit.runtime.seal()
        assert kit.ledger.verify().completeness

    def test_an_adult_and_an_unknown_age_are_not(self, kit: Kit) -> None:
        kit.learn("u-1", age=Age(years=13))
        for subject in ("u-1", "u-2"):
            kit.give(subject, "news")
            assert kit.decide(subject, "news").allowed
            assert said(kit, subject) == ["given news"]

    @pytest.mark.parametrize("actor", ["subject", "guardian:1"])
    def test_nobody_says_yes_for_a_child(self, kit: Kit, actor: str) -> None:
        kit.learn("kid", age=Age(years=12))
        before = said(kit, "kid")
        for verb in (
            lambda: kit.give("kid", "news", actor=actor, assurance="verifiable"),
            lambda: kit.give("kid", "puzzle", actor=actor),
            lambda: kit.accept("kid", "terms", actor=actor),
        ):
            with pytest.raises(NotForChildren, match="not for children") as error:
                verb()
            assert not isinstance(error.value, GuardianNeeded)
        assert said(kit, "kid") == before

    def test_a_no_is_recorded_as_always(self, kit: Kit) -> None:
        kit.learn("kid", age=Age(years=12))
        kit.refuse("kid", "news")
        assert kit.decide("kid", "news").reason == "FORBIDDEN_FOR_MINORS"
        assert said(kit, "kid")[-1] == "refused news"

    def test_what_was_there_before_is_destroyed(self, kit: Kit, heard: Heard) -> None:
        kit.give("kid", ["news", "map"])
        kit.accept("kid", "terms")
        key = kit.runtime.reader.state("", "kid").key
        kit.learn("kid", age=Age(years=12))
        assert said(kit, "kid") == ["refused minor", "requested deletion"]
        self.closed(kit, "kid")
        left = "SELECT action FROM consentkit_event WHERE subject_key = ?"
        assert rows(kit, left, key) == [("erased",)]
        assert kit.ledger.verify().completeness
        (told,) = heard.all
        assert told == {
            "subject": "kid",
            "tenant": "",
            "purposes": ["account", "map", "news", "puzzle"],
            "reason": "children_not_allowed",
            "reminder": False,
        }
        (journalled,) = kit.runtime.journal.lines() if kit.runtime.journal is not None else [None]
        assert journalled is None or (journalled.reason, journalled.mode) == ("minor", "destroy")

    def test_a_visitor_of_whom_nothing_is_known_needs_no_deletion(self, kit: Kit, heard: Heard) -> None:
        kit.learn(VISITOR, age=Age(years=12))
        assert kit.sweep_minors() == Swept(1)
        kit.learn("kid", age=Age(years=12))  # an account, and the host has one too
        assert heard.subjects == ["kid"]
        assert kit.sweep_minors() == Swept(2)
        assert heard.subjects == ["kid"]

    def test_a_visitor_who_said_yes_before(self, kit: Kit, heard: Heard) -> None:
        kit.choose(VISITOR, give=["map"])
        kit.learn(VISITOR, age=Age(years=12))
        assert said(kit, VISITOR) == ["refused minor", "requested deletion"]
        assert heard.subjects == [VISITOR]

    def test_in_the_callers_transaction_only_the_refusal(
        self, kit: Kit, heard: Heard, clock: ShiftedClock
    ) -> None:
        kit.give("kid", "news")
        with kit.runtime.database.engine.begin() as connection:
            kit.learn("kid", age=Age(years=12), connection=connection)
        self.closed(kit, "kid")
        assert said(kit, "kid") == ["given news", "refused minor"]
        assert heard.all == []
        assert kit.sweep_minors() == Swept(1)
        assert said(kit, "kid") == ["refused minor", "requested deletion"]
        assert heard.subjects == ["kid"]
        assert kit.sweep_minors() == Swept(1)

    def test_without_the_key_of_the_log_the_sweep_destroys(
        self, kit: Kit, heard: Heard, caplog: pytest.LogCaptureFixture
    ) -> None:
        """As in a web process on PostgreSQL: what has to be sealed first cannot be."""
        kit.give("kid", "news")
        with without_log_key(kit):
            kit.learn("kid", age=Age(years=12))
            (line,) = [r for r in caplog.records if getattr(r, "event", "") == "destruction_postponed"]
            assert "kid" not in line.getMessage()
            self.closed(kit, "kid")
            assert said(kit, "kid") == ["given news", "refused minor"]
            with pytest.raises(ConsentKitError, match="key"):
                kit.sweep_minors()
        assert heard.all == []
        kit.sweep_minors()
        assert said(kit, "kid") == ["refused minor", "requested deletion"]
        assert heard.subjects == ["kid"]

    def test_a_child_by_the_age_loader(self, kit: Kit, heard: Heard) -> None:
        kit.give("kid", "news")
        kit.facts.age = lambda subject: Age(years=9) if subject == "kid" else None
        self.closed(kit, "kid")
        with pytest.raises(NotForChildren, match="not for children"):
            kit.give("kid", "map")
        assert said(kit, "kid") == ["refused minor", "requested deletion"]
        assert heard.subjects == ["kid"]
        self.closed(kit, "kid")

    def test_the_sweep_asks_the_age_loader(self, kit: Kit, heard: Heard) -> None:
        for subject in ("kid", "u-1"):
            kit.give(subject, "news")
        kit.give("kid", "news", tenant="t", notice="0" * 64)
        kit.facts.age = lambda subject: Age(years=9 if subject == "kid" else 40)
        assert kit.sweep_minors() == Swept(2, turned_away=1)
        assert said(kit, "kid") == ["refused minor", "requested deletion"]
        assert said(kit, "u-1") == ["given news"]
        assert kit.decide("kid", "news", tenant="t").allowed
        assert heard.subjects == ["kid"]

    def test_who_comes_of_age_may_answer(self, kit: Kit, clock: ShiftedClock) -> None:
        kit.learn("kid", age=Age(years=12))
        clock.shift_us += 2 * DAY_US
        assert kit.decide("kid", "news").reason == "NO_ANSWER"
        kit.give("kid", "news")
        assert kit.decide("kid", "news").allowed

    def test_a_mistake_is_mended_by_the_host(self, kit: Kit) -> None:
        kit.learn("u-1", age=Age(years=12))
        kit.learn("u-1", age=Age(years=21))
        kit.give("u-1", "news")
        assert kit.decide("u-1", "news").allowed
        assert kit.sweep_minors().required == 0

    def test_an_erased_child_is_not_brought_back(self, kit: Kit) -> None:
        kit.give("kid", "news")
        kit.erase("kid")
        kit.learn("kid", age=Age(years=12))
        assert kit.decide("kid", "news").reason == "ERASED"
        assert "refused minor" not in said(kit, "kid")

    def test_an_unknown_age_that_is_asked(self, url: str, clock: ShiftedClock) -> None:
        kit = open_kit(url, asked(MinorRules(age=13, children="not_allowed", unknown_age="ask")), clock=clock)
        assert kit.decide("u-1", "account").needs == ("age",)
        with pytest.raises(AgeNeeded):
            kit.give("u-1", "news")
        assert said(kit, "u-1") == []
        kit.runtime.dispose()

    def test_what_recipients_are_told_of_a_refused_child(self, url: str, clock: ShiftedClock) -> None:
        with receiving() as mailer:
            parties = [Party("mailer", name="Mailer", webhook=mailer.url), Party("printer", name="Printer")]
            kit = open_kit(url, asked(CLOSED, parties=parties), clock=clock, webhooks=webhooks(mailer=mailer))
            kit.learn("fresh", age=Age(years=12))
            kit.learn(VISITOR, age=Age(years=12))
            kit.give("kid", "news")
            kit.learn("kid", age=Age(years=12))
            kit.ledger.seal()
            while kit.deliver().more:
                pass
            assert mailer.about(VISITOR) == []
            assert mailer.about("fresh") == ["subject.delete_required fresh"]
            assert sorted(mailer.about("kid")) == ["subject.delete_required kid", "subject.erased kid"]
            assert {d.subject: d.waiting for d in kit.unconfirmed_deletions()} == {
                "fresh": ("host", "printer"),
                "kid": ("host", "printer"),
            }
            kit.runtime.dispose()


class SweepSuite(Suite):
    """Children for whom no guardian has answered."""

    @pytest.fixture
    def kit(self, url: str, clock: ShiftedClock) -> Iterator[Kit]:
        kit = open_kit(url, asked(), clock=clock)
        yield kit
        kit.runtime.dispose()

    @pytest.fixture
    def heard(self, kit: Kit) -> Heard:
        return Heard(kit)

    def waiting(self, kit: Kit) -> dict[str, tuple[str, ...]]:
        return {d.subject: d.waiting for d in kit.unconfirmed_deletions()}

    def test_after_purge_after_and_not_before(self, kit: Kit, heard: Heard, clock: ShiftedClock) -> None:
        kit.learn("kid", age=Age(years=9))
        kit.learn("grown", age=Age(years=40))
        clock.shift_us += 13 * DAY_US
        assert kit.sweep_minors() == Swept(1)
        clock.shift_us += 2 * DAY_US
        assert kit.sweep_minors() == Swept(1, required=1)
        assert heard.all == [
            {
                "subject": "kid",
                "tenant": "",
                "purposes": ["map", "news"],
                "reason": "guardian_missing",
                "reminder": False,
            }
        ]
        assert said(kit, "kid") == ["requested deletion"]
        (found,) = kit.unconfirmed_deletions()
        assert (found.subject, found.purposes, found.reason) == ("kid", ("map", "news"), "guardian_missing")
        assert found.waiting == ("host", "mailer", "printer")

    def test_it_says_so_once_then_reminds(self, kit: Kit, heard: Heard, clock: ShiftedClock) -> None:
        kit.learn("kid", age=Age(years=9))
        clock.shift_us += 15 * DAY_US
        assert kit.sweep_minors().required == 1
        since = next(kit.unconfirmed_deletions()).since
        for _ in range(2):
            assert kit.sweep_minors() == Swept(1)
        for _ in range(2):
            clock.shift_us += 15 * DAY_US
            assert kit.sweep_minors() == Swept(1, reminded=1)
            assert kit.sweep_minors() == Swept(1)
        assert [told["reminder"] for told in heard.all] == [False, True, True]
        assert said(kit, "kid") == ["requested deletion", "notified deletion", "notified deletion"]
        assert next(kit.unconfirmed_deletions()).since == since

    def test_confirmed_by_all(self, kit: Kit, heard: Heard, clock: ShiftedClock) -> None:
        kit.learn("kid", age=Age(years=9))
        assert kit.confirm_deleted("kid") == []
        clock.shift_us += 15 * DAY_US
        kit.sweep_minors()
        assert [e.action for e in kit.confirm_deleted("kid")] == ["lifted"]
        assert kit.confirm_deleted("kid") == []
        assert self.waiting(kit) == {"kid": ("mailer", "printer")}
        kit.confirm_deleted("kid", by="mailer")
        kit.confirm_deleted("kid", by="printer")
        assert self.waiting(kit) == {}
        with pytest.raises(ChoiceRejected, match="party"):
            kit.confirm_deleted("kid", by="nobody")
        assert kit.confirm_deleted("nobody") == []
        clock.shift_us += 60 * DAY_US
        assert kit.sweep_minors() == Swept(1)
        assert len(heard.all) == 1
        kit.runtime.seal()
        assert kit.ledger.verify().completeness

    def test_a_webhook_that_was_delivered_confirms(self, url: str, clock: ShiftedClock) -> None:
        with receiving() as mailer:
            parties = [Party("mailer", name="Mailer", webhook=mailer.url), Party("printer", name="Printer")]
            kit = open_kit(url, asked(parties=parties), clock=clock, webhooks=webhooks(mailer=mailer))
            mailer.answering = status(500)
            kit.learn("kid", age=Age(years=9))
            clock.shift_us += 15 * DAY_US
            kit.sweep_minors()
            kit.ledger.seal()
            assert self.waiting(kit) == {"kid": ("host", "mailer", "printer")}
            kit.deliver()
            assert self.waiting(kit) == {"kid": ("host", "mailer", "printer")}
            mailer.answering = status(204)
            clock.shift_us += DAY_US
            kit.deliver()
            assert self.waiting(kit) == {"kid": ("host", "printer")}
            data = mailer.messages[-1].json["data"]
            assert mailer.said[-1] == "subject.delete_required kid"
            assert (data["purposes"], data["reason"]) == ("map news", "guardian_missing")
            kit.runtime.dispose()

    @pytest.mark.parametrize("assurance", ["none", "reasonable"])
    def test_a_guardian_who_was_verified_too_weakly(
        self, kit: Kit, clock: ShiftedClock, assurance: str
    ) -> None:
        kit.learn("kid", age=Age(years=9), jurisdiction="US")
        clock.shift_us += 10 * DAY_US
        kit.give("kid", "news", actor="guardian:1", assurance=assurance)
        clock.shift_us += 10 * DAY_US
        kit.sweep_minors()
        assert [d.purposes for d in kit.unconfirmed_deletions()] == [("map",)]
        clock.shift_us += 5 * DAY_US
        assert kit.sweep_minors().required == 1  # the guardian's time is over, too
        assert [d.purposes for d in kit.unconfirmed_deletions()] == [("map", "news")]

    def test_a_guardian_who_was_asked_has_time(self, kit: Kit, clock: ShiftedClock) -> None:
        """Until the invitation is over, and `purge_after` from then."""
        kit.guardian_mailer(lambda _invitation: None)
        kit.guardian.pages = lambda: "https://shop.example/consent/guardian"
        kit.learn("kid", age=Age(years=9))
        clock.shift_us += 10 * DAY_US
        kit.invite_guardian("kid", ["map"], contact="parent@example.org", method="email")
        assert kit.decide("kid", "map").reason == "GUARDIAN_PENDING"
        clock.shift_us += 5 * DAY_US
        assert kit.sweep_minors().required == 1
        assert [d.purposes for d in kit.unconfirmed_deletions()] == [("news",)]
        clock.shift_us += (9 + 13) * DAY_US
        assert kit.decide("kid", "map").reason == "GUARDIAN_REQUIRED"
        assert kit.sweep_minors().required == 0
        clock.shift_us += 2 * DAY_US
        assert kit.sweep_minors().required == 1
        assert [d.purposes for d in kit.unconfirmed_deletions()] == [("map", "news")]

    def test_a_guardian_answered(self, kit: Kit, clock: ShiftedClock) -> None:
        kit.learn("kid", age=Age(years=9))
        kit.give("kid", "news", actor="guardian:1")
        kit.refuse("kid", "map", actor="guardian:1")
        clock.shift_us += 100 * DAY_US
        assert kit.sweep_minors() == Swept(1)

    def test_a_guardian_who_answers_while_the_sweep_runs(
        self, kit: Kit, heard: Heard, clock: ShiftedClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What was found is judged again under the subject's lock."""
        kit.learn("kid", age=Age(years=9))
        clock.shift_us += 15 * DAY_US
        judge, calls = kit._judge, []

        def answer_after_the_first_look(tx: Any, one: Any) -> Any:
            found = judge(tx, one)
            if not calls:
                kit.give("kid", ["news", "map"], actor="guardian:1")
            calls.append(found)
            return found

        monkeypatch.setattr(kit, "_judge", answer_after_the_first_look)
        assert kit.sweep_minors() == Swept(1)
        assert (len(calls), heard.all) == (2, [])

    def test_a_new_purpose_is_not_old_data(self, url: str, clock: ShiftedClock) -> None:
        kit = open_kit(url, asked(), clock=clock)
        kit.learn("kid", age=Age(years=9))
        kit.give("kid", ["news", "map"], actor="guardian:1")
        clock.shift_us += 100 * DAY_US
        kit.runtime.dispose()
        more = [Purpose("ads"), *asked().purposes.values()]
        kit = open_kit(url, asked(purposes=more), clock=clock)
        assert kit.sweep_minors() == Swept(1)
        clock.shift_us += 15 * DAY_US
        assert kit.sweep_minors().required == 1
        assert [d.purposes for d in kit.unconfirmed_deletions()] == [("ads",)]
        kit.runtime.dispose()

    def test_after_a_confirmation_new_data_are_found_again(self, kit: Kit, clock: ShiftedClock) -> None:
        kit.learn("kid", age=Age(years=9), jurisdiction="US")
        clock.shift_us += 15 * DAY_US
        kit.sweep_minors()
        for by in ("host", "mailer", "printer"):
            kit.confirm_deleted("kid", by=by)
        clock.shift_us += DAY_US
        kit.give("kid", "news", actor="guardian:1")  # and never verified
        clock.shift_us += 15 * DAY_US
        assert kit.sweep_minors().required == 1
        assert [d.purposes for d in kit.unconfirmed_deletions()] == [("news",)]
        assert self.waiting(kit) == {"kid": ("host", "mailer", "printer")}

    def test_what_was_not_due_at_the_confirmation_is_not_forgotten(
        self, kit: Kit, clock: ShiftedClock
    ) -> None:
        kit.learn("kid", age=Age(years=9), jurisdiction="US")
        clock.shift_us += 10 * DAY_US
        kit.give("kid", "news", actor="guardian:1")  # and never verified
        clock.shift_us += 5 * DAY_US
        kit.sweep_minors()
        assert [d.purposes for d in kit.unconfirmed_deletions()] == [("map",)]
        kit.confirm_deleted("kid")
        assert list(kit.unconfirmed_deletions()) == []  # the map has no recipients
        clock.shift_us += 10 * DAY_US
        assert kit.sweep_minors().required == 1
        assert [d.purposes for d in kit.unconfirmed_deletions()] == [("news",)]

    def test_another_id_takes_what_is_open_along(self, kit: Kit, clock: ShiftedClock) -> None:
        kit.learn("kid", age=Age(years=9))
        clock.shift_us += 15 * DAY_US
        kit.sweep_minors()
        kit.confirm_deleted("kid", by="mailer")
        kit.rename("kid", "kid-7")
        (found,) = kit.unconfirmed_deletions()
        assert (found.subject, found.purposes) == ("kid-7", ("map", "news"))
        assert found.waiting == ("host", "printer")
        assert kit.sweep_minors() == Swept(1)

    def test_visitors_only_where_something_was_allowed(self, kit: Kit, clock: ShiftedClock) -> None:
        kit.declare_age(VISITOR, Age(years=9))
        kit.choose("visitor:klmnopqrst", give=["map"])
        kit.declare_age("visitor:klmnopqrst", Age(years=9))
        clock.shift_us += 15 * DAY_US
        assert kit.sweep_minors() == Swept(2, required=1)
        assert list(self.waiting(kit)) == ["visitor:klmnopqrst"]

    def test_tenants_and_many_subjects(self, kit: Kit, heard: Heard, clock: ShiftedClock) -> None:
        kids = [f"kid-{n}" for n in range(30)]
        for kid in kids:
            kit.learn(kid, age=Age(years=9))
        kit.learn("kid-0", age=Age(years=9), jurisdiction="GB", tenant="t")
        clock.shift_us += 15 * DAY_US
        shown: list[int] = []
        assert kit.sweep_minors(shown.append) == Swept(31, required=31)
        assert shown[-1] == 31
        assert sorted(heard.subjects) == sorted([*kids, "kid-0"])
        assert {(d.tenant, d.subject) for d in kit.unconfirmed_deletions()} == {
            *(("", kid) for kid in kids),
            ("t", "kid-0"),
        }
        kit.confirm_deleted("kid-0", tenant="t")
        assert {d.tenant for d in kit.unconfirmed_deletions() if "host" in d.waiting} == {""}

    def test_who_is_erased_or_grown_up_is_left_alone(self, kit: Kit, clock: ShiftedClock) -> None:
        for kid in ("erased", "grown"):
            kit.learn(kid, age=Age(years=9))
        kit.erase("erased")
        clock.shift_us += 5 * 366 * DAY_US
        assert kit.sweep_minors() == Swept(1)

    def test_without_rules_for_minors_nobody_is_one(self, url: str, clock: ShiftedClock) -> None:
        kit = open_kit(url, build(purposes=[Purpose("news")]), clock=clock)
        kit.learn("kid", age=Age(years=9))
        clock.shift_us += 15 * DAY_US
        assert kit.sweep_minors() == Swept()
        kit.runtime.dispose()

    def test_two_sweeps_at_once_require_once(self, kit: Kit, heard: Heard, clock: ShiftedClock) -> None:
        for n in range(20):
            kit.learn(f"kid-{n}", age=Age(years=9))
        clock.shift_us += 15 * DAY_US
        start, done = threading.Barrier(3), []

        def sweep() -> None:
            start.wait()
            done.append(kit.sweep_minors().required)

        threads = [threading.Thread(target=sweep) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(done) == 20
        assert len(heard.all) == 20


class TestAgesOnSqlite(AgeSuite, OnSqlite):
    pass


class TestAgesOnPostgresql(AgeSuite, OnPostgresql):
    pass


class TestClosedOnSqlite(ClosedSuite, OnSqlite):
    pass


class TestClosedOnPostgresql(ClosedSuite, OnPostgresql):
    pass


class TestSweepOnSqlite(SweepSuite, OnSqlite):
    pass


class TestSweepOnPostgresql(SweepSuite, OnPostgresql):
    pass
