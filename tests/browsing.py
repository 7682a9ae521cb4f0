"""A browser without a screen: real HTTP, cookies kept, redirects not followed."""

from __future__ import annotations

import json
from http.cookiejar import CookieJar
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPCookieProcessor, HTTPRedirectHandler, Request, build_opener

from releases import form_in


class Answer:
    """Status, where it leads, text."""

    def __init__(self, response: Any) -> None:
        self.status: int = response.status
        self.location: str | None = response.headers.get("Location")
        self.cookies = {c.partition("=")[0] for c in response.headers.get_all("Set-Cookie", [])}
        self.text: str = response.read().decode()

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class _Stay(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


class Browser:
    """A browser that keeps cookies, says where a form came from, and does not follow redirects."""

    def __init__(self, url: str, **headers: str) -> None:
        self._url, self._headers, self.jar = url, headers, CookieJar()
        self._opener = build_opener(HTTPCookieProcessor(self.jar), _Stay())

    @property
    def cookies(self) -> set[str]:
        """The names of the cookies that it has."""
        return {cookie.name for cookie in self.jar}

    def get(self, path: str, accept: str = "text/html") -> Answer:
        return self._send(Request(self._url + path, headers={**self._headers, "Accept": accept}))

    def post(self, path: str, form: dict[str, Any], accept: str = "text/html") -> Answer:
        headers = {**self._headers, "Accept": accept, "Sec-Fetch-Site": "same-origin"}
        body = urlencode(form, doseq=True).encode()
        return self._send(Request(self._url + path, body, headers))

    def _send(self, request: Request) -> Answer:
        try:
            with self._opener.open(request, timeout=20) as response:
                return Answer(response)
        except HTTPError as error:
            with error:
                return Answer(error)

    def accept(self, path: str, **changed: Any) -> Answer:
        """Open the acceptance page and press its button."""
        return self.post(urlsplit(path).path, form_in(self.get(path).text, **changed))
