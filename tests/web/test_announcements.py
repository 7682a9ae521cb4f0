"""The bar, the page and the status: what is shown to whom until acknowledged, and what is recorded of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import render_template_string
from flask.testing import FlaskClient
from releases import DATE, HTML, SAME, START, Site, version

from consentkit import Policy, PolicyVersion
from consentkit.core.errors import StoreUnavailable

OUTAGE = Policy(
    "outage",
    title="We were <down>",
    kind="announcement",
    versions=[PolicyVersion("1", texts={"en": "# Down"}, summary="For an hour.")],
)
BREACH = Policy(
    "breach",
    title="Your password was read",
    kind="announcement",
    audience="selected",
    versions=[PolicyVersion("1", texts={"en": "# Change it"}, summary="Change it today.")],
)
BAR = "{{ consent_announcements() }}"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Version 2 of the terms is announced; Ada accepted version 1 and was told of the breach."""
    made = Site(tmp_path)
    made.deploy(START, version("1", START), more=(OUTAGE, BREACH))
    with made.app.app_context():
        made.kit.accept("ada", "terms")
        made.kit.announce("breach", ["ada"])
    made.deploy(
        START + timedelta(days=1),
        version("1", START),
        version("2", DATE, summary="Less."),
        more=(OUTAGE, BREACH),
    )
    made.app.add_url_rule("/bar", "bar", lambda: render_template_string(BAR))
    yield made
    made.close()


def shown_in(page: str) -> set[str]:
    """The keys of the bar, without what waits in its template."""
    return set(re.findall(r'data-consent-announcement="([^"]+)"', page))


def status(client: FlaskClient) -> dict[str, dict[str, Any]]:
    return {item["key"]: item for item in client.get("/consent/status").get_json()["announcements"]}


def say(client: FlaskClient, decision: str, key: str, version: str | None = "1", **headers: str) -> Any:
    form = {"decision": decision, "key": key, **({"version": version} if version else {})}
    return client.post("/consent/announcements", data=form, headers={**SAME, **headers})


# ---------------------------------------------------------------- the bar


def test_the_bar_is_the_same_bytes_for_everybody(site: Site) -> None:
    ada, visitor = site.client("ada"), site.client()
    say(visitor, "seen", "outage")
    page = site.client().get("/bar")
    assert ada.get("/bar").data == visitor.get("/bar").data == page.data
    assert "Set-Cookie" not in page.headers
    assert shown_in(page.text) == {"terms", "outage"}
    assert "breach" not in page.text


def test_the_bar_says_what_is_coming_and_escapes_what_it_says(site: Site) -> None:
    page = site.client().get("/bar").text
    assert "A new version of “Terms of use” comes into force on \u20662026-03-01\u2069." in page
    assert "We were &lt;down&gt;" in page
    assert "For an hour." in page
    assert 'href="/consent/policies/terms/2/diff?locale=en"' in page
    assert 'href="/consent/accept/terms?version=2&amp;locale=en"' in page


def test_at_its_date_a_version_is_no_longer_coming(site: Site) -> None:
    site.at(DATE)
    assert shown_in(site.client().get("/bar").text) == {"outage"}
    assert set(status(site.client("ada"))) == {"outage", "breach"}


def test_an_editorial_change_is_not_announced(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.deploy(START, version("1", START))
    site.deploy(START, version("1", START), version("2", DATE, change="editorial"))
    assert status(site.client()) == {}
    site.close()


def test_a_page_is_shown_although_the_ledger_is_not_there(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StoreUnavailable("gone")

    monkeypatch.setattr(type(site.kit), "announcements", fail)
    page = site.client().get("/bar")
    assert (page.status_code, shown_in(page.text)) == (200, set())


# ---------------------------------------------------------------- acknowledging


def test_who_acknowledged_does_not_see_it_again(site: Site) -> None:
    client = site.client()
    assert client.get("/consent/state.css").text == ""
    answer = say(client, "seen", "outage")
    assert answer.get_json()["acknowledged"] == "outage"
    assert client.get_cookie("consent_seen").value == "outage.1"
    assert set(status(client)) == {"terms"}
    assert (
        '[data-consent-announcement="outage"][data-ordinal="1"]{display:none}'
        in client.get("/consent/state.css").text
    )
    assert "terms" not in client.get("/consent/state.css").text
    assert set(status(site.client())) == {"terms", "outage"}


def test_an_account_acknowledges_on_every_device(site: Site) -> None:
    say(site.client("ada"), "seen", "terms", "2")
    other = site.client("ada")
    assert set(status(other)) == {"outage", "breach"}
    assert site.said()[-2:] == [("notified", "terms", "2", "button"), ("accepted", "terms", "2", "button")]


def test_to_have_seen_a_change_is_not_to_accept_it(site: Site) -> None:
    ada, bob = site.client("ada"), site.client("bob")
    say(ada, "seen", "terms", "2")
    say(bob, "seen", "terms", "2")
    with site.app.app_context():
        assert site.kit.of("bob").status("terms") == "unknown"
    assert bob.get("/account").get_json()["reason"] == "NO_ANSWER"
    site.at(DATE)
    assert ada.get("/account").get_json()["reason"] == "OUTDATED"


def test_another_version_is_shown_again(site: Site) -> None:
    ada = site.client("ada")
    say(ada, "seen", "terms", "2")
    site.deploy(START + timedelta(days=2), version("1", START), version("2", DATE), version("3", DATE))
    ada = site.client("ada")
    assert status(ada)["terms"]["version"] == "3"
    assert '[data-ordinal="2"]{display:none}' in ada.get("/consent/state.css").text
    assert '[data-ordinal="3"]' not in ada.get("/consent/state.css").text


def test_a_bar_that_lay_open_acknowledges_only_what_it_showed(site: Site) -> None:
    site.deploy(START + timedelta(days=2), version("1", START), version("2", DATE), version("3", DATE))
    ada = site.client("ada")
    say(ada, "seen", "terms", "2")
    assert [item["version"] for item in ada.get("/consent/status").get_json()["announcements"]] == ["3"]


def test_without_script_the_form_leads_back(site: Site) -> None:
    client = site.client()
    answer = say(client, "seen", "outage", Accept="text/html", Referer="http://localhost/bar?x=1")
    assert (answer.status_code, answer.location) == (303, "/bar?x=1")
    assert client.get_cookie("consent") is not None
    home = say(
        client, "seen", "terms", "2", Accept="text/html", Referer="http://localhost/consent/announcements"
    )
    assert home.location == "/consent/announcements?saved=1"
    assert "This is not shown to you again" in client.get(home.location, headers=HTML).text


# ---------------------------------------------------------------- a selection


def test_an_announcement_to_a_selection_is_for_them_only(site: Site) -> None:
    ada, bob, visitor = site.client("ada"), site.client("bob"), site.client()
    assert status(ada)["breach"]["headline"] == "Your password was read"
    assert "Your password was read" in ada.get("/consent/announcements", headers=HTML).text
    for other in (bob, visitor):
        assert "breach" not in status(other)
        assert "password" not in other.get("/consent/announcements", headers=HTML).text
        unknown, hidden = say(other, "seen", "nowhere"), say(other, "seen", "breach")
        assert unknown.status_code == hidden.status_code == 422
        assert unknown.get_json()["type"] == hidden.get_json()["type"]
    say(ada, "seen", "breach")
    assert "breach" not in status(ada)


def test_the_page_is_per_person_and_kept_nowhere(site: Site) -> None:
    page = site.client("ada").get("/consent/announcements", headers=HTML)
    assert page.headers["Cache-Control"] == "no-store"
    assert shown_in(page.text) == {"terms", "outage", "breach"}
    for key in ("terms", "outage", "breach"):
        say(client := site.client("ada"), "seen", key, None)
    assert "There is nothing new for you." in client.get("/consent/announcements", headers=HTML).text


# ---------------------------------------------------------------- who was shown what


def test_what_was_shown_is_recorded_once(site: Site) -> None:
    ada = site.client("ada")
    assert status(ada)["terms"]["told"] is False
    assert [say(ada, "shown", "terms", "2").get_json() for _ in range(2)] == [
        {"recorded": 1},
        {"recorded": 0},
    ]
    assert status(ada)["terms"]["told"] is True
    assert site.said().count(("notified", "terms", "2", "browser_signal")) == 1


def test_nothing_is_recorded_of_somebody_unknown_and_no_cookie_is_set(site: Site) -> None:
    visitor = site.client()
    assert status(visitor)["terms"]["told"] is True
    answer = say(visitor, "shown", "terms", "2")
    assert (answer.get_json(), "Set-Cookie" in answer.headers) == ({"recorded": 0}, False)


def test_a_visitor_who_is_known_already_is_recorded(site: Site) -> None:
    visitor = site.client()
    visitor.post("/consent", data={"decision": "reject-all"}, headers=SAME)
    assert say(visitor, "shown", "terms", "2").get_json() == {"recorded": 1}


def test_reading_records_nothing(site: Site) -> None:
    ada = site.client("ada")
    before = site.said()
    for path in (
        "/bar",
        "/consent/status",
        "/consent/announcements",
        "/consent/state.css",
        "/consent/policies/terms/2",
    ):
        ada.get(path)
        ada.get(f"{path}?decision=seen&key=outage")
    assert site.said() == before


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"decision": "seen"},
        {"decision": "seen", "key": "nowhere"},
        {"decision": "perhaps", "key": "outage"},
        {"decision": "seen", "key": "outage", "version": "9"},
        {"decision": "shown", "key": "newsletter"},
    ],
)
def test_bad_input_is_refused_and_records_nothing(site: Site, form: dict[str, str]) -> None:
    ada = site.client("ada")
    before = site.said()
    answer = ada.post("/consent/announcements", data=form, headers=SAME)
    assert (answer.status_code, answer.content_type) == (422, "application/problem+json")
    assert site.said() == before


def test_other_sites_acknowledge_nothing(site: Site) -> None:
    answer = say(site.client("ada"), "seen", "outage", **{"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403
    assert ("accepted", "outage", "1", "button") not in site.said()
