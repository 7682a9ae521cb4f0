"""`POST /consent`: the one endpoint for choices.

A stale grant is answered 409; a refusal is always recorded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Response, jsonify, make_response, redirect, request, url_for

from consentkit.core.catalog import Catalog
from consentkit.core.choices import is_digest
from consentkit.core.errors import ChoiceRejected
from consentkit.core.terms import Basis, Method, Reason
from consentkit.web.cross_site import came_from, home, safe_next, same_origin
from consentkit.web.current import current
from consentkit.web.expiry import expire_cookies
from consentkit.web.identity import become, hint, identify, new_visitor, remember
from consentkit.web.limiting import too_many, wait
from consentkit.web.pages import preferences_page
from consentkit.web.problems import problem, rejected, wants_html
from consentkit.web.sent import sent
from consentkit.web.standing import granted, hint_value, standing, standing_json
from consentkit.web.state import BLUEPRINT, State

DECISIONS = ("accept-all", "reject-all", "save", "withdraw-all", "defer")
"""`defer` is no answer: the dialog was closed. It is kept as evidence, of those who are known already."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What the form says. `categories` and `purposes` are the ticked ones, for `save`.

    `unknown`: what it asks for and the catalogue does not have, any more.
    """

    decision: str
    categories: tuple[str, ...]
    purposes: tuple[str, ...]
    notice: str | None
    next: str | None
    unknown: str | None


def choose(state: State) -> Response:
    """Record the choice and answer with JSON, or lead back by 303."""
    if not same_origin():
        return problem(403, "cross-site", "Forbidden", "A choice has to come from this site's own pages.")
    try:
        choice = _parse(state.kit.catalog)
        return _defer(state, choice) if choice.decision == "defer" else _chosen(state, choice)
    except (ChoiceRejected, ValueError) as error:
        return rejected(error, _back())


def _chosen(state: State, choice: Choice) -> Response:
    """Of an answer with both the no is recorded also where the yes is not. Raises ChoiceRejected."""
    give, deny = _split(state.kit.catalog, choice)
    if choice.decision == "save":
        give = [key for key in give if not _is_on_by_silence(key)]
    pause = wait(state, yes=bool(give) or not deny)
    if pause is not None and (not deny or identify(state).subject is None):
        return too_many(pause)
    before = granted(state)
    stale = choice.unknown is not None or (bool(give) and not _notice_holds(state, choice))
    refused: ChoiceRejected | None = None
    try:
        visitor = _record(state, [] if stale or pause is not None else give, deny, choice)
    except ChoiceRejected as error:  # such as a child's yes
        if not deny:
            raise
        refused = error
        visitor = _record(state, [], deny, choice)
    now = standing(state, put_away=not stale and pause is None and refused is None)
    changed = tuple(sorted(set(now.granted) ^ before))
    answer = standing_json(state, now, changed=changed)
    if pause is not None:
        response = too_many(pause)
    elif stale:
        response = _outdated(state, choice)
    else:
        response = rejected(refused, _back()) if refused is not None else _answer(choice, answer)
    if visitor is not None:
        remember(state, response, visitor)
    hint(state, response, hint_value(state, now))
    expire_cookies(state, response)
    response.headers["Cache-Control"] = "no-store"
    return response


def _parse(catalog: Catalog) -> Choice:
    """The form. What was ticked beside a no to everything does not matter. Raises ValueError."""
    form = sent()
    decision, notice, target = form.get("decision"), form.get("notice") or None, form.get("next")
    if decision not in DECISIONS:
        raise ValueError(f"decision is one of {', '.join(DECISIONS)}")
    if not isinstance(notice, str):
        notice = None if notice is None else str(notice)
    unknown: list[str] = []
    categories: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()
    if decision in ("accept-all", "save"):
        categories = _known(_listed(form, "category"), catalog.categories, "category", unknown)
        keys = tuple(key.removeprefix("purpose:") for key in _listed(form, "purpose"))
        purposes = _known(keys, catalog.purposes, "purpose", unknown)
    back = safe_next(target if isinstance(target, str) else None)
    return Choice(decision, categories, purposes, notice, back, unknown[0] if unknown else None)


def _listed(form: Mapping[str, Any], name: str) -> tuple[str, ...]:
    values = form.getlist(name) if hasattr(form, "getlist") else form.get(name) or ()
    values = [values] if isinstance(values, str) else values
    if not isinstance(values, Sequence) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"{name} is a list of keys")
    return tuple(values)


def _known(
    keys: Sequence[str], declared: Mapping[str, object], what: str, unknown: list[str]
) -> tuple[str, ...]:
    unknown += [f"there is no {what} {key!r}" for key in keys if key not in declared]
    return tuple(key for key in keys if key in declared)


def _split(catalog: Catalog, choice: Choice) -> tuple[list[str], list[str]]:
    """The granted and the denied purposes. Only a tick that is saved grants one that stands apart."""
    bundled = [p.key for c in catalog.choices for p in catalog.purposes_of(c.key)]
    apart = [p.key for p in catalog.apart]
    if choice.decision == "accept-all":
        return bundled, []
    if choice.decision != "save":
        return [], [
            *bundled,
            *apart,
            *(p.key for p in catalog.purposes.values() if p.scoped and p.basis is Basis.CONSENT),
        ]
    ticked = [p.key for c in choice.categories for p in catalog.purposes_of(c)]
    give = list(dict.fromkeys([*ticked, *choice.purposes]))
    return give, [key for key in (*bundled, *apart) if key not in give]


def _is_on_by_silence(purpose: str) -> bool:
    """Whether its switch was on without an answer. To leave it on says nothing: a ticked box is no consent."""
    return current().look(f"purpose:{purpose}").reason is Reason.NOT_REQUIRED


def _notice_holds(state: State, choice: Choice) -> bool:
    """A grant has to rest on what is shown today, in whatever language it was shown."""
    catalog = state.kit.catalog
    return choice.notice is None or choice.notice in {
        state.kit.notice(locale).digest for locale in catalog.locales
    }


def _record(state: State, give: Sequence[str], deny: Sequence[str], choice: Choice) -> str | None:
    """Append the events. Returns the id of a visitor whose cookie has to be set, None for an account."""
    kit, identity = state.kit, identify(state)
    subject = identity.subject or new_visitor()
    locale = state.locale()
    granted_before = (
        {row.item for row in current().rows if row.grants and row.actor == "subject"}
        if identity.subject
        else set()
    )
    withdraw = [key for key in deny if key in granted_before]
    refuse = [key for key in deny if key not in granted_before and not kit.catalog.purposes[key].scoped]
    if choice.decision == "withdraw-all" and withdraw:
        refuse = [key for key in refuse if current().look(f"purpose:{key}").allowed]
    method = Method.FORM if choice.decision == "save" else Method.BUTTON
    # A no counts whatever came with it. Who names no notice was shown none that we know of.
    notice = choice.notice if choice.notice is not None and is_digest(choice.notice) else None
    if not (give or refuse or withdraw):
        return identity.visitor if identity.account is None else None
    kit.choose(
        subject,
        give=give,
        refuse=refuse,
        withdraw=withdraw,
        method=method.value,
        locale=locale,
        notice=notice,
    )
    if identity.account is not None:
        return None
    become(subject)
    return subject


def _defer(state: State, choice: Choice) -> Response:
    """Evidence that the question was put off. It makes nobody known who was not."""
    asked = [p.key for c in state.kit.catalog.choices for p in state.kit.catalog.purposes_of(c.key)]
    subject = identify(state).subject
    if subject is not None and asked:
        if (pause := wait(state, yes=True)) is not None:
            return too_many(pause)
        state.kit.defer(
            subject, asked, method=Method.BUTTON.value, locale=state.locale(), notice=choice.notice
        )
    now = standing(state, put_away=True)
    response = _answer(choice, standing_json(state, now))
    if now.decided:  # nobody has to be asked: the notice was put away
        hint(state, response, hint_value(state, now))
    return response


def _answer(choice: Choice, body: dict[str, Any]) -> Response:
    if not wants_html():
        return jsonify(body)
    page = url_for(f"{BLUEPRINT}.preferences")
    back = choice.next or came_from() or home()
    return make_response(redirect(f"{page}?saved=1" if back.split("?")[0] == page else back, 303))


def _back() -> str | None:
    return safe_next(request.form.get("next")) or came_from()


def _outdated(state: State, choice: Choice) -> Response:
    """The notice was changed meanwhile: the grants are not recorded, the new text is shown."""
    if wants_html():
        return preferences_page(state, outdated=True, target=safe_next(request.form.get("next")))
    why = choice.unknown or "The notice was changed"
    detail = f"{why}; show the current one and ask again. Nothing was granted."
    return problem(
        409, "notice-outdated", "Notice outdated", detail, notice=state.kit.notice(state.locale()).digest
    )
