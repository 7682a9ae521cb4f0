"""A client of the API with a key of its own, in one process or over a socket."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from flask import Flask

from consentkit import ConsentKit
from consentkit.store.api_keys import SCOPES, create_key

BASE = "/consent/v1"
PROBLEM = "application/problem+json"


class Caller:
    """Calls an app's API with one key; `key=""` calls without."""

    def __init__(
        self, app: Flask, kit: ConsentKit, *, tenant: str = "", scopes: Sequence[str] = SCOPES, key: str = ""
    ) -> None:
        with app.app_context():
            self.key = key or create_key(kit.runtime, label="test", tenant=tenant, scopes=scopes)
        self.app = app

    def call(self, method: str, path: str, **how: Any) -> Any:
        """One request; a problem has to be a whole one."""
        headers = {"Authorization": f"Bearer {self.key}", **how.pop("headers", {})}
        response = self.app.test_client().open(BASE + path, method=method, headers=headers, **how)
        assert response.headers["Cache-Control"] == "no-store"
        assert "Set-Cookie" not in response.headers
        if response.status_code >= 400 and method != "HEAD":
            check_problem(response.status_code, response.content_type, response.json)
        return response

    def get(self, path: str, **how: Any) -> Any:
        return self.call("GET", path, **how)

    def put(self, path: str, body: Any, **how: Any) -> Any:
        return self.call("PUT", path, json=body, **how)

    def events(self, subject: str) -> list[dict[str, Any]]:
        """All events of a subject, by following `Link`."""
        found, path = [], f"/events?subject={subject}&limit=2"
        while path:
            response = self.get(path)
            found += response.json["events"]
            path = next_link(response.headers.get("Link"))
        return found


def check_problem(status: int, content_type: str | None, body: Any) -> None:
    """A problem of ours: RFC 9457's members, and our type."""
    assert content_type == PROBLEM
    assert body["status"] == status
    assert body["type"].startswith("urn:consentkit:problem:")
    assert body["title"]
    assert body["detail"]


def next_link(header: str | None) -> str:
    """The path of `rel="next"` below the API, or nothing."""
    if header is None:
        return ""
    assert header.endswith('>; rel="next"')
    return header[1 : header.index(">")].removeprefix(BASE)


def over_http(
    method: str, url: str, key: str, data: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, Mapping[str, str], Any]:
    """Status, headers and JSON over a real socket."""
    sent = {"Authorization": f"Bearer {key}", **(headers or {})}
    request = urllib.request.Request(url, data=data, method=method, headers=sent)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, response.headers, json.loads(response.read() or b"null")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, json.loads(error.read())
