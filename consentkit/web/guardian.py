"""The guardian's page: read, be verified, answer each question, confirm; later see, change, withdraw, export.

A link is swapped for a session, so that no address with a token stays in the browser. No GET records anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Response, jsonify, make_response, redirect, render_template, request, url_for

from consentkit.core.catalog import localized
from consentkit.core.errors import (
    ChoiceRejected,
    GuardianNotNeeded,
    NoticeOutdated,
    TokenInvalid,
    VerifierFailed,
)
from consentkit.core.guardian_message import day, site_of, title_of
from consentkit.core.inviting import ACCESS, Reply, third_parties
from consentkit.core.tokens import Session
from consentkit.core.verification import GuardianMethod
from consentkit.guardians.desk import Desk
from consentkit.guardians.visiting import AskedHere, Page, Visit
from consentkit.web.archive import find_policy, language, render_text, text_locale
from consentkit.web.cross_site import same_origin
from consentkit.web.guardian_session import forget, marks, private, remember, session_text
from consentkit.web.problems import page_context, problem
from consentkit.web.state import BLUEPRINT, State

LIMIT = 64 * 1024
DECISIONS = ("code", "answer", "refuse", "verify", "confirm", "take-back")


def open_link(state: State, token: str) -> Response:
    """`GET guardian/<token>`: a session and a redirect to the page; what is wrong with the link is said."""
    desk = Desk(state.kit)
    try:
        return _enter(desk, desk.open_link(token, marks(state)))
    except AskedHere:
        return _asker()
    except TokenInvalid as error:
        return _gone(error)


def show(state: State, *, alert: str = "", status: int = 200) -> Response:
    """`GET guardian`: what the session is about; without one the form for the code."""
    text = session_text()
    if text is None:
        return _code_page()
    try:
        return _page(state, Desk(state.kit).visit(text, marks(state)), alert, status)
    except AskedHere:
        return _asker()
    except TokenInvalid as error:
        return forget(_gone(error))


def answer(state: State) -> Response:
    """`POST guardian`: 303; 422 where something is missing, 409 for a text that has changed, 410 for an old link."""
    if not same_origin():
        return problem(403, "cross-site", "Forbidden", "An answer has to come from this site's own pages.")
    decision = request.form.get("decision", "")
    try:
        if decision == "code":
            return _typed(state)
        text = session_text()
        if text is None or decision not in DECISIONS:
            return _code_page(status=422)
        desk = Desk(state.kit)
        return _decide(state, desk, desk.visit(text, marks(state)), decision)
    except AskedHere:
        return _asker()
    except TokenInvalid as error:
        return forget(_gone(error))
    except NoticeOutdated:
        return show(state, alert="page.outdated", status=409)
    except GuardianNotNeeded:
        return forget(_said("guardian.gone", "guardian.not_needed", 410))
    except VerifierFailed:
        return show(state, alert="guardian.verify_unavailable", status=503)
    except ChoiceRejected:
        return show(state, alert="guardian.missing", status=422)


def receipt(state: State) -> Response:
    """`GET guardian/receipt`: the guardian's own answers as JSON."""
    return _download(state, Desk.receipt, "receipt")


def export(state: State) -> Response:
    """`GET guardian/export`: what is recorded about the child, for a guardian who was verified."""
    return _download(state, Desk.export, "export")


def callback(state: State, name: str) -> Response:
    """`POST guardian/callback/<provider>`: a verifier's signed result, taken once: 204, else 403."""
    verifier = state.kit.guardian.verifiers.get(name)
    if verifier is None:
        return problem(404, "unknown-verifier", "Not found", "There is no verifier of this name.")
    data = request.stream.read(LIMIT + 1)
    try:
        if len(data) > LIMIT:
            raise TokenInvalid("the result is too long")
        Desk(state.kit).finish_check(verifier, dict(request.headers), data)
    except TokenInvalid as error:
        return problem(403, "result-refused", "Forbidden", str(error))
    return private(make_response("", 204))


# ---------------------------------------------------------------- what was decided


def _decide(state: State, desk: Desk, visit: Visit, decision: str) -> Response:
    if decision == "verify":
        return _lead_away(state, desk, visit)
    if decision == "refuse":
        desk.reply(visit, Reply(no=visit.items))
    elif decision == "answer":
        desk.reply(visit, _reply(visit))
    else:
        desk.second(visit, agreed=decision == "confirm")
    return private(make_response(redirect(_here(saved=1, locale=state.locale()), 303)))


def _reply(visit: Visit) -> Reply:
    """What the form says. A question without an answer is in neither list, so the reply is not taken."""
    said = {item: request.form.get(f"answer:{item}") for item in visit.items}
    shown = dict(pair.split(":", 1) for pair in request.form.getlist("notice") if ":" in pair)
    yes = {item: shown.get(item, "") for item, word in said.items() if word == "yes"}
    no = tuple(item for item, word in said.items() if word == "no")
    return Reply(yes, no, frozenset(request.form.getlist("disclose")))


def _typed(state: State) -> Response:
    desk = Desk(state.kit)
    session = desk.open_code(request.form.get("code", ""), marks(state))
    return _code_page(wrong=True, status=422) if session is None else _enter(desk, session)


def _lead_away(state: State, desk: Desk, visit: Visit) -> Response:
    """To the verifier, by a page: a site's `form-action 'self'` would stop a redirect."""
    target = desk.start_check(visit)
    context = page_context()
    page = render_template(
        "consentkit/guardian_away.html",
        target=target,
        provider=_provider(state, visit),
        **context,
    )
    response = private(make_response(page))
    response.headers["Refresh"] = f"0; url={target}"
    return response


def _enter(desk: Desk, session: Session) -> Response:
    here = _here(locale=desk.locale_of(session))
    return private(remember(make_response(redirect(here, 303)), desk.text_of(session)))


def _download(state: State, read: Callable[[Desk, Visit], dict[str, Any]], name: str) -> Response:
    desk, text = Desk(state.kit), session_text()
    try:
        if text is None:
            raise TokenInvalid("there is no session")
        data = read(desk, desk.visit(text, marks(state)))
    except AskedHere:
        return _asker()
    except TokenInvalid as error:
        return _gone(error)
    except ChoiceRejected as error:
        return private(problem(403, "not-verified", "Forbidden", str(error)))
    response = private(jsonify(data))
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.json"'
    return response


# ---------------------------------------------------------------- pages


def _page(state: State, visit: Visit, alert: str, status: int) -> Response:
    desk, context = Desk(state.kit), page_context()
    if visit.page in (Page.ANSWER, Page.VERIFY, Page.PAPER, Page.CONFIRM) and not desk.is_needed(visit):
        return forget(_said("guardian.gone", "guardian.not_needed", 410))
    own = visit.row.body.kind == ACCESS
    locale = context["locale"]
    controller = state.kit.catalog.controller
    page = render_template(
        "consentkit/guardian.html",
        page=visit.page.value,
        own=own,
        items=[_item(state, desk, visit, key, locale) for key in visit.items],
        child=visit.child,
        controller=controller,
        contact=", ".join(filter(None, (controller.name, controller.contact))) or site_of(state.kit.catalog),
        until=None if visit.page in (Page.DONE, Page.WAITING) else day(visit.row.expires_us),
        due=day(visit.row.due_us),
        reference=visit.row.invitation,
        provider=_provider(state, visit),
        checks=_checks(visit),
        failed=visit.failed,
        verified=visit.row.body.verified is not None and visit.page is Page.ANSWER,
        export=url_for(f"{BLUEPRINT}.guardian_export") if own and visit.verified else None,
        receipt=url_for(f"{BLUEPRINT}.guardian_receipt") if visit.own else None,
        action=_here(locale=locale),
        saved="saved" in request.args,
        alert=context["t"][alert] if alert else "",
        **context,
    )
    return private(make_response(page, status))


def _checks(visit: Visit) -> bool:
    """Whether the browser may be led to a verifier from here."""
    method = GuardianMethod(visit.row.body.method)
    wanted = not visit.may_allow.issuperset(visit.items)
    return method.needs_verifier and wanted and visit.page in (Page.VERIFY, Page.ANSWER)


def _item(state: State, desk: Desk, visit: Visit, key: str, locale: str) -> dict[str, Any]:
    """One question: what it is about, what was answered, what may be answered."""
    catalog, own = state.kit.catalog, visit.own.get(key)
    said = request.form.get(f"answer:{key}") if request.method == "POST" else None
    if said is None and own is not None and visit.row.body.kind == ACCESS:
        said = "yes" if own.grants else "no"
    shown: dict[str, Any] = {
        "key": key,
        "title": title_of(catalog, key, locale),
        "digest": desk.shown(key, locale),
        "may_allow": key in visit.may_allow,
        "said": said,
        "disclosed": request.method == "POST" and key in request.form.getlist("disclose"),
        "status": own.status if own is not None else None,
        "third": ", ".join(party.name or party.key for party in third_parties(catalog, key)),
        "purpose": None,
        "document": None,
    }
    if key in catalog.purposes:
        return {**shown, "purpose": state.kit.purpose_notice(f"purpose:{key}", locale).data["purpose"]}
    _, release, written = find_policy(state, key, None)
    spoken = text_locale(state, written, locale)
    document = {
        "version": release.version,
        "summary": localized(written.summary, locale, catalog.site.default_locale),
        "html": render_text(written, spoken),
        "url": url_for(f"{BLUEPRINT}.policy", key=key, version=release.version, locale=spoken),
        **language(spoken),
    }
    return {**shown, "document": document}


def _provider(state: State, visit: Visit) -> str:
    offered = state.kit.guardian.verifiers.values()
    return next((v.title for v in offered if visit.row.body.method in v.methods), "")


def _code_page(*, wrong: bool = False, status: int = 200) -> Response:
    context = page_context()
    page = render_template("consentkit/guardian_code.html", wrong=wrong, action=_here(), **context)
    return private(make_response(page, status))


def _gone(error: TokenInvalid) -> Response:
    return _said("guardian.gone", "guardian.gone_text", 410 if error.expired else 404)


def _asker() -> Response:
    return _said("guardian.asker", "guardian.asker_text", 403)


def _said(title: str, text: str, status: int) -> Response:
    context = page_context()
    words = context["t"]
    page = render_template("consentkit/guardian_said.html", heading=words[title], text=words[text], **context)
    return private(make_response(page, status))


def _here(**values: Any) -> str:
    return url_for(f"{BLUEPRINT}.guardian", **values)
