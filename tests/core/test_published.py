"""Which version governs, and the lowest whose acceptance is still good."""

from __future__ import annotations

import pytest

from consentkit.core.catalog import Policy, PolicyVersion, Purpose
from consentkit.core.catalog_rules import build
from consentkit.core.published import PolicyRelease, Published, PurposeRelease
from consentkit.core.rulebook import rulebook
from consentkit.core.terms import Change

TEXT = {"en": "# T"}
CATALOG = build(
    purposes=[Purpose("news", version=3)],
    policies=[Policy("terms", versions=[PolicyVersion("1", texts=TEXT)])],
)


def published(*changes: str, starts: tuple[int, ...] = ()) -> Published:
    """Versions 1, 2, … with these changes; in force at 100, 200, … or at `starts`."""
    when = starts or tuple(100 * n for n in range(1, len(changes) + 1))
    releases = tuple(
        PolicyRelease("terms", str(n), n, Change(change), at, at, ("tick",), {})
        for n, (change, at) in enumerate(zip(changes, when, strict=True), start=1)
    )
    purposes = tuple(PurposeRelease("news", n, "{}", 100 * n) for n in (1, 2, 3))
    return Published({"terms": releases}, {"news": purposes})


@pytest.mark.parametrize(
    ("changes", "floor"),
    [
        (["material"], 1),
        (["editorial"], 1),
        (["material", "editorial"], 1),
        (["material", "editorial", "editorial"], 1),
        (["material", "material"], 2),
        (["material", "material", "editorial"], 2),
        (["material", "reduces_rights", "editorial"], 2),
        (["material", "editorial", "reduces_rights"], 3),
        (["editorial", "editorial"], 1),
    ],
)
def test_an_editorial_change_asks_nobody_again(changes: list[str], floor: int) -> None:
    assert published(*changes).floor("terms", 10_000) == floor


def test_the_version_in_force() -> None:
    known = published("material", "material", "editorial")
    in_force = {at: known.in_force("terms", at) for at in (0, 99, 100, 199, 200, 299, 300, 9_000)}
    assert [r.version for r in in_force.values() if r] == ["1", "1", "1", "1", "2", "2", "3", "3"]
    assert known.in_force("privacy", 100) is None
    assert known.floor("privacy", 100) == 1
    assert [known.floor("terms", at) for at in (0, 199, 200, 300)] == [1, 1, 2, 2]


def test_a_version_announced_for_later_does_not_count_yet() -> None:
    known = published("material", "reduces_rights", starts=(100, 10_000))
    assert [known.floor("terms", at) for at in (9_999, 10_000)] == [1, 2]


def test_a_later_version_with_an_earlier_date_governs() -> None:
    """Two versions may be in force from the same instant; the one written last governs."""
    known = published("material", "material", starts=(100, 100))
    release = known.in_force("terms", 100)
    assert release is not None
    assert release.version == "2"


class TestRulebook:
    def test_rules_hold_until_the_next_version(self) -> None:
        known = published("material", "material", "material")
        book = rulebook(CATALOG, known, 150)
        assert book.until_us == 200
        assert book.holds(199)
        assert not book.holds(200)
        assert rulebook(CATALOG, known, 300).until_us is None
        assert (book.rules["terms"].version, book.rules["terms"].floor) == ("1", 1)

    def test_purposes_now_and_then(self) -> None:
        known = published("material")
        assert rulebook(CATALOG, known, 250).rules["news"].floor == 3
        past = {at: rulebook(CATALOG, known, at, past=True).rules["news"].floor for at in (50, 150, 250, 350)}
        assert past == {50: 1, 150: 1, 250: 2, 350: 3}

    def test_what_a_key_asks(self) -> None:
        book = rulebook(CATALOG, published("material"), 100)
        assert book.asked("purpose:news") == (book.rules["news"],)
        assert book.asked("necessary") == ()
        for _ in range(2):
            with pytest.raises(LookupError):
                book.asked("x")
