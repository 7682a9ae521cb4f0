"""What is the same for everybody is rendered once: and only where it really is the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, g, request, template_rendered
from jinja2 import ChoiceLoader, DictLoader

from consentkit import ConsentKit, Policy, PolicyVersion, Purpose, Site
from consentkit.web import markup
from consentkit.web.rendered import _KEPT_AT_MOST

CALLS = {
    "head.html": markup.consent_head,
    "banner.html": markup.consent_banner,
    "announcements_bar.html": markup.consent_announcements,
    "notice.html": lambda: markup.consent_notice("news"),
}


def make_app(folder: Path, *, host: Any = None, **config: Any) -> Flask:
    app = Flask("host", instance_path=str(folder), **(host or {}))
    app.config.update(SECRET_KEY="for tests", TESTING=True, **config)
    kit = ConsentKit(
        purposes=[Purpose("stats", title="Stats", category="analytics"), Purpose("news", title="News")],
        site=Site(locales=["en", "de"], default_locale="en"),
    )
    kit.locale_loader(lambda: request.args.get("locale"))
    kit.init_app(app)
    return app


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    return make_app(tmp_path)


@contextmanager
def rendering(app: Flask) -> Iterator[list[str]]:
    """The templates that are rendered meanwhile."""
    seen: list[str] = []

    def see(_app: Flask, template: Any, **_rest: Any) -> None:
        seen.append(template.name.removeprefix("consentkit/"))

    with template_rendered.connected_to(see, app):
        yield seen


@pytest.mark.parametrize("name", CALLS)
def test_once_in_the_life_of_a_process(app: Flask, name: str) -> None:
    with rendering(app) as seen:
        pages = []
        for _ in range(3):
            with app.test_request_context("/"):
                pages.append(CALLS[name]())
    assert seen == [name]
    assert pages[0] == pages[1] == pages[2]


@pytest.mark.parametrize("name", ["head.html", "announcements_bar.html"])
def test_every_page_has_its_own_nonce(app: Flask, name: str) -> None:
    with app.test_request_context("/"):
        first, second = CALLS[name](nonce="a-1"), CALLS[name](nonce='"><b>')  # type: ignore[operator]
        without = CALLS[name]()
    assert 'nonce="a-1"' in first
    assert "a-1" not in second
    assert 'nonce="&#34;&gt;&lt;b&gt;"' in second
    assert "nonce" not in without


def test_another_language_and_place(app: Flask) -> None:
    made = []
    for query in ("", "?locale=de", "?locale=xx"):
        with app.test_request_context(f"/{query}"):
            made.append((markup.consent_banner(), markup.consent_banner("top"), markup.consent_link()))
    english, german, unknown = made
    assert english == unknown
    assert len({english[0], english[1], german[0], german[1]}) == 4
    assert 'lang="de"' in german[0]
    assert "locale=de" in german[2]
    assert "ck-top" in english[1]


@pytest.mark.parametrize("name", CALLS)
def test_the_path_of_the_app_is_that_of_the_request(app: Flask, name: str) -> None:
    for path in ("", "/shop", "/other", "/shop"):
        with app.test_request_context("/", environ_overrides={"SCRIPT_NAME": path}):
            assert f'="{path}/consent' in CALLS[name]()
            assert markup.consent_link().startswith(f'<a href="{path}/consent?locale=en"')


def test_the_scheme_names_the_visitors_cookie(app: Flask) -> None:
    """Over https the name has a prefix (RFC 6265bis, 4.1.3), and the banner lists it."""
    for base_url, listed in (("http://localhost", False), ("https://localhost", True)) * 2:
        with app.test_request_context("/", base_url=base_url):
            assert ("__Host-" in markup.consent_banner()) is listed


def test_a_banner_for_what_stands_apart_alone(tmp_path: Path) -> None:
    app = Flask("host", instance_path=str(tmp_path))
    app.config["TESTING"] = True
    ConsentKit(app, purposes=[Purpose("news", title="News")])
    with app.test_request_context("/"):
        assert "News" in markup.consent_banner()


def test_paths_that_a_client_makes_up_take_no_memory(app: Flask) -> None:
    for number in range(_KEPT_AT_MOST + 50):
        with app.test_request_context("/", environ_overrides={"SCRIPT_NAME": f"/{number}"}):
            assert f'="/{number}/consent"' in markup.consent_banner()
    assert len(app.extensions["consentkit"].rendered._kept) == _KEPT_AT_MOST


def test_a_template_of_the_hosts_is_made_for_each_page(app: Flask) -> None:
    own = DictLoader({"consentkit/banner.html": "<p>{{ g.who }}</p>"})
    app.jinja_env.loader = ChoiceLoader([own, app.jinja_env.loader])  # type: ignore[list-item]
    for who in ("one", "two"):
        with app.test_request_context("/"):
            g.who = who
            assert markup.consent_banner() == f"<p>{who}</p>"


def test_addresses_with_what_the_host_adds(app: Flask) -> None:
    @app.url_defaults
    def add(endpoint: str, values: dict[str, Any]) -> None:
        values["tone"] = request.args.get("tone")

    for tone in ("low", "high"):
        with app.test_request_context(f"/?tone={tone}"):
            assert f"tone={tone}" in markup.consent_banner()
            assert f"tone={tone}" in markup.consent_link()


def test_by_host(tmp_path: Path) -> None:
    app = make_app(tmp_path, host={"subdomain_matching": True}, SERVER_NAME="example.org")
    with app.test_request_context("/", base_url="https://example.org"):
        assert 'action="/consent"' in markup.consent_banner()
    with app.test_request_context("/", base_url="https://shop.example.org"):
        assert 'action="https://example.org/consent"' in markup.consent_banner()


def test_while_debugging_templates_may_change(tmp_path: Path) -> None:
    app = make_app(tmp_path, TEMPLATES_AUTO_RELOAD=True)
    with rendering(app) as seen, app.test_request_context("/"):
        assert markup.consent_banner() == markup.consent_banner()
    assert seen == ["banner.html"] * 2


def test_outside_of_a_request(tmp_path: Path) -> None:
    app = make_app(tmp_path, SERVER_NAME="example.org")
    app.extensions["consentkit"].kit.locale_loader(lambda: "de")
    for _ in range(2):
        with app.app_context():
            assert 'action="http://example.org/consent"' in markup.consent_banner()
    with app.test_request_context("/"):
        assert 'action="/consent"' in markup.consent_banner()


def test_an_announcement_comes_and_goes(tmp_path: Path) -> None:
    app = Flask("host", instance_path=str(tmp_path))
    app.config.update(SECRET_KEY="for tests", TESTING=True)
    soon = datetime.now(UTC) + timedelta(days=10)
    versions = [
        PolicyVersion("1", effective=datetime(2020, 1, 1, tzinfo=UTC), texts={"en": "# Old"}),
        PolicyVersion("2", effective=soon, texts={"en": "# New"}, summary="Shorter."),
    ]
    kit = ConsentKit(app, policies=[Policy("terms", title="Terms", versions=versions)])
    with app.test_request_context("/"):
        assert "Shorter." in markup.consent_announcements()
        clock = kit.runtime.clock
        real = clock.now
        clock.now = lambda: real() + 11 * 86_400 * 1_000_000  # type: ignore[method-assign]
        assert "Shorter." not in markup.consent_announcements()
