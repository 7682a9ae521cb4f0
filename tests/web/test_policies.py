"""Archive, differences, early acceptance, continued use: over HTTP, with a clock that is moved."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from releases import DATE, HTML, SAME, START, Site, form_in, version

from consentkit import Site as SiteFacts
from consentkit import requires_acceptance
from consentkit.core.difference import Side, compare

LISTED = ("tick", "button", "continued_use")
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


def form_of(client: FlaskClient, address: str, **changed: object) -> dict[str, Any]:
    return form_in(client.get(address, headers=HTML).text, **changed)


# ---------------------------------------------------------------- texts and languages


def test_a_text_in_another_language_than_the_page_says_so(site: Site) -> None:
    texts = {"en": "# Terms", "ar": "# الشروط\n\n**نص**", "zh": "# 条款\n\n请友善。"}
    facts = SiteFacts(name="T", locales=("en", "de", "ar", "zh"))
    client = site.deploy(START, version("1", START, texts=texts), site=facts).client()
    for address in ("/consent/policies/terms", "/consent/accept/terms"):
        arabic = client.get(f"{address}?locale=ar", headers=HTML).text
        assert '<html lang="ar" dir="rtl">' in arabic
        assert '<article class="ck-text" lang="ar" dir="rtl"><h1>الشروط</h1>' in arabic
        assert "<strong>نص</strong>" in arabic
        german = client.get(f"{address}?locale=de", headers=HTML).text
        assert '<html lang="de" dir="ltr">' in german
        assert '<article class="ck-text" lang="en" dir="ltr"><h1>Terms</h1>' in german
        assert "Nutzungsbedingungen" in german
        assert (
            '<article class="ck-text" lang="zh" dir="ltr"><h1>条款</h1>'
            in client.get(f"{address}?locale=zh", headers=HTML).text
        )


def test_the_archive_has_every_version_its_dates_and_its_digest(site: Site) -> None:
    first, second = version("1", START, summary="The beginning"), version("2", DATE, summary="Fewer words")
    site.deploy(START, first)
    site.deploy(START + timedelta(days=9), first, second)
    client = site.client()
    with site.app.app_context():
        one, two = site.kit.runtime.published.policies["terms"]
    now = client.get("/consent/policies/terms").text
    assert "Edition 1." in now
    assert "A new version is coming" in now
    assert 'href="/consent/policies/terms/2/diff"' in now
    assert one.texts["en"] in now
    assert "The beginning" in now
    coming = client.get("/consent/policies/terms/2").text
    assert "not in force yet" in coming
    assert '<time datetime="2026-03-01T00:00:00+00:00">2026-03-01</time>' in coming
    assert '<time datetime="2026-01-10T00:00:00+00:00">2026-01-10</time>' in coming
    assert 'href="/consent/accept/terms?version=2"' in coming
    assert two.texts["en"] in coming
    site.at(DATE)
    old = client.get("/consent/policies/terms/1").text
    assert "This is not the version that is in force now." in old
    assert "Edition 2." in client.get("/consent/policies/terms").text
    assert "not in force yet" not in client.get("/consent/policies/terms/2").text


# ---------------------------------------------------------------- differences


def both(old: str, new: str) -> list[tuple[str, str]]:
    return [(piece.side.value, piece.text) for block in compare(old, new) for piece in block.pieces]


@pytest.mark.parametrize(
    ("old", "new", "pieces"),
    [
        ("Be kind.", "Be kind.", [("same", "Be kind.")]),
        (
            "We keep mail for two years and no longer.",
            "We keep mail for five years and no longer.",
            [
                ("same", "We keep mail for "),
                ("removed", "two"),
                ("added", "five"),
                ("same", " years and no longer."),
            ],
        ),
        ("One.\n\nTwo.", "One.\n\nNew.\n\nTwo.", [("same", "One."), ("added", "New."), ("same", "Two.")]),
        ("One.\n\nTwo.", "One.", [("same", "One."), ("removed", "Two.")]),
        (
            "我们保存两年。",
            "我们保存五年。",
            [("same", "我们保存"), ("removed", "两"), ("added", "五"), ("same", "年。")],
        ),
        ("a b", "wholly other words", [("removed", "a b"), ("added", "wholly other words")]),
        (
            "Kept for two years.\n\nBe kind.",
            "Quite new: nothing else.\n\nKept for five years.\n\nBe kind.",
            [
                ("added", "Quite new: nothing else."),
                ("same", "Kept for "),
                ("removed", "two"),
                ("added", "five"),
                ("same", " years."),
                ("same", "Be kind."),
            ],
        ),
        ("one\r\n\r\ntwo", "one\n\ntwo", [("same", "one"), ("same", "two")]),
        (
            "we share the data with nobody at all",
            "we share some words with nobody at all",
            [
                ("same", "we share "),
                ("removed", "the data"),
                ("added", "some words"),
                ("same", " with nobody at all"),
            ],
        ),
    ],
)
def test_words_that_changed(old: str, new: str, pieces: list[tuple[str, str]]) -> None:
    assert both(old, new) == pieces


def paragraphs(count: int) -> list[str]:
    return [" ".join(f"w{(n * 7919 + k * 104729) % 5003}" for k in range(40)) + "." for n in range(count)]


@pytest.mark.parametrize(
    "change",
    [
        lambda ps: [p if n % 2 else p + " And more." for n, p in enumerate(ps)],
        lambda ps: [p.replace(" w", " x", 1) for p in ps],
        lambda ps: ps[len(ps) // 2 :] + ps[: len(ps) // 2],
        lambda ps: [p[::-1] for p in ps],
        lambda ps: [" ".join(ps)],
        lambda ps: ["same"] * len(ps),
    ],
)
def test_a_megabyte_takes_seconds_and_no_word_is_lost(change: Callable[[list[str]], list[str]]) -> None:
    old = paragraphs(4400)
    before, after = "\n\n".join(old), "\n\n".join(change(old))
    assert len(before) > 1_000_000
    begun = time.perf_counter()
    blocks = compare(before, after)
    assert time.perf_counter() - begun < 10  # about one second on a quiet machine
    for side, text in ((Side.ADDED, before), (Side.REMOVED, after)):
        kept = "".join(p.text for block in blocks for p in block.pieces if p.side is not side)
        assert kept.split() == text.split() or "".join(kept.split()) == "".join(text.split())


def test_the_page_of_changes(site: Site) -> None:
    many = "\n\n".join(f"Paragraph {n}." for n in range(20))
    first = version("1", START, texts={"en": f"{many}\n\nWe keep mail for two years.", "de": "Alt."})
    second = version(
        "2", texts={"en": f"{many}\n\nWe keep <b>mail</b> for five years.", "de": "Alt."}, summary="Longer"
    )
    site.deploy(START, first)
    client = site.deploy(DATE, first, second).client()
    page = client.get("/consent/policies/terms/2/diff")
    assert page.status_code == 200
    assert (
        '<del><span class="ck-hidden">[removed: </span>two<span class="ck-hidden">]</span></del>' in page.text
    )
    assert (
        '<ins><span class="ck-hidden">[added: </span>five<span class="ck-hidden">]</span></ins>' in page.text
    )
    assert "&lt;" in page.text
    assert "<b>" not in page.text
    assert "Paragraphs without a change: 19" in page.text
    assert page.text.count("Paragraph 7.") == 1
    assert "Longer" in page.text
    assert "The text in this language is the same" not in page.text
    german = client.get("/consent/policies/terms/2/diff?locale=de").text
    assert "Der Text in dieser Sprache ist in beiden Versionen gleich." in german
    assert "<ins>" not in german
    for address in ("terms/1/diff", "terms/9/diff", "nowhere/1/diff"):
        assert client.get(f"/consent/policies/{address}").status_code == 404


def test_a_language_that_the_earlier_version_lacks_is_compared_in_the_default_one(site: Site) -> None:
    first = version("1", START, texts={"en": "We keep mail for two years."})
    second = version("2", texts={"en": "We keep mail for five years.", "de": "Fünf Jahre."})
    site.deploy(START, first)
    page = site.deploy(DATE, first, second).client().get("/consent/policies/terms/2/diff?locale=de").text
    assert 'class="ck-diff" lang="en" dir="ltr"' in page
    assert "five" in page


# ---------------------------------------------------------------- announced versions


def test_an_announced_version_can_be_accepted_early(site: Site) -> None:
    first, second = version("1", START), version("2", DATE)
    site.deploy(START, first)
    client = site.client("ada")
    client.post("/consent/accept/terms", data=form_of(client, "/consent/accept/terms"), headers=HTML)
    site.deploy(START + DAY, first, second)
    client = site.client("ada")
    page = client.get("/consent/accept/terms?version=2", headers=HTML).text
    assert "Edition 2." in page
    assert "This version is announced" in page
    assert 'value="decline"' not in page
    assert client.get("/account").status_code == 200
    form = form_of(client, "/consent/accept/terms?version=2")
    answer = client.post("/consent/accept/terms", data=form, headers=SAME)
    assert [said["version"] for said in answer.json["accepted"]] == ["2"]
    assert client.get("/account").status_code == 200
    site.at(DATE + DAY)
    assert client.get("/account").status_code == 200
    assert site.client("bob").get("/account").json["reason"] == "NO_ANSWER"


def test_until_its_date_the_old_version_governs_and_then_it_is_outdated(site: Site) -> None:
    first, second = version("1", START), version("2", DATE)
    site.deploy(START, first)
    client = site.client("ada")
    client.post("/consent/accept/terms", data=form_of(client, "/consent/accept/terms"), headers=HTML)
    site.deploy(START + DAY, first, second)
    client = site.client("ada")
    site.at(DATE - SECOND)
    assert client.get("/account").status_code == 200
    site.at(DATE)
    assert client.get("/account").json["reason"] == "OUTDATED"
    assert client.get("/account", headers=HTML).location.startswith("/consent/accept/terms?next=/account")


def test_what_is_not_announced_has_no_acceptance_page(site: Site) -> None:
    first, second = version("1", START), version("2", START + DAY)
    site.deploy(START, first)
    client = site.deploy(DATE, first, second).client()
    assert client.get("/consent/accept/terms?version=2", headers=HTML).status_code == 200
    assert client.get("/consent/accept/terms?version=1", headers=HTML).status_code == 404
    assert client.get("/consent/accept/terms?version=9", headers=HTML).status_code == 404
    assert client.get("/consent/accept/sign_up?version=1", headers=HTML).status_code == 404


def test_a_coming_version_is_not_declined_before_its_date(site: Site) -> None:
    first, second = version("1", START), version("2", DATE)
    site.deploy(START, first)
    client = site.client("ada")
    client.post("/consent/accept/terms", data=form_of(client, "/consent/accept/terms"), headers=HTML)
    site.deploy(START + DAY, first, second)
    client = site.client("ada")
    answer = client.post("/consent/accept/terms", data={"decision": "decline", "version": "2"}, headers=SAME)
    assert answer.status_code == 422
    assert client.get("/account").status_code == 200


def test_a_form_that_lay_open_while_its_version_was_replaced(site: Site) -> None:
    first, second = version("1", START), version("2", DATE)
    third = version("3", DATE + DAY)
    site.deploy(START, first)
    site.deploy(START + DAY, first, second)
    form = form_of(site.client(), "/consent/accept/terms?version=2")
    site.deploy(DATE, first, second, third)
    site.at(DATE + timedelta(days=2))
    answer = site.client().post("/consent/accept/terms", data=form, headers=HTML)
    assert answer.status_code == 409
    assert "Edition 3." in answer.text
    assert "Set-Cookie" not in answer.headers


def test_what_is_accepted_elsewhere_has_no_button(site: Site) -> None:
    site.deploy(START, version("1", START, acceptance=["login_button"]))
    client = site.client()
    page = client.get("/consent/accept/terms", headers=HTML).text
    assert "This cannot be accepted on this page" in page
    assert 'value="accept"' not in page
    assert 'value="decline"' in page
    form = form_of(client, "/consent/accept/terms", method="tick")
    assert client.post("/consent/accept/terms", data=form, headers=SAME).status_code == 422


# ---------------------------------------------------------------- continued use


def changed_terms(site: Site, **second: Any) -> FlaskClient:
    """Ada accepted version 1; version 2 is announced for DATE, and lists continued use."""
    first = version("1", START)
    site.deploy(START, first)
    client = site.client("ada")
    client.post("/consent/accept/terms", data=form_of(client, "/consent/accept/terms"), headers=HTML)
    site.deploy(START + DAY, first, version("2", DATE, **{"acceptance": LISTED, **second}))
    return site.client("ada")


def test_going_on_using_accepts_what_was_shown_in_time(site: Site) -> None:
    client = changed_terms(site)
    shown = client.post(
        "/consent/announcements", data={"key": "terms", "version": "2", "decision": "shown"}, headers=SAME
    )
    assert shown.json == {"recorded": 1}
    site.at(DATE - SECOND)
    client.get("/account")
    assert ("accepted", "terms", "2", "continued_use") not in site.said()
    site.at(DATE + SECOND)
    assert client.get("/consent").status_code == 200
    assert client.get("/plain").status_code == 200
    assert ("accepted", "terms", "2", "continued_use") not in site.said()
    assert client.get("/account").status_code == 200
    assert client.get("/account").status_code == 200
    assert site.said().count(("accepted", "terms", "2", "continued_use")) == 1


def test_going_on_using_accepts_nothing_where_something_else_stands_in_the_way(site: Site) -> None:
    client = changed_terms(site)
    site.app.view_functions["account"] = requires_acceptance("terms", "privacy")(lambda: "both")
    client.post(
        "/consent/announcements", data={"key": "terms", "version": "2", "decision": "shown"}, headers=SAME
    )
    site.at(DATE + SECOND)
    assert client.get("/account").json["item"] == "privacy"
    assert ("accepted", "terms", "2", "continued_use") not in site.said()


def test_going_on_using_accepts_nothing_that_was_not_shown(site: Site) -> None:
    client = changed_terms(site)
    site.at(DATE + SECOND)
    client.post(
        "/consent/announcements", data={"key": "terms", "version": "2", "decision": "shown"}, headers=SAME
    )
    site.at(DATE + timedelta(seconds=2))
    assert client.get("/account").json["reason"] == "OUTDATED"
    assert [said for said in site.said() if said[0] == "accepted"] == [("accepted", "terms", "1", "tick")]


def test_going_on_using_accepts_nothing_where_the_version_does_not_say_so(site: Site) -> None:
    client = changed_terms(site, acceptance=("tick", "button"))
    client.post("/consent/announcements", data={"key": "terms", "decision": "shown"}, headers=SAME)
    site.at(DATE + SECOND)
    assert client.get("/account").json["reason"] == "OUTDATED"


def test_somebody_who_declined_is_not_made_to_accept_by_coming_back(site: Site) -> None:
    client = changed_terms(site)
    client.post("/consent/announcements", data={"key": "terms", "decision": "shown"}, headers=SAME)
    site.at(DATE + SECOND)
    client.post("/consent/accept/terms", data={"decision": "decline"}, headers=SAME)
    assert client.get("/account").json["reason"] == "REFUSED"
    assert ("accepted", "terms", "2", "continued_use") not in site.said()


def test_a_purpose_is_never_given_by_going_on_using(site: Site) -> None:
    client = changed_terms(site)
    client.post("/consent/announcements", data={"key": "terms", "decision": "shown"}, headers=SAME)
    site.at(DATE + SECOND)
    assert client.get("/under-terms").status_code == 403
    assert {action for action, *_ in site.said()} == {"accepted", "notified"}
    assert [said for said in site.said() if said[0] == "accepted"] == [("accepted", "terms", "1", "tick")]


def test_somebody_who_restricted_processing_accepts_nothing_by_coming_back(site: Site) -> None:
    client = changed_terms(site)
    client.post("/consent/announcements", data={"key": "terms", "decision": "shown"}, headers=SAME)
    with site.app.app_context():
        site.kit.restrict("ada")
    site.at(DATE + SECOND)
    assert client.get("/account").json["reason"] == "RESTRICTED"
    assert [said for said in site.said() if said[0] == "accepted"] == [("accepted", "terms", "1", "tick")]
