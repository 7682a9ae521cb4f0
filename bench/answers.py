"""`POST /consent` through gunicorn, durable, beside a bare Flask view that inserts one row and commits.

Clients keep connection and cookie, and change their mind with every request. Both are measured when empty and with
100 000 answers of others.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import sqlalchemy as sa
from apps import PURPOSES
from measuring import open_kit
from people import analyze
from serving import Client, Load, load, serving

from consentkit.core.catalog_rules import build
from consentkit.core.record import Answer
from consentkit.core.terms import Action, Kind

ROUNDS, SECONDS = 3, 4.0
BODIES = (b'{"decision": "accept-all"}', b'{"decision": "reject-all"}')
AIM = 0.75


def measure(app: str, url: str, clients: int) -> Load:
    """One load on a fresh server."""
    with serving(app, BENCH_URL=url) as server:
        browsers = [Client(server.port, "POST", "/consent", BODIES) for _ in range(clients)]
        found = load(server, browsers, SECONDS)
        for browser in browsers:
            browser.close()
    return found


def compare(what: str, url: str, clients: int) -> float:
    """One line; the best of some rounds, in turns."""
    pairs = [(measure("answers", url, clients), measure("bare_answers", url, clients)) for _ in range(ROUNDS)]
    ours: Load
    bare: Load
    ours, bare = (max(column, key=lambda found: found.rate) for column in zip(*pairs, strict=True))
    ratio: float = ours.rate / bare.rate
    said = f"ratio {ratio:4.2f}   >= {AIM}  {'reached' if ratio >= AIM else 'MISSED'}"
    print(f"  {what:28} {ours}   bare {bare}   {said}", flush=True)
    return ours.rate


def run(new: Callable[[], str], rows: int) -> None:
    """One line for each number of clients, empty and with rows."""
    url = new()
    kit = open_kit(build(purposes=PURPOSES[:1]), url)
    _make_bare(url, 0)
    empty = {clients: compare(f"{clients} clients, empty", url, clients) for clients in (1, 16)}
    start = time.perf_counter()
    said = [Answer(Kind.PURPOSE, PURPOSES[0].key, Action.GIVEN, "1", 1, method="form")]
    for number in range(rows):
        kit.runtime.writer.append("", f"u-{number}", said)
    _make_bare(url, rows)
    if kit.runtime.database.postgresql:
        analyze(kit)
    print(f"  {rows:,} answers written in {time.perf_counter() - start:,.0f} s", file=sys.stderr)
    for clients, rate in empty.items():
        full = compare(f"{clients} clients, {rows:,} answers", url, clients)
        print(f"  {'':32} {full / rate:.2f} of the rate when empty", flush=True)
    kit.runtime.dispose()


def _make_bare(url: str, rows: int) -> None:
    engine = sa.create_engine(url)
    table = sa.Table(
        "bare_answer",
        sa.MetaData(),
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("visitor", sa.Text),
        sa.Column("decision", sa.Text),
        sa.Column("at", sa.Text),
    )
    with engine.begin() as connection:
        table.create(connection, checkfirst=True)
        if rows:
            row = {"decision": "accept-all", "at": "2026-01-01T00:00:00+00:00"}
            connection.execute(table.insert(), [{"visitor": f"u-{n}", **row} for n in range(rows)])
    engine.dispose()
