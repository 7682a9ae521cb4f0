"""`flask consent notify` and `announce`: whom to tell, who was told, a selection; interrupted and again."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import Result
from flask import Flask

from consentkit import ConsentKit, Policy, PolicyVersion
from consentkit.store import tables
from consentkit.testing import prepare, temporary_database

OUTAGE = Policy(
    "outage", title="Outage", kind="announcement", versions=[PolicyVersion("1", texts={"en": "Down."})]
)
BREACH = Policy(
    "breach",
    title="Breach",
    kind="announcement",
    audience="selected",
    versions=[PolicyVersion("1", texts={"en": "Change your password."})],
)


def terms(*versions: str) -> Policy:
    return Policy(
        "terms", title="Terms", versions=[PolicyVersion(v, texts={"en": f"# {v}"}) for v in versions]
    )


class Shop:
    """An app that is restarted with other terms on the same ledger."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.release("1")

    def release(self, *versions: str) -> None:
        self.app = Flask("shop", instance_path=str(self.folder / "instance"))
        self.app.config.update(SECRET_KEY="s", **temporary_database(self.folder))
        self.kit = ConsentKit(self.app, policies=[terms(*versions), OUTAGE, BREACH])
        prepare(self.app)

    def accepted_by(self, *subjects: str) -> None:
        with self.app.app_context():
            for subject in subjects:
                self.kit.accept(subject, "terms")

    def run(self, *arguments: str, given: str | None = None, status: int = 0) -> Result:
        done = self.app.test_cli_runner().invoke(args=["consent", *arguments], input=given)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == status, done.output
        return done

    def to_tell(self, policy: str = "terms") -> list[str]:
        lines = self.run("notify", policy).stdout.splitlines()
        return sorted(json.loads(line)["subject"] for line in lines)

    def events(self, subject: str) -> list[tuple[str, str, str | None]]:
        with self.app.app_context():
            found = self.kit.ledger.of_subject(subject)
            return [(e.action, e.item, e.version) for e in found]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    made = Shop(tmp_path)
    made.accepted_by("ada", "bob", "cyd")
    made.release("1", "2")
    return made


def test_those_who_accepted_an_earlier_version_are_listed(shop: Shop) -> None:
    shop.accepted_by("bob")
    done = shop.run("notify", "terms")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(row["subject"] for row in rows) == ["ada", "cyd"]
    assert {(row["policy"], row["version"]) for row in rows} == {("terms", "2")}
    assert "2 subjects to be told of version 2 of terms" in done.stderr
    assert done.stderr not in done.stdout


def test_the_list_as_csv(shop: Shop) -> None:
    shop.accepted_by('quo"te, comma')
    shop.release("1", "2", "3")
    rows = list(csv.DictReader(io.StringIO(shop.run("notify", "terms", "--format", "csv").stdout)))
    assert sorted(row["subject"] for row in rows) == ["ada", "bob", "cyd", 'quo"te, comma']
    assert rows[0] == {"subject": rows[0]["subject"], "policy": "terms", "version": "3"}


@pytest.mark.parametrize("form", ["jsonl", "csv", "plain"])
def test_who_was_told_is_not_listed_again(shop: Shop, tmp_path: Path, form: str) -> None:
    told = shop.run("notify", "terms", *(["--format", form] if form != "plain" else [])).stdout
    if form == "plain":
        told = "ada\n\nbob\r\ncyd"
    path = tmp_path / "told"
    path.write_bytes(told.encode())
    assert (
        "3 subjects recorded as told, 0 had been" in shop.run("notify", "terms", "--told", str(path)).stdout
    )
    assert shop.to_tell() == []
    assert shop.events("ada").count(("notified", "terms", "2")) == 1


def test_an_interrupted_report_goes_on_where_it_was(shop: Shop) -> None:
    broken = '{"subject": "ada"}\n{"subject": \n{"subject": "cyd"}\n'
    done = shop.run("notify", "terms", "--told", "-", given=broken, status=2)
    assert "line 2 is not a JSON object" in done.stderr
    assert shop.to_tell() == ["bob", "cyd"]
    again = shop.run("notify", "terms", "--told", "-", given="ada\nbob\ncyd\n")
    assert "2 subjects recorded as told, 1 had been before" in again.stdout
    assert shop.events("ada").count(("notified", "terms", "2")) == 1
    assert shop.to_tell() == []


def test_somebody_unknown_is_not_made_known_by_a_typing_error(shop: Shop) -> None:
    done = shop.run("notify", "terms", "--told", "-", given="ada\nadda\nbob\n", status=1)
    assert "2 subjects recorded" in done.stdout
    assert "see line 2" in " ".join(done.stderr.split())
    assert shop.events("adda") == []


def test_a_newer_version_is_told_again_and_reports_name_the_version_they_are_about(shop: Shop) -> None:
    listed = shop.run("notify", "terms").stdout
    shop.release("1", "2", "3")
    shop.run("notify", "terms", "--told", "-", given=listed)
    assert ("notified", "terms", "2") in shop.events("ada")
    assert shop.to_tell() == ["ada", "bob", "cyd"]
    shop.run("notify", "terms", "--told", "-", "--version", "3", given="ada\n")
    assert shop.to_tell() == ["bob", "cyd"]
    assert "no published version" in shop.run(
        "notify", "terms", "--told", "-", "--version", "9", given="bob\n", status=2
    ).stderr.replace("\n", " ")


@pytest.mark.parametrize(
    ("arguments", "given", "status", "says"),
    [
        (("notify", "nowhere"), "", 1, "there is no policy 'nowhere'"),
        (("notify", "nowhere", "--told", "-"), "ada\n", 1, "there is no policy 'nowhere'"),
        (("notify", "terms", "--told", "-"), '{"subject": 7}\n', 2, "line 1 is not"),
        (
            ("notify", "terms", "--told", "-"),
            '{"subject": "ada", "policy": "other"}\n',
            2,
            "not about 'terms'",
        ),
        (("notify", "terms", "--version", "2"), "", 2, "goes with --told"),
        (("notify", "terms", "--told", "missing"), "", 2, "missing"),
        (("announce", "nowhere", "--to", "-"), "ada\n", 1, "there is no policy"),
        (("announce", "terms", "--to", "-"), "ada\n", 2, "not an announcement to a selection"),
        (("announce", "outage", "--to", "-"), "", 2, "not an announcement to a selection"),
        (("announce", "breach"), "", 2, "--to"),
    ],
)
def test_bad_input(shop: Shop, arguments: tuple[str, ...], given: str, status: int, says: str) -> None:
    done = shop.run(*arguments, given=given, status=status)
    assert says in " ".join(done.stderr.split())
    assert all(action == "accepted" for action, _, _ in shop.events("ada"))


def test_an_announcement_to_all_is_for_everybody_known(shop: Shop) -> None:
    assert shop.to_tell("outage") == ["ada", "bob", "cyd"]
    shop.run("notify", "outage", "--told", "-", given="bob\n")
    assert shop.to_tell("outage") == ["ada", "cyd"]


def test_an_announcement_to_a_selection(shop: Shop) -> None:
    assert shop.to_tell("breach") == []
    first = shop.run("announce", "breach", "--to", "-", given="ada\nbob\n").stdout
    again = shop.run("announce", "breach", "--to", "-", given="ada\nbob\nzoe\n").stdout
    assert ("2 subjects" in first, "1 subject " in again) == (True, True)
    assert shop.events("ada").count(("requested", "breach", "1")) == 1
    assert shop.to_tell("breach") == ["ada", "bob", "zoe"]
    shop.run("notify", "breach", "--told", "-", given="zoe\n")
    assert shop.to_tell("breach") == ["ada", "bob"]


def test_visitors_are_not_listed(shop: Shop) -> None:
    with shop.app.app_context():
        shop.kit.acknowledge("visitor:someone", "outage")
    assert shop.to_tell("outage") == ["ada", "bob", "cyd"]


def test_memory_stays_flat(shop: Shop) -> None:
    """120,000 subjects, read as a mailer reads: the list is never in memory as a whole."""
    engine = sa.create_engine(f"sqlite:///{shop.folder / 'consentkit.sqlite3'}")
    known = [{"bucket": n % 1024, "subject_key": n.to_bytes(16, "big")} for n in range(120_000)]
    with engine.begin() as connection:
        connection.execute(
            sa.insert(tables.subject),
            [
                {
                    **key,
                    "tenant": "",
                    "subject": f"account-{n}",
                    "salt": b"",
                    "band": "unknown",
                    "facts_us": 1,
                }
                for n, key in enumerate(known)
            ],
        )
        answer = {"kind": "policy", "item": "terms", "scope": "", "actor": "subject", "status": "accepted"}
        rest = {"version": 1, "level": 0, "effective_us": 1, "event_id": "0" * 32}
        connection.execute(sa.insert(tables.state), [{**key, **answer, **rest} for key in known])
    engine.dispose()
    del known
    tracemalloc.start()
    try:
        with shop.app.app_context():
            listed = sum(1 for _ in shop.kit.to_tell("terms"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert listed == 120_003
    assert peak < 8_000_000
