"""Which view asks for what: read from the marks that gates leave on functions, methods and hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from flask import Flask
from werkzeug.routing import Rule

from consentkit.kit_declared import MARK
from consentkit.web.gates import WITHOUT

_AUTOMATIC = frozenset({"HEAD", "OPTIONS"})
Marks = tuple[tuple[str, ...], str | None]
"""The keys that are required, and the reason for having no gate."""


@dataclass(frozen=True, slots=True)
class View:
    """A path with methods that require the same. `ungated`: why nothing is required."""

    path: str
    endpoint: str
    methods: tuple[str, ...]
    items: tuple[str, ...]
    ungated: str | None

    @property
    def undeclared(self) -> bool:
        """Whether nobody said what it is about."""
        return not self.items and self.ungated is None


def views(app: Flask) -> list[View]:
    """The host's views by path: not static files, and not consentkit's own."""
    found = [
        view
        for rule in app.url_map.iter_rules()
        if rule.endpoint in app.view_functions and not _is_elsewhere(app, rule.endpoint)
        for view in _of_rule(app, rule)
    ]
    return sorted(found, key=lambda view: (view.path, view.methods))


def required(app: Flask) -> Iterator[tuple[str, str]]:
    """Endpoint and key of every gate on a view, on its methods, and before it."""
    for endpoint, function in app.view_functions.items():
        sources = [function, *_methods_of(function).values(), *_before(app, endpoint)]
        yield from ((endpoint, key) for source in sources for key in getattr(source, MARK, ()))


def _is_elsewhere(app: Flask, endpoint: str) -> bool:
    ours = getattr(app.view_functions[endpoint], "__module__", "").startswith("consentkit.")
    return ours or endpoint.rpartition(".")[2] == "static"


def _of_rule(app: Flask, rule: Rule) -> Iterator[View]:
    function = app.view_functions[rule.endpoint]
    around = [function, *_before(app, rule.endpoint)]
    inner = _methods_of(function)
    by_marks: dict[Marks, list[str]] = {}
    for method in sorted((rule.methods or set()) - _AUTOMATIC) or sorted(rule.methods or ()):
        source = inner.get(method) or inner.get("*")
        marks = _marks([*around, source] if source is not None else around)
        by_marks.setdefault(marks, []).append(method)
    for (items, reason), methods in by_marks.items():
        yield View(rule.rule, rule.endpoint, tuple(methods), items, reason)


def _marks(sources: list[Callable[..., Any]]) -> Marks:
    items = [key for source in sources for key in getattr(source, MARK, ())]
    reasons = [reason for source in sources if (reason := getattr(source, WITHOUT, None)) is not None]
    return tuple(dict.fromkeys(items)), None if items or not reasons else reasons[-1]


def _methods_of(function: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    """The functions of a class-based view by HTTP method; `*` is its `dispatch_request`."""
    made = getattr(function, "view_class", None)
    if made is None:
        return {}
    names = {name.upper(): getattr(made, name.lower(), None) for name in made.methods or ()}
    found = {"*": made.dispatch_request, **names}
    return {name: method for name, method in found.items() if method is not None}


def _before(app: Flask, endpoint: str) -> list[Callable[..., Any]]:
    """What runs before the view: the app's hooks, and those of its blueprints."""
    parts = endpoint.split(".")[:-1]
    names = [None, *(".".join(parts[: n + 1]) for n in range(len(parts)))]
    return [hook for name in names for hook in app.before_request_funcs.get(name, ())]
