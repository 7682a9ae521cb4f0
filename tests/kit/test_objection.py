"""A no to a purpose that does not rest on consent is an objection, whatever verb said it (GDPR 21)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from ledgers import OnPostgresql, OnSqlite, ShiftedClock, Suite, catalog, open_kit

from consentkit.core.catalog import Purpose, Site
from consentkit.core.catalog_rules import build
from consentkit.core.errors import ChoiceRejected
from consentkit.kit import Kit

PURPOSES = [
    Purpose("stats", title="Stats", category="analytics"),
    Purpose("fraud", title="Fraud", category="analytics", basis="legitimate_interest"),
    Purpose("survey", title="Survey", category="analytics", separate=True),
    Purpose("base", title="Base", basis="legitimate_interest", core=True),
]


class LiftSuite(Suite):
    """`lift` ends objections, and nothing else, in a place where silence is enough."""

    @pytest.fixture
    def kit(self, url: str, clock: ShiftedClock) -> Iterator[Kit]:
        kit = open_kit(url, build(purposes=PURPOSES, site=Site(default_jurisdiction="US-CA")), clock=clock)
        yield kit
        kit.runtime.dispose()

    def reason(self, kit: Kit, item: str, subject: str = "u-1") -> str:
        return str(kit.decide(subject, item).reason)

    @pytest.mark.parametrize("verb", ["refuse", "withdraw", "give"])
    def test_it_leaves_every_other_answer_alone(self, kit: Kit, verb: str) -> None:
        getattr(kit, verb)("u-1", "stats")
        before = self.reason(kit, "stats")
        assert kit.lift("u-1", "stats") == []
        assert kit.lift("u-1", "stats", actor="operator") == []
        assert self.reason(kit, "stats") == before != "NOT_REQUIRED"
        assert kit.lift("u-2", "stats") == []

    def test_a_no_after_the_objection_stays(self, kit: Kit) -> None:
        kit.object("u-1", "stats")
        kit.withdraw("u-1", "stats")
        assert kit.lift("u-1", "stats") == []
        assert self.reason(kit, "stats") == "WITHDRAWN"

    def test_it_ends_what_the_objection_to_a_category_began(self, kit: Kit) -> None:
        keys = ["stats", "fraud", "survey"]
        assert [e.item for e in kit.object("u-1", "analytics")] == keys
        assert [self.reason(kit, key) for key in keys] == ["RESTRICTED"] * 3
        assert [e.item for e in kit.lift("u-1", "analytics")] == keys
        assert [self.reason(kit, key) for key in keys] == ["NOT_REQUIRED", "NOT_REQUIRED", "NO_ANSWER"]
        for verb in (kit.object, kit.lift):
            with pytest.raises(ChoiceRejected, match="no purpose"):
                verb("u-1", "preferences")

    def test_whoever_objected_to_a_purpose_lifts(self, kit: Kit) -> None:
        kit.object("u-1", "fraud", actor="operator")
        assert kit.lift("u-1", "fraud") == []
        assert self.reason(kit, "fraud") == "RESTRICTED"
        kit.lift("u-1", "fraud", actor="operator")
        assert self.reason(kit, "fraud") == "NOT_REQUIRED"

    def test_everything_has_no_scope(self, kit: Kit) -> None:
        for verb in (kit.restrict, kit.object, kit.lift):
            with pytest.raises(ValueError, match="person as a whole"):
                verb("u-1", scope="comment:1")
        assert list(kit.ledger.events(subject="u-1")) == []

    def test_it_ends_nothing_that_was_said_after_it(self, kit: Kit) -> None:
        kit.refuse("u-1", "stats", at=datetime.now(UTC) - timedelta(days=2))
        kit.object("u-1", "stats")
        assert kit.lift("u-1", "stats", at=datetime.now(UTC) - timedelta(days=1)) == []
        assert self.reason(kit, "stats") == "RESTRICTED"

    def test_an_objection_by_a_host_whose_clock_is_ahead(self, kit: Kit, clock: ShiftedClock) -> None:
        clock.shift_us += 5_000_000
        kit.object("u-1", "stats")
        late = open_kit(kit.runtime.database.engine.url.render_as_string(hide_password=False), kit.catalog)
        assert len(late.lift("u-1", "stats")) == 1
        assert self.reason(kit, "stats") == "NOT_REQUIRED"
        late.runtime.dispose()

    def test_in_a_transaction_of_the_caller(self, kit: Kit) -> None:
        kit.object("u-1", "stats")
        with kit.runtime.database.engine.connect() as connection:
            kit.lift("u-1", "stats", connection=connection)
            connection.rollback()
        assert self.reason(kit, "stats") == "RESTRICTED"

    def test_a_no_at_the_same_time_is_not_lost(self, kit: Kit) -> None:
        for n in range(5):
            kit.object(f"u-{n}", "stats")
            both = [
                threading.Thread(target=verb, args=(f"u-{n}", "stats")) for verb in (kit.lift, kit.withdraw)
            ]
            for thread in both:
                thread.start()
            for thread in both:
                thread.join()
            assert self.reason(kit, "stats", f"u-{n}") == "WITHDRAWN"

    def test_a_core_purpose_is_closed_as_it_closes_the_others(self, kit: Kit) -> None:
        """A no to it is answered by rule 7 wherever it is asked, and ends with a yes."""
        kit.withdraw("u-1", "base")
        people = sa.select(sa.literal("u-1"))
        assert self.reason(kit, "base") == self.reason(kit, "fraud") == "WITHDRAWN"
        with kit.runtime.database.engine.connect() as connection:
            for key in ("base", "fraud"):
                assert connection.scalars(kit.audience(key, among=people)).all() == []
        assert kit.lift("u-1", "base") == []
        kit.give("u-1", "base")
        assert self.reason(kit, "base") == self.reason(kit, "fraud") == "NOT_REQUIRED"


@pytest.mark.parametrize("verb", ["refuse", "withdraw", "object"])
@pytest.mark.parametrize("basis", ["legitimate_interest", "public_task"])
def test_it_stops_and_a_later_no_does_not_reopen(sqlite_url: str, verb: str, basis: str) -> None:
    kit = open_kit(sqlite_url, catalog(purposes=[Purpose("fraud", title="Fraud", basis=basis)]))
    assert kit.of("u-1").allows("fraud")
    getattr(kit, verb)("u-1", "fraud")
    assert kit.of("u-1").decide("fraud").reason == "RESTRICTED"
    kit.withdraw("u-1", "fraud")
    assert kit.of("u-1").decide("fraud").reason == "RESTRICTED"
    kit.lift("u-1", "fraud")
    assert kit.of("u-1").allows("fraud")
    kit.runtime.dispose()


def test_a_contract_goes_on(sqlite_url: str) -> None:
    kit = open_kit(sqlite_url, catalog(purposes=[Purpose("delivery", title="Delivery", basis="contract")]))
    kit.withdraw("u-1", "delivery")
    assert kit.of("u-1").allows("delivery")
    kit.runtime.dispose()


class TestLiftOnSqlite(OnSqlite, LiftSuite): ...


class TestLiftOnPostgresql(OnPostgresql, LiftSuite): ...
