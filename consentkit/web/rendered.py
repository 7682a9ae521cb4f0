"""Our own templates. What is the same for every visitor is rendered once, and not again for each page of the host."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from functools import cached_property
from pathlib import Path

from flask import Flask, render_template
from markupsafe import Markup, escape

from consentkit.web.context import environ

_TEMPLATES = str(Path(__file__).parent.parent / "templates")
_NONCE = "nonce-of-the-page"
_KEPT_AT_MOST = 256
"""Where the app is reached is a part of the key, and behind some proxies a client may send many such paths."""

Key = tuple[Hashable, ...]
Values = Callable[[], Mapping[str, object]]


def render(template: str, values: Mapping[str, object]) -> Markup:
    """One of our templates, or what the host has put in its place."""
    return Markup(render_template(f"consentkit/{template}", **values))  # noqa: S704


class Rendered:
    """Markup of one app, by a key that names everything it depends on besides the app and where it is reached.

    Made for each page where the host debugs, overrides the template, or builds addresses in a way of its own.
    """

    def __init__(self, app: Flask, endpoints: str) -> None:
        self._app, self._endpoints = app, endpoints
        self._kept: dict[Key, Markup] = {}

    def template(self, template: str, key: Hashable, values: Values, nonce: str | None = None) -> Markup:
        """A template with these values; a nonce is put in afterwards."""
        whole = (_where(), template, key, nonce is None)
        found = self._kept.get(whole)
        if found is None:
            found = render(template, {**values(), "nonce": None if nonce is None else _NONCE})
            if self._is_ours(template):
                self._keep(whole, found)
        return found if nonce is None else Markup(found.replace(_NONCE, escape(nonce)))  # noqa: S704

    def once(self, key: Hashable, make: Callable[[], Markup]) -> Markup:
        """What needs no template."""
        whole = (_where(), key)
        found = self._kept.get(whole)
        if found is None:
            found = make()
            self._keep(whole, found)
        return found

    def _keep(self, whole: Key, found: Markup) -> None:
        if whole[0] is not None and not self._varies and len(self._kept) < _KEPT_AT_MOST:
            self._kept[whole] = found

    @cached_property
    def _varies(self) -> bool:
        """Whether markup may depend on more than its key."""
        app, defaults = self._app, self._app.url_default_functions
        by_host = app.url_map.host_matching or app.subdomain_matching
        by_request = defaults.get(None) or defaults.get(self._endpoints)
        return bool(by_host or by_request or app.jinja_env.auto_reload)

    def _is_ours(self, template: str) -> bool:
        found = self._app.jinja_env.get_template(f"consentkit/{template}").filename
        return found is not None and found.startswith(_TEMPLATES)


def _where() -> tuple[str, str] | None:
    """The scheme, by which the visitor's cookie has its name, and the app's path; None outside of a request."""
    try:
        request = environ()
    except RuntimeError:
        return None
    return request["wsgi.url_scheme"], request.get("SCRIPT_NAME", "")
