"""Responses that were made for one person do not belong in shared caches (RFC 9111, 7.3)."""

from __future__ import annotations

from werkzeug.datastructures import Headers, ResponseCacheControl
from werkzeug.http import parse_cache_control_header


def keep_private(headers: Headers) -> None:
    """Say so: `Vary: Cookie`, `Cache-Control: private`, and nothing that a content network reads instead of it."""
    if "cookie" not in ",".join(headers.getlist("Vary")).lower():
        headers.add("Vary", "Cookie")
    said = parse_cache_control_header(", ".join(headers.getlist("Cache-Control")), cls=ResponseCacheControl)
    if not said.no_store and "private" not in said:
        for shared in ("public", "s-maxage"):
            said.pop(shared, None)
        said.private = True
        headers["Cache-Control"] = said.to_header()
    for name in {name.lower() for name in headers.keys()}:  # noqa: SIM118
        if name == "surrogate-control" or name.endswith("cdn-cache-control"):  # RFC 9213
            del headers[name]
