"""The apps that are measured through a server: one with consentkit, one bare."""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
from datetime import UTC, datetime
from typing import Any

from flask import Flask, jsonify, render_template_string, request
from plain_site import site

from consentkit import ConsentKit, Purpose, requires_consent

PURPOSES = (
    Purpose("statistics", title="Statistics", category="analytics"),
    Purpose("ads", title="Ads", category="marketing"),
    Purpose("letters", title="Letters"),
)


def bare_site() -> Flask:
    """Without anything."""
    return site()


WRITTEN = ("{{ consent_head() }}", "{{ consent_banner() }}", "{{ consent_link() }}")


def same_site() -> Flask:
    """The very page of `consentkit_site`, with its HTML written into the template by hand."""
    with consentkit_site().test_request_context("/"):
        parts = [render_template_string(part) for part in WRITTEN]
    return site(*("{% raw %}" + part + "{% endraw %}" for part in parts))


def consentkit_site() -> Flask:
    """With the banner and everything that belongs on a page."""
    app = site(*WRITTEN)
    app.config["CONSENTKIT_DATABASE_URL"] = os.environ["BENCH_URL"]
    consent = ConsentKit(app, purposes=PURPOSES)
    consent.subject_loader(lambda: "known" if request.path == "/gated" else None)
    gated = requires_consent("statistics")(app.view_functions["home"])
    app.add_url_rule("/gated", "gated", gated, defaults={"layout": "plain.html"})
    return app


def answers() -> Flask:
    """`POST /consent` of consentkit, with one purpose: one answer is one event."""
    app = Flask("answers")
    app.config.update(
        SECRET_KEY="k" * 64, CONSENTKIT_KEY="k" * 64, CONSENTKIT_DATABASE_URL=os.environ["BENCH_URL"]
    )
    ConsentKit(app, purposes=PURPOSES[:1])
    return app


def bare_answers() -> Flask:
    """A view that inserts one row and commits, on a connection that each thread keeps."""
    app, url, own = Flask("bare"), os.environ["BENCH_URL"], threading.local()
    app.secret_key = "k" * 64

    def connect() -> Any:
        if url.startswith("sqlite"):
            connection: Any = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=5, isolation_level=None)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            return connection
        import psycopg

        return psycopg.connect(url.replace("postgresql+psycopg", "postgresql"), autocommit=True)

    mark = "?" if url.startswith("sqlite") else "%s"
    insert = f"INSERT INTO bare_answer (visitor, decision, at) VALUES ({mark}, {mark}, {mark})"

    @app.post("/consent")
    def consent() -> Any:
        if not hasattr(own, "connection"):
            own.connection = connect()
        visitor = request.cookies.get("visitor") or secrets.token_urlsafe(16)
        now = datetime.now(UTC).isoformat()
        own.connection.execute(insert, (visitor, request.get_json()["decision"], now))
        response = jsonify(decision=request.get_json()["decision"])
        response.set_cookie("visitor", visitor, max_age=180 * 86400, httponly=True, samesite="Lax")
        return response

    return app
