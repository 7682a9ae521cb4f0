"""The example site's children and their parents, over real sockets, with Harbour ID on a port of its own."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask

from consentkit import GuardianCheck, GuardianMethod, VerifierFailed
from consentkit.integrations.verifiers import HttpVerifier
from example_app import create_app, verifier

PASSWORD = "low water at noon"
HTML = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def secret() -> str:
    return verifier.new_secret()


@pytest.fixture
def provider(live_server: Callable[[Flask], str], secret: str) -> str:
    """Harbour ID's address."""
    return live_server(verifier.create_verifier(secret))


@pytest.fixture
def url(live_server: Callable[[Flask], str], provider: str, secret: str, tmp_path: Path) -> str:
    """The magazine's address."""
    config = {"TESTING": True, "VERIFIER_URL": provider, "VERIFIER_SECRET": secret}
    return live_server(create_app(config, instance_path=tmp_path))


class Browser(requests.Session):
    """One person's browser."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.headers.update(HTML)

    def go(self, path: str) -> Any:
        """Open a page."""
        return self.get(path if "://" in path else self.url + path, timeout=20)

    def fill(self, path: str, **form: Any) -> Any:
        """Send a form."""
        return self.post(path if "://" in path else self.url + path, data=form, timeout=20)

    def sign_up(self, age: int) -> None:
        hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="(\w+)"', self.go("/sign-up").text))
        form = {**hidden, "email": "kid@example.org", "password": PASSWORD, "agree": "1", "age": age}
        assert self.fill("/sign-up", **form).url.endswith("/account")


def newest(browser: Browser) -> str:
    """The link of the newest message in the outbox."""
    link = re.search(r'href="([^"]*/consent/guardian/[^"]+)"', browser.go("/outbox").text)
    assert link is not None
    return link[1]


@pytest.fixture
def child(url: str) -> Browser:
    child = Browser(url)
    child.sign_up(11)
    return child


def test_a_parent_is_checked_and_allows_the_letter(url: str, provider: str, child: Browser) -> None:
    assert "Whom may we ask?" in child.go("/letter").text
    assert "Nothing was changed" in child.fill("/letter", yes="1").text
    asked = child.fill("/letter/ask", contact="parent@example.org", method="gov_id")
    assert "We have asked" in asked.text
    assert child.go(newest(child)).status_code == 403
    parent = Browser(url)
    page = parent.go(newest(parent))
    assert page.url == f"{url}/consent/guardian?locale=en"
    assert "Go to Harbour ID" in page.text
    away = parent.fill("/consent/guardian", decision="verify")
    there = away.headers["Refresh"].removeprefix("0; url=")
    assert there.startswith(f"{provider}/check/")
    assert "Harbour ID" in parent.go(there).text
    back = parent.fill(there, adult="yes")
    assert back.url == f"{url}/consent/guardian"
    assert "You have been checked" in back.text
    notice = re.search(r'name="notice" value="([^"]+)"', back.text)
    assert notice is not None
    answer = {"decision": "answer", "answer:newsletter": "yes", "notice": notice[1]}
    assert "Your answers are recorded" in parent.fill("/consent/guardian", **answer).text
    assert child.go("/letters").status_code == 200
    assert "You get the letter" in child.go("/letter").text


def test_a_check_that_does_not_succeed(url: str, provider: str, child: Browser) -> None:
    child.fill("/letter/ask", contact="parent@example.org", method="gov_id")
    parent = Browser(url)
    parent.go(newest(parent))
    there = parent.fill("/consent/guardian", decision="verify").headers["Refresh"].removeprefix("0; url=")
    back = parent.fill(there, adult="no")
    assert "The check did not succeed" in back.text
    assert parent.go(there).status_code == 404  # a check is good once
    assert child.go("/letters").status_code == 403


def test_who_is_no_child_is_asked_directly(url: str) -> None:
    adult = Browser(url)
    adult.sign_up(16)
    assert "The letter is on its way" in adult.fill("/letter", yes="1").text


@pytest.mark.parametrize(
    ("contact", "said"),
    [("parent@example.org", "Sent."), ("x" * 400, "That did not work"), ("", "That did not work")],
)
def test_what_the_child_is_told(child: Browser, contact: str, said: str) -> None:
    assert said in child.fill("/letter/ask", contact=contact, method="email_plus").text


def test_a_child_that_asks_too_often(child: Browser) -> None:
    for number in range(5):
        assert "Sent." in child.fill("/letter/ask", contact=f"{number}@example.org", method="email_plus").text
    assert (
        "often enough for today"
        in child.fill("/letter/ask", contact="a@example.org", method="email_plus").text
    )


def test_harbour_id_believes_nobody_without_the_secret(provider: str, secret: str) -> None:
    check = GuardianCheck("r.s", GuardianMethod.GOV_ID, "en", "http://127.0.0.1/r", "http://127.0.0.1/c")
    stranger = HttpVerifier("stranger", f"{provider}/checks", verifier.new_secret(), ["gov_id"])
    with pytest.raises(VerifierFailed, match="401"):
        stranger.start(check)
    known = HttpVerifier("harbour-id", f"{provider}/checks", secret, ["gov_id"])
    assert known.start(check).startswith(provider)


def test_a_result_of_harbour_id_is_for_its_customer_only(url: str) -> None:
    answer = requests.post(f"{url}/consent/guardian/callback/harbour-id", json={"verified": True}, timeout=20)
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:consentkit:problem:result-refused")
