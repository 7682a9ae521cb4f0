"""`gated`: a gate around any callable, asked when it runs (a job, a cron task, a coroutine)."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

from consentkit.core.errors import ConsentKitError, ConsentMissing
from consentkit.core.gate import Decision
from consentkit.kit_declared import JOB, MARK, declare
from consentkit.logs import log
from consentkit.signals import processing_blocked, tell

F = TypeVar("F", bound=Callable[..., Any])


class Asker(Protocol):
    """Whoever can be asked for the decisions of a subject."""

    def of(self, subject: str | None, *, tenant: str | None = None) -> Any:
        """The consents of a subject."""


def gated(
    find_kit: Callable[[], Asker | None],
    items: tuple[str, ...],
    subject: str,
    *,
    skip: bool,
    tenant: str | None,
    scope: str | None,
    kit: object | None = None,
) -> Callable[[F], F]:
    """A decorator that asks for `items` each time the callable runs.

    `subject` and `scope` name arguments of the callable. Blocked: raises ConsentMissing, with
    `skip` returns None. `kit`: the one that `find_kit` always finds, if there is such a one.
    """
    if not items:
        raise ConsentKitError(
            "gated() needs the key of a purpose, such as gated('newsletter', subject='user_id')"
        )

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        for name in filter(None, (subject, scope)):
            if name not in signature.parameters:
                raise ConsentKitError(
                    f"gated(): {function.__qualname__}() has no argument {name!r} to take the subject from"
                )

        def ask(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Decision | None:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            who = bound.arguments[subject]
            where = str(bound.arguments[scope]) if scope else ""
            return _first_no(find_kit(), items, None if who is None else str(who), tenant, where)

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            return None if _stop(ask(args, kwargs), skip) else function(*args, **kwargs)

        @functools.wraps(function)
        async def run_async(*args: Any, **kwargs: Any) -> Any:
            return None if _stop(ask(args, kwargs), skip) else await function(*args, **kwargs)

        wrapped: Any = run_async if inspect.iscoroutinefunction(function) else run
        setattr(wrapped, MARK, (*getattr(function, MARK, ()), *items))
        declare(wrapped, JOB, f"{function.__module__}.{function.__qualname__}", items, kit=kit)
        return cast(F, wrapped)

    return decorate


def blocked(kit: object, decision: Decision, subject: str | None) -> None:
    """Tell whoever listens that a gate stopped something: every gate calls this once for each no."""
    log(
        logging.DEBUG,
        "processing_blocked",
        "%(item)s is blocked: %(reason)s",
        item=decision.item,
        reason=decision.reason.value,
    )
    tell(processing_blocked, kit, decision=decision, subject=subject)


def _first_no(
    kit: Asker | None, items: tuple[str, ...], subject: str | None, tenant: str | None, scope: str
) -> Decision | None:
    if kit is None:
        raise ConsentKitError(
            "gated(): no app context and not exactly one initialised app, so nothing is processed"
        )
    for item in items:
        decision: Decision = kit.of(subject, tenant=tenant).decide(item, scope=scope)
        if not decision.allowed:
            blocked(kit, decision, subject)
            return decision
    return None


def _stop(decision: Decision | None, skip: bool) -> bool:
    if decision is not None and not skip:
        raise ConsentMissing(decision)
    return decision is not None
