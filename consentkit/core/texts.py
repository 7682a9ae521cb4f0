"""The built-in texts of banner and pages, by locale: `locales/<locale>.toml`, flat tables of strings."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

FALLBACK = "en"
RIGHT_TO_LEFT = frozenset({"ar", "fa", "he", "ur"})


@cache
def built_in() -> tuple[str, ...]:
    """The locales that have built-in texts, sorted."""
    names = (entry.name for entry in files("consentkit").joinpath("locales").iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


@cache
def texts(locale: str) -> Mapping[str, str]:
    """Built-in texts of a locale, else of its language, else English; missing ones are English."""
    found = [name for name in (FALLBACK, locale.split("-")[0], locale) if name in built_in()]
    merged: dict[str, str] = {}
    for name in dict.fromkeys(found):
        merged |= _flat(
            tomllib.loads(files("consentkit").joinpath("locales", f"{name}.toml").read_text("utf-8"))
        )
    return merged


def direction(locale: str) -> str:
    """`rtl` or `ltr`, as the HTML attribute `dir` wants it."""
    return "rtl" if locale.split("-")[0] in RIGHT_TO_LEFT else "ltr"


def _flat(table: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = str(value)
    return flat
