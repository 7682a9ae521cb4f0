"""What every part of the site shares: the kit, the database, the two editions."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, cast

from flask import current_app, has_request_context, render_template, request, url_for

from consentkit import ConsentKit
from example_app.database import Database

EDITIONS = ("en", "de")
FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Site:
    """One app's own things."""

    consent: ConsentKit
    database: Database

    @classmethod
    def open(cls, consent: ConsentKit, folder: str | PathLike[str]) -> Site:
        """With a database in the folder, made when it is missing."""
        return cls(consent, Database(Path(folder) / "site.sqlite3"))


def here() -> Site:
    """The site of the app in whose context we are."""
    return cast(Site, current_app.extensions["example_app"])


def edition() -> str:
    """The language of this page, by its address: `/de/…` is German."""
    prefix = (request.blueprint or "").partition("_")[0] if has_request_context() else ""
    return prefix if prefix in EDITIONS else EDITIONS[0]


@functools.cache
def words(locale: str) -> dict[str, Any]:
    """Every text of the site's own templates."""
    return tomllib.loads((FOLDER / "locales" / f"{locale}.toml").read_text(encoding="utf-8"))


def link(endpoint: str, locale: str | None = None, **values: Any) -> str:
    """The address of a page in an edition, by default in the present one: `link("pages.home")`."""
    return url_for(f"{locale or edition()}_{endpoint}", **values)


def other_edition(locale: str) -> tuple[str, str]:
    """The other language, and this same page in it."""
    other = EDITIONS[1 - EDITIONS.index(locale)] if locale in EDITIONS else EDITIONS[0]
    if request.method != "GET":
        return other, link("pages.home", other)
    if request.blueprint == "consentkit" and request.endpoint:
        return other, url_for(
            request.endpoint, **{**request.args, **(request.view_args or {}), "locale": other}
        )
    if request.endpoint and request.endpoint.startswith(f"{locale}_"):
        return other, link(request.endpoint.removeprefix(f"{locale}_"), other, **(request.view_args or {}))
    return other, link("pages.home", other)


def template_values() -> dict[str, Any]:
    """What every template knows, also those of consentkit, which bring a `locale` of their own."""
    return {
        "locale": edition(),
        "page_url": link,
        "other_edition": other_edition,
        "words": words,
        "w": words(edition()),
    }


def render(template: str, **values: Any) -> str:
    """A page in the present edition."""
    return render_template(template, **values)
