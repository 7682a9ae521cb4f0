"""The assertion that nothing is processed while a block runs."""

# ruff: noqa: S101 - to assert is what it is for
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask

from consentkit.core.errors import CatalogError, UnknownPurpose
from consentkit.core.gate import Decision
from consentkit.core.terms import Basis
from consentkit.kit import Kit
from consentkit.kit_read import Answers
from consentkit.signals import audience_read, decision_made
from consentkit.web.state import find_kit, state_of


@contextmanager
def assert_no_processing(
    *items: str, subject: object = None, kit: Kit | Flask | None = None
) -> Iterator[list[Decision]]:
    """Assert that inside the block no gate said yes to these purposes, categories or policies.

    ::

        with assert_no_processing("analytics", subject="u-42") as asked:
            client.get("/")
            nightly_report()
        assert asked  # at least one gate was asked, and said no

    Without `items`: to none of the purposes that rest on consent. `subject`: only what was asked about this
    one; `kit`: only of this kit or app. Every question counts that was asked while the block runs, also in
    other threads: decorators, `gated`, outgoing calls, response cookies, `allows` in a view or template, the API. An
    audience that is read counts for `subject` as the gate answers; without `subject` it counts as a yes. It
    cannot see code that asks nobody: `flask consent routes --fail-undeclared` finds such views. Gives the denials.
    Raises UnknownPurpose for a key that the catalogue does not have; without `kit` and outside of an app context it may
    be the end of the block before that is known.
    """
    only = state_of(kit).kit if isinstance(kit, Flask) else kit
    known = only or find_kit()
    if known is not None:
        for item in items:
            known.catalog.items_of(item)
    watch = _Watch(items, None if subject is None else str(subject), only)
    with decision_made.connected_to(watch.decided), audience_read.connected_to(watch.read):
        yield watch.denials
    assert not watch.processed, f"processed: a gate allowed {', '.join(watch.processed)}"
    unknown = sorted(set(items) - watch.known)
    if known is None and watch.heard and unknown:
        raise UnknownPurpose(f"no kit that was asked has {', '.join(map(repr, unknown))}")


class _Watch:
    """What was asked meanwhile. `heard`: whether anything was; `known`: the watched keys that a kit has had."""

    def __init__(self, items: tuple[str, ...], subject: str | None, only: Kit | None) -> None:
        self._items, self._subject, self._only = items, subject, only
        self.heard, self.known = False, set[str]()
        self.processed: list[str] = []
        self.denials: list[Decision] = []

    def decided(self, kit: Answers, asked: str, decision: Decision, subject: object, **_: Any) -> None:
        """Hear a question about one."""
        about = None if subject is None else str(subject)
        if self._subject in (None, about) and self._is_meant(kit, asked):
            self._note(asked, decision, subject)

    def read(self, kit: Answers, asked: str, tenant: str, scope: str) -> None:
        """Hear of a question about everybody."""
        if not self._is_meant(kit, asked):
            return
        if self._subject is None:
            self.processed.append(f"{asked!r} for an audience (whose, it does not say: name a subject=)")
        else:
            about = kit.of(self._subject, tenant=tenant)
            self._note(asked, about.look(asked, scope=scope), self._subject)

    def _note(self, asked: str, decision: Decision, subject: object) -> None:
        if decision.allowed:
            self.processed.append(f"{asked!r} for {subject!r} ({decision.reason})")
        else:
            self.denials.append(decision)

    def _is_meant(self, kit: Answers, asked: str) -> bool:
        """Whether a question was about what is watched; a category means its purposes, on either side."""
        if self._only not in (None, kit):
            return False
        self.heard, catalog = True, kit.runtime.catalog
        about = {(item.kind, item.key) for item in catalog.items_of(asked)}
        if not self._items:
            return any(
                key in catalog.purposes and catalog.purposes[key].basis is Basis.CONSENT for _, key in about
            )
        watched = set()
        for item in self._items:
            try:
                watched |= {(found.kind, found.key) for found in catalog.items_of(item)}
            except CatalogError:
                continue  # of another kit
            self.known.add(item)
        return asked in self._items or bool(about & watched)
