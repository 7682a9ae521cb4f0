"""The notice: exactly what banner and preference page show, as data with a digest (EDPB 05/2020, 108)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from consentkit.core.catalog import Catalog, Category, Purpose, localized
from consentkit.core.catalog_rules import definition
from consentkit.core.terms import Basis
from consentkit.core.texts import direction, texts
from consentkit.core.times import Duration


@dataclass(frozen=True, slots=True)
class Notice:
    """What is shown in one locale. `body` is the canonical JSON of `data`, `digest` its SHA-256 in hex."""

    locale: str
    data: Mapping[str, Any]
    body: str
    digest: str


def digest(text: str) -> str:
    """SHA-256 of the UTF-8 bytes, lower-case hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def canonical_json(value: object) -> str:
    """Sorted keys, no spaces, not escaped: RFC 8785 for strings, integers, booleans and null."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def notice_of(catalog: Catalog, locale: str) -> Notice:
    """The notice of the whole catalogue in one locale."""
    words = texts(locale)
    data: dict[str, Any] = {
        "apart": [_purpose(catalog, p, locale) for p in catalog.apart],
        "categories": [_category(catalog, c, locale, words) for c in _shown(catalog)],
        "controller": {"contact": catalog.controller.contact, "name": catalog.controller.name},
        "dir": direction(locale),
        "locale": locale,
        "site": catalog.site.name,
        "texts": {k: v for k, v in words.items() if k.startswith(("banner.", "category.", "purpose."))},
    }
    body = canonical_json(data)
    return Notice(locale, data, body, digest(body))


def purpose_notice(catalog: Catalog, purpose: Purpose, locale: str) -> Notice:
    """The notice of one purpose in one locale: what is shown where its data is collected."""
    words = texts(locale)
    data: dict[str, Any] = {
        "controller": {"contact": catalog.controller.contact, "name": catalog.controller.name},
        "dir": direction(locale),
        "locale": locale,
        "purpose": _purpose(catalog, purpose, locale),
        "site": catalog.site.name,
        "texts": {k: v for k, v in words.items() if k.startswith(("notice.", "purpose."))},
    }
    body = canonical_json(data)
    return Notice(locale, data, body, digest(body))


def category_notice(catalog: Catalog, category: Category, locale: str) -> Notice:
    """The notice of what a category's switch answers, in one locale: what stands in place of an embed."""
    words = texts(locale)
    data: dict[str, Any] = {
        "category": _category(catalog, category, locale, words),
        "controller": {"contact": catalog.controller.contact, "name": catalog.controller.name},
        "dir": direction(locale),
        "locale": locale,
        "site": catalog.site.name,
        "texts": {k: v for k, v in words.items() if k.startswith(("notice.", "purpose."))},
    }
    body = canonical_json(data)
    return Notice(locale, data, body, digest(body))


def revision_of(catalog: Catalog) -> str:
    """Eight hex digits that change when something asked in the banner changes materially."""
    asked = [p for c in catalog.choices for p in catalog.purposes_of(c.key)] + list(catalog.apart)
    return digest(canonical_json([[p.key, p.version, p.category, definition(catalog, p)] for p in asked]))[:8]


def _shown(catalog: Catalog) -> list[Category]:
    """Necessary always, then every category with a choice or with a purpose to be listed."""
    return [c for c in catalog.categories.values() if c.key == "necessary" or any(catalog.in_category(c.key))]


def _listed(catalog: Catalog, category: str) -> list[Purpose]:
    """What is listed under a category; under necessary also what is never asked and stands in no category."""
    listed = [p for p in catalog.in_category(category) if p not in catalog.apart and not p.scoped]
    if category == "necessary":
        unasked = (
            p for p in catalog.purposes.values() if p.basis is not Basis.CONSENT and p.category is None
        )
        listed += unasked
    return listed


def _category(catalog: Catalog, category: Category, locale: str, words: Mapping[str, str]) -> dict[str, Any]:
    fallback = catalog.site.default_locale
    return {
        "description": localized(category.description, locale, fallback)
        or words.get(f"category.{category.key}.description", ""),
        "key": category.key,
        "purposes": [_purpose(catalog, p, locale) for p in _listed(catalog, category.key)],
        "required": not catalog.purposes_of(category.key),
        "title": localized(category.title, locale, fallback)
        or words.get(f"category.{category.key}.title", category.key),
    }


def _purpose(catalog: Catalog, purpose: Purpose, locale: str) -> dict[str, Any]:
    fallback = catalog.site.default_locale
    recipients = [catalog.parties[key] for key in purpose.recipients]
    days = Duration.parse(purpose.valid_for).days_at_most if purpose.valid_for else None
    return {
        "basis": purpose.basis.value,
        "cookies": [
            {
                "description": localized(c.description, locale, fallback),
                "duration": c.duration,
                "name": c.name,
            }
            for c in purpose.cookies
        ],
        "data": list(purpose.data),
        "description": localized(purpose.description, locale, fallback),
        "explicit": purpose.explicit,
        "key": purpose.key,
        "locations": list(purpose.locations),
        "recipients": [
            {"country": p.country, "key": p.key, "name": p.name, "url": p.url} for p in recipients
        ],
        "retention": purpose.retention,
        "title": localized(purpose.title, locale, fallback) or purpose.key,
        "valid_for": purpose.valid_for,
        "valid_for_days": days,
        "version": purpose.version,
    }
