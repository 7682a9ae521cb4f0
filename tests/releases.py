"""A host's site over time: one ledger, one deployment after another, and a clock that is moved."""

from __future__ import annotations

import re
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from consentkit import ConsentKit, Policy, PolicyVersion
from consentkit.testing import FrozenClock, frozen_clock, prepare, temporary_database
from tests.web.conftest import make_app, make_kit

START, DATE = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)
SAME = {"Sec-Fetch-Site": "same-origin"}
HTML = {"Accept": "text/html", **SAME}
Said = tuple[str, str, str | None, str | None]


def version(name: str, effective: datetime | None = None, **given: Any) -> PolicyVersion:
    """A version of the terms in two languages."""
    texts = {"en": f"# Terms\n\nBe kind. Edition {name}.", "de": f"# AGB\n\nSeid nett. Ausgabe {name}."}
    return PolicyVersion(name, effective=effective, texts=given.pop("texts", texts), **given)


def kit_of(*versions: PolicyVersion, more: tuple[Policy, ...] = (), **given: Any) -> ConsentKit:
    """Terms in these versions, a privacy policy, and a bundle of both."""
    privacy = Policy("privacy", title="Privacy", versions=[PolicyVersion("1", texts={"en": "# Privacy"})])
    titled = {"en": "Terms of use", "de": "Nutzungsbedingungen"}
    return make_kit(policies=[Policy("terms", title=titled, versions=versions), privacy, *more], **given)


class Site:
    """`deploy` again is the next release on the same ledger."""

    app: Flask
    kit: ConsentKit
    clock: FrozenClock

    def __init__(self, folder: Path) -> None:
        self._folder, self._open = folder, ExitStack()

    def deploy(self, at: datetime, *versions: PolicyVersion, **given: Any) -> Site:
        """A new process with these versions, published at that moment."""
        self.kit = kit_of(*versions, **given)
        self.app = make_app(self.kit, self._folder, **temporary_database(self._folder))
        self.clock = self._open.enter_context(frozen_clock(self.app, at))
        prepare(self.app)
        return self

    def at(self, moment: datetime) -> None:
        """Go to a moment."""
        self.clock.move(moment)

    def close(self) -> None:
        """Let the clocks go."""
        self._open.close()

    def client(self, user: str | None = None) -> FlaskClient:
        """A browser, of somebody who is signed in or of a visitor."""
        client = self.app.test_client()
        if user is not None:
            client.post("/login", data={"user": user})
        return client

    def said(self, user: str = "ada") -> list[Said]:
        """Action, item, version and method of a subject's events."""
        with self.app.app_context():
            return [(e.action, e.item, e.version, e.method) for e in self.kit.ledger.of_subject(user)]


def form_in(page: str, **changed: Any) -> dict[str, Any]:
    """What the acceptance page would send."""
    hidden = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page)
    form: dict[str, Any] = {name: value for name, value in hidden if name != "notice"}
    form["notice"] = [value for name, value in hidden if name == "notice"]
    return {"decision": "accept", "agree": "yes", **form, **changed}
