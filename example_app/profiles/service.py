"""What the five services share: the app, who is signed in, and how it is served."""

from __future__ import annotations

import logging
import os
import secrets
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flask import Flask, Response, abort, current_app, jsonify, request, session
from werkzeug.serving import make_server

from consentkit import ConsentKit, ungated

HOST = "127.0.0.1"


def make(
    folder: Path,
    config: Mapping[str, Any] | None = None,
    instance_path: str | os.PathLike[str] | None = None,
    kit: ConsentKit | None = None,
) -> tuple[Flask, ConsentKit]:
    """An app, and `kit` or one of `folder/consent.toml`; not yet on the app, so that loaders can be added.

    Signing in is a form field, as these are sketches: `POST /sign-in` with `account=u-1`, `POST /sign-out`.
    """
    name = folder.name
    where = instance_path or os.environ.get("EXAMPLE_INSTANCE") or Path.cwd() / "instance" / name
    app = Flask(f"example_app.profiles.{name}", instance_path=str(Path(where).resolve()))
    app.config.update(SESSION_COOKIE_SAMESITE="Lax", SESSION_COOKIE_HTTPONLY=True)
    app.config.update(SECRET_KEY=os.environ.get("EXAMPLE_SECRET") or secrets.token_hex(32))
    app.config.update(config or {})
    consent = kit or ConsentKit.from_file(folder / "consent.toml")
    consent.subject_loader(lambda: session.get("account"))
    app.before_request(_only_from_here)
    app.add_url_rule("/sign-in", view_func=sign_in, methods=["POST"])
    app.add_url_rule("/sign-out", view_func=sign_out, methods=["POST"])
    return app, consent


@ungated("signing in")
def sign_in() -> Response:
    """Whoever names an account has it: a sketch."""
    account = request.form.get("account", "")
    if not account:
        abort(400, "account= is missing")
    session["account"] = account
    return jsonify(account=account)


@ungated("signing out")
def sign_out() -> Response:
    """Nobody is signed in any more."""
    session.pop("account", None)
    return jsonify(account=None)


def account() -> str:
    """The account that is signed in, else 401."""
    found = session.get("account")
    if not isinstance(found, str):
        abort(401)
    return found


def current_kit() -> ConsentKit:
    """The kit of the app in whose context we are."""
    found: ConsentKit = current_app.extensions["consentkit"].kit
    return found


def _only_from_here() -> None:
    """A form of ours comes from a page of ours."""
    if request.method == "POST" and request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site"):
        abort(403)


def serve(create_app: Callable[[], Flask], what_to_try: str) -> None:
    """Serve on this machine until Ctrl-C; `PORT` chooses the port. `{url}` in the text is the address."""
    logging.getLogger("consentkit").setLevel(logging.ERROR)  # the embedded ledger is meant here
    port = os.environ.get("PORT") or "8000"
    if not port.isdecimal() or int(port) > 65535:
        sys.exit(f"PORT is a number up to 65535, not {port!r}")
    server = make_server(HOST, int(port), create_app(), threaded=True)
    print(what_to_try.replace("{url}", f"http://{HOST}:{server.server_port}"), flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print("\nStopped.")
    finally:
        server.server_close()
