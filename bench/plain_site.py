"""A page as there are many, in Flask: a layout, a menu, a list of twenty things. Knows nothing of consent."""

from __future__ import annotations

import os
from typing import Any

from flask import Flask, render_template
from jinja2 import DictLoader

LAYOUT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title>%s</head>
<body>%s<nav>
{%% for name in ("home", "about", "shop") %%}<a href="{{ url_for(name) }}">{{ name }}</a> {%% endfor %%}</nav>
<main>{%% block main %%}{%% endblock %%}</main><footer>%s</footer></body></html>"""
PAGE = """{% extends layout %}{% block main %}<h1>{{ title }}</h1><ul>
{% for thing in things %}<li><a href="{{ url_for('thing', number=thing.number) }}">{{ thing.name }}</a>
{{ "%.2f"|format(thing.price) }}{% if thing.new %} <em>new</em>{% endif %}</li>
{% endfor %}</ul>{% endblock %}"""
THINGS = [{"number": n, "name": f"Thing {n}", "price": n * 3.5, "new": not n % 7} for n in range(1, 21)]
PATHS = {"home": "/", "about": "/about", "shop": "/shop", "thing": "/shop/<int:number>"}


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

    def page(layout: str = "layout.html", **_values: Any) -> str:
        return render_template("page.html", layout=layout, title="Things", things=THINGS)

    for name, path in PATHS.items():
        app.add_url_rule(path, name, page)
    app.add_url_rule("/ok", "ok", lambda: "ok")
    return app
