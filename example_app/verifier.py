"""Harbour ID, a made-up service that checks whether people are adults: another site, on a port of its own.

It shows what a provider has to do for consentkit's `HttpVerifier`, and uses nothing of consentkit: it takes a signed
request, leads the person through its page, and sends a signed result. Both are signed by Standard Webhooks.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime

from flask import Flask, Response, abort, jsonify, redirect, render_template_string, request, url_for
from werkzeug import Response as Redirect
from werkzeug.serving import make_server

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex"><meta name="color-scheme" content="light dark"><title>Harbour ID</title>
<style>
body { max-width: 34rem; margin: 3rem auto; padding: 0 1.25rem; font: 1.125rem/1.6 system-ui, sans-serif; }
button { min-height: 2.75rem; margin: 0 .5rem .5rem 0; padding: .5rem 1.25rem; font: inherit; }
</style>
</head>
<body><main>
<h1>Harbour ID</h1>
<p>Low Water asks us whether you are an adult. This service is made up: nobody is checked, and nothing is kept.</p>
<form method="post">
<button name="adult" value="yes">I show my identity card</button>
<button name="adult" value="no">I have none with me</button>
</form>
</main></body>
</html>"""
TOLERANCE_S = 300


@dataclass(frozen=True)
class Check:
    """What the site has asked."""

    reference: str
    method: str
    return_url: str
    callback_url: str


def new_secret() -> str:
    """A secret to be shared by both sides."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def create_verifier(secret: str) -> Flask:
    """The service, for one customer."""
    app = Flask(__name__)
    checks: dict[str, Check] = {}
    key = base64.b64decode(secret.removeprefix("whsec_"))

    @app.post("/checks")
    def begin() -> Response:
        """The customer begins a check and is told where to lead the person."""
        if not _is_genuine(key, request.get_data()):
            abort(401)
        asked = request.get_json()
        number = secrets.token_urlsafe(16)
        checks[number] = Check(**{name: asked[name] for name in Check.__annotations__})
        return jsonify(redirect=url_for("page", number=number, _external=True))

    @app.get("/check/<number>")
    def page(number: str) -> str:
        """What the person sees."""
        return render_template_string(PAGE) if number in checks else abort(404)

    @app.post("/check/<number>")
    def finish(number: str) -> Redirect:
        """The person is done: the customer is told first, then the browser goes back."""
        check = checks.pop(number, None) or abort(404)
        _tell(key, check, verified=request.form.get("adult") == "yes")
        return redirect(check.return_url, 303)

    return app


def _is_genuine(key: bytes, body: bytes) -> bool:
    message, at = request.headers.get("webhook-id", ""), request.headers.get("webhook-timestamp", "")
    if not at.isdecimal() or abs(time.time() - int(at)) > TOLERANCE_S:
        return False
    given = request.headers.get("webhook-signature", "").split()
    return any(hmac.compare_digest(one, _signature(key, message, at, body)) for one in given)


def _signature(key: bytes, message: str, at: str, body: bytes) -> str:
    digest = hmac.new(key, f"{message}.{at}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def _tell(key: bytes, check: Check, *, verified: bool) -> None:
    now = datetime.now(UTC)
    found = {
        "reference": check.reference,
        "method": check.method,
        "verified": verified,
        "at": now.isoformat(),
        "evidence": hashlib.sha256(secrets.token_bytes(32)).hexdigest(),  # of what a real service would keep
    }
    body, message, at = json.dumps(found).encode(), f"msg_{secrets.token_hex(12)}", str(int(now.timestamp()))
    headers = {
        "Content-Type": "application/json",
        "webhook-id": message,
        "webhook-timestamp": at,
        "webhook-signature": _signature(key, message, at, body),
    }
    sent = urllib.request.Request(check.callback_url, body, headers)  # noqa: S310  the customer's own address
    with urllib.request.urlopen(sent, timeout=10):  # noqa: S310
        pass


def serve(secret: str, host: str = "127.0.0.1") -> str:
    """Serve it in a thread, on a free port; its address."""
    server = make_server(host, 0, create_verifier(secret), threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True, name="harbour-id").start()
    return f"http://{host}:{server.server_port}"
