"""What the policies of real services demand, as a visitor's browser meets it: over HTTP, release after release."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from browsing import Browser
from flask import Flask
from releases import DATE, START, Site, form_in, version

from consentkit import Policy, PolicyVersion

DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
LISTED = ("tick", "button", "continued_use")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


@pytest.fixture
def served(site: Site, live_server: Callable[[Flask], str]) -> Callable[..., Browser]:
    """`served("ada")`: a browser on the present release, signed in."""

    def open_(user: str | None = None) -> Browser:
        browser = Browser(live_server(site.app))
        if user is not None:
            browser.post("/login", {"user": user})
        return browser

    return open_


Served = Callable[..., Browser]


def test_a_major_change_closes_the_gates_until_it_is_answered_and_declining_is_an_answer(
    site: Site, served: Served
) -> None:
    site.deploy(START, version("1", START))
    assert served("ada").accept("/consent/accept/terms").status == 303
    site.deploy(START + DAY, version("1", START), version("2", change="editorial"))
    assert served("ada").get("/account").status == 200, "an editorial change asks nobody again"
    site.deploy(START + 2 * DAY, version("1", START), version("2", change="editorial"), version("3"))
    ada = served("ada")
    led = ada.get("/account")
    assert (led.status, urlsplit(led.location or "").path) == (303, "/consent/accept/terms")
    page = ada.get(led.location or "")
    assert "Edition 3." in page.text
    declined = ada.post("/consent/accept/terms", {"decision": "decline"})
    assert declined.status == 303
    assert ada.get("/account").status == 403, "after a no nobody is led back to the question"
    assert site.said()[-1] == ("declined", "terms", "3", "button")
    assert ada.accept("/consent/accept/terms?next=/account").location == "/account"
    assert ada.get("/account").status == 200


def test_acts_are_kept_apart(site: Site, served: Served) -> None:
    site.deploy(START, version("1", START, acceptance=["button"]))
    served("ada").accept("/consent/accept/terms")
    served("bob").accept("/consent/accept/privacy")
    assert site.said("ada") == [("accepted", "terms", "1", "button")]
    assert site.said("bob") == [("accepted", "privacy", "1", "tick")]
    unticked = served("cyd")
    assert unticked.accept("/consent/accept/privacy", agree="").status == 422
    assert site.said("cyd") == []


def test_logging_in_accepts_both_inseparable_documents_one_event_each(site: Site, served: Served) -> None:
    site.deploy(START, version("1", START))
    with site.app.app_context():
        events = site.kit.accept("ada", "sign_up", method="login_button", locale="de")
    assert [(e.item, e.method, e.locale) for e in events] == [
        ("terms", "login_button", "de"),
        ("privacy", "login_button", "en"),
    ]
    assert len({e.effective_at for e in events}) == 1
    assert served("ada").get("/account").status == 200
    assert served("bob").get("/account", accept="application/json").json["reason"] == "NO_ANSWER"


def test_two_languages_are_of_equal_standing(site: Site, served: Served) -> None:
    site.deploy(START, version("1", START))
    digests = {}
    for user, locale in (("ada", "en"), ("bob", "de")):
        browser = served(user)
        assert browser.accept(f"/consent/accept/terms?locale={locale}").status == 303
        assert browser.get("/account").status == 200
        with site.app.app_context():
            (event,) = site.kit.ledger.of_subject(user)
            digests[locale] = event.notice
            assert event.locale == locale
            assert site.kit.policy_in_effect("terms").texts[locale] == event.notice
    assert digests["en"] != digests["de"]


def test_a_change_is_announced_before_its_date_and_using_the_service_after_it_agrees_if_it_was_shown(
    site: Site, served: Served
) -> None:
    site.deploy(START, version("1", START))
    for user in ("ada", "bob", "cyd"):
        served(user).accept("/consent/accept/terms")
    site.deploy(
        START + DAY, version("1", START), version("2", DATE, acceptance=LISTED, summary="Fewer words")
    )
    ada, bob, cyd = served("ada"), served("bob"), served("cyd")
    (coming,) = ada.get("/consent/status").json["announcements"]
    assert (coming["key"], coming["version"], coming["summary"]) == ("terms", "2", "Fewer words")
    shown = {"decision": "shown", "key": "terms", "version": "2"}
    assert ada.post("/consent/announcements", shown).json == {"recorded": 1}
    assert ada.get("/account").status == 200, "the old version governs"
    with site.app.app_context():
        assert site.kit.policy_in_effect("terms").version == "1"
    assert cyd.accept("/consent/accept/terms?version=2").status == 303
    site.at(DATE + SECOND)
    assert ada.get("/account").status == 200
    assert site.said("ada")[-1] == ("accepted", "terms", "2", "continued_use")
    assert bob.get("/account").status == 303, "it was never shown to Bob"
    assert bob.post("/consent/announcements", shown).json == {"recorded": 1}
    assert bob.get("/account").status == 303, "shown after the date does not count"
    assert [s[3] for s in site.said("bob") if s[0] == "accepted"] == ["tick"]
    assert cyd.get("/account").status == 200
    assert [s[3] for s in site.said("cyd") if s[0] == "accepted"] == ["tick", "tick"]
    with site.app.app_context():
        assert site.kit.policy_in_effect("terms").version == "2"
        assert site.kit.policy_in_effect("terms", START + 2 * DAY).version == "1"


def test_fewer_rights_need_an_express_act_although_a_later_version_lists_continued_use(
    site: Site, served: Served
) -> None:
    first = version("1", START)
    fewer = version("2", DATE, change="reduces_rights")
    later = version("3", DATE + DAY, acceptance=LISTED)
    site.deploy(START, first)
    served("ada").accept("/consent/accept/terms")
    served("bob").accept("/consent/accept/terms")
    site.deploy(START + DAY, first, fewer, later)
    ada, bob = served("ada"), served("bob")
    for browser in (ada, bob):
        for number in ("2", "3"):
            browser.post("/consent/announcements", {"decision": "shown", "key": "terms", "version": number})
    assert bob.accept("/consent/accept/terms?version=2").status == 303
    site.at(DATE + DAY + SECOND)
    assert ada.get("/account").status == 303, "Ada has never agreed to fewer rights"
    assert bob.get("/account").status == 200, "Bob has, and was told of the rest"
    assert site.said("bob")[-1] == ("accepted", "terms", "3", "continued_use")
    assert ada.accept("/consent/accept/terms").status == 303
    assert site.said("ada")[-1] == ("accepted", "terms", "3", "tick")
    assert ada.get("/account").status == 200


def test_a_stale_text_is_not_accepted_and_the_new_one_is_shown(site: Site, served: Served) -> None:
    site.deploy(START, version("1", START))
    form = form_in(served("ada").get("/consent/accept/terms").text)
    site.deploy(START + DAY, version("1", START), version("2"))
    ada = served("ada")
    answer = ada.post("/consent/accept/terms", form)
    assert answer.status == 409
    assert "Edition 2." in answer.text
    assert ada.post("/consent/accept/terms", form, accept="application/json").json["status"] == 409
    assert site.said() == []
    assert ada.post("/consent/accept/terms", form_in(answer.text)).status == 303
    assert site.said() == [("accepted", "terms", "2", "tick")]


def test_old_versions_stay_readable_with_what_changed(site: Site, served: Served) -> None:
    texts = {"en": "# Terms\n\nWe keep mail for two years.", "de": "# AGB\n\nZwei Jahre."}
    more = {"en": "# Terms\n\nWe keep mail for five years.", "de": "# AGB\n\nFünf Jahre."}
    site.deploy(START, version("1", START, texts=texts))
    site.deploy(DATE, version("1", START, texts=texts), version("2", texts=more))
    visitor = served()
    assert "two years" in visitor.get("/consent/policies/terms/1").text
    assert "Zwei Jahre" in visitor.get("/consent/policies/terms/1?locale=de").text
    assert "five years" in visitor.get("/consent/policies/terms").text
    page = visitor.get("/consent/policies/terms/2/diff").text
    assert ">two<" in page.replace("removed: </span>two", ">two<")
    assert "<del>" in page
    assert "<ins>" in page
    assert visitor.get("/consent/policies/terms/1/diff").status == 404
    with site.app.app_context():
        for release in site.kit.runtime.published.policies["terms"]:
            for locale, digest in release.texts.items():
                assert (
                    digest in visitor.get(f"/consent/policies/terms/{release.version}?locale={locale}").text
                )


def test_a_breach_is_announced_to_those_it_concerns_and_it_is_known_who_was_shown_it(
    site: Site, served: Served
) -> None:
    breach = Policy(
        "breach",
        title="Your password was read",
        kind="announcement",
        audience="selected",
        versions=[PolicyVersion("1", texts={"en": "# Change your password"}, summary="Change it today.")],
    )
    site.deploy(START, version("1", START), more=(breach,))
    with site.app.app_context():
        assert site.kit.announce("breach", ["ada", "bob"]) == 2
    ada, other = served("ada"), served("cyd")
    assert "Change it today." in ada.get("/consent/announcements").text
    assert "Change it today." not in other.get("/consent/announcements").text
    ada.post("/consent/announcements", {"decision": "shown", "key": "breach", "version": "1"})
    with site.app.app_context():
        assert list(site.kit.to_tell("breach")) == ["bob"]
        (event,) = [e for e in site.kit.ledger.of_subject("ada") if e.action == "notified"]
    assert (event.item, event.effective_at.date()) == ("breach", START.date())
    ada.post("/consent/announcements", {"decision": "seen", "key": "breach"})
    assert "Change it today." not in ada.get("/consent/announcements").text
