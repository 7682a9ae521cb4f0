"""Assertions about gates: what was stopped, what was not, and that nothing was processed."""

# ruff: noqa: S101 - to assert is what it is for
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from flask import Flask
from werkzeug.wrappers import Response

from consentkit.core.errors import CatalogError, ConsentMissing
from consentkit.core.gate import Decision
from consentkit.core.terms import Basis
from consentkit.kit import Kit
from consentkit.kit_read import Answers
from consentkit.signals import decision_made, processing_blocked
from consentkit.web.problems import TYPE
from consentkit.web.state import _apps, find_kit, state_of

_BLOCKED = tuple(TYPE + kind for kind in ("consent-missing", "acceptance-missing", "store-unavailable"))


def assert_blocked(what: Response | Decision | Callable[[], object], reason: str | None = None) -> None:
    """Assert that consentkit stopped it, for this reason.

    `what`: a response; a decision; or a callable, which is called: it is blocked when a gate in it says no,
    whether that raises ConsentMissing or is skipped. A redirect or a page names no reason: with `reason` let
    the client ask for JSON, or pass a callable (`lambda: client.get("/letters")`).
    """
    blocked, found, seen = _outcome(what)
    assert blocked, f"not blocked: {seen}"
    if reason is not None:
        assert found is not None, (
            f"blocked, but {seen} names no reason: pass a callable that makes the request"
        )
        assert found == reason, f"blocked by {found}, not by {reason}"


def assert_allowed(what: Response | Decision | Callable[[], object]) -> None:
    """Assert that no gate stopped it; a response must not be an error of another kind either."""
    blocked, found, seen = _outcome(what)
    assert not blocked, f"blocked{f' by {found}' if found else ''}: {seen}"
    if isinstance(what, Response):
        assert what.status_code < 400, f"no gate stopped it, but it failed: {seen}"


def _outcome(what: Response | Decision | Callable[[], object]) -> tuple[bool, str | None, str]:
    """Whether it was blocked, for which reason, and what was seen."""
    if isinstance(what, Decision):
        return not what.allowed, what.reason.value, repr(what)
    if isinstance(what, Response):
        return _outcome_of_response(what)
    decisions: list[Decision] = []

    def heard(_kit: object, decision: Decision, **_: object) -> None:
        decisions.append(decision)

    with processing_blocked.connected_to(heard):
        try:
            result = what()
        except ConsentMissing as error:
            decisions.append(error.decision)
            result = error
    if decisions:
        return True, decisions[0].reason.value, repr(decisions[0])
    if isinstance(result, Response | Decision):
        return _outcome(result)
    return False, None, f"returned {result!r}"


def _outcome_of_response(response: Response) -> tuple[bool, str | None, str]:
    seen = f"{response.status}"
    if response.mimetype == "application/problem+json":
        problem: dict[str, Any] = response.get_json()
        return problem.get("type") in _BLOCKED, problem.get("reason"), f"{seen} {problem.get('detail', '')}"
    location = response.headers.get("Location")
    if location is not None:
        return _leads_to_us(response, location), None, f"{seen} to {location}"
    ours = response.status_code in (403, 503) and "ck-page" in response.get_data(as_text=True)
    return ours, None, seen


def _leads_to_us(response: Response, location: str) -> bool:
    """Whether a redirect leads from a page of the host to one of ours, where one can answer."""
    request = getattr(response, "request", None)
    root = request.script_root if request is not None else ""
    path = urlsplit(location).path
    asking = [root + state_of(app).settings.url_prefix for app in _apps]
    return response.status_code == 303 and any(
        path == prefix or path.startswith(f"{prefix}/accept/") for prefix in asking
    )


@contextmanager
def assert_no_processing(
    *items: str, subject: str | None = None, kit: Kit | Flask | None = None
) -> Iterator[list[Decision]]:
    """Assert that inside the block no gate said yes to these purposes, categories or policies.

    ::

        with assert_no_processing("analytics", subject="u-42") as asked:
            client.get("/")
            nightly_report()
        assert asked  # at least one gate was asked, and said no

    Without `items`: to none of the purposes that rest on consent. `subject`: only what was asked about this
    one; `kit`: only of this kit or app. Every question counts that was asked while the block runs, also in
    other threads: decorators, `gated`, outgoing calls, response cookies, `allows` in a view or template, the API. It
    cannot see code that asks nobody: `flask consent routes --fail-undeclared` finds such views. Gives the denials.
    Raises UnknownPurpose for a key that the catalogue does not have.
    """
    only = state_of(kit).kit if isinstance(kit, Flask) else kit
    known = only or find_kit()
    for item in items if known is not None else ():
        known.catalog.items_of(item)  # type: ignore[union-attr]
    asked: list[Decision] = []
    processed: list[str] = []

    def heard(sender: Answers, asked_for: str, decision: Decision, about: str | None) -> None:
        if only not in (None, sender) or (subject is not None and about != subject):
            return
        if not _meant(sender, items, asked_for):
            return
        if decision.allowed:
            processed.append(f"{asked_for!r} for {about!r} ({decision.reason})")
        else:
            asked.append(decision)

    def receive(sender: Answers, **said: Any) -> None:
        heard(sender, said["asked"], said["decision"], said["subject"])

    with decision_made.connected_to(receive):
        yield asked
    assert not processed, f"processed: a gate allowed {', '.join(processed)}"


def _meant(kit: Answers, items: tuple[str, ...], asked: str) -> bool:
    """Whether a question was about what is watched; a category means its purposes, on either side."""
    catalog = kit.runtime.catalog
    about = {(item.kind, item.key) for item in catalog.items_of(asked)}
    if not items:
        return any(
            key in catalog.purposes and catalog.purposes[key].basis is Basis.CONSENT for _, key in about
        )
    watched = set()
    for item in items:
        try:
            watched |= {(found.kind, found.key) for found in catalog.items_of(item)}
        except CatalogError:
            continue  # of another kit
    return asked in items or bool(about & watched)
