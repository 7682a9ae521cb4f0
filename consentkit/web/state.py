"""What an app has of consentkit: one State under `app.extensions["consentkit"]`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakSet

from flask import Flask, has_app_context, has_request_context, request

from consentkit.config import Settings
from consentkit.core.errors import ConsentKitError
from consentkit.web.context import this_app
from consentkit.web.rendered import Rendered

if TYPE_CHECKING:
    from consentkit.extension import ConsentKit
    from consentkit.runtime import Runtime

KEY, BLUEPRINT = "consentkit", "consentkit"
SUPPORT = f"{BLUEPRINT}_support"
OURS = frozenset({BLUEPRINT, f"{BLUEPRINT}_api", SUPPORT})
"""The blueprints of consentkit's own pages, API and well-known files."""

_apps: WeakSet[Flask] = WeakSet()


@dataclass
class Loaders:
    """The host's callbacks about a request."""

    subject: Callable[[], str | None] | None = None
    locale: Callable[[], str | None] | None = None
    limiter: Callable[[str | None, str], bool | float] | None = None


@dataclass
class State:
    """One app's consentkit. `embedded`: the ledger is the SQLite file in the instance folder.

    `only_locale`: that of a site with no other one. `asks`: whether there is anything for a banner to ask.
    """

    kit: ConsentKit
    runtime: Runtime
    settings: Settings
    loaders: Loaders
    embedded: bool
    rendered: Rendered
    only_locale: str | None = field(init=False)
    asks: bool = field(init=False)

    def __post_init__(self) -> None:
        catalog = self.kit.catalog
        self.only_locale = catalog.site.default_locale if len(catalog.locales) == 1 else None
        self.asks = bool(catalog.choices or catalog.apart)

    def locale(self) -> str:
        """The locale of this page: on ours `?locale=`, then Accept-Language; else the host's, or the default.

        A page of the host is the same for everybody, so Accept-Language does not decide there.
        """
        return self.only_locale or self._locale(_on_a_page_of_ours)

    def page_locale(self) -> str:
        """The same for a page of ours at an address of the host: the host's language, else the browser's."""
        return self.only_locale or self._locale(
            lambda: self.loaders.locale is None or request.blueprint == BLUEPRINT
        )

    def _locale(self, ours: Callable[[], bool]) -> str:
        catalog = self.kit.catalog
        wanted: str | None = None
        if ours():
            wanted = request.args.get("locale") or request.form.get("locale")
            if wanted not in catalog.locales:
                wanted = request.accept_languages.best_match(catalog.locales)
        elif self.loaders.locale is not None:
            wanted = self.loaders.locale()
        return wanted if wanted in catalog.locales else catalog.site.default_locale


def _on_a_page_of_ours() -> bool:
    return has_request_context() and request.blueprint == BLUEPRINT


def register(app: Flask, state: State) -> None:
    """Put the state in its place. Raises ConsentKitError when there is one already."""
    if KEY in app.extensions:
        raise ConsentKitError(
            f"consentkit is initialised on app {app.name!r} already: call init_app once per app, "
            "or make one app per ConsentKit"
        )
    app.extensions[KEY] = state
    _apps.add(app)


@contextmanager
def passing_apps() -> Iterator[None]:
    """After the block nobody is led to the apps that got consentkit inside it, but in their own app context."""
    before = set(_apps)
    yield
    for app in set(_apps) - before:
        _apps.discard(app)
        state_of(app).kit._leave(app)


def state_of(app: Flask) -> State:
    """The state of an app. Raises ConsentKitError when init_app was not called."""
    try:
        state: State = app.extensions[KEY]
    except KeyError:
        raise ConsentKitError(
            f"consentkit is not initialised on app {app.name!r}: call consent.init_app(app)"
        ) from None
    return state


def current_state() -> State:
    """The state of the app in whose context we are. Raises ConsentKitError; RuntimeError outside of one."""
    app = this_app()
    return app.extensions.get(KEY) or state_of(app)


def find_kit() -> ConsentKit | None:
    """The kit of the app context, else of the one initialised app, else None."""
    if has_app_context():
        return current_state().kit
    return state_of(next(iter(_apps))).kit if len(_apps) == 1 else None
