"""The neutral age page: a date of birth is asked of everybody, without a word about which age is needed (FTC,
Complying with COPPA, D.7). Only the band is kept. One answer counts per browser session.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from flask import Response, abort, jsonify, make_response, redirect, render_template, request, url_for

from consentkit.core.minors import Age, Facts
from consentkit.core.terms import Band
from consentkit.web.cross_site import safe_next, same_origin
from consentkit.web.current import current
from consentkit.web.identity import become, hint, identify, new_visitor, remember, signer
from consentkit.web.limiting import too_many, wait
from consentkit.web.problems import page_context, problem, wants_html
from consentkit.web.sent import sent
from consentkit.web.standing import hint_value, standing
from consentkit.web.state import BLUEPRINT, State

COOKIE = "consent_age"
SESSION_S = 24 * 3600
"""A browser that never ends its session is asked again after a day."""
FIELDS = ("day", "month", "year")
_SALT = "consentkit.age.v1"
_NUMBER = re.compile(r"\d{1,4}")


class NoDate(ValueError):
    """What was written is no date of birth. `fault`: the key of the text that says why."""

    def __init__(self, fault: str) -> None:
        self.fault = fault
        super().__init__(fault)


def show(state: State) -> Response:
    """The form; for who has answered the way on, or that there is nothing to answer any more."""
    _only_where_ages_count(state)
    carry(state)
    if _facts(state).band is not Band.UNKNOWN:
        target = safe_next(request.args.get("next"))
        return _private(make_response(redirect(target, 303))) if target else _page(answered=True)
    return _page(used=True, status=403) if _is_used() else _page()


def answer(state: State) -> Response:
    """Take the date, once. What is no date costs nothing."""
    _only_where_ages_count(state)
    if not same_origin():
        return problem(403, "cross-site", "Forbidden", "An answer has to come from this site's own pages.")
    carry(state)
    if _is_used() or _facts(state).band is not Band.UNKNOWN:
        return _refused()
    if (pause := wait(state, yes=True)) is not None:
        return too_many(pause)
    subject = identify(state).subject or new_visitor()
    try:
        taken = _taken(state, subject, _born(sent()))
    except NoDate as error:
        if wants_html():
            return _page(fault=error.fault, status=422)
        detail = "year, month and day are the date of birth, in numbers, such as 1987, 3 and 9"
        return problem(422, "age-invalid", "Invalid date of birth", detail, fault=error.fault)
    return _done(state, subject) if taken else _refused()


def carry(state: State) -> None:
    """What was answered in this session before signing in holds for the account, where its age is not known."""
    identity = identify(state)
    if identity.account is not None and identity.visitor is not None and _is_used():
        state.kit.carry_age(identity.visitor, identity.account)


def _only_where_ages_count(state: State) -> None:
    if state.kit.facts.rules(state.kit.catalog) is None:
        abort(404)


def _facts(state: State) -> Facts:
    """What is known of whoever asks, as the gates see it. Raises StoreUnavailable."""
    kit, consents = state.kit, current()
    known = consents.known.subject.facts
    if consents.subject is None:
        return known
    return kit.facts.complete(kit.catalog, consents.subject, known, kit.runtime.clock.now())


def _born(form: Mapping[str, Any]) -> date:
    """The date that was written. Raises NoDate."""
    texts = [str(form.get(name) or "").strip() for name in FIELDS]
    if not all(_NUMBER.fullmatch(text) for text in texts):
        raise NoDate("numbers")
    day, month, year = map(int, texts)
    if year < 1000:
        raise NoDate("year")
    try:
        return date(year, month, day)
    except ValueError:
        raise NoDate("no_date") from None


def _taken(state: State, subject: str, born: date) -> bool:
    """Whether the answer counts. Raises NoDate for a day that is still to come, or that nobody remembers."""
    try:
        return state.kit.declare_age(subject, Age(born=born))
    except ValueError:
        raise NoDate("old" if born < date.today() else "future") from None


def _done(state: State, subject: str) -> Response:
    """On to where one came from. The cookie says that there was an answer, not which."""
    account = identify(state).account
    if account is None:
        become(subject)
    target = safe_next(str(sent().get("next") or "")) or url_for(f"{BLUEPRINT}.age", locale=state.locale())
    response = make_response(redirect(target, 303)) if wants_html() else jsonify(band=_facts(state).band)
    if account is None:
        remember(state, response, subject)
    hint(state, response, hint_value(state, standing(state)))
    response.set_cookie(
        COOKIE,
        signer(_SALT).sign("answered").decode(),
        path="/",
        domain=state.settings.cookie_domain,
        secure=request.is_secure,
        httponly=True,
        samesite="Lax",
    )
    return _private(response)


def _is_used() -> bool:
    """Whether this browser session has had its answer."""
    return signer(_SALT).validate(request.cookies.get(COOKIE, ""), max_age=SESSION_S)


def _refused() -> Response:
    if wants_html():
        return _page(used=True, status=403)
    detail = "A date of birth was given already; it is taken once."
    return problem(403, "age-answered", "Already answered", detail)


def _page(
    *, fault: str | None = None, used: bool = False, answered: bool = False, status: int = 200
) -> Response:
    page = render_template(
        "consentkit/age.html",
        action=url_for(f"{BLUEPRINT}.age"),
        next=safe_next(request.values.get("next")),
        written={name: request.form.get(name, "") for name in FIELDS},
        fault=fault,
        used=used,
        answered=answered,
        contact=current().state.kit.catalog.controller.contact,
        **page_context(),
    )
    return _private(make_response(page, status))


def _private(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    response.vary.update(["Accept", "Cookie"])
    return response
