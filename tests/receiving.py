"""Recipients of webhooks for tests: real servers on this machine that answer as they are told to."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from standardwebhooks import Webhook

from consentkit.core.webhooks import Webhooks, new_secret

LOOPBACK = ["127.0.0.1/32"]

Answering = Callable[["Handler"], None]


@dataclass(frozen=True)
class Message:
    """One message as it came in."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def said(self) -> str:
        """Type and subject, such as `consent.given u-1`."""
        return f"{self.json['type']} {self.json['data']['subject']}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        receiver = self.server.receiver
        with receiver.changed:
            receiver.messages.append(Message(self.path, dict(self.headers), body))
            receiver.changed.notify_all()
        receiver.answering(self)

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_said: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    receiver: Receiver

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        with self.receiver.changed:
            self.receiver.callers.append(address)
            self.receiver.changed.notify_all()
        return connection, address

    def handle_error(self, *_who: object) -> None:
        """The other side went away: that is what some tests are about."""


@dataclass
class Receiver:
    """A recipient. `answering` says how; `secret` is what it shares with the sender."""

    url: str = ""
    secret: str = field(default_factory=new_secret)
    messages: list[Message] = field(default_factory=list)
    callers: list[Any] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    over: threading.Event = field(default_factory=threading.Event)
    answering: Answering = lambda handler: handler.answer(204)

    @property
    def said(self) -> list[str]:
        return [message.said for message in self.messages]

    def about(self, subject: str) -> list[str]:
        """What was said about one subject."""
        return [said for said in self.said if said.split()[1] == subject]

    @property
    def distinct(self) -> list[str]:
        """What a recipient has that knows messages by their id: each once, in the order of the first time."""
        first: dict[str, str] = {}
        for message in self.messages:
            first.setdefault(message.id, message.said)
        return list(first.values())

    def wait_for(self, number: int) -> None:
        """Until so many messages have come in."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.messages) >= number, 30)

    def connections(self) -> int:
        """How many connections have been made so far, also those on which nothing was said.

        They are accepted in the order in which they were made: once a call of our own is, all before it are.
        """
        with (
            socket.create_connection((urlsplit(self.url).hostname, urlsplit(self.url).port)) as own,
            self.changed,
        ):
            assert self.changed.wait_for(lambda: own.getsockname() in self.callers, 30)
            self.callers.remove(own.getsockname())
            return len(self.callers)

    def verify(self, message: Message, secret: str | None = None) -> None:
        """Check the signature with somebody else's implementation. Raises WebhookVerificationError."""
        Webhook(secret or self.secret).verify(message.body, dict(message.headers))


def status(code: int, **headers: str) -> Answering:
    return lambda handler: handler.answer(code, **headers)


def in_turn(*answers: Answering) -> Answering:
    """One after the other, then the last for ever."""
    left = list(answers)
    return lambda handler: (left.pop(0) if len(left) > 1 else left[0])(handler)


def raw(text: bytes) -> Answering:
    def answer(handler: Handler) -> None:
        handler.wfile.write(text)
        handler.close_connection = True

    return answer


def hanging(handler: Handler) -> None:
    """Says nothing until the test is over."""
    handler.server.receiver.over.wait(60)
    handler.close_connection = True


def dripping(handler: Handler) -> None:
    """A byte now and then, for ever: no read times out."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while not handler.server.receiver.over.wait(0.05):
        handler.wfile.write(b"x")


@contextlib.contextmanager
def receiving(context: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """A server until the test is over."""
    receiver = Receiver()
    server = Server(("127.0.0.1", 0), Handler)
    server.receiver = receiver
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    scheme = "http" if context is None else "https"
    receiver.url = f"{scheme}://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever, args=[0.02], daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def webhooks(**receivers: Receiver) -> Webhooks:
    """Settings with the secrets of these recipients, by party."""
    return Webhooks.read({party: receiver.secret for party, receiver in receivers.items()}, LOOPBACK)
