"""A no to a purpose that does not rest on consent is an objection, whatever verb said it (GDPR 21)."""

from __future__ import annotations

import pytest
from ledgers import catalog, open_kit

from consentkit.core.catalog import Purpose


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
