"""ConsentKit: the kit on a Flask app."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from flask import Flask, has_request_context
from sqlalchemy import Engine

from consentkit import logs
from consentkit.cli import consent as commands
from consentkit.config import Settings
from consentkit.core.catalog import (
    Bundle,
    Catalog,
    Category,
    Controller,
    ExceptionGround,
    MinorRules,
    Party,
    Policy,
    Purpose,
    Site,
)
from consentkit.core.catalog_rules import build
from consentkit.core.errors import ConsentKitError, ConsentMissing, SchemaOutdated, StoreUnavailable
from consentkit.core.minors import Age
from consentkit.core.places import RegimeRule
from consentkit.core.verification import Verifier
from consentkit.guardians.setup import GuardianSetup
from consentkit.kit import Kit
from consentkit.kit_facts import FactSources
from consentkit.kit_file import load, read_texts
from consentkit.runtime import Keys, Runtime
from consentkit.web import (
    assets,
    checks,
    cookie_guard,
    gates,
    guardian_session,
    markup,
    opt_out,
    problems,
    sign_in,
)
from consentkit.web.api import api_blueprint
from consentkit.web.blueprint import blueprint
from consentkit.web.context import this_app
from consentkit.web.current import forget
from consentkit.web.identity import signing_keys
from consentkit.web.rendered import Rendered
from consentkit.web.state import BLUEPRINT, KEY, Loaders, State, register, state_of

EMBEDDED = "consentkit.sqlite3"
F = TypeVar("F", bound=Callable[..., Any])


class ConsentKit(Kit):
    """Consent and cookie management for Flask apps, with every verb and question of the kit.

    The catalogue is given as values, or by `ConsentKit.from_file("consent.toml")`. `engine`: a callable that
    gives the host's engine, such as `lambda: db.engine`. Raises CatalogError.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        purposes: Iterable[Purpose] = (),
        policies: Iterable[Policy] = (),
        categories: Iterable[Category] = (),
        parties: Iterable[Party] = (),
        bundles: Iterable[Bundle] = (),
        controller: Controller | None = None,
        site: Site | None = None,
        minors: MinorRules | None = None,
        regimes: Iterable[RegimeRule] = (),
        exceptions: Iterable[ExceptionGround] = (),
        catalog: Catalog | None = None,
        engine: Callable[[], Engine] | None = None,
        verifiers: Iterable[Verifier] = (),
    ) -> None:
        self._catalog = catalog or build(
            purposes=purposes,
            policies=[read_texts(policy, Path()) for policy in policies],
            categories=categories,
            parties=parties,
            bundles=bundles,
            controller=controller,
            site=site,
            minors=minors,
            regimes=regimes,
            exceptions=exceptions,
        )
        self._engine = engine
        self._runtimes: WeakKeyDictionary[Flask, Runtime] = WeakKeyDictionary()
        self._loaders = Loaders()
        self.facts = FactSources(in_request=has_request_context)
        self.guardian = GuardianSetup(
            pages=lambda: guardian_session.pages_address(self._app()),
            keys=lambda: signing_keys(self._app()),
            asker=guardian_session.asker,
        )
        for verifier in verifiers:
            self.add_verifier(verifier)
        if app is not None:
            self.init_app(app)

    @classmethod
    def from_file(
        cls,
        path: str | PathLike[str],
        *,
        app: Flask | None = None,
        engine: Callable[[], Engine] | None = None,
    ) -> ConsentKit:
        """The catalogue from a TOML file. Raises CatalogError, which names file, key and mend."""
        return cls(app, catalog=load(path), engine=engine)

    def init_app(self, app: Flask) -> None:
        """Add consentkit to an app: routes, gates' error handlers, template functions, commands.

        Embedded SQLite makes its tables and publishes; a broken catalogue raises CatalogError.
        Raises ConsentKitError for a second call on the same app, or settings that cannot work.
        """
        settings = Settings.read(app.config)
        embedded = self._engine is None and settings.database_url is None
        runtime = self._make_runtime(app, settings)
        register(app, State(self, runtime, settings, self._loaders, embedded, Rendered(app, BLUEPRINT)))
        self._runtimes[app] = runtime
        app.register_blueprint(blueprint(settings.url_prefix))
        app.register_blueprint(api_blueprint(settings.url_prefix))
        app.register_error_handler(ConsentMissing, problems.on_blocked)
        app.register_error_handler(StoreUnavailable, problems.on_unavailable)
        app.register_error_handler(SchemaOutdated, problems.on_unavailable)
        app.jinja_env.globals.update(markup.functions)
        app.jinja_env.globals["consents"] = gates.current_consents
        app.cli.add_command(commands)
        checks.install(app)
        sign_in.install(app)
        opt_out.install(app)
        cookie_guard.install(app, settings.cookie_guard)
        if embedded:
            self._start_embedded(app, runtime)

    @property
    def runtime(self) -> Runtime:
        """The runtime of the app context, else of the one app. Raises ConsentKitError when there is none."""
        try:
            state: State | None = this_app().extensions.get(KEY)
        except RuntimeError:
            state = None
        if state is not None and state.kit is self:
            return state.runtime
        if len(self._runtimes) == 1:
            return next(iter(self._runtimes.values()))
        raise ConsentKitError(
            "consentkit does not know which app is meant: call init_app first, "
            "and with several apps use app.app_context()"
        )

    def _app(self) -> Flask:
        """The app whose runtime that is."""
        runtime = self.runtime
        return next(app for app, known in self._runtimes.items() if known is runtime)

    @property
    def catalog(self) -> Catalog:
        """What is asked."""
        return self._catalog

    def csp_sources(self) -> dict[str, list[str]]:
        """What the host's content security policy has to allow, by directive (CONSENTKIT_INLINE adds hashes)."""
        return assets.csp_sources(inline=state_of(self._app()).settings.inline)

    def subject_loader(self, function: F) -> F:
        """The callback that names the signed-in account, or returns None for an anonymous visitor."""
        self._loaders.subject = function
        return function

    def locale_loader(self, function: F) -> F:
        """The callback that gives the locale of the host's page; the site's default locale without it."""
        self._loaders.locale = function
        return function

    def limiter(self, function: F) -> F:
        """The callback that stops floods: `(subject or None, endpoint)` -> True, or seconds to wait (429).

        Asked before an answer is recorded over HTTP; never for a no of somebody who is known.
        """
        self._loaders.limiter = function
        return function

    def age_loader(self, function: Callable[[str], Age | None]) -> Callable[[str], Age | None]:
        """The callback that gives the age of an account; never called for visitors."""
        self.facts.age = function
        return function

    def jurisdiction_loader(self, function: Callable[[], str | None]) -> Callable[[], str | None]:
        """The callback that gives the jurisdiction of the request, ISO 3166 such as `DE` or `US-CA`."""
        self.facts.jurisdiction = function
        return function

    def _make_runtime(self, app: Flask, settings: Settings) -> Runtime:
        if self._engine is not None and settings.database_url is not None:
            raise ConsentKitError("give engine= or CONSENTKIT_DATABASE_URL, not both")
        keys: Keys = {
            "key": settings.key,
            "log_key": settings.log_key,
            "log_anchor": settings.log_anchor,
            "erasure_journal": settings.erasure_journal,
            "webhooks": settings.webhooks,
        }
        if self._engine is not None:
            return Runtime.of_engine(self._catalog, self._engine, **keys)
        if settings.database_url is not None:
            return Runtime.of_url(self._catalog, settings.database_url, **keys)
        url = f"sqlite:///{Path(app.instance_path) / EMBEDDED}"
        keys["prepare"] = True
        return Runtime.of_url(self._catalog, url, **keys)

    def _start_embedded(self, app: Flask, runtime: Runtime) -> None:
        if not (app.debug or app.testing):
            logs.log(
                logging.WARNING,
                "embedded_ledger",
                "the consent ledger is the embedded file %(path)s: fine for one machine; for production set "
                "CONSENTKIT_DATABASE_URL (postgresql:// or sqlite:////path). Back the file and its keys up",
                path=str(Path(app.instance_path) / EMBEDDED),
            )
        try:
            runtime.ensure()
        except (StoreUnavailable, SchemaOutdated) as error:
            logs.unavailable(error)
        finally:
            runtime.dispose()

    def _leave(self, app: Flask) -> None:
        """No longer take this app for the one that is meant outside of an app context. Its connections are closed."""
        runtime = self._runtimes.pop(app, None)
        if runtime is not None:
            runtime.dispose()

    def _forget(self, subject: str, tenant: str) -> None:
        if has_request_context():
            forget()
