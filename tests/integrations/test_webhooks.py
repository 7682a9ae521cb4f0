"""What sends webhooks, against real servers: every way not to answer, TLS, and the guard."""

from __future__ import annotations

import datetime
import ipaddress
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from receiving import (
    LOOPBACK,
    Answering,
    Handler,
    Receiver,
    dripping,
    hanging,
    in_turn,
    raw,
    receiving,
    status,
)

from consentkit import ConsentKitError
from consentkit.core.webhooks import Answer, Webhooks
from consentkit.integrations import webhooks as sending
from consentkit.integrations.webhooks import connecting

NAME = "partner.example"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


def send(url: str, *, networks: list[str] | None = None, ca: str | None = None, times: int = 1) -> Answer:
    """The last answer."""
    way = connecting(Webhooks.read(None, LOOPBACK if networks is None else networks, ca))(url)
    try:
        for _ in range(times):
            answer = way.post({"webhook-id": "msg_1"}, b'{"type":"consent.given"}')
    finally:
        way.close()
    return answer


# ---------------------------------------------------------------- answers


@pytest.mark.parametrize("code", [200, 202, 204, 301, 302, 307, 308, 400, 404, 410, 429, 500, 503])
def test_a_status_is_what_it_says(receiver: Receiver, code: int) -> None:
    receiver.answering = status(code)
    answer = send(receiver.url)
    assert (answer.status, answer.delivered) == (code, code < 300)
    assert answer.gone == (code == 410)


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    with receiving() as other:
        for code in (301, 302, 303, 307, 308):
            receiver.answering = status(code, Location=other.url)
            assert send(receiver.url).error == f"HTTP {code}: not followed"
        assert (len(receiver.messages), other.messages) == (5, [])


GARBAGE: dict[str, tuple[Answering, str]] = {
    "nothing": (raw(b""), "the connection was closed without an answer"),
    "no http": (raw(b"SSH-2.0-OpenSSH_9.2\r\n"), "what came back is not HTTP"),
    "zeros": (raw(b"\0" * 70_000), "what came back is not HTTP"),
    "a bad status": (raw(b"HTTP/1.1 twohundred OK\r\n\r\n"), "what came back is not HTTP"),
    "no headers": (raw(b"HTTP/1.1 200 OK\r\n"), "the answer broke off"),
    "half of the headers": (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"), "the answer broke off"),
    "half a header": (raw(b"HTTP/1.1 200 OK\r\nContent-Le"), "the answer broke off"),
    "only announced": (raw(b"HTTP/1.1 103 Early Hints\r\n\r\n"), "the answer broke off"),
    "announced for ever": (
        raw(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 50 + b"HTTP/1.1 200 OK\r\n\r\n"),
        "what came back is not HTTP",
    ),
    "endless headers": (raw(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200), "what came back is not HTTP"),
    "a huge header": (raw(b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100_000), "what came back is not HTTP"),
}


@pytest.mark.parametrize("what", GARBAGE)
def test_garbage_is_no_receipt(receiver: Receiver, what: str) -> None:
    receiver.answering, says = GARBAGE[what]
    assert send(receiver.url) == Answer(None, says)


@pytest.mark.parametrize("code", [200, 503])
def test_an_answer_that_is_announced_is_the_one_after_it(receiver: Receiver, code: int) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
    receiver.answering = raw(early + b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % code)
    assert send(receiver.url).status == code


def test_another_protocol_is_no_receipt(receiver: Receiver) -> None:
    receiver.answering = raw(b"HTTP/1.1 101 Switching Protocols\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")
    assert send(receiver.url) == Answer(101, "HTTP 101")


def half_a_header(handler: Handler) -> None:
    """Cut here, it looks like the end of the headers."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Half: ")
    hanging(handler)


ENDLESS: dict[str, Answering] = {
    "hanging": hanging,
    "dripping": dripping,
    "half a header": half_a_header,
    "100 Continue for ever": lambda handler: (
        [
            handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            for _ in iter(lambda: handler.server.receiver.over.wait(0.01), True)
        ]
        and None
    ),
}


@pytest.mark.parametrize("what", ENDLESS)
def test_an_answer_that_does_not_come_is_cut(
    receiver: Receiver, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "DEADLINE_S", 0.3)
    receiver.answering = ENDLESS[what]
    assert send(receiver.url) == Answer(None, "no answer within 0.3 s")


def test_a_read_that_times_out_says_so(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "READ_S", 0.1)
    receiver.answering = hanging
    assert send(receiver.url) == Answer(None, "timed out")


def test_a_tls_handshake_that_does_not_end_is_cut(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that takes the connection and says nothing."""
    monkeypatch.setattr(sending, "DEADLINE_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert send(f"https://127.0.0.1:{silent.getsockname()[1]}/") == Answer(None, "no answer within 0.3 s")


def test_an_endless_body_does_not_matter(receiver: Receiver) -> None:
    """The status was the receipt."""

    def flood(handler: object) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")  # type: ignore[attr-defined]
        while not handler.server.receiver.over.is_set():  # type: ignore[attr-defined]
            handler.wfile.write(b"x" * 10_000)  # type: ignore[attr-defined]

    receiver.answering = flood
    assert send(receiver.url, times=2).delivered
    assert len(receiver.messages) == 2


def test_a_body_that_breaks_off_does_not_matter(receiver: Receiver) -> None:
    receiver.answering = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    assert send(receiver.url, times=3).delivered
    assert len(receiver.messages) == 3


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert send(f"http://127.0.0.1:{port}/") == Answer(None, "Connection refused")


# ---------------------------------------------------------------- the request


def test_the_request_has_what_it_needs_and_no_more(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No cookie comes back, no password from a file, no proxy from the environment."""
    (tmp_path / ".netrc").write_text("default login somebody password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    receiver.answering = status(200, Set_Cookie="a=b; Path=/")
    assert send(receiver.url.replace("/hook", "/hook?key=1"), times=2).delivered
    host = receiver.url.split("/")[2]
    for message in receiver.messages:
        assert message.path == "/hook?key=1"
        assert dict(message.headers) == {
            "Host": host,
            "Accept-Encoding": "identity",
            "Content-Length": "24",
            "Content-Type": "application/json",
            "User-Agent": "consentkit",
            "webhook-id": "msg_1",
        }
        assert json.loads(message.body) == {"type": "consent.given"}


def test_a_connection_is_kept_and_a_stale_one_replaced(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server may close a connection that it has promised to keep: that is no failure."""
    opened: list[object] = []
    real = sending._Wire.open
    monkeypatch.setattr(sending._Wire, "open", lambda wire: opened.append(wire) or real(wire))  # type: ignore[func-returns-value]
    assert send(receiver.url, times=3).delivered
    assert len(opened) == 1

    def promise(handler: object) -> None:
        handler.answer(200)  # type: ignore[attr-defined]
        handler.close_connection = True  # type: ignore[attr-defined]

    receiver.answering = promise
    assert send(receiver.url, times=3).delivered
    assert len(receiver.messages) == 6
    assert len(opened) == 4


# ---------------------------------------------------------------- the guard


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """`resolve("10.0.0.1", …)`: what any name has for addresses; gives the list of what was asked."""

    def make(*turns: str | list[str]) -> list[str]:
        left, asked = list(turns), list[str]()

        def getaddrinfo(host: str, port: int, **_more: object) -> list[tuple[object, ...]]:
            asked.append(host)
            now = left.pop(0) if len(left) > 1 else left[0]
            found = [now] if isinstance(now, str) else now
            family = [socket.AF_INET6 if ":" in a else socket.AF_INET for a in found]
            return [(f, socket.SOCK_STREAM, 6, "", (a, port)) for f, a in zip(family, found, strict=True)]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        return asked

    return make


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fe80::1", "100.64.0.1"],
)
def test_a_name_that_leads_inside_is_refused(resolve: Callable[..., list[str]], address: str) -> None:
    resolve(address)
    said = send(f"https://{NAME}/hook", networks=["192.168.7.0/24"]).error
    assert said is not None
    assert said.startswith(f"{address} is ")
    assert said.endswith("and is not in CONSENTKIT_WEBHOOK_NETWORKS")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "localhost", "[::1]"]
)
def test_however_it_is_written(receiver: Receiver, host: str) -> None:
    url = receiver.url.replace("127.0.0.1", host)
    for scheme in ("http", "https"):
        answer = send(url.replace("http", scheme), networks=[])
        assert answer.status is None
        assert "CONSENTKIT_WEBHOOK_NETWORKS" in str(answer.error)
    assert receiver.messages == []


def test_one_bad_address_among_good_ones_is_enough(resolve: Callable[..., list[str]]) -> None:
    resolve(["93.184.216.34", "10.0.0.1"])
    assert str(send(f"https://{NAME}/").error).startswith("10.0.0.1 is not a public address")


def test_without_tls_only_into_listed_networks(resolve: Callable[..., list[str]]) -> None:
    resolve("93.184.216.34")
    assert "write https://" in str(send(f"http://{NAME}/").error)


def test_a_name_without_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_asked: object, **_more: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    assert send(f"https://{NAME}/") == Answer(None, "the name has no address")


# ---------------------------------------------------------------- TLS


class Authority:
    """A certificate authority of our own."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name, self.key = folder, name, ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign(name, self.key.public_key(), [], authority=True)
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def _sign(
        self,
        name: str,
        key: ec.EllipticCurvePublicKey,
        names: list[x509.GeneralName],
        *,
        authority: bool = False,
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        subject, issuer = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, n)]) for n in (name, self.name))
        made = x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number())
        made = made.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(
            now + datetime.timedelta(days=1)
        )
        made = made.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        made = made.add_extension(x509.SubjectAlternativeName(names), critical=False) if names else made
        return made.sign(self.key, hashes.SHA256())

    def context(self, *names: str) -> ssl.SSLContext:
        """For a server of these names."""
        key = ec.generate_private_key(ec.SECP256R1())
        alternative: list[x509.GeneralName] = [
            x509.DNSName(n) if n[-1].isalpha() else x509.IPAddress(ipaddress.ip_address(n)) for n in names
        ]
        certificate = self._sign(names[0], key.public_key(), alternative)
        file = self.folder / f"{names[0]}.server.pem"
        private = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        file.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, *private)
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


class TestTls:
    @pytest.fixture
    def partner(self, authority: Authority) -> Iterator[Receiver]:
        """A server that can show a certificate for partner.example only."""
        with receiving(authority.context(NAME)) as made:
            made.url = made.url.replace("127.0.0.1", NAME)
            yield made

    def test_the_name_is_checked_at_the_address_that_was_judged(
        self, partner: Receiver, authority: Authority, resolve: Callable[..., list[str]]
    ) -> None:
        asked = resolve("127.0.0.1")
        assert send(partner.url, ca=str(authority.file), times=2).delivered
        assert asked == [NAME]
        assert partner.messages[0].headers["Host"] == partner.url.split("/")[2]
        other = partner.url.replace(NAME, "other.example")
        said = send(other, ca=str(authority.file)).error
        assert said is not None
        assert said.startswith("TLS: Hostname mismatch")
        assert len(partner.messages) == 2

    def test_a_name_that_changes_its_mind_gains_nothing(
        self, partner: Receiver, authority: Authority, resolve: Callable[..., list[str]]
    ) -> None:
        """It is public when it is judged and leads inside when it is asked again: it is not asked again."""
        asked = resolve("127.0.0.1", "10.0.0.1")
        assert send(partner.url, ca=str(authority.file)).delivered
        assert asked == [NAME]
        assert str(send(partner.url, ca=str(authority.file)).error).startswith("10.0.0.1 is not")

    def test_an_unknown_authority_is_refused(
        self, partner: Receiver, tmp_path: Path, resolve: Callable[..., list[str]]
    ) -> None:
        resolve("127.0.0.1")
        other = Authority(tmp_path, "other")
        for ca in (None, str(other.file)):
            assert str(send(partner.url, ca=ca).error).startswith("TLS: ")
        assert partner.messages == []

    def test_an_address_as_the_name(self, authority: Authority) -> None:
        with receiving(authority.context("127.0.0.1")) as receiver:
            assert send(receiver.url, ca=str(authority.file)).delivered
        with receiving(authority.context("127.0.0.2")) as receiver:
            assert str(send(receiver.url, ca=str(authority.file)).error).startswith(
                "TLS: IP address mismatch"
            )

    def test_no_tls_where_there_should_be(self, receiver: Receiver) -> None:
        said = send(receiver.url.replace("http:", "https:")).error
        assert str(said).startswith("TLS: ")
        assert receiver.messages == []


def test_a_file_of_authorities_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    for path in (tmp_path / "empty.pem", tmp_path / "missing.pem"):
        with pytest.raises(ConsentKitError, match=r"CONSENTKIT_WEBHOOK_CA: .*cannot be read"):
            connecting(Webhooks(ca=str(path)))("https://partner.example/")


def test_a_port_is_443_unless_it_is_given() -> None:
    way = connecting(Webhooks())
    urls = ("https://partner.example/", "https://partner.example:8443/", "http://partner.example/")
    assert [way(url)._wire.port for url in urls] == [443, 8443, 80]


def test_an_international_name_is_written_in_ascii(
    resolve: Callable[..., list[str]], authority: Authority
) -> None:
    asked = resolve("10.0.0.1")
    send("https://bücher.example/")
    assert asked == ["xn--bcher-kva.example"]


def test_two_answers_in_turn(receiver: Receiver) -> None:
    receiver.answering = in_turn(status(500), status(204))
    assert [send(receiver.url).status for _ in range(3)] == [500, 204, 204]
