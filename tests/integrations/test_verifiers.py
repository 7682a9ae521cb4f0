"""The verifier over HTTP: what it asks, whom it believes, where it leads."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
import responses
from standardwebhooks import Webhook

from consentkit import ConsentKitError, GuardianCheck, GuardianMethod, TokenInvalid, VerifierFailed
from consentkit.core.webhooks import headers as signed_headers
from consentkit.core.webhooks import secret_bytes
from consentkit.integrations.verifiers import HttpVerifier

URL = "https://notary.example/checks"
SECRET, OTHER = ("whsec_" + letter * 43 + "=" for letter in "ab")
CHECK = GuardianCheck(
    "ref.secret", GuardianMethod.GOV_ID, "de", "https://s.example/g", "https://s.example/g/c"
)
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
FOUND = {
    "reference": "ref.secret",
    "method": "gov_id",
    "verified": True,
    "at": "2026-11-22T11:59:00+00:00",
    "evidence": "e" * 64,
}


def verifier(**changed: Any) -> HttpVerifier:
    given: dict[str, Any] = {"name": "notary", "url": URL, "secret": SECRET, "methods": ["gov_id", "kba"]}
    return HttpVerifier(**(given | changed))


def signed(body: bytes, at: datetime = NOW, secret: str = SECRET) -> dict[str, str]:
    return signed_headers("msg_1", int(at.timestamp()), body, [secret_bytes(secret)])


@pytest.fixture
def net() -> Any:
    with responses.RequestsMock() as mock:
        yield mock


# ---------------------------------------------------------------- beginning


def test_a_check_is_begun_with_a_signed_request(net: responses.RequestsMock) -> None:
    net.post(URL, json={"redirect": "https://notary.example/check?id=1"})
    assert verifier().start(CHECK) == "https://notary.example/check?id=1"
    (call,) = net.calls
    body = call.request.body
    assert json.loads(body) == {
        "reference": "ref.secret",
        "method": "gov_id",
        "locale": "de",
        "return_url": "https://s.example/g",
        "callback_url": "https://s.example/g/c",
    }
    Webhook(SECRET).verify(
        body, {k.lower(): v for k, v in call.request.headers.items()}
    )  # another implementation
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(OTHER).verify(body, {k.lower(): v for k, v in call.request.headers.items()})


@pytest.mark.parametrize(
    "leads",
    [
        "https://evil.example/",
        "https://evil.example\\@notary.example/",
        "https://notary.example@evil.example/",
        "https://notary.example.evil.example/",
        "https://notary.example/#x",
        "https://notary.example/ x",
        "https://notary.example/\r\nSet-Cookie: a=b",
        "https://not\u0430ry.example/",
        "http://notary.example/",
        "//notary.example/",
        "/check",
        "javascript:alert(1)",
        "https://[/",
        "",
        None,
        7,
        ["https://notary.example/"],
    ],
)
def test_it_leads_nowhere_else(net: responses.RequestsMock, leads: Any) -> None:
    net.post(URL, json={"redirect": leads})
    with pytest.raises(VerifierFailed, match="not its own"):
        verifier().start(CHECK)


def test_it_may_lead_to_hosts_that_were_named(net: responses.RequestsMock) -> None:
    net.post(URL, json={"redirect": "https://id.notary.example/check"})
    assert verifier(hosts=["ID.notary.example"]).start(CHECK) == "https://id.notary.example/check"


def test_on_this_machine_without_tls(net: responses.RequestsMock) -> None:
    here = "http://127.0.0.1:8001/checks"
    net.post(here, json={"redirect": "http://127.0.0.1:8001/check/1"})
    assert verifier(url=here).start(CHECK) == "http://127.0.0.1:8001/check/1"
    net.post(here, json={"redirect": "http://notary.example/"})
    with pytest.raises(VerifierFailed):
        verifier(url=here).start(CHECK)


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 500},
        {"status": 302, "headers": {"Location": "https://evil.example/"}},
        {"body": "no json"},
        {"json": ["https://notary.example/"]},
        {"json": {}},
        {"body": b'{"redirect": "' + b"x" * 100_000 + b'"}'},
        {"body": requests.ConnectionError("no route")},
        {"body": requests.ReadTimeout("too slow")},
    ],
)
def test_it_fails_with_one_error(net: responses.RequestsMock, answer: dict[str, Any]) -> None:
    net.post(URL, **answer)
    with pytest.raises(VerifierFailed):
        verifier().start(CHECK)
    assert len(net.calls) == 1


# ---------------------------------------------------------------- the result


def test_a_result_is_read() -> None:
    body = json.dumps(FOUND).encode()
    read = verifier().read(signed(body), body, NOW)
    assert (read.reference, read.method, read.verified) == ("ref.secret", GuardianMethod.GOV_ID, True)
    assert (read.at, read.evidence) == (NOW - timedelta(minutes=1), "e" * 64)
    shouted = {name.title(): value for name, value in signed(body).items()}
    assert verifier().read(shouted, body, NOW) == read


def test_a_result_signed_by_another_implementation() -> None:
    body = json.dumps({**FOUND, "evidence": None}).encode()
    headers = {
        "webhook-id": "msg_2",
        "webhook-timestamp": str(int(NOW.timestamp())),
        "webhook-signature": "v1,old " + Webhook(SECRET).sign("msg_2", NOW, body.decode()),
    }
    assert verifier().read(headers, body, NOW).evidence is None


@pytest.mark.parametrize("at", [NOW - timedelta(seconds=301), NOW + timedelta(seconds=301)])
def test_a_result_that_is_not_of_now(at: datetime) -> None:
    body = json.dumps(FOUND).encode()
    with pytest.raises(TokenInvalid, match="not of now"):
        verifier().read(signed(body, at), body, NOW)


@pytest.mark.parametrize(
    "changed",
    [
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1,\xff"},
        {"webhook-id": "msg_9"},
        {"webhook-timestamp": "x"},
        {"webhook-timestamp": "9" * 30},
        {"webhook-timestamp": "١٢٣"},
    ],
)
def test_headers_that_do_not_fit(changed: dict[str, str]) -> None:
    body = json.dumps(FOUND).encode()
    with pytest.raises(TokenInvalid):
        verifier().read({**signed(body), **changed}, body, NOW)


def test_a_body_that_was_changed() -> None:
    body = json.dumps(FOUND).encode()
    with pytest.raises(TokenInvalid, match="not signed"):
        verifier().read(signed(body), body.replace(b"true", b"false"), NOW)
    with pytest.raises(TokenInvalid, match="not signed"):
        verifier().read(signed(body, secret=OTHER), body, NOW)
    with pytest.raises(TokenInvalid):
        verifier().read({}, body, NOW)


@pytest.mark.parametrize(
    "changed",
    [
        {"verified": "true"},
        {"verified": 1},
        {"method": "pigeon"},
        {"method": None},
        {"at": "yesterday"},
        {"at": "2026-11-22T11:59:00"},
        {"at": 5},
        {"evidence": "scan.pdf"},
        {"evidence": 5},
        {"reference": 5},
    ],
)
def test_a_signed_result_that_cannot_be_read(changed: dict[str, Any]) -> None:
    body = json.dumps({**FOUND, **changed}).encode()
    with pytest.raises(TokenInvalid, match="cannot be read"):
        verifier().read(signed(body), body, NOW)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"\xff", b'"x"'])
def test_what_is_no_result(body: bytes) -> None:
    with pytest.raises(TokenInvalid, match="cannot be read"):
        verifier().read(signed(body), body, NOW)


# ---------------------------------------------------------------- setting up


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"url": "http://notary.example/"}, "url is an https address"),
        ({"url": "notary"}, "url is an https address"),
        ({"url": "https://a@notary.example/"}, "url is an https address"),
        ({"secret": "secret"}, "begins with whsec_"),
        ({"methods": []}, "methods is some of payment_card"),
        ({"methods": ["email"]}, "methods is some of"),
        ({"methods": ["pigeon"]}, "pigeon"),
    ],
)
def test_what_cannot_work(changed: dict[str, Any], match: str) -> None:
    with pytest.raises(ConsentKitError, match=match) as caught:
        verifier(**changed)
    assert SECRET not in str(caught.value)
