"""What was exported is taken in again: the same decisions, once, as of when it was said; or nothing at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ledgers import CHILDREN, OnPostgresql, OnSqlite, Suite, catalog, made, make_tables, open_kit

from consentkit.core.errors import ChoiceRejected
from consentkit.core.minors import Age
from consentkit.core.terms import Reason
from consentkit.kit import Kit

PURPOSES = ("news", "stats", "heatmap", "transfer", "ads", "account", "analytics", "marketing")


def carried(export: dict[str, Any]) -> dict[str, Any]:
    """As a file carries it."""
    found: dict[str, Any] = json.loads(json.dumps(export))
    return found


def answered(kit: Kit, subject: str = "u-1") -> dict[str, Any]:
    kit.choose(subject, give=["news", "stats"], refuse=["ads"], method="form", locale="en", notice="a" * 64)
    kit.accept(subject, "terms", method="tick")
    kit.give(subject, "quote", scope="comment:1")
    kit.withdraw(subject, "stats")
    kit.object(subject, "heatmap")
    return carried(kit.export(subject))


class Importing(Suite):
    @pytest.fixture
    def other(self, other_url: str) -> Iterator[Kit]:
        """Another ledger with the same catalogue."""
        kit = open_kit(other_url)
        yield kit
        kit.runtime.dispose()

    def test_the_same_decisions_elsewhere(self, kit: Kit, other: Kit) -> None:
        export = answered(kit)
        events = other.import_export(export)
        for item in (*PURPOSES, "terms", "privacy"):
            here, there = kit.of("u-1").decide(item), other.of("u-1").decide(item)
            assert (there.allowed, there.reason, there.version) == (
                here.allowed,
                here.reason,
                here.version,
            ), item
        assert other.of("u-1").allows("quote", scope="comment:1")
        assert not other.of("u-1").allows("quote", scope="comment:2")
        assert {event.method for event in events} == {"import"}
        first = json.loads(events[0].body)
        assert first["continues"] == export["events"][0]["event_id"]
        assert (first["imported_method"], first["locale"], first["notice"]) == ("form", "en", "a" * 64)
        said = [event["effective_at"] for event in export["events"]]
        assert [e["effective_at"] for e in other.export("u-1")["events"]] == said
        assert other.ledger.verify().completeness

    def test_once(self, kit: Kit, other: Kit) -> None:
        export = answered(kit)
        assert len(other.import_export(export)) == len(export["events"])
        assert other.import_export(export) == []
        assert kit.import_export(export) == [], "what it came from has it already"
        again = carried(other.export("u-1"))
        assert other.import_export(again) == []

    def test_a_later_answer_here_stays_the_last(self, kit: Kit, other: Kit) -> None:
        export = answered(kit)
        other.withdraw("u-1", "news")
        other.import_export(export)
        assert other.of("u-1").decide("news").reason is Reason.WITHDRAWN
        assert other.of("u-1").allows("terms")

    def test_under_another_id_and_tenant(self, kit: Kit, other: Kit) -> None:
        other.import_export(answered(kit), subject="u-9", tenant="t")
        assert other.of("u-9", tenant="t").allows("news")
        assert not other.of("u-9").allows("news")
        assert not other.of("u-1").allows("news")

    def test_a_restriction_goes_along(self, kit: Kit, other: Kit) -> None:
        kit.give("u-1", "news")
        kit.restrict("u-1")
        other.import_export(carried(kit.export("u-1")))
        assert other.of("u-1").decide("news").reason is Reason.RESTRICTED

    def test_evidence_stays_where_it_was(self, kit: Kit, other: Kit) -> None:
        kit.give("u-1", "news")
        kit.erase("u-1")
        export = carried(kit.export("u-1"))
        assert [e["action"] for e in export["events"]] == ["given", "erased"]
        assert [e.action for e in other.import_export(export)] == ["given"]

    @pytest.mark.parametrize(
        ("change", "error", "said"),
        [
            (lambda e: e.update(schema="x"), ValueError, "this is no export"),
            (lambda e: e.pop("events"), ValueError, "damaged"),
            (lambda e: e["events"][3].pop("body"), ValueError, "damaged"),
            (lambda e: e["events"][3].update(body="{"), ValueError, "damaged"),
            (lambda e: e.update(subject=7), ValueError, "no subject"),
            (lambda e: e.update(subject=""), ValueError, "subject"),
            (lambda e: e["facts"].update(band="young"), ValueError, "young"),
            (lambda e: body(e, 3, ordinal="1"), ValueError, "no whole number"),
            (lambda e: body(e, 3, ordinal=7), ChoiceRejected, "is not published here"),
            (lambda e: body(e, 3, version="7"), ChoiceRejected, "is not published here"),
            (lambda e: body(e, 0, item="nothing"), ChoiceRejected, "'nothing'"),
            (lambda e: body(e, 0, kind="thing"), ValueError, "thing"),
            (lambda e: body(e, 0, effective_us=2**52), ValueError, "future"),
        ],
    )
    def test_all_or_nothing(
        self, kit: Kit, other: Kit, change: Callable[[Any], object], error: type[Exception], said: str
    ) -> None:
        export = answered(kit)
        change(export)
        with pytest.raises(error, match=said):
            other.import_export(export)
        assert other.ledger.of_subject("u-1") == []

    def test_no_export_at_all(self, kit: Kit) -> None:
        for wrong in ([], "x", None, {}):
            with pytest.raises(ValueError, match="this is no export"):
                kit.import_export(wrong)  # type: ignore[arg-type]

    def test_what_is_over_stays_over(self, kit: Kit, other: Kit) -> None:
        long_ago = datetime.now(UTC) - timedelta(days=3650)
        kit.give("u-1", "news", at=long_ago)
        export = carried(kit.export("u-1"))
        other.import_export(export)
        assert other.of("u-1").decide("news").reason is kit.of("u-1").decide("news").reason
        assert other.of("u-1").decide("news").expires == kit.of("u-1").decide("news").expires


def body(export: dict[str, Any], number: int, **changes: Any) -> None:
    """Change what an event says."""
    event = export["events"][number]
    event["body"] = json.dumps(json.loads(event["body"]) | changes)


class TestSqlite(OnSqlite, Importing):
    @pytest.fixture
    def other_url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/other.sqlite3"


class TestPostgresql(OnPostgresql, Importing):
    @pytest.fixture
    def other_url(self, pg_url: str) -> Iterator[str]:
        with made(pg_url, "") as url:
            make_tables(url)
            yield url


def test_a_child_stays_a_child(tmp_path: Path) -> None:
    """Facts go along, and a guardian's answer with its assurance."""
    kits = [open_kit(f"sqlite:///{tmp_path}/{name}.sqlite3", catalog(minors=CHILDREN)) for name in "ab"]
    one, two = kits
    one.learn("kid", age=Age(years=11), jurisdiction="DE")
    one.give("kid", "news", actor="guardian:1")
    assert one.of("kid").allows("news")
    two.import_export(carried(one.export("kid")))
    assert two.export("kid")["facts"] == one.export("kid")["facts"]
    assert two.of("kid").allows("news")
    assert two.of("kid").decide("stats").reason is Reason.GUARDIAN_REQUIRED
    for kit in kits:
        kit.runtime.dispose()
