"""Helpers for the test suite of an app that uses consentkit.

::

    @pytest.fixture
    def app(tmp_path):
        app = create_app(temporary_database(tmp_path))
        app.test_client_class = ConsentClient
        prepare(app)
        return app

    def test_the_letter_needs_consent(app):
        client = app.test_client()
        assert_blocked(client.get("/letters"), "NO_ANSWER")
        client.choose("accept-all")
        assert_allowed(client.get("/letters"))

    def test_consent_ends(app):
        with frozen_clock(app, datetime(2026, 1, 1, tzinfo=UTC)) as clock:
            given(app, "u-42", "newsletter")
            assert_allowed(lambda: send_letter("u-42"))
            clock.move(timedelta(days=200))
            assert_blocked(lambda: send_letter("u-42"), "EXPIRED")

Where a kit is asked for, an app will do: then its app context is opened.
"""

from __future__ import annotations

from consentkit.testing.client import ConsentClient
from consentkit.testing.gates import assert_allowed, assert_blocked
from consentkit.testing.ledger import (
    AppConsents,
    FrozenClock,
    frozen_clock,
    given,
    prepare,
    temporary_database,
)
from consentkit.testing.processing import assert_no_processing

__all__ = [
    "AppConsents",
    "ConsentClient",
    "FrozenClock",
    "assert_allowed",
    "assert_blocked",
    "assert_no_processing",
    "frozen_clock",
    "given",
    "prepare",
    "temporary_database",
]
