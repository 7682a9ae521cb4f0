"""A ledger of the test's own: its place, its tables, answers in it, its time."""

# ruff: noqa: S101 - to assert is what it is for
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from os import PathLike
from pathlib import Path
from typing import Any, Unpack

from flask import Flask

from consentkit.core.gate import Decision
from consentkit.core.record import Event
from consentkit.core.times import from_us, to_us
from consentkit.kit import Kit
from consentkit.kit_record import How
from consentkit.runtime import Runtime
from consentkit.web.state import state_of


@contextmanager
def kit_of(kit: Kit | Flask) -> Iterator[Kit]:
    """The kit, in the app context where an app is given."""
    with ExitStack() as stack:
        if isinstance(kit, Flask):
            stack.enter_context(kit.app_context())
            yield state_of(kit).kit
        else:
            yield kit


def temporary_database(folder: str | PathLike[str]) -> dict[str, Any]:
    """Configuration for a ledger of the test's own: a SQLite file in `folder`, such as pytest's `tmp_path`.

    Give it to the app before `init_app`, then call `prepare`.
    """
    return {"CONSENTKIT_DATABASE_URL": f"sqlite:///{Path(folder).resolve() / 'consentkit.sqlite3'}"}


def prepare(kit: Kit | Flask) -> None:
    """Make the tables and publish the catalogue, as a deployment does. Raises CatalogError."""
    with kit_of(kit) as opened:
        opened.runtime.upgrade()
        opened.runtime.publish()
        opened.runtime.ensure()


def given(kit: Kit | Flask, subject: str, *items: str, **how: Unpack[How]) -> list[Event]:
    """Record consent to purposes and categories, and acceptance of policies and bundles.

    `how` as for every verb: `at=`, `method=`, `actor=`, `scope=`, …. Without `method=` each policy is
    accepted in a way that it allows. Returns the events, in the order of `items`.
    """
    with kit_of(kit) as opened:
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
    with kit_of(kit) as opened:
        runtime = opened.runtime
    before = runtime.clock.now
    try:
        yield FrozenClock(runtime, at)
    finally:
        _set_clock(runtime, before)


def _set_clock(runtime: Runtime, now: Callable[[], int]) -> None:
    runtime.clock.now = now
    runtime._rulebook = None  # it was made for another moment, perhaps a later one


class AppConsents:
    """What people said to an app, in the app's context: the pytest fixture `consents`."""

    def __init__(self, app: Flask) -> None:
        self._app = app

    def give(self, subject: str, *items: str, **how: Unpack[How]) -> list[Event]:
        """As `given`: purposes, categories, policies and bundles, of accounts and visitors."""
        return given(self._app, subject, *items, **how)

    def refuse(self, subject: str, *items: str, **how: Unpack[How]) -> list[Event]:
        """Record a refusal."""
        with kit_of(self._app) as kit:
            return kit.refuse(subject, items, **how)

    def withdraw(self, subject: str, *items: str, **how: Unpack[How]) -> list[Event]:
        """Record a withdrawal."""
        with kit_of(self._app) as kit:
            return kit.withdraw(subject, items, **how)

    def decide(self, subject: str, item: str) -> Decision:
        """The gate's answer."""
        with kit_of(self._app) as kit:
            return kit.decide(subject, item)

    def events(self, subject: str) -> list[Event]:
        """What the ledger holds about a subject, oldest first."""
        with kit_of(self._app) as kit:
            return kit.ledger.of_subject(subject)
