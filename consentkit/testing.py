"""Helpers for the test suite of an app that uses consentkit.

::

    @pytest.fixture
    def app(tmp_path):
        app = create_app(temporary_database(tmp_path))
        app.test_client_class = ConsentClient
        prepare(app)
        return app

    def test_the_letter_needs_consent(app):
        client = app.test_client()
        assert_blocked(client.get("/letters"), "NO_ANSWER")
        client.choose("accept-all")
        assert_allowed(client.get("/letters"))

    def test_consent_ends(app):
        with frozen_clock(app, datetime(2026, 1, 1, tzinfo=UTC)) as clock:
            given(app, "u-42", "newsletter")
            assert_allowed(lambda: send_letter("u-42"))
            clock.move(timedelta(days=200))
            assert_blocked(lambda: send_letter("u-42"), "EXPIRED")

Where a kit is asked for, an app will do: then its app context is opened.
"""

# ruff: noqa: S101 - to assert is what it is for
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar, Unpack
from urllib.parse import urlsplit

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse
from werkzeug.wrappers import Response

from consentkit.core.errors import ConsentMissing
from consentkit.core.gate import Decision
from consentkit.core.record import VISITOR, Event
from consentkit.core.times import from_us, to_us
from consentkit.kit import Kit
from consentkit.kit_record import How
from consentkit.runtime import Runtime
from consentkit.signals import processing_blocked
from consentkit.web.problems import TYPE
from consentkit.web.state import State, _apps, state_of

__all__ = [
    "ConsentClient",
    "FrozenClock",
    "assert_allowed",
    "assert_blocked",
    "frozen_clock",
    "given",
    "prepare",
    "temporary_database",
]

T = TypeVar("T")
_BLOCKED = tuple(TYPE + kind for kind in ("consent-missing", "acceptance-missing", "store-unavailable"))
_VISITOR_COOKIES = ("consent", "__Host-consent", "__Secure-consent")


def temporary_database(folder: str | PathLike[str]) -> dict[str, Any]:
    """Configuration for a ledger of the test's own: a SQLite file in `folder`, such as pytest's `tmp_path`.

    Give it to the app before `init_app`, then call `prepare`.
    """
    return {"CONSENTKIT_DATABASE_URL": f"sqlite:///{Path(folder).resolve() / 'consentkit.sqlite3'}"}


def prepare(kit: Kit | Flask) -> None:
    """Make the tables and publish the catalogue, as a deployment does. Raises CatalogError."""
    with _opened(kit) as opened:
        opened.runtime.upgrade()
        opened.runtime.publish()


def given(kit: Kit | Flask, subject: str, *items: str, **how: Unpack[How]) -> list[Event]:
    """Record consent to purposes and categories, and acceptance of policies and bundles.

    `how` as for every verb: `at=`, `method=`, `actor=`, `scope=`, …. Without `method=` each policy is
    accepted in a way that it allows. Returns the events, in the order of `items`.
    """
    with _opened(kit) as opened:
        return [event for item in items for event in _given(opened, subject, item, how)]


def _given(kit: Kit, subject: str, item: str, how: How) -> list[Event]:
    catalog, runtime = kit.catalog, kit.runtime
    if item not in catalog.policies and item not in catalog.bundles:
        return kit.choose(subject, give=[purpose.key for purpose in catalog.purposes_of(item)], **how)
    events = []
    for policy in catalog.policies_of(item):
        release = kit.policy_in_effect(policy.key, how.get("at"))
        assert release is not None, f"{policy.key!r} is not published: call consentkit.testing.prepare first"
        wanted = how.get("locale") or runtime.catalog.site.default_locale
        text = release.texts.get(wanted, release.texts[runtime.catalog.site.default_locale])
        methods = release.acceptance
        said: How = {"method": "code" if "code" in methods else methods[0], **how}
        events += kit.accept_shown(subject, {policy.key: said.pop("notice", None) or text}, **said)
    return events


class FrozenClock:
    """The time of one ledger, which stands still until it is moved."""

    def __init__(self, runtime: Runtime, at: datetime) -> None:
        self._runtime = runtime
        self.move(at)

    @property
    def now(self) -> datetime:
        """The moment at which the clock stands."""
        return from_us(self._us)

    def move(self, to: datetime | timedelta) -> datetime:
        """Go to a moment, or on by a duration, and return where the clock stands then."""
        self._us = to_us(self.now + to if isinstance(to, timedelta) else to)
        us = self._us
        _set_clock(self._runtime, lambda: us)
        return self.now


@contextmanager
def frozen_clock(kit: Kit | Flask, at: datetime) -> Iterator[FrozenClock]:
    """Freeze the clock by which answers are recorded and decided; `at` is an aware datetime.

    Of two answers the later one counts, so go forward, not back behind answers that are recorded. Answers
    at one frozen moment are some microseconds apart, in their order.
    Only the ledger's time stands still: cookies and sessions go by the machine's clock.
    """
    with _opened(kit) as opened:
        runtime = opened.runtime
    before = runtime.clock.now
    try:
        yield FrozenClock(runtime, at)
    finally:
        _set_clock(runtime, before)


def _set_clock(runtime: Runtime, now: Callable[[], int]) -> None:
    runtime.clock.now = now
    runtime._rulebook = None  # it was made for another moment, perhaps a later one


class ConsentClient(FlaskClient):
    """A test client that answers as a visitor does: `app.test_client_class = ConsentClient`.

    An answer that is refused raises AssertionError with the reason.
    """

    @property
    def visitor(self) -> str | None:
        """The id of this client's visitor in the ledger; None before the first answer."""
        config = self.application.config
        domains = [config.get("CONSENTKIT_COOKIE_DOMAIN"), config.get("SERVER_NAME"), "localhost"]
        for domain in filter(None, domains):
            for name in _VISITOR_COOKIES:
                cookie = self.get_cookie(name, domain=domain.lstrip(".").split(":")[0])
                if cookie is not None:
                    return VISITOR + cookie.value.rsplit(".", 2)[0]
        return None

    def choose(
        self,
        decision: str,
        *,
        categories: Sequence[str] = (),
        purposes: Sequence[str] = (),
        locale: str | None = None,
    ) -> TestResponse:
        """Answer the banner: accept-all, reject-all, withdraw-all, or save with what is ticked."""
        form = {"decision": decision, "category": list(categories), "purpose": list(purposes)}
        notice = self._state.kit.notice(locale).digest
        return self._answer("", {**form, "notice": notice}, locale)

    def accept(self, key: str, *, locale: str | None = None) -> TestResponse:
        """Accept a policy, or a bundle, on its page, with the texts that are in force."""
        return self._answer(
            f"/accept/{key}", {"decision": "accept", "agree": "1", **self._shown(key)}, locale
        )

    def decline(self, key: str) -> TestResponse:
        """Decline a policy, or a bundle, on its page."""
        return self._answer(f"/accept/{key}", {"decision": "decline"}, None)

    def _shown(self, key: str) -> dict[str, list[str]]:
        with _opened(self.application) as kit:
            default = kit.catalog.site.default_locale
            releases = [kit.policy_in_effect(policy.key) for policy in kit.catalog.policies_of(key)]
            return {"notice": [f"{r.policy}:{r.texts[default]}" for r in releases if r is not None]}

    def _answer(self, path: str, form: dict[str, Any], locale: str | None) -> TestResponse:
        if locale is not None:
            form["locale"] = locale
        headers = {"Accept": "application/json", "Sec-Fetch-Site": "same-origin"}
        response = self.post(self._state.settings.url_prefix + path, data=form, headers=headers)
        assert response.status_code < 400, f"the answer was refused: {response.status} {response.text}"
        return response

    @property
    def _state(self) -> State:
        return state_of(self.application)


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
def _opened(kit: Kit | Flask) -> Iterator[Kit]:
    with ExitStack() as stack:
        if isinstance(kit, Flask):
            stack.enter_context(kit.app_context())
            yield state_of(kit).kit
        else:
            yield kit
