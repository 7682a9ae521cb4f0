"""Guardians on the command line: what is due, a form on paper, a mistake taken back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from guardian_site import make_app, make_kit, outbox_of
from guardians import DAY_US, PARENT, Outbox, come, reply
from ledgers import ShiftedClock

from consentkit import ConsentKit

EVIDENCE = "e" * 64


@pytest.fixture
def kit() -> ConsentKit:
    return make_kit()


@pytest.fixture
def outbox(kit: ConsentKit) -> Outbox:
    return outbox_of(kit)


@pytest.fixture
def clock() -> ShiftedClock:
    return ShiftedClock()


@pytest.fixture
def app(kit: ConsentKit, clock: ShiftedClock, tmp_path: Path) -> Flask:
    app = make_app(kit, tmp_path, CONSENTKIT_BASE_URL="https://shop.example")
    kit.runtime.clock = clock
    return app


def run(app: Flask, *args: str) -> Any:
    return app.test_cli_runner().invoke(args=["consent", *args])


def ask(app: Flask, kit: ConsentKit, *items: str, method: str) -> str:
    with app.app_context():
        return kit.invite_guardian("kid", items, contact=PARENT, method=method)


def test_what_is_due(app: Flask, kit: ConsentKit, outbox: Outbox, clock: ShiftedClock) -> None:
    ask(app, kit, "news", method="email_plus")
    assert run(app, "invitations").output == "Sent 0 second messages.\nEnded 0 invitations, deleted 0.\n"
    with app.app_context():
        reply(kit, come(kit, outbox[0]), ["news"])
    clock.shift_us += 2 * DAY_US
    outbox.failing = True
    failed = run(app, "invitations")
    assert (failed.exit_code, "1 second message could not be sent" in failed.stderr) == (2, True)
    outbox.failing = False
    clock.shift_us += DAY_US
    assert run(app, "invitations").stdout.startswith("Sent 1 second message.\n")
    assert outbox[-1].kind == "confirm"


def test_a_signed_form(app: Flask, kit: ConsentKit) -> None:
    number = ask(app, kit, "photos", "news", method="signed_form")
    form = ["--give", "photos", "--refuse", "news", "--evidence", EVIDENCE, "--operator", "staff-7"]
    missing = run(app, "signed-form", number, *form)
    assert (missing.exit_code, "third parties" in missing.stderr) == (2, True)
    assert run(app, "signed-form", number, *form[:-1], "Ms Miller").exit_code == 2
    done = run(app, "signed-form", number, *form, "--disclose", "photos")
    assert done.exit_code == 0
    assert [line.split(",")[0] for line in done.output.splitlines()] == ["given photos", "refused news"]
    assert run(app, "signed-form", number, *form, "--disclose", "photos").exit_code == 2


def test_a_mistake(app: Flask, kit: ConsentKit) -> None:
    number = ask(app, kit, "news", method="email")
    assert run(app, "cancel-invitation", number).output.startswith("lifted news, by invitation:")
    again = run(app, "cancel-invitation", number)
    assert (again.exit_code, "no open invitation" in again.stderr) == (1, True)
