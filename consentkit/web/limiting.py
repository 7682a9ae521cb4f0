"""The host's brake on floods, asked before a request of the web creates anything.

It errs towards the person: a no of somebody who is known is always recorded, and the limiter is not even asked.
"""

from __future__ import annotations

import logging
from math import ceil, isfinite

from flask import Response, make_response, render_template, request

from consentkit import logs
from consentkit.web.identity import identify
from consentkit.web.problems import page_context, problem, wants_html
from consentkit.web.state import State

RETRY_S = 60
"""Where the limiter says no and not for how long, or fails."""


def wait(state: State, *, yes: bool) -> int | None:
    """Seconds that this visitor's request has to wait, or None. `yes`: it says more than no."""
    return wait_for(state, identify(state).subject, yes=yes)


def wait_for(state: State, subject: str | None, *, yes: bool) -> int | None:
    """The same for a subject that the caller names.

    A limiter that fails stops the yes of those of whom nothing is known, and nothing else.
    """
    limiter = state.loaders.limiter
    if limiter is None or (subject is not None and not yes):
        return None
    try:
        return _seconds(limiter(subject, request.endpoint or ""))
    except Exception as error:
        message = "the limiter failed: %(error)s\n%(where)s"
        logs.log(
            logging.ERROR, "limiter_failed", message, error=logs.harmless(error), where=logs.where(error)
        )
        return RETRY_S if subject is None and yes else None


def _seconds(said: object) -> int | None:
    if said is True:
        return None
    if said is False:
        return RETRY_S
    if isinstance(said, float) and not isfinite(said):
        return RETRY_S
    if isinstance(said, int | float):
        return max(1, ceil(said))
    raise TypeError(f"a limiter returns True to let pass, or seconds to wait, not {type(said).__name__}")


def too_many(seconds: int) -> Response:
    """429 with `Retry-After` (RFC 6585, 4)."""
    if wants_html():
        page = render_template("consentkit/limited.html", seconds=seconds, **page_context())
        response = make_response(page, 429)
    else:
        detail = "Too many answers came at once: no yes was recorded. Try again later."
        response = problem(429, "too-many-requests", "Too many requests", detail)
    response.headers["Retry-After"] = str(seconds)
    response.headers["Cache-Control"] = "no-store"
    return response
