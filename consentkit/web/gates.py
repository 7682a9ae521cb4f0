"""Gates for views, and `gated` for every other callable."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar, cast

from flask import current_app, request
from werkzeug.local import LocalProxy

from consentkit import kit_gated
from consentkit.core.errors import ChoiceRejected, ConsentKitError
from consentkit.core.gate import Decision
from consentkit.core.terms import Method, Reason
from consentkit.kit_declared import MARK, put_behind
from consentkit.kit_gated import Asker
from consentkit.web.current import CurrentConsents, current
from consentkit.web.state import OURS, find_kit

if TYPE_CHECKING:
    from consentkit.extension import ConsentKit

F = TypeVar("F", bound=Callable[..., Any])
WITHOUT = "__consentkit_ungated__"

current_consents = cast(CurrentConsents, LocalProxy(current))
"""The consents of this request's visitor."""


def requires_consent(*items: str) -> Callable[[F], F]:
    """A gate before a view: every one of these purposes or categories must be allowed.

    Blocked: problem+json, or for a browser the page where one can answer (see the chapter on gates).
    """
    return _gate(items, "requires_consent")


def requires_acceptance(*policies: str) -> Callable[[F], F]:
    """A gate before a view: each of these policies or bundles must be accepted in its present version."""
    return _gate(policies, "requires_acceptance")


def gated(
    *items: str, subject: str, skip: bool = False, tenant: str | None = None, scope: str | None = None
) -> Callable[[F], F]:
    """A gate around any callable, a job say, asked when it RUNS, by the app context's kit or the only one.

    `subject` (and `scope`) name the argument that holds the id. Blocked: raises ConsentMissing;
    `skip=True`: returns None.
    """
    return gated_by(find_kit, items, subject=subject, skip=skip, tenant=tenant, scope=scope)


def gated_by(
    find: Callable[[], Asker | None],
    items: tuple[str, ...],
    *,
    subject: str,
    skip: bool,
    tenant: str | None,
    scope: str | None,
) -> Callable[[F], F]:
    """`gated` with a way to find the kit."""
    return kit_gated.gated(find, items, subject, skip=skip, tenant=tenant, scope=scope)


def _gate(items: tuple[str, ...], name: str) -> Callable[[F], F]:
    if not items or not all(isinstance(item, str) for item in items):
        raise ConsentKitError(f"{name}() needs the key of what is required, such as @{name}('terms')")

    def decorate(view: F) -> F:
        if isinstance(view, type):
            raise ConsentKitError(
                f"{name}(): put it into `decorators` of {view.__qualname__}, not on the class"
            )
        _refuse_both(view, WITHOUT)

        @functools.wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            if _runs_no_view_of_the_host():
                return None
            consents = current()
            if name == "requires_acceptance":
                _go_on_using(consents, items)
            no = kit_gated.first_no(consents.state.kit, consents, items)
            if no is not None:
                raise no
            return current_app.ensure_sync(view)(*args, **kwargs)

        setattr(guarded, MARK, (*getattr(view, MARK, ()), *items))
        put_behind(view)
        return cast(F, guarded)

    return decorate


def _runs_no_view_of_the_host() -> bool:
    """Whether a gate can only be here as a hook of `before_request`, before what no gate may close.

    Our own pages are where one answers; the OPTIONS that Flask answers by itself say what a view would take, and a
    browser asks for them without cookies.
    """
    if request.blueprint in OURS:
        return True
    return request.method == "OPTIONS" and getattr(request.url_rule, "provide_automatic_options", False)


def ungated(reason: str) -> Callable[[F], F]:
    """Say why a view has no gate, for `flask consent routes`: `@ungated("health check, reads nothing")`.

    It changes nothing. On a function of `Blueprint.before_request` it speaks for the whole blueprint.
    Raises ConsentKitError without a reason, and on a view that has a gate.
    """
    if not isinstance(reason, str) or not reason.strip():
        raise ConsentKitError('ungated() needs the reason, such as @ungated("health check, reads nothing")')

    def decorate(view: F) -> F:
        _refuse_both(view, MARK)
        setattr(view, WITHOUT, reason.strip())
        return view

    return decorate


def _refuse_both(view: Callable[..., Any], mark: str) -> None:
    if hasattr(view, mark):
        raise ConsentKitError(
            f"{getattr(view, '__qualname__', view)} has a gate and ungated(): leave one of them out"
        )


def _go_on_using(consents: CurrentConsents, items: tuple[str, ...]) -> None:
    """Going on using the service after a change accepts it, where the version in force says so.

    A gate only reads. This is not the gate: it is the one step before it that may write, and it records what
    has just happened, somebody who was told of the change in time uses the service after its date. It acts
    for a known subject only, when nothing but outdated acceptances stands in the way.
    """
    kit, subject = consents.state.kit, consents.subject
    denials = [found for found in map(consents.look, items) if not found.allowed]
    if subject is None or not denials or not all(_is_accepted_by_use(kit, denial) for denial in denials):
        return
    with suppress(ChoiceRejected):  # such as a child, for whom a guardian has to answer
        kit.continue_use(subject)


def _is_accepted_by_use(kit: ConsentKit, denial: Decision) -> bool:
    if denial.reason is not Reason.OUTDATED:
        return False
    release = kit.policy_in_effect(denial.item)
    return release is not None and Method.CONTINUED_USE in release.acceptance
