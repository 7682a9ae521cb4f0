"""A small app of a host, made anew for each test on its own SQLite file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, current_app, render_template_string, request, session

from consentkit import (
    Bundle,
    ConsentKit,
    Cookie,
    Policy,
    PolicyVersion,
    Purpose,
    Site,
    current_consents,
    requires_acceptance,
    requires_consent,
)

PAGE = (
    "<!doctype html><html lang=en><head><title>t</title>{{ consent_head() }}</head>"
    "<body>{{ consent_banner() }}<h1>Hi</h1>"
    "{{ consent_script('analytics', src='/tag.js') }}{{ consent_link() }}</body></html>"
)

PURPOSES = (
    Purpose("newsletter", title="Our monthly letter"),
    Purpose("statistics", title="Statistics", category="analytics", cookies=[Cookie("_tally*")]),
    Purpose("ads", title="Advertising", category="marketing", cookies=[Cookie("_ads")], signals=("gpc",)),
    Purpose("transfer", title="Transfer abroad", category="marketing", separate=True),
    Purpose("account", title="Your account", category="necessary", basis="contract", core=True),
    Purpose("letters_by_terms", title="Letters under terms", policies=("terms",)),
)


def policies(versions: int = 1, change: str = "material") -> list[Policy]:
    """Terms with so many versions, the later ones with this class of change, and a privacy policy in two languages."""
    terms = [
        PolicyVersion(
            str(n), change=change if n > 1 else "material", texts={"en": f"# Terms {n}\n\nBe kind."}
        )
        for n in range(1, versions + 1)
    ]
    privacy = PolicyVersion("2026-01", texts={"en": "# Privacy", "de": "# Datenschutz"})
    return [
        Policy("terms", title="Terms of use", versions=terms),
        Policy("privacy", title="Privacy", versions=[privacy]),
    ]


def make_kit(**given: Any) -> ConsentKit:
    """The host's ConsentKit."""
    values: dict[str, Any] = {
        "purposes": PURPOSES,
        "policies": policies(),
        "bundles": [Bundle("sign_up", ["terms", "privacy"])],
        "site": Site(name="Test", locales=("en", "de")),
    }
    return ConsentKit(**{**values, **given})


def make_app(kit: ConsentKit, folder: Path, **config: Any) -> Flask:
    """A host app with one view per gate. The account is in the session, under `user`."""
    app = Flask("host", instance_path=str(folder / "instance"))
    app.config.update(SECRET_KEY="a key for tests", TESTING=True, **config)

    @kit.subject_loader
    def subject() -> str | None:
        return session.get("user")

    kit.init_app(app)
    add_views(app)
    return app


def add_views(app: Flask) -> None:
    """The host's views."""

    @app.get("/")
    def home() -> str:
        return render_template_string(PAGE)

    @app.get("/letters")
    @requires_consent("newsletter")
    def letters() -> str:
        return "You asked for these."

    @app.route("/both", methods=["GET", "POST"])
    @requires_consent("newsletter", "analytics")
    async def both() -> str:
        return "both"

    @app.get("/account")
    @requires_acceptance("terms")
    def account() -> str:
        return "your account"

    @app.get("/under-terms")
    @requires_consent("letters_by_terms")
    def under_terms() -> str:
        return "under terms"

    @app.get("/jinja")
    def jinja() -> str:
        return render_template_string("{% if consents.allows('analytics') %}yes{% else %}no{% endif %}")

    @app.get("/plain")
    def plain() -> str:
        return "plain"

    @app.get("/subject")
    def who() -> str:
        return str(current_consents.subject)

    @app.post("/login")
    def login() -> Response:
        session["user"] = request.form["user"]
        return current_app.response_class("in")


@pytest.fixture
def kit() -> ConsentKit:
    return make_kit()


@pytest.fixture
def app(kit: ConsentKit, tmp_path: Path) -> Flask:
    return make_app(kit, tmp_path)


def without_gates(app: Flask) -> Flask:
    """The app without the views whose purposes another kit does not have."""
    kept = ("consentkit", "static", "login", "logout", "home")
    views = app.view_functions.items()
    app.view_functions = {name: view for name, view in views if name.startswith(kept)}
    return app


@pytest.fixture
def app_of(tmp_path: Path) -> Callable[..., Flask]:
    """An app of one's own kit and settings, on the same folder at each call."""
    return lambda kit=None, **config: make_app(kit or make_kit(), tmp_path, **config)
