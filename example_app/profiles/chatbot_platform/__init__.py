"""Parlour, a platform for chat assistants: two languages, one press for two policies, integrators, guardians."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, Response, abort, current_app, jsonify, request, session

from consentkit import ConsentKit, Invitation, gated, requires_acceptance, requires_consent, ungated
from example_app.profiles import service

FOLDER = Path(__file__).parent
platform = Blueprint("platform", __name__)


def create_app(
    config: Mapping[str, Any] | None = None,
    *,
    instance_path: str | os.PathLike[str] | None = None,
    kit: ConsentKit | None = None,
) -> Flask:
    """The platform. `kit`: another catalogue than the file's, such as an earlier release of it."""
    app, consent = service.make(FOLDER, config, instance_path, kit)
    consent.locale_loader(lambda: request.args.get("lang"))
    outbox: list[Invitation] = []  # a sketch: what a mailer would send
    app.extensions["outbox"] = outbox
    consent.guardian_mailer(outbox.append)
    consent.init_app(app)
    app.register_blueprint(platform)
    return app


def _consent() -> ConsentKit:
    found: ConsentKit = current_app.extensions["consentkit"].kit
    return found


@platform.post("/log-in")
@ungated("the press of this button is the acceptance")
def log_in() -> Response:
    """`Log in as …`: under the button stands what it accepts, in the language of `lang`; it accepts both."""
    account = request.form.get("account", "")
    if not account:
        abort(400, "account= is missing")
    locale = request.args.get("lang", "en")
    events = _consent().accept(account, "log_in", method="login_button", locale=locale)
    session["account"] = account
    return jsonify([event.item for event in events])


@platform.post("/ask-guardian")
@ungated("asks a guardian, who has not answered yet")
def ask_guardian() -> Response:
    """Whoever is under eighteen names a parent or guardian, who reads the policies and agrees."""
    contact = request.form.get("contact", "")
    _consent().invite_guardian(service.account(), "log_in", contact=contact, method="email")
    return jsonify(asked=True)


@platform.get("/chat")
@requires_acceptance("log_in")
@requires_consent("conversations")
def chat() -> str:
    """The service."""
    return f"Hello, {service.account()}."


@platform.get("/notices")
@requires_consent("service_messages")
def notices() -> str:
    """Always, without a question. Only who restricts, objects, or ends the service is told nothing more."""
    return "No outages."


@gated("marketing.push", subject="account", skip=True)
def push(account: str, text: str) -> str | None:
    """Promotional pushes: who did not ask for them gets none."""
    return f"{account}: {text}"


@gated("profiling", subject="account")
def tag(account: str) -> str:
    """A job that sorts people into groups."""
    return f"{account} talks about boats"


@gated("advertising", subject="account")
def tell_ad_network(account: str) -> str:
    """A job that tells the network a group."""
    return "somebody talks about boats"


@gated("disclosure", subject="account")
def disclose(account: str) -> str:
    """A conversation leaves the platform."""
    return f"the conversation of {account}"
