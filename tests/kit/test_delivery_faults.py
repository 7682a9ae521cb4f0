"""What can go wrong between a message and its mark: a killed deliverer, a database that is gone. Nothing is lost,
and a recipient that knows messages by their id has each once.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from ledgers import OnPostgresql, OnSqlite, ShiftedClock, open_kit
from receiving import Answering, Receiver, hanging, in_turn, receiving, status, webhooks

from consentkit import StoreUnavailable
from consentkit.core.catalog import Catalog, Party, Purpose
from consentkit.core.catalog_rules import build
from consentkit.kit import Kit
from consentkit.store import database as database_module
from consentkit.store.delivering import LEASE_US

TESTS = Path(__file__).parent.parent

PROGRAM = """
import sys, threading
from ledgers import open_kit
from receiving import LOOPBACK
from consentkit.core.webhooks import Webhooks
from consentkit.store.delivering import Deliverer
from kit.test_delivery_faults import catalogue

database, hook, secret, mode = sys.argv[1:]
if mode == "marking":  # it has the answer and is about to write it down
    Deliverer.delivered = lambda *_: (print("marking", flush=True), threading.Event().wait())
kit = open_kit(database, catalogue(hook), publish=False, webhooks=Webhooks.read({"mailer": secret}, LOOPBACK))
kit.deliver()
"""


def catalogue(hook: str) -> Catalog:
    return build(
        purposes=[Purpose("news", title="News", recipients=["mailer"])],
        parties=[Party("mailer", name="Mailer", webhook=hook)],
    )


class Faults:
    """On either database."""

    @pytest.fixture
    def clock(self) -> ShiftedClock:
        return ShiftedClock()

    @pytest.fixture
    def mailer(self) -> Iterator[Receiver]:
        with receiving() as receiver:
            yield receiver

    @pytest.fixture
    def kit(self, url: str, clock: ShiftedClock, mailer: Receiver) -> Iterator[Kit]:
        kit = open_kit(url, catalogue(mailer.url), clock=clock, webhooks=webhooks(mailer=mailer))
        kit.give("u-1", "news")
        kit.withdraw("u-1", "news")
        kit.ledger.seal()
        yield kit
        kit.runtime.dispose()

    @pytest.fixture
    def start(
        self, url: str, mailer: Receiver, tmp_path: Path
    ) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
        """A deliverer in a process of its own."""
        program = tmp_path / "deliverer.py"
        program.write_text(PROGRAM)
        with ExitStack() as stack:

            def run(mode: str) -> subprocess.Popen[str]:
                started = subprocess.Popen(
                    [sys.executable, str(program), url, mailer.url, mailer.secret, mode],
                    env=os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])},
                    stdout=subprocess.PIPE,
                    text=True,
                )
                stack.enter_context(started)
                stack.callback(started.kill)
                return started

            yield run

    def test_killed_while_it_waits_for_the_answer(
        self, kit: Kit, mailer: Receiver, clock: ShiftedClock, start: Callable[[str], subprocess.Popen[str]]
    ) -> None:
        mailer.answering = in_turn(hanging, status(204))
        deliverer = start("posting")
        mailer.wait_for(1)
        deliverer.send_signal(signal.SIGKILL)
        assert deliverer.wait(30) == -signal.SIGKILL
        self.then_everything_arrives_once(kit, mailer, clock, posts=3)

    def test_killed_between_the_answer_and_the_mark(
        self, kit: Kit, mailer: Receiver, clock: ShiftedClock, start: Callable[[str], subprocess.Popen[str]]
    ) -> None:
        deliverer = start("marking")
        assert deliverer.stdout is not None
        assert deliverer.stdout.readline() == "marking\n"
        deliverer.send_signal(signal.SIGKILL)
        assert deliverer.wait(30) == -signal.SIGKILL
        self.then_everything_arrives_once(kit, mailer, clock, posts=3)

    def then_everything_arrives_once(
        self, kit: Kit, mailer: Receiver, clock: ShiftedClock, *, posts: int
    ) -> None:
        """As the recipient sees it, by the messages' ids."""
        assert kit.deliver().delivered == 0  # the dead one's lease
        clock.shift_us += LEASE_US
        assert kit.deliver().delivered == 2
        assert mailer.distinct == ["consent.given u-1", "consent.withdrawn u-1"]
        assert len(mailer.messages) == posts
        assert [d.status for d in kit.deliveries(subject="u-1")] == ["delivered", "delivered"]

    def breaking(self, url: str) -> tuple[Callable[[], None], Callable[[], None]]:
        """What makes the database unusable, and what mends it."""
        raise NotImplementedError

    def test_the_database_goes_while_a_message_is_on_its_way(
        self, kit: Kit, url: str, mailer: Receiver, clock: ShiftedClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(database_module, "PATIENCE_S", 0.2)
        destroy, mend = self.breaking(url)
        mailer.answering = in_turn(after(destroy), status(204))
        with pytest.raises(StoreUnavailable):
            kit.deliver()
        with pytest.raises(StoreUnavailable):
            kit.deliver()
        mend()
        self.then_everything_arrives_once(kit, mailer, clock, posts=3)

    def test_the_database_is_gone_before(self, kit: Kit, url: str, mailer: Receiver) -> None:
        destroy, mend = self.breaking(url)
        destroy()
        with pytest.raises(StoreUnavailable):
            kit.deliver()
        assert mailer.messages == []
        mend()
        assert kit.deliver().delivered == 2


def after(act: Callable[[], None]) -> Answering:
    """Something happens, then the answer comes: yes."""

    def answer(handler: Any) -> None:
        act()
        handler.answer(200)

    return answer


class TestSqlite(OnSqlite, Faults):
    def breaking(self, url: str) -> tuple[Callable[[], None], Callable[[], None]]:
        """Another process holds the write lock and does not let go."""
        holders: list[sqlite3.Connection] = []

        def destroy() -> None:
            holder = sqlite3.connect(
                url.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False
            )
            holder.execute("BEGIN IMMEDIATE")
            holders.append(holder)

        def mend() -> None:
            holders[0].execute("ROLLBACK")
            holders[0].close()

        return destroy, mend

    @pytest.fixture
    def kit(self, url: str, clock: ShiftedClock, mailer: Receiver) -> Iterator[Kit]:
        """A lock is waited for 5 seconds otherwise."""
        kit = open_kit(url, catalogue(mailer.url), clock=clock, webhooks=webhooks(mailer=mailer))
        kit.give("u-1", "news")
        kit.withdraw("u-1", "news")
        kit.ledger.seal()
        kit.runtime.database.read(lambda tx: tx.run("PRAGMA busy_timeout=100"))
        yield kit
        kit.runtime.dispose()


class TestPostgresql(OnPostgresql, Faults):
    def breaking(self, url: str) -> tuple[Callable[[], None], Callable[[], None]]:
        """The server throws everybody out and lets nobody in."""
        name = sa.make_url(url).database
        admin = sa.create_engine(
            sa.make_url(url).set(database="postgres", drivername="postgresql+psycopg"),
            isolation_level="AUTOCOMMIT",
            poolclass=sa.NullPool,
        )

        def execute(*statements: str) -> None:
            with admin.connect() as connection:
                for statement in statements:
                    connection.exec_driver_sql(statement)

        def destroy() -> None:
            execute(
                f"ALTER DATABASE {name} ALLOW_CONNECTIONS false",
                f"SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity WHERE datname = '{name}'",
            )

        return destroy, lambda: execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
