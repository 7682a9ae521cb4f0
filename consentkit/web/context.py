"""The app and the request themselves: Flask's proxies look up every attribute seven times as slowly."""

from __future__ import annotations

from typing import Any

from flask import Flask, current_app, request


def this_app() -> Flask:
    """The app in whose context we are. Raises RuntimeError outside of one."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    return app


def environ() -> dict[str, Any]:
    """The WSGI environment of this request. Raises RuntimeError outside of one."""
    found: dict[str, Any] = request._get_current_object().environ  # type: ignore[attr-defined]
    return found
