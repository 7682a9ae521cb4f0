"""`flask consent audience` as a process of its own: in constant memory, and honest when it is cut short."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from consentkit.store.engines import own_engine
from tests.cli.conftest import KEY, Shop, fill

MANY, FEW = 200_000, 1_000
PURPOSE = "newsletter"


# A process begins with the memory of the one that it was forked from, so one in between, that is small, starts it.
START = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(status)
"""


class Listing:
    """The command, running. What it says on stderr is collected."""

    def __init__(self, shop: Shop, stdout: int) -> None:
        settings = {"PATH": os.environ["PATH"], "FLASK_SECRET_KEY": "s", **shop.environment}
        command = [sys.executable, "-m", "flask", "--app", "shop_app", "consent", "audience", PURPOSE]
        self.process = subprocess.Popen(
            [sys.executable, "-c", START, *command],
            cwd=shop.folder,
            env=settings,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said = ""
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.said = self.process.stderr.read()

    def end(self) -> tuple[int, int]:
        """Exit status, and the most memory it had, in bytes."""
        status = self.process.wait()
        self._reading.join()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        return status, int(self.said.split()[-1]) * (1 if sys.platform == "darwin" else 1024)


class ProcessSuite:
    """Runs on either database."""

    @pytest.fixture
    def engine(self, shop: Shop, url: str) -> Iterator[sa.Engine]:
        shop.environment |= {"FLASK_CONSENTKIT_DATABASE_URL": url, "FLASK_CONSENTKIT_KEY": KEY}
        assert shop.consent("upgrade").returncode == 0
        assert shop.consent("publish").returncode == 0
        engine = own_engine(url)
        yield engine
        engine.dispose()

    def listed(self, shop: Shop) -> tuple[int, int]:
        """How many lines, and the most memory that it took."""
        path = shop.folder / "list.jsonl"
        with path.open("w") as file:
            status, memory = Listing(shop, file.fileno()).end()
        assert status == 0
        return path.read_text().count("\n"), memory

    def test_a_long_list_takes_no_more_memory_than_a_short_one(self, shop: Shop, engine: sa.Engine) -> None:
        fill(engine, PURPOSE, FEW)
        lines, little = self.listed(shop)
        assert lines == FEW
        with engine.begin() as connection:
            for table in ("state", "subject"):
                connection.execute(sa.text(f"DELETE FROM consentkit_{table}"))
        fill(engine, PURPOSE, MANY)
        lines, much = self.listed(shop)
        assert lines == MANY
        # Two hundred thousand ids alone would take 12 MB as texts.
        assert much - little < 6_000_000

    def test_who_stops_reading_stops_the_command(self, shop: Shop, engine: sa.Engine) -> None:
        fill(engine, PURPOSE, 50_000)
        listing = Listing(shop, subprocess.PIPE)
        assert listing.process.stdout is not None
        assert "newsletter" in listing.process.stdout.readline()
        listing.process.stdout.close()
        status, _ = listing.end()
        assert status == 1
        assert "Traceback" not in listing.said


class TestOnSqlite(ProcessSuite):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/ledger.sqlite3"


class TestOnPostgresql(ProcessSuite):
    @pytest.fixture
    def url(self, empty_pg_url: str) -> str:
        return empty_pg_url

    def test_a_database_that_goes_away_in_the_middle(self, shop: Shop, engine: sa.Engine, url: str) -> None:
        fill(engine, PURPOSE, 50_000)
        engine.dispose()
        listing = Listing(shop, subprocess.PIPE)
        assert listing.process.stdout is not None
        lines = [listing.process.stdout.readline()]
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as admin:
            others = "datname = current_database() AND pid <> pg_backend_pid()"
            admin.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
        lines += listing.process.stdout.readlines()
        status, _ = listing.end()
        assert status == 3
        assert "The list above is not complete: do not use it" in " ".join(listing.said.split())
        assert 0 < len(lines) < 50_000
        assert all(line.endswith("}\n") for line in lines)
