"""Screwdriver & Sons, a shop for software: vendors by name, channels apart, one comment at a time, a breach."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, Response, jsonify, make_response, render_template_string, request

from consentkit import Age, ConsentKit, current_consents, gated, requires_consent, ungated
from example_app.profiles import service

FOLDER = Path(__file__).parent
shop = Blueprint("shop", __name__)
PAGE = """<!doctype html>
<html lang="en"><head><title>Screwdriver &amp; Sons</title>{{ consent_head() }}</head>
<body>{{ consent_banner() }}{{ consent_announcements() }}
<main><h1>Screwdriver &amp; Sons</h1>
{% for author, text in quotes %}<blockquote>{{ text }} ({{ author }})</blockquote>{% endfor %}
{{ consent_script("comments", src="https://margin-notes.example/comments.js") }}
{{ consent_script("questions", src="https://neighbour.example/ask.js") }}
{{ consent_script("visits", src="https://headcount.example/count.js") }}
{{ consent_script("networks", src="https://loudhailer.example/buttons.js") }}
</main><footer>{{ consent_link() }}</footer></body></html>"""
COMMENTS = {"comment:42": ("ada", "It mended my telephone."), "comment:43": ("ada", "The postman sings.")}


def create_app(
    config: Mapping[str, Any] | None = None,
    *,
    instance_path: str | os.PathLike[str] | None = None,
    kit: ConsentKit | None = None,
) -> Flask:
    """The shop. `kit`: another catalogue than the file's, such as an earlier release of it."""
    app, consent = service.make(FOLDER, config, instance_path, kit)
    consent.init_app(app)
    app.register_blueprint(shop)
    return app


@shop.get("/")
@ungated("shows texts; comments ask inside, scripts are gated by the browser")
def home() -> Response:
    """The start page, with the comments that may be printed there."""
    quotes = [
        (author, text) for scope, (author, text) in COMMENTS.items() if print_testimonial(author, scope)
    ]
    response = make_response(render_template_string(PAGE, quotes=quotes))
    response.set_cookie("_headcount", "1", max_age=180 * 86_400)
    return response


@shop.post("/join")
@ungated("takes the age that somebody declares")
def join() -> Response:
    """Whoever opens an account says how old they are; only whether that is a child is kept."""
    account, kit = service.account(), service.current_kit()
    kit.learn(account, age=Age(years=request.form.get("age", type=int) or 0))
    decision = kit.of(account).decide("orders")
    return make_response(jsonify(welcome=decision.allowed), 200 if decision else 403)


@shop.get("/orders")
@requires_consent("orders")
def orders() -> str:
    """A contract: not asked."""
    return f"Orders of {service.account()}."


@shop.post("/stop/<purpose>")
@ungated("ends processing")
def stop(purpose: str) -> Response:
    """One request ends one processing: no page before it, no reason asked. Visitors, too."""
    who = current_consents.subject or service.account()
    events = service.current_kit().withdraw(who, f"purpose:{purpose}", method="button")
    return jsonify([f"{event.action} {event.item}" for event in events])


@shop.get("/my-data")
@ungated("a right of the person who asks")
def my_data() -> Response:
    """Everything that the ledger holds, to take along."""
    return jsonify(service.current_kit().export(service.account()))


@shop.post("/restrict")
@ungated("ends processing")
def restrict() -> Response:
    """Everything stops until it is lifted."""
    return jsonify([event.action for event in service.current_kit().restrict(service.account())])


@shop.post("/object/<purpose>")
@ungated("ends processing")
def object_(purpose: str) -> Response:
    """An objection, also to what was never asked."""
    return jsonify([event.action for event in service.current_kit().object(service.account(), purpose)])


@shop.post("/delete")
@ungated("ends processing")
def delete() -> Response:
    """What people wrote is destroyed; what proves their answers stays, without their name."""
    return jsonify([event.action for event in service.current_kit().erase(service.account())])


@gated("testimonial", subject="author", scope="comment", skip=True)
def print_testimonial(author: str, comment: str) -> str | None:
    """Whether one comment may be shown to everybody."""
    return f"{comment} by {author}"


@gated("marketing.email", subject="account", skip=True)
def send_offer(account: str) -> str | None:
    """A letter."""
    return f"a letter to {account}"


@gated("marketing.sms", subject="account", skip=True)
def text_offer(account: str) -> str | None:
    """A text message."""
    return f"a text to {account}"


@gated("marketing.push", subject="account", skip=True)
def push_offer(account: str) -> str | None:
    """A message on the screen."""
    return f"a push to {account}"


@gated("advice", subject="account", skip=True)
def advise(account: str) -> str | None:
    """What somebody who bought something should know."""
    return f"{account}: install the new version"


@gated("transfer_abroad", subject="account")
def ask_helpers(account: str) -> str:
    """Helpers abroad read a question."""
    return f"{account} asks"


@gated("tax", subject="account")
def print_invoice(account: str) -> str:
    """The tax office wants it, whatever a person says."""
    return f"invoice of {account}"


@gated("fraud", subject="account")
def check_card(account: str) -> str:
    """So does the audit."""
    return f"cards of {account}"
