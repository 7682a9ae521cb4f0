"""The kit: every verb and every question, without Flask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any, TypeVar

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from consentkit.core.catalog import Catalog
from consentkit.core.errors import ConsentKitError
from consentkit.core.notice import Notice
from consentkit.core.webhooks import Secrets, Webhooks
from consentkit.guardians.setup import GuardianSetup
from consentkit.kit_audience import Audiences
from consentkit.kit_deliveries import RecipientVerbs
from consentkit.kit_exception import LawfulExceptions
from consentkit.kit_facts import FactSources
from consentkit.kit_file import load
from consentkit.kit_gated import gated
from consentkit.kit_guardian import GuardianVerbs
from consentkit.kit_import import Imports
from consentkit.kit_link import LinkVerbs
from consentkit.kit_outgoing import OutgoingCalls
from consentkit.kit_stats import Statistics
from consentkit.kit_write import Verbs
from consentkit.runtime import Runtime

F = TypeVar("F", bound=Callable[..., Any])


class Kit(
    Verbs,
    LinkVerbs,
    GuardianVerbs,
    LawfulExceptions,
    RecipientVerbs,
    OutgoingCalls,
    Audiences,
    Statistics,
    Imports,
):
    """A catalogue at work on one database: made by `consentkit.open`, or by `ConsentKit.init_app`."""

    def __init__(self, runtime: Runtime, facts: FactSources | None = None) -> None:
        self._runtime = runtime
        self.facts = facts or FactSources()
        self.guardian = GuardianSetup()

    @property
    def runtime(self) -> Runtime:
        """The catalogue at work on a database."""
        return self._runtime

    @property
    def catalog(self) -> Catalog:
        """What is asked."""
        return self.runtime.catalog

    @property
    def revision(self) -> str:
        """Eight hex digits that change when the banner has to ask again."""
        return self.runtime.revision

    def notice(self, locale: str | None = None) -> Notice:
        """What the banner shows in a locale, with its digest."""
        return self.runtime.notice(locale)

    def purpose_notice(self, key: str, locale: str | None = None) -> Notice:
        """What is shown where one purpose or category is asked by itself, with its digest. Raises UnknownPurpose."""
        return self.runtime.purpose_notice(key, locale)

    def gated(
        self,
        *items: str,
        subject: str,
        skip: bool = False,
        tenant: str | None = None,
        scope: str | None = None,
    ) -> Callable[[F], F]:
        """A gate around any callable, asked when it RUNS.

        `subject` (and `scope`) name the argument that holds the id. Blocked: raises ConsentMissing; `skip`
        returns None. Raises UnknownPurpose, ConsentKitError.
        """
        return gated(lambda: self, items, subject, skip=skip, tenant=tenant, scope=scope, kit=self)


def open_kit(
    catalog: str | PathLike[str] | Catalog,
    url: str,
    *,
    key: str | bytes | None = None,
    webhook_secrets: Secrets | None = None,
    webhook_networks: Sequence[str] = (),
) -> Kit:
    """Open a ledger with no Flask: `consentkit.open("consent.toml", "postgresql://…")`.

    On a SQLite URL tables are made and the catalogue is published; elsewhere run `flask consent upgrade` and
    `publish` first. `key`: CONSENTKIT_KEY where there is no key file; `webhook_…`: the settings of these names,
    for `deliver`. Raises CatalogError, ConsentKitError.
    """
    loaded = catalog if isinstance(catalog, Catalog) else load(catalog)
    try:
        sqlite = make_url(url).get_backend_name() == "sqlite"
    except ArgumentError:
        raise ConsentKitError(
            "the database URL is not one, write sqlite:////path/file or postgresql://host/name"
        ) from None
    webhooks = Webhooks.read(webhook_secrets, webhook_networks)
    runtime = Runtime.of_url(loaded, url, key=key, webhooks=webhooks, prepare=sqlite)
    runtime.ensure()
    return Kit(runtime)
