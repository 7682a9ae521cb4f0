"""One round of deliveries: posts in threads, a recipient has one at a time, in the order of the ledger."""

from __future__ import annotations

import json
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Protocol

from consentkit.core.errors import ConsentKitError
from consentkit.core.propagation import Audiences
from consentkit.core.webhooks import Answer, headers, message_id, next_try_us
from consentkit.logs import log
from consentkit.runtime import Runtime
from consentkit.store.delivering import Deliverer, Head
from consentkit.store.erasing import hide_confirmed
from consentkit.store.outbox import Judge, Outbox, Queued, bound_to
from consentkit.store.publishing import read_published

AT_ONCE = 16
ROUND_S = 10.0
"""How long a round goes on with recipients that have more waiting: then new events are looked for."""

Progress = Callable[[int], None]


class Connection(Protocol):
    """A way to one recipient."""

    def post(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send a message; never raises for what the other side does."""

    def close(self) -> None:
        """Let it go."""


Connect = Callable[[str], Connection]


@dataclass(frozen=True, slots=True)
class Delivered:
    """What a round has done. `failed`: why, by recipient. `more`: another round has something to do now.

    `outdated`: another catalogue was published since this process began, so it queues nothing any more.
    """

    queued: int
    delivered: int
    failed: Mapping[str, str] = field(default_factory=dict)
    more: bool = False
    outdated: bool = False


def deliver(runtime: Runtime, judge: Judge, connect: Connect, progress: Progress | None = None) -> Delivered:
    """Queue what was sealed since the last round, then send what is due. Raises StoreUnavailable."""
    round_ = _Round(runtime, connect, progress)
    queued, outdated = Queued(0, False), runtime.database.read(read_published) != runtime.published
    if not outdated:
        queued = outbox_of(runtime, judge).queue(runtime.clock.now())
    else:  # whoever knows the new versions queues; what is queued already goes out all the same
        round_.failed["catalogue"] = "another one was published since this process began: restart it"
    round_.run()
    return Delivered(queued.messages, round_.delivered, round_.failed, queued.more or round_.more, outdated)


def audiences(runtime: Runtime) -> Audiences:
    """Who receives what, by catalogue and published versions."""
    return Audiences(runtime.catalog, runtime.published)


def outbox_of(runtime: Runtime, judge: Judge) -> Outbox:
    """The queue of messages."""
    return Outbox(runtime.database, runtime.reader, runtime.keyed, audiences(runtime), judge)


Sent = dict[Future[Answer], tuple[Head, str]]


class _Round:
    """The database is used by this thread alone: a host's engine may need its app context."""

    def __init__(self, runtime: Runtime, connect: Connect, progress: Progress | None) -> None:
        self._runtime, self._connect, self._progress = runtime, connect, progress
        self._deliverer = Deliverer(runtime.database)
        self._webhooks = audiences(runtime).webhooks
        self._connections: dict[str, Connection] = {}
        self._sent: Sent = {}
        self._waiting: deque[str] = deque()
        self._until = time.monotonic() + ROUND_S
        self.delivered, self.more = 0, False
        self.failed: dict[str, str] = {}

    def run(self) -> None:
        """Until every recipient has all, fails, or the round is over."""
        self._waiting.extend(self._deliverer.recipients())
        try:
            with ThreadPoolExecutor(AT_ONCE, "consentkit-deliver") as pool:
                while self._waiting or self._sent:
                    while self._waiting and len(self._sent) < AT_ONCE:
                        self._start(pool, self._waiting.popleft())
                    for future in wait(self._sent, return_when=FIRST_COMPLETED).done:
                        self._go_on(pool, *self._sent.pop(future), future.result())
        finally:
            for connection in self._connections.values():
                connection.close()

    def _start(self, pool: ThreadPoolExecutor, recipient: str) -> None:
        """Begin with a recipient, when its first message is due and nobody else is at it."""
        now_us = self._runtime.clock.now()
        head = self._deliverer.head(recipient)
        if head is None:
            return
        if obstacle := self._obstacle(recipient):
            self._hold_up(head, obstacle)
        elif head.due(now_us) and self._deliverer.lease(recipient, now_us):
            self._send(pool, recipient)

    def _send(self, pool: ThreadPoolExecutor, recipient: str) -> None:
        """The lease is ours: what is first now, is sent."""
        now_us = self._runtime.clock.now()
        head = self._deliverer.head(recipient)
        if head is None or not head.due(now_us):
            self._deliverer.release(recipient)
            return
        try:
            text = self._runtime.keyed.unseal(head.sealed or b"", bound_to(recipient, head.event_id))
            connection = self._connection(recipient)
        except ConsentKitError as error:
            self._hold_up(head, str(error))
            self._deliverer.release(recipient)
            return
        keys, body = self._runtime.webhooks.secrets[recipient], text.encode()
        signed = headers(message_id(head.event_id, recipient), now_us // 1_000_000, body, keys)
        self._sent[pool.submit(connection.post, signed, body)] = head, text

    def _connection(self, recipient: str) -> Connection:
        if recipient not in self._connections:
            self._connections[recipient] = self._connect(self._webhooks[recipient])
        return self._connections[recipient]

    def _obstacle(self, recipient: str) -> str | None:
        if recipient not in self._webhooks:
            return "the catalogue has no webhook for it"
        if recipient not in self._runtime.webhooks.secrets:
            return "there is no secret for it in CONSENTKIT_WEBHOOK_SECRETS"
        return None

    def _hold_up(self, head: Head, why: str) -> None:
        self._deliverer.held_up(head, why)
        self.failed[head.recipient] = why

    def _go_on(self, pool: ThreadPoolExecutor, head: Head, text: str, answer: Answer) -> None:
        """Write down what came of a message. After a success it is the turn of who waits, else of the next one."""
        now_us, recipient = self._runtime.clock.now(), head.recipient
        if not answer.delivered:
            self.failed[recipient] = answer.error or f"HTTP {answer.status}"
            again_us = next_try_us(now_us, head.failures + 1, random.random())  # noqa: S311
            self._deliverer.failed(head, now_us, again_us, self.failed[recipient], gone=answer.gone)
            self._deliverer.release(recipient)
            said = "%(recipient)s was not told: %(error)s"
            log(logging.WARNING, "webhook_failed", said, recipient=recipient, error=self.failed[recipient])
            return
        kept = self._deliverer.delivered(head, now_us)
        said = json.loads(text)
        if said["type"] == "subject.erased":
            hide_confirmed(self._runtime.writer, said["data"]["subject"])
        self.delivered += 1
        if self._progress is not None:
            self._progress(self.delivered)
        if not kept:
            return
        over = time.monotonic() >= self._until
        if not over and not self._waiting:
            self._send(pool, recipient)
            return
        self._deliverer.release(recipient)
        self.more = self.more or over
        if not over:
            self._waiting.append(recipient)
