"""A restore that lost sealed events: sealing refuses, a new log owns up to the loss and goes on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from consentkit import ConsentKitError, LedgerBroken
from consentkit.core.catalog import Purpose
from consentkit.core.catalog_rules import build
from consentkit.kit import Kit, open_kit
from consentkit.verify import verify

CATALOG = build(purposes=[Purpose("news", title="News")])


@pytest.fixture
def reopened(tmp_path: Path) -> Callable[[], Kit]:
    return lambda: open_kit(CATALOG, f"sqlite:///{tmp_path}/ledger.sqlite3")


@pytest.fixture
def restored(reopened: Callable[[], Kit], tmp_path: Path) -> Kit:
    """Three events sealed, a backup, two more sealed, the backup restored."""
    kit = reopened()
    for subject in ("u-1", "u-2", "u-3"):
        kit.give(subject, "news")
    kit.ledger.seal()
    kit.runtime.dispose()
    shutil.copy(tmp_path / "ledger.sqlite3", tmp_path / "backup")
    kit.withdraw("u-1", "news")
    kit.ledger.seal()
    kit.withdraw("u-2", "news")
    kit.ledger.seal()
    kit.runtime.dispose()
    for name in ("ledger.sqlite3-wal", "ledger.sqlite3-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    shutil.copy(tmp_path / "backup", tmp_path / "ledger.sqlite3")
    return reopened()


def test_sealing_refuses_and_says_what_to_do(restored: Kit) -> None:
    restored.give("u-4", "news")
    with pytest.raises(LedgerBroken, match=r"anchor knows 5 sealed events, the database 3.*new-log"):
        restored.ledger.seal()
    with pytest.raises(LedgerBroken, match="the ledger has 3"):
        restored.ledger.verify()


def test_a_new_log_goes_on_and_owns_up(restored: Kit) -> None:
    old = restored.runtime.database.read(lambda tx: tx.run("SELECT origin FROM consentkit_head"))[0][0]
    restored.give("u-4", "news")
    (lost,) = restored.ledger.begin_new_log()
    assert (lost.origin, lost.kept, lost.known) == (old, 3, 5)
    assert restored.ledger.seal().size == 5
    report = restored.ledger.verify()
    assert report.faults == []
    assert report.warnings == [f"a restore lost events 3 to 4 of the log {old}"]
    first = next(iter(restored.ledger.events(subject="u-1")))
    proof = restored.ledger.prove(first.event_id)
    key = str(restored.runtime.log_keys.verifier)
    assert verify(proof, key).checkpoint.origin != old


def test_a_second_restore_is_owned_up_too(restored: Kit, reopened: Callable[[], Kit], tmp_path: Path) -> None:
    restored.ledger.begin_new_log()
    restored.runtime.dispose()
    shutil.copy(tmp_path / "ledger.sqlite3", tmp_path / "backup2")
    restored.give("u-5", "news")
    restored.ledger.seal()
    restored.runtime.dispose()
    for name in ("ledger.sqlite3-wal", "ledger.sqlite3-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    shutil.copy(tmp_path / "backup2", tmp_path / "ledger.sqlite3")
    again = reopened()
    again.ledger.begin_new_log()
    report = again.ledger.verify()
    assert (report.faults, len(report.warnings)) == ([], 2)


def test_where_nothing_was_lost_there_is_no_new_log(reopened: Callable[[], Kit]) -> None:
    kit = reopened()
    kit.give("u-1", "news")
    kit.ledger.seal()
    with pytest.raises(ConsentKitError, match="can go on with `flask consent seal`"):
        kit.ledger.begin_new_log()


def test_an_attacker_without_the_key_cannot_own_up(restored: Kit) -> None:
    """Changing the head by hand is not enough: the event that commits to the loss is missing."""

    def forge(tx: object) -> None:
        origin, size, frontier = tx.run("SELECT origin, size, frontier FROM consentkit_head")[0]
        row = (f"log:{origin}", origin, size, frontier)
        tx.count("INSERT INTO consentkit_head (log_id, origin, size, frontier) VALUES (?, ?, ?, ?)", row)
        tx.count("UPDATE consentkit_head SET origin = ? WHERE log_id = 'log'", (origin[:-4] + "beef",))

    restored.runtime.database.write(forge)
    with pytest.raises(LedgerBroken, match="no event says why the log"):
        restored.ledger.verify()
