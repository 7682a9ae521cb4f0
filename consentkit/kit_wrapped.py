"""A question before the body of a callable, of whatever kind: asked when the body begins to run.

A coroutine runs when it is awaited, a generator when its first item is taken: later than it is called, and until
then somebody may have withdrawn.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from typing import Any

from consentkit.core.errors import ConsentKitError

Blocked = Callable[[tuple[Any, ...], dict[str, Any]], bool]
"""Asks with the arguments of a call. True: leave the body out. Raises where a no is an error."""

_QUEUED = ("apply_async", "send_with_options", "call_local")  # Celery, Dramatiq, Huey


def wrapped(function: Callable[..., Any], blocked: Blocked) -> Callable[..., Any]:
    """The callable with the question before it. A generator that is blocked is empty, all else gives None."""
    body = _body(function)
    if inspect.isasyncgenfunction(body):
        found = _async_generator(function, blocked)
    elif inspect.isgeneratorfunction(body):
        found = _generator(function, blocked)
    else:
        found = (_coroutine if inspect.iscoroutinefunction(body) else _function)(function, blocked)
    return functools.wraps(function)(found)


def _body(function: object) -> Any:
    """The function that runs when a callable is called."""
    inner = _without_arguments(function)
    return inner if inspect.isroutine(inner) else type(inner).__call__


def refuse_around(function: object) -> None:
    """Raise ConsentKitError for what would be gated by name only: a queue runs what lies under the gate."""
    name = name_of(function)
    if isinstance(function, type):
        raise ConsentKitError(f"gated(): {name} is a class: put the gate around its methods")
    if isinstance(function, (classmethod, staticmethod)):
        kind = type(function).__name__
        raise ConsentKitError(f"gated(): write @{kind} above @gated, not below it, for {name}()")
    if any(hasattr(function, attribute) for attribute in _QUEUED):
        raise ConsentKitError(
            f"gated(): {name} is a task of a queue, whose worker would run it without the gate: "
            "write the task's decorator above @gated, so that the gate is part of the task"
        )


def name_of(function: object) -> str:
    """How a callable is called, for people."""
    inner = _without_arguments(function)
    return str(getattr(inner, "__qualname__", type(inner).__qualname__))


def place_of(function: object) -> str:
    """Module and name of a callable; of a lambda the line, too, because they are all called the same."""
    inner = _without_arguments(function)
    name, code = name_of(inner), getattr(inner, "__code__", None)
    line = f":{code.co_firstlineno}" if name.endswith("<lambda>") and code is not None else ""
    return f"{getattr(inner, '__module__', None)}.{name}{line}"


def _without_arguments(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _function(function: Callable[..., Any], blocked: Blocked) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        if blocked(args, kwargs):
            return _nothing(function)
        return _asked_again(function(*args, **kwargs), lambda: blocked(args, kwargs))

    return run


def _asked_again(made: Any, blocked: Callable[[], bool]) -> Any:
    """What a plain function made of a body that has not begun: a decorator that is itself no coroutine hands it on."""
    if inspect.iscoroutine(made):
        return _awaited(made, blocked)
    if inspect.isgenerator(made):
        return _generator(lambda: made, lambda *_: blocked())()
    if inspect.isasyncgen(made):
        return _async_generator(lambda: made, lambda *_: blocked())()
    return made


async def _awaited(made: Coroutine[Any, Any, Any], blocked: Callable[[], bool]) -> Any:
    try:
        return None if blocked() else await made
    finally:
        made.close()


def _nothing(function: Callable[..., Any]) -> Any:
    """None; and where a coroutine would have been awaited, by all that can be told, one that gives None."""
    if not inspect.iscoroutinefunction(_body(inspect.unwrap(_without_arguments(function)))):
        return None
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # the decorator between runs the coroutine itself
        return None
    return _coroutine(function, lambda *_: True)()


def _coroutine(function: Callable[..., Any], blocked: Blocked) -> Callable[..., Any]:
    async def run(*args: Any, **kwargs: Any) -> Any:
        return None if blocked(args, kwargs) else await function(*args, **kwargs)

    return run


def _generator(function: Callable[..., Any], blocked: Blocked) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        return None if blocked(args, kwargs) else (yield from function(*args, **kwargs))

    return run


def _async_generator(function: Callable[..., Any], blocked: Blocked) -> Callable[..., Any]:
    """What `yield from` does, written out: asynchronous generators have none (PEP 525)."""

    async def run(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        if blocked(args, kwargs):
            return
        inner = function(*args, **kwargs)
        step = inner.asend(None)
        while True:
            try:
                item = await step
            except StopAsyncIteration:
                return
            try:
                step = inner.asend((yield item))
            except GeneratorExit:
                await inner.aclose()
                raise
            except BaseException as error:
                step = inner.athrow(error)

    return run
