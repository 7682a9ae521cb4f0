"""What is kept encrypted opens with its key, in its place, unchanged, and nowhere else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentkit import ConsentKitError
from consentkit.store.keys import Keyed

KEYED = Keyed(b"k" * 32)


@given(st.text(), st.text())
def test_it_opens_where_it_belongs(text: str, about: str) -> None:
    sealed = KEYED.seal(text, about)
    assert KEYED.unseal(sealed, about) == text
    assert sealed != KEYED.seal(text, about)


@pytest.mark.parametrize("place", range(0, 40, 3))
def test_a_changed_byte_closes_it(place: int) -> None:
    sealed = bytearray(KEYED.seal("u-42 withdrew", "here"))
    sealed[place] ^= 1
    with pytest.raises(ConsentKitError, match="for here does not open: was CONSENTKIT_KEY changed"):
        KEYED.unseal(bytes(sealed), "here")


def test_another_key_another_place_or_nothing() -> None:
    sealed = KEYED.seal("u-42 withdrew", "here")
    for keyed, kept, about in (
        (Keyed(b"x" * 32), sealed, "here"),
        (KEYED, sealed, "there"),
        (KEYED, b"", "here"),
        (KEYED, sealed[:20], "here"),
    ):
        with pytest.raises(ConsentKitError):
            keyed.unseal(kept, about)
