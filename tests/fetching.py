"""What a page makes a browser fetch from other hosts when no script of ours runs, what only waits, and its form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urlsplit

_FETCHING = ("src", "srcset", "href", "data", "poster")
_LINKS = ("a", "area", "base", "form")
_RUNS = ("", "module", "text/javascript", "application/javascript")


@dataclass(frozen=True, order=True)
class Tag:
    """An element that names another host. `gate`: the key that it waits for."""

    name: str
    host: str
    gate: str | None


@dataclass(frozen=True)
class Form:
    """The fields of a form: what is always sent, the boxes with whether they are ticked, the buttons."""

    action: str
    hidden: Mapping[str, str]
    boxes: Mapping[tuple[str, str], bool]
    buttons: tuple[tuple[str, str], ...]


@dataclass
class _Made:
    action: str
    hidden: dict[str, str] = field(default_factory=dict)
    boxes: dict[tuple[str, str], bool] = field(default_factory=dict)
    buttons: list[tuple[str, str]] = field(default_factory=list)


class _Reader(HTMLParser):
    """Goes through a page once. What is inside of a `<template>` is inert."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fetched: list[Tag] = []
        self.waiting: list[Tag] = []
        self.forms: list[_Made] = []
        self._templates: list[str | None] = []
        self._in_form = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        gate = given.get("data-category") or next((g for g in reversed(self._templates) if g), None)
        inert = bool(self._templates) or (tag == "script" and given.get("type", "").lower() not in _RUNS)
        for name, value in given.items():
            if (host := urlsplit(value.split()[0] if value.split() else "").hostname) is None:
                continue
            fetches = name in _FETCHING and tag not in _LINKS
            if fetches and not inert:
                self.fetched.append(Tag(tag, host, gate))
            elif fetches or name.startswith("data-"):
                self.waiting.append(Tag(tag, host, gate))
        if tag == "template":
            self._templates.append(given.get("data-category"))
        elif not self._templates:
            self._field(tag, given)

    def handle_endtag(self, tag: str) -> None:
        if tag == "template" and self._templates:
            self._templates.pop()
        elif tag == "form":
            self._in_form = False

    def _field(self, tag: str, given: Mapping[str, str]) -> None:
        if tag == "form":
            self._in_form = True
            self.forms.append(_Made(given.get("action", "")))
        elif self._in_form and "name" in given:
            form, name, value = self.forms[-1], given["name"], given.get("value", "")
            if given.get("type") == "hidden":
                form.hidden[name] = value
            elif given.get("type") == "checkbox":
                form.boxes[name, value] = "checked" in given
            elif tag == "button":
                form.buttons.append((name, value))


def fetched(page: str) -> list[Tag]:
    """What is fetched from other hosts, by whatever element."""
    return sorted(_Reader(page).fetched)


def waiting(page: str) -> list[Tag]:
    """What waits: scripts that are texts, content of templates."""
    return sorted(_Reader(page).waiting, key=lambda tag: (tag.host, tag.name))


def form_with(page: str, box: tuple[str, str]) -> Form:
    """The form that has this box, by name and value."""
    (made,) = [form for form in _Reader(page).forms if box in form.boxes]
    return Form(made.action, made.hidden, made.boxes, tuple(made.buttons))


def answerable(page: str) -> set[str]:
    """The keys that a form of this page can say something about: values of its boxes, buttons and fields."""
    forms = _Reader(page).forms
    return {
        value
        for form in forms
        for value in (*form.hidden.values(), *(v for _, v in form.boxes), *(v for _, v in form.buttons))
    }
