"""./run bench NAME...: measure, on SQLite and on a PostgreSQL server of its own, beside the physical limit."""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable

import answers
import append
import audience
import decide
import ledger
import minors
import pages
import peers
import policies
from measuring import DATABASES

Asked = argparse.Namespace
Measure = Callable[[Callable[[], str], Asked], None]
MEASUREMENTS: dict[str, tuple[str, Measure]] = {
    "decide": ("a decision for a known subject", lambda new, asked: decide.run(new)),
    "pages": ("what consentkit costs a page, in CPU", lambda new, asked: pages.run(new)),
    "audience": ("who may be processed", lambda new, asked: audience.run(new, asked.subjects)),
    "append": ("one durable answer by a verb", lambda new, asked: append.run(new)),
    "http": ("one durable answer over HTTP", lambda new, asked: answers.run(new, asked.rows)),
    "ledger": ("sealing and verifying", lambda new, asked: ledger.run(new, asked.events)),
    "minors": ("the sweep", lambda new, asked: minors.run(new, asked.rows)),
    "policies": ("many versions, many languages", lambda new, asked: policies.run(new)),
}
PEERS = "peers"
GROUPS = {"gate": ["decide", "pages", PEERS, "audience"], "all": [*MEASUREMENTS, PEERS]}


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__)
    parser.add_argument("names", nargs="+", metavar="NAME", help=", ".join((*GROUPS, *MEASUREMENTS, PEERS)))
    parser.add_argument("--on", choices=DATABASES, help="one database only")
    parser.add_argument("--subjects", type=int, default=1_000_000, help="of audience")
    parser.add_argument(
        "--rows", type=int, default=100_000, help="answers of others in http, subjects in minors"
    )
    parser.add_argument("--events", type=int, default=20_000, help="of ledger")
    asked = parser.parse_args()
    if unknown := set(asked.names) - {*GROUPS, *MEASUREMENTS, PEERS}:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    load = os.getloadavg()[0]
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {load:.2f}")
    if load > 0.5:
        print("This machine is busy: trust no figure but the ratios, and those only roughly.")
    wanted = dict.fromkeys(name for given in asked.names for name in GROUPS.get(given, [given]))
    for name in wanted:
        if name == PEERS:
            print("\npeers: what others cost a page, in CPU", flush=True)
            peers.run()
            continue
        what, measure = MEASUREMENTS[name]
        for database in [asked.on] if asked.on else DATABASES:
            print(f"\n{name}: {what}, {database}", flush=True)
            start = time.perf_counter()
            with DATABASES[database]() as new:
                measure(new, asked)
            print(f"  ({time.perf_counter() - start:,.0f} s)", flush=True)


if __name__ == "__main__":
    main()
