"""A test client that answers as a visitor does."""

# ruff: noqa: S101 - to assert is what it is for
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import request
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from consentkit.core.record import VISITOR
from consentkit.testing.ledger import kit_of
from consentkit.web.identity import cookie_name, new_visitor, signed
from consentkit.web.state import State, state_of

_VISITOR_COOKIES = ("consent", "__Host-consent", "__Secure-consent")


class ConsentClient(FlaskClient):
    """A test client that answers as a visitor does: `app.test_client_class = ConsentClient`.

    An answer that is refused raises AssertionError with the reason.
    """

    @property
    def visitor(self) -> str | None:
        """The id of this client's visitor in the ledger; None before the first answer."""
        config = self.application.config
        domains = [config.get("CONSENTKIT_COOKIE_DOMAIN"), config.get("SERVER_NAME"), "localhost"]
        for domain in filter(None, domains):
            for name in _VISITOR_COOKIES:
                cookie = self.get_cookie(name, domain=domain.lstrip(".").split(":")[0])
                if cookie is not None:
                    return VISITOR + cookie.value.partition(".")[0]
        return None

    def become(self, visitor: str | None = None) -> str:
        """Go on as this visitor, by the signed cookie, and return the id; without one as somebody new.

        `given(app, client.become(), "analytics")` is a visitor who said yes before.
        """
        who = visitor or new_visitor()
        assert who.startswith(VISITOR), f"the id of a visitor begins with {VISITOR!r}"
        with self.application.test_request_context("/"):
            domain = self._state.settings.cookie_domain
            self.set_cookie(
                cookie_name(self._state),
                signed(who),
                domain=(domain or request.host).lstrip(".").split(":")[0],
                origin_only=domain is None,
            )
        return who

    def choose(
        self,
        decision: str,
        *,
        categories: Sequence[str] = (),
        purposes: Sequence[str] = (),
        locale: str | None = None,
    ) -> TestResponse:
        """Answer the banner: accept-all, reject-all, withdraw-all, or save with what is ticked."""
        form = {"decision": decision, "category": list(categories), "purpose": list(purposes)}
        with kit_of(self.application) as kit:
            notice = kit.notice(locale).digest
        return self._answer("", {**form, "notice": notice}, locale)

    def accept(self, key: str, *, locale: str | None = None) -> TestResponse:
        """Accept a policy, or a bundle, on its page, with the texts that are in force."""
        return self._answer(
            f"/accept/{key}", {"decision": "accept", "agree": "1", **self._shown(key)}, locale
        )

    def decline(self, key: str) -> TestResponse:
        """Decline a policy, or a bundle, on its page."""
        return self._answer(f"/accept/{key}", {"decision": "decline"}, None)

    def _shown(self, key: str) -> dict[str, list[str]]:
        with kit_of(self.application) as kit:
            default = kit.catalog.site.default_locale
            releases = [kit.policy_in_effect(policy.key) for policy in kit.catalog.policies_of(key)]
            return {"notice": [f"{r.policy}:{r.texts[default]}" for r in releases if r is not None]}

    def _answer(self, path: str, form: dict[str, Any], locale: str | None) -> TestResponse:
        if locale is not None:
            form["locale"] = locale
        headers = {"Accept": "application/json", "Sec-Fetch-Site": "same-origin"}
        response = self.post(self._state.settings.url_prefix + path, data=form, headers=headers)
        assert response.status_code < 400, f"the answer was refused: {response.status} {response.text}"
        return response

    @property
    def _state(self) -> State:
        return state_of(self.application)
