"""What a page costs with consentkit on it, in CPU, beside the same page of a bare app; and what a gate reads.

The apps are called as a server calls them (PEP 3333), in one process, in turns.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from typing import Any
from unittest.mock import patch

from apps import PURPOSES, bare_site, consentkit_site
from decide import raw_reader
from flask import Flask
from measuring import line, open_kit, turns

from consentkit.core.catalog_rules import build
from consentkit.kit import Kit
from consentkit.store import sql
from consentkit.store.tx import PostgresqlTx, SqliteTx

ROUNDS, CALLS = 200, 20


def visit(app: Flask, path: str, **headers: str) -> Callable[[], bytes]:
    """A request, ready to be sent: its body."""
    said = {f"HTTP_{name.upper()}": value for name, value in headers.items()}

    def send() -> bytes:
        environ = {
            "REQUEST_METHOD": "GET",
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": "",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": "localhost",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            **said,
        }
        body: Iterable[bytes] = app.wsgi_app(environ, lambda status, headers, error=None: None)  # type: ignore[arg-type]
        content = b"".join(body)
        getattr(body, "close", lambda: None)()
        return content

    return send


def cpu(
    what: str, ours: Callable[[], object], beside: Callable[[], object], aim: float | None = None
) -> None:
    """One line of CPU time."""
    mine, theirs = turns(ROUNDS, ours, beside, times=CALLS, clock=time.process_time)
    line(what, mine, theirs, aim, name="bare")


def run(new: Callable[[], str]) -> None:
    """Pages without a gate, then one with."""
    url = new()
    kit = open_kit(build(purposes=PURPOSES), url)
    kit.choose("known", give=["statistics", "letters"], refuse=["ads"])
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(BENCH_URL=url, BENCH_FOLDER=folder)
        bare, ours = bare_site(), consentkit_site()
        page, banner = visit(bare, "/"), visit(ours, "/")
        assert b"data-consent-banner" in banner()
        assert b"data-consent-banner" not in page()
        cpu(f"page of {len(page()):,} B and banner of {len(banner()) - len(page()):,} B", banner, page, 1.05)
        cpu("a view that says only ok", visit(ours, "/ok"), visit(bare, "/ok"))
        gated = visit(ours, "/gated")
        assert gated() == page()
        read = raw_reader(kit)("known")

        def page_and_read() -> None:
            read()
            page()

        cpu("gated page of a known subject", gated, page_and_read)
        print(
            f"  {'':4}beside the bare page and the same statement on the raw driver; {statements(gated, kit)}"
        )
    kit.runtime.dispose()


def statements(gated: Callable[[], object], kit: Kit) -> str:
    """What one gated page asks of the database."""
    seen: list[str] = []
    kinds = (SqliteTx, PostgresqlTx)
    real = {kind: kind.run for kind in kinds}

    def watch(kind: Any) -> Any:
        def run(tx: Any, statement: str, params: Any = ()) -> Any:
            seen.append(statement)
            return real[kind](tx, statement, params)

        return run

    with (
        patch.object(SqliteTx, "run", watch(SqliteTx)),
        patch.object(PostgresqlTx, "run", watch(PostgresqlTx)),
    ):
        gated()
    assert seen == [sql.FIND_STATE], seen
    return "statements: 1"
