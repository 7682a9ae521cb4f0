"""The built-in texts of banner and pages, by locale: `locales/<locale>.toml`, flat tables of strings."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files

from consentkit.core.times import Duration

FALLBACK = "en"
_PLURALS: Mapping[str, Callable[[int], str]] = {
    "none": lambda n: "other",
    "two": lambda n: "one" if n == 1 else "other",
    "polish": lambda n: (
        "one" if n == 1 else "few" if n % 10 in (2, 3, 4) and n % 100 not in (12, 13, 14) else "many"
    ),
    "arabic": lambda n: (
        {1: "one", 2: "two"}.get(n) or ("few" if 3 <= n % 100 <= 10 else "many" if n % 100 > 10 else "other")
    ),
}
"""Which form of a word goes with a whole number: the cardinal rules of CLDR, above zero."""
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


def for_people(duration: str, words: Mapping[str, str], case: str = "") -> str:
    """`P13M` in a language's words: 13 months. Other text stays as it is.

    `case="after"`: as it stands behind "after", where a language bends words for that.
    """
    try:
        parts = Duration.parse(duration).parts
    except ValueError:
        return duration
    form = _PLURALS[words["duration.plurals"]]
    said = []
    for number, unit in parts:
        name = f"duration.{unit}.{form(number)}"
        bent = words.get(f"duration.{case}.{unit}.{form(number)}", words[name])
        said.append(bent.replace("{n}", str(number)))
    return words["duration.join"].join(said) or duration


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
