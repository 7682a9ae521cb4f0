"""Retention by purpose: superseded answers go, last ones stay, and the ledger verifies."""

from __future__ import annotations

import pytest
from ledgers import OnPostgresql, OnSqlite, ShiftedClock, Suite, catalog, open_kit

from consentkit import Erased
from consentkit.core.catalog import Purpose
from consentkit.kit import Kit
from consentkit.proof import SigningKey
from consentkit.store.log_keys import LogKeys

DAY_US = 24 * 3600 * 1_000_000


class Retention(Suite):
    @pytest.fixture
    def kept(self, url: str, clock: ShiftedClock) -> Kit:
        purposes = [
            Purpose("news", title="News", retention="P1M"),
            Purpose("free", title="F", retention="as needed"),
        ]
        kit = open_kit(url, catalog(purposes=purposes), clock=clock)
        signing = SigningKey.generate("consentkit-log")
        kit.runtime.__dict__["log_keys"] = LogKeys(signing, signing.verifier, None)
        for subject in ("u-1", "u-2", "u-3"):
            kit.give(subject, ["news", "free"])
            kit.withdraw(subject, ["news", "free"])
        kit.give("u-2", "news")
        kit.erase("u-3")
        return kit

    def test_only_what_is_sealed_superseded_and_over_goes(self, kept: Kit, clock: ShiftedClock) -> None:
        clock.shift_us += 20 * DAY_US
        kept.ledger.seal()
        assert kept.purge_events() == 0
        clock.shift_us += 12 * DAY_US
        assert kept.purge_events() == 4
        assert kept.purge_events() == 0
        said = [(event.item, event.action) for event in kept.ledger.of_subject("u-1")]
        assert ("news", "given") not in said
        assert {("news", "withdrawn"), ("free", "given"), ("free", "withdrawn")} < set(said)
        assert kept.decide("u-1", "news").reason == "WITHDRAWN"
        assert kept.decide("u-2", "news").allowed
        assert kept.decide("u-3", "news").reason == "ERASED"
        kept.ledger.seal()
        report = kept.ledger.verify()
        assert report.faults == []
        leaves = list(kept.ledger.events())
        assert len([leaf for leaf in leaves if isinstance(leaf, Erased)]) == 4
        assert [leaf.leaf_index for leaf in leaves] == list(range(len(leaves)))
        kept.runtime.dispose()

    def test_also_of_hidden_subjects(self, kept: Kit, clock: ShiftedClock) -> None:
        kept.ledger.seal()
        clock.shift_us += 32 * DAY_US
        assert kept.purge() == 1
        assert kept.purge_events() == 4
        kept.ledger.seal()
        assert kept.ledger.verify().faults == []
        assert kept.decide("u-3", "news").reason == "ERASED"
        kept.runtime.dispose()

    def test_what_waits_to_be_sealed_stays(self, kept: Kit, clock: ShiftedClock) -> None:
        clock.shift_us += 40 * DAY_US
        assert kept.purge_events() == 0
        kept.runtime.dispose()


class TestSqlite(OnSqlite, Retention): ...


class TestPostgresql(OnPostgresql, Retention): ...
