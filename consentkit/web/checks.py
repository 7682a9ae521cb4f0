"""Checks at an app's first request: gates that name what the catalogue does not have or are passed by, Flask-WTF."""

from __future__ import annotations

from flask import Flask

from consentkit.core.errors import CatalogError, ConsentKitError
from consentkit.kit_declared import declarations
from consentkit.web.declared import passed_by, required
from consentkit.web.state import OURS, state_of


def install(app: Flask) -> None:
    """Check once, before the first request is handled."""

    def first_request() -> None:
        exempt_from_csrf(app)
        check_decorators(app)
        # A new list: requests that run beside this one go on through the old one.
        funcs = app.before_request_funcs[None]
        app.before_request_funcs[None] = [each for each in funcs if each is not first_request]

    app.before_request_funcs.setdefault(None, []).insert(0, first_request)
    exempt_from_csrf(app)


def check_decorators(app: Flask) -> None:
    """Raise UnknownPurpose for the first gate on a view that names an unknown key.

    And ConsentKitError for the first that nobody comes to, because the view was registered below it.
    """
    catalog = state_of(app).kit.catalog
    for endpoint, key in required(app):
        try:
            catalog.items_of(key)
        except CatalogError as error:
            text = f"the view {endpoint!r} requires {key!r}: {error.message}"
            raise type(error)(text, mend=error.mend) from None
    for endpoint in passed_by(app):
        raise ConsentKitError(
            f"the view {endpoint!r} runs without the gate that was put around it: write the decorator of the route "
            'above the gate, or @ungated("why") below the route where it is meant to run without'
        )


def foreign_declarations(app: Flask) -> list[str]:
    """Jobs and adapters that ask whichever kit there is, for a key that this one does not have, in words.

    They may be another app's, which was only imported; when they run here, they process nothing.
    """
    kit, found = state_of(app).kit, []
    for declared in declarations(kit):
        try:
            for key in declared.items:
                kit.catalog.items_of(key)
        except CatalogError as error:
            found.append(f"the {declared.kind} {declared.where}: {error.message}")
    return found


def exempt_from_csrf(app: Flask) -> None:
    """Our endpoints check Sec-Fetch-Site and Origin; Flask-WTF's token would not be in a cached page."""
    csrf = app.extensions.get("csrf")
    if csrf is not None:
        for name in OURS & app.blueprints.keys():
            csrf.exempt(app.blueprints[name])
