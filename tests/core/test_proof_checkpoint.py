"""Checkpoints, against real ones of the Go checksum database."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentkit.core.merkle import EMPTY_ROOT
from consentkit.proof import (
    Checkpoint,
    NoteInvalid,
    SigningKey,
    VerifierKey,
    sign_checkpoint,
    sign_note,
    verify_checkpoint,
)

# The origin is not the name of the key, and has spaces: both are allowed.
SUM_DB = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
SUM_ORIGIN = "go.sum database tree"
SUM_HEADS = [  # size, root, signature
    (
        3_935_567,
        "SapHtgdNCeF00Cx8kqztePV24kgzNg++Xovae42HAMw=",
        "Az3grsm7Wm4CVNR1RHq9BFnu9jzcRlU2uw7lr0gfUWgO6+rqPNjT+fUTl9gH0NRTgdwW9nItuQSMbhSaLCsk8YeYSAs=",
    ),
    (
        6_476_701,
        "mb8QLQIs0Z0yP5Cstq6guj87oXWeC9gEM8oVikmm9Wk=",
        "Az3grsLX85Gz+s1SiTbgkuqxgItqFq7gsMUEyVnrsa9LM7Us9S+1xbFIGu95949rj4nPRYfvimWEPWL+o3GeoWwOoAw=",
    ),
    # The example of the checkpoint specification is this one under another origin; its signature is this.
    (
        20_852_163,
        "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=",
        "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=",
    ),
]
EXAMPLE = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"

KEY = SigningKey("log.example/consent", bytes(range(32)))
ROOT = bytes(range(32))
BASE64 = base64.b64encode(ROOT).decode()
LINE = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters=[chr(n) for n in range(32)]), min_size=1
)


@pytest.mark.parametrize(("size", "root", "signature"), SUM_HEADS)
def test_checkpoints_of_the_go_checksum_database(size: int, root: str, signature: str) -> None:
    note = f"{SUM_ORIGIN}\n{size}\n{root}\n\n\u2014 sum.golang.org {signature}\n"
    checkpoint = verify_checkpoint(note, VerifierKey.parse(SUM_DB), SUM_ORIGIN)
    assert checkpoint == Checkpoint(SUM_ORIGIN, size, base64.b64decode(root))
    with pytest.raises(NoteInvalid, match=r"is of 'go\.sum database tree', not of 'sum\.golang\.org'"):
        verify_checkpoint(note, VerifierKey.parse(SUM_DB), "sum.golang.org")
    with pytest.raises(NoteInvalid, match="is wrong"):
        verify_checkpoint(note.replace(str(size), str(size + 1)), VerifierKey.parse(SUM_DB), SUM_ORIGIN)


def test_the_example_of_the_specification() -> None:
    checkpoint = Checkpoint.parse(EXAMPLE)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20_852_163)
    assert checkpoint.root.hex() == "0ac5186a91863e8e1d90c808014aa89bf5da8e3ee1d9f07630f0378f68f1ab62"
    assert checkpoint.extensions == ()
    assert str(checkpoint) == EXAMPLE


def test_the_checkpoint_of_an_empty_log() -> None:
    text = "log.example\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"
    assert Checkpoint.parse(text) == Checkpoint("log.example", 0, EMPTY_ROOT)


@given(LINE, st.integers(0, 2**64 - 1), st.binary(min_size=32, max_size=32), st.lists(LINE, max_size=3))
def test_a_checkpoint_is_read_back(origin: str, size: int, root: bytes, extensions: list[str]) -> None:
    checkpoint = Checkpoint(origin, size, root, tuple(extensions))
    assert Checkpoint.parse(str(checkpoint)) == checkpoint
    assert Checkpoint.parse(str(checkpoint).encode()) == checkpoint
    assert verify_checkpoint(sign_checkpoint(checkpoint, KEY), KEY.verifier, origin) == checkpoint


MALFORMED = {
    "empty": "",
    "two lines": f"log.example\n{BASE64}\n",
    "no last line feed": f"log.example\n1\n{BASE64}",
    "empty line at the end": f"log.example\n1\n{BASE64}\n\n",
    "no origin": f"\n1\n{BASE64}\n",
    "no size": f"log.example\n\n{BASE64}\n",
    "no root": "log.example\n1\n\n",
    "empty extension": f"log.example\n1\n{BASE64}\n\nmore\n",
    "leading zero": f"log.example\n01\n{BASE64}\n",
    "two zeros": f"log.example\n00\n{BASE64}\n",
    "plus": f"log.example\n+1\n{BASE64}\n",
    "minus": f"log.example\n-1\n{BASE64}\n",
    "hexadecimal": f"log.example\n0x1\n{BASE64}\n",
    "underscore": f"log.example\n1_0\n{BASE64}\n",
    "space before the size": f"log.example\n 1\n{BASE64}\n",
    "space after the size": f"log.example\n1 \n{BASE64}\n",
    "Arabic digit": f"log.example\n\u0661\n{BASE64}\n",
    "superscript digit": f"log.example\n\u00b2\n{BASE64}\n",
    "2**64": f"log.example\n{2**64}\n{BASE64}\n",
    "a very long number": f"log.example\n{'9' * 100_000}\n{BASE64}\n",
    "short root": f"log.example\n1\n{base64.b64encode(bytes(31)).decode()}\n",
    "long root": f"log.example\n1\n{base64.b64encode(bytes(33)).decode()}\n",
    "hexadecimal root": f"log.example\n1\n{ROOT.hex()}\n",
    "root without padding": f"log.example\n1\n{BASE64.rstrip('=')}\n",
    "root with stray bits": f"log.example\n1\n{BASE64[:-2]}9=\n",
    "space after the root": f"log.example\n1\n{BASE64} \n",
    "windows line ends": f"log.example\r\n1\r\n{BASE64}\r\n",
    "control character": f"log\x07.example\n1\n{BASE64}\n",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_checkpoint_is_refused(name: str) -> None:
    with pytest.raises(NoteInvalid):
        Checkpoint.parse(MALFORMED[name])


def test_a_signed_text_is_not_yet_a_checkpoint() -> None:
    with pytest.raises(NoteInvalid, match="decimal"):
        verify_checkpoint(sign_note(MALFORMED["leading zero"], KEY), KEY.verifier, "log.example")


@pytest.mark.parametrize(
    ("origin", "size", "root", "extensions"),
    [
        ("", 1, ROOT, ()),
        ("two\nlines", 1, ROOT, ()),
        ("tab\t", 1, ROOT, ()),
        ("log.example", -1, ROOT, ()),
        ("log.example", 2**64, ROOT, ()),
        ("log.example", 1, ROOT[:-1], ()),
        ("log.example", 1, ROOT, ("",)),
        ("log.example", 1, ROOT, ("two\nlines",)),
    ],
)
def test_what_cannot_be_a_checkpoint(
    origin: str, size: int, root: bytes, extensions: tuple[str, ...]
) -> None:
    with pytest.raises(NoteInvalid):
        Checkpoint(origin, size, root, extensions)


def test_a_checkpoint_signed_by_somebody_else_is_refused() -> None:
    other = SigningKey("log.example/consent", bytes(32))
    note = sign_checkpoint(Checkpoint("log.example", 1, ROOT), other)
    with pytest.raises(NoteInvalid, match="no known key"):
        verify_checkpoint(note, KEY.verifier, "log.example")
    both = sign_checkpoint(Checkpoint("log.example", 1, ROOT), other, KEY)
    assert verify_checkpoint(both, KEY.verifier, "log.example").size == 1
