"""The routes under `CONSENTKIT_URL_PREFIX`."""

from __future__ import annotations

from flask import Blueprint, Response, request

from consentkit.web import (
    acceptance,
    age,
    announcements,
    archive,
    asking,
    choices,
    guardian,
    linking,
    once,
    pages,
)
from consentkit.web.sent import limit_body, too_large
from consentkit.web.state import BLUEPRINT, current_state

YEAR_S = 365 * 24 * 3600


class _Blueprint(Blueprint):
    """Static files with their version in the address are kept for a year; without it as the host says."""

    def get_send_file_max_age(self, filename: str | None) -> int | None:
        return YEAR_S if request.args.get("v") else super().get_send_file_max_age(filename)


def blueprint(url_prefix: str) -> Blueprint:
    """A blueprint for one app. `HEAD` and `OPTIONS` come from Flask."""
    made = _Blueprint(
        BLUEPRINT, "consentkit", url_prefix=url_prefix, template_folder="templates", static_folder="static"
    )
    made.before_request(_before)
    made.register_error_handler(413, too_large)
    made.add_url_rule("", "preferences", _preferences, methods=["GET", "POST"], strict_slashes=False)
    made.add_url_rule("/status", "status", lambda: pages.status(current_state()))
    made.add_url_rule("/state.css", "state_css", lambda: pages.state_css(current_state()))
    made.add_url_rule("/receipt", "receipt", lambda: pages.receipt(current_state()))
    made.add_url_rule("/policies/<key>", "policy", _policy)
    made.add_url_rule("/policies/<key>/<version>", "policy", _policy)
    made.add_url_rule("/policies/<key>/<version>/diff", "changes", _changes)
    made.add_url_rule("/accept/<key>", "accept", _accept, methods=["GET", "POST"])
    made.add_url_rule("/age", "age", _age, methods=["GET", "POST"])
    made.add_url_rule("/guardian", "guardian", _guardian, methods=["GET", "POST"])
    made.add_url_rule("/guardian/<token>", "guardian_link", _guardian_link)
    made.add_url_rule("/guardian/receipt", "guardian_receipt", lambda: guardian.receipt(current_state()))
    made.add_url_rule("/guardian/export", "guardian_export", lambda: guardian.export(current_state()))
    made.add_url_rule("/guardian/callback/<name>", "guardian_callback", _guardian_callback, methods=["POST"])
    made.add_url_rule("/link", "link", _link, methods=["GET", "POST"])
    made.add_url_rule("/announcements", "announcements", _announcements, methods=["GET", "POST"])
    return made


def _before() -> Response | None:
    verifier = request.endpoint == f"{BLUEPRINT}.guardian_callback"  # which reads what it is sent by itself
    return limit_body() if request.method == "POST" and not verifier else None


def _preferences() -> Response:
    state = current_state()
    if request.method != "POST":
        return pages.preferences(state)
    if once.is_once():
        return once.answer()
    return asking.answer(state) if asking.is_asked() else choices.choose(state)


def _policy(key: str, version: str | None = None) -> Response:
    return archive.policy(current_state(), key, version)


def _changes(key: str, version: str) -> Response:
    return archive.changes(current_state(), key, version)


def _announcements() -> Response:
    state = current_state()
    return announcements.answer(state) if request.method == "POST" else announcements.page(state)


def _age() -> Response:
    state = current_state()
    return age.answer(state) if request.method == "POST" else age.show(state)


def _guardian() -> Response:
    state = current_state()
    return guardian.answer(state) if request.method == "POST" else guardian.show(state)


def _guardian_link(token: str) -> Response:
    return guardian.open_link(current_state(), token)


def _guardian_callback(name: str) -> Response:
    return guardian.callback(current_state(), name)


def _link() -> Response:
    state = current_state()
    return linking.answer(state) if request.method == "POST" else linking.show(state)


def _accept(key: str) -> Response:
    state = current_state()
    return acceptance.answer(state, key) if request.method == "POST" else acceptance.show(state, key)
