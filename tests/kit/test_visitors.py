"""Retention of anonymous visitors: who is erased, who is not, and that the ledger verifies."""

from __future__ import annotations

from typing import Any

import pytest
from ledgers import OnPostgresql, OnSqlite, ShiftedClock, Suite, catalog, open_kit, rows

from consentkit import CatalogError, Site, consent_recorded
from consentkit.core.catalog_rules import build
from consentkit.core.record import bucket_of
from consentkit.kit import Kit
from consentkit.proof import SigningKey
from consentkit.store import visitors
from consentkit.store.log_keys import LogKeys

DAY_US = 24 * 3600 * 1_000_000


class Visitors(Suite):
    @pytest.fixture
    def kit(self, url: str, clock: ShiftedClock) -> Any:
        kit = open_kit(url, catalog(site=Site(visitor_retention="P7M")), clock=clock)
        signing = SigningKey.generate("consentkit-log")
        kit.runtime.__dict__["log_keys"] = LogKeys(signing, signing.verifier, None)
        yield kit
        kit.runtime.dispose()

    def test_only_visitors_whose_last_answer_is_old(self, kit: Kit, clock: ShiftedClock) -> None:
        for subject in ("visitor:old", "visitor:back", "visitor:put-off", "u-1"):
            kit.choose(subject, give=["stats"], refuse=["ads"])
        clock.shift_us += 150 * DAY_US
        kit.choose("visitor:back", refuse=["stats"])
        kit.defer("visitor:put-off", "stats")
        kit.choose("visitor:new", give=["stats"])
        clock.shift_us += 60 * DAY_US  # 210 days: seven months are 212 or more
        assert kit.purge_visitors() == 0
        clock.shift_us += 6 * DAY_US
        assert kit.purge_visitors() == 1
        assert kit.purge_visitors() == 0
        assert kit.decide("visitor:old", "stats").reason == "ERASED"
        assert kit.decide("visitor:back", "stats").reason == "REFUSED"
        assert kit.decide("u-1", "ads").reason == "REFUSED"
        erased = kit.ledger.of_subject("visitor:old")[-1]
        assert (erased.action, erased.actor, '"reason":"visitor_retention"' in erased.body) == (
            "erased",
            "operator",
            True,
        )
        assert [e.action for e in kit.ledger.of_subject("visitor:old")] == ["given", "refused", "erased"]

    def test_the_id_goes_with_the_deadline_and_the_ledger_verifies(
        self, kit: Kit, clock: ShiftedClock
    ) -> None:
        kit.choose("visitor:old", give=["stats"])
        kit.choose("visitor:one-thing", give=["quote"], scope="comment:1")
        clock.shift_us += 250 * DAY_US
        assert kit.purge_visitors() == 2, "what has a scope is sealed first, and destroyed"
        assert kit.ledger.of_subject("visitor:one-thing")[0].action == "erased"
        clock.shift_us += 31 * DAY_US
        assert kit.purge() == 2
        assert rows(kit, "SELECT count(*) FROM consentkit_subject WHERE salt IS NOT NULL") == [(0,)]
        kit.ledger.seal()
        assert kit.ledger.verify().faults == []

    def test_in_steps_with_progress_and_a_signal_each(
        self, kit: Kit, clock: ShiftedClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(visitors, "AT_ONCE", 2)
        names = [name for n in range(9000) if bucket_of("", name := f"visitor:{n}") == 7][:5]
        for name in names:
            kit.choose(name, give=["stats"])
        clock.shift_us += 250 * DAY_US
        told: list[str] = []
        steps: list[int] = []

        def hear(_kit: object, subject: str, **_rest: object) -> None:
            told.append(subject)

        with consent_recorded.connected_to(hear, kit):
            assert kit.purge_visitors(steps.append) == 5
        assert told == sorted(names)
        assert steps == [2, 4, 5]

    def test_who_answers_meanwhile_is_left_alone(
        self, kit: Kit, clock: ShiftedClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between being found and being erased."""
        kit.choose("visitor:old", give=["stats"])
        clock.shift_us += 250 * DAY_US
        found = visitors._erase

        def late(*said: Any) -> Any:
            kit.choose("visitor:old", give=["stats"])
            return found(*said)

        monkeypatch.setattr(visitors, "_erase", late)
        assert kit.purge_visitors() == 0
        assert kit.decide("visitor:old", "stats").allowed

    def test_a_visitor_who_comes_back_with_a_yes_begins_anew(self, kit: Kit, clock: ShiftedClock) -> None:
        kit.choose("visitor:old", give=["stats"])
        clock.shift_us += 250 * DAY_US
        kit.purge_visitors()
        kit.choose("visitor:old", refuse=["stats"])
        assert kit.decide("visitor:old", "stats").reason == "ERASED"
        kit.choose("visitor:old", give=["stats"])
        assert kit.decide("visitor:old", "stats").allowed
        assert kit.purge_visitors() == 0


class TestSqlite(OnSqlite, Visitors): ...


class TestPostgresql(OnPostgresql, Visitors): ...


@pytest.mark.parametrize(
    ("retention", "good"), [("P179D", False), ("P5M", False), ("P180D", True), ("P6M", True)]
)
def test_the_ledger_knows_a_visitor_as_long_as_the_cookie_lives(retention: str, good: bool) -> None:
    site = Site(visitor_retention=retention)
    if good:
        assert build(site=site).site is site
        return
    with pytest.raises(CatalogError, match="a visitor's cookie lives for 180 days") as raised:
        build(site=site)
    assert (raised.value.key, raised.value.mend) == ("site.visitor_retention", "Write P6M or more")
