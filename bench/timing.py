"""Turns in one run, and one line for each result. Only the standard library: peers are timed by it, too."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from typing import Any


def seconds(
    work: Callable[[], object], times: int = 1, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Seconds for each of some calls."""
    start = clock()
    for _ in range(times):
        work()
    return (clock() - start) / times


def turns(
    rounds: int, *works: Callable[[], object], times: int = 1, clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Let each have its turn, round after round; the best of each: others that use the machine only add to a time.

    The pause lets the system place processes anew: a server that stays on the wrong core makes it twice as slow.
    """
    best = [float("inf")] * len(works)
    for number in range(rounds):
        time.sleep(0.003)
        for turn in range(len(works)):  # whoever is first after a pause finds cold caches
            who = (number + turn) % len(works)
            best[who] = min(best[who], seconds(works[who], times, clock))
    return best


def per_second(each: float) -> str:
    """A rate."""
    return f"{1 / each:,.0f}/s"


def micro(each: float) -> str:
    """Microseconds."""
    return f"{each * 1e6:,.1f} us"


def plain(each: float) -> str:
    """Seconds."""
    return f"{each:,.2f} s"


def line(
    what: str,
    ours: float,
    beside: float,
    aim: float | None = None,
    *,
    form: Callable[[float], str] = micro,
    rates: bool = False,
    name: str = "raw",
) -> None:
    """One result: seconds of ours and of what stands beside it. `rates`: their quotient is that of rates."""
    ratio = beside / ours if rates else ours / beside
    said = ""
    if aim is not None:
        reached = ratio >= aim if rates else ratio <= aim
        said = f"   {'>=' if rates else '<='} {aim:<5} {'reached' if reached else 'MISSED'}"
    print(f"  {what:44} {form(ours):>12}   {name} {form(beside):>12}   ratio {ratio:5.2f}{said}", flush=True)


def visit(
    app: Any, path: str, body: bytes | None = None, kind: str = "application/json", **headers: str
) -> Any:
    """A request to a WSGI app as a server makes it (PEP 3333), ready to be sent: its status, cookies and body.

    With a `body` it is a POST. `headers`: `cookie="a=b"`.
    """
    said = {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    sent = {"CONTENT_TYPE": kind, "CONTENT_LENGTH": str(len(body))} if body is not None else {}

    def send() -> tuple[str, dict[str, str], bytes]:
        environ = {
            "REQUEST_METHOD": "GET" if body is None else "POST",
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": "",
            "REMOTE_ADDR": "127.0.0.1",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": "localhost",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body or b""),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            **sent,
            **said,
        }
        begun: list[tuple[str, list[tuple[str, str]]]] = []
        answer = app(environ, lambda status, headers, error=None: begun.append((status, headers)))
        content = b"".join(answer)
        getattr(answer, "close", lambda: None)()
        status, got = begun[0]
        pairs = (
            value.partition(";")[0].partition("=") for name, value in got if name.lower() == "set-cookie"
        )
        return status, {name: value for name, _, value in pairs}, content

    return send
