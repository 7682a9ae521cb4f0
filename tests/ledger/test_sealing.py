"""The sealer: each event once, in an order that stays, whoever seals, crashes or tampers."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from ledger_scenes import key
from ledgers import OnPostgresql, OnSqlite, rows
from sealed_ledgers import LOG_KEY, Attacker, LogSuite, assert_clean, assert_found, open_log

from consentkit.core.errors import ConsentKitError, LedgerBroken
from consentkit.kit import Kit
from consentkit.proof import Checkpoint, SigningKey, verify_checkpoint
from consentkit.runtime import Runtime
from consentkit.store import sealing
from consentkit.store.keys import KEY_FILE as MAC_FILE
from consentkit.store.log_keys import ANCHOR_FILE, KEY_FILE, PUBLIC_FILE, FileAnchor, load_log_keys

TESTS = Path(__file__).parents[1]
WORKER = """
import os, sys
from pathlib import Path
from sealed_ledgers import open_log
from consentkit.store import log_keys, sealing

url, folder, batch, die_at = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
sealing.BATCH = batch
kit = open_log(url, folder)
if die_at:
    part, _, name = die_at.partition(".")
    where = {"Sealer": sealing.Sealer, "Anchor": log_keys.FileAnchor, "sealing": sealing}[part]
    calls, real = [], getattr(where, name)
    def dies(*args, **more):
        calls.append(name)
        if len(calls) == 3:
            os.kill(os.getpid(), 9)
        return real(*args, **more)
    setattr(where, name, dies)
print(kit.ledger.seal().events)
"""


def fill(kit: Kit, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        kit.give(f"u{number}", "news")


def work(url: str, folder: Path, batch: int = 5000, die_at: str = "") -> subprocess.Popen[str]:
    """A sealer in a process of its own; it kills itself with -9 at the third call of `die_at`."""
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, url, str(folder), str(batch), die_at],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=TESTS.parent,
        env={**os.environ, "PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}"},
    )


def assert_sealed_once(kit: Kit, count: int) -> None:
    """Dense indexes, each event once, nothing waits."""
    leaves = rows(kit, "SELECT leaf_index, event_id FROM consentkit_leaf ORDER BY leaf_index")
    assert [row[0] for row in leaves] == list(range(count))
    assert {str(row[1]) for row in leaves} == {
        str(r[0]) for r in rows(kit, "SELECT event_id FROM consentkit_event")
    }
    assert rows(kit, "SELECT * FROM consentkit_pending") == []


def anchor_of(kit: Kit) -> FileAnchor:
    anchor = kit.runtime.log_keys.anchor
    assert anchor is not None
    return anchor


class Sealing(LogSuite):
    def test_what_waits_is_sealed_and_its_place_stays(self, kit: Kit) -> None:
        fill(kit, 5)
        assert (kit.ledger.seal().events, kit.ledger.seal().events) == (5, 0)
        first = [e.leaf_index for e in kit.ledger.events()]
        ids = [e.event_id for e in kit.ledger.events()]  # type: ignore[union-attr]
        fill(kit, 5, first=5)
        assert kit.ledger.seal().size == 10
        assert first == list(range(5))
        assert [e.event_id for e in kit.ledger.events()][:5] == ids  # type: ignore[union-attr]
        assert_sealed_once(kit, 10)
        assert_clean(kit)

    def test_the_checkpoint_is_signed_and_anchored(self, kit: Kit) -> None:
        fill(kit, 3)
        kit.ledger.seal()
        note, keys = kit.ledger.checkpoint(), kit.runtime.log_keys
        assert note is not None
        origin = note.split("\n")[0]
        signed = verify_checkpoint(note, keys.verifier, origin)
        assert signed.size == 3
        fill(kit, 1, first=3)
        kit.ledger.seal()
        kit.ledger.seal()
        published = [(line.origin, line.size) for line in anchor_of(kit).lines()]
        assert published == [(origin, 3), (origin, 4)]
        assert anchor_of(kit).lines()[0].root == signed.root

    def test_many_batches_are_many_checkpoints(self, kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sealing, "BATCH", 4)
        fill(kit, 11)
        told: list[int] = []
        assert kit.ledger.seal(told.append).events == 11
        assert told == [4, 8, 11]
        assert [line.size for line in anchor_of(kit).lines()] == [4, 8, 11]
        assert_sealed_once(kit, 11)
        assert_clean(kit)

    def test_many_sealers_and_writers_at_once(
        self, kit: Kit, monkeypatch: pytest.MonkeyPatch, url: str, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(sealing, "BATCH", 7)
        kit.runtime.seal()
        writing, failed = threading.Event(), list[BaseException]()
        writing.set()

        def guarded(target: Any, *args: Any) -> threading.Thread:
            def run() -> None:
                try:
                    target(*args)
                except BaseException as error:
                    failed.append(error)

            return threading.Thread(target=run)

        def seal() -> None:
            while writing.is_set():
                kit.runtime.seal()

        writers = [guarded(fill, kit, 15, first) for first in (0, 100)]
        sealers = [guarded(seal) for _ in range(3)]
        for thread in (*writers, *sealers):
            thread.start()
        for thread in writers:
            thread.join()
        writing.clear()
        for thread in sealers:
            thread.join()
        assert failed == []
        kit.runtime.seal()
        assert_sealed_once(kit, 30)
        assert_clean(kit)

    def test_many_processes_at_once(self, kit: Kit, url: str, tmp_path: Path) -> None:
        """They also make the key files together."""
        fill(kit, 40)
        processes = [work(url, tmp_path, batch=9) for _ in range(3)]
        done = [process.communicate(timeout=60) for process in processes]
        assert [err for _, err in done] == ["", "", ""]
        kit.ledger.seal()
        assert_sealed_once(kit, 40)
        assert_clean(kit)

    @pytest.mark.parametrize(
        "die_at",
        ["sealing.add_leaves", "sealing.add_nodes", "Sealer._forget", "Sealer._sign", "Anchor.publish"],
    )
    def test_killed_between_two_steps(self, kit: Kit, url: str, tmp_path: Path, die_at: str) -> None:
        fill(kit, 12)
        process = work(url, tmp_path, 3, die_at)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL, errors
        sealed = rows(kit, "SELECT COUNT(*) FROM consentkit_leaf")[0][0]
        assert sealed == (9 if die_at == "Anchor.publish" else 6)
        assert [line.size for line in anchor_of(kit).lines()] == [3, 6]
        assert_clean(kit)
        assert kit.ledger.seal().events == 12 - sealed
        assert_sealed_once(kit, 12)
        assert anchor_of(kit).lines()[-1].size == 12
        assert_clean(kit)

    # ------------------------------------------------------------ rows that are refused

    @pytest.mark.parametrize("how", ["mac", "commitment", "body", "salt", "gone", "again"])
    def test_what_is_refused_does_not_stop_the_others(
        self, kit: Kit, attacker: Attacker, how: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sealing, "BATCH", 2)
        fill(kit, 1, first=50)
        kit.ledger.seal()
        fill(kit, 5)
        (waiting,) = attacker.read("pending", "1 = 1 ORDER BY event_id LIMIT 1")
        (event,) = attacker.read("event", "event_id = ?", waiting["event_id"])
        if how == "mac":
            attacker.update("pending", key(event), mac=b"0" * 32)
        elif how == "commitment":
            attacker.update("pending", key(event), commitment=b"0" * 32)
        elif how == "body":
            attacker.update("event", key(event), body=event["body"].replace("given", "refused"))
        elif how == "salt":
            attacker.update("event", key(event), salt=b"0" * 32)
        elif how == "gone":
            attacker.delete("event", **key(event))
        else:
            (leaf,) = attacker.read("leaf")
            (event,) = attacker.read("event", "event_id = ?", leaf["event_id"])
            mac = kit.runtime.keyed.mac(event["commitment"])
            attacker.insert("pending", key(event) | {"commitment": event["commitment"], "mac": mac})
        good = 5 if how == "again" else 4
        for expected in (good, 0):
            sealed = kit.ledger.seal()
            assert (sealed.events, sealed.refused) == (expected, (event["event_id"],))
            assert sealed.size == 1 + good
        verdict = "completeness" if how == "gone" else "integrity"
        assert_found(kit, verdict, f"at event {event['event_id']}")

    def test_rows_of_another_installation(self, kit: Kit, url: str, tmp_path: Path) -> None:
        """A writer with another CONSENTKIT_KEY: its events are evidence of nothing."""
        fill(kit, 1)
        other = open_log(url, tmp_path, key="o" * 64)
        (event,) = other.give("intruder", "news")
        other.runtime.dispose()
        sealed = kit.ledger.seal()
        assert (sealed.events, sealed.refused) == (1, (event.event_id,))

    # ------------------------------------------------------------ what the sealer refuses to go on with

    def test_the_anchor_ahead_of_the_database(self, kit: Kit) -> None:
        fill(kit, 2)
        kit.ledger.seal()
        origin = anchor_of(kit).lines()[-1].origin
        anchor_of(kit).publish(Checkpoint(origin, 9, bytes(32)))
        fill(kit, 1, first=2)
        with pytest.raises(
            LedgerBroken, match="knows 9 sealed events, the database 2: it was rolled back"
        ) as caught:
            kit.ledger.seal()
        assert caught.value.at == "leaf 2"
        assert len(rows(kit, "SELECT * FROM consentkit_pending")) == 1

    def test_the_anchor_contradicts_the_database(self, kit: Kit) -> None:
        fill(kit, 2)
        kit.ledger.seal()
        path = anchor_of(kit).path
        origin, size, _ = path.read_text().split()
        path.write_text(f"{origin} {size} {'0' * 64}\n")
        fill(kit, 1, first=2)
        for _ in range(2):
            with pytest.raises(LedgerBroken, match="the anchor has another tree than the database"):
                kit.ledger.seal()
        assert len(rows(kit, "SELECT * FROM consentkit_leaf")) == 2

    def test_a_deleted_head(self, kit: Kit, attacker: Attacker) -> None:
        fill(kit, 2)
        kit.ledger.seal()
        attacker.run("DELETE FROM {p}head")
        with pytest.raises(LedgerBroken, match=r"it was deleted|the database has no log"):
            kit.ledger.seal()
        attacker.run("DELETE FROM {p}leaf")
        attacker.run("DELETE FROM {p}checkpoint")
        with pytest.raises(LedgerBroken, match="the database has no log: restore it from a backup"):
            kit.ledger.seal()
        assert attacker.read("head") == []

    def test_a_head_or_checkpoint_that_was_changed(self, kit: Kit, attacker: Attacker) -> None:
        fill(kit, 3)
        kit.ledger.seal()
        (head,), (checkpoint,) = attacker.read("head"), attacker.read("checkpoint")
        one = {"log_id": "log"}
        attacker.update("head", one, size=2)
        self.assert_refused(kit, "the head says 2 leaves, its frontier 3")
        attacker.update("head", one, size=3, frontier=b"x")
        self.assert_refused(kit, "the head of the log is damaged")
        attacker.update("head", one, frontier=head["frontier"][:-1] + b"\0")
        self.assert_refused(kit, "the head is not what was signed last")
        attacker.update("head", one, frontier=head["frontier"], origin="another")
        self.assert_refused(kit, "not signed by the pinned key: the checkpoint is of")
        attacker.update("head", one, origin=head["origin"])
        attacker.delete("checkpoint", tree_size=3)
        self.assert_refused(kit, "the signed checkpoint of the head is missing")
        attacker.insert("checkpoint", checkpoint)
        kit.ledger.seal()

    def test_a_leaf_behind_the_head(self, kit: Kit, attacker: Attacker) -> None:
        """On SQLite the trigger would let the sealer's own leaf vanish."""
        fill(kit, 2)
        kit.ledger.seal()
        (leaf, _) = attacker.read("leaf")
        attacker.insert("leaf", leaf | {"leaf_index": 2, "hash": bytes(32)})
        fill(kit, 1, first=2)
        self.assert_refused(kit, "there are leaves that no head knows")
        assert len(attacker.read("pending")) == 1

    def test_an_event_with_two_leaves(self, kit: Kit, attacker: Attacker) -> None:
        """Found also where nothing was ever erased, so that there are no leaves without event to look for."""
        fill(kit, 2)
        kit.ledger.seal()
        (leaf, _) = attacker.read("leaf")
        attacker.insert("leaf", leaf | {"leaf_index": 2})
        assert_found(kit, "integrity", "the event has 2 leaves", f"at event {leaf['event_id']}")

    def test_another_signing_key(self, kit: Kit, url: str, tmp_path: Path) -> None:
        fill(kit, 1)
        kit.ledger.seal()
        fill(kit, 1, first=1)
        other = open_log(url, tmp_path, log_key=SigningKey("consentkit-log", b"x" * 32).private_text())
        self.assert_refused(other, "not signed by the pinned key")
        assert_found(other, "integrity", "the checkpoint does not verify")
        other.runtime.dispose()
        assert_clean(kit)

    def test_a_process_with_the_public_key_only(self, kit: Kit, url: str, tmp_path: Path) -> None:
        fill(kit, 1)
        kit.ledger.seal()
        reader = open_log(url, tmp_path, log_key=str(kit.runtime.log_keys.verifier))
        assert reader.ledger.verify().sealed == 1
        fill(kit, 1, first=1)
        with pytest.raises(ConsentKitError, match="no signing key and cannot seal"):
            reader.ledger.seal()
        reader.runtime.dispose()
        assert kit.ledger.seal().events == 1

    def assert_refused(self, kit: Kit, match: str) -> None:
        with pytest.raises(LedgerBroken, match=match):
            kit.ledger.seal()

    # ------------------------------------------------------------ the anchor's file

    @pytest.mark.parametrize("text", ["garbage\n", "a b c\n", f"origin 01 {'0' * 64}\n", "\xff\n", "\n"])
    def test_an_anchor_that_is_none(self, kit: Kit, text: str) -> None:
        fill(kit, 1)
        anchor = anchor_of(kit)
        anchor.path.write_text(text, "latin-1")
        for act in (kit.ledger.seal, kit.ledger.verify):
            with pytest.raises(ConsentKitError, match=r"the anchor .* has a line that is no checkpoint"):
                act()  # type: ignore[operator]
        assert rows(kit, "SELECT * FROM consentkit_leaf") == []
        assert anchor.path.read_text("latin-1") == text

    def test_an_anchor_that_cannot_be_written(self, kit: Kit) -> None:
        fill(kit, 1)
        anchor = anchor_of(kit)
        anchor.path.mkdir()
        with pytest.raises(ConsentKitError, match=r"the anchor .* cannot be written: Is a directory"):
            kit.ledger.seal()
        assert rows(kit, "SELECT * FROM consentkit_leaf") == []
        anchor.path.rmdir()
        assert kit.ledger.seal().events == 1

    def test_a_line_that_a_crash_left_unfinished(self, kit: Kit) -> None:
        fill(kit, 1)
        kit.ledger.seal()
        anchor = anchor_of(kit)
        whole = anchor.path.read_text()
        anchor.path.write_text(whole + whole[:30])
        assert [line.size for line in anchor.lines()] == [1]
        fill(kit, 1, first=1)
        kit.ledger.seal()
        assert [line.size for line in anchor.lines()] == [1, 2]
        assert anchor.path.read_text().startswith(whole)
        assert_clean(kit)

    def test_the_last_line_of_a_log_in_a_long_anchor(self, tmp_path: Path) -> None:
        anchor = FileAnchor(tmp_path / "anchor")
        anchor.publish(Checkpoint("first", 7, bytes(32)))
        with anchor.path.open("a") as file:
            file.writelines(f"second {n} {'1' * 64}\n" for n in range(1, 4000))
        assert anchor.path.stat().st_size > 4 * 65536
        first, second = anchor.last("first"), anchor.last("second")
        assert first is not None
        assert second is not None
        assert (first.size, second.size, anchor.last("third")) == (7, 3999, None)
        anchor.publish(Checkpoint("first", 6, bytes(32)))
        assert len(anchor.lines()) == 4000


class TestSqlite(OnSqlite, Sealing):
    def test_reading_seals(self, kit: Kit) -> None:
        fill(kit, 2)
        assert len(list(kit.ledger.events())) == 2
        fill(kit, 1, first=2)
        note = kit.ledger.checkpoint()
        assert note is not None
        assert note.split("\n")[1] == "3"

    def test_two_databases_in_one_folder(self, kit: Kit, tmp_path: Path) -> None:
        """Names that look alike have logs of their own; keys and anchor are shared."""
        names = ("a.b.db", "a-b.db", "a b.db", "\u00e4.db")
        kits = [open_log(f"sqlite:///{tmp_path}/{name}", tmp_path) for name in names]
        for number, one in enumerate(kits, start=1):
            fill(one, number)
            assert one.ledger.seal().size == number
        for one in (*kits, kit):
            assert one.runtime.log_keys.verifier == kit.runtime.log_keys.verifier
        anchor = anchor_of(kits[0])
        assert sorted(line.size for line in anchor.lines()) == [1, 2, 3, 4]
        assert len({line.origin for line in anchor.lines()}) == 4
        for one in kits:
            fill(one, 1, first=90)
            one.ledger.seal()
            assert_clean(one)
            one.runtime.dispose()

    def test_keys_are_made_private_and_whole(self, kit: Kit, tmp_path: Path) -> None:
        kit.ledger.seal()
        modes = {name: (tmp_path / name).stat().st_mode & 0o777 for name in (KEY_FILE, PUBLIC_FILE)}
        assert modes == {KEY_FILE: 0o600, PUBLIC_FILE: 0o644}
        assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({KEY_FILE: "garbage"}, f"{KEY_FILE} is not a key of the log"),
            ({KEY_FILE: ""}, f"{KEY_FILE} is not a key of the log"),
            ({KEY_FILE: "\xff"}, f"{KEY_FILE} does not hold a key: it is not ASCII"),
            ({KEY_FILE: LOG_KEY}, "are not a pair: one of them was replaced"),
            ({KEY_FILE: str(SigningKey.parse(LOG_KEY).verifier)}, "holds no signing key"),
            ({KEY_FILE: None}, "no signing key and cannot seal: .*consentkit-log.key back"),
            ({KEY_FILE: None, PUBLIC_FILE: None}, f"{KEY_FILE} is not: restore it from a backup"),
            ({PUBLIC_FILE: "garbage"}, f"{PUBLIC_FILE} is not a key of the log"),
            ({PUBLIC_FILE: str(SigningKey.parse(LOG_KEY).verifier)}, "are not a pair"),
        ],
    )
    def test_key_files_that_are_wrong(
        self, kit: Kit, url: str, tmp_path: Path, change: dict[str, str | None], match: str
    ) -> None:
        fill(kit, 1)
        kit.ledger.seal()
        fill(kit, 1, first=1)
        for name, text in change.items():
            if text is None:
                (tmp_path / name).unlink()
            else:
                (tmp_path / name).write_text(text, "latin-1")
        files = {path.name: path.read_bytes() for path in tmp_path.glob("consentkit*")}
        again = open_log(url, tmp_path)
        with pytest.raises(ConsentKitError, match=match):
            again.ledger.seal()
        assert rows(again, "SELECT COUNT(*) FROM consentkit_leaf") == [(1,)]
        assert {path.name: path.read_bytes() for path in tmp_path.glob("consentkit*")} == files
        again.runtime.dispose()

    def test_the_public_half_comes_from_the_key(self, kit: Kit, url: str, tmp_path: Path) -> None:
        kit.ledger.seal()
        text = (tmp_path / PUBLIC_FILE).read_text()
        (tmp_path / PUBLIC_FILE).unlink()
        load_log_keys(None, None, tmp_path)
        assert (tmp_path / PUBLIC_FILE).read_text() == text

    def test_a_folder_where_nothing_can_be_made(self, tmp_path: Path) -> None:
        with pytest.raises(ConsentKitError, match="cannot be made: No such file or directory"):
            load_log_keys(None, None, tmp_path / "missing")

    def test_a_key_file_of_the_installation_that_is_wrong(self, tmp_path: Path) -> None:
        from ledgers import catalog

        (tmp_path / MAC_FILE).write_bytes(b"")
        runtime = Runtime.of_url(catalog(), f"sqlite:///{tmp_path}/l.db", prepare=True)
        with pytest.raises(ConsentKitError, match="is too short"):
            runtime.ensure()
        (tmp_path / MAC_FILE).write_bytes(b"\xff" * 40)
        with pytest.raises(ConsentKitError, match="not ASCII"):
            runtime.ensure()
        runtime.dispose()

    def test_an_older_copy_of_the_file(self, kit: Kit, url: str, tmp_path: Path) -> None:
        fill(kit, 2)
        kit.ledger.seal()
        kit.runtime.dispose()
        kept = tmp_path / "kept"
        rows(kit, "PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copy(tmp_path / "ledger.sqlite3", kept)
        fill(kit, 2, first=2)
        kit.ledger.seal()
        kit.runtime.dispose()
        for path in tmp_path.glob("ledger.sqlite3*"):
            path.unlink()
        shutil.copy(kept, tmp_path / "ledger.sqlite3")
        restored = open_log(url, tmp_path)
        assert_found(restored, "completeness", "the anchor covers 4 events, the ledger has 2", "at leaf 2")
        with pytest.raises(LedgerBroken, match="it was rolled back"):
            restored.ledger.seal()
        restored.runtime.dispose()


class TestPostgresql(OnPostgresql, Sealing):
    def test_reading_never_writes(self, kit: Kit, attacker: Attacker) -> None:
        fill(kit, 2)
        assert list(kit.ledger.events()) == []
        assert kit.ledger.checkpoint() is None
        kit.ledger.verify()
        assert len(attacker.read("pending")) == 2
        assert attacker.read("head") == []

    def test_a_sealer_at_work_is_left_alone(self, kit: Kit, url: str) -> None:
        fill(kit, 1)
        kit.ledger.seal()
        fill(kit, 1, first=1)
        with kit.runtime.database.engine.begin() as connection:
            connection.exec_driver_sql("SELECT 1 FROM consentkit_head FOR UPDATE")
            sealed = kit.ledger.seal()
            assert (sealed.busy, sealed.events) == (True, 0)
        assert kit.ledger.seal().events == 1

    def test_without_a_setting(self) -> None:
        with pytest.raises(ConsentKitError, match="CONSENTKIT_LOG_KEY is not set"):
            load_log_keys(None, None, None)
        with pytest.raises(ConsentKitError, match="CONSENTKIT_LOG_KEY is not a key of the log"):
            load_log_keys("garbage", None, None)

    def test_without_an_anchor_it_says_so(self, kit: Kit, url: str, tmp_path: Path) -> None:
        fill(kit, 1)
        keys = load_log_keys(LOG_KEY, None, None)
        assert keys.anchor is None
        kit.runtime.__dict__["log_keys"] = keys
        kit.ledger.seal()
        (warning,) = kit.ledger.verify().warnings
        assert "no anchor is set (CONSENTKIT_LOG_ANCHOR)" in warning
        assert not (tmp_path / ANCHOR_FILE).exists()
