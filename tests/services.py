"""A service of `example_app.profiles` as it runs: release after release on one ledger, and a clock that is moved."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from browsing import Browser
from flask import Flask

from consentkit import ConsentKit
from consentkit.core.catalog import Catalog
from consentkit.testing import FrozenClock, frozen_clock, prepare, temporary_database

Client = TypeVar("Client", bound=Browser)


class Service:
    """`profile` is the service's module."""

    app: Flask
    kit: ConsentKit
    clock: FrozenClock

    def __init__(self, profile: Any, folder: Path, serve: Callable[[Flask], str], **config: Any) -> None:
        self._profile, self._folder, self._serve, self._open = profile, folder, serve, ExitStack()
        self._config = config

    def release(
        self, at: datetime, change: Callable[[Catalog], Catalog] = lambda catalog: catalog, **versions: int
    ) -> Service:
        """A new process at that moment. `privacy=2`: of this policy there are two versions so far.

        `change`: what else is different in this release.
        """
        catalog = ConsentKit.from_file(self._profile.FOLDER / "consent.toml").catalog
        known = {
            key: replace(policy, versions=tuple(policy.versions)[: versions.get(key, 99)])
            for key, policy in catalog.policies.items()
        }
        self.kit = ConsentKit(catalog=change(replace(catalog, policies=known)))
        self.app = self._profile.create_app(
            {"TESTING": True, "SECRET_KEY": "scenario", **temporary_database(self._folder), **self._config},
            instance_path=self._folder,
            kit=self.kit,
        )
        self.clock = self._open.enter_context(frozen_clock(self.app, at))
        prepare(self.app)
        return self

    def browser(self, account: str | None = None, **headers: str) -> Browser:
        """A visitor's browser, or one in which an account is signed in."""
        return self.client(Browser, account, **headers)

    def client(self, kind: type[Client], account: str | None = None, **headers: str) -> Client:
        """The same of another kind than a browser, such as the app on a telephone."""
        made = kind(self._serve(self.app), **headers)
        if account is not None:
            assert made.post("/sign-in", {"account": account}).status == 200
        return made

    def events(self, subject: str) -> list[tuple[str, str, str | None, str | None]]:
        """Action, item, version and method of what a subject said."""
        with self.app.app_context():
            return [(e.action, e.item, e.version, e.method) for e in self.kit.ledger.of_subject(subject)]

    def close(self) -> None:
        """Let the clocks go."""
        self._open.close()
