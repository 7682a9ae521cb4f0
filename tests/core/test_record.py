"""From an answer to bytes: restricted JCS, buckets, commitments, state rows."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from consentkit.core.minors import Facts
from consentkit.core.record import Answer, Stamp, bucket_of, commitment, entry, restricted_jcs, subject_key
from consentkit.core.terms import ANSWERS, Action, Band, Kind

KEYS = st.text(st.characters(max_codepoint=127), max_size=8)
VALUES = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text()


@given(st.dictionaries(KEYS, VALUES, max_size=8))
def test_bodies_are_rfc_8785(value: dict[str, Any]) -> None:
    """Byte for byte what another implementation writes; what UTF-8 cannot carry, neither does."""
    try:
        theirs = rfc8785.dumps(value)
    except rfc8785.CanonicalizationError:
        with pytest.raises(ValueError, match=r"."):
            restricted_jcs(value)
        return
    assert restricted_jcs(value).encode() == theirs


@pytest.mark.parametrize(
    "value", [{"a": 1.5}, {"a": 2**53}, {"a": -(2**53)}, {"ä": 1}, {"a": "\ud800"}, {"a": float("nan")}]
)
def test_what_a_body_cannot_carry(value: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        restricted_jcs(value)


@pytest.mark.parametrize("value", [{"a": [1.5]}, {"a": {"b": 1}}, {"a": b"x"}])
def test_bodies_are_flat(value: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="only ASCII keys, text, booleans, null and integers"):
        restricted_jcs(value)


@pytest.mark.parametrize(
    ("tenant", "subject", "bucket"),
    [("", "u", 130), ("", "u-42", 933), ("acme", "u-42", 574), ("", "visitor:1", 415), ("", "ü", 1011)],
)
def test_buckets_are_fixed_for_ever(tenant: str, subject: str, bucket: int) -> None:
    digest = hashlib.sha256(f"{tenant}\0{subject}".encode()).hexdigest()
    assert bucket_of(tenant, subject) == int(digest[:4], 16) >> 6 == bucket


def test_commitments_and_pseudonyms() -> None:
    assert (
        commitment(b"s" * 32, "{}") == hashlib.sha256(b"consentkit/v1/record\0" + b"s" * 32 + b"{}").digest()
    )
    whole = hashlib.sha256(b"consentkit/v1/subject\0" + b"s" * 32 + b"t\0u").digest()
    assert subject_key(b"s" * 32, "t", "u") == whole[:16]


STAMP = Stamp("t", 130, b"k" * 16, 7, 5, False, Facts(Band.MINOR, 9, "DE"))


def test_a_body_says_everything() -> None:
    answer = Answer(
        Kind.PURPOSE, "news", Action.GIVEN, "2", 2, "c:1", "guardian:1", "tick", "en", "0" * 64, 1, 99
    )
    made = entry("id", answer, STAMP, b"s" * 32)
    assert json.loads(made.body) == {
        "action": "given",
        "actor": "guardian:1",
        "band": "minor",
        "bucket": 130,
        "effective_us": 5,
        "event_id": "id",
        "expires_us": 99,
        "item": "news",
        "jurisdiction": "DE",
        "kind": "purpose",
        "level": 1,
        "locale": "en",
        "method": "tick",
        "notice": "0" * 64,
        "ordinal": 2,
        "recorded_us": 7,
        "schema": 1,
        "scope": "c:1",
        "subject_key": "6b" * 16,
        "tenant": "t",
        "version": "2",
    }
    assert made.commitment == commitment(b"s" * 32, made.body)
    assert (made.event.notice, made.event.body) == ("0" * 64, made.body)
    row = made.row
    assert row is not None
    assert (row.status, row.version, row.level, row.effective_us, row.expires_us) == ("given", 2, 1, 5, 99)


@pytest.mark.parametrize("action", Action)
def test_which_actions_change_the_state(action: Action) -> None:
    row = entry("id", Answer(Kind.PURPOSE, "news", action), STAMP, b"s" * 32).row
    if action is Action.REQUESTED:
        assert row is not None
        assert row.actor == "invitation"
    else:
        assert (row is not None) is (action in ANSWERS)
