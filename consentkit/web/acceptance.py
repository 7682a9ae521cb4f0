"""The acceptance page: the text, one express act, one event per policy, all or none."""

from __future__ import annotations

from typing import Any

from flask import Response, abort, jsonify, make_response, redirect, render_template, request, url_for

from consentkit.core.catalog import localized
from consentkit.core.errors import ChoiceRejected, NoticeOutdated, UnknownPolicy
from consentkit.core.terms import Reason
from consentkit.core.times import rfc3339, to_us
from consentkit.web.cross_site import safe_next, same_origin
from consentkit.web.current import current
from consentkit.web.identity import identify, new_visitor, remember
from consentkit.web.pages import find_policy, render_text
from consentkit.web.problems import page_context, problem, title_of, wants_html
from consentkit.web.state import BLUEPRINT, State

METHODS = ("tick", "button")


def show(state: State, key: str, *, outdated: bool = False, status: int = 200) -> Response:
    """The texts in force with a tick and a button. 404 for an unknown key."""
    context = page_context()
    locale = context["locale"]
    documents = [_document(state, policy, locale) for policy in _keys(state, key)]
    declined = any(current().decide(d["key"]).reason is Reason.REFUSED for d in documents)
    page = render_template(
        "consentkit/accept.html",
        title=", ".join(str(d["title"]) for d in documents),
        documents=documents,
        action=url_for(f"{BLUEPRINT}.accept", key=key),
        next=safe_next(request.values.get("next")),
        outdated=outdated,
        declined=declined,
        method=_method(state, key),
        **context,
    )
    response = make_response(page, status)
    response.headers["Cache-Control"] = "no-store"
    return response


def answer(state: State, key: str) -> Response:
    """Record acceptance or refusal. A stale text is answered 409 with the new one, nothing recorded."""
    if not same_origin():
        return problem(403, "cross-site", "Forbidden", "An answer has to come from this site's own pages.")
    policies = _keys(state, key)
    form = request.form
    if form.get("decision") == "decline":
        return _decline(state, key)
    if form.get("decision") != "accept":
        return problem(422, "choice-rejected", "Choice rejected", "decision is accept or decline")
    method = form.get("method") or _method(state, key)
    if method not in METHODS:
        return problem(422, "choice-rejected", "Choice rejected", f"method is one of {', '.join(METHODS)}")
    if method == "tick" and not form.get("agree"):
        return problem(
            422, "choice-rejected", "Choice rejected", "The tick is missing: nothing was recorded."
        )
    shown = dict(pair.split(":", 1) for pair in form.getlist("notice") if ":" in pair)
    missing = [policy for policy in policies if policy not in shown]
    if missing:
        return problem(
            422, "choice-rejected", "Choice rejected", f"notice=<policy>:<digest> is missing for {missing[0]}"
        )
    identity = identify(state)
    subject = identity.subject or new_visitor()
    try:
        accepted = {policy: shown[policy] for policy in policies}
        events = state.kit.accept_shown(subject, accepted, method=method, locale=state.locale())
    except NoticeOutdated as error:
        if wants_html():
            return show(state, key, outdated=True, status=409)
        return problem(409, "notice-outdated", "Notice outdated", str(error), notice=error.current)
    except (ChoiceRejected, ValueError) as error:
        return problem(422, "choice-rejected", "Choice rejected", str(error))
    said = [
        {"policy": e.item, "version": e.version, "event_id": e.event_id, "at": rfc3339(to_us(e.recorded_at))}
        for e in events
    ]
    return _done(state, subject, identity.account, {"accepted": said}, safe_next(form.get("next")) or "/")


def _decline(state: State, key: str) -> Response:
    identity = identify(state)
    subject = identity.subject or new_visitor()
    events = state.kit.decline(subject, key, method="button", locale=state.locale())
    home = url_for(f"{BLUEPRINT}.preferences")
    return _done(state, subject, identity.account, {"declined": [e.item for e in events]}, home)


def _done(state: State, subject: str, account: str | None, body: dict[str, Any], target: str) -> Response:
    response = make_response(redirect(target, 303)) if wants_html() else jsonify(body)
    if account is None:
        remember(state, response, subject)
    response.headers["Cache-Control"] = "no-store"
    return response


def _keys(state: State, key: str) -> list[str]:
    try:
        return [policy.key for policy in state.kit.catalog.policies_of(key)]
    except UnknownPolicy:
        abort(404)


def _method(state: State, key: str) -> str:
    """The strictest of the page's two acts that every policy allows."""
    allowed = [set(find_policy(state, policy)[1].acceptance) for policy in _keys(state, key)]
    return "tick" if all("tick" in methods for methods in allowed) else "button"


def _document(state: State, key: str, locale: str) -> dict[str, Any]:
    _, release, written = find_policy(state, key)
    shown = locale if locale in written.texts else state.kit.catalog.site.default_locale
    return {
        "key": key,
        "title": title_of(state, key, locale),
        "version": release.version,
        "summary": localized(written.summary, locale),
        "html": render_text(written, shown),
        "digest": release.texts[shown],
        "url": url_for(f"{BLUEPRINT}.policy", key=key, locale=shown),
    }
