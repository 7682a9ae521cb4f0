"""`POST /consent` with `ask=<key>`: one purpose, or a category's switch, is answered where it matters.

The events carry the digest of its own notice. A stale yes is answered 409; a no is always recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import Response, jsonify, make_response, redirect, render_template, request, url_for

from consentkit.core.catalog import Catalog, Purpose
from consentkit.core.choices import is_digest
from consentkit.core.errors import ChoiceRejected, UnknownPurpose
from consentkit.core.notice import Notice
from consentkit.core.record import Event
from consentkit.core.terms import Basis, Kind, Method
from consentkit.web import once
from consentkit.web.cross_site import came_from, home, safe_next, same_origin
from consentkit.web.current import current
from consentkit.web.expiry import expire_cookies
from consentkit.web.identity import become, hint, identify, new_visitor, remember
from consentkit.web.limiting import too_many, wait
from consentkit.web.problems import page_context, problem, rejected, wants_html
from consentkit.web.sent import sent
from consentkit.web.standing import granted, hint_value, standing, standing_json
from consentkit.web.state import BLUEPRINT, State


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked by itself. A yes is the form's `field` with this `value`; without it it is a no."""

    key: str
    field: str
    value: str
    purposes: tuple[Purpose, ...]

    @property
    def scoped(self) -> bool:
        """Whether it is asked for one thing at a time."""
        return any(purpose.scoped for purpose in self.purposes)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the form says about it."""

    question: Question
    yes: bool
    notice: str | None
    scope: str
    next: str | None


def is_asked() -> bool:
    """Whether the request answers one thing by itself."""
    return bool(sent().get("ask"))


def askable(catalog: Catalog, key: str) -> Question:
    """The category or purpose that a key means. Raises UnknownPurpose, also for what needs no consent."""
    if key in catalog.categories:
        if purposes := catalog.purposes_of(key):
            return Question(key, "category", key, purposes)
        raise UnknownPurpose(
            f"the category {key!r} has nothing to answer", mend="Ask for what rests on consent"
        )
    purpose = catalog.purpose(key)
    if purpose.basis is not Basis.CONSENT:
        raise UnknownPurpose(
            f"{purpose.key!r} rests on {purpose.basis.value}: there is nothing to answer",
            mend="Ask for a purpose that rests on consent",
        )
    named = f"purpose:{purpose.key}" if purpose.key in catalog.categories else purpose.key
    return Question(named, "purpose", purpose.key, (purpose,))


def answer(state: State) -> Response:
    """Record the yes or no and answer with JSON, or lead back by 303."""
    if not same_origin():
        return problem(403, "cross-site", "Forbidden", "A choice has to come from this site's own pages.")
    try:
        asked = _parse(state.kit.catalog)
        if asked.yes and not _holds(state, asked):
            return _outdated(state, asked)
        if (pause := wait(state, yes=asked.yes)) is not None:
            return too_many(pause)
        before = granted(state)
        subject, event = _record(state, asked)
    except UnknownPurpose as error:
        return problem(422, "unknown-purpose", "Unknown purpose", str(error))
    except (ChoiceRejected, ValueError) as error:
        return rejected(error, safe_next(request.form.get("next")) or came_from())
    now = standing(state)
    changed = tuple(sorted(set(now.granted) ^ before))
    said = {
        asked.question.field: asked.question.value,
        "scope": event.scope,
        "status": event.action,
        "event_id": event.event_id,
    }
    body = {**standing_json(state, now, changed=changed), "asked": said}
    embed = once.asked_embed() if asked.yes else None
    target = once.address(asked.next, embed) if embed else asked.next or came_from() or home()
    response = make_response(redirect(target, 303)) if wants_html() else jsonify(body)
    if identify(state).account is None:
        remember(state, response, subject)
    hint(state, response, hint_value(state, now))
    expire_cookies(state, response)
    response.headers["Cache-Control"] = "no-store"
    return response


def _text(form: Mapping[str, Any], name: str) -> str | None:
    value = form.get(name)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{name} is one text")
    return value or None


def _parse(catalog: Catalog) -> Asked:
    form = sent()
    if _text(form, "decision") != "save":
        raise ValueError(
            "decision is save: with purpose=<purpose> or category=<category> for yes, without it for no"
        )
    question = askable(catalog, str(_text(form, "ask")))
    said = _text(form, question.field)
    if said is not None and said.removeprefix("purpose:") != question.value:
        raise ValueError(f"{question.key!r} is asked, so {question.field}= can only be {question.value!r}")
    scope = _text(form, "scope") or ""
    if scope and not question.scoped:
        raise ValueError(f"{question.key!r} is not scoped: leave scope out")
    notice = _text(form, "notice")
    return Asked(question, said is not None, notice, scope, safe_next(_text(form, "next")))


def _holds(state: State, asked: Asked) -> bool:
    """A yes has to name the notice that is shown today, in whatever language it was shown."""
    if asked.notice is None:
        raise ValueError("notice=<digest of what was shown> is missing")
    return asked.notice in {
        state.kit.purpose_notice(asked.question.key, locale).digest for locale in state.kit.catalog.locales
    }


def _record(state: State, asked: Asked) -> tuple[str, Event]:
    """Append the events. The subject, and the first of what was recorded."""
    kit, identity, question = state.kit, identify(state), asked.question
    subject, locale = identity.subject or new_visitor(), state.locale()
    notice = asked.notice if asked.notice is not None and is_digest(asked.notice) else None
    keys = [purpose.key for purpose in question.purposes]
    before = set() if asked.yes else _given_before(asked)
    events = kit.choose(
        subject,
        give=keys if asked.yes else (),
        refuse=[] if asked.yes else [key for key in keys if key not in before],
        withdraw=[key for key in keys if key in before],
        method=Method.FORM.value,
        locale=locale,
        notice=notice,
        scope=asked.scope,
    )
    if identity.account is None:
        become(subject)
    return subject, events[0]


def _given_before(asked: Asked) -> set[str]:
    if current().subject is None:
        return set()
    mine = (row for row in current().rows if row.kind == Kind.PURPOSE and row.scope == asked.scope)
    return {row.item for row in mine if row.grants and row.actor == "subject"}


def form_values(state: State, question: Question, scope: str, target: str | None) -> dict[str, Any]:
    """What the form of a notice needs: the same for everybody."""
    notice: Notice = state.kit.purpose_notice(question.key, state.locale())
    return {
        "key": question.key,
        "field": question.field,
        "value": question.value,
        "notice": notice.data,
        "digest": notice.digest,
        "scope": scope,
        "next": target,
        "action": url_for(f"{BLUEPRINT}.preferences"),
    }


def _outdated(state: State, asked: Asked) -> Response:
    """The notice was changed meanwhile: nothing is recorded, the new one is shown."""
    if not wants_html():
        detail = "The notice was changed; show the current one and ask again. Nothing was recorded."
        now = state.kit.purpose_notice(asked.question.key, state.locale()).digest
        return problem(409, "notice-outdated", "Notice outdated", detail, notice=now)
    target = asked.next or came_from()
    values = form_values(state, asked.question, asked.scope, target)
    page = render_template("consentkit/asked.html", **{**page_context(), "asked": values})
    response = make_response(page, 409)
    response.headers["Cache-Control"] = "no-store"
    return response
