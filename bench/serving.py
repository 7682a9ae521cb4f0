"""Gunicorn in front of an app of `apps.py`, and clients that keep their connections and their cookies."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
_PATIENCE_S = 30


@dataclass(frozen=True)
class Server:
    """A running gunicorn."""

    port: int
    process: subprocess.Popen[bytes]

    def cpu_s(self) -> float:
        """Seconds of CPU that the threads of its workers have used so far; 0 where there is no /proc."""
        nanoseconds = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                if int(stat.read_text().rpartition(")")[2].split()[1]) == self.process.pid:
                    for thread in (stat.parent / "task").glob("*/schedstat"):
                        nanoseconds += int(thread.read_text().split()[0])
            except OSError:
                continue
        return nanoseconds / 1e9


@contextmanager
def serving(app: str, **settings: str) -> Iterator[Server]:
    """Serve `apps:<app>`, which reads these settings from the environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", f"apps:{app}()", "--chdir", str(HERE)]
    command += ["--bind", f"127.0.0.1:{port}", "--worker-class", "gthread", "--workers", "2"]
    command += ["--threads", "8", "--keep-alive", "60", "--log-level", "error"]
    process = subprocess.Popen(command, env={**os.environ, **settings})
    try:
        _wait(process, port)
        yield Server(port, process)
    finally:
        process.terminate()
        process.wait(_PATIENCE_S)


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(_PATIENCE_S * 20):
        if process.poll() is not None:
            raise SystemExit("gunicorn did not start, see above")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"gunicorn did not answer within {_PATIENCE_S} s")


@dataclass
class Client:
    """One browser: a connection, a cookie jar of one page, and the bodies that it sends in turn."""

    port: int
    method: str
    path: str
    bodies: tuple[bytes, ...] = (b"",)
    cookies: dict[str, str] = field(default_factory=dict)
    taken: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self.port), _PATIENCE_S)
        self._file = self._socket.makefile("rb")

    def send(self, number: int) -> int:
        """One request; its status."""
        body = self.bodies[number % len(self.bodies)]
        head = f"{self.method} {self.path} HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: same-origin\r\n"
        if self.cookies:
            head += f"Cookie: {'; '.join(f'{name}={value}' for name, value in self.cookies.items())}\r\n"
        if self.method == "POST":
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        start = time.perf_counter()
        self._socket.sendall(head.encode() + b"\r\n" + body)
        status = int(self._file.readline().split()[1])
        length = 0
        while (header := self._file.readline()) != b"\r\n":
            name, _, value = header.decode("latin-1").partition(": ")
            if name.lower() == "content-length":
                length = int(value)
            elif name.lower() == "set-cookie":
                key, _, content = value.partition(";")[0].partition("=")
                self.cookies[key] = content
        self._file.read(length)
        self.taken.append(time.perf_counter() - start)
        return status

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@dataclass(frozen=True)
class Load:
    """What came of a load: answers a second, milliseconds, and microseconds of CPU for each answer."""

    rate: float
    p50_ms: float
    p99_ms: float
    cpu_us: float

    def __str__(self) -> str:
        return f"{self.rate:6,.0f}/s  p50 {self.p50_ms:5.1f}  p99 {self.p99_ms:5.1f} ms  CPU {self.cpu_us:5,.0f} us"


def burst(server: Server, client: Client, times: int) -> float:
    """Microseconds of CPU for each answer to one client. Every answer has to be a 200."""
    before = server.cpu_s()
    for number in range(times):
        assert client.send(number) == 200, "an answer was not 200"
    return (server.cpu_s() - before) / times * 1e6


def load(server: Server, clients: list[Client], for_s: float) -> Load:
    """All clients at once, each request after the answer to the one before. Every answer has to be a 200."""
    for client in clients:
        assert client.send(0) == 200
        client.taken.clear()
    end, failed = time.perf_counter() + for_s, []

    def work(client: Client) -> None:
        number = 1
        while time.perf_counter() < end:
            if client.send(number) != 200:
                failed.append(number)
                return
            number += 1

    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    cpu, start = server.cpu_s(), time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took, cpu = time.perf_counter() - start, server.cpu_s() - cpu
    assert not failed, "an answer was not 200"
    taken = sorted(each for client in clients for each in client.taken)
    count = len(taken)
    return Load(count / took, taken[count // 2] * 1e3, taken[count * 99 // 100] * 1e3, cpu / count * 1e6)
