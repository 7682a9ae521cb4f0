"""Run by `peers.py` in an environment of their own: what Flask-Consent costs a page."""

from __future__ import annotations

import json
import time
import warnings
from datetime import datetime

import flask_consent
from flask import Flask
from plain_site import site
from timing import line, turns, visit

warnings.simplefilter("ignore", DeprecationWarning)
ROUNDS, CALLS = 200, 20


def flask_site() -> Flask:
    """Its own three categories and its own injection; the banner's text is for the host to write."""
    app = site(banner="{{ flask_consent_code() }}")
    app.jinja_loader.mapping |= {  # type: ignore[union-attr]
        "flask-banner.html": "<p>We use cookies.</p>{% for c in flask_consent_categories %}"
        '<label><input type="checkbox" name="{{ c.name }}"> {{ c.title }}</label><p>{{ c.description }}</p>{% endfor %}'
        "<button>Accept all</button><button>Reject all</button>",
        "flask-full.html": "{% for c in flask_consent_categories %}<p>{{ c.title }}</p>{% endfor %}",
    }
    app.config.update(CONSENT_BANNER_TEMPLATE="flask-banner.html", CONSENT_FULL_TEMPLATE="flask-full.html")
    app.config.update(CONSENT_CONTACT_MAIL="privacy@example.org", CONSENT_PRIMARY_SERVERNAME="localhost")
    consent = flask_consent.Consent(app)
    consent.add_standard_categories()
    return app


def time_flask() -> None:
    """Before and after a choice."""
    app, bare = flask_site(), visit(site(), "/")
    said = json.dumps({"enabled": ["analytics"], "last_updated": datetime.now().isoformat()})
    chosen = "_consent=" + said.replace('"', r"\"").join('""').replace(",", r"\054")
    before, after = visit(app, "/"), visit(app, "/", cookie=chosen)
    asked = [page()[2].count(b"Accept all") for page in (before, after)]
    assert asked == [1, 0], asked
    for what, page in {"before": before, "after": after}.items():
        taken = turns(ROUNDS, page, bare, times=CALLS, clock=time.process_time)
        line(f"Flask-Consent: page, {what} a choice", *taken, name="bare")


if __name__ == "__main__":
    time_flask()
