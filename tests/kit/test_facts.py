"""Where facts come from: the host's loaders are asked about the host's people only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from ledgers import OnPostgresql, OnSqlite, Suite

from consentkit import Age
from consentkit.kit import Kit


class FactSuite(Suite):
    def test_the_age_loader_is_not_asked_about_a_tenants_subjects(self, kit: Kit) -> None:
        asked: list[str] = []

        def age(subject: str) -> Age:
            asked.append(subject)
            return Age(years=9)

        kit.facts.age = age
        kit.give("u-1", "news", tenant="t", notice="0" * 64)
        assert kit.decide("u-1", "news", tenant="t").allowed
        assert kit.decide_many(["u-1"], "news", tenant="t")["u-1"].allowed
        assert asked == []
        assert kit.decide("u-1", "news").reason == "GUARDIAN_REQUIRED"
        assert asked == ["u-1"]

    @pytest.mark.parametrize(
        "at", [datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))), datetime(1969, 12, 31, tzinfo=UTC)]
    )
    def test_moments_before_1970_are_refused(self, kit: Kit, at: datetime) -> None:
        with pytest.raises(ValueError, match="before 1970"):
            kit.give("u-1", "news", at=at)

    @pytest.mark.parametrize(
        "event_id", ["", "x", "g" * 36, "0190_000-0000-7000-8000-000000000000", "'; DROP TABLE x; --"]
    )
    def test_what_is_no_event_id_is_no_event(self, kit: Kit, event_id: str) -> None:
        assert kit.ledger.event(event_id) is None


class TestSqlite(OnSqlite, FactSuite): ...


class TestPostgresql(OnPostgresql, FactSuite): ...
