"""Policies of great size: load, publish, start and decide with many versions, many languages, large texts.

Times of a decision have to stay the same however many versions there are.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from consentkit.kit import Kit
from consentkit.kit_file import load
from consentkit.runtime import Runtime

HEAD = '[controller]\nname = "A"\ncontact = "a@example.org"\n[site]\nname = "S"\n'
SIZES = (
    (1, 1, 1_000),
    (10, 1, 1_000),
    (100, 1, 1_000),
    (1_000, 1, 1_000),
    (1_000, 50, 1_000),
    (2, 50, 1_000_000),
)
BEGIN = datetime(2000, 1, 1, tzinfo=UTC)


def write(folder: Path, policy: str, versions: int, locales: int, size: int) -> Path:
    """A catalogue with one policy of so many versions, a day between two."""
    tags = ["en", *(f"x{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(locales - 1))]
    lines = [HEAD, f'[policies.{policy}]\ntitle = "T"\n']
    for version in range(1, versions + 1):
        names = {tag: f"{policy}-{version}-{tag}.md" for tag in tags}
        for name in names.values():
            (folder / name).write_text(f"{name} {'lorem ipsum ' * (size // 12)}")
        files = ", ".join(f'{tag} = "{name}"' for tag, name in names.items())
        date = (BEGIN + timedelta(days=version)).date()
        change = "editorial" if version % 3 else "material"
        lines += [f'[[policies.{policy}.versions]]\nversion = "{version}"\nchange = "{change}"\n']
        lines += [f"effective = {date}\nfiles = {{{files}}}\n"]
    (folder / f"{policy}.toml").write_text("".join(lines))
    return folder / f"{policy}.toml"


def timed(work: Callable[[], object], times: int = 1) -> float:
    """Milliseconds per call, the best of three rounds where there are several calls."""
    rounds = []
    for _ in range(3 if times > 1 else 1):
        start = time.perf_counter()
        for _ in range(times):
            work()
        rounds.append((time.perf_counter() - start) / times * 1e3)
    return min(rounds)


def measure(folder: Path, url: str, policy: str, versions: int, locales: int, size: int) -> None:
    """One line of the table."""
    file = write(folder, policy, versions, locales, size)
    catalog = load(file)
    runtime = Runtime.of_url(catalog, url, key="k" * 64)
    runtime.upgrade()
    figures = [timed(lambda: load(file)), timed(runtime.publish), timed(runtime.publish)]
    started = Runtime.of_url(catalog, url, key="k" * 64)
    figures.append(timed(started.ensure))
    kit = Kit(started)
    kit.accept("u-1", policy, method="tick")
    past = BEGIN + timedelta(days=versions // 2)
    figures.append(timed(lambda: kit.decide("u-1", policy), 300))
    figures.append(timed(lambda: kit.decide("u-1", policy, at=past), 300))
    figures.append(timed(lambda: kit.policy_in_effect(policy), 300))
    figures.append(timed(lambda: kit.announcements("u-1"), 300))
    print(
        f"{versions:8,} {locales:7} {size:9,} " + " ".join(f"{figure:10,.2f}" for figure in figures),
        flush=True,
    )
    runtime.dispose()
    started.dispose()


def run(new: Callable[[], str]) -> None:
    """Print a table: milliseconds."""
    names = ["load", "publish", "again", "start", "decide", "past", "in_effect", "announced"]
    print(f"{'versions':>8} {'locales':>7} {'bytes':>9} " + " ".join(f"{name:>10}" for name in names))
    with tempfile.TemporaryDirectory() as folder:
        for number, sizes in enumerate(SIZES):
            measure(Path(folder), new(), f"p{number}", *sizes)
