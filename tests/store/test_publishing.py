"""Publishing: versions for ever, texts by digest; what is refused, and what it says."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ledgers import OnPostgresql, OnSqlite, ShiftedClock, Suite, catalog, open_kit, rows

from consentkit.core.catalog import Catalog, Party, Policy, PolicyVersion, Purpose
from consentkit.core.errors import CatalogError, StoreUnavailable
from consentkit.core.notice import notice_of
from consentkit.core.terms import Change, Reason
from consentkit.kit import Kit
from consentkit.runtime import Runtime

ONE = PolicyVersion("1", texts={"en": "# Terms"})


def terms(*versions: PolicyVersion, **purpose: Any) -> Catalog:
    return catalog(
        purposes=[Purpose("news", **({"title": "News"} | purpose))],
        policies=[Policy("terms", versions=versions or (ONE,))],
        bundles=(),
        parties=[Party("mailer", name="Mailer")],
    )


def later(version: str, **more: Any) -> PolicyVersion:
    return PolicyVersion(version, texts={"en": f"# Terms {version}"}, **more)


class Publishing(Suite):
    @pytest.fixture
    def kit(self, url: str, clock: ShiftedClock) -> Any:
        kit = open_kit(url, terms(), clock=clock)
        yield kit
        kit.runtime.dispose()

    def publish(self, kit: Kit, what: Catalog) -> list[tuple[str, str, str]]:
        """On the same database, with another catalogue; afterwards the kit works with it."""
        runtime = kit.runtime
        kit._runtime = Runtime(what, runtime.database, key="k" * 64, clock=runtime.clock)
        return [(s.what, s.item, s.version) for s in kit.runtime.publish()]

    def test_texts_notices_and_catalogue_are_stored_by_digest(self, kit: Kit) -> None:
        stored = dict(rows(kit, "SELECT digest, content FROM consentkit_document"))
        assert all(hashlib.sha256(text.encode()).hexdigest() == digest for digest, text in stored.items())
        assert "# Terms" in stored.values()
        assert notice_of(kit.catalog, "en").body in stored.values()
        assert kit.document(notice_of(kit.catalog, "en").digest) is not None
        assert kit.document("0" * 64) is None

    def test_the_same_catalogue_changes_nothing(self, kit: Kit) -> None:
        before = rows(kit, "SELECT * FROM consentkit_policy_version")
        assert self.publish(kit, terms()) == []
        assert rows(kit, "SELECT * FROM consentkit_policy_version") == before

    def test_a_changed_text_under_a_published_version(self, kit: Kit) -> None:
        changed = terms(PolicyVersion("1", texts={"en": "# Terms, nicer"}))
        with pytest.raises(CatalogError, match="add a new version with the changed text"):
            self.publish(kit, changed)
        with pytest.raises(StoreUnavailable, match="is not published"):
            kit.runtime.ensure()

    def test_versions_keep_their_place(self, kit: Kit) -> None:
        with pytest.raises(CatalogError, match="is published"):
            self.publish(kit, terms(later("0"), ONE))
        with pytest.raises(CatalogError, match="is published"):
            self.publish(kit, terms(later("2")))
        assert self.publish(kit, terms(ONE, later("2"), later("3"))) == [
            ("new_policy", "terms", "2"),
            ("new_policy", "terms", "3"),
        ]
        stored = rows(kit, "SELECT version, ordinal FROM consentkit_policy_version ORDER BY ordinal")
        assert stored == [("1", 1), ("2", 2), ("3", 3)]

    @pytest.mark.parametrize(
        "fact", [{"recipients": ["mailer"]}, {"data": ["mail"]}, {"explicit": True}, {"locations": ["US"]}]
    )
    def test_a_material_change_needs_a_version(self, kit: Kit, fact: dict[str, Any]) -> None:
        kit.give("u-1", "news")
        with pytest.raises(CatalogError, match="Write version = 2"):
            self.publish(kit, terms(**fact))
        assert self.publish(kit, terms(version=2, **fact)) == [("new_version", "news", "2")]
        assert kit.of("u-1").decide("news").reason is Reason.OUTDATED
        with pytest.raises(CatalogError, match="version 2 is published already"):
            self.publish(kit, terms())

    def test_an_editorial_change_asks_nobody(self, kit: Kit) -> None:
        kit.give("u-1", "news")
        kit.accept("u-1", "terms")
        assert self.publish(kit, terms(title="The news", description="more")) == []
        assert self.publish(kit, terms(ONE, later("2", change=Change.EDITORIAL))) != []
        assert kit.of("u-1").allows("news")
        assert kit.of("u-1").decide("terms").reason is Reason.ACCEPTED
        self.publish(kit, terms(ONE, later("2", change=Change.EDITORIAL), later("3")))
        assert kit.of("u-1").decide("terms").reason is Reason.OUTDATED

    def test_announced_now_and_in_force_later(self, kit: Kit, clock: ShiftedClock) -> None:
        soon = datetime.now(UTC) + timedelta(days=30)
        kit.accept("u-1", "terms")
        self.publish(kit, terms(ONE, later("2", effective=soon)))
        assert kit.of("u-1").decide("terms").reason is Reason.ACCEPTED
        assert kit.of("u-1").decide("terms").version == "1"
        shown = hashlib.sha256(b"# Terms 2").hexdigest()
        (early,) = kit.accept("u-2", "terms", notice=shown)
        assert early.version == "2"
        assert kit.of("u-2").decide("terms").reason is Reason.ACCEPTED
        clock.shift_us += 31 * 86_400_000_000
        assert kit.of("u-1").decide("terms").reason is Reason.OUTDATED
        assert kit.of("u-2").decide("terms").reason is Reason.ACCEPTED
        release = kit.policy_in_effect("terms", soon - timedelta(seconds=1))
        assert release is not None
        assert release.version == "1"

    def test_a_new_version_is_not_in_force_before_it_could_be_read(
        self, kit: Kit, clock: ShiftedClock
    ) -> None:
        self.publish(kit, terms(ONE, later("2", effective=datetime(2020, 1, 1, tzinfo=UTC))))
        ((effective, published),) = rows(
            kit, "SELECT effective_us, published_us FROM consentkit_policy_version WHERE version = '2'"
        )
        assert effective == published

    def test_what_publishing_would_change(self, kit: Kit) -> None:
        runtime = Runtime(terms(ONE, later("2"), version=2), kit.runtime.database, key="k" * 64)
        assert [(s.what, s.item) for s in runtime.plan()] == [
            ("new_version", "news"),
            ("new_policy", "terms"),
        ]
        assert len(rows(kit, "SELECT * FROM consentkit_policy_version")) == 1

    def test_nothing_is_published_by_halves(self, kit: Kit) -> None:
        before = rows(kit, "SELECT digest FROM consentkit_document ORDER BY digest")
        with pytest.raises(CatalogError):
            self.publish(kit, terms(ONE, later("2"), data=["mail"]))
        assert rows(kit, "SELECT digest FROM consentkit_document ORDER BY digest") == before
        assert len(rows(kit, "SELECT * FROM consentkit_policy_version")) == 1


class TestSqlite(OnSqlite, Publishing): ...


class TestPostgresql(OnPostgresql, Publishing): ...
