"""A library with one computer for its readers: who sits there next gets nothing of who sat there before.

Over real HTTP. Readers sign in with their card; what they chose before is theirs only if they say so.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browsing import Answer, Browser
from flask import Flask, redirect, render_template_string, request, session, url_for
from releases import form_in

from consentkit import Age, ConsentKit, MinorRules, Purpose, Site, requires_consent
from consentkit.testing import prepare, temporary_database

PAGE = "<!doctype html><title>Library</title>{{ consent_head() }}{{ consent_banner() }}<h1>Library</h1>"
READERS = {"ada": 40, "ben": 41, "cleo": 12}


def make_kit(link: str) -> ConsentKit:
    return ConsentKit(
        site=Site(name="Library", link=link),
        minors=MinorRules(age=16),
        purposes=[
            Purpose("history", title="What you borrowed", category="preferences"),
            Purpose("tips", title="Tips by e-mail"),
            Purpose("partners", title="Shared with partners", category="marketing", signals=["gpc"]),
        ],
    )


def make_app(kit: ConsentKit, folder: Path) -> Flask:
    app = Flask("library", instance_path=str(folder))
    app.config.update(SECRET_KEY="only for tests", TESTING=True, **temporary_database(folder))
    kit.subject_loader(lambda: session.get("card"))
    kit.age_loader(lambda card: Age(years=READERS[card]))
    kit.init_app(app)

    @app.get("/")
    def home() -> str:
        return render_template_string(PAGE)

    @app.get("/history")
    @requires_consent("history")
    def history() -> str:
        return "what you borrowed"

    @app.post("/sign-in")
    def sign_in() -> Any:
        session["card"] = request.form["card"]
        return redirect(url_for("consentkit.link", next="/"), 303)

    @app.post("/sign-out")
    def sign_out() -> Any:
        session.clear()
        return redirect("/", 303)

    prepare(app)
    return app


class Library:
    """The library's site, its ledger, and the computers from which it is visited."""

    def __init__(self, folder: Path, serve: Callable[[Flask], str], link: str) -> None:
        self.kit = make_kit(link)
        self.app = make_app(self.kit, folder)
        self._url = serve(self.app)

    def computer(self, **headers: str) -> Browser:
        return Browser(self._url, **headers)

    def said(self, subject: str) -> list[tuple[str, str]]:
        with self.app.app_context():
            return [(e.item, e.action) for e in self.kit.ledger.of_subject(subject)]

    def continued(self, subject: str) -> set[str]:
        with self.app.app_context():
            bodies = [json.loads(e.body) for e in self.kit.ledger.of_subject(subject)]
        return {body["continues"] for body in bodies if "continues" in body}

    def subjects(self) -> int:
        """How many people the ledger knows."""
        read = self.kit.runtime.database.read
        return int(read(lambda tx: tx.run("SELECT count(*) FROM consentkit_subject"))[0][0])


def sign_in(browser: Browser, card: str) -> Answer:
    """Sign in and follow to the question, or past it."""
    answer = browser.post("/sign-in", {"card": card})
    assert answer.location is not None
    return browser.get(answer.location)


def history(browser: Browser) -> int:
    return browser.get("/history", accept="application/json").status


@pytest.fixture
def library(tmp_path: Path, live_server: Callable[[Flask], str]) -> Library:
    return Library(tmp_path, live_server, "explicit_choice")


def test_ada_takes_one_choice_home_and_ben_finds_none_of_them(library: Library) -> None:
    shared = library.computer()
    yes = {"decision": "save", "category": "preferences", "purpose": "tips"}
    assert shared.post("/consent", yes).status == 303
    visitor = next(cookie.value for cookie in shared.jar if cookie.name == "consent")
    assert history(shared) == 200

    page = sign_in(shared, "ada")
    assert "Your choices before you signed in" in page.text
    assert history(shared) == 403, "nothing was granted by signing in"
    assert shared.post("/consent/link", form_in(page.text, decision="take", take="history")).location == "/"
    assert history(shared) == 200
    assert library.said("ada") == [("history", "given")]
    assert len(library.continued("ada")) == 1

    phone = library.computer()
    assert sign_in(phone, "ada").status == 303, "the question is asked where the choice was made"
    assert history(phone) == 200
    assert phone.post("/consent", {"decision": "withdraw-all"}).status == 303
    assert history(shared) == 403, "a withdrawal counts everywhere"

    shared.post("/sign-out", {})
    assert history(shared) == 403
    assert visitor not in {cookie.value for cookie in shared.jar}
    assert sign_in(shared, "ben").status == 303, "there is nothing left to be asked"
    assert library.said("ben") == []
    assert history(shared) == 403


def test_who_leaves_everything_is_not_asked_again_and_it_is_on_record(library: Library) -> None:
    shared = library.computer()
    shared.post("/consent", {"decision": "accept-all"})
    page = sign_in(shared, "ben")
    shared.post("/consent/link", form_in(page.text, decision="leave"))
    assert library.said("ben") == [("link", "declined")]
    assert library.continued("ben") == set()
    assert sign_in(shared, "ben").status == 303
    assert history(shared) == 403


def test_a_child_takes_no_yes_home(library: Library) -> None:
    shared = library.computer()
    shared.post("/consent", {"decision": "accept-all"})
    assert history(shared) == 200
    assert sign_in(shared, "cleo").status == 303
    forced = {"decision": "take", "take": ["history", "partners"]}
    shared.post("/consent/link", forced)
    assert library.said("cleo") == []
    assert history(shared) == 403
    refused = library.computer()
    refused.post("/consent", {"decision": "reject-all"})
    page = sign_in(refused, "cleo")
    refused.post("/consent/link", form_in(page.text, decision="take", take=["partners"]))
    assert library.said("cleo") == [("partners", "refused")]


def test_a_stolen_page_is_of_no_use_without_the_cookie(library: Library) -> None:
    shared, other = library.computer(), library.computer()
    shared.post("/consent", {"decision": "accept-all"})
    page = sign_in(shared, "ada")
    sign_in(other, "ben")
    other.post("/consent/link", form_in(page.text, decision="take", take=["history"]))
    assert library.said("ben") == []


def test_the_signal_is_heard_for_the_reader_and_the_browser(library: Library) -> None:
    private = library.computer(**{"Sec-GPC": "1"})
    for _ in range(3):
        assert private.get("/").status == 200
    assert library.subjects() == 0, "it makes nobody known"
    private.post("/consent", {"decision": "save", "category": "preferences"})
    sign_in(private, "ada")
    private.get("/")
    assert library.said("ada") == [("gpc", "objected")]
    assert library.subjects() == 2


def test_strictest_moves_nothing_and_the_browsers_no_counts_while_it_is_there(
    tmp_path: Path, live_server: Callable[[Flask], str]
) -> None:
    library = Library(tmp_path, live_server, "strictest")
    with library.app.app_context():
        library.kit.give("ada", "history")
    yes, no = library.computer(), library.computer()
    yes.post("/consent", {"decision": "accept-all"})
    no.post("/consent", {"decision": "reject-all"})
    assert sign_in(yes, "ben").status == 303
    assert history(yes) == 403
    assert sign_in(no, "ada").status == 303
    assert history(no) == 403, "stricter of the two"
    phone = library.computer()
    sign_in(phone, "ada")
    assert history(phone) == 200
    assert library.said("ada") == [("history", "given")]
    no.post("/sign-out", {})
    sign_in(no, "ada")
    assert history(no) == 200, "the refusal went with the visitor"
