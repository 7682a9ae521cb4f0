"""Assertions about one thing: a gate stopped it, or none did."""

# ruff: noqa: S101 - to assert is what it is for
from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any

from werkzeug.wrappers import Response

from consentkit.core.errors import ConsentMissing
from consentkit.core.gate import Decision
from consentkit.signals import decision_made, processing_blocked
from consentkit.web.problems import STOPPED, TYPE

_BLOCKED = tuple(TYPE + kind for kind in ("consent-missing", "acceptance-missing", "store-unavailable"))


@dataclass(frozen=True)
class _Seen:
    """What came of it. `failed`: for another reason than a gate."""

    blocked: bool
    reason: str | None
    text: str
    failed: bool = False


def assert_blocked(what: Response | Decision | Callable[[], object], reason: str | None = None) -> None:
    """Assert that consentkit stopped it, for this reason.

    `what`: a response; a decision; or a callable, which is called, and what it gives is run: a coroutine to its end, a
    generator to its first item. It is blocked when a gate in it says no, whether that raises ConsentMissing, is
    skipped, or is what it returns (`allows`). A redirect, a page or an answer to HEAD names no reason: with `reason`
    let the client ask for JSON, or pass a callable (`lambda: client.get("/letters")`).
    """
    seen = _seen(what)
    assert seen.blocked, f"not blocked: {seen.text}"
    if reason is not None:
        assert seen.reason is not None, (
            f"blocked, but {seen.text} names no reason: pass a callable that makes the request"
        )
        assert seen.reason == reason, f"blocked by {seen.reason}, not by {reason}"


def assert_allowed(what: Response | Decision | Callable[[], object]) -> None:
    """Assert that no gate stopped it, nor a request on the way to it.

    A response must not be an error of another kind either, and what a callable returns not be False.
    """
    seen = _seen(what)
    assert not seen.blocked, f"blocked{f' by {seen.reason}' if seen.reason else ''}: {seen.text}"
    assert not seen.failed, f"no gate stopped it, but it failed: {seen.text}"


def _seen(what: Response | Decision | Callable[[], object]) -> _Seen:
    if isinstance(what, Decision):
        return _Seen(not what.allowed, what.reason.value, repr(what))
    if isinstance(what, Response):
        each = [_seen_in(response) for response in (*getattr(what, "history", ()), what)]
        return next((seen for seen in each if seen.blocked), each[-1])
    return _called(what)


def _called(what: Callable[[], object]) -> _Seen:
    """What came of a call. A no that nobody heeded blocks nothing, unless it is what the call returns."""
    stopped: list[Decision] = []
    denied: list[Decision] = []

    def stop(_kit: object, decision: Decision, **_: object) -> None:
        stopped.append(decision)

    def deny(_kit: object, decision: Decision, **_: object) -> None:
        if not decision.allowed:
            denied.append(decision)

    with processing_blocked.connected_to(stop), decision_made.connected_to(deny):
        try:
            result: object = _run(what())
        except ConsentMissing as error:
            result = error.decision
    said = stopped or (denied if result is False else [])
    if said:
        return _seen(said[0])
    if isinstance(result, Response | Decision):
        return _seen(result)
    return _Seen(False, None, f"returned {result!r}", failed=result is False)


def _run(made: object) -> object:
    """What it gives when it runs: a job that was only called has not begun."""
    if inspect.isawaitable(made):
        return _run(_awaited(_value(made)))
    if isinstance(made, AsyncIterator):
        _awaited(_begin(made))
    elif isinstance(made, Iterator):
        next(made, None)
    return made


def _awaited(what: Coroutine[Any, Any, Any]) -> Any:
    """In a thread of its own: there may be an event loop in this one, which is waiting for the test."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(copy_context().run, asyncio.run, what).result()


async def _value(made: Awaitable[Any]) -> Any:
    return await made


async def _begin(items: AsyncIterator[Any]) -> None:
    await anext(items, None)


def _seen_in(response: Response) -> _Seen:
    """A response by itself, without those that led to it."""
    location = response.headers.get("Location")
    is_problem = response.mimetype == "application/problem+json"
    problem: dict[str, Any] = (is_problem and response.get_json(silent=True)) or {}  # HEAD has no body
    words = (response.status, f"to {location}" if location else None, problem.get("detail"))
    return _Seen(
        blocked=STOPPED in response.headers or problem.get("type") in _BLOCKED,
        reason=problem.get("reason"),
        text=" ".join(filter(None, words)),
        failed=response.status_code >= 400,
    )
