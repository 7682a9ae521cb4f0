"""The catalogue: one namespace, what a key means, what is a dark pattern, what is a material change."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from consentkit.core.catalog import (
    Bundle,
    Catalog,
    Category,
    Cookie,
    MinorRules,
    Party,
    Policy,
    PolicyVersion,
    Purpose,
    Site,
    localized,
)
from consentkit.core.catalog_rules import build, canonical, definition, material_changes
from consentkit.core.errors import CatalogError, UnknownPolicy, UnknownPurpose
from consentkit.core.terms import Basis, Change, Kind

TEXT = {"en": "# Terms"}
TERMS = Policy("terms", versions=[PolicyVersion("1", texts=TEXT)])


class TestKeys:
    CATALOG = build(
        purposes=[
            Purpose("analytics", category="analytics"),
            Purpose("heatmap", category="analytics"),
            Purpose("transfer", category="analytics", separate=True),
            Purpose("health", category="analytics", explicit=True, sensitive=True),
            Purpose("quote", category="analytics", scoped=True),
            Purpose("logs", category="analytics", basis=Basis.LEGITIMATE_INTEREST),
            Purpose("marketing.email"),
            Purpose("account", basis=Basis.CONTRACT, core=True),
        ],
        policies=[TERMS, replace(TERMS, key="privacy")],
        bundles=[Bundle("sign_in", ["terms", "privacy"])],
    )

    def test_a_purpose_may_have_its_own_categorys_key(self) -> None:
        assert [p.key for p in self.CATALOG.purposes_of("analytics")] == ["analytics", "heatmap"]
        assert [p.key for p in self.CATALOG.purposes_of("purpose:analytics")] == ["analytics"]
        assert [p.key for p in self.CATALOG.purposes_of("purpose:heatmap")] == ["heatmap"]

    def test_a_category_stands_for_its_bundled_purposes(self) -> None:
        assert len(self.CATALOG.every_purpose_of("analytics")) == 6
        assert [p.key for p in self.CATALOG.apart] == ["transfer", "health", "marketing.email"]
        assert [c.key for c in self.CATALOG.choices] == ["analytics"]
        assert self.CATALOG.purposes_of("necessary") == ()
        assert self.CATALOG.core_purposes == ("account",)

    def test_a_bundle_stands_for_its_policies(self) -> None:
        items = self.CATALOG.items_of("sign_in")
        assert [(i.kind, i.key) for i in items] == [(Kind.POLICY, "terms"), (Kind.POLICY, "privacy")]
        assert [i.kind for i in self.CATALOG.items_of("terms")] == [Kind.POLICY]
        assert [i.key for i in self.CATALOG.items_of("marketing.email")] == ["marketing.email"]

    def test_unknown(self) -> None:
        for key in ("x", "purpose:x", "purpose:sign_in", "purpose:marketing"):
            with pytest.raises(UnknownPurpose):
                self.CATALOG.items_of(key)
        with pytest.raises(UnknownPolicy):
            self.CATALOG.policies_of("analytics")

    def test_categories_in_their_order(self) -> None:
        assert list(build().categories) == ["necessary", "preferences", "analytics", "marketing"]
        mine = build(categories=[Category("lab"), Category("analytics", title="A")])
        assert list(mine.categories) == ["necessary", "preferences", "marketing", "lab", "analytics"] or list(
            mine.categories
        ) == ["necessary", "preferences", "analytics", "marketing", "lab"]
        assert mine.categories["analytics"].title == "A"
        taken = build(purposes=[Purpose("preferences")])
        assert "preferences" not in taken.categories

    def test_defaults(self) -> None:
        catalog = build(
            purposes=[Purpose("stats", category="analytics", cookies=[Cookie("_x")]), Purpose("mail")]
        )
        assert catalog.purpose("stats").valid_for == "P6M"
        assert catalog.purpose("mail").valid_for is None
        assert build(site=Site(default_locale="de", locales=["en", "de"])).locales == ("de", "en")


def p(**more: Any) -> dict[str, Any]:
    return {"purposes": [Purpose("stats", **more)]}


def v(*versions: PolicyVersion) -> dict[str, Any]:
    return {"policies": [Policy("terms", versions=versions)]}


ONE = PolicyVersion("1", texts=TEXT)

FAULTS: list[tuple[str, dict[str, Any], str, str]] = [
    ("twice", {"purposes": [Purpose("a"), Purpose("a")]}, "purposes.a", "Keep one"),
    ("capital", {"purposes": [Purpose("News")]}, "purposes.News", "lower-case"),
    ("space", {"policies": [replace(TERMS, key="my terms")]}, "policies.my terms", "lower-case"),
    (
        "name of a policy",
        {"purposes": [Purpose("terms")], "policies": [TERMS]},
        "purposes.terms",
        "Rename one",
    ),
    (
        "name of a bundle",
        {"policies": [TERMS], "bundles": [Bundle("terms", ["terms"])]},
        "bundles.terms",
        "Rename",
    ),
    (
        "name of another category",
        p(category="marketing") | {"categories": [Category("stats")]},
        "purposes.stats",
        "Rename",
    ),
    ("category", p(category="lab"), "purposes.stats.category", "Add [categories.lab]"),
    ("version", p(version=0), "purposes.stats.version", "Start with 1"),
    ("recipient", p(recipients=["x"]), "purposes.stats.recipients", "Known: none"),
    ("policy", p(policies=["x"]) | {"policies": [TERMS]}, "purposes.stats.policies", "Known: terms"),
    ("minors", p(minors="no"), "purposes.stats.minors", "Write guardian"),
    ("assurance", p(assurance="high"), "purposes.stats.assurance", "Write one of none"),
    ("valid_for", p(valid_for="6M"), "purposes.stats.valid_for", "Write P6M"),
    ("reask_after", p(reask_after="P"), "purposes.stats.reask_after", "Write P6M"),
    ("retention of visitors", {"site": Site(visitor_retention="13")}, "site.visitor_retention", "Write P6M"),
    ("purge_after", {"minors": MinorRules(purge_after="x")}, "minors.purge_after", "Write P6M"),
    ("bundle", {"bundles": [Bundle("b", ["x"])]}, "bundles.b.policies", "Known: none"),
    # dark patterns
    ("necessary on consent", p(category="necessary"), "purposes.stats", 'a basis such as "contract"'),
    (
        "cookies without consent",
        p(category="analytics", basis=Basis.LEGITIMATE_INTEREST, cookies=[Cookie("x")]),
        "purposes.stats",
        'basis = "consent"',
    ),
    ("sensitive, not explicit", p(sensitive=True), "purposes.stats", "Add explicit = true"),
    (
        "a tracker in necessary",
        p(category="necessary", basis=Basis.CONTRACT, cookies=[Cookie("_ga_X1")]),
        "purposes.stats.cookies",
        "Move it to a purpose",
    ),
    (
        "cookies for years",
        p(category="analytics", cookies=[Cookie("x")], valid_for="P14M"),
        "purposes.stats.valid_for",
        "P13M",
    ),
    # policies
    ("no version", v(), "policies.terms.versions", "Add [[policies.terms.versions]]"),
    ("version twice", v(ONE, ONE), "policies.terms.versions", "Keep one"),
    ("no text", v(PolicyVersion("1", texts={"de": "x"})), "policies.terms.versions", "Add files"),
    ("method", v(replace(ONE, acceptance=["nod"])), "policies.terms.versions.1.acceptance", "Known: tick"),
    (
        "less rights by going on",
        v(replace(ONE, change=Change.REDUCES_RIGHTS, acceptance=["tick", "continued_use"])),
        "policies.terms.versions.1.acceptance",
        "List tick or button",
    ),
    (
        "no time zone",
        v(replace(ONE, effective=datetime(2026, 1, 1))),
        "policies.terms.versions",
        "tzinfo=UTC",
    ),
    (
        "order",
        v(
            replace(ONE, effective=datetime(2026, 2, 1, tzinfo=UTC)),
            replace(ONE, version="2", effective=datetime(2026, 1, 1, tzinfo=UTC)),
        ),
        "policies.terms.versions",
        "oldest to the newest",
    ),
]


@pytest.mark.parametrize(("parts", "key", "mend"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS])
def test_a_fault_names_the_key_and_the_mend(parts: dict[str, Any], key: str, mend: str) -> None:
    with pytest.raises(CatalogError) as caught:
        build(**parts)
    assert caught.value.key == key
    assert mend in caught.value.mend
    assert key in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", "data:text/html,x", "//v.example", "v.example", "https://", " https://v.example"],
)
def test_the_address_of_a_party_is_a_page(url: str) -> None:
    with pytest.raises(CatalogError, match=r"parties\.v\.url"):
        build(parties=[Party("v", url=url)])
    build(parties=[Party("v", url="HTTPS://v.example/privacy"), Party("w")])


def test_what_is_no_dark_pattern() -> None:
    build(**p(category="necessary", basis=Basis.CONTRACT, cookies=[Cookie("session")]))
    build(**p(category="analytics", cookies=[Cookie("_ga")], valid_for="P13M"))
    build(**p(valid_for="P10Y"))
    build(**v(replace(ONE, acceptance=["continued_use"])))


class TestMaterialChanges:
    OLD = Purpose(
        "stats", data=["ip"], recipients=["ga"], cookies=[Cookie("_a"), Cookie("_b")], retention="P6M"
    )

    def changed(self, country: str = "DE", **more: Any) -> tuple[str, ...]:
        parties = [Party("ga", country="DE"), Party("x", country="DE")]
        old = definition(build(purposes=[self.OLD], parties=parties), self.OLD)
        new = replace(self.OLD, **more)
        return material_changes(
            old, definition(build(purposes=[new], parties=[Party("ga", country=country), parties[1]]), new)
        )

    @pytest.mark.parametrize(
        ("more", "facts"),
        [
            ({"data": ["ip", "location"]}, ("data",)),
            ({"recipients": ["ga", "x"]}, ("countries", "recipients")),
            ({"country": "US"}, ("countries",)),
            ({"locations": ["US"]}, ("locations",)),
            ({"basis": Basis.CONTRACT}, ("basis",)),
            ({"explicit": True}, ("explicit",)),
            ({"sensitive": True, "explicit": True}, ("explicit", "sensitive")),
            ({"cookies": [Cookie("_a"), Cookie("_b"), Cookie("_c")]}, ("cookies",)),
            ({"retention": "P1Y"}, ("retention",)),
            ({"retention": "for ever"}, ("retention",)),
        ],
    )
    def test_material(self, more: dict[str, Any], facts: tuple[str, ...]) -> None:
        assert self.changed(**more) == facts

    @pytest.mark.parametrize(
        "more",
        [
            {"title": "Other"},
            {"description": {"en": "New words"}},
            {"cookies": [Cookie("_b", description="less")]},
            {"retention": "P1M"},
            {"valid_for": "P1M"},
            {"category": "analytics"},
        ],
    )
    def test_editorial(self, more: dict[str, Any]) -> None:
        assert self.changed(**more) == ()


def test_the_same_catalogue_has_the_same_canonical_form() -> None:
    def make() -> Catalog:
        return build(purposes=[Purpose("a", title={"en": "A", "de": "Ä"})], policies=[TERMS])

    assert canonical(make()) == canonical(make())
    assert canonical(make()) != canonical(build(policies=[TERMS]))


def test_texts_by_locale() -> None:
    text = {"en": "hello", "de": "hallo", "zh-Hans": "你好"}
    assert localized("plain", "fr") == "plain"
    assert [localized(text, locale) for locale in ("de-AT", "fr", "zh-Hans")] == ["hallo", "hello", "你好"]
    assert localized({"de": "hallo"}, "fr") == "hallo"
