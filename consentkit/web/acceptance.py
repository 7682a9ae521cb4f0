"""The acceptance page: the text, one express act, one event per policy, all or none."""

from __future__ import annotations

from typing import Any

from flask import Response, abort, jsonify, make_response, redirect, render_template, request, url_for

from consentkit.core.catalog import Policy, PolicyVersion, localized
from consentkit.core.errors import ChoiceRejected, NoticeOutdated, UnknownPolicy
from consentkit.core.published import PolicyRelease
from consentkit.core.terms import Reason
from consentkit.core.times import from_us, rfc3339, to_us
from consentkit.web.archive import announced, find_policy, language, render_text, text_locale
from consentkit.web.cross_site import home, safe_next, same_origin
from consentkit.web.current import current
from consentkit.web.identity import identify, new_visitor, remember
from consentkit.web.limiting import too_many, wait
from consentkit.web.problems import page_context, problem, rejected, title_of, wants_html
from consentkit.web.state import BLUEPRINT, State

METHODS = ("tick", "button")
Shown = tuple[Policy, PolicyRelease, PolicyVersion]


def show(state: State, key: str, *, outdated: bool = False, status: int = 200) -> Response:
    """The texts with a tick and a button: those in force, or with `?version=` an announced one. Else 404."""
    context = page_context()
    locale = context["locale"]
    version = None if outdated else request.values.get("version") or None
    chosen = _chosen(state, key, version)
    documents = [_document(state, found, locale) for found in chosen]
    early = any(d["announced"] for d in documents)
    declined = [d["key"] for d in documents if current().look(d["key"]).reason is Reason.REFUSED]
    page = render_template(
        "consentkit/accept.html",
        title=", ".join(str(d["title"]) for d in documents),
        documents=documents,
        action=url_for(f"{BLUEPRINT}.accept", key=key),
        next=safe_next(request.values.get("next")),
        version=version if early else None,
        early=early,
        outdated=outdated,
        declined=[] if early else declined,
        method=_method(state, chosen),
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
    decision = request.form.get("decision")
    if (pause := wait(state, yes=decision != "decline")) is not None:
        return too_many(pause)
    if decision == "decline":
        return _decline(state, key)
    try:
        if decision != "accept":
            raise ChoiceRejected("decision is accept or decline")
        accepted, method = _accepted(policies), _said_method(state, key)
        identity = identify(state)
        subject = identity.subject or new_visitor()
        events = state.kit.accept_shown(subject, accepted, method=method, locale=state.locale())
    except NoticeOutdated as error:
        if wants_html():
            return show(state, key, outdated=True, status=409)
        return problem(409, "notice-outdated", "Notice outdated", str(error), notice=error.current)
    except (ChoiceRejected, ValueError) as error:
        here = url_for(f"{BLUEPRINT}.accept", key=key, next=safe_next(request.form.get("next")))
        return rejected(error, here)
    said = [
        {"policy": e.item, "version": e.version, "event_id": e.event_id, "at": rfc3339(to_us(e.recorded_at))}
        for e in events
    ]
    target = safe_next(request.form.get("next")) or home()
    return _done(state, subject, identity.account, {"accepted": said}, target)


def _accepted(policies: list[str]) -> dict[str, str]:
    """The digest of each text that was shown. Raises ChoiceRejected where one is missing."""
    shown = dict(pair.split(":", 1) for pair in request.form.getlist("notice") if ":" in pair)
    missing = [policy for policy in policies if policy not in shown]
    if missing:
        raise ChoiceRejected(f"notice=<policy>:<digest> is missing for {missing[0]}")
    return {policy: shown[policy] for policy in policies}


def _said_method(state: State, key: str) -> str:
    """The act. Raises ChoiceRejected for one that is not of this page, and for a tick that is missing."""
    method = request.form.get("method") or _method(
        state, [find_policy(state, k, None) for k in _keys(state, key)]
    )
    if method not in METHODS:
        raise ChoiceRejected(f"method is one of {', '.join(METHODS)}")
    if method == "tick" and not request.form.get("agree"):
        raise ChoiceRejected("The tick is missing: nothing was recorded.")
    return method


def _decline(state: State, key: str) -> Response:
    version = request.form.get("version")
    if version and announced(state, _chosen(state, key, version)[0][1]):
        detail = f"version {version} is not in force yet: there is nothing to decline before its date"
        return problem(422, "choice-rejected", "Choice rejected", detail)
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


def _chosen(state: State, key: str, version: str | None) -> list[Shown]:
    """The policies with what is to be accepted. 404 for a version that is neither in force nor announced."""
    keys = _keys(state, key)
    found = [find_policy(state, policy, version) for policy in keys]
    if version is not None:
        current_one = state.kit.policy_in_effect(keys[0])
        _, release, _ = found[0]
        if key not in keys or not (release == current_one or announced(state, release)):
            abort(404)
    return found


def _method(state: State, chosen: list[Shown]) -> str | None:
    """The strictest of the page's two acts by which each of these may be accepted; None where it is neither."""
    subject = current().subject
    allowed = [state.kit.acceptance_methods(subject, release) for _, release, _ in chosen]
    return next((act for act in METHODS if all(act in acts for acts in allowed)), None)


def _document(state: State, shown: Shown, locale: str) -> dict[str, Any]:
    policy, release, written = shown
    locale_of_text = text_locale(state, written, locale)
    where: dict[str, Any] = {"key": policy.key, "version": release.version, "locale": locale_of_text}
    return {
        "key": policy.key,
        "title": title_of(state, policy.key, locale),
        "version": release.version,
        "effective": from_us(release.effective_us),
        "announced": announced(state, release),
        "summary": localized(written.summary, locale, state.kit.catalog.site.default_locale),
        "html": render_text(written, locale_of_text),
        "text": language(locale_of_text),
        "digest": release.texts[locale_of_text],
        "url": url_for(f"{BLUEPRINT}.policy", **where),
        "changes": url_for(f"{BLUEPRINT}.changes", **where) if release.ordinal > 1 else None,
    }
