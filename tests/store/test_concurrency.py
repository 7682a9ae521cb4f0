"""Several threads, processes and hosts at once, on real connections."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ledgers import KEY, OnPostgresql, OnSqlite, ShiftedClock, Suite, catalog, open_kit, rows

from consentkit.core.catalog import Purpose
from consentkit.core.errors import ChoiceRejected
from consentkit.core.terms import Reason
from consentkit.kit import Kit
from consentkit.runtime import Runtime
from consentkit.store import schema
from consentkit.store.database import Database
from consentkit.store.engines import own_engine

THREADS = 8
TESTS = Path(__file__).parent.parent

STARTS = """
import sys
from ledgers import catalog
import consentkit
kit = consentkit.open(catalog(), sys.argv[1])
kit.give(f"u-{sys.argv[2]}", "news")
print(kit.of(f"u-{sys.argv[2]}").allows("news"), kit.runtime.keyed.fingerprint)
"""


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """Run all at the same moment, each in a thread of its own."""
    barrier = threading.Barrier(len(works))

    def begin(work: Callable[[], Any]) -> Any:
        barrier.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return [done.result() for done in [pool.submit(begin, work) for work in works]]


class Concurrent(Suite):
    def test_first_answers_at_once_are_all_kept(self, kit: Kit) -> None:
        """Nobody knows the subject yet: one mapping row, every event."""
        for n in range(6):
            subject = f"u-{n}"
            at_once(*(lambda s=subject: kit.give(s, "news") for _ in range(THREADS)))  # type: ignore[misc]
            assert len(list(kit.ledger.events(subject=subject))) == THREADS
        assert len(rows(kit, "SELECT * FROM consentkit_subject")) == 6
        assert len(rows(kit, "SELECT * FROM consentkit_event")) == 6 * THREADS

    def test_many_answers_of_many_subjects(self, kit: Kit) -> None:
        def person(n: int) -> None:
            for _ in range(10):
                kit.give(f"u-{n % 3}", ["stats", "heatmap"])
                kit.withdraw(f"u-{n % 3}", "analytics")

        at_once(*(lambda n=n: person(n) for n in range(THREADS)))  # type: ignore[misc]
        stored = rows(kit, "SELECT event_id FROM consentkit_event")
        assert (
            len(stored) == len(set(stored)) == THREADS * 10 * 5
        )  # a no to the category is also one to transfer
        for n in range(3):
            assert kit.of(f"u-{n}").decide("analytics").reason is Reason.WITHDRAWN

    def test_hosts_with_different_clocks(self, kit: Kit, url: str) -> None:
        """Each host's last word is a withdrawal; whoever is last, nobody is left with a yes."""
        hosts = [open_kit(url, clock=ShiftedClock(s), publish=False) for s in (-3_000_000, 0, 2_000_000)]

        def host(kit: Kit) -> None:
            for _ in range(5):
                kit.give("u-1", "news")
                kit.withdraw("u-1", "news")

        at_once(*(lambda k=k: host(k) for k in hosts))  # type: ignore[misc]
        kit.withdraw("u-1", "news")
        assert kit.of("u-1").decide("news").reason is Reason.WITHDRAWN
        for other in hosts:
            other.runtime.dispose()

    def test_erasure_and_answers_at_once(self, kit: Kit) -> None:
        """Every event is under the old key or the new one, and none of the new ones is lost."""
        for n in range(8):
            subject = f"u-{n}"
            kit.give(subject, "news")
            given, erased = at_once(lambda s=subject: kit.give(s, "ads"), lambda s=subject: kit.erase(s))  # type: ignore[misc]
            after = kit.of(subject).decide("ads").reason
            body_keys = [e.body.split('"subject_key":"')[1][:32] for e in (given[0], erased[0])]
            if body_keys[0] == body_keys[1]:
                assert after is Reason.ERASED
            else:
                assert after is Reason.GIVEN

    def test_two_renames_to_one_id(self, kit: Kit) -> None:
        for n in range(4):
            kit.give(f"a-{n}", "news")
            kit.give(f"b-{n}", "ads")

            def rename(old: str, new: str) -> bool:
                try:
                    kit.rename(old, new)
                except ChoiceRejected:
                    return False
                return True

            done = at_once(
                lambda n=n: rename(f"a-{n}", f"new-{n}"),  # type: ignore[misc]
                lambda n=n: rename(f"b-{n}", f"new-{n}"),  # type: ignore[misc]
            )
            assert sorted(done) == [False, True]
            assert len(list(kit.ledger.events(subject=f"new-{n}"))) == 1

    def test_the_upgrade_is_applied_once(self, url: str) -> None:
        if "postgresql" in url:
            engine = own_engine(url)
            with engine.begin() as connection:
                connection.exec_driver_sql("DROP SCHEMA public CASCADE")
                connection.exec_driver_sql("CREATE SCHEMA public")
            engine.dispose()
        engines = [own_engine(url) for _ in range(4)]
        runtimes = [Runtime(catalog(), Database(lambda e=e: e, owned=True), key=KEY) for e in engines]  # type: ignore[misc]
        steps = at_once(*(runtime.upgrade for runtime in runtimes))
        assert sorted(map(len, steps)) == [0, 0, 0, len(max(steps))]
        assert max(steps)
        at_once(*(runtime.publish for runtime in runtimes))
        versions = rows(Kit(runtimes[0]), "SELECT item, version FROM consentkit_purpose_version")
        assert len(versions) == len(set(versions)) == len(catalog().purposes)
        for runtime in runtimes:
            runtime.dispose()

    def test_rules_are_read_while_another_catalogue_is_published(self, kit: Kit) -> None:
        """A thread in the middle of a question when the versions change does not bring the old ones back."""
        runtime = kit.runtime
        stop = threading.Event()

        def ask() -> None:
            while not stop.is_set():
                assert kit.of("u-1").decide("news").reason is Reason.NO_ANSWER

        def publish() -> None:
            for _ in range(20):
                runtime.publish()
            stop.set()

        at_once(ask, ask, publish)
        assert runtime.rules().published is runtime.published


class TestSqlite(OnSqlite, Concurrent):
    def test_processes_that_start_together(self, url: str) -> None:
        """Embedded: each makes file, tables and key, and publishes; all that exactly once."""
        command = [sys.executable, "-c", STARTS, url]
        env = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}
        started = [
            subprocess.Popen(
                [*command, str(n)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
            )
            for n in range(3)
        ]
        said = [process.communicate(timeout=60) for process in started]
        assert {err for _, err in said} == {""}
        assert len({out for out, _ in said}) == 1
        assert said[0][0].startswith("True ")
        kit = open_kit(url, publish=False)
        assert len(rows(kit, "SELECT * FROM consentkit_event")) == 3
        assert len(rows(kit, "SELECT * FROM consentkit_schema")) == schema.VERSION
        kit.runtime.dispose()


class TestPostgresql(OnPostgresql, Concurrent): ...


class Forked(Suite):
    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
    @pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
    def test_a_forked_child_opens_connections_of_its_own(self, kit: Kit) -> None:
        """As gunicorn --preload does it."""
        kit.give("u-1", "news")
        assert kit.of("u-1").allows("news")
        kept = kit.runtime.database._kept
        assert kept is not None
        pool, inherited = kit.runtime.database.engine.pool, {lease for each in kept for lease in each.idle}
        assert len(inherited) == (2 if kit.runtime.database.postgresql else 1), "who reads and who writes"
        context = multiprocessing.get_context("fork")
        answers: Any = context.Queue()

        def child() -> None:
            kit.give("u-2", "news")
            idle = {lease for each in kept for lease in each.idle}
            own = kit.runtime.database.engine.pool is not pool and idle.isdisjoint(inherited)
            answers.put((kit.of("u-1").allows("news"), own))

        process = context.Process(target=child)
        process.start()
        assert answers.get(timeout=30) == (True, True)
        process.join()
        kit.withdraw("u-1", "news")
        assert kit.of("u-2").allows("news")
        assert kit.runtime.database.engine.pool is pool


class TestForkedSqlite(OnSqlite, Forked): ...


class TestForkedPostgresql(OnPostgresql, Forked): ...


def test_purposes_of_another_catalogue(sqlite_url: str) -> None:
    """A rolling deploy: the old process still runs when the new catalogue is published."""
    old = open_kit(sqlite_url, catalog(purposes=[Purpose("news", title="News")]))
    new = open_kit(sqlite_url, catalog(purposes=[Purpose("news", title="News", version=2)]))
    new.give("u-1", "news")
    assert old.of("u-1").allows("news")
    old.give("u-2", "news")
    assert new.of("u-2").decide("news").reason is Reason.OUTDATED
    for kit in (old, new):
        kit.runtime.dispose()
