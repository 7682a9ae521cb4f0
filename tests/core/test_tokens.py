"""Links, sessions and short codes: what is altered, over, of another key or from another clock is nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import URLSafeSerializer

from consentkit import TokenInvalid
from consentkit.core.tokens import (
    SESSION_US,
    Code,
    Session,
    Ticket,
    bucket_of_code,
    check_ticket,
    new_code,
    new_secret,
    read_code,
    read_session,
    read_ticket,
    signed,
)

KEYS = [b"an old key", b"the key"]
NOW = 1_790_000_000_000_000
MINUTE = 60_000_000
TICKET = Ticket("0197c000-0000-7000-8000-000000000000", 0, new_secret(), NOW, NOW + 60 * MINUTE)
SESSION = Session(TICKET.invitation, 0, new_secret(), NOW)


def test_a_link_is_read_again() -> None:
    token = signed(TICKET, KEYS)
    assert read_ticket(token, KEYS) == TICKET
    check_ticket(TICKET, NOW)
    check_ticket(TICKET, TICKET.expires_us - 1)
    assert len(token) < 250
    assert set(token) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


def test_an_older_key_still_reads_and_no_longer_signs() -> None:
    old = signed(TICKET, KEYS[:1])
    assert read_ticket(old, KEYS) == TICKET
    assert signed(TICKET, KEYS) != old
    with pytest.raises(TokenInvalid):
        read_ticket(signed(TICKET, KEYS), KEYS[:1])


def test_a_link_is_over_at_its_instant() -> None:
    with pytest.raises(TokenInvalid) as caught:
        check_ticket(TICKET, TICKET.expires_us)
    assert caught.value.expired


def test_a_clock_that_was_moved_back_is_noticed() -> None:
    check_ticket(TICKET, NOW - 4 * MINUTE)
    with pytest.raises(TokenInvalid, match="clock") as caught:
        check_ticket(TICKET, NOW - 6 * MINUTE)
    assert not caught.value.expired


@given(st.data())
def test_what_is_altered_is_nothing(data: st.DataObject) -> None:
    token = signed(TICKET, KEYS)
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda c: c != token[at]))
    altered = token[:at] + other + token[at + 1 :]
    try:
        found = read_ticket(altered, KEYS)
    except TokenInvalid:
        return
    assert found == TICKET  # the last character of base64 has bits that mean nothing


@pytest.mark.parametrize(
    "text", ["", ".", "x", "a.b", "\0", "\xe9" * 9, signed(TICKET, KEYS)[:-4], "x" * 10_000]
)
def test_what_is_no_link(text: str) -> None:
    with pytest.raises(TokenInvalid):
        read_ticket(text, KEYS)


def test_a_session_is_no_link_and_a_link_no_session() -> None:
    with pytest.raises(TokenInvalid):
        read_session(signed(TICKET, KEYS), KEYS, NOW)
    with pytest.raises(TokenInvalid):
        read_ticket(signed(SESSION, KEYS), KEYS)


@pytest.mark.parametrize("after", [SESSION_US, -6 * MINUTE])
def test_a_session_lasts_half_an_hour(after: int) -> None:
    text = signed(SESSION, KEYS)
    assert read_session(text, KEYS, NOW + SESSION_US - 1) == SESSION
    with pytest.raises(TokenInvalid):
        read_session(text, KEYS, NOW + after)


def test_a_link_says_nothing_about_a_person() -> None:
    _, said = URLSafeSerializer("no key").loads_unsafe(signed(replace(TICKET, secret="s"), KEYS))
    assert said == [TICKET.invitation, 0, "s", TICKET.issued_us, TICKET.expires_us]


@given(st.integers(0, 1023))
def test_codes_are_read_as_people_type_them(bucket: int) -> None:
    code = new_code(bucket)
    assert bucket_of_code(code) == bucket
    assert len(str(code)) == 14
    for typed in (
        str(code),
        str(code).lower(),
        f"  {str(code).replace('-', ' ')} ",
        str(code).replace("-", "\u2013"),
    ):
        assert read_code(typed) == code


def test_letters_that_look_alike() -> None:
    assert read_code("o0iI lL11 0000") == Code("001111", "110000")
    assert read_code("\uff11\uff12\uff13\uff14-5678-9012") == Code("123456", "789012")


@pytest.mark.parametrize(
    "typed", ["", "123", "1234-5678-901", "1234-5678-90123", "UUUU-UUUU-UUUU", "\0" * 12]
)
def test_what_is_no_code(typed: str) -> None:
    assert read_code(typed) is None
