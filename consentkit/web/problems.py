"""A gate's no as problem+json (RFC 9457), a page, or a redirect to where one can answer."""

from __future__ import annotations

from typing import Any

from flask import Response, jsonify, make_response, redirect, render_template, request, url_for

from consentkit.core.catalog import localized
from consentkit.core.errors import (
    AcceptanceMissing,
    AgeNeeded,
    ConsentMissing,
    GuardianNeeded,
    NotForChildren,
)
from consentkit.core.gate import AGE, Decision
from consentkit.core.terms import Reason
from consentkit.core.texts import direction, texts
from consentkit.logs import unavailable as log_unavailable
from consentkit.web.cross_site import here
from consentkit.web.current import current
from consentkit.web.state import BLUEPRINT, State, current_state

ASK = frozenset({Reason.NO_ANSWER, Reason.REQUESTED, Reason.EXPIRED, Reason.OUTDATED, Reason.AGED_OUT})
"""Reasons for which a browser is led to the question. After a no it is not: that would be nagging."""

REFUSALS = {NotForChildren: Reason.FORBIDDEN_FOR_MINORS, GuardianNeeded: Reason.GUARDIAN_REQUIRED}
TYPE = "urn:consentkit:problem:"
STOPPED = "Consent-Gate"
"""The header that tells a gate's answer from others, also without a body. It says `blocked` and not why."""


def asks(decision: Decision) -> bool:
    """Whether it is a no because something was not answered yet."""
    return decision.reason in ASK or decision.asks_age


def wants_html() -> bool:
    """Only a client that names text/html gets pages; `*/*` and no Accept at all get JSON."""
    return any(mime == "text/html" and quality > 0 for mime, quality in request.accept_mimetypes)


def problem(status: int, kind: str, title: str, detail: str, **extra: Any) -> Response:
    """A problem+json answer that no cache keeps."""
    response = jsonify({"type": TYPE + kind, "title": title, "status": status, "detail": detail, **extra})
    response.status_code = status
    response.content_type = "application/problem+json"
    response.headers["Cache-Control"] = "no-store"
    return response


def on_blocked(error: ConsentMissing) -> Response:
    """The answer to a request that a gate stopped."""
    response = _blocked(error)
    response.headers[STOPPED] = "blocked"
    return response


def _blocked(error: ConsentMissing) -> Response:
    decision = error.decision
    if decision.reason is Reason.STORE_UNAVAILABLE:
        return on_unavailable(error)
    own = not error.tenant and error.subject == current().subject
    if not wants_html():
        return _vary(_blocked_problem(error, own))
    asks = _where_to_answer(decision) if own and request.method in ("GET", "HEAD") else None
    if asks is not None:
        return _vary(make_response(redirect(asks, 303)))
    return _vary(_blocked_page(decision, own))


def rejected(error: Exception, target: str | None = None) -> Response:
    """The answer to what cannot be recorded as it was said. Who only has to give an age is led to that page.

    `target`: where the form wanted to go.
    """
    if isinstance(error, AgeNeeded):
        page = url_for(f"{BLUEPRINT}.age", next=target, locale=_language(current_state()))
        if wants_html():
            return make_response(redirect(page, 303))
        response = problem(422, "age-needed", "Age needed", str(error), needs=[AGE])
        response.headers["Location"] = page
        return response
    reason = next((REFUSALS[kind] for kind in REFUSALS if isinstance(error, kind)), None)
    if reason is not None and wants_html():
        context = page_context()
        return make_response(render_template("consentkit/blocked.html", reason=reason.value, **context), 422)
    return problem(422, "choice-rejected", "Choice rejected", str(error))


def on_unavailable(error: Exception) -> Response:
    """503: the ledger cannot be asked, so nothing is processed."""
    if not isinstance(error, ConsentMissing):  # a gate's no was logged where it was decided
        log_unavailable(error)
    if wants_html():
        response = make_response(render_template("consentkit/unavailable.html", **page_context()), 503)
    else:
        detail = "The consent ledger cannot be reached, so nothing is processed. Try again later."
        response = problem(
            503, "store-unavailable", "Service unavailable", detail, reason=Reason.STORE_UNAVAILABLE.value
        )
    response.headers["Retry-After"] = "30"
    response.headers["Cache-Control"] = "no-store"
    return _vary(response)


def page_context() -> dict[str, Any]:
    """What every page of ours needs."""
    state = current_state()
    locale = state.page_locale()
    site = state.kit.catalog.site.name or state.kit.catalog.controller.name
    return {"t": texts(locale), "locale": locale, "dir": direction(locale), "site_name": site}


def title_of(state: State, item: str, locale: str) -> str:
    """The title of a purpose or policy in a locale."""
    catalog = state.kit.catalog
    found = catalog.purposes.get(item) or catalog.policies.get(item) or catalog.categories.get(item)
    return (localized(found.title, locale, catalog.site.default_locale) if found else "") or _name(
        item, locale
    )


def _name(item: str, locale: str) -> str:
    """What is recorded and stands in no catalogue."""
    return {"gpc": "Global Privacy Control", "link": texts(locale)["link.title"]}.get(item, item)


def _blocked_problem(error: ConsentMissing, own: bool) -> Response:
    decision = error.decision
    kind = "acceptance-missing" if isinstance(error, AcceptanceMissing) else "consent-missing"
    words = texts("en")
    title = words[f"reason.{decision.reason}.title" if own else "page.blocked"]
    return problem(
        *(403, kind, title, str(error)),
        reason=decision.reason.value,
        item=decision.item,
        version=decision.version,
        needs=list(decision.needs),
    )


def _blocked_page(decision: Decision, own: bool) -> Response:
    """`own`: it is the visitor's own answer. Of somebody else's the page says nothing, nor can it be changed here."""
    state, context = current_state(), page_context()
    link: str | None = url_for(f"{BLUEPRINT}.preferences", locale=_language(state))
    if decision.item in state.kit.catalog.policies:
        link = url_for(f"{BLUEPRINT}.accept", key=decision.item, locale=_language(state))
    about = {"reason": decision.reason.value, "link": link} if own else {"reason": "", "link": None}
    item_title = title_of(state, decision.item, context["locale"])
    page = render_template("consentkit/blocked.html", item_title=item_title, **about, **context)
    response = make_response(page, 403)
    response.headers["Cache-Control"] = "no-store"
    return response


def _where_to_answer(decision: Decision) -> str | None:
    """The page where the missing answer can be given, or None when one was given and it was no."""
    state = current_state()
    if decision.reason is Reason.POLICY_NOT_ACCEPTED:
        missing = [current().look(policy) for policy in decision.needs]
        declined = [d for d in missing if not asks(d)]
        return None if declined or not missing else _where_to_answer(missing[0])
    if not asks(decision):
        return None
    query = request.query_string.decode("latin-1")
    back = f"{here()}?{query}" if query else here()
    if decision.asks_age:
        return url_for(f"{BLUEPRINT}.age", next=back, locale=_language(state))
    if decision.item in state.kit.catalog.policies:
        return url_for(f"{BLUEPRINT}.accept", key=decision.item, next=back, locale=_language(state))
    return url_for(f"{BLUEPRINT}.preferences", next=back, locale=_language(state))


def _language(state: State) -> str | None:
    """The language of the host's page, where the host has told it."""
    return state.locale() if state.loaders.locale is not None else None


def _vary(response: Response) -> Response:
    response.vary.update(["Accept", "Cookie"])
    response.headers.setdefault("Cache-Control", "no-store")
    return response
