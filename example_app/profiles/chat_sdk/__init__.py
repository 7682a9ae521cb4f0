"""Lantern Chat, a chat window for other sites: prior consent, closed lists, a service that ends with its purpose."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, Response, jsonify, make_response, render_template_string

from consentkit import ConsentKit, gated, requires_acceptance, requires_consent, ungated
from example_app.profiles import service

FOLDER = Path(__file__).parent
chat = Blueprint("chat", __name__)
PAGE = """<!doctype html>
<html lang="en"><head><title>Lantern Chat</title>{{ consent_head() }}</head>
<body>{{ consent_banner() }}<main><h1>Lantern Chat</h1>
{{ consent_script("improvement", src="/usage.js") }}
</main><footer>{{ consent_link() }}</footer></body></html>"""


def create_app(
    config: Mapping[str, Any] | None = None,
    *,
    instance_path: str | os.PathLike[str] | None = None,
    kit: ConsentKit | None = None,
) -> Flask:
    """The service. `kit`: another catalogue than the file's, such as an earlier release of it."""
    app, consent = service.make(FOLDER, config, instance_path, kit)
    consent.init_app(app)
    app.register_blueprint(chat)
    return app


@chat.get("/")
@ungated("shows a window; what is gated in it is gated by the browser")
def home() -> Response:
    """Every page wants to know how it is used; without a yes the cookie does not leave."""
    response = make_response(render_template_string(PAGE))
    response.set_cookie("_lantern_visit", "1", max_age=180 * 86_400)
    return response


@chat.get("/chat")
@requires_consent("account")
@requires_acceptance("privacy")
def messages() -> str:
    """The service itself."""
    return f"Messages of {service.account()}."


@chat.get("/chat/history")
@requires_consent("account")
@requires_acceptance("privacy")
def history() -> str:
    """More of it."""
    return f"Older messages of {service.account()}."


@chat.get("/chat/near")
@requires_consent("account", "location")
def near() -> str:
    """The room of one's town."""
    return f"The room of {service.account()}'s town."


@chat.post("/account/stop")
@ungated("ends processing")
def stop() -> Response:
    """Whoever does not want to go on says so here; the chat ends with it."""
    events = service.current_kit().withdraw(service.account(), "account", method="button")
    return jsonify([event.action for event in events])


@chat.post("/account/delete")
@ungated("ends processing")
def delete() -> Response:
    """The same, and what is known goes as well."""
    events = service.current_kit().erase(service.account())
    return jsonify([event.action for event in events])


@chat.post("/usage")
@requires_consent("improvement")
def usage() -> str:
    """What the window tells about its use."""
    return "Counted."


@chat.get("/numbers")
@requires_consent("aggregates")
def numbers() -> dict[str, int]:
    """Nobody can be recognised in them."""
    return {"messages in an hour": 4711}


@gated("third_party_disclosure", subject="account")
def disclose(account: str, to: str) -> str:
    """Messages leave the company."""
    return f"messages of {account} to {to}"


def disclose_by_law(consent: ConsentKit, account: str, ground: str, *, case: str, operator: str) -> str:
    """The same where a law obliges to it: the ground and who decided are on record before a message leaves."""
    with consent.exception(
        ground, subject=account, purposes=["third_party_disclosure"], reference=case, operator=operator
    ):
        return disclose(account, to="the authority")


@gated("partners", subject="account")
def answer_at_night(account: str) -> str:
    """The partner abroad reads a message."""
    return f"a partner answers {account}"


@gated("invoices", subject="account")
def print_invoice(account: str) -> str:
    """The tax office wants it, whatever a person says."""
    return f"invoice of {account}"
