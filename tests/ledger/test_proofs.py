"""Proofs: what a person keeps is checked by a program that has neither the ledger, nor Flask, nor a database."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ledgers import OnPostgresql, OnSqlite
from sealed_ledgers import Attacker, LogSuite

import consentkit.verify
from consentkit.core.errors import LedgerBroken
from consentkit.kit import Kit
from consentkit.proof import SigningKey, TlogProof
from consentkit.store.proving import NotSealed

ROOT = Path(__file__).parents[2]
FORBIDDEN = ("flask", "sqlalchemy", "werkzeug", "marshmallow", "psycopg", "jinja2")
OTHER_KEY = str(SigningKey("consentkit-log", b"o" * 32).verifier)


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `python -m consentkit.verify` where importing Flask or SQLAlchemy fails."""
    stubs = tmp_path_factory.mktemp("stubs")
    for name in FORBIDDEN:
        (stubs / f"{name}.py").write_text(f"raise ImportError('{name} is not here')")

    def run(*arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "consentkit.verify", *arguments],
            input=text,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{stubs}{os.pathsep}{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"},
            check=False,
        )

    return run


def status(proof: str, key: str, *more: str, folder: Path) -> int:
    """The exit status, in this process: quicker where there are many."""
    path = folder / "proof"
    path.write_text(proof)
    return consentkit.verify.main([str(path), "--key", key, *more])


def changed_extra(proof: str, change: Callable[[dict[str, str]], None]) -> str:
    parsed = TlogProof.parse(proof)
    extra = json.loads(parsed.extra)
    change(extra)
    return str(TlogProof(parsed.index, parsed.hashes, parsed.checkpoint, json.dumps(extra).encode()))


def changed_body(extra: dict[str, str]) -> None:
    extra["body"] = extra["body"].replace('"given"', '"refused"')


def changed_salt(extra: dict[str, str]) -> None:
    extra["salt"] = "00" * 32


class Proofs(LogSuite):
    @pytest.fixture
    def proof(self, kit: Kit) -> str:
        """Of the third of five events."""
        for name in ("a", "b", "c", "d", "e"):
            kit.give(name, "news", method="form")
        kit.ledger.seal()
        return kit.ledger.prove(list(kit.ledger.events())[2].event_id)  # type: ignore[union-attr]

    @pytest.fixture
    def key(self, kit: Kit) -> str:
        return str(kit.runtime.log_keys.verifier)

    def test_it_holds_without_flask_and_database(
        self,
        check: Callable[..., subprocess.CompletedProcess[str]],
        proof: str,
        key: str,
        tmp_path: Path,
    ) -> None:
        path, key_path = tmp_path / "proof.txt", tmp_path / "key.pub"
        path.write_text(proof)
        key_path.write_text(key + "\n")
        done = check(str(path), "--key", key)
        assert (done.returncode, done.stderr) == (0, "")
        assert "the proof holds: subject given news (version 1)" in done.stdout
        assert "leaf 2" in done.stdout
        assert check("-", "--key", str(key_path), text=proof).returncode == 0
        key_path.write_text(f"public key: {key}\n")  # as `flask consent log-key` says it
        assert check("-", "--key", str(key_path), text=proof).returncode == 0
        tampered = check("-", "--key", key, text=changed_extra(proof, changed_body))
        assert (tampered.returncode, tampered.stdout) == (2, "")
        assert tampered.stderr.startswith("the proof does not hold: ")
        assert tampered.stderr.count("\n") == 1

    def test_the_stubs_are_in_force(self, check: Callable[..., subprocess.CompletedProcess[str]]) -> None:
        done = check("--help")
        assert done.returncode == 0
        command = "import consentkit.verify, sys; print([m for m in sys.modules if m.split('.')[0] in %r])"
        plain = subprocess.run(
            [sys.executable, "-c", command % (FORBIDDEN,)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=True,
        )
        assert plain.stdout.strip() == "[]"

    def test_what_was_tampered_with(self, kit: Kit, proof: str, key: str, tmp_path: Path) -> None:
        parsed = TlogProof.parse(proof)
        origin = parsed.checkpoint.split("\n")[0]
        other = (bytes(32), *parsed.hashes[1:])
        tampered = {
            "body": changed_extra(proof, changed_body),
            "salt": changed_extra(proof, changed_salt),
            "index": str(TlogProof(3, parsed.hashes, parsed.checkpoint, parsed.extra)),
            "beyond": str(TlogProof(99, parsed.hashes, parsed.checkpoint, parsed.extra)),
            "hash": str(TlogProof(2, other, parsed.checkpoint, parsed.extra)),
            "fewer": str(TlogProof(2, parsed.hashes[1:], parsed.checkpoint, parsed.extra)),
            "size": proof.replace("\n5\n", "\n6\n"),
            "origin": proof.replace(origin, "another/log"),
            "unsigned": proof[: proof.index("\n\n— ") + 2],
        }
        assert status(proof, key, folder=tmp_path) == 0
        for name, text in tampered.items():
            assert text != proof, name
            assert status(text, key, folder=tmp_path) == 2, name
        assert status(proof, OTHER_KEY, folder=tmp_path) == 2
        assert status(proof, key, "--origin", origin, folder=tmp_path) == 0
        assert status(proof, key, "--origin", "another/log", folder=tmp_path) == 2

    def test_what_cannot_be_read(self, proof: str, key: str, tmp_path: Path) -> None:
        nothing = base64.b64encode(b"[]").decode()
        lines = proof.split("\n")
        for text in ("", "garbage", proof[:40], "\n".join([lines[0], f"extra {nothing}", *lines[2:]])):
            assert status(text, key, folder=tmp_path) == 3, text
        assert status(proof, "no key", folder=tmp_path) == 3
        assert consentkit.verify.main([str(tmp_path / "missing"), "--key", key]) == 3
        (tmp_path / "binary").write_bytes(b"\xff\xfe")
        assert consentkit.verify.main([str(tmp_path / "binary"), "--key", key]) == 3

    def test_every_event_has_a_proof_under_every_later_checkpoint(self, kit: Kit) -> None:
        key, proofs = str(kit.runtime.log_keys.verifier), {}
        for number in range(9):
            (event,) = kit.give(f"u{number % 4}", "news")
            kit.ledger.seal()
            for known in (*proofs, event.event_id):
                proofs[known] = kit.ledger.prove(known)
                verified = consentkit.verify.verify(proofs[known], key)
                assert verified.body["event_id"] == known
                assert verified.checkpoint.size == number + 1
        assert [consentkit.verify.verify(p, key).leaf_index for p in proofs.values()] == list(range(9))

    def test_an_unknown_event(self, kit: Kit) -> None:
        for event_id in ("01890000-0000-7000-8000-000000000000", "x", ""):
            with pytest.raises(LookupError):
                kit.ledger.prove(event_id)

    def test_a_tree_with_holes_gives_no_proof(self, kit: Kit, proof: str, attacker: Attacker) -> None:
        assert proof
        event = list(kit.ledger.events())[2]
        attacker.run("DELETE FROM {p}leaf WHERE leaf_index <> 2")
        with pytest.raises(LedgerBroken, match="the stored tree gives no proof"):
            kit.ledger.prove(event.event_id)  # type: ignore[union-attr]

    def test_a_receipt_names_events_that_can_be_proved(self, kit: Kit) -> None:
        kit.give("u-1", ["news", "stats"])
        kit.withdraw("u-1", "stats")
        kit.ledger.seal()
        receipt = kit.receipt("u-1")
        assert {answer["item"]: answer["status"] for answer in receipt["answers"]} == {
            "news": "given",
            "stats": "withdrawn",
        }
        for answer in receipt["answers"]:
            verified = consentkit.verify.verify(
                kit.ledger.prove(answer["event_id"]), str(kit.runtime.log_keys.verifier)
            )
            assert verified.body["item"] == answer["item"]
            assert verified.leaf_index == answer["leaf_index"]


class TestSqlite(OnSqlite, Proofs):
    def test_asking_for_a_proof_seals(self, kit: Kit) -> None:
        (event,) = kit.give("u-1", "news")
        assert (
            consentkit.verify.verify(
                kit.ledger.prove(event.event_id), str(kit.runtime.log_keys.verifier)
            ).leaf_index
            == 0
        )


class TestPostgresql(OnPostgresql, Proofs):
    def test_what_is_not_sealed_has_no_proof(self, kit: Kit) -> None:
        (event,) = kit.give("u-1", "news")
        with pytest.raises(NotSealed, match="flask consent seal"):
            kit.ledger.prove(event.event_id)
        assert kit.receipt("u-1")["answers"][0]["leaf_index"] is None
        kit.ledger.seal()
        (late,) = kit.give("u-1", "stats")
        with pytest.raises(NotSealed):
            kit.ledger.prove(late.event_id)
        assert kit.ledger.prove(event.event_id)
