"""The tables of ages in the documentation are those of the data."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest
from ages_table import PAGE, made, written

from consentkit.core.errors import CatalogError
from consentkit.core.places import age_rules
from consentkit.kit_file import load


def test_the_tables_are_those_of_the_data() -> None:
    assert written() == made(), "run python tests/ages_table.py"


def test_every_row_is_there_with_its_source() -> None:
    """Counted from the page itself, in case the table were made of nothing."""
    shown = re.findall(r"^\| ([A-Z]{2}(?:-[A-Z]+)?) \| (\d+) \|.*\| (.+) \|$", PAGE.read_text("utf-8"), re.M)
    assert len(shown) == len(age_rules()) > 50
    assert {code: int(age) for code, age, _ in shown} == {c: rule.age for c, rule in age_rules().items()}
    assert all(source for *_, source in shown)
    assert all(rule.as_of and rule.as_of >= date(2026, 1, 1) for rule in age_rules().values())


def test_the_rows_of_the_example(tmp_path: Path) -> None:
    """A row is laid over the package's, a subdivision's over its country's."""
    example = re.search(r"### Another row.*?```toml\n(.*?)```", PAGE.read_text("utf-8"), re.S)
    assert example is not None
    head = '[controller]\nname = "A"\ncontact = "a@example.org"\n[site]\nname = "S"\n'
    (tmp_path / "consent.toml").write_text(head + example[1], "utf-8")
    places = load(tmp_path / "consent.toml").places
    japan, utah, ours = places.at("JP").ages, places.at("US-UT").ages, age_rules()
    assert (japan.age, japan.minor_until, japan.zone) == (16, 16, ours["JP"].zone)
    assert (japan.verification, japan.as_of) == (ours["JP"].verification, date(2028, 4, 1))
    assert (utah.age, utah.minor_until, utah.forbidden) == (13, 18, ("TargetedAdvertising",))
    assert (utah.verification, utah.zone) == (ours["US"].verification, ours["US"].zone)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("[minors.ages.JP]\nage = 16\nas_of = 2028-04-01", "source"),
        ('[minors.ages.JP]\nage = 16\nsource = "x"', "as_of"),
        ('[minors.ages.JP]\nsource = "x"\nas_of = 2028-04-01', "age"),
        ('[minors.ages.JP]\nage = 16\nsource = "x"\nas_of = "2028-04-01"', "as_of"),
        ('[minors.ages.JP]\nage = 16\nsource = "x"\nas_of = 2028-04-01\nactors = ["parent"]', "actors"),
        (
            '[minors.ages.JP]\nage = 16\nsource = "x"\nas_of = 2028-04-01\nverification = "much"',
            "verification",
        ),
        ('[minors.ages.Japan]\nage = 16\nsource = "x"\nas_of = 2028-04-01', "Japan"),
        ('[minors]\nchildren = "forbidden"', "children"),
        ('[minors]\nunknown_age = "guess"', "unknown_age"),
        ('[minors]\npurge_after = "two weeks"', "purge_after"),
        ("[minors]\nage = 0", "age"),
    ],
)
def test_rows_that_cannot_be(tmp_path: Path, row: str, says: str) -> None:
    head = '[controller]\nname = "A"\ncontact = "a@example.org"\n[site]\nname = "S"\n'
    (tmp_path / "consent.toml").write_text(head + row, "utf-8")
    with pytest.raises(CatalogError) as caught:
        load(tmp_path / "consent.toml")
    assert says in caught.value.key
    assert caught.value.mend
