"""`flask consent minors …`: what it says, its exit statuses, run again and again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine
from click.testing import Result
from flask import Flask

from consentkit import Age, ConsentKit, MinorRules, Party, Purpose, Site, delete_required
from consentkit.testing import prepare, temporary_database

START = datetime(2027, 3, 1, 12, tzinfo=UTC)


class Shop:
    """An app with a child's account, asked from the command line."""

    def __init__(self, folder: Path, minors: MinorRules | None) -> None:
        self.app = Flask("shop", instance_path=str(folder / "instance"))
        self.app.config.update(SECRET_KEY="s", **temporary_database(folder))
        self.kit = ConsentKit(
            self.app,
            site=Site(default_jurisdiction="GB"),
            purposes=[Purpose("letter", recipients=["mailer"])],
            parties=[Party("mailer", name="Mailer")],
            minors=minors,
        )
        prepare(self.app)

    def learn(self, *subjects: str, tenant: str | None = None) -> None:
        with self.app.app_context():
            for subject in subjects:
                self.kit.learn(subject, age=Age(years=9), jurisdiction="GB", tenant=tenant)

    def run(self, *arguments: str, status: int = 0) -> Result:
        done = self.app.test_cli_runner().invoke(args=["consent", "minors", *arguments])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == status, done.output
        return done


@pytest.fixture
def clock() -> Iterator[time_machine.Coordinates]:
    with time_machine.travel(START) as travelling:
        yield travelling


@pytest.fixture
def shop(tmp_path: Path, clock: time_machine.Coordinates) -> Shop:
    return Shop(tmp_path, MinorRules())


def test_from_finding_to_confirmed(shop: Shop, clock: time_machine.Coordinates) -> None:
    assert shop.run("report").output == "Every required deletion is confirmed.\n"
    shop.learn("kid-7")
    clock.move_to(START + timedelta(days=15))
    assert "Looked at 1 subject: 1 deletion required, 0 reminders." in shop.run("sweep").output
    assert "Looked at 1 subject: 0 deletions required, 0 reminders." in shop.run("sweep").output
    listed = shop.run("report", status=2)
    assert listed.stdout.splitlines() == [
        "SUBJECT  SINCE       WAITS FOR    PURPOSES",
        "kid-7    2027-03-16  host mailer  letter",
    ]
    assert listed.stderr == "Error: 1 deletion not confirmed\n"
    (found,) = map(json.loads, shop.run("report", "--json", status=2).stdout.splitlines())
    assert found.pop("since").startswith("2027-03-16T12:")
    assert found == {
        "subject": "kid-7",
        "tenant": "",
        "reason": "guardian_missing",
        "purposes": ["letter"],
        "waiting": ["host", "mailer"],
    }
    clock.move_to(START + timedelta(days=30))
    assert "0 deletions required, 1 reminder." in shop.run("sweep").output
    assert shop.run("confirm", "kid-7").output == "Confirmed.\n"
    assert "waits for host" in shop.run("confirm", "kid-7", status=1).stderr
    shop.run("confirm", "kid-7", "--by", "mailer")
    assert "party" in shop.run("confirm", "kid-7", "--by", "nobody", status=2).stderr
    assert shop.run("report").output == "Every required deletion is confirmed.\n"
    assert shop.run("report", "--json").output == ""


def test_an_app_that_deletes_by_itself(shop: Shop, clock: time_machine.Coordinates) -> None:
    """The receiver of the signal deletes and confirms."""
    deleted = []

    @delete_required.connect_via(shop.kit)
    def delete(kit: ConsentKit, subject: str, tenant: str, **_more: object) -> None:
        deleted.append(subject)
        kit.confirm_deleted(subject, tenant=tenant)

    shop.learn("kid-7", "kid-8")
    shop.learn("kid-7", tenant="school")
    clock.move_to(START + timedelta(days=15))
    shop.run("sweep")
    assert sorted(deleted) == ["kid-7", "kid-7", "kid-8"]
    rows = shop.run("report", status=2).stdout.splitlines()[1:]
    assert sorted(row.split("  ")[0] for row in rows) == ["kid-7", "kid-7 (school)", "kid-8"]
    assert all("host" not in row for row in rows)
    shop.run("confirm", "kid-7", "--by", "mailer", "--tenant", "school")
    assert "(school)" not in shop.run("report", status=2).stdout


def test_children_who_are_not_allowed(tmp_path: Path, clock: time_machine.Coordinates) -> None:
    shop = Shop(tmp_path, MinorRules(children="not_allowed"))
    with shop.app.app_context():
        shop.kit.give("kid-7", "letter")
        shop.kit.age_loader(lambda _: Age(years=9))
    assert shop.run("sweep").output.splitlines() == [
        "Looked at 1 subject: 0 deletions required, 0 reminders.",
        "Turned away 1 child.",
    ]
    assert "kid-7" in shop.run("report", status=2).stdout


def test_without_rules_for_minors(tmp_path: Path) -> None:
    shop = Shop(tmp_path, None)
    shop.learn("kid-7")
    assert shop.run("sweep").output == "Looked at 0 subjects: 0 deletions required, 0 reminders.\n"
