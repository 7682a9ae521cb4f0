"""What the measurements share: turns in one run, one line for each result, databases on a real disk."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from consentkit.core.catalog import Catalog
from consentkit.kit import Kit
from consentkit.proof import SigningKey
from consentkit.runtime import Runtime

KEY = "k" * 64
TESTS = Path(__file__).parent.parent / "tests"

Url = Callable[[], str]
"""The address of a new, empty database."""


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
    """Let each have its turn, round after round; the best of each: others that use the machine only add to a time."""
    taken = [[seconds(work, times, clock) for work in works] for _ in range(rounds)]
    return [min(column) for column in zip(*taken, strict=True)]


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


def open_kit(catalog: Catalog, url: str) -> Kit:
    """A kit with its tables, published."""
    log_key = SigningKey.generate("consentkit-log").private_text()
    runtime = Runtime.of_url(catalog, url, key=KEY, log_key=log_key)
    runtime.upgrade()
    runtime.publish()
    return Kit(runtime)


@contextmanager
def sqlite() -> Iterator[Url]:
    """SQLite files beside this one: `/tmp` may not be a disk."""
    with tempfile.TemporaryDirectory(dir=Path(__file__).parent, prefix="tmp-") as folder:
        yield lambda: f"sqlite:///{folder}/{uuid.uuid4().hex[:8]}.db"


@contextmanager
def postgresql() -> Iterator[Url]:
    """A PostgreSQL server of our own with durable settings."""
    sys.path.append(str(TESTS))
    server: Any = import_module("pgserver").Server(durable=True)
    admin = sa.create_engine(server.url(), isolation_level="AUTOCOMMIT")

    def url() -> str:
        name = f"bench_{uuid.uuid4().hex[:8]}"
        with admin.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        return str(server.url(name))

    try:
        yield url
    finally:
        admin.dispose()
        server.stop()


DATABASES = {"sqlite": sqlite, "postgresql": postgresql}


def free_gigabytes() -> float:
    """Of the disk that the measurements write to."""
    return shutil.disk_usage(Path(__file__).parent).free / 1e9
