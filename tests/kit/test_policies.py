"""Policies in a ledger: versions that never change, acts that are all or none, people told once; bad input."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ledgers import KEY, OnPostgresql, OnSqlite, ShiftedClock, Suite, open_kit, rows

from consentkit.core.catalog import Bundle, Catalog, Policy, PolicyVersion, Purpose
from consentkit.core.catalog_rules import build
from consentkit.core.errors import CatalogError, ChoiceRejected
from consentkit.core.policy_rules import MAX_TEXT_BYTES
from consentkit.core.rulebook import Rulebook
from consentkit.core.terms import Reason
from consentkit.core.times import from_us
from consentkit.kit import Kit
from consentkit.kit_file import load
from consentkit.runtime import Runtime

DAY_US = 86_400 * 1_000_000
PAST = datetime(2020, 1, 1, tzinfo=UTC)
USE = ["tick", "continued_use"]
ONE = PolicyVersion("1", effective=PAST, texts={"en": "# One", "de": "# Eins"})


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def soon(days: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def two(**more: Any) -> PolicyVersion:
    return PolicyVersion(**({"version": "2", "texts": {"en": "# Two"}} | more))


def terms(*versions: PolicyVersion) -> Catalog:
    return build(
        purposes=[Purpose("news", title="News", policies=["terms"])],
        policies=[
            Policy("terms", title="Terms", versions=versions or (ONE,)),
            Policy(
                "strict",
                title="Strict",
                versions=[PolicyVersion("1", acceptance=["tick"], texts={"en": "s"})],
            ),
        ],
        bundles=[Bundle("both", ["terms", "strict"])],
    )


def everything(kit: Kit) -> list[Any]:
    tables = ("policy_version", "purpose_version", "document", "event", "state", "subject")
    return [rows(kit, f"SELECT count(*) FROM consentkit_{table}") for table in tables]


class Policies(Suite):
    @pytest.fixture
    def kit(self, url: str, clock: ShiftedClock) -> Iterator[Kit]:
        kit = open_kit(url, terms(), clock=clock)
        yield kit
        kit.runtime.dispose()

    def publish(self, kit: Kit, *versions: PolicyVersion) -> None:
        runtime = kit.runtime
        kit._runtime = Runtime(terms(*versions), runtime.database, key=KEY, clock=runtime.clock)
        kit.runtime.publish()

    @pytest.mark.parametrize(
        ("version", "key", "said", "mend"),
        [
            (
                PolicyVersion(
                    "1", effective=PAST, texts={"en": "# One!", "de": "# Eins"}, files={"en": "one.md"}
                ),
                "policies.terms.versions.1.files.en",
                f"is published with digest {sha('# One')}, the file has {sha('# One!')}",
                "add a new version with the changed text",
            ),
            (
                PolicyVersion("1", effective=PAST, texts={"en": "# One"}),
                "policies.terms.versions.1.files.de",
                f"the text is missing; it is published with digest {sha('# Eins')}",
                "Put its line and its file back",
            ),
            (
                PolicyVersion("1", effective=PAST, texts={"en": "# One", "de": "# Eins", "fr": "# Une"}),
                "policies.terms.versions.1.files.fr",
                "version '1' was published without it",
                'a version with change = "editorial" and all languages',
            ),
            (
                PolicyVersion("1", "editorial", PAST, texts=ONE.texts),  # type: ignore[arg-type]
                "policies.terms.versions.1.change",
                "is published as material, the catalogue says editorial",
                'Write change = "material"',
            ),
            (
                PolicyVersion("1", effective=PAST + timedelta(days=1), texts=ONE.texts),
                "policies.terms.versions.1.effective",
                "is published with 2020-01-01T00:00:00.000000Z, the catalogue says 2020-01-02",
                "another date needs a new version",
            ),
            (
                PolicyVersion("1", texts=ONE.texts),
                "policies.terms.versions.1.effective",
                "the catalogue says no date",
                "Write effective = 2020-01-01",
            ),
            (
                PolicyVersion("1", effective=PAST, texts=ONE.texts, acceptance=["tick", "continued_use"]),
                "policies.terms.versions.1.acceptance",
                "the catalogue says tick, continued_use",
                "Put the published list back",
            ),
        ],
    )
    def test_nothing_of_a_published_version_changes(
        self, kit: Kit, version: PolicyVersion, key: str, said: str, mend: str
    ) -> None:
        before = everything(kit)
        with pytest.raises(CatalogError) as refused:
            self.publish(kit, version, two())
        assert refused.value.key == key
        assert refused.value.file == ("one.md" if version.files else None)
        assert said in str(refused.value)
        assert mend in refused.value.mend
        assert everything(kit) == before

    def test_what_may_be_said_otherwise(self, kit: Kit) -> None:
        """The date on which it was published may be written down later; the default list is not compared."""
        self.publish(kit, ONE, two(acceptance=["tick"]))
        self.publish(kit, ONE, two())
        self.publish(kit, ONE, two(effective=soon(-1), acceptance=["tick"]))
        release = kit.policy_in_effect("terms")
        assert release is not None
        assert release.acceptance == ("tick",)

    def test_dates_in_order(self, kit: Kit) -> None:
        future = soon(9)
        self.publish(kit, ONE, two(effective=future))
        before = everything(kit)
        for effective in (None, soon(8)):
            with pytest.raises(CatalogError) as refused:
                self.publish(kit, ONE, two(effective=future), two(version="3", effective=effective))
            assert "before the one above it" in str(refused.value)
            assert everything(kit) == before
        self.publish(kit, ONE, two(effective=future), two(version="3", effective=future, texts={"en": "# 3"}))
        release = kit.policy_in_effect("terms", future)
        assert release is not None
        assert release.version == "3"

    def test_the_first_publication_of_a_history(self, url: str, kit: Kit) -> None:
        """Old dates stay as they are; a version without a date is of today, so an old one cannot follow it."""
        undated = PolicyVersion("1", texts={"en": "x"})
        old = two(effective=PAST)
        for written, good in (([undated, old], False), ([old, two(version="3")], True)):
            catalog = build(policies=[Policy("other", title="O", versions=written)])
            new = Runtime(catalog, kit.runtime.database, key=KEY)
            if good:
                new.publish()
            else:
                with pytest.raises(CatalogError, match="would be in force before"):
                    new.publish()
        found = rows(
            kit, "SELECT effective_us FROM consentkit_policy_version WHERE item = 'other' ORDER BY ordinal"
        )
        assert from_us(found[0][0]) == PAST

    def test_a_publisher_whose_clock_is_behind(self, kit: Kit, clock: ShiftedClock) -> None:
        self.publish(kit, ONE, two())
        clock.shift_us -= 60 * 1_000_000
        self.publish(kit, ONE, two(), two(version="3", texts={"en": "# 3"}))
        found = rows(
            kit,
            "SELECT effective_us, published_us FROM consentkit_policy_version WHERE item = 'terms' ORDER BY ordinal",
        )
        assert found[2] == found[1]

    def test_a_language_comes_with_an_editorial_version(self, kit: Kit) -> None:
        kit.accept("u-1", "terms")
        self.publish(kit, ONE, two(change="editorial", texts={**ONE.texts, "fr": "# Une"}))
        assert kit.decide("u-1", "terms").reason is Reason.ACCEPTED
        assert list(kit.to_tell("terms")) == []
        (event,) = kit.accept("u-2", "terms", locale="fr")
        assert (event.version, event.locale, event.notice) == ("2", "fr", sha("# Une"))
        assert kit.document(sha("# Une")) == ("text/markdown", "# Une")

    def test_a_bundle_is_all_or_nothing(self, kit: Kit) -> None:
        before = everything(kit)
        with pytest.raises(ChoiceRejected, match="'strict' is accepted by tick"):
            kit.accept("u-1", "both", method="login_button")
        with pytest.raises(ChoiceRejected):
            kit.accept_shown("u-1", {"terms": sha("# One"), "strict": sha("old")}, method="tick")
        assert everything(kit) == before
        assert [e.item for e in kit.accept("u-1", "both", method="tick")] == ["terms", "strict"]
        assert kit.decide("u-1", "both")
        kit.decline("u-1", "both")
        assert kit.decide("u-1", "both").reason is Reason.REFUSED

    def test_a_no_in_between_does_not_forget_a_reduction_of_rights(self, kit: Kit) -> None:
        kit.accept("u-1", "terms")
        self.publish(kit, ONE, two(change="reduces_rights"), two(version="3", texts={"en": "# 3"}))
        kit.decline("u-1", "terms")
        with pytest.raises(ChoiceRejected, match="accepted by tick, button, not by code"):
            kit.accept("u-1", "terms")
        kit.accept("u-2", "terms")
        kit.accept("u-1", "terms", method="button")

    def test_use_after_the_date_by_somebody_who_was_told(self, kit: Kit, clock: ShiftedClock) -> None:
        for subject in ("told", "late", "denied", "gone"):
            kit.accept(subject, "terms")
        self.publish(kit, ONE, two(effective=soon(5), acceptance=USE))
        for subject in ("told", "denied", "gone"):
            kit.notified(subject, "terms")
        kit.withdraw("denied", "terms", actor="operator")
        kit.erase("gone", reason="art17", mode="unlink")
        assert kit.continue_use("told") == []
        clock.shift_us += 6 * DAY_US
        assert kit.decide("told", "terms").reason is Reason.OUTDATED
        kit.notified("late", "terms")
        for subject in ("late", "denied", "gone", "stranger"):
            assert kit.continue_use(subject) == []
        (event,) = kit.continue_use("told")
        assert (event.method, event.version, event.notice) == ("continued_use", "2", sha("# Two"))
        assert kit.decide("told", "terms").reason is Reason.ACCEPTED
        assert kit.continue_use("told") == []
        assert kit.of("told").status("news") == "unknown"

    def test_told_once_however_many_tell(self, kit: Kit) -> None:
        for n in range(5):
            kit.accept(f"u-{n}", "terms", tenant="t" if n == 4 else None)
        kit.accept_shown("visitor:1", {"terms": sha("# One")})
        kit.decline("u-3", "terms")
        self.publish(kit, ONE, two())
        assert sorted(kit.to_tell("terms")) == ["u-0", "u-1", "u-2"]
        assert list(kit.to_tell("terms", tenant="t")) == ["u-4"]

        def mailer(_: int) -> list[str]:
            return [subject for subject in kit.to_tell("terms") if kit.notified(subject, "terms")]

        with ThreadPoolExecutor(4) as pool:
            told = [subject for found in pool.map(mailer, range(4)) for subject in found]
        assert sorted(told) == ["u-0", "u-1", "u-2"]
        assert rows(kit, "SELECT count(*) FROM consentkit_event WHERE action = 'notified'") == [(3,)]
        self.publish(kit, ONE, two(), two(version="3", change="editorial", texts={"en": "# 2"}))
        assert list(kit.to_tell("terms")) == []
        self.publish(
            kit, ONE, two(), two(version="3", change="editorial", texts={"en": "# 2"}), two(version="4")
        )
        assert len(list(kit.to_tell("terms"))) == 3

    def test_rules_of_a_moment_are_made_once(self, kit: Kit, clock: ShiftedClock) -> None:
        """However many moments are asked about, there are as many books of rules as changes of versions."""
        now, coming = datetime.now(UTC), two(effective=soon(3))
        self.publish(kit, ONE, coming)

        def then(days: float) -> Rulebook:
            return kit.runtime.past_rules(int((now + timedelta(days=days)).timestamp() * 1e6), "terms")

        assert len({id(then(-days)) for days in range(1, 30)}) == 1
        clock.shift_us += 9 * DAY_US
        books = [then(days) for days in (1, 2, 4, 5)]
        assert books[0] is books[1] is not books[2] is books[3]
        self.publish(kit, ONE, coming, two(version="3"))
        assert then(0).published is kit.runtime.published


class TestSqlite(OnSqlite, Policies): ...


class TestPostgresql(OnPostgresql, Policies): ...


# ---------------------------------------------------------------- bad input

HEAD = '[controller]\nname = "A"\ncontact = "a@example.org"\n[site]\nname = "S"\n'
VERSION = '[policies.terms]\ntitle = "T"\n[[policies.terms.versions]]\nversion = "1"\n'


def folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("make", "said", "mend"),
    [
        (lambda path: None, "cannot be read: No such file", "relative to the TOML file"),
        (folder, "is not a file", "Name a file"),
        (lambda path: path.write_bytes(b"caf\xe9"), "is not UTF-8 at byte 3", "Save it as UTF-8"),
        (lambda path: path.write_bytes(b"a\0b"), "a NUL character at 1", "Save it as text"),
        (
            lambda path: path.write_bytes(b" " * 50_000_000),
            "has 50,000,000 bytes",
            "A text may have 5,000,000",
        ),
    ],
    ids=["missing", "a folder", "not UTF-8", "NUL", "50 MB"],
)
def test_a_text_that_cannot_be_used(
    tmp_path: Path, make: Callable[[Path], object], said: str, mend: str
) -> None:
    make(tmp_path / "en.md")
    (tmp_path / "c.toml").write_text(HEAD + VERSION + 'files = {en = "en.md"}')
    with pytest.raises(CatalogError) as refused:
        load(tmp_path / "c.toml")
    assert said in str(refused.value)
    assert mend in refused.value.mend
    assert refused.value.key.startswith("policies.terms.versions.")
    assert str(tmp_path / "c.toml") in str(refused.value.file)
    assert not list(tmp_path.glob("*.sqlite3"))


def test_a_file_name_that_cannot_be_one(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(HEAD + VERSION + r'files = {en = "a\u0000b"}')
    with pytest.raises(CatalogError, match="cannot be read"):
        load(tmp_path / "c.toml")


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"version": "1/2"}, "policies.terms.versions"),
        ({"version": ""}, "policies.terms.versions"),
        ({"version": "."}, "policies.terms.versions"),
        ({"version": "1\n"}, "policies.terms.versions"),
        ({"texts": {"de": "x"}}, "policies.terms.versions"),
        ({"texts": {"en": "x", "../x": "y"}}, "policies.terms.versions.1.files.../x"),
        ({"texts": {"en": "\ud800"}}, "policies.terms.versions.1.files.en"),
        ({"texts": {"en": "a\0"}}, "policies.terms.versions.1.files.en"),
        ({"texts": {"en": "ä" * (MAX_TEXT_BYTES // 2 + 1)}}, "policies.terms.versions.1.files.en"),
        ({"effective": datetime(2026, 1, 1)}, "policies.terms.versions"),
        ({"acceptance": ["nod"]}, "policies.terms.versions.1.acceptance"),
        (
            {"change": "reduces_rights", "acceptance": ["continued_use"]},
            "policies.terms.versions.1.acceptance",
        ),
        ({"change": "tiny"}, "policies.versions.1.change"),
    ],
)
def test_versions_that_cannot_be_published(more: dict[str, Any], key: str) -> None:
    with pytest.raises(CatalogError) as refused:
        build(
            policies=[
                Policy("terms", versions=[PolicyVersion(**({"version": "1", "texts": {"en": "x"}} | more))])
            ]
        )
    assert refused.value.key == key
    assert refused.value.mend


@pytest.mark.parametrize("version", ["1", "2026-03", "1.0 (draft)", "zwölf", "2026 spring"])
def test_versions_that_can(version: str) -> None:
    build(policies=[Policy("terms", versions=[PolicyVersion(version, texts={"en": "x", "zh-Hans": "y"})])])


@pytest.mark.parametrize("members", [[], ["terms", "terms"], ["terns"]])
def test_bundles_that_are_none(members: list[str]) -> None:
    with pytest.raises(CatalogError) as refused:
        build(policies=[Policy("terms", versions=[ONE])], bundles=[Bundle("all", members)])
    assert refused.value.key == "bundles.all.policies"
