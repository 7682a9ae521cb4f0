"""A browser's opt-out signal on record: once, under lock, and never of somebody who was erased."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta

import pytest
from ledgers import OnPostgresql, OnSqlite, ShiftedClock, Suite, open_kit

from consentkit import CatalogError, Purpose, Site
from consentkit.core.catalog_rules import build
from consentkit.kit import Kit


def recorded(kit: Kit, subject: str = "u-1") -> list[tuple[str, str, str, str, str | None]]:
    events = kit.ledger.of_subject(subject)
    return [(e.kind, e.item, e.action, e.actor, e.method) for e in events if e.kind == "signal"]


ONE = [("signal", "gpc", "objected", "browser", "browser_signal")]


class SignalSuite(Suite):
    def test_it_is_recorded_once_and_denies_what_heeds_it(self, kit: Kit) -> None:
        kit.give("u-1", ["ads", "stats"])
        (event,) = kit.signalled("u-1")
        assert kit.signalled("u-1") == []
        assert recorded(kit) == ONE
        denied = kit.decide("u-1", "ads")
        assert (denied.reason, denied.event_id) == ("OPTED_OUT_BY_SIGNAL", event.event_id)
        assert kit.decide("u-1", "stats").reason == "GIVEN"

    def test_a_later_yes_wins_and_the_signal_is_not_said_again(self, kit: Kit) -> None:
        kit.signalled("u-1")
        kit.give("u-1", "ads")
        assert kit.signalled("u-1") == []
        assert kit.decide("u-1", "ads").reason == "GIVEN"

    def test_it_counts_from_when_it_was_seen(self, kit: Kit, clock: ShiftedClock) -> None:
        seen = datetime.now(UTC)
        clock.shift_us += 1_000_000
        kit.give("u-1", "ads")
        (event,) = kit.signalled("u-1", at=seen)
        assert event.effective_at < event.recorded_at
        assert kit.decide("u-1", "ads").reason == "GIVEN"

    def test_nothing_of_an_erased_subject(self, kit: Kit) -> None:
        kit.give("u-1", "news")
        kit.erase("u-1")
        assert kit.signalled("u-1") == []
        assert kit.decide("u-1", "ads").reason == "ERASED"

    @pytest.mark.parametrize("already_known", [True, False])
    def test_two_requests_at_once_leave_one(self, kit: Kit, already_known: bool) -> None:
        if already_known:
            kit.give("u-1", "news")
        start = threading.Barrier(4)

        def request() -> None:
            start.wait()
            kit.signalled("u-1")

        threads = [threading.Thread(target=request) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert recorded(kit) == ONE
        assert kit.ledger.verify().events == 1 + already_known

    def test_a_tenants_subject_is_another_one(self, kit: Kit) -> None:
        kit.signalled("u-1", tenant="t")
        assert recorded(kit) == []
        assert kit.decide("u-1", "ads", tenant="t").reason == "OPTED_OUT_BY_SIGNAL"

    @pytest.mark.parametrize(
        ("subject", "more"),
        [("", {}), ("u-1", {"signal": "dnt"}), ("u-1", {"at": datetime.now(UTC) + timedelta(hours=1)})],
    )
    def test_bad_input(self, kit: Kit, subject: str, more: dict[str, object]) -> None:
        with pytest.raises(ValueError, match=r"subject|signal|at="):
            kit.signalled(subject, **more)  # type: ignore[arg-type]


class TestSignalsSqlite(OnSqlite, SignalSuite):
    def test_the_place_goes_along(self, url: str) -> None:
        ads = Purpose("ads", title="Ads", category="marketing", signals=["gpc"])
        kit = open_kit(url, build(purposes=[ads], site=Site(default_jurisdiction="US-CA")))
        assert kit.decide("u-1", "ads").reason == "NOT_REQUIRED"
        (event,) = kit.signalled("u-1")
        assert json.loads(event.body)["jurisdiction"] == "US-CA"
        assert kit.decide("u-1", "ads").reason == "OPTED_OUT_BY_SIGNAL"
        kit.runtime.dispose()


class TestSignalsPostgresql(OnPostgresql, SignalSuite): ...


@pytest.mark.parametrize(
    ("more", "said"),
    [({"signals": ["dnt"]}, "gpc"), ({"signals": ["gpc"], "basis": "legitimate_interest"}, "consent")],
)
def test_a_signal_that_would_stop_nothing_is_refused(more: dict[str, object], said: str) -> None:
    with pytest.raises(CatalogError) as refused:
        build(purposes=[Purpose("ads", title="Ads", category="marketing", **more)])  # type: ignore[arg-type]
    assert refused.value.key == "purposes.ads.signals"
    assert said in str(refused.value.mend)
