"""The minors sweep among many subjects, a twentieth of them children without a guardian's consent.

The first sweep requires a deletion of each of these children, the second finds nothing new.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from measuring import KEY
from people import Row, fill

from consentkit.core.catalog import MinorRules, Party, Purpose
from consentkit.core.catalog_rules import build
from consentkit.kit import Kit
from consentkit.runtime import Runtime
from consentkit.store.clock import Clock, system_us

DAY_US = 24 * 3600 * 1_000_000


def person(number: int) -> tuple[Row, list[Row]]:
    """Four answers each."""
    then, child = system_us() - 30 * DAY_US, number % 20 == 0
    until = system_us() + 900 * DAY_US if child else None
    rows: list[Row] = [("purpose", f"p{n}", "", "subject", "given", 1, 0, then) for n in range(4)]
    return ("minor" if child else "adult", until, "DE", then), rows


def timed(what: str, work: Callable[[], object]) -> None:
    """One line."""
    start = time.perf_counter()
    said = work()
    print(f"  {what:<14} {time.perf_counter() - start:8.2f} s   {said}", flush=True)


def run(new: Callable[[], str], subjects: int) -> None:
    """Print seconds."""
    purposes = [Purpose(f"p{n}", recipients=["mailer"]) for n in range(4)]
    catalog = build(purposes=purposes, parties=[Party("mailer", name="M")], minors=MinorRules())
    runtime = Runtime.of_url(catalog, new(), key=KEY)
    runtime.clock = Clock(lambda: system_us() - 30 * DAY_US)
    runtime.upgrade()
    runtime.publish()
    runtime.clock = Clock()
    kit = Kit(runtime)
    fill(kit, subjects, person)
    timed("first sweep", kit.sweep_minors)
    timed("second sweep", kit.sweep_minors)
    timed("report", lambda: sum(1 for _ in kit.unconfirmed_deletions()))
    runtime.dispose()
