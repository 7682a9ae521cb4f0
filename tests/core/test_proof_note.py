"""Signed notes, against notes that other implementations published."""

from __future__ import annotations

import base64
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consentkit.core.merkle import ProofInvalid
from consentkit.proof import KeyInvalid, Note, NoteInvalid, SigningKey, VerifierKey, sign_note, verify_note
from consentkit.proof.note import MAX_SIGNATURES, Signature, decode_base64

# The example of the signed-note specification.
FOO = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
FOO_TEXT = "This is an example message.\n"
FOO_SIGNED = (
    "\u2014 example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1"
    "Yu72IneyaQM=\n"
)
FOO_NOTE = f"{FOO_TEXT}\n{FOO_SIGNED}"

# The example of Go's golang.org/x/mod/sumdb/note: a key pair, a second key, a text signed by both.
PETER_SECRET = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
GO_TEXT = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
)
PETER_SIGNED = (
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6Ry"
    "yBwJnAM=\n"
)
ENOCH_SIGNED = (
    "\u2014 EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1Rv"
    "Mc+QQ=\n"
)
PUBLISHED = [
    (FOO, FOO_TEXT, FOO_SIGNED),
    (PETER, GO_TEXT, PETER_SIGNED),
    (ENOCH, GO_TEXT, ENOCH_SIGNED),
]
# The poem at the head of the specification, by a key that nobody published.
POEM = (
    "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n"
    "\u2014 quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcX"
    "xj99ihAQwaqP3ZekRwNtIc=\n"
)

KEY = SigningKey("log.example/consent", bytes(range(32)))
LINE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=[chr(n) for n in range(32)]))


def keys(*vkeys: str) -> list[VerifierKey]:
    return [VerifierKey.parse(vkey) for vkey in vkeys]


@pytest.mark.parametrize(("vkey", "text", "signed"), PUBLISHED, ids=["specification", "Peter", "Enoch"])
def test_published_notes(vkey: str, text: str, signed: str) -> None:
    note = f"{text}\n{signed}"
    assert verify_note(note, keys(vkey)) == (text, (VerifierKey.parse(vkey),))
    assert verify_note(note.encode(), keys(vkey))[0] == text
    assert str(VerifierKey.parse(vkey)) == vkey
    assert str(Note.parse(note)) == note


def test_signing_gives_the_published_bytes() -> None:
    peter = SigningKey.parse(PETER_SECRET)
    assert str(peter.verifier) == PETER
    assert peter.private_text() == PETER_SECRET
    assert sign_note(GO_TEXT, peter) == f"{GO_TEXT}\n{PETER_SIGNED}"


def test_a_key_id_is_the_start_of_a_hash() -> None:
    public = KEY.verifier.public
    assert KEY.verifier.key_id == sha256(b"log.example/consent\n\x01" + public).digest()[:4]


def test_several_signers_are_all_reported() -> None:
    note = f"{GO_TEXT}\n{PETER_SIGNED}{ENOCH_SIGNED}"
    assert verify_note(note, keys(ENOCH, PETER, FOO))[1] == tuple(keys(PETER, ENOCH))
    assert verify_note(note, keys(ENOCH))[1] == tuple(keys(ENOCH))
    assert verify_note(f"{GO_TEXT}\n{PETER_SIGNED}{PETER_SIGNED}", keys(PETER))[1] == tuple(keys(PETER))


def test_the_text_ends_at_the_last_empty_line() -> None:
    poem = Note.parse(POEM)
    assert poem.text.endswith(":\n\ned è subito sera.\n")
    assert [one.name for one in poem.signatures] == ["quasimodo.example/salvatore"]
    for text in ("\n", "\n\n", "one\n\n", "\n\ntwo\n"):
        assert verify_note(sign_note(text, KEY), [KEY.verifier])[0] == text


@settings(deadline=None)
@given(st.lists(LINE), st.integers(1, 3))
def test_what_was_signed_verifies(lines: list[str], signers: int) -> None:
    text = "".join(f"{line}\n" for line in lines) or "\n"
    pairs = [SigningKey(f"log.example/{number}", bytes([number]) * 32) for number in range(signers)]
    note = sign_note(text, *pairs)
    assert verify_note(note.encode(), [pair.verifier for pair in pairs]) == (
        text,
        tuple(pair.verifier for pair in pairs),
    )


# Who may be believed.


def line(name: str, key_id: bytes, signature: bytes) -> str:
    return str(Signature(name, key_id, signature))


def test_signatures_of_strangers_are_ignored() -> None:
    ours = KEY.sign(FOO_TEXT)
    strangers = [
        line("stranger.example", b"abcd", b"whatever"),
        line(ours.name, b"abcd", ours.signature),  # our name, another key id
        line("stranger.example", ours.key_id, bytes(64)),  # our key id, another name
        line("quantum.example", b"abcd", bytes(2420)),
    ]
    note = f"{FOO_TEXT}\n{''.join(strangers)}"
    with pytest.raises(NoteInvalid, match="no known key"):
        verify_note(note, [KEY.verifier])
    assert verify_note(note + str(ours), [KEY.verifier])[1] == (KEY.verifier,)


def test_a_wrong_signature_of_a_known_key_refuses_the_note() -> None:
    ours, known = KEY.sign(FOO_TEXT), [KEY.verifier, *keys(FOO)]
    assert len(verify_note(FOO_NOTE + str(ours), known)[1]) == 2
    for wrong in (bytes(64), ours.signature[:-1], ours.signature + b"\0", KEY.sign("other\n").signature):
        forged = line(ours.name, ours.key_id, wrong)
        for note in (FOO_NOTE + forged, FOO_NOTE + forged + str(ours), FOO_NOTE + str(ours) + forged):
            with pytest.raises(NoteInvalid, match=r"the signature of log.example/consent is wrong"):
                verify_note(note, known)


def test_no_key_no_trust() -> None:
    with pytest.raises(NoteInvalid, match="no known key"):
        verify_note(FOO_NOTE, [])
    with pytest.raises(NoteInvalid, match="no known key"):
        verify_note(FOO_NOTE, keys(PETER, ENOCH))


def test_a_key_of_the_same_name_and_id_is_not_taken_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VerifierKey, "key_id", b"same")
    one, two = VerifierKey("log.example", bytes(32)), VerifierKey("log.example", bytes([1]) * 32)
    with pytest.raises(NoteInvalid, match="two different keys"):
        verify_note(FOO_NOTE, [one, one, two])


@pytest.mark.parametrize("count", [16, MAX_SIGNATURES])
def test_many_signatures_are_accepted(count: int) -> None:
    strangers = [line(f"witness{number}.example", b"abcd", bytes(72)) for number in range(count - 1)]
    note = f"{FOO_TEXT}\n{''.join(strangers)}{FOO_SIGNED}"
    assert verify_note(note, keys(FOO))[0] == FOO_TEXT
    pairs = [SigningKey(f"log.example/{number}", bytes([number]) * 32) for number in range(count)]
    assert len(verify_note(sign_note(FOO_TEXT, *pairs), [pair.verifier for pair in pairs])[1]) == count


def test_too_many_signatures_are_refused() -> None:
    with pytest.raises(NoteInvalid, match="more than 64"):
        verify_note(FOO_NOTE + FOO_SIGNED * MAX_SIGNATURES, keys(FOO))
    with pytest.raises(NoteInvalid, match="1 to 64"):
        sign_note(FOO_TEXT, *[KEY] * (MAX_SIGNATURES + 1))
    with pytest.raises(NoteInvalid, match="1 to 64"):
        sign_note(FOO_TEXT)


# Every byte counts.


@pytest.mark.parametrize("at", range(0, len(FOO_NOTE.encode()), 3))
def test_a_note_with_a_changed_byte_is_refused(at: int) -> None:
    whole = FOO_NOTE.encode()
    for byte in (whole[at] ^ 1, whole[at] ^ 0x20, 0, 0xFF, 0x0A):
        if byte != whole[at]:
            with pytest.raises(NoteInvalid):
                verify_note(whole[:at] + bytes([byte]) + whole[at + 1 :], keys(FOO))
    for cut in (whole[:at], whole[at + 1 :], whole[:at] + whole[at + 1 :]):
        with pytest.raises(NoteInvalid):
            verify_note(cut, keys(FOO))


SIGNATURE = FOO_SIGNED.split()[-1]
MALFORMED: dict[str, str | bytes] = {
    "empty": "",
    "no signature": FOO_TEXT,
    "no signature after the gap": FOO_TEXT + "\n",
    "no empty line": FOO_TEXT + FOO_SIGNED,
    "text without line feed": FOO_TEXT.strip() + "\n" + FOO_SIGNED,
    "no last line feed": FOO_NOTE[:-1],
    "empty line after": FOO_NOTE + "\n",
    "something after": FOO_NOTE + "something\n",
    "windows line ends": FOO_NOTE.replace("\n", "\r\n"),
    "a tab": FOO_NOTE.replace("This is", "This\tis"),
    "a vertical tab": FOO_NOTE.replace("This is", "This\vis"),
    "a unit separator": FOO_NOTE.replace("This is", "This\x1fis"),
    "a null": FOO_NOTE.replace("This is", "This\0is"),
    "an escape": FOO_NOTE.replace("This is", "\x1b[8mThis is"),
    "not UTF-8": FOO_NOTE.encode().replace(b"This", b"Th\xffs"),
    "latin-1": POEM.replace("\u2014", "-").encode("latin-1"),
    "UTF-16": FOO_NOTE.encode("utf-16"),
    "overlong UTF-8": FOO_NOTE.encode().replace(b"This", b"\xc0\xafThis"),
    "a lone surrogate": FOO_NOTE.replace("This", "\ud800"),
    "a hyphen for a dash": FOO_NOTE.replace("\u2014", "-"),
    "an en dash for a dash": FOO_NOTE.replace("\u2014", "\u2013"),
    "no dash": FOO_NOTE.replace("\u2014 ", ""),
    "no space after the dash": FOO_NOTE.replace("\u2014 ", "\u2014"),
    "two spaces": FOO_NOTE.replace("foo U", "foo  U"),
    "no name": FOO_NOTE.replace(" example.com/foo U", " U"),
    "an empty name": FOO_NOTE.replace("example.com/foo U", " U"),
    "plus in a name": FOO_NOTE.replace("example.com/foo U", "example.com+foo U"),
    "hard space in a name": FOO_NOTE.replace("example.com/foo U", "example.com\u00a0foo U"),
    "a word too many": FOO_NOTE.replace("=\n", "= x\n"),
    "a space at the end": FOO_NOTE.replace("=\n", "= \n"),
    "base64 without padding": FOO_NOTE.replace("=\n", "\n"),
    "base64 with stray bits": FOO_NOTE.replace("QM=\n", "QN=\n"),
    "base64 for addresses": FOO_NOTE.replace(SIGNATURE, SIGNATURE.replace("w", "_", 1)),
    "base64 with rubbish": FOO_NOTE.replace("Uw2Q", "Uw2Q*"),
    "base64 not ASCII": FOO_NOTE.replace("Uw2Q", "Uw2é"),
    "base64 with more padding": FOO_NOTE.replace("=\n", "====\n"),
    "a key id alone": FOO_NOTE + "\u2014 stranger.example YWJjZA==\n",
    "no key id": FOO_NOTE + "\u2014 stranger.example YWJj\n",
    "no base64 at all": FOO_NOTE + "\u2014 stranger.example\n",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_note_is_refused(name: str) -> None:
    assert MALFORMED[name] != FOO_NOTE
    with pytest.raises(NoteInvalid):
        verify_note(MALFORMED[name], keys(FOO))
    with pytest.raises(NoteInvalid):
        Note.parse(MALFORMED[name])


@pytest.mark.parametrize("text", ["", "no line feed", "tab\t\n", "line\r\n", "\x00\n", "\ud800\n"])
def test_a_text_that_cannot_be_signed(text: str) -> None:
    with pytest.raises(NoteInvalid):
        sign_note(text, KEY)


@settings(deadline=None)
@given(st.one_of(st.text(), st.binary(), st.binary().map(lambda tail: FOO_NOTE.encode() + tail)))
def test_nonsense_raises_nothing_else(note: str | bytes) -> None:
    if note not in (FOO_NOTE, FOO_NOTE.encode()):
        with pytest.raises(ProofInvalid):
            verify_note(note, keys(FOO))


@given(st.binary())
def test_base64_has_one_form(data: bytes) -> None:
    encoded = base64.b64encode(data).decode()
    assert decode_base64(encoded) == data
    for other in (encoded + "\n", " " + encoded, encoded + "=", encoded + "A"):
        with pytest.raises(NoteInvalid):
            decode_base64(other)


# Keys.


@pytest.mark.parametrize("vkey", [FOO, PETER, ENOCH])
def test_no_part_of_a_vkey_is_a_vkey(vkey: str) -> None:
    for start in range(len(vkey)):
        for end in range(start, len(vkey) + 1):
            if (start, end) != (0, len(vkey)):
                with pytest.raises(KeyInvalid):
                    VerifierKey.parse(vkey[start:end])
    for at in range(len(vkey)):
        with pytest.raises(KeyInvalid):
            VerifierKey.parse(vkey[:at] + chr(ord(vkey[at]) + 1) + vkey[at + 1 :])


@pytest.mark.parametrize(
    "vkey",
    [
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",  # too long, id fits
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",  # another type, id fits
        FOO.replace("530d903a", "530D903A"),
        FOO.replace("530d903a", "0530d903a"),
        FOO + "\n",
        " " + FOO,
    ],
)
def test_a_vkey_that_is_none(vkey: str) -> None:
    with pytest.raises(KeyInvalid):
        VerifierKey.parse(vkey)


@pytest.mark.parametrize("name", ["", "two words", "a+b", "a\u2003b", "a\n", "a\tb", "a\x00b", "\ud800"])
def test_a_name_that_no_key_can_have(name: str) -> None:
    with pytest.raises(KeyInvalid, match="name"):
        VerifierKey(name, bytes(32))
    with pytest.raises(KeyInvalid, match="name"):
        SigningKey(name, bytes(32))


def test_keys_have_32_bytes() -> None:
    with pytest.raises(KeyInvalid, match="32 bytes"):
        VerifierKey("log.example", bytes(31))
    with pytest.raises(KeyInvalid, match="32 bytes"):
        SigningKey("log.example", bytes(33))


def test_a_new_key_is_new_and_reads_back() -> None:
    one, two = SigningKey.generate("log.example"), SigningKey.generate("log.example")
    assert one != two
    assert SigningKey.parse(one.private_text()) == one
    assert VerifierKey.parse(str(one.verifier)) == one.verifier


def test_a_secret_key_is_never_shown() -> None:
    secret = PETER_SECRET.rsplit("+", 2)[-1]
    assert secret not in repr(SigningKey.parse(PETER_SECRET))
    assert repr(SigningKey.parse(PETER_SECRET).seed) not in repr(SigningKey.parse(PETER_SECRET))
    for damaged in (PETER_SECRET + "\n", PETER_SECRET.replace("c74f", "c74e"), PETER_SECRET[12:]):
        with pytest.raises(KeyInvalid) as caught:
            SigningKey.parse(damaged)
        assert secret[:8] not in str(caught.value)
        assert caught.value.__context__ is None
