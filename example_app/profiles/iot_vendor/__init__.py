"""Beacon Boards, a vendor of sensors: notices where data is collected, transfers abroad, children, old versions."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, Response, make_response, render_template_string

from consentkit import ConsentKit, gated, requires_acceptance, requires_consent, ungated
from example_app.profiles import service

FOLDER = Path(__file__).parent
site = Blueprint("site", __name__)
PAGE = """<!doctype html>
<html lang="en"><head><title>Beacon Boards</title>{{ consent_head() }}</head>
<body>{{ consent_banner() }}{{ consent_announcements() }}
<main><h1>{{ title }}</h1>
{{ consent_script("statistics", src="https://counter.example/count.js") }}
{% call consent_embed("films", title="A film about the board") %}
<iframe src="https://films.example/board" title="A film about the board"></iframe>{% endcall %}
{% if ask %}{{ consent_notice(ask) }}{% endif %}
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
    app.register_blueprint(site)
    app.extensions["weekly_report"] = weekly_report
    return app


@site.get("/")
@ungated("shows texts only; what is gated in it is gated by the browser")
def home() -> str:
    """Everybody sees the site, whatever they refused."""
    return render_template_string(PAGE, title="Sensors and gateways", ask=None)


@site.get("/manual")
@ungated("reads a manual; the counting is gated")
def manual() -> Response:
    """Sets a cookie of statistics, without a look: the guard at the way out looks."""
    response = make_response(render_template_string(PAGE, title="Manual", ask=None))
    response.set_cookie("_manuals", "1", max_age=180 * 86_400)
    return response


@site.get("/portal")
@requires_consent("portal")
@requires_acceptance("privacy")
def portal() -> str:
    """The service itself: it closes when the policy is declined, or its own purpose withdrawn."""
    return f"Devices of {service.account()}."


@site.get("/map")
@requires_consent("portal")
def map_notice() -> str:
    """The question is put where the data is collected."""
    return render_template_string(PAGE, title="Map", ask="location")


@site.get("/map/positions")
@requires_consent("portal", "location")
def positions() -> dict[str, str]:
    """Where the devices are."""
    return {"board-1": "54.1 N, 7.9 E"}


@site.get("/logs")
@requires_consent("device_logs")
def logs() -> dict[str, int]:
    """What devices report about themselves alone is not personal data."""
    return {"board": 3}


@site.get("/logs/joined")
@requires_consent("device_logs", "usage_profile")
def joined_logs() -> dict[str, int]:
    """Joined with the account it is: the strictest of both purposes decides."""
    return {service.account(): 3}


@gated("transfer_abroad", subject="account")
def ask_night_desk(account: str, question: str) -> str:
    """A job: support abroad reads along."""
    return f"{account} asks: {question}"


@gated("usage_profile", subject="account", skip=True)
def weekly_report(account: str) -> str | None:
    """A job that leaves out who did not agree."""
    return f"A report for {account}."
