"""Standard Webhooks: signatures that somebody else's implementation accepts, secrets, ids, pauses, addresses."""

from __future__ import annotations

import re
import time
from base64 import b64decode, b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from consentkit import ConsentKitError, Party
from consentkit.config import Settings
from consentkit.core.catalog_rules import build
from consentkit.core.errors import CatalogError
from consentkit.core.webhooks import (
    JITTER,
    PAUSES_US,
    Answer,
    Webhooks,
    headers,
    message_id,
    new_secret,
    next_try_us,
    secret_bytes,
    webhook_fault,
)

HOUR_US = 3600 * 1_000_000
EVENT = "0192aa5c-7b1e-7000-8abc-0123456789ab"


def test_the_vector_of_the_specification() -> None:
    """The one that its reference libraries share."""
    key = secret_bytes("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    made = headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', [key])
    assert made == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@given(st.binary(max_size=200), st.lists(st.binary(min_size=24, max_size=64), min_size=1, max_size=3))
def test_every_active_secret_verifies(body: bytes, keys: list[bytes]) -> None:
    text = b'{"said":"' + b64encode(body) + b'"}'
    made = headers("msg_1", int(time.time()), text, keys)
    for key in keys:
        Webhook("whsec_" + b64encode(key).decode()).verify(text, made)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(text, made)
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + b64encode(keys[0]).decode()).verify(text + b" ", made)


def test_a_new_secret_is_one() -> None:
    assert len(secret_bytes(new_secret())) == 32
    assert new_secret() != new_secret()


@pytest.mark.parametrize(
    ("secret", "says"),
    [
        ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "begins with whsec_"),
        ("whsec_not base64!", "is not base64"),
        ("whsec_" + b64encode(b"x" * 23).decode(), "it holds 23 bytes, 24 to 64 are needed"),
        ("whsec_" + b64encode(b"x" * 65).decode(), "it holds 65 bytes"),
        ([], "a list of them"),
        ([1], "a list of them"),
        (1, "a list of them"),
    ],
)
def test_a_bad_secret_is_refused_and_not_shown(secret: object, says: str) -> None:
    with pytest.raises(ConsentKitError, match="CONSENTKIT_WEBHOOK_SECRETS, mailer: ") as caught:
        Settings.read({"CONSENTKIT_WEBHOOK_SECRETS": {"mailer": secret}})
    assert says in str(caught.value)
    assert str(secret) not in str(caught.value) or secret in ([], 1)


def test_secrets_are_not_in_a_repr() -> None:
    secret = new_secret()
    settings = Settings.read({"CONSENTKIT_WEBHOOK_SECRETS": {"mailer": [secret]}})
    key = b64decode(secret.removeprefix("whsec_"))
    assert settings.webhooks.secrets == {"mailer": (key,)}
    assert secret[6:] not in repr(settings)
    assert repr(key) not in repr(settings.webhooks)


@pytest.mark.parametrize(
    ("networks", "says"),
    [
        ("10.0.0.0/8", "is a list"),
        (["10.1.2.3/16"], "has host bits set"),
        (["0.0.0.0/0"], "too wide"),
        (["0.0.0.0/1", "128.0.0.0/1"], "too wide"),
        (["::/0"], "too wide"),
        (["partner.example"], "does not appear to be"),
        ([None], "does not appear to be"),
        ([167772160], "too wide"),
    ],
)
def test_a_network_that_opens_everything_is_refused(networks: object, says: str) -> None:
    with pytest.raises(ConsentKitError, match=says):
        Settings.read({"CONSENTKIT_WEBHOOK_NETWORKS": networks})


def test_networks_may_be_listed() -> None:
    assert len(Webhooks.read(None, ["10.1.0.0/16", "127.0.0.1/32", "fd00::/8"]).networks) == 3


def test_an_id_is_of_event_and_recipient_and_has_no_full_stop() -> None:
    ids = [message_id(EVENT, recipient) for recipient in ("mailer", "crm", "mailer.eu")]
    assert len(set(ids)) == 3
    assert ids[0] == message_id(EVENT, "mailer")
    assert all(re.fullmatch(r"msg_[0-9a-f]{40}", found) for found in ids)


def test_pauses_are_those_of_the_specification_and_never_end() -> None:
    wanted = [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]
    assert [pause / 1e6 for pause in PAUSES_US] == wanted
    assert [next_try_us(7, n, 0) - 7 for n in range(1, 10)] == list(PAUSES_US)
    assert next_try_us(7, 10_000, 0) == 7 + 24 * HOUR_US
    assert next_try_us(0, 9, 1) == int(24 * HOUR_US * (1 + JITTER))


@pytest.mark.parametrize("code", [200, 201, 202, 204, 299])
def test_2xx_is_a_receipt(code: int) -> None:
    assert Answer(code).delivered


@pytest.mark.parametrize("code", [None, 100, 199, 300, 301, 302, 307, 308, 400, 404, 410, 429, 500, 503])
def test_nothing_else_is(code: int | None) -> None:
    assert not Answer(code).delivered
    assert Answer(code).gone == (code == 410)


@pytest.mark.parametrize(
    "url",
    [
        "https://partner.example/consent",
        "https://partner.example:8443/a/b?c=d",
        "http://127.0.0.1:9/hook",
        "https://[2001:db8::1]/hook",
        "https://bücher.example/hook",
    ],
)
def test_addresses_that_can_be_a_webhook(url: str) -> None:
    assert webhook_fault(url) is None
    build(parties=[Party("mailer", name="Mailer", webhook=url)])


@pytest.mark.parametrize(
    "url",
    [
        "partner.example/consent",
        "ftp://partner.example/",
        "file:///etc/passwd",
        "https://",
        "https:///consent",
        "https://somebody:secret@partner.example/",
        "https://somebody@partner.example/",
        "https://partner.example/#part",
        "https://partner.example:0/",
        "https://partner.example:99999/",
        "https://partner.example:x/",
        "https://partner.example/a b",
        "https://partner.example\\@10.0.0.1/",
        "https://partner.example/\r\nX: y",
        "https://[::1/",
    ],
)
def test_addresses_that_cannot(url: str) -> None:
    assert webhook_fault(url) is not None
    with pytest.raises(CatalogError, match=r"parties\.mailer\.webhook"):
        build(parties=[Party("mailer", name="Mailer", webhook=url)])
