"""Every configuration key, read once into `Settings`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from consentkit.core.errors import ConsentKitError
from consentkit.core.verification import is_public_address
from consentkit.core.webhooks import Secrets, Webhooks

PREFIX = "CONSENTKIT_"
COOKIE_GUARDS = ("report", "strict", "off")


@dataclass(frozen=True, slots=True)
class Settings:
    """Facts of a deployment. Key `CONSENTKIT_DATABASE_URL` is the field `database_url`, and so on."""

    database_url: str | None = None
    """Where the ledger lives: `postgresql://…` or `sqlite:////path`. Default: a file in the instance."""

    key: str | bytes | None = None
    """The secret for pseudonyms and marks, 32 bytes or more. Default: a key file beside a SQLite database."""

    log_key: str | None = None
    """The key that signs checkpoints (`flask consent log-key` makes one). Default: beside a SQLite database."""

    log_anchor: str | None = None
    """A file outside the database for published checkpoints. Default: beside a SQLite database, else none."""

    erasure_journal: str | None = None
    """A file outside the database that lists erasures. Default: beside a SQLite database, else none."""

    url_prefix: str = "/consent"
    """Where the pages, the banner's endpoint and the API live."""

    base_url: str | None = None
    """The public address of the app, such as `https://shop.example`, for links in messages to guardians."""

    cookie_domain: str | None = None
    """A domain for the visitor cookie, to share it among subdomains; without it only this host sees it."""

    cookie_guard: str = "report"
    """Response cookies: `report` drops what is denied and names what is undeclared, `strict` drops both, `off`."""

    inline: bool = False
    """Write the head script and the banner's style into the page instead of linking them."""

    webhook_secrets: Secrets | None = field(default=None, repr=False)
    """Secrets by party, `{"mailer": "whsec_…"}`, or lists with the newest first. Default: nobody is told."""

    webhook_networks: Sequence[str] = ()
    """Networks that are not public and may be told all the same, such as `["10.1.0.0/16"]`."""

    webhook_ca: str | None = None
    """A PEM file of the authorities to trust for webhooks. Default: those that certifi lists."""

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> Settings:
        """The settings of an app. Raises ConsentKitError for an unknown key or a value of the wrong type."""
        known = {f"{PREFIX}{field.name.upper()}": field.name for field in fields(cls)}
        given = {
            key: value for key, value in config.items() if isinstance(key, str) and key.startswith(PREFIX)
        }
        for key in given:
            if key not in known:
                raise ConsentKitError(
                    f"{key} is not a setting of consentkit. Known: {', '.join(sorted(known))}"
                )
        settings = cls(**{known[key]: value for key, value in given.items()})
        prefix = settings.url_prefix
        if not isinstance(prefix, str) or not prefix.startswith("/") or prefix.endswith("/"):
            raise ConsentKitError(
                "CONSENTKIT_URL_PREFIX begins with / and does not end with one, such as /consent"
            )
        if settings.base_url is not None and not is_public_address(settings.base_url):
            raise ConsentKitError(
                "CONSENTKIT_BASE_URL is the public address of the app, such as https://shop.example; "
                "http is for this machine only"
            )
        if settings.cookie_guard not in COOKIE_GUARDS:
            raise ConsentKitError(f"CONSENTKIT_COOKIE_GUARD is one of {', '.join(COOKIE_GUARDS)}")
        _ = settings.webhooks
        return settings

    @property
    def webhooks(self) -> Webhooks:
        """The three settings, read. Raises ConsentKitError."""
        return Webhooks.read(self.webhook_secrets, self.webhook_networks, self.webhook_ca)
