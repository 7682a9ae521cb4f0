"""What was exported is taken in again: the same decisions, once, as of when it was said; or nothing at all."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ledgers import (
    CHILDREN,
    OnPostgresql,
    OnSqlite,
    ShiftedClock,
    Suite,
    catalog,
    made,
    make_tables,
    open_kit,
    rows,
)

from consentkit.core.catalog import MinorRules, Purpose
from consentkit.core.errors import ChoiceRejected, NotForChildren
from consentkit.core.minors import Age
from consentkit.core.terms import Reason
from consentkit.kit import Kit

DAY_US = 24 * 3600 * 1_000_000
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
        kit.restrict("u-1")
        export = carried(kit.export("u-1"))
        assert [e.action for e in other.import_export(export)] == ["restricted"]

    # ------------------------------------------------------------ after an erasure

    @pytest.mark.parametrize("mode", ["unlink", "destroy"])
    def test_what_was_said_before_an_erasure_never_counts_again(
        self, kit: Kit, clock: ShiftedClock, mode: str
    ) -> None:
        export = answered(kit)
        kit.erase("u-1", mode=mode)
        there = len(kit.ledger.of_subject("u-1"))
        done = kit.import_export(export)
        assert (done, done.known, done.erased) == ([], 0, len(export["events"]))
        clock.shift_us += 40 * DAY_US
        assert kit.purge() == 1
        assert kit.import_export(export) == []
        assert kit.of("u-1").decide("news").reason is Reason.ERASED
        assert len(kit.ledger.of_subject("u-1")) == there, "nothing was put back that was erased"

    def test_nor_for_somebody_who_came_back(self, kit: Kit, clock: ShiftedClock) -> None:
        exports = []
        for _ in range(2):  # whose id is hidden once, and then once more
            kit.give("u-1", "news")
            exports.append(carried(kit.export("u-1")))
            kit.erase("u-1")
            clock.shift_us += 40 * DAY_US
            kit.purge()
        for export in exports:
            assert kit.import_export(export).erased == 1
            assert kit.of("u-1").decide("news").reason is Reason.ERASED
        kit.give("u-1", "stats")
        for export in exports:
            assert kit.import_export(export).erased == 1
            assert kit.of("u-1").decide("news").reason is Reason.NO_ANSWER
        assert kit.ledger.verify().completeness

    def test_an_erased_subject_is_not_a_consenting_one_elsewhere(self, kit: Kit, other: Kit) -> None:
        kit.learn("u-1", jurisdiction="DE")
        kit.give("u-1", "news")
        kit.erase("u-1")
        done = other.import_export(carried(kit.export("u-1")))
        assert (done, done.erased) == ([], 1)
        assert other.of("u-1").decide("news").reason is Reason.NO_ANSWER
        assert not rows(other, "SELECT 1 FROM consentkit_subject")

    def test_a_yes_since_the_erasure_begins_anew_with_all_that_was_said_since(
        self, kit: Kit, other: Kit
    ) -> None:
        other.give("u-1", "ads")
        other.erase("u-1")
        kit.choose("u-1", give=["news"], refuse=["stats"], method="form")
        export = carried(kit.export("u-1"))
        export["events"].sort(key=lambda event: event["action"] == "given")  # the no comes first
        assert len(other.import_export(export)) == 2
        said = {key: other.of("u-1").decide(key).reason for key in ("news", "stats", "ads")}
        assert said == {"news": Reason.GIVEN, "stats": Reason.REFUSED, "ads": Reason.NO_ANSWER}

    # ------------------------------------------------------------ once, whatever happens

    def test_an_event_that_the_file_has_twice_counts_once(self, kit: Kit, other: Kit) -> None:
        kit.give("u-1", "news")
        export = carried(kit.export("u-1"))
        export["events"] *= 3
        assert len(other.import_export(export)) == 1

    def test_imports_at_the_same_time_record_it_once(self, kit: Kit, other: Kit) -> None:
        export = answered(kit)
        ready, done = threading.Barrier(5), []

        def take() -> None:
            ready.wait()
            done.append(len(other.import_export(export)))

        threads = [threading.Thread(target=take) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(done) == [0, 0, 0, 0, len(export["events"])]
        assert len(other.ledger.of_subject("u-1")) == len(export["events"])

    def test_a_tenants_subject_stays_the_tenants(self, kit: Kit, other: Kit) -> None:
        kit.give("u-1", "news", tenant="acme")
        export = carried(kit.export("u-1", tenant="acme"))
        other.import_export(export)
        assert other.of("u-1", tenant="acme").allows("news")
        assert not other.of("u-1").allows("news")
        other.import_export(export, tenant="")
        assert other.of("u-1").allows("news")

    def test_an_answer_to_a_purpose_that_is_no_longer_asked(self, kit: Kit, url: str) -> None:
        kit.give("u-1", ["news", "stats"])
        export = carried(kit.export("u-1"))
        kit.erase("u-1", mode="destroy")
        later = open_kit(url, catalog(purposes=[Purpose("news", title="News")]))
        assert len(later.import_export(export, subject="u-2")) == 2
        assert later.of("u-2").allows("news")
        assert later.ledger.verify().completeness
        later.runtime.dispose()

    def test_what_is_imported_verifies(self, kit: Kit, other: Kit) -> None:
        export = answered(kit)
        kit.withdraw("u-1", "terms")
        export = carried(kit.export("u-1"))
        other.import_export(export)
        assert other.of("u-1").decide("terms").reason is Reason.WITHDRAWN
        assert other.ledger.verify().completeness

    # ------------------------------------------------------------ what cannot be recorded

    @pytest.mark.parametrize(
        ("change", "error", "said"),
        [
            (lambda e: e.update(schema="x"), ValueError, "this is no export"),
            (lambda e: e.pop("events"), ValueError, "damaged"),
            (lambda e: e["events"][3].pop("body"), ValueError, "damaged"),
            (lambda e: e["events"][3].update(body="{"), ValueError, "damaged"),
            (lambda e: e.update(subject=7), ValueError, "no subject"),
            (lambda e: e.update(subject="visitor:x"), ChoiceRejected, "anonymous visitors"),
            (lambda e: e.update(subject="\ud800"), ValueError, "damaged"),
            (lambda e: e.update(tenant="t"), ValueError, "event 1: .*another subject"),
            (lambda e: e.update(events={}), ValueError, "no list"),
            (lambda e: e["events"].append(None), ValueError, "None is no object"),
            (lambda e: e["events"][3].update(body="[" * 100_000), ValueError, "event 4: .*too deep"),
            (lambda e: e["events"][3].update(body="9" * 5000), ValueError, "damaged, event 4"),
            (lambda e: e["facts"].update(jurisdiction=["DE"]), ValueError, "no text"),
            (lambda e: e["facts"].update(jurisdiction="X" * 10**6), ValueError, "1,000,000 characters"),
            (lambda e: e["facts"].update(jurisdiction="Rome"), ValueError, "no jurisdiction"),
            (lambda e: e["facts"].update(band="minor", minor_until_us=2**64), ValueError, "too large"),
            (lambda e: e["facts"].update(band="minor", minor_until_us=-1), ValueError, "before 1970"),
            (lambda e: e["facts"].update(band="adult", minor_until_us=1), ValueError, "band adult"),
            (lambda e: body(e, 3, subject_key="00" * 16), ValueError, "event 4: .*another subject"),
            (lambda e: body(e, 3, event_id="nope"), ValueError, "no UUID"),
            (lambda e: body(e, 3, event_id="0" * 10**6), ValueError, "1,000,000 characters"),
            (lambda e: body(e, 3, event_id=e["events"][0]["event_id"]), ValueError, "has its id"),
            (lambda e: body(e, 0, version="77"), ChoiceRejected, "'77' is not published"),
            (lambda e: body(e, 0, version="9" * 5000), ValueError, "5,000 characters"),
            (lambda e: body(e, 0, version=None), ChoiceRejected, "is not published"),
            (lambda e: body(e, 3, notice="b" * 64), ChoiceRejected, "is not published"),
            (lambda e: body(e, 0, action="sung"), ValueError, "sung"),
            (lambda e: body(e, 0, action="accepted"), ValueError, "accepted about the purpose"),
            (lambda e: body(e, 0, action="restricted"), ValueError, "restricted about the purpose"),
            (lambda e: body(e, 0, kind="subject", item="x"), ValueError, "about the subject 'x'"),
            (lambda e: body(e, 0, kind="signal", item="foo", action="objected"), ValueError, "signal 'foo'"),
            (lambda e: body(e, 0, actor="hacker"), ValueError, "'hacker'"),
            (lambda e: body(e, 0, actor="guardian:x"), ValueError, "guardian:x"),
            (lambda e: body(e, 0, actor="invitation:1"), ValueError, "invitation:1"),
            (lambda e: body(e, 0, actor="operator"), ValueError, "operator cannot"),
            (lambda e: body(e, 0, actor="browser"), ValueError, "browser cannot"),
            (lambda e: body(e, 0, level=2**40), ValueError, "no assurance"),
            (lambda e: body(e, 0, level=2), ValueError, "no assurance"),
            (lambda e: body(e, 0, scope="a\0b"), ValueError, "scope"),
            (lambda e: body(e, 0, notice="zzz"), ValueError, "notice"),
            (lambda e: body(e, 0, locale="../../x"), ValueError, "locale"),
            (lambda e: body(e, 0, expires_us=2**53), ValueError, "too large"),
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


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., Kit]]:
    """Ledgers by name; rules for minors as they are given."""
    kits: list[Kit] = []

    def make(name: str, minors: MinorRules | None = CHILDREN) -> Kit:
        kits.append(open_kit(f"sqlite:///{tmp_path}/{name}.sqlite3", catalog(minors=minors)))
        return kits[-1]

    yield make
    for kit in kits:
        kit.runtime.dispose()


def test_facts_here_are_not_overruled_by_those_of_a_file(opened: Callable[..., Kit]) -> None:
    there, here = opened("there"), opened("here")
    there.learn("kid", age=Age(years=30), jurisdiction="DE")
    there.give("kid", "news")
    here.learn("kid", age=Age(years=10))
    here.import_export(carried(there.export("kid")))
    assert here.export("kid")["facts"]["band"] == "minor"
    assert here.export("kid")["facts"]["jurisdiction"] == "DE", "what was not known is completed"
    assert here.of("kid").decide("news").reason is Reason.GUARDIAN_REQUIRED


def test_nor_is_what_the_host_says(opened: Callable[..., Kit]) -> None:
    there, here = opened("there"), opened("here")
    there.learn("kid", age=Age(years=30))
    there.give("kid", "news")
    here.facts.age = lambda _subject: Age(years=10)
    here.import_export(carried(there.export("kid")))
    assert here.export("kid")["facts"]["band"] == "minor"


def test_an_age_goes_along_by_the_rule_of_the_place_here(opened: Callable[..., Kit]) -> None:
    there, here = opened("there", None), opened("here", None)
    there.facts.age = here.facts.age = lambda _subject: None
    there.learn("u-1", age=Age(years=17), jurisdiction="AT")
    here.learn("u-1", jurisdiction="US-CA")
    export = carried(there.export("u-1"))
    assert export["facts"]["band"] == "adult", "who is an adult there may be a minor here"
    here.import_export(export)
    after = here.export("u-1")["facts"]
    assert (after["band"], after["jurisdiction"]) == ("unknown", "US-CA")


def test_facts_go_along_where_no_answer_is_new(opened: Callable[..., Kit]) -> None:
    there, here = opened("there"), opened("here")
    there.learn("kid", age=Age(years=10), jurisdiction="DE")
    export = carried(there.export("kid"))
    assert here.import_export(export) == []
    assert here.export("kid")["facts"] == export["facts"]


def test_an_event_says_the_facts_of_its_own_moment(opened: Callable[..., Kit]) -> None:
    there, here = opened("there"), opened("here")
    there.learn("u-1", age=Age(years=30), jurisdiction="DE")
    there.give("u-1", "news")
    there.learn("u-1", age=Age(years=10), jurisdiction="FR")
    (event,) = here.import_export(carried(there.export("u-1")))
    said = json.loads(event.body)
    assert (said["band"], said["jurisdiction"]) == ("adult", "DE")
    assert here.export("u-1")["facts"] == there.export("u-1")["facts"]


def test_where_children_are_not_allowed_none_is_imported(opened: Callable[..., Kit]) -> None:
    there, here = opened("there"), opened("here", MinorRules(age=14, children="not_allowed"))
    there.learn("kid", age=Age(years=9), jurisdiction="DE")
    there.give("kid", "news", actor="guardian:1")
    with pytest.raises(NotForChildren):
        here.import_export(carried(there.export("kid")))
    assert not here.of("kid").allows("news")
    assert [e.action for e in here.ledger.of_subject("kid")] == ["refused", "requested"]


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
