"""Static files: addresses that change with the content, and what a content security policy has to allow."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

from flask import url_for
from markupsafe import Markup

STYLE, HEAD, SCRIPT = "consentkit.min.css", "head.min.js", "consentkit.min.js"
NOTICES, NOTICES_STYLE = "notices.min.js", "notices.min.css"


@cache
def text(filename: str) -> str:
    """The content of a static file."""
    return files("consentkit").joinpath("static", filename).read_text("utf-8")


@cache
def version(filename: str) -> str:
    """Twelve hex digits that change with the content: what makes a year of caching safe."""
    return hashlib.sha256(text(filename).encode()).hexdigest()[:12]


@cache
def csp_hash(filename: str) -> str:
    """The file as a hash source of a content security policy, for when it stands in the page."""
    digest = hashlib.sha256(text(filename).encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def url(filename: str) -> str:
    """The address of a static file, with its version."""
    return url_for("consentkit.static", filename=filename, v=version(filename))


def inlined(filename: str) -> Markup:
    """The content of a static file, to stand in a `<script>` or `<style>`."""
    return Markup(text(filename))  # noqa: S704


def csp_sources(*, inline: bool) -> dict[str, list[str]]:
    """What a host's policy has to allow, by directive."""
    if not inline:
        return {"script-src": ["'self'"], "style-src": ["'self'"], "connect-src": ["'self'"]}
    return {
        "script-src": ["'self'", csp_hash(HEAD)],
        "style-src": ["'self'", csp_hash(STYLE)],
        "connect-src": ["'self'"],
    }
