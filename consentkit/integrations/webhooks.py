"""Sending a webhook, and nothing else: one POST to one address of the catalogue, under guard (OWASP: SSRF).

A name is resolved once, every address it has is judged, and the connection goes to one of these very addresses,
so a name that changes its mind (DNS rebinding) gains nothing; TLS checks the name as ever. No redirect, no proxy,
no cookie, no .netrc, no environment: the standard library's client has none of them.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

from consentkit.core.addresses import is_listed, refusal
from consentkit.core.errors import ConsentKitError
from consentkit.core.webhooks import Answer, Network, Webhooks, place_of

CONNECT_S, READ_S, DEADLINE_S = 5.0, 15.0, 20.0
BODY_BYTES = 4096
"""A longer answer is not read, and ends the connection."""
Place = tuple[socket.AddressFamily, Any]
_ADDRESSES = 3
_INTERIM = 20
"""So many answers of the kind 1xx (103 Early Hints) are read on past."""
_STALE = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)


class Refused(Exception):
    """The guard does not let this be sent."""


def connecting(webhooks: Webhooks) -> Callable[[str], Webhook]:
    """What makes the way to an address; for TLS it raises ConsentKitError when no authority can be read."""

    @cache  # reading the authorities takes longer than a round without messages
    def context() -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=webhooks.ca)
        except (OSError, ssl.SSLError) as error:
            said = getattr(error, "strerror", None) or "no certificates in it"
            raise ConsentKitError(f"CONSENTKIT_WEBHOOK_CA: {webhooks.ca} cannot be read: {said}") from None

    return lambda url: Webhook(url, webhooks.networks, context() if url.startswith("https:") else None)


class Webhook:
    """The way to one address; a connection stays open from one message to the next."""

    def __init__(self, url: str, networks: Sequence[Network], context: ssl.SSLContext | None) -> None:
        parts = place_of(url)
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._wire = _Wire(parts.hostname or "", parts.port, networks, context)
        self._connection = _Connection(self._wire)

    def post(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send a message; never raises for what the other side does. Takes 20 seconds at most, and a resolver's."""
        self._wire.late = False
        clock = threading.Timer(DEADLINE_S, self._wire.cut)
        clock.daemon = True
        clock.start()
        try:
            return self._post(
                {"Content-Type": "application/json", "User-Agent": "consentkit", **headers}, body
            )
        except Exception as error:
            self.close()
            return Answer(None, f"no answer within {DEADLINE_S:g} s" if self._wire.late else _said(error))
        finally:
            clock.cancel()

    def _post(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """On the open connection; where the other side had closed it, once more on a new one."""
        kept = self._connection.sock is not None
        try:
            return self._ask(headers, body)
        except _STALE:
            if not kept or self._wire.late:
                raise
            self.close()
            return self._ask(headers, body)

    def _ask(self, headers: Mapping[str, str], body: bytes) -> Answer:
        self._connection.request("POST", self._target, body, dict(headers))
        response = self._connection.getresponse()
        if self._wire.late:  # it was cut within the headers, which looks like their end
            raise TimeoutError
        whole = False
        with suppress(Exception):  # the status says it all; what follows only decides whether we go on here
            whole = len(response.read(BODY_BYTES + 1)) <= BODY_BYTES and response.isclosed()
        if not whole:
            self.close()
        redirected = 300 <= response.status < 400
        return Answer(response.status, f"HTTP {response.status}" + ": not followed" * redirected)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
        self._wire.forget()


class _Reader(io.BufferedReader):
    """Lines of an answer. Where the other side stops after the first one, the headers are not at their end."""

    _begun = False

    def readline(self, size: int | None = -1, /) -> bytes:
        """One line. Raises IncompleteRead for none."""
        line = super().readline(size)
        if not line and self._begun:
            raise http.client.IncompleteRead(b"")
        self._begun = True
        return line


class _Response(http.client.HTTPResponse):
    """The answer that counts: after those that announce it, and with all of its headers."""

    def __init__(self, sock: socket.socket, *args: Any, **more: Any) -> None:
        super().__init__(sock, *args, **more)
        self.fp.close()
        self.fp = _Reader(sock.makefile("rb", buffering=0))

    def begin(self) -> None:
        """Read status and headers, of the last answer."""
        super().begin()
        for _ in range(_INTERIM):
            if not 100 <= self.status < 200 or self.status == http.HTTPStatus.SWITCHING_PROTOCOLS:
                return
            self.headers = self.msg = None  # type: ignore[assignment]
            super().begin()
        raise http.client.HTTPException("announced, and never given")


class _Connection(http.client.HTTPConnection):
    """HTTP over the guarded wire."""

    response_class = _Response

    def __init__(self, wire: _Wire) -> None:
        super().__init__(wire.host, wire.port)
        self.default_port = wire.default_port  # what the Host header leaves out
        self._wire = wire

    def connect(self) -> None:
        """Open the wire, in place of what the standard library would connect to."""
        self.sock = self._wire.open()


class _Wire:
    """Connects to addresses that were judged, and can be cut from another thread."""

    def __init__(
        self, host: str, port: int | None, networks: Sequence[Network], context: ssl.SSLContext | None
    ) -> None:
        self.host = host if host.isascii() else host.encode("idna").decode()
        self.default_port = 80 if context is None else 443
        self.port, self.late = port or self.default_port, False
        self._networks, self._context = networks, context
        self._lock = threading.Lock()
        self._handle: socket.socket | None = None

    def open(self) -> socket.socket:
        """A connection, with TLS unless every address is in a listed network. Raises Refused, OSError."""
        wire = self._reach(self._judged())
        wire.settimeout(READ_S)
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._remember(wire)
            return (
                wire if self._context is None else self._context.wrap_socket(wire, server_hostname=self.host)
            )
        except BaseException:
            wire.close()
            raise

    def _judged(self) -> Sequence[Place]:
        """Every address of the host; all of them have to be good."""
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        for *_, place in found:
            address = str(place[0])
            if self._context is None and not is_listed(address, self._networks):
                raise Refused("http:// is for networks in CONSENTKIT_WEBHOOK_NETWORKS only: write https://")
            if why := refusal(address, self._networks):
                raise Refused(f"{address} {why}, and is not in CONSENTKIT_WEBHOOK_NETWORKS")
        return [(family, place) for family, *_, place in found][:_ADDRESSES]

    def _reach(self, places: Sequence[Place]) -> socket.socket:
        """The first of these addresses that answers."""
        failure: OSError = OSError("the name has no address")
        for family, place in places:
            wire = socket.socket(family, socket.SOCK_STREAM)
            wire.settimeout(CONNECT_S)
            try:
                wire.connect(place)
                return wire
            except OSError as error:
                wire.close()
                failure = error
        raise failure

    def _remember(self, wire: socket.socket) -> None:
        """A second handle on the connection: TLS takes the first one over."""
        self.forget()
        with self._lock:
            if self.late:
                raise TimeoutError
            self._handle = wire.dup()

    def cut(self) -> None:
        """It took too long: end the connection under whoever reads or writes."""
        with self._lock:
            self.late = True
            if self._handle is not None:
                with suppress(OSError):
                    self._handle.shutdown(socket.SHUT_RDWR)

    def forget(self) -> None:
        """The connection was closed."""
        with self._lock:
            if self._handle is not None:
                self._handle.close()
                self._handle = None


def _said(error: Exception) -> str:
    """What happened, in our words: nothing of what the other side has sent."""
    if isinstance(error, Refused):
        return str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or 'the connection ended'}"
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return "the name has no address"
    if isinstance(error, http.client.RemoteDisconnected):
        return "the connection was closed without an answer"
    if isinstance(error, http.client.IncompleteRead):
        return "the answer broke off"
    if isinstance(error, http.client.HTTPException):
        return "what came back is not HTTP"
    return getattr(error, "strerror", None) or type(error).__name__
