"""Showing gated content one time: an act of the visitor by itself, of which nothing is recorded.

With script the content comes out of its template. Without, the visitor is led back to the page by an address that
is good for a minute and for one embed: nobody else comes to it by a link, a cache or a crawler.
"""

from __future__ import annotations

import hashlib
import re
from urllib.parse import unquote, urlsplit

from flask import Response, has_request_context, jsonify, make_response, redirect, request
from itsdangerous import BadData

from consentkit.web.cross_site import came_from, home, safe_next, same_origin
from consentkit.web.identity import signer
from consentkit.web.problems import problem, wants_html

PARAMETER = "consent_once"
MAX_AGE_S = 60
_ID = re.compile("[0-9a-f]{12}")
_SALT = "consentkit.once.v1"


def embed_id(*said: str) -> str:
    """Twelve hex digits that stay the same from page to page."""
    return hashlib.sha256("\0".join(said).encode()).hexdigest()[:12]


def is_once() -> bool:
    """Whether the request asks to see something one time."""
    return not request.is_json and request.form.get("decision") == "once"


def answer() -> Response:
    """Lead back to the page, which then shows the embed."""
    if not same_origin():
        return problem(403, "cross-site", "Forbidden", "A choice has to come from this site's own pages.")
    embed = asked_embed()
    if embed is None:
        return problem(422, "choice-rejected", "Choice rejected", "embed names what is to be shown.")
    target = address(safe_next(request.form.get("next")), embed)
    response = make_response(redirect(target, 303)) if wants_html() else jsonify({"url": target})
    response.headers["Cache-Control"] = "no-store"
    return response


def asked_embed() -> str | None:
    """The embed that the form names."""
    embed = request.form.get("embed", "")
    return embed if _ID.fullmatch(embed) else None


def address(page: str | None, embed: str) -> str:
    """The page that the form came from, by the address under which it shows this embed for a minute.

    `page` is its path as the form has it; the query is in the Referer, where the browser sends one.
    """
    back = came_from()
    if page and (not back or unquote(urlsplit(back).path) != unquote(urlsplit(page).path)):
        back = page
    parts = urlsplit(back or home())
    kept = [pair for pair in parts.query.split("&") if pair and not pair.startswith(f"{PARAMETER}=")]
    token = signer(_SALT).sign(embed).decode()
    return f"{parts.path}?{'&'.join([*kept, f'{PARAMETER}={token}'])}#ck-embed-{embed}"


def is_shown(embed: str) -> bool:
    """Whether this request comes from that address."""
    token = request.args.get(PARAMETER) if has_request_context() else None
    if not token:
        return False
    try:
        return signer(_SALT).unsign(token, max_age=MAX_AGE_S) == embed.encode()
    except (BadData, ValueError, OverflowError, OSError):
        return False
