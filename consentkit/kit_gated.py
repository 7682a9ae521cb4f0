"""`gated`: a gate around any callable, asked when it runs (a job, a cron task, a coroutine)."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

from consentkit.core.catalog import Catalog
from consentkit.core.errors import ConsentKitError, ConsentMissing
from consentkit.core.gate import Decision
from consentkit.kit_declared import JOB, MARK, declare
from consentkit.kit_read import missing
from consentkit.kit_wrapped import name_of, refuse_around, wrapped
from consentkit.logs import log
from consentkit.signals import processing_blocked, tell

F = TypeVar("F", bound=Callable[..., Any])


class Asker(Protocol):
    """Whoever can be asked for the decisions of a subject."""

    @property
    def catalog(self) -> Catalog:
        """What is asked."""

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
    """A decorator that asks for `items` each time the callable runs, before its body.

    `subject` and `scope` name arguments of the callable. Blocked: raises ConsentMissing, with `skip` returns None
    (a generator: has no items). `kit`: the one that `find_kit` always finds, if there is such a one.
    """
    if not items:
        raise ConsentKitError(
            "gated() needs the key of a purpose, such as gated('newsletter', subject='user_id')"
        )

    def decorate(function: F) -> F:
        refuse_around(function)
        signature = inspect.signature(function)
        for name in filter(None, (subject, scope)):
            if name not in signature.parameters:
                raise ConsentKitError(
                    f"gated(): {name_of(function)}() has no argument {name!r} to take the subject from"
                )

        def stop(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            who = bound.arguments[subject]
            where = str(bound.arguments[scope]) if scope else ""
            no = _first_no(find_kit(), items, None if who is None else str(who) or None, tenant, where)
            if no is not None and not skip:
                raise no
            return no is not None

        found: Any = wrapped(function, stop)
        found.__signature__ = signature  # Celery reads it to refuse wrong arguments when a task is queued
        setattr(found, MARK, (*getattr(function, MARK, ()), *items))
        declare(found, JOB, f"{function.__module__}.{name_of(function)}", items, kit=kit)
        return cast(F, found)

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
) -> ConsentMissing | None:
    """The error for the first item that is not allowed."""
    if kit is None:
        raise ConsentKitError(
            "gated(): no app context and not exactly one initialised app, so nothing is processed"
        )
    for item in items:
        decision: Decision = kit.of(subject, tenant=tenant).decide(item, scope=scope)
        if not decision.allowed:
            blocked(kit, decision, subject)
            return missing(decision, kit.catalog)
    return None
