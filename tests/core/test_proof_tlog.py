"""The proof that a person keeps, made and checked end to end."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consentkit.core.merkle import Frontier, ProofInvalid, inclusion_proof, leaf_hash
from consentkit.proof import (
    Checkpoint,
    Inclusion,
    NoteInvalid,
    SigningKey,
    TlogProof,
    sign_checkpoint,
    verify_leaf_proof,
    verify_proof,
)
from consentkit.proof.note import Signature

ORIGIN = "log.example/consent"
KEY = SigningKey(ORIGIN, bytes(range(32)))
RECORDS = [b"record %d" % number for number in range(300)]
LEAVES = [leaf_hash(record) for record in RECORDS]
TREE, TILES = Frontier().extend(LEAVES)
HEAD = Checkpoint(ORIGIN, TREE.size, TREE.root())
NOTE = sign_checkpoint(HEAD, KEY)


def read(level: int, first: int, count: int) -> list[bytes]:
    return ([tile.hash for tile in TILES] if level else LEAVES)[first : first + count]


def proof_of(index: int, extra: bytes = b"") -> str:
    return str(TlogProof(index, inclusion_proof(read, index, 300), NOTE, extra))


@pytest.mark.parametrize("index", [0, 1, 127, 255, 256, 298, 299])
def test_a_proof_of_a_record(index: int) -> None:
    text = proof_of(index)
    assert verify_proof(text, RECORDS[index], KEY.verifier, ORIGIN) == Inclusion(index, HEAD)
    assert verify_proof(text.encode(), RECORDS[index], KEY.verifier, ORIGIN) == Inclusion(index, HEAD)
    assert verify_leaf_proof(text, LEAVES[index], KEY.verifier, ORIGIN) == Inclusion(index, HEAD)


def test_the_text_is_that_of_the_specification() -> None:
    hashes = (bytes(32), bytes([255]) * 32)
    encoded = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n//////////////////////////////////////////8=\n"
    plain = f"c2sp.org/tlog-proof@v1\nindex 73894\n{encoded}\n{NOTE}"
    assert str(TlogProof(73894, hashes, NOTE)) == plain
    assert TlogProof.parse(plain) == TlogProof(73894, hashes, NOTE)
    more = f"c2sp.org/tlog-proof@v1\nextra bW9yZQ==\nindex 0\n\n{NOTE}"
    assert str(TlogProof(0, (), NOTE, b"more")) == more
    assert TlogProof.parse(more.encode()) == TlogProof(0, (), NOTE, b"more")


def test_a_log_of_one_record_needs_no_hashes() -> None:
    head = Checkpoint(ORIGIN, 1, leaf_hash(b"only"))
    text = f"c2sp.org/tlog-proof@v1\nindex 0\n\n{sign_checkpoint(head, KEY)}"
    assert verify_proof(text, b"only", KEY.verifier, ORIGIN) == Inclusion(0, head)


@given(
    st.integers(0, 2**64 - 1),
    st.lists(st.binary(min_size=32, max_size=32), max_size=64),
    st.binary(),
)
def test_a_proof_is_read_back(index: int, hashes: list[bytes], extra: bytes) -> None:
    proof = TlogProof(index, tuple(hashes), NOTE, extra)
    assert TlogProof.parse(str(proof)) == proof


def test_the_checkpoint_is_kept_as_it_is_with_the_signatures_of_strangers() -> None:
    note = NOTE + str(Signature("witness.example", b"abcd", bytes(72)))
    text = str(TlogProof(7, inclusion_proof(read, 7, 300), note))
    assert TlogProof.parse(text).checkpoint == note
    assert verify_proof(text, RECORDS[7], KEY.verifier, ORIGIN).index == 7


# Refused.


def test_a_proof_of_another_record_key_or_log_is_refused() -> None:
    text, other = proof_of(7), SigningKey(ORIGIN, bytes(32))
    with pytest.raises(ProofInvalid, match="another root"):
        verify_proof(text, RECORDS[8], KEY.verifier, ORIGIN)
    with pytest.raises(ProofInvalid, match="another root"):
        verify_proof(text, LEAVES[7], KEY.verifier, ORIGIN)
    with pytest.raises(ProofInvalid, match="another root"):
        verify_leaf_proof(text, LEAVES[8], KEY.verifier, ORIGIN)
    with pytest.raises(ProofInvalid, match="32 bytes"):
        verify_leaf_proof(text, RECORDS[7], KEY.verifier, ORIGIN)
    with pytest.raises(ProofInvalid, match="no known key"):
        verify_proof(text, RECORDS[7], other.verifier, ORIGIN)
    with pytest.raises(ProofInvalid, match=r"not of 'log\.example/other'"):
        verify_proof(text, RECORDS[7], KEY.verifier, "log.example/other")


def test_a_checkpoint_of_another_tree_is_refused() -> None:
    for size, root in [(300, LEAVES[0]), (299, TREE.root()), (7, TREE.root())]:
        note = sign_checkpoint(Checkpoint(ORIGIN, size, root), KEY)
        text = str(TlogProof(299, inclusion_proof(read, 299, 300), note))
        with pytest.raises(ProofInvalid):
            verify_proof(text, RECORDS[299], KEY.verifier, ORIGIN)


@pytest.mark.parametrize("step", range(8))
def test_a_proof_with_a_changed_byte_is_refused(step: int) -> None:
    whole = proof_of(7).encode()
    for at in range(step, len(whole), 8):
        for byte in (whole[at] ^ 1, 0x0A):
            if byte != whole[at]:
                with pytest.raises(ProofInvalid):
                    verify_proof(
                        whole[:at] + bytes([byte]) + whole[at + 1 :], RECORDS[7], KEY.verifier, ORIGIN
                    )
        for cut in (whole[:at], whole[:at] + whole[at + 1 :], whole[at + 1 :]):
            with pytest.raises(ProofInvalid):
                verify_proof(cut, RECORDS[7], KEY.verifier, ORIGIN)


def test_nobody_vouches_for_the_extra_data() -> None:
    for extra in (b"one", b"two"):
        assert verify_proof(proof_of(7, extra), RECORDS[7], KEY.verifier, ORIGIN).index == 7


GOOD = proof_of(7)
FIRST = base64.b64encode(inclusion_proof(read, 7, 300)[0]).decode()
MALFORMED: dict[str, str | bytes] = {
    "empty": "",
    "header alone": "c2sp.org/tlog-proof@v1\n",
    "header and gap": "c2sp.org/tlog-proof@v1\n\n" + NOTE,
    "another version": GOOD.replace("@v1", "@v2"),
    "no header": GOOD.split("\n", 1)[1],
    "something before": "\n" + GOOD,
    "byte order mark": "\ufeff" + GOOD,
    "windows line ends": GOOD.replace("\n", "\r\n"),
    "no index": GOOD.replace("index 7\n", ""),
    "index without number": GOOD.replace("index 7", "index "),
    "index not a number": GOOD.replace("index 7", "index seven"),
    "index negative": GOOD.replace("index 7", "index -7"),
    "index with zero": GOOD.replace("index 7", "index 07"),
    "index with two spaces": GOOD.replace("index 7", "index  7"),
    "index in capitals": GOOD.replace("index 7", "INDEX 7"),
    "index twice": GOOD.replace("index 7", "index 7\nindex 7"),
    "index of 2**64": GOOD.replace("index 7", f"index {2**64}"),
    "extra after the index": GOOD.replace("index 7", "index 7\nextra bW9yZQ=="),
    "extra twice": GOOD.replace("index 7", "extra bW9yZQ==\nextra bW9yZQ==\nindex 7"),
    "extra without data": GOOD.replace("index 7", "extra \nindex 7"),
    "extra not base64": GOOD.replace("index 7", "extra more!\nindex 7"),
    "extra without padding": GOOD.replace("index 7", "extra bW9yZQ\nindex 7"),
    "hash not base64": GOOD.replace(FIRST, "not base64"),
    "hash too short": GOOD.replace(FIRST, base64.b64encode(bytes(31)).decode()),
    "hash too long": GOOD.replace(FIRST, base64.b64encode(bytes(64)).decode()),
    "hash in hexadecimal": GOOD.replace(FIRST, bytes(32).hex()),
    "hash with a space": GOOD.replace(FIRST, FIRST + " "),
    "65 hashes": GOOD.replace(FIRST, "\n".join([FIRST] * 65)),
    "no gap": GOOD.replace("\n\n", "\n", 1),
    "two gaps": GOOD.replace("\n\n", "\n\n\n", 1),
    "no empty line": "c2sp.org/tlog-proof@v1\nindex 7",
    "extra alone": "c2sp.org/tlog-proof@v1\nextra bW9yZQ==\n\n" + NOTE,
    "index without its name": GOOD.replace("index 7", "7"),
    "no checkpoint": GOOD.partition("\n\n")[0] + "\n\n",
    "checkpoint unsigned": GOOD.partition("\n\n")[0] + f"\n\n{HEAD}",
    "not UTF-8": GOOD.encode() + b"\xff",
    # the example of the specification, with its omissions and its unpadded extra line
    "abridged": (
        "c2sp.org/tlog-proof@v1\nextra YWdlLXYxLjIuMS1kYXJ3aW4tYXJtNjQudGFyLmd6kYXJ3aW4tYXJ\nindex 73894\n"
        "gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=\n\nexample.com/fancylog\n109482\n"
        "sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=\n\n\u2014 example.com/fancylog hI2DJw[...]1roloI=\n"
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_proof_is_refused(name: str) -> None:
    assert MALFORMED[name] != GOOD
    with pytest.raises(NoteInvalid):
        verify_proof(MALFORMED[name], RECORDS[7], KEY.verifier, ORIGIN)


def test_an_empty_line_has_to_follow_even_if_nothing_else_does() -> None:
    with pytest.raises(NoteInvalid, match="an empty line"):
        TlogProof.parse("c2sp.org/tlog-proof@v1\nindex 7")


def test_the_tallest_tree_has_64_hashes() -> None:
    proof = TlogProof(2**64 - 1, (bytes(32),) * 64, NOTE)
    assert TlogProof.parse(str(proof)) == proof


@pytest.mark.parametrize(
    ("index", "hashes"), [(-1, ()), (2**64, ()), (0, (bytes(31),)), (0, (bytes(32),) * 65)]
)
def test_what_cannot_be_a_proof(index: int, hashes: tuple[bytes, ...]) -> None:
    with pytest.raises(NoteInvalid):
        TlogProof(index, hashes, NOTE)


@settings(deadline=None)
@given(
    st.one_of(st.text(), st.binary(), st.text().map(lambda text: f"c2sp.org/tlog-proof@v1\n{text}\n\n{NOTE}"))
)
def test_nonsense_raises_nothing_else(text: str | bytes) -> None:
    with pytest.raises(ProofInvalid):
        verify_proof(text, RECORDS[7], KEY.verifier, ORIGIN)
