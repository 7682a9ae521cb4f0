"""`flask consent audience`: a list for a mailer, complete or said not to be."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import Result
from flask import Flask

from consentkit import ConsentKit, Purpose
from consentkit.testing import prepare, temporary_database
from tests.cli.conftest import fill

PURPOSES = [
    Purpose("letter", title="Letter"),
    Purpose("quote", title="Quote", scoped=True),
    Purpose("orders", title="Orders", basis="contract"),
]


class Shop:
    def __init__(self, folder: Path) -> None:
        self.app = Flask("shop", instance_path=str(folder / "instance"))
        self.app.config.update(SECRET_KEY="s", **temporary_database(folder))
        self.kit = ConsentKit(self.app, purposes=PURPOSES)
        prepare(self.app)

    def run(self, *arguments: str, given: str | None = None, status: int = 0) -> Result:
        done = self.app.test_cli_runner().invoke(args=["consent", "audience", *arguments], input=given)
        assert done.exit_code == status, done.output
        return done


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    made = Shop(tmp_path)
    with made.app.app_context():
        made.kit.give("u-1", "letter")
        made.kit.give("u,2", "letter")
        made.kit.refuse("u-3", "letter")
        made.kit.give("u-3", "quote", scope="comment:42")
    return made


def test_who_said_yes_in_lines_of_json(shop: Shop) -> None:
    done = shop.run("letter")
    assert sorted(json.loads(line)["subject"] for line in done.stdout.splitlines()) == ["u,2", "u-1"]
    assert done.stderr == "2 subjects may be processed.\n"


def test_csv(shop: Shop) -> None:
    rows = list(csv.reader(io.StringIO(shop.run("letter", "--format", "csv").stdout)))
    assert rows[0] == ["subject", "purpose"]
    assert sorted(rows[1:]) == [["u,2", "letter"], ["u-1", "letter"]]
    assert shop.run("letter", "--format", "csv", "--tenant", "x").stdout == "subject,purpose\n"


def test_a_scope(shop: Shop) -> None:
    assert shop.run("quote").stdout == ""
    found = json.loads(shop.run("quote", "--scope", "comment:42").stdout)
    assert found == {"subject": "u-3", "purpose": "quote"}


def test_where_silence_is_enough_the_list_has_to_be_given(shop: Shop) -> None:
    assert "among" in shop.run("orders", status=2).stderr
    done = shop.run("orders", "--among", "-", given="\ufeffu-1\r\n\nu-9\n")
    assert [json.loads(line)["subject"] for line in done.stdout.splitlines()] == ["u-1", "u-9"]


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_one_list_among_another(shop: Shop, form: str) -> None:
    with shop.app.app_context():
        shop.kit.give("u,2", "quote", scope="comment:42")
    first = shop.run("letter", "--format", form).stdout
    second = shop.run("quote", "--scope", "comment:42", "--among", "-", given=first).stdout
    assert json.loads(second) == {"subject": "u,2", "purpose": "quote"}


def test_a_file_that_is_no_list(shop: Shop) -> None:
    assert (
        "line 2 is not a JSON object"
        in shop.run("orders", "--among", "-", given="u-1\n{}\n", status=2).stderr
    )


def test_it_says_that_the_age_loader_is_not_asked(shop: Shop) -> None:
    shop.kit.age_loader(lambda subject: None)
    assert "of unknown age" in shop.run("letter").stderr
    assert "of unknown age" not in shop.run("letter", "--among", "-", given="u-1\n").stderr


def test_where_silence_is_enough_it_says_what_to_type(shop: Shop) -> None:
    said = " ".join(shop.run("orders", status=2).stderr.split())
    assert "say among whom, by --among FILE" in said
    assert "select" not in said


def test_an_unknown_purpose(shop: Shop) -> None:
    assert "there is no purpose" in shop.run("nothing", status=1).stderr


def test_a_ledger_that_cannot_be_read(shop: Shop) -> None:
    with shop.app.app_context():
        shop.kit.runtime.database.engine.dispose()
        with sa.create_engine(shop.kit.runtime.database.engine.url).begin() as connection:
            connection.execute(sa.text("ALTER TABLE consentkit_state RENAME TO gone"))
    done = shop.run("letter", status=3)
    assert "not complete" in done.stderr.replace("\n", " ")


def test_a_long_list_shows_progress(shop: Shop) -> None:
    with shop.app.app_context():
        fill(shop.kit.runtime.database.engine, "letter", 30_000, tenant="many")
    done = shop.run("letter", "--tenant", "many")
    assert done.stdout.count("\n") == 30_000
    assert "10,000 …\n20,000 …\n30,000 …" in done.stderr
