"""Announcements and coming versions: what is shown to whom, until acknowledged.

The bar on the host's pages is the same for everybody. What is for one person only, an announcement to a
selection or what was acknowledged already, is told by `/consent/status`, the page, and `state.css`.
"""

from __future__ import annotations

from typing import Any

from flask import Response, jsonify, make_response, redirect, render_template, request, url_for

from consentkit.core.announcing import Announcement
from consentkit.core.catalog import localized
from consentkit.core.errors import ChoiceRejected, UnknownPolicy
from consentkit.core.terms import Action, Kind, Status
from consentkit.core.texts import texts
from consentkit.core.times import from_us, rfc3339
from consentkit.web.cross_site import came_from, safe_next, same_origin
from consentkit.web.current import current
from consentkit.web.identity import announced_hint, identify, new_visitor, remember
from consentkit.web.limiting import too_many, wait
from consentkit.web.problems import page_context, problem, wants_html
from consentkit.web.state import BLUEPRINT, State

DECISIONS = ("seen", "shown")
_ISOLATE, _END = "\u2066", "\u2069"  # in a right-to-left sentence a date would be shown backwards


def to_show(state: State) -> list[dict[str, Any]]:
    """What is still to be shown to whoever is asking. `told`: there is nothing to record about showing it."""
    subject = current().subject
    found = state.kit.announcements(subject)
    told = _told(state, subject) if subject is not None and found else set()
    return [
        {**describe(state, each), "told": subject is None or (each.key, each.version) in told}
        for each in found
    ]


def hiding_rules(state: State) -> list[str]:
    """CSS that hides from the bar what whoever is asking has acknowledged."""
    if current().subject is None:
        return []
    open_ = {(each.key, each.ordinal) for each in state.kit.announcements(current().subject)}
    seen = [each for each in state.kit.announcements(None) if (each.key, each.ordinal) not in open_]
    rule = '[data-consent-announcement="{}"][data-ordinal="{}"]{{display:none}}'
    return [rule.format(each.key, each.ordinal) for each in seen]


def page(state: State, *, status: int = 200) -> Response:
    """Everything that is announced to this person and not acknowledged yet."""
    shown = render_template(
        "consentkit/announcements.html",
        announcements=to_show(state),
        action=url_for(f"{BLUEPRINT}.announcements"),
        saved="saved" in request.args,
        **page_context(),
    )
    return _private(make_response(shown, status))


def answer(state: State) -> Response:
    """`decision=seen` acknowledges; `decision=shown` records that it was visible, for whom is known."""
    if not same_origin():
        return problem(403, "cross-site", "Forbidden", "An answer has to come from this site's own pages.")
    form = request.form
    decision, key = form.get("decision"), form.get("key", "")
    if decision not in DECISIONS:
        return _rejected(f"decision is one of {', '.join(DECISIONS)}")
    version = form.get("version") or None
    known = identify(state).subject is not None
    if (decision == "seen" or known) and (pause := wait(state, yes=True)) is not None:
        return too_many(pause)
    try:
        _addressed(state, key)
        if decision == "shown":
            return _shown(state, key, version)
        return _seen(state, key, version)
    except UnknownPolicy:
        return problem(422, "unknown-policy", "Unknown policy", f"there is no announcement {key!r}")
    except (ChoiceRejected, ValueError) as error:
        return _rejected(str(error))


def describe(state: State, found: Announcement) -> dict[str, Any]:
    """An announcement in the language of the page, ready for a template and for JSON."""
    locale, default = state.locale(), state.kit.catalog.site.default_locale
    key, version = found.key, found.version
    title = localized(found.title, locale, default) or key
    date = f"{_ISOLATE}{from_us(found.effective_us):%Y-%m-%d}{_END}"
    coming = found.kind is Kind.POLICY
    words = texts(locale)["announcement.coming"]
    where: dict[str, Any] = {"key": key, "version": version, "locale": locale}
    changes = coming and found.ordinal > 1
    return {
        "kind": found.kind.value,
        "key": key,
        "version": version,
        "ordinal": found.ordinal,
        "headline": words.replace("{title}", title).replace("{date}", date) if coming else title,
        "summary": localized(found.summary, locale, default),
        "effective": rfc3339(found.effective_us),
        "url": url_for(f"{BLUEPRINT}.policy", **where),
        "changes": url_for(f"{BLUEPRINT}.changes", **where) if changes else None,
        "accept": url_for(f"{BLUEPRINT}.accept", **where) if coming else None,
    }


def _told(state: State, subject: str) -> set[tuple[str, str | None]]:
    events = state.kit.ledger.events(subject=subject, action=Action.NOTIFIED.value)
    return {(event.item, getattr(event, "version", None)) for event in events if hasattr(event, "item")}


def _addressed(state: State, key: str) -> None:
    """Raise UnknownPolicy for no policy, and for an announcement to others."""
    found = state.kit.catalog.policy(key)
    if found.kind != "announcement" or found.audience == "all":
        return
    rows = current().rows if current().subject is not None else ()
    if not any(r.kind == Kind.ANNOUNCEMENT and r.item == key and r.actor == "invitation" for r in rows):
        raise UnknownPolicy(f"there is no announcement {key!r}")


def _shown(state: State, key: str, version: str | None) -> Response:
    """Nothing is recorded about somebody of whom nothing is known, and no cookie is set."""
    subject = identify(state).subject
    events = []
    if subject is not None:
        events = state.kit.notified(
            subject, key, version=version, method="browser_signal", locale=state.locale()
        )
    return _private(jsonify({"recorded": len(events)}))


def _seen(state: State, key: str, version: str | None) -> Response:
    identity = identify(state)
    subject = identity.subject or new_visitor()
    locale = state.locale()
    state.kit.notified(subject, key, version=version, method="button", locale=locale)
    events = state.kit.acknowledge(subject, key, version=version, method="button", locale=locale)
    if wants_html():
        response = make_response(redirect(_back(), 303))
    else:
        response = jsonify({"acknowledged": key, "event_id": events[0].event_id})
    if identity.account is None:
        remember(state, response, subject)
    rows = state.kit.runtime.reader.state("", subject).rows
    seen = [r for r in rows if r.kind == Kind.ANNOUNCEMENT and r.status == Status.ACCEPTED]
    announced_hint(state, response, "~".join(f"{row.item}.{row.version}" for row in seen))
    return _private(response)


def _back() -> str:
    home = url_for(f"{BLUEPRINT}.announcements")
    back = safe_next(request.form.get("next")) or came_from() or home
    return f"{home}?saved=1" if back.split("?")[0] == home else back


def _rejected(detail: str) -> Response:
    return problem(422, "choice-rejected", "Choice rejected", detail)


def _private(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    response.vary.add("Cookie")
    return response
