"""What a form, or a JSON body in its place, says: no more than a person can have filled in."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from flask import Response, request

from consentkit.web.problems import problem

BODY_LIMIT = 64 * 1024


def limit_body() -> Response | None:
    """413 for a body that is too long, before a form is read. The host's own limit holds where it is lower."""
    own = request.max_content_length
    if own is None or own > BODY_LIMIT:
        with suppress(AttributeError):  # Flask 3.0 knows the host's limit only
            request.max_content_length = BODY_LIMIT + 1
    length = request.content_length
    if length is None:  # in chunks: Werkzeug cuts what is longer, and a form that was cut says something else
        length = len(request.get_data())
    return too_large() if length > BODY_LIMIT else None


def too_large(_error: Exception | None = None) -> Response:
    """413: whoever sends that has filled in no form of ours."""
    return problem(413, "body-too-large", "Content too large", f"At most {BODY_LIMIT // 1024} KiB are taken.")


def sent() -> Mapping[str, Any]:
    """The fields; none where the body is no form and no JSON object."""
    if not request.is_json:
        return request.form
    try:
        said = request.get_json(silent=True)
    except RecursionError:  # as deep as no form is
        return {}
    return said if isinstance(said, Mapping) else {}
