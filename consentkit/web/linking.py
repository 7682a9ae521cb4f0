"""After sign-in: which choices of this browser the account takes over. `[site] link = "explicit_choice"` only.

The signed cookie says whose choices they are, never a form field. Nothing is ticked, and to take nothing over is
as easy. With the answer the browser's visitor is forgotten, so that it is asked once.
"""

from __future__ import annotations

from flask import Response, jsonify, make_response, redirect, render_template, request, url_for

from consentkit.core.choices import is_digest
from consentkit.core.errors import ChoiceRejected
from consentkit.core.record import Event
from consentkit.core.terms import Method
from consentkit.kit_link import VisitorChoice
from consentkit.web.cross_site import safe_next, same_origin
from consentkit.web.current import forget
from consentkit.web.identity import forget_visitor, hint, identify, leave_visitor
from consentkit.web.limiting import too_many, wait
from consentkit.web.problems import page_context, problem, wants_html
from consentkit.web.sent import sent
from consentkit.web.standing import hint_value, standing, standing_json
from consentkit.web.state import BLUEPRINT, State

DECISIONS = ("take", "leave")


def pending(state: State) -> list[VisitorChoice]:
    """What is still to be asked of whoever is asking. Raises StoreUnavailable."""
    identity = identify(state)
    if (
        state.kit.catalog.site.link != "explicit_choice"
        or identity.account is None
        or identity.visitor is None
    ):
        return []
    return state.kit.linkable(identity.account, identity.visitor)


def offer_url(state: State) -> str | None:
    """Where the question is, as long as it is open."""
    return url_for(f"{BLUEPRINT}.link") if pending(state) else None


def show(state: State) -> Response:
    """The question; where nothing is to be asked, the way on."""
    choices, target = pending(state), safe_next(request.args.get("next"))
    if not wants_html():
        shown = [{"purpose": c.purpose, "status": "given" if c.granted else "refused"} for c in choices]
        return _private(jsonify({"choices": shown, "notice": state.kit.notice(state.locale()).digest}))
    if not choices:
        return _private(make_response(redirect(target or url_for(f"{BLUEPRINT}.preferences"), 303)))
    return _page(state, choices, target)


def answer(state: State) -> Response:
    """Record what is taken over, or that nothing is, and forget the visitor."""
    if not same_origin():
        return problem(403, "cross-site", "Forbidden", "A choice has to come from this site's own pages.")
    choices, target = pending(state), safe_next(_field("next"))
    if not choices:
        return _done(state, [], target)
    decision, purposes = _field("decision"), _taken() if _field("decision") == "take" else []
    if decision not in DECISIONS:
        return _rejected(f"decision is one of {', '.join(DECISIONS)}")
    granted = {choice.purpose for choice in choices if choice.granted}
    if seconds := wait(state, yes=bool(granted.intersection(purposes))):
        return too_many(seconds)
    if granted.intersection(purposes) and not _holds(state):
        return _outdated(state, choices, target)
    try:
        events = _record(state, purposes)
    except (ChoiceRejected, ValueError) as error:
        return _rejected(str(error))
    return _done(state, events, target)


def _field(name: str) -> str | None:
    value = sent().get(name)
    return value if isinstance(value, str) and value else None


def _taken() -> list[str]:
    form = sent()
    values = form.getlist("take") if hasattr(form, "getlist") else form.get("take", [])
    return (
        [value for value in values if isinstance(value, str)] if isinstance(values, list) else [str(values)]
    )


def _holds(state: State) -> bool:
    """A yes rests on what the page shows today, in whatever language."""
    locales = state.kit.catalog.locales
    return _field("notice") in {state.kit.notice(locale).digest for locale in locales}


def _record(state: State, purposes: list[str]) -> list[Event]:
    identity, locale, notice = identify(state), state.locale(), _field("notice")
    if notice is not None and not is_digest(notice):
        notice = None  # a no counts whatever came with it
    return state.kit.link(
        identity.account or "",
        identity.visitor or "",
        purposes,
        method=Method.FORM.value,
        locale=locale,
        notice=notice,
    )


def _done(state: State, events: list[Event], target: str | None) -> Response:
    """The browser holds nothing of the visitor any more; the account's own standing counts."""
    if events:
        leave_visitor()
        forget()
    now = standing(state)
    taken = [{"purpose": e.item, "status": e.action} for e in events if e.kind == "purpose"]
    if wants_html():
        response = make_response(redirect(target or url_for(f"{BLUEPRINT}.preferences"), 303))
    else:
        response = jsonify({**standing_json(state, now), "taken": taken})
    if events:
        forget_visitor(state, response)
        hint(state, response, hint_value(state, now))
    return _private(response)


def _page(
    state: State,
    choices: list[VisitorChoice],
    target: str | None,
    *,
    status: int = 200,
    outdated: bool = False,
) -> Response:
    notice = state.kit.notice(state.locale())
    listed = [p for category in notice.data["categories"] for p in category["purposes"]]
    shown = {purpose["key"]: purpose for purpose in (*listed, *notice.data["apart"])}
    page = render_template(
        "consentkit/link.html",
        choices=[{"granted": c.granted, "item": shown[c.purpose]} for c in choices if c.purpose in shown],
        notice=notice.data,
        digest=notice.digest,
        action=url_for(f"{BLUEPRINT}.link"),
        next=target,
        outdated=outdated,
        **page_context(),
    )
    return _private(make_response(page, status))


def _outdated(state: State, choices: list[VisitorChoice], target: str | None) -> Response:
    """The text was changed meanwhile: nothing is recorded, the new one is shown."""
    if wants_html():
        return _page(state, choices, target, status=409, outdated=True)
    detail = "The notice was changed; show the current one and ask again. Nothing was recorded."
    now = state.kit.notice(state.locale()).digest
    return problem(409, "notice-outdated", "Notice outdated", detail, notice=now)


def _rejected(detail: str) -> Response:
    return problem(422, "choice-rejected", "Choice rejected", detail)


def _private(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    response.vary.add("Cookie")
    return response
