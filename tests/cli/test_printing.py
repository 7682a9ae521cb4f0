"""Plain text in 80 columns."""

from __future__ import annotations

import io

from consentkit.cli.printing import Failure, count, table, wrapped


def test_a_table_fits_and_loses_nothing() -> None:
    row = ("a" * 40, "b" * 60, "short")
    text = table(("ONE", "TWO", "THREE"), [row])
    assert "a" * 40 in text
    assert max(map(len, text.splitlines())) <= 80
    assert (text.count("a"), text.count("b"), "short" in text) == (40, 60, True)


def test_what_is_copied_stays_whole() -> None:
    for row in (("a" * 100, "b" * 100), ("a" * 100,)):
        assert "a" * 100 in table(("ONE", "TWO")[: len(row)], [row])


def test_what_people_wrote_does_not_steer_the_terminal() -> None:
    assert table(("LABEL",), [("\x1b[2Jgone\n\r",)]) == "LABEL\n?[2Jgone??"
    assert "\x1b" not in table(("LABEL",), [("\x1b]0;x\x07",)])


def test_what_a_driver_says_over_several_lines() -> None:
    said = io.StringIO()
    Failure("connection refused\n\tIs the server running?\n").show(said)
    assert said.getvalue() == "Error: connection refused\nError: Is the server running?\n"


def test_paths_are_not_cut() -> None:
    path = "/srv/" + "long-name/" * 12
    assert path in wrapped(f"there is no {path} here")


def test_each_fault_is_a_message() -> None:
    out = io.StringIO()
    Failure("one\ntwo " + "words " * 30).show(out)
    assert out.getvalue().count("Error: ") == 2
    assert max(map(len, out.getvalue().splitlines())) <= 80


def test_count() -> None:
    assert (count(1, "policy", "policies"), count(1204, "policy", "policies")) == (
        "1 policy",
        "1,204 policies",
    )
