"""`gated`: a gate around any callable, asked when it runs (a job, a cron task, a coroutine)."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar, cast

from consentkit.core.catalog import Catalog
from consentkit.core.errors import ConsentKitError, ConsentMissing
from consentkit.core.gate import Decision, lowest
from consentkit.kit_declared import JOB, MARK, declare, put_behind
from consentkit.kit_read import missing
from consentkit.kit_wrapped import name_of, place_of, refuse_around, wrapped
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

    def decided(self, asked: str, decision: Decision, subject: str | None, tenant: str = "") -> Decision:
        """Tell whoever listens what was asked and answered."""


class Asked(Protocol):
    """The consents of one subject."""

    @property
    def subject(self) -> str | None:
        """Whose they are."""

    def look(self, item: str, *, scope: str = "") -> Decision:
        """The gate's answer, told to nobody."""


def gated(
    find_kit: Callable[[], Asker | None],
    items: tuple[str, ...],
    subject: str,
    *,
    skip: bool,
    tenant: str | None,
    scope: str | None,
    kit: Asker | None = None,
) -> Callable[[F], F]:
    """A decorator that asks for `items` each time the callable runs, before its body.

    `subject` and `scope` name arguments of the callable. Blocked: raises ConsentMissing, with `skip` returns None
    (a generator: has no items). `kit`: the one that `find_kit` always finds, if there is such a one; it has to know
    the keys. Raises UnknownPurpose, ConsentKitError.
    """
    if not items or not all(isinstance(item, str) for item in items):
        raise ConsentKitError(
            "gated() needs the key of a purpose, such as gated('newsletter', subject='user_id')"
        )
    if kit is not None:
        for item in items:
            kit.catalog.items_of(item)

    def decorate(function: F) -> F:
        refuse_around(function)
        signature = inspect.signature(function)
        _check_argument(function, signature, subject, "subject")
        if scope is not None:
            _check_argument(function, signature, scope, "scope")

        def stop(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
            given = _arguments(function, signature, args, kwargs)
            who, thing = given[subject], given[scope] if scope is not None else None
            kit = _found(find_kit())
            about = kit.of(None if who is None else str(who) or None, tenant=tenant)
            where = "" if thing is None else str(thing)
            no = first_no(kit, about, items, tenant=tenant or "", scope=where)
            if no is not None and not skip:
                raise no
            return no is not None

        found: Any = wrapped(function, stop)
        found.__signature__ = signature  # Celery reads it to refuse wrong arguments when a task is queued
        setattr(found, MARK, (*getattr(function, MARK, ()), *items))
        declare(found, JOB, place_of(function), items, kit=kit)
        put_behind(function)
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


def first_no(
    kit: Asker, about: Asked, items: Sequence[str], *, tenant: str = "", scope: str = ""
) -> ConsentMissing | None:
    """Put keys to the gate: the error of the denial with the lowest rule, None where all of them are allowed.

    Listeners hear of every no, and of the yeses only where there is no no: what is stopped was not allowed.
    """
    answers = [(item, about.look(item, scope=scope)) for item in items]
    denials = [answer for answer in answers if not answer[1].allowed]
    for item, decision in denials or answers:
        kit.decided(item, decision, about.subject, tenant)
    if not denials:
        return None
    no = lowest([decision for _, decision in denials])
    blocked(kit, no, about.subject)
    return missing(no, kit.catalog, about.subject, tenant)


def _check_argument(function: object, signature: inspect.Signature, name: str, holds: str) -> None:
    found = next((each for each in signature.parameters.values() if each.name == name), None)
    if found is None:
        raise ConsentKitError(
            f"gated(): {name_of(function)}() has no argument {name!r} to take the {holds} from"
        )
    if found.kind in (found.VAR_POSITIONAL, found.VAR_KEYWORD):
        raise ConsentKitError(
            f"gated(): {name!r} of {name_of(function)}() is no single argument to take the {holds} from"
        )


def _arguments(
    function: object, signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """What a call gives, by name."""
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{name_of(function)}(): {error}") from None
    bound.apply_defaults()
    return bound.arguments


def _found(kit: Asker | None) -> Asker:
    if kit is None:
        raise ConsentKitError(
            "gated(): no app context and not exactly one initialised app, so nothing is processed"
        )
    return kit
