"""The only clock, and the ids that it gives: UUIDv7 (RFC 9562) with a counter and the subject's bucket."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from uuid import UUID

_BUCKET_SHIFT, _RANDOM_BITS = 52, 52


def system_us() -> int:
    """Microseconds since 1970-01-01 UTC by the machine's clock."""
    return time.time_ns() // 1000


class Clock:
    """Gives times that never repeat within the process, and ids that grow with them.

    `now`: a callable that gives microseconds; replace it to freeze time.
    """

    def __init__(self, now: Callable[[], int] = system_us) -> None:
        self.now = now
        self._lock = threading.Lock()
        self._last_us = 0
        self._last_ms = 0
        self._counter = 0

    def tick(self) -> int:
        """The present in microseconds, later than every earlier tick while the clock does not go back."""
        with self._lock:
            now = self.now()
            back = now < self._last_us - 60_000_000
            self._last_us = now if back else max(now, self._last_us + 1)
            return self._last_us

    def event_ids(self, bucket: int, count: int) -> list[str]:
        """Growing ids: 48 bits of milliseconds, 12 of counter, 10 of bucket, 52 of chance."""
        with self._lock:
            return [self._event_id(bucket) for _ in range(count)]

    def _event_id(self, bucket: int) -> str:
        ms = self.now() // 1000
        if ms > self._last_ms:
            self._last_ms, self._counter = ms, 0
        elif self._counter == 0xFFF:
            self._last_ms, self._counter = self._last_ms + 1, 0
        else:
            self._counter += 1
        high = self._last_ms << 16 | 0x7000 | self._counter
        low = 0b10 << 62 | bucket << _BUCKET_SHIFT | secrets.randbits(_RANDOM_BITS)
        text = f"{high:016x}{low:016x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def bucket_of_event(event_id: str) -> int:
    """The bucket inside an event id. Raises ValueError when it is not one of ours."""
    number = UUID(event_id).int
    if str(UUID(event_id)) != event_id or number >> 76 & 0xF != 7 or number >> 62 & 0b11 != 0b10:
        raise ValueError(f"{event_id!r} is not an event id")
    return number >> _BUCKET_SHIFT & 0x3FF
