"""A catalogue of the past from its canonical JSON, as far as decisions need it: without texts and controller."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from datetime import date
from typing import Any, TypeVar

from consentkit.core.catalog import Bundle, Catalog, Category, MinorRules, Policy, Purpose, Site
from consentkit.core.places import AgeRule, RegimeRule
from consentkit.core.terms import Assurance, Regime

T = TypeVar("T")


def restored(text: str) -> Catalog:
    """The catalogue that `catalog_rules.canonical` wrote, also of an older version of this package.

    Raises CatalogError, LookupError, TypeError, ValueError for what is none.
    """
    said = json.loads(text)
    minors = said["minors"]
    if minors is not None:
        minors = _made(MinorRules, minors, ages=tuple(_age_rule(rule) for rule in minors["ages"]))
    return Catalog(
        site=_made(Site, said["site"]),
        categories={key: _made(Category, one) for key, one in said["categories"].items()},
        purposes={key: _made(Purpose, one, cookies=()) for key, one in said["purposes"].items()},
        policies={key: _made(Policy, one, versions=()) for key, one in said["policies"].items()},
        bundles={key: _made(Bundle, one) for key, one in said["bundles"].items()},
        minors=minors,
        regimes=tuple(_regime_rule(rule) for rule in said["regimes"]),
    )


def _made(kind: type[T], said: Mapping[str, Any], **more: Any) -> T:
    """What is not in the JSON has its default; what this version does not know is left out."""
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in said.items() if key in known}
    return kind(**(values | more))


def _age_rule(said: Mapping[str, Any]) -> AgeRule:
    return _made(AgeRule, said, verification=Assurance(said["verification"]), as_of=_day(said["as_of"]))


def _regime_rule(said: Mapping[str, Any]) -> RegimeRule:
    regimes = {category: Regime(regime) for category, regime in said["regimes"].items()}
    return _made(RegimeRule, said, regimes=regimes, as_of=_day(said["as_of"]))


def _day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)
