"""Our own pages about a visitor: preferences, status, receipt; no script needed."""

from __future__ import annotations

from typing import Any

from flask import Response, jsonify, make_response, render_template, request, url_for

from consentkit.web.announcements import hiding_rules, to_show
from consentkit.web.cross_site import safe_next
from consentkit.web.current import current
from consentkit.web.expiry import expire_cookies
from consentkit.web.identity import HINT, hint
from consentkit.web.linking import offer_url
from consentkit.web.own_cookies import for_readers, own_cookies
from consentkit.web.problems import page_context, title_of, wants_html
from consentkit.web.standing import Standing, hint_value, standing, standing_json
from consentkit.web.state import BLUEPRINT, State


def preferences(state: State) -> Response:
    """What is asked, what was answered, and every button."""
    saved, outdated = "saved" in request.args, "outdated" in request.args
    target = safe_next(request.args.get("next"))
    response = preferences_page(state, saved=saved, outdated=outdated, target=target)
    expire_cookies(state, response)
    return response


def preferences_page(
    state: State, *, saved: bool = False, outdated: bool = False, target: str | None = None
) -> Response:
    """The page; with `outdated` it is the answer 409 to a grant that rested on an older notice."""
    context, notice = page_context(), state.kit.notice(state.locale())
    now = standing(state)
    page = render_template(
        "consentkit/preferences.html",
        notice=notice.data,
        digest=notice.digest,
        action=url_for(f"{BLUEPRINT}.preferences"),
        next=target,
        granted=set(now.granted),
        statuses={key: str(current().status(f"purpose:{key}")) for key in state.kit.catalog.purposes},
        decided=now.decided,
        policies=_policies(state, context["locale"]),
        receipt_url=url_for(f"{BLUEPRINT}.receipt"),
        link_url=offer_url(state),
        saved=saved,
        outdated=outdated,
        gpc=now.honored,
        relaxed=bool(now.unasked),
        own_cookies=for_readers(own_cookies(state), context["locale"]),
        **context,
    )
    return _private(make_response(page, 409 if outdated and request.method == "POST" else 200))


def status(state: State) -> Response:
    """`GET /consent/status`: the visitor's standing as JSON, with what is announced to this very person.

    `?hint=keep` leaves the hint for scripts alone: this answer may come after that to a later `POST /consent`,
    and only the script that asks for both can tell.
    """
    now = standing(state)
    said = {"announcements": to_show(state), "link": offer_url(state)}
    response = jsonify({**standing_json(state, now), **said})
    if request.args.get("hint") != "keep":
        _correct_hint(state, response, now)
    expire_cookies(state, response)
    return _private(response)


def state_css(state: State) -> Response:
    """Where no script runs: hides what somebody has answered or acknowledged, shows the line about GPC."""
    rules = hiding_rules(state)
    now = standing(state)
    if now.shown == "nothing":
        rules.append("[data-consent-banner]{display:none}\n:root{--ck-space:0px}")
    if now.shown == "notice":
        rules.append("[data-consent-dismiss]{display:block}")
    if now.unasked:
        rules.append("[data-consent-text=strict]{display:none}\n[data-consent-text=relaxed]{display:block}")
    if now.honored:
        rules.append("[data-consent-gpc]{display:block}")
    response = make_response("\n".join(rules))
    response.content_type = "text/css; charset=utf-8"
    response.headers["Cache-Control"] = "private, no-cache"
    response.vary.update(["Cookie", "Sec-GPC"])
    return response


def receipt(state: State) -> Response:
    """The visitor's own receipt, readable or as JSON (`Accept: application/json` or `?format=json`)."""
    subject = current().subject
    data = state.kit.receipt(subject)
    if request.args.get("format") == "json" or not wants_html():
        return _private(jsonify(data))
    context = page_context()
    answers = [
        {**a, "title": title_of(state, a["item"], context["locale"]), "at": a["effective_at"]}
        for a in data["answers"]
    ]
    json_url = url_for(f"{BLUEPRINT}.receipt", format="json")
    page = render_template(
        "consentkit/receipt.html", receipt={**data, "answers": answers}, json_url=json_url, **context
    )
    return _private(make_response(page))


def _correct_hint(state: State, response: Response, now: Standing) -> None:
    """Tell the script for its next page; where nothing is known and silence allows nothing, no cookie is set."""
    sent, value = request.cookies.get(HINT), hint_value(state, now)
    if value != sent and (sent is not None or now.unasked or current().subject is not None):
        hint(state, response, value)


def _policies(state: State, locale: str) -> list[dict[str, Any]]:
    listed = []
    for key, found in state.kit.catalog.policies.items():
        decision = current().look(key)
        listed.append(
            {
                "key": key,
                "title": title_of(state, key, locale),
                "url": url_for(f"{BLUEPRINT}.policy", key=key),
                "version": decision.version,
                "accepted": True if decision else (None if decision.event_id is None else False),
                "required": found.required,
            }
        )
    return listed


def _private(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    response.vary.add("Cookie")
    return response
