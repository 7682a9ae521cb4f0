"""Figures for the operator: counted by tenant, of who is not erased."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ledgers import OnPostgresql, OnSqlite, open_kit

from consentkit.kit import Kit


class StatsSuite:
    """Runs on either database."""

    @pytest.fixture
    def kit(self, url: str) -> Iterator[Kit]:
        kit = open_kit(url)
        yield kit
        kit.runtime.dispose()

    def test_nothing_yet(self, kit: Kit) -> None:
        nobody = {"accounts": 0, "visitors": 0, "erased": 0}
        assert kit.stats() == {"subjects": nobody, "answers": []}

    def test_who_said_what(self, kit: Kit) -> None:
        for subject in ("u-1", "u-2", "u-3"):
            kit.give(subject, "news")
        kit.withdraw("u-2", "news")
        kit.withdraw("u-3", "news", actor="operator")
        kit.accept("u-1", "terms")
        kit.restrict("u-1")
        kit.choose("visitor:abc", refuse=["stats"])
        kit.give("u-9", "news")
        kit.erase("u-9")
        kit.give("a-1", "stats", tenant="acme")
        assert kit.stats()["subjects"] == {"accounts": 3, "visitors": 1, "erased": 1}
        assert counted(kit.stats()) == {
            ("policy", "terms", "1", "accepted", "subject"): 1,
            ("purpose", "news", "1", "given", "subject"): 2,
            ("purpose", "news", "1", "revoked", "operator"): 1,
            ("purpose", "news", "1", "withdrawn", "subject"): 1,
            ("purpose", "stats", "1", "refused", "subject"): 1,
            ("subject", "restriction", None, "restricted", "subject"): 1,
        }
        assert counted(kit.stats(tenant="acme")) == {("purpose", "stats", "1", "given", "subject"): 1}

    def test_a_guardian_is_one_of_them_all(self, kit: Kit) -> None:
        for number in (1, 2):
            kit.refuse("kid", "news", actor=f"guardian:{number}")
        assert counted(kit.stats()) == {("purpose", "news", "1", "refused", "guardian"): 2}

    def test_the_operators_own_notes_are_nobody(self, kit: Kit) -> None:
        kit.give("u-1", "news")
        kit.ledger.seal()
        assert kit.stats()["subjects"]["accounts"] == 1

    @pytest.mark.parametrize("tenant", [5, b"acme"])
    def test_a_tenant_is_text(self, kit: Kit, tenant: Any) -> None:
        with pytest.raises(ValueError, match="tenant"):
            kit.stats(tenant=tenant)


def counted(stats: dict[str, Any]) -> dict[tuple[str, ...], int]:
    return {
        tuple(one[name] for name in ("kind", "item", "version", "status", "actor")): one["count"]
        for one in stats["answers"]
    }


class TestOnSqlite(StatsSuite, OnSqlite):
    pass


@pytest.mark.pg
class TestOnPostgresql(StatsSuite, OnPostgresql):
    pass
