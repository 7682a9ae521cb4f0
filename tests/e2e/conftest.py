"""The site of `banner_site` in a browser; what goes wrong in its console fails the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from banner_site import make_app
from flask import Flask
from playwright.sync_api import ConsoleMessage, Page


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    return make_app(tmp_path)


@pytest.fixture
def url(live_server: Callable[[Flask], str], app: Flask) -> str:
    return live_server(app)


@pytest.fixture
def expected_noise() -> list[str]:
    """Beginnings of console messages that a test provokes."""
    return []


@pytest.fixture
def visit(page: Page, url: str, expected_noise: list[str]) -> Iterator[Callable[..., Page]]:
    """`visit("/?locale=ar")` opens a page; errors in the console fail the test at its end."""
    noise: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            noise.append(message.text)

    def go(path: str = "/", **viewport: int) -> Page:
        if viewport:
            page.set_viewport_size({"width": viewport["width"], "height": viewport["height"]})
        page.goto(url + path)
        return page

    page.on("console", hear)
    page.on("pageerror", lambda error: noise.append(str(error)))
    yield go
    assert [text for text in noise if not text.startswith(tuple(expected_noise) or ("\0",))] == []


@pytest.fixture
def axe(page: Page) -> Callable[[], list[Any]]:
    """`axe()`: the violations on the page, best practices included, once all of it is there and at rest."""

    def run() -> list[Any]:
        page.wait_for_load_state()
        page.evaluate("Promise.allSettled(document.getAnimations().map((one) => one.finished))")
        violations = Axe().run(page).response["violations"]
        return [(v["id"], [node["html"][:200] for node in v["nodes"]]) for v in violations]

    return run
