"""Checks at an app's first request: decorators that name what the catalogue does not have, and Flask-WTF."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Flask

from consentkit.core.errors import CatalogError
from consentkit.web.gates import MARK
from consentkit.web.state import BLUEPRINT, state_of


def install(app: Flask) -> None:
    """Check once, before the first request is handled."""

    def first_request() -> None:
        state = state_of(app)
        if not state.decorators_checked:
            exempt_from_csrf(app)
            check_decorators(app)
            state.decorators_checked = True

    app.before_request_funcs.setdefault(None, []).insert(0, first_request)
    exempt_from_csrf(app)


def declared(app: Flask) -> Iterator[tuple[str, str]]:
    """Endpoint and key of every gate on a view."""
    for endpoint, view in app.view_functions.items():
        yield from ((endpoint, key) for key in getattr(view, MARK, ()))


def check_decorators(app: Flask) -> None:
    """Raise UnknownPurpose for the first gate that names an unknown key."""
    catalog = state_of(app).kit.catalog
    for endpoint, key in declared(app):
        try:
            catalog.items_of(key)
        except CatalogError as error:
            raise type(error)(
                f"the view {endpoint!r} requires {key!r}: {error.message}", mend=error.mend
            ) from None


def exempt_from_csrf(app: Flask) -> None:
    """Our endpoints check Sec-Fetch-Site and Origin; Flask-WTF's token would not be in a cached page."""
    csrf = app.extensions.get("csrf")
    if csrf is not None:
        for name in (BLUEPRINT, f"{BLUEPRINT}_api"):
            if name in app.blueprints:
                csrf.exempt(app.blueprints[name])
