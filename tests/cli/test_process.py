"""`flask consent …` as people run it: a process, its exit status, and what it prints where."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import psycopg
import pytest

import consentkit
from consentkit.kit_file import load
from consentkit.runtime import Runtime
from consentkit.store import schema
from tests.cli.conftest import KEY, Shop

FAULTS = {
    "syntax": ("[purposes.newsletter\n", ("not valid TOML", "at line")),
    "missing": ("[purposes.ads]\n", ("purposes.ads", "title")),
    "unknown": ('[purposes.ads]\ntitle = "Ads"\ncolour = "red"\n', ("purposes.ads.colour", "is not known")),
    "text": (
        '[policies.late]\ntitle = "L"\n[[policies.late.versions]]\nversion = "1"\nfiles = {en = "no.md"}\n',
        ("policies.late.versions.files.en", "no.md", "relative to the TOML file"),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_catalogue_is_one_message(shop: Shop, fault: str) -> None:
    toml, says = FAULTS[fault]
    shop.add(toml)
    done = shop.consent("check")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("Error:") == 1
    message = " ".join(done.stderr.split())
    for part in ("consent.toml", *says):
        assert part in message


def test_every_command_says_so(shop: Shop) -> None:
    shop.add("[purposes.ads]\n")
    done = shop.consent("upgrade")
    assert (done.returncode, done.stdout) == (2, "")
    assert "purposes.ads" in done.stderr


def test_a_setting_that_cannot_work_is_one_message(shop: Shop) -> None:
    done = shop.consent("check", FLASK_CONSENTKIT_DATABASE_URL="mysql://localhost/shop")
    assert done.returncode == 2
    assert "SQLite or PostgreSQL, not in mysql" in " ".join(done.stderr.split())


def test_an_embedded_ledger_is_ready_by_itself(shop: Shop) -> None:
    done = shop.consent("check")
    assert done.returncode == 0, done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines() if line[0] != " "] == [
        [name, "ok"] for name in ("catalogue", "gates", "database", "keys", "files", "tables", "published")
    ]


def test_from_an_empty_postgresql_to_a_revoked_key(shop: Shop, empty_pg_url: str) -> None:
    shop.environment |= {"FLASK_CONSENTKIT_DATABASE_URL": empty_pg_url, "FLASK_CONSENTKIT_KEY": KEY}
    done = shop.consent("check")
    assert done.returncode == 2
    assert "run `flask consent upgrade`" in " ".join(done.stderr.split())
    done = shop.consent("publish")
    assert (done.returncode, done.stdout) == (3, "")
    assert "flask consent upgrade" in " ".join(done.stderr.split())

    steps = [f"Applied schema step {number}." for number in schema.STEPS]
    assert shop.consent("upgrade").stdout.splitlines() == steps

    done = shop.consent("check")
    assert done.returncode == 2
    assert "not published (4 new versions): run `flask consent publish`" in " ".join(done.stderr.split())

    done = shop.consent("publish")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "new purpose   newsletter, version 1",
        "new purpose   replies, version 1",
        "new purpose   orders, version 1",
        "new policy    terms, version 1",
        "Published.",
    ]
    done = shop.consent("check")
    assert done.returncode == 0, done.stderr
    assert KEY not in done.stdout

    kit = consentkit.open(shop.catalogue, empty_pg_url, key=KEY)
    kit.give("u-1", "newsletter", method="form")
    kit.give("u-2", "newsletter", method="form")
    kit.runtime.dispose()
    assert shop.consent("withdraw", "u-1", "newsletter").stdout.startswith("withdrawn newsletter, event ")
    shown = shop.consent("show", "u-1").stdout
    assert "purpose newsletter  withdrawn  blocked  WITHDRAWN" in shown
    assert max(map(len, shown.splitlines())) <= 80

    made = shop.consent("keys", "create", "--label", "newsletter service", "--scope", "read")
    assert made.returncode == 0, made.stderr
    secret = made.stdout.strip()
    listed = shop.consent("keys", "list").stdout
    assert "newsletter service" in listed
    assert secret not in listed
    key_id = listed.splitlines()[1].split()[0]
    assert shop.consent("keys", "revoke", key_id).stdout == f"Revoked {key_id}.\n"

    shop.change("version = 1\n", 'version = 2\ndata = ["e-mail address"]\n')
    done = shop.consent("publish", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "new version   purpose newsletter, version 2 (material)",
        "              asks 1 known subject again",
        "Nothing was written (--dry-run).",
    ]


def test_a_database_that_is_down_is_a_sentence(shop: Shop) -> None:
    shop.environment |= {
        "FLASK_CONSENTKIT_DATABASE_URL": "postgresql://nobody:secret@127.0.0.1:1/shop",
        "FLASK_CONSENTKIT_KEY": KEY,
    }
    done = shop.consent("check")
    assert done.returncode == 3, done.stderr
    assert "the consent ledger cannot be used" in " ".join(done.stderr.split())
    assert "secret" not in done.stderr
    assert "published  not looked at" in done.stdout


def test_sql_needs_no_app_and_makes_what_upgrade_makes(shop: Shop, tmp_path: Path) -> None:
    (shop.folder / "shop_app.py").write_text("raise RuntimeError('not loaded')")
    done = shop.consent("sql", "--dialect", "sqlite")
    assert done.returncode == 0, done.stderr
    with sqlite3.connect(tmp_path / "by_hand.sqlite3") as connection:
        connection.executescript(done.stdout)
    connection.close()
    kit = consentkit.open(shop.catalogue, f"sqlite:///{tmp_path}/by_hand.sqlite3")
    assert kit.runtime.upgrade() == ()
    assert kit.give("u-1", "newsletter")
    kit.runtime.dispose()


def test_sql_for_postgresql(shop: Shop, empty_pg_url: str) -> None:
    done = shop.consent("sql", "--dialect", "postgresql")
    with psycopg.connect(empty_pg_url.replace("+psycopg", "")) as connection:
        connection.execute(done.stdout.encode())
    runtime = Runtime.of_url(load(shop.catalogue), empty_pg_url, key=KEY, prepare=False)
    assert runtime.upgrade() == ()
    assert len(runtime.publish()) == 4
    runtime.dispose()
