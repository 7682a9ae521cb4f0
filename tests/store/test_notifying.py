"""Who was told, on both databases: once per subject and version, also by several at once; who has still to be."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ledgers import OnPostgresql, OnSqlite, ShiftedClock, Suite, catalog, open_kit

from consentkit.core.catalog import Policy, PolicyVersion
from consentkit.core.errors import ChoiceRejected, UnknownPolicy
from consentkit.kit import Kit

COMING = datetime.now(UTC) + timedelta(days=30)


def version(name: str, effective: datetime | None = None) -> PolicyVersion:
    return PolicyVersion(name, effective=effective, texts={"en": f"# {name}"})


POLICIES = (
    Policy("terms", title="Terms", versions=[version("1"), version("2", COMING)]),
    Policy("outage", title="Outage", kind="announcement", versions=[version("1")]),
    Policy("breach", title="Breach", kind="announcement", audience="selected", versions=[version("1")]),
)


class Notifying(Suite):
    @pytest.fixture
    def kit(self, url: str, clock: ShiftedClock) -> Any:
        kit = open_kit(url, catalog(policies=POLICIES, purposes=(), bundles=()), clock=clock)
        yield kit
        kit.runtime.dispose()

    def test_several_at_once_record_once(self, kit: Kit) -> None:
        with ThreadPoolExecutor(6) as pool:
            told = list(pool.map(lambda _: len(kit.notified("ada", "terms", version="2")), range(12)))
            addressed = list(pool.map(lambda _: kit.announce("breach", ["ada"]), range(12)))
        assert (sum(told), sum(addressed)) == (1, 1)
        assert [e.action for e in kit.ledger.of_subject("ada")] == ["notified", "requested"]

    def test_each_version_is_told_by_itself(self, kit: Kit) -> None:
        assert [len(kit.notified("ada", "terms", version=v)) for v in ("1", "2", "2", "1")] == [1, 1, 0, 0]

    def test_who_has_still_to_be_told(self, kit: Kit) -> None:
        for subject in ("ada", "bob", "cyd"):
            kit.accept(subject, "terms")
        new = kit.runtime.published.policies["terms"][1].texts["en"]
        kit.accept("cyd", "terms", notice=new)
        kit.decline("dan", "terms")
        kit.acknowledge("visitor:x", "outage")
        kit.accept("gone", "terms")
        kit.erase("gone", reason="art17")
        kit.accept("elsewhere", "terms", tenant="t")
        kit.notified("bob", "terms")
        assert list(kit.to_tell("terms")) == ["ada"]
        assert list(kit.to_tell("terms", tenant="t")) == ["elsewhere"]
        assert sorted(kit.to_tell("outage")) == ["ada", "bob", "cyd", "dan"]
        assert kit.announce("breach", ["ada", "new", "ada"]) == 2
        assert sorted(kit.to_tell("breach")) == ["ada", "new"]
        kit.notified("new", "breach")
        assert list(kit.to_tell("breach")) == ["ada"]

    @pytest.mark.parametrize(
        ("key", "error"), [("nowhere", UnknownPolicy), ("terms", ChoiceRejected), ("outage", ChoiceRejected)]
    )
    def test_only_an_announcement_to_a_selection_is_addressed(
        self, kit: Kit, key: str, error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            kit.announce(key, ["ada"])
        assert kit.ledger.of_subject("ada") == []

    def test_to_have_seen_is_not_to_accept(self, kit: Kit) -> None:
        kit.acknowledge("ada", "terms")
        assert kit.of("ada").status("terms") == "unknown"
        assert not kit.of("ada").allows("terms")
        kit.decline("ada", "terms")
        kit.acknowledge("ada", "terms")
        assert kit.of("ada").status("terms") == "declined"


class TestOnSqlite(OnSqlite, Notifying):
    """On SQLite."""


class TestOnPostgresql(OnPostgresql, Notifying):
    """On PostgreSQL."""
