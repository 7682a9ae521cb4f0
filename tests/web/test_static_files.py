"""What is sent to browsers: how big it is, that it is made from its source, and what it never does."""

from __future__ import annotations

import gzip
import re
import tomllib
from pathlib import Path

import minify
import pytest

from consentkit.core.gate import ALLOWING
from consentkit.core.terms import Basis, Reason, Status
from consentkit.core.texts import _flat, built_in, for_people, texts
from consentkit.web import assets
from tests.web.conftest import make_app, make_kit

BUDGET = {
    "head.min.js": 400,
    "consentkit.min.js": 4000,
    "notices.min.js": 2000,
    "consentkit.min.css": 2000,
    "pages.min.css": 1000,
    "notices.min.css": 600,
    "policies.min.css": 800,
}
LOCALES = Path(minify.__file__).parents[1] / "consentkit" / "locales"
PLACEHOLDER = re.compile(r"{\w+}")
REJECT_ALL = {
    "ar": "رفض الكل",
    "de": "Alle ablehnen",
    "en": "Reject all",
    "es": "Rechazar todo",
    "fr": "Tout refuser",
    "it": "Rifiuta tutto",
    "ja": "すべて拒否する",
    "nl": "Alles weigeren",
    "pl": "Odrzuć wszystkie",
    "pt": "Rejeitar tudo",
    "zh": "全部拒绝",
}


@pytest.mark.parametrize("name", BUDGET)
def test_static_files_keep_their_budget(name: str) -> None:
    assert len(gzip.compress(assets.text(name).encode(), 9)) <= BUDGET[name]


def test_minified_files_are_made_from_their_sources() -> None:
    assert minify.stale() == [], "run: python tests/minify.py"


@pytest.mark.parametrize("name", ["head.js", "consentkit.js", "notices.js"])
def test_scripts_use_nothing_that_a_strict_policy_forbids(name: str) -> None:
    banned = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|\.style\b|localStorage"
    )
    assert re.findall(banned, assets.text(name)) == []


def test_a_version_in_the_address_changes_with_the_content() -> None:
    assert re.fullmatch("[0-9a-f]{12}", assets.version("head.min.js"))
    assert assets.version("head.min.js") != assets.version("consentkit.min.js")


def test_the_policy_of_an_inlining_page_names_what_stands_in_it() -> None:
    sources = assets.csp_sources(inline=True)
    assert assets.csp_hash("head.min.js") in sources["script-src"]
    assert assets.csp_hash("consentkit.min.css") in sources["style-src"]
    assert not any(
        "sha256" in value for values in assets.csp_sources(inline=False).values() for value in values
    )


def test_a_policy_is_made_where_there_is_no_request(tmp_path: Path) -> None:
    kit = make_kit()
    make_app(kit, tmp_path, CONSENTKIT_INLINE=True)
    assert kit.csp_sources() == assets.csp_sources(inline=True)


@pytest.mark.parametrize("locale", built_in())
def test_every_locale_says_everything(locale: str) -> None:
    own = tomllib.loads((LOCALES / f"{locale}.toml").read_text("utf-8"))
    english, found = texts("en"), texts(locale)
    flat = {f"{group}.{key}" for group, table in own.items() for key in table}
    assert {key for key in english if ".".join(key.split(".")[:2]) not in flat} == set()
    english, found = (  # each language has the forms that its numbers need
        {key: text for key, text in said.items() if not key.startswith("duration.")}
        for said in (english, found)
    )
    assert set(found) == set(english)
    for key, text in found.items():
        assert text.strip() == text != "", key
        assert PLACEHOLDER.findall(text) == PLACEHOLDER.findall(english[key]), key
        assert "<" not in text, key
    same = {key for key in english if found[key] == english[key]}
    assert locale == "en" or len(same) < 12, f"still English: {sorted(same)}"


@pytest.mark.parametrize("locale", built_in())
def test_every_locale_has_words_for_every_duration(locale: str) -> None:
    own = tomllib.loads((LOCALES / f"{locale}.toml").read_text("utf-8"))["duration"]
    words = {f"duration.{key}": text for key, text in _flat(own).items()}
    for unit in ["Y", "M", "W", "D", "TH", "TM", "TS"]:
        for number in (*range(1, 130), 1000):
            time = "T" if unit[0] == "T" else ""
            duration = f"P{time}{number}{unit[-1]}"
            for case in ("", "after"):
                said = for_people(duration, words, case)
                assert str(number) in said or (locale == "ar" and number < 3), (duration, said)
                assert "{" not in said


@pytest.mark.parametrize("locale", built_in())
def test_rejecting_is_called_what_people_and_their_agents_look_for(locale: str) -> None:
    assert texts(locale)["banner.reject"] == REJECT_ALL[locale]


def test_there_is_a_sentence_for_every_reason_status_and_basis() -> None:
    english = texts("en")
    for reason in set(Reason) - ALLOWING:
        assert english[f"reason.{reason}.title"]
        assert english[f"reason.{reason}.text"].endswith(".")
    assert {f"status.{status}" for status in Status} <= set(english)
    assert {f"purpose.basis.{basis}" for basis in Basis} <= set(english)
