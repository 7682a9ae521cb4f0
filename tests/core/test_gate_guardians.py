"""Rule 12 with several guardians, and with invitations that are open, over, or taken back."""

from __future__ import annotations

from typing import Any

import pytest

from consentkit.core.catalog import MinorRules
from consentkit.core.gate import Row, View, decide_one
from consentkit.core.record import row_after
from consentkit.core.terms import Assurance, Reason
from tests.core.test_gate import CHILD, GIVEN, JOINT, NOW, RULE, place, row, view

ALL = MinorRules(age=16, guardians="all")
ANY = MinorRules(age=16)


def invited(number: int, expires_us: int = NOW + 1, status: str = "requested") -> Row:
    return row(status, f"invitation:{number}", 50, level=0, expires_us=expires_us)


def yes(number: int, **more: Any) -> Row:
    return row("given", f"guardian:{number}", **more)


def no(number: int) -> Row:
    return row("refused", f"guardian:{number}")


ONE, TWO = invited(1), invited(2)
OVER = invited(2, NOW)

TABLE: list[tuple[str, tuple[Row, ...], MinorRules, Reason]] = [
    ("asked", (ONE,), ANY, Reason.GUARDIAN_PENDING),
    ("until the very instant", (invited(1, NOW),), ANY, Reason.GUARDIAN_REQUIRED),
    ("one of two is over", (ONE, OVER), ANY, Reason.GUARDIAN_PENDING),
    ("taken back", (invited(1, status="lifted"),), ANY, Reason.GUARDIAN_REQUIRED),
    ("one is enough", (ONE, TWO, yes(1)), ANY, Reason.GIVEN),
    ("asked again after a yes", (ONE, yes(1)), ANY, Reason.GIVEN),
    ("contradiction denies", (ONE, TWO, yes(1), no(2)), ANY, Reason.REFUSED),
    ("contradiction denies, whoever was first", (no(1), yes(2, at=200)), ANY, Reason.REFUSED),
    ("all: one of two", (ONE, TWO, yes(1)), ALL, Reason.GUARDIAN_PENDING),
    ("all: the other's time is over", (ONE, OVER, yes(1)), ALL, Reason.GUARDIAN_REQUIRED),
    ("all: both", (ONE, TWO, yes(1), yes(2)), ALL, Reason.GIVEN),
    ("all: one who was never asked", (yes(1), yes(7)), ALL, Reason.GIVEN),
    ("all: the other invitation was taken back", (ONE, invited(2, status="lifted"), yes(1)), ALL, Reason.GIVEN),
    ("all: contradiction denies", (ONE, TWO, yes(1), no(2)), ALL, Reason.REFUSED),
    ("all: an invitation that names nobody", (row("requested", "invitation"), yes(1)), ALL, Reason.GIVEN),
    ("all: one was verified too weakly", (yes(1), yes(2, level=0)), ALL, Reason.GUARDIAN_ASSURANCE_TOO_LOW),
    ("any: one was verified too weakly", (yes(1), yes(2, level=0)), ANY, Reason.GIVEN),
    ("any: only the weak one still holds", (yes(1, expires_us=NOW), yes(2, level=0)), ANY, Reason.EXPIRED),
    ("any: only the weak one is up to date", (yes(1, version=2), yes(2, level=0)), ANY, Reason.OUTDATED),
    ("all: one is over", (yes(1), yes(2, expires_us=NOW)), ALL, Reason.EXPIRED),
    ("all: one is outdated", (yes(1), yes(2, version=2)), ALL, Reason.OUTDATED),
    ("all: one took it back", (yes(1), row("revoked", "guardian:2")), ALL, Reason.GUARDIAN_REVOKED),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "rules", "reason"), [case[1:] for case in TABLE], ids=[c[0] for c in TABLE])
def test_the_table(rows: tuple[Row, ...], rules: MinorRules, reason: Reason) -> None:
    assert decide_one(RULE, view(*rows, facts=CHILD, minors=rules)).reason is reason


def test_the_first_of_two_answers_expires_first() -> None:
    rows = (yes(1, expires_us=NOW + 9), yes(2, expires_us=NOW + 5))
    assert decide_one(RULE, view(*rows, facts=CHILD, minors=ALL)).event_id == rows[1].event_id


def test_an_invitation_asks_the_guardian_and_not_the_child() -> None:
    joint: View = view(ONE, yes(1), facts=CHILD, place=JOINT)
    assert decide_one(RULE, joint).reason is Reason.NO_ANSWER
    assert decide_one(RULE, view(ONE, yes(1), GIVEN, facts=CHILD, place=JOINT)).reason is Reason.GIVEN


@pytest.mark.parametrize(("level", "reason"), [(1, Reason.GUARDIAN_ASSURANCE_TOO_LOW), (2, Reason.GIVEN)])
def test_levels_are_ordered(level: int, reason: Reason) -> None:
    here = place(verification=Assurance.CONFIRMED)
    assert decide_one(RULE, view(yes(1, level=level), facts=CHILD, place=here)).reason is reason


def test_the_row_of_an_invitation_names_the_guardian() -> None:
    def actor(said_by: str) -> str:
        found = row_after("purpose", "ads", "", said_by, "requested", 1, 0, 5, 9, "e")
        assert found is not None
        return found.actor

    assert actor("invitation:7") == "invitation:7"
    assert actor("operator") == actor("invitation") == "invitation"
