"""Merkle proofs that others wrote down, good ones and bad ones.

A few always run. The environment variable CONSENTKIT_VECTORS names a folder with more, in the JSON form of
github.com/transparency-dev/merkle, gathered into `merkle-inclusion.json` and `merkle-consistency.json`.
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from consentkit.core.merkle import ProofInvalid, verify_consistency, verify_inclusion

FOLDER = os.environ.get("CONSENTKIT_VECTORS")

L0 = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
L1 = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
N23 = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
N47 = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
ROOT1, ROOT2 = L0, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
ROOT8 = "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"

# (is it right, index, size, leaf hash, proof, root) in the eight-leaf tree of Certificate Transparency
INCLUSION = {
    "the only leaf": (True, 0, 1, L0, [], ROOT1),
    "the first of eight": (True, 0, 8, L0, [L1, N23, N47], ROOT8),
    "the second of eight": (True, 1, 8, L1, [L0, N23, N47], ROOT8),
    "sides mixed up": (False, 1, 8, L0, [L1, N23, N47], ROOT8),
    "one too few": (False, 0, 8, L0, [L1, N23], ROOT8),
    "one too many": (False, 0, 8, L0, [L1, N23, N47, ROOT8], ROOT8),
    "no tree": (False, 0, 0, L0, [], ROOT1),
}
# (is it right, old size, size, old root, proof, root)
CONSISTENCY = {
    "one to eight": (True, 1, 8, ROOT1, [L1, N23, N47], ROOT8),
    "two to eight": (True, 2, 8, ROOT2, [N23, N47], ROOT8),
    "one and the same": (True, 8, 8, ROOT8, [], ROOT8),
    "old root missing": (False, 2, 8, ROOT1, [N23, N47], ROOT8),
    "nothing shown": (False, 1, 8, ROOT1, [], ROOT8),
    "shrunk": (False, 8, 2, ROOT8, [], ROOT2),
}


def accepts(check: Any, *arguments: object) -> bool:
    try:
        check(*arguments)
    except ProofInvalid:
        return False
    return True


@pytest.mark.parametrize("name", INCLUSION)
def test_known_inclusion(name: str) -> None:
    right, index, size, leaf, proof, root = INCLUSION[name]
    hashes = [bytes.fromhex(one) for one in proof]
    assert right is accepts(verify_inclusion, index, size, bytes.fromhex(leaf), hashes, bytes.fromhex(root))


@pytest.mark.parametrize("name", CONSISTENCY)
def test_known_consistency(name: str) -> None:
    right, old, size, old_root, proof, root = CONSISTENCY[name]
    hashes = [bytes.fromhex(one) for one in proof]
    assert right is accepts(
        verify_consistency, old, size, bytes.fromhex(old_root), hashes, bytes.fromhex(root)
    )


def hashes_of(encoded: list[str] | None) -> list[bytes]:
    return [base64.b64decode(one) for one in encoded or []]


def accepts_inclusion(case: dict[str, Any]) -> bool:
    leaf, root = hashes_of([case["leafHash"], case["root"]])
    return accepts(verify_inclusion, case["leafIdx"], case["treeSize"], leaf, hashes_of(case["proof"]), root)


def accepts_consistency(case: dict[str, Any]) -> bool:
    old, new = hashes_of([case["root1"], case["root2"]])
    return accepts(verify_consistency, case["size1"], case["size2"], old, hashes_of(case["proof"]), new)


def expected(case: dict[str, Any]) -> bool:
    """What the vector says; but one good case has "don't care" for its roots, and those are no hashes."""
    hashes = hashes_of([case[key] for key in ("root", "leafHash", "root1", "root2") if key in case])
    return not case["wantErr"] and all(len(one) == 32 for one in hashes)


if FOLDER:  # collected only then: nothing is reported as passed that was not looked at

    @pytest.mark.parametrize(
        ("file", "accepted"),
        [("merkle-inclusion.json", accepts_inclusion), ("merkle-consistency.json", accepts_consistency)],
        ids=["inclusion", "consistency"],
    )
    def test_the_vectors_of_other_logs(file: str, accepted: Any) -> None:
        cases = json.loads(Path(str(FOLDER), file).read_text(encoding="utf-8"))["cases"]
        assert {case["wantErr"] for case in cases} == {True, False}
        assert [case["name"] for case in cases if accepted(case) is not expected(case)] == []
