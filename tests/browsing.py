"""A browser without a screen: real HTTP, cookies kept, redirects not followed."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
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
        self.url, self._headers, self.jar = url, headers, CookieJar()
        self._opener = build_opener(HTTPCookieProcessor(self.jar), _Stay())

    @property
    def cookies(self) -> set[str]:
        """The names of the cookies that it has."""
        return {cookie.name for cookie in self.jar}

    def get(self, path: str, accept: str = "text/html") -> Answer:
        return self._send(Request(self.url + path, headers={**self._headers, "Accept": accept}))

    def post(self, path: str, form: dict[str, Any], accept: str = "text/html") -> Answer:
        headers = {**self._headers, "Accept": accept, "Sec-Fetch-Site": "same-origin"}
        body = urlencode(form, doseq=True).encode()
        return self._send(Request(self.url + path, body, headers))

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

    def follow(self, url: str) -> Answer:
        """Open a link that was sent, and the page that it leads to."""
        opened = self.get(urlsplit(url).path)
        return self.get(opened.location or "") if opened.status == 303 else opened

    def answer_as_guardian(self, yes: Collection[str]) -> Answer:
        """Fill in the guardian's form: yes to these, no to the rest."""
        page = "/consent/guardian"
        notices = re.findall(r'name="notice" value="([^"]+)"', self.get(page).text)
        items = [notice.partition(":")[0] for notice in notices]
        said = {f"answer:{item}": "yes" if item in yes else "no" for item in items}
        return self.post(page, {"decision": "answer", "notice": notices, **said})
