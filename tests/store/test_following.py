"""Followers: in leaf order, at least once, each with a place of its own; a failing one stops only itself."""

from __future__ import annotations

import pytest
from ledgers import OnPostgresql, OnSqlite, ShiftedClock, Suite

from consentkit import Erased, Event
from consentkit.kit import Kit
from consentkit.proof import SigningKey
from consentkit.store.log_keys import LogKeys

HOUR_US = 3600 * 1_000_000


class Following(Suite):
    @pytest.fixture
    def sealed(self, kit: Kit) -> Kit:
        signing = SigningKey.generate("consentkit-log")
        kit.runtime.__dict__["log_keys"] = LogKeys(signing, signing.verifier, None)
        for n in range(5):
            kit.give(f"u-{n}", "news")
        kit.ledger.seal()
        return kit

    def test_each_event_once_and_in_order(self, sealed: Kit) -> None:
        seen: list[int | None] = []
        place = sealed.ledger.follow("export", lambda event: seen.append(event.leaf_index))
        assert (seen, place.position, place.handled) == ([0, 1, 2, 3, 4], 4, 5)
        assert sealed.ledger.follow("export", lambda event: seen.append(event.leaf_index)).handled == 0
        sealed.withdraw("u-1", "news")
        sealed.ledger.seal()
        sealed.ledger.follow("export", lambda event: seen.append(event.leaf_index))
        assert seen == [0, 1, 2, 3, 4, 5]

    def test_a_failing_one_keeps_its_place_and_tries_again_later(
        self, sealed: Kit, clock: ShiftedClock
    ) -> None:
        seen: list[int | None] = []

        def handle(event: Event | Erased) -> None:
            if event.leaf_index == 2 and len(seen) < 3:
                seen.append(-1)
                raise OSError("the endpoint is down")
            seen.append(event.leaf_index)

        place = sealed.ledger.follow("hooks", handle)
        assert (place.position, place.handled, place.failures) == (1, 2, 1)
        assert place.error == "OSError: the endpoint is down"
        seen.remove(-1)
        assert sealed.ledger.follow("hooks", handle).failures == 2
        assert sealed.ledger.follow("hooks", handle).handled == 0
        assert sealed.ledger.follow("others", lambda event: None).handled == 5
        clock.shift_us += HOUR_US
        place = sealed.ledger.follow("hooks", handle)
        assert (place.position, place.failures, place.error) == (4, 0, None)
        assert [n for n in seen if n != -1] == [0, 1, 2, 3, 4]

    def test_our_own_names_are_refused(self, sealed: Kit) -> None:
        """Somebody who moved the place of the webhooks would have recipients miss a withdrawal."""
        with pytest.raises(ValueError, match="are ours"):
            sealed.ledger.follow("consentkit:webhooks", lambda event: None)

    def test_what_was_destroyed_is_passed_as_erased(self, sealed: Kit) -> None:
        sealed.erase("u-1", mode="destroy")
        seen: list[Event | Erased] = []
        sealed.ledger.follow("export", seen.append)
        assert [type(event) for event in seen].count(Erased) == 1
        assert [event.leaf_index for event in seen][:5] == [0, 1, 2, 3, 4]


class TestSqlite(OnSqlite, Following): ...


class TestPostgresql(OnPostgresql, Following): ...
