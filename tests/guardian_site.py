"""A host whose children ask their guardians: signing in, a page that asks, an outbox in place of mail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flask import Flask, Response, current_app, request, session
from guardians import PARENT, Outbox, catalog

from consentkit import Age, ConsentKit


def make_kit(**given: Any) -> ConsentKit:
    """The host's kit. What it sends is in `outbox_of(kit)`."""
    kit = ConsentKit(**{"catalog": catalog(), **given})
    kit.guardian_mailer(Outbox().send)
    return kit


def outbox_of(kit: ConsentKit) -> Outbox:
    """What was sent."""
    outbox: Outbox = kit.guardian.mailer.__self__  # type: ignore[union-attr]
    return outbox


def make_app(kit: ConsentKit, folder: Path, **config: Any) -> Flask:
    """The host. Its child is `kid`, nine years old, and lives in Germany."""
    app = Flask("host", instance_path=str(folder / "instance"))
    app.config.update(SECRET_KEY="a key for tests", TESTING=True, **config)

    @kit.subject_loader
    def subject() -> str | None:
        return session.get("user")

    kit.init_app(app)

    @app.post("/login")
    def login() -> Response:
        session["user"] = request.form["user"]
        return current_app.response_class("in")

    @app.post("/logout")
    def logout() -> Response:
        session.clear()
        return current_app.response_class("out")

    @app.post("/ask")
    def ask() -> Response:
        form = request.form
        items, method = form.getlist("item") or ["news"], form.get("method", "email")
        contact = form.get("contact", PARENT)
        kit.invite_guardian(session["user"], items, contact=contact, method=method, child="Mia")
        return current_app.response_class("asked")

    with app.app_context():
        kit.learn("kid", age=Age(years=9), jurisdiction="DE")
    return app
