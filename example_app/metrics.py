"""Page views: a script that counts, and a server that checks for itself whether it may."""

from __future__ import annotations

import re

from flask import Blueprint, Response, current_app, jsonify, request

from consentkit import current_consents, requires_consent, ungated
from example_app.site import here, render

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/metrics/tag.js")
@ungated("a script; browsers ask for it after a yes")
def tag() -> Response:
    """The script. Pages name it with `consent_script`, so that a browser asks for it only after a yes."""
    return current_app.send_static_file("tag.js")


@blueprint.post("/metrics/hit")
@ungated("asks inside, and counts nothing without a yes")
def hit() -> Response:
    """A view that the script reports. Whatever the browser says, the ledger decides."""
    decision = current_consents.decide("analytics")
    if decision.allowed:
        _count(request.form.get("path", ""))
        response = Response(status=204)
    else:
        response = jsonify(counted=False, reason=decision.reason.value)
        response.status_code = 403
    response.headers["Cache-Control"] = "no-store"
    return response


@blueprint.get("/metrics/pixel.svg")
@ungated("asks inside, and counts nothing without a yes")
def pixel() -> Response:
    """The same for a browser without script: an empty picture, counted only where the ledger allows it."""
    if current_consents.allows("analytics"):
        _count(request.args.get("path", ""))
    response = Response('<svg xmlns="http://www.w3.org/2000/svg"/>', content_type="image/svg+xml")
    response.headers["Cache-Control"] = "no-store"
    return response


@blueprint.get("/metrics/hits")
@ungated("numbers that identify nobody")
def hits() -> Response:
    """The counts, open to everybody: they are about pages, not about people."""
    with here().database.transaction() as db:
        rows = db.execute("select path, views from view order by path").fetchall()
    pages = {row["path"]: row["views"] for row in rows}
    response = jsonify(hits=sum(pages.values()), pages=pages)
    response.headers["Cache-Control"] = "no-store"
    return response


@blueprint.get("/player/<film>")
@requires_consent("marketing")
def player(film: str) -> Response:
    """What stands in for a film platform: a player in a frame that sets a cookie."""
    response = Response(render("player.html", film=film))
    response.set_cookie("_reel", "1", max_age=30 * 24 * 3600, samesite="Lax", secure=request.is_secure)
    return response


def _count(path: str) -> None:
    if re.fullmatch(r"/[\w/.-]{0,200}", path):
        with here().database.transaction() as db:
            db.execute(
                "insert into view values (?, 1) on conflict (path) do update set views = views + 1", [path]
            )
