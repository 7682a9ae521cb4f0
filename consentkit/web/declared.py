"""Which view asks for what: read from the marks that gates leave on functions, methods and hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from flask import Flask
from flask.views import MethodView
from werkzeug.routing import Rule

from consentkit.kit_declared import MARK, is_behind, layers
from consentkit.web.gates import WITHOUT
from consentkit.web.state import OURS

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
    """The host's views by path: not static files, not consentkit's own, nor rules that run no view."""
    found = [
        view
        for rule in app.url_map.iter_rules()
        if rule.endpoint in app.view_functions and not _is_elsewhere(app, rule)
        for view in _of_rule(app, rule)
    ]
    return sorted(found, key=lambda view: (view.path, view.methods))


def required(app: Flask) -> Iterator[tuple[str, str]]:
    """Endpoint and key of every gate on a view, on its methods, and before it."""
    for endpoint, function in app.view_functions.items():
        made = getattr(function, "view_class", None)
        methods = (_own(made, method) for method in getattr(made, "methods", None) or ())
        sources = [function, *_around_methods(made), *methods, *_before(app, endpoint)]
        yield from ((endpoint, key) for source in sources for key in _said(source, MARK) or ())


def passed_by(app: Flask) -> Iterator[str]:
    """Endpoints of views that run without a gate which was put around them later; not where the gate has one, too."""
    within = {id(inner) for view in app.view_functions.values() for inner in [*layers(view)][1:]}
    for endpoint, view in app.view_functions.items():
        if is_behind(view) and id(view) not in within and _said(view, WITHOUT) is None:
            yield endpoint


def _is_elsewhere(app: Flask, rule: Rule) -> bool:
    """Whether the rule leads to no view of the host's. A view that is only called `static` is one."""
    if rule.build_only or rule.redirect_to is not None or rule.endpoint.rpartition(".")[0] in OURS:
        return True
    blueprint, _, name = rule.endpoint.rpartition(".")
    owner = app.blueprints.get(blueprint) if blueprint else app
    files = owner is not None and owner.has_static_folder and "filename" in rule.arguments
    module = getattr(app.view_functions[rule.endpoint], "__module__", None) or ""
    return name == "static" and files and module.startswith("flask.")


def _of_rule(app: Flask, rule: Rule) -> Iterator[View]:
    function = app.view_functions[rule.endpoint]
    made = getattr(function, "view_class", None)
    around = [function, *_around_methods(made), *_before(app, rule.endpoint)]
    by_marks: dict[Marks, list[str]] = {}
    for method in _methods(rule, made):
        marks = _marks([*around, _own(made, method)])
        by_marks.setdefault(marks, []).append(method)
    for (items, reason), methods in by_marks.items():
        yield View(rule.rule, rule.endpoint, tuple(methods), items, reason)


def _methods(rule: Rule, made: type[Any] | None) -> list[str]:
    """The methods for which the view runs; `*`: for all. HEAD and OPTIONS only where they are not Flask's own."""
    methods = rule.methods
    if methods is None:
        methods = getattr(made, "methods", None) or {"*"}
    automatic = {"OPTIONS"} if getattr(rule, "provide_automatic_options", False) else set()
    if "GET" in methods and _own(made, "HEAD") is None:
        automatic.add("HEAD")
    return sorted(set(methods) - automatic)


def _marks(sources: list[object]) -> Marks:
    items = [key for source in sources for key in _said(source, MARK) or ()]
    reasons = [reason for source in sources if (reason := _said(source, WITHOUT)) is not None]
    return tuple(dict.fromkeys(items)), None if items or not reasons else reasons[-1]


def _said(source: object, mark: str) -> Any:
    """What a mark says. A class does not hand it on to those that are made from it: they have other methods."""
    while isinstance(source, partial):
        source = source.func
    return vars(source).get(mark) if isinstance(source, type) else getattr(source, mark, None)


def _around_methods(made: type[Any] | None) -> list[object]:
    """What of a class-based view runs whatever the method is."""
    return [] if made is None else [made, made.dispatch_request]


def _own(made: type[Any] | None, method: str) -> object | None:
    """The method of a MethodView that answers an HTTP method."""
    return getattr(made, method.lower(), None) if made is not None and issubclass(made, MethodView) else None


def _before(app: Flask, endpoint: str) -> list[Callable[..., Any]]:
    """What runs before the view: the app's hooks, and those of its blueprints."""
    parts = endpoint.split(".")[:-1]
    names = [None, *(".".join(parts[: n + 1]) for n in range(len(parts)))]
    return [hook for name in names for hook in app.before_request_funcs.get(name, ())]
