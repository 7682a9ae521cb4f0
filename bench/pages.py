"""What a page costs with consentkit on it, in CPU, beside the same page of a bare app; and what a gate reads.

The apps are called in one process, in turns, and then through gunicorn.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from apps import PURPOSES, bare_site, consentkit_site, same_site
from decide import raw_reader
from measuring import open_kit
from serving import Client, burst, serving
from timing import line, turns, visit

from consentkit.core.catalog_rules import build
from consentkit.kit import Kit
from consentkit.store import sql
from consentkit.store.tx import PostgresqlTx, SqliteTx

ROUNDS, CALLS = 200, 20
STARTS, BURSTS, BURST = 15, 30, 40


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
        bare, same, ours = bare_site(), same_site(), consentkit_site()
        page, by_hand, banner = visit(bare, "/"), visit(same, "/"), visit(ours, "/")
        assert by_hand()[2] == banner()[2]
        assert b"data-consent-banner" not in page()[2]
        cpu("page with the banner, bare: the same bytes", banner, by_hand)
        cpu("page with the banner, bare: no banner", banner, page)
        cpu("a view that says only ok", visit(ours, "/ok"), visit(bare, "/ok"))
        gated = visit(ours, "/gated")
        assert gated()[2] == page()[2]
        read = raw_reader(kit)("known")

        def page_and_read() -> None:
            read()
            page()

        cpu("gated page of a known subject", gated, page_and_read)
        print(
            f"      beside the bare page and the same statement on the raw driver; {statements(gated, kit)}"
        )
        through_gunicorn()
    kit.runtime.dispose()


def through_gunicorn() -> None:
    """The same page, bare: the same bytes. CPU of the server's workers for each request.

    Short turns, and servers that are started anew: each start lies in memory and on the cores in another way, which
    alone is worth some hundredths. So what is said is the mean of many.
    """
    found = [_one_start() for _ in range(STARTS)]
    mine, theirs = (statistics.fmean(column) / 1e6 for column in zip(*found, strict=True))
    line("the page with banner through gunicorn", mine, theirs, 1.05, name="bare")
    print(
        "      by start:", ", ".join(f"{ratio:.2f}" for ratio in sorted(ours / bare for ours, bare in found))
    )


def _one_start() -> tuple[float, float]:
    """Medians of microseconds of both servers."""
    with serving("same_site") as bare, serving("consentkit_site") as ours:
        both = [(server, Client(server.port, "GET", "/")) for server in (ours, bare)]
        for server, client in both:
            burst(server, client, BURST * 2)  # the first answers compile the templates
        rounds = [[burst(server, client, BURST) for server, client in both] for _ in range(BURSTS)]
        for _, client in both:
            client.close()
    mine, theirs = (statistics.median(column) for column in zip(*rounds, strict=True))
    return mine, theirs


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
