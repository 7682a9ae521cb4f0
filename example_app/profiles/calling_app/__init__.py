"""Two Tins, an app for calls: closed before acceptance, permissions as purposes, JSON only."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, Response, abort, jsonify, request

from consentkit import (
    ConsentKit,
    NoticeOutdated,
    gated,
    gated_session,
    requires_acceptance,
    requires_consent,
    ungated,
)
from example_app.profiles import service

FOLDER = Path(__file__).parent
PERMISSIONS = "permission."
doorstep = Blueprint("doorstep", __name__, url_prefix="/api")
api = Blueprint("api", __name__, url_prefix="/api")
api.before_request(requires_acceptance("terms")(lambda: None))
"""One gate before every route of the app but those on the doorstep."""


def create_app(
    config: Mapping[str, Any] | None = None,
    *,
    instance_path: str | os.PathLike[str] | None = None,
    kit: ConsentKit | None = None,
) -> Flask:
    """The app's server. `kit`: another catalogue than the file's, such as an earlier release of it."""
    app, consent = service.make(FOLDER, config, instance_path, kit)
    consent.init_app(app)
    app.register_blueprint(doorstep)
    app.register_blueprint(api)
    return app


# ---------------------------------------------------------------- open before acceptance


@doorstep.get("/terms")
@ungated("shows what has to be accepted")
def terms() -> Response:
    """The text in force, and the digest by which it is accepted."""
    kit = service.current_kit()
    release = kit.policy_in_effect("terms")
    assert release is not None  # noqa: S101 - published with the app
    _, text = kit.document(release.texts["en"]) or ("", "")
    return jsonify(version=release.version, text=text, notice=release.texts["en"])


@doorstep.put("/terms")
@ungated("is the acceptance")
def answer_terms() -> Response:
    """`{"accept": true, "notice": "…"}`: by the button of the app. A stale text is 409."""
    said, kit, who = _said(), service.current_kit(), service.account()
    if said.get("accept") is not True:
        events = kit.decline(who, "terms", method="api")
    else:
        try:
            events = kit.accept_shown(who, {"terms": str(said.get("notice"))}, method="api", locale="en")
        except NoticeOutdated:
            abort(409, "the terms have changed: show them again")
    return jsonify(answer=events[0].action, version=events[0].version)


# ---------------------------------------------------------------- closed before it


@api.get("/calls")
@requires_consent("calls")
def calls() -> Response:
    """The service itself."""
    return jsonify(calls=[f"{service.account()} to 0123"])


@api.get("/device")
@requires_consent("device")
def buttons() -> Response:
    """A model is nobody."""
    return jsonify(buttons="large")


@api.get("/subscription")
@requires_consent("subscription")
def subscription() -> Response:
    """A contract: not asked."""
    return jsonify(until="2027-12-31")


@api.get("/permissions/<name>")
@ungated("shows a question; the terms stand before it")
def permission(name: str) -> Response:
    """The question, for the app to show at first use."""
    kit, key = service.current_kit(), _key(name)
    notice = kit.purpose_notice(key)
    status = kit.of(service.account()).status(key)
    return jsonify(purpose=key, question=notice.data, notice=notice.digest, status=status)


@api.put("/permissions/<name>")
@ungated("is the answer; the terms stand before it")
def answer_permission(name: str) -> Response:
    """`{"allow": true, "notice": "…"}`; a no needs nothing more."""
    kit, key, said, who = service.current_kit(), _key(name), _said(), service.account()
    if said.get("allow") is not True:
        verb = kit.withdraw if kit.of(who).status(key) == "given" else kit.refuse
        return jsonify(answer=verb(who, key, method="api")[0].action)
    notice = kit.purpose_notice(key).digest
    if said.get("notice") != notice:
        abort(409, "the question has changed: show it again")
    return jsonify(answer=kit.give(who, key, method="api", locale="en", notice=notice)[0].action)


@api.get("/line")
@requires_consent("calls", "permission.network")
def line() -> Response:
    """Wi-Fi or mobile data, by what the telephone tells about the network."""
    return jsonify(calls_go_over="Wi-Fi")


@api.get("/names")
@requires_consent("calls", "permission.contacts")
def names() -> Response:
    """Names instead of numbers."""
    return jsonify(names={"0123": "Grandmother"})


@api.post("/pictures")
@requires_consent("calls", "permission.album")
def send_picture() -> Response:
    """A picture that somebody chose."""
    return jsonify(sent=True)


@api.post("/feedback")
@requires_consent("feedback")
def feedback() -> Response:
    """A letter with name, address and telephone number."""
    return jsonify(thanks=True)


@gated("permission.notifications", subject="account", skip=True)
def ring(account: str) -> str | None:
    """A job that rings a telephone."""
    return f"{account} rings"


def tell_agency(account: str, address: str) -> int:
    """The agency learns of a subscription: asked before a byte leaves, and again wherever it sends the call on to."""
    with gated_session("campaigns", subject=account) as session:
        return session.post(address, json={"subscribed": True}, timeout=10).status_code


def may_use(kit: ConsentKit, account: str, purpose: str, collected_at: datetime) -> bool:
    """Whether what was collected then may be used today: it was allowed when it was collected, and it is now."""
    who = kit.of(account)
    return who.decide(purpose, at=collected_at).allowed and who.decide(purpose).allowed


def _said() -> dict[str, Any]:
    said = request.get_json()
    return said if isinstance(said, dict) else {}


def _key(name: str) -> str:
    if PERMISSIONS + name not in service.current_kit().catalog.purposes:
        abort(404)
    return PERMISSIONS + name
