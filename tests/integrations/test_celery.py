"""`gated` in a real Celery worker: asked when the task runs, whatever was true when it was queued."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakSet

import pytest
from celery import Celery, shared_task
from celery.contrib.testing.worker import start_worker
from celery.result import AsyncResult
from flask import Flask
from ledgers import OnPostgresql, OnSqlite, Suite

from consentkit import (
    ConsentKit,
    ConsentKitError,
    ConsentMissing,
    GateUnavailable,
    Purpose,
    Reason,
    StoreUnavailable,
    gated,
    processing_blocked,
)
from consentkit.kit import Kit
from consentkit.web import state

PATIENCE = 30
Sent = list[Any]


@pytest.fixture(scope="module")
def worker() -> Iterator[Any]:
    """One real worker for the tests of this module; its broker is in memory."""
    app = Celery("tests", broker="memory://", backend="cache+memory://")
    app.conf.update(task_default_queue=uuid.uuid4().hex, broker_transport_options={"polling_interval": 0.02})
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    with start_worker(app, pool="solo", perform_ping_check=False) as worker:
        root.setLevel(level)  # a worker takes the process's logging over; the tests after it want theirs
        yield worker
    root.handlers[:] = handlers


@pytest.fixture
def task(worker: Any) -> Callable[..., Any]:
    """`app.task` with a name that no other test has, made known to the worker that runs already."""

    def register(**how: Any) -> Callable[..., Any]:
        def decorate(function: Callable[..., Any]) -> Any:
            made = worker.app.task(name=uuid.uuid4().hex, **how)(function)
            worker.consumer.update_strategies()
            return made

        return decorate

    return register


@pytest.fixture
def busy(task: Callable[..., Any]) -> Callable[..., Any]:
    """While this context is open the one worker has something to do, and what is queued waits."""

    @contextmanager
    def worker_is_busy() -> Iterator[None]:
        go = threading.Event()

        def wait() -> bool:
            return go.wait(PATIENCE)

        doing = task()(wait).delay()
        yield
        go.set()
        assert doing.get(timeout=PATIENCE, interval=0.02)

    return worker_is_busy


@pytest.fixture
def sent() -> Sent:
    return []


def failure(result: AsyncResult[Any]) -> str:
    """What a task that failed left behind."""
    result.get(timeout=PATIENCE, interval=0.02, propagate=False)
    assert result.state == "FAILURE"
    return str(result.traceback)


def deliver(user_id: str) -> str:
    return user_id


class CelerySuite(Suite):
    def test_it_is_asked_when_it_runs(self, kit: Kit, task: Any, busy: Any, sent: Sent) -> None:
        @task()
        @kit.gated("news", subject="user_id")
        def letter(user_id: str, issue: int = 1) -> str:
            sent.append((user_id, issue))
            return f"issue {issue}"

        kit.give("u-1", "news")
        kit.give("u-2", "news")
        with busy():
            stopped, goes_on = letter.delay("u-1", issue=2), letter.delay(user_id="u-2")
            kit.withdraw("u-1", "news")
        assert goes_on.get(timeout=PATIENCE, interval=0.02) == "issue 1"
        assert "ConsentMissing: processing for 'news' is blocked: WITHDRAWN" in failure(stopped)
        kit.give("u-1", "news")
        assert letter.delay("u-1").get(timeout=PATIENCE, interval=0.02) == "issue 1"
        assert sent == [("u-2", 1), ("u-1", 1)]

    def test_given_after_it_was_queued(self, kit: Kit, task: Any, busy: Any) -> None:
        letter = task()(kit.gated("news", subject="user_id")(deliver))
        with busy():
            result = letter.delay("u-1")
            kit.give("u-1", "news")
        assert result.get(timeout=PATIENCE, interval=0.02) == "u-1"

    def test_skipped_tasks_succeed_with_nothing(self, kit: Kit, task: Any) -> None:
        letter = task()(kit.gated("news", subject="user_id", skip=True)(deliver))
        result = letter.delay("u-1")
        assert (result.get(timeout=PATIENCE, interval=0.02), result.state) == (None, "SUCCESS")
        kit.give("u-1", "news")
        assert letter.delay("u-1").get(timeout=PATIENCE, interval=0.02) == "u-1"

    def test_bound_tasks_defaults_and_nobody(self, kit: Kit, task: Any) -> None:
        @task(bind=True)
        @kit.gated("news", subject="user_id")
        def letter(self: Any, user_id: str | None = None, *, issue: int = 1) -> str:
            return f"{self.request.id} {user_id} {issue}"

        kit.give("u-1", "news")
        result = letter.delay("u-1", issue=3)
        assert result.get(timeout=PATIENCE, interval=0.02) == f"{result.id} u-1 3"
        assert "NO_ANSWER" in failure(letter.delay())

    def test_celery_still_refuses_wrong_arguments_when_it_queues(self, kit: Kit, task: Any) -> None:
        @task(bind=True)
        @kit.gated("news", subject="user_id")
        def letter(self: Any, user_id: str) -> None: ...

        with pytest.raises(TypeError, match="user_id"):
            letter.delay()
        with pytest.raises(TypeError):
            letter.delay("u-1", "more")

    @pytest.mark.parametrize("catch", [StoreUnavailable, GateUnavailable])
    def test_no_answer_is_not_tried_again_and_a_failing_ledger_is(
        self, kit: Kit, task: Any, sent: Sent, catch: type[Exception]
    ) -> None:
        @task(autoretry_for=(catch,), retry_kwargs={"max_retries": 2, "countdown": 0})
        @kit.gated("news", subject="user_id")
        def letter(user_id: str) -> str:
            sent.append(user_id)
            return "sent"

        heard: list[Reason] = []

        def mend(_: object, decision: Any, subject: str) -> None:
            heard.append(decision.reason)
            if decision.reason is Reason.STORE_UNAVAILABLE:
                rename(kit, "gone", "consentkit_state")

        kit.give("u-1", "news")
        with processing_blocked.connected_to(mend, kit):
            assert "NO_ANSWER" in failure(letter.delay("u-2"))
            assert heard == [Reason.NO_ANSWER]
            rename(kit, "consentkit_state", "gone")
            assert letter.delay("u-1").get(timeout=PATIENCE, interval=0.02) == "sent"
        assert heard == [Reason.NO_ANSWER, Reason.STORE_UNAVAILABLE]
        assert sent == ["u-1"]

    def test_a_ledger_that_stays_away_blocks_to_the_last_try(self, kit: Kit, task: Any, sent: Sent) -> None:
        @task(autoretry_for=(StoreUnavailable,), retry_kwargs={"max_retries": 2, "countdown": 0})
        @kit.gated("news", subject="user_id")
        def letter(user_id: str) -> None:
            sent.append(user_id)

        kit.give("u-1", "news")
        rename(kit, "consentkit_state", "gone")
        heard: list[Reason] = []

        def hear(_: object, decision: Any, subject: str) -> None:
            heard.append(decision.reason)

        with processing_blocked.connected_to(hear, kit):
            assert "GateUnavailable" in failure(letter.delay("u-1"))
        assert heard == [Reason.STORE_UNAVAILABLE] * 3
        assert sent == []

    def test_a_ledger_that_goes_away_in_the_middle(self, kit: Kit, task: Any, sent: Sent) -> None:
        @task()
        @kit.gated("news", subject="user_id")
        def letters(user_id: str) -> None:
            for part in ("greeting", "letter"):
                kit.of(user_id).check("news")
                sent.append(part)
                rename(kit, "consentkit_state", "gone")

        kit.give("u-1", "news")
        assert "GateUnavailable" in failure(letters.delay("u-1"))
        assert sent == ["greeting"]


def rename(kit: Kit, old: str, new: str) -> None:
    kit.runtime.database.write(lambda tx: tx.count(f"ALTER TABLE {old} RENAME TO {new}"))


class TestSqlite(OnSqlite, CelerySuite): ...


class TestPostgresql(OnPostgresql, CelerySuite): ...


# ---------------------------------------------------------------- with Flask


def make_app(folder: Path) -> tuple[Flask, ConsentKit]:
    app, kit = Flask("host", instance_path=str(folder)), ConsentKit(purposes=[Purpose("news", title="News")])
    app.config.update(SECRET_KEY="a key for tests", TESTING=True)
    kit.init_app(app)
    return app, kit


def test_with_the_only_app_and_with_an_app_context(
    tmp_path: Path, task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "_apps", WeakSet())  # other tests' apps may live on
    app, kit = make_app(tmp_path / "a")

    @gated("news", subject="user_id")
    def letter(user_id: str) -> str:
        return f"sent to {user_id}"

    plain = task()(letter)

    @task()
    def in_context(user_id: str) -> str:
        with app.app_context():
            return letter(user_id)

    kit.give("u-1", "news")
    assert plain.delay("u-1").get(timeout=PATIENCE, interval=0.02) == "sent to u-1"
    assert in_context.delay("u-1").get(timeout=PATIENCE, interval=0.02) == "sent to u-1"
    other, _ = make_app(tmp_path / "b")
    assert "nothing is processed" in failure(plain.delay("u-1"))
    assert in_context.delay("u-1").get(timeout=PATIENCE, interval=0.02) == "sent to u-1"
    assert other is not app


def test_the_task_goes_above_the_gate(task: Any, tmp_path: Path) -> None:
    _, kit = make_app(tmp_path)

    for queued in (task()(deliver), shared_task(name=uuid.uuid4().hex)(deliver)):
        for gate in (kit.gated, gated):
            with pytest.raises(ConsentKitError, match="task's decorator above @gated"):
                gate("news", subject="user_id")(queued)
    assert callable(shared_task(name=uuid.uuid4().hex)(gated("news", subject="user_id")(deliver)).delay)


def test_called_and_applied_the_gate_is_asked_too(task: Any, tmp_path: Path) -> None:
    _, kit = make_app(tmp_path)
    letter = task()(kit.gated("news", subject="user_id")(deliver))
    with pytest.raises(ConsentMissing):
        letter("u-1")
    assert letter.apply(args=["u-1"]).state == "FAILURE"
    kit.give("u-1", "news")
    assert (letter("u-1"), letter.apply(args=["u-1"]).result) == ("u-1", "u-1")
