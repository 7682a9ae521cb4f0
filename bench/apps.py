"""The apps that are measured through a server: one with consentkit, one bare."""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
from datetime import UTC, datetime
from typing import Any

from flask import Flask, jsonify, render_template, request
from jinja2 import DictLoader

from consentkit import ConsentKit, Purpose, requires_consent

LAYOUT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title>%s</head>
<body>%s<nav>
{%% for name in ("home", "about", "shop") %%}<a href="{{ url_for(name) }}">{{ name }}</a> {%% endfor %%}</nav>
<main>{%% block main %%}{%% endblock %%}</main><footer>%s</footer></body></html>"""
PAGE = """{% extends layout %}{% block main %}<h1>{{ title }}</h1><ul>
{% for thing in things %}<li><a href="{{ url_for('thing', number=thing.number) }}">{{ thing.name }}</a>
{{ "%.2f"|format(thing.price) }}{% if thing.new %} <em>new</em>{% endif %}</li>
{% endfor %}</ul>{% endblock %}"""
PURPOSES = (
    Purpose("statistics", title="Statistics", category="analytics"),
    Purpose("ads", title="Ads", category="marketing"),
    Purpose("letters", title="Letters"),
)


def site(head: str = "", banner: str = "", link: str = "") -> Flask:
    """A page as there are many: a layout, a menu, a list of twenty things."""
    app = Flask("site", instance_path=os.environ.get("BENCH_FOLDER"))
    app.config.update(SECRET_KEY="k" * 64, CONSENTKIT_KEY="k" * 64)
    app.jinja_loader = DictLoader(
        {
            "layout.html": LAYOUT % (head, banner, link),
            "plain.html": LAYOUT % ("", "", ""),
            "page.html": PAGE,
        }
    )
    things = [{"number": n, "name": f"Thing {n}", "price": n * 3.5, "new": not n % 7} for n in range(1, 21)]

    def page(layout: str = "layout.html", **_values: Any) -> str:
        return render_template("page.html", layout=layout, title="Things", things=things)

    for name, path in {
        "home": "/",
        "about": "/about",
        "shop": "/shop",
        "thing": "/shop/<int:number>",
    }.items():
        app.add_url_rule(path, name, page)
    app.add_url_rule("/ok", "ok", lambda: "ok")
    return app


def bare_site() -> Flask:
    """Without anything."""
    return site()


def consentkit_site() -> Flask:
    """With the banner and everything that belongs on a page."""
    app = site("{{ consent_head() }}", "{{ consent_banner() }}", "{{ consent_link() }}")
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
