"""By which act a version may be accepted, when going on using the service is one, and which text was meant."""

from __future__ import annotations

import pytest

from consentkit.core.acceptance import Past, accepting, continues, declining, methods
from consentkit.core.catalog import (
    ACCEPTANCE_METHODS,
    EXPRESS_METHODS,
    Bundle,
    Catalog,
    Policy,
    PolicyVersion,
)
from consentkit.core.catalog_rules import build
from consentkit.core.choices import Manner
from consentkit.core.errors import ChoiceRejected, NoticeOutdated, UnknownPolicy
from consentkit.core.notice import digest
from consentkit.core.published import PolicyRelease, Published
from consentkit.core.terms import Action, Change

USE = ("tick", "login_button", "continued_use")
Version = tuple[str, tuple[str, ...]]
FIRST: Version = ("material", ACCEPTANCE_METHODS)


def texts(policy: str, n: int) -> dict[str, str]:
    return {locale: digest(f"{policy} {n} {locale}") for locale in ("en", "de")}


def published(*versions: Version, policy: str = "terms") -> dict[str, tuple[PolicyRelease, ...]]:
    """Versions 1, 2, … in force from 100, 200, …"""
    return {
        policy: tuple(
            PolicyRelease(policy, str(n), n, Change(change), 100 * n, n, acts, texts(policy, n))
            for n, (change, acts) in enumerate(versions, start=1)
        )
    }


def acts(accepted: int | None, *versions: Version) -> tuple[str, ...]:
    known = Published(published(*versions))
    past = Past({} if accepted is None else {"terms": accepted})
    return methods(known, known.policies["terms"][-1], past)


@pytest.mark.parametrize(
    ("accepted", "versions", "allowed"),
    [
        (None, [FIRST], ACCEPTANCE_METHODS),
        (None, [FIRST, ("material", USE)], ("tick", "login_button")),
        (1, [FIRST, ("material", USE)], USE),
        (1, [FIRST, ("material", ("continued_use",))], ("continued_use", *EXPRESS_METHODS)),
        (None, [FIRST, ("material", ("continued_use",))], EXPRESS_METHODS),
        (1, [FIRST, ("reduces_rights", EXPRESS_METHODS)], EXPRESS_METHODS),
        # the strictest of all since the last acceptance, however many came after it
        (1, [FIRST, ("reduces_rights", EXPRESS_METHODS), ("material", USE), ("editorial", USE)], ("tick",)),
        (2, [FIRST, ("reduces_rights", EXPRESS_METHODS), ("material", USE), ("editorial", USE)], USE),
        (1, [FIRST, ("reduces_rights", ("tick",)), ("material", ("button",))], EXPRESS_METHODS),
        (1, [FIRST, ("material", ("tick",)), ("editorial", USE)], ("tick",)),
        (1, [FIRST, ("editorial", ("tick",)), ("material", USE)], USE),
        (None, [FIRST, ("reduces_rights", EXPRESS_METHODS), ("editorial", ("paper",))], ("paper",)),
    ],
)
def test_by_which_acts(accepted: int | None, versions: list[Version], allowed: tuple[str, ...]) -> None:
    assert acts(accepted, *versions) == allowed


def test_a_no_in_between_forgets_no_reduction_of_rights() -> None:
    known = Published(published(FIRST, ("reduces_rights", EXPRESS_METHODS), ("material", (*USE, "paper"))))
    newest = known.policies["terms"][-1]
    assert methods(known, newest, Past({"terms": 1}, denied=frozenset({"terms"}))) == ("tick",)
    assert methods(known, newest, Past()) == ("tick", "login_button", "paper")


class TestContinuedUse:
    known = Published(published(FIRST, ("material", USE)))

    def when(self, at: int, shown: int | None, accepted: int | None = 1, denied: bool = False) -> str | None:
        told = {} if shown is None else {("terms", "2"): shown}
        past = Past(
            {} if accepted is None else {"terms": accepted}, told, frozenset({"terms"} if denied else ())
        )
        release = continues(self.known, "terms", past, at)
        return release.version if release else None

    @pytest.mark.parametrize(
        ("at", "shown", "version"),
        [
            (199, 150, None),
            (200, 150, "2"),
            (200, 199, "2"),
            (200, 200, None),
            (300, 250, None),
            (300, None, None),
        ],
    )
    def test_only_when_shown_before_the_date_and_used_after_it(
        self, at: int, shown: int | None, version: str | None
    ) -> None:
        assert self.when(at, shown) == version

    def test_never_for_the_first_acceptance_nor_after_a_no_nor_twice(self) -> None:
        assert self.when(300, 150, accepted=None) is None
        assert self.when(300, 150, denied=True) is None
        assert self.when(300, 150, accepted=2) is None
        assert continues(self.known, "none", Past(), 300) is None

    def test_every_change_since_has_to_be_shown_and_to_list_it(self) -> None:
        known = Published(published(FIRST, ("material", USE), ("material", USE), ("editorial", USE)))
        told = {("terms", "2"): 1, ("terms", "3"): 2}
        release = continues(known, "terms", Past({"terms": 1}, told), 500)
        assert release is not None
        assert release.version == "4"
        for missing in told:
            some = {key: at for key, at in told.items() if key != missing}
            assert continues(known, "terms", Past({"terms": 1}, some), 500) is None
        closed = Published(published(FIRST, ("material", ("tick",)), ("editorial", USE)))
        told |= {("terms", "3"): 3}
        assert continues(closed, "terms", Past({"terms": 1}, told), 500) is None

    def test_an_editorial_version_asks_for_nothing(self) -> None:
        known = Published(published(FIRST, ("editorial", USE)))
        assert continues(known, "terms", Past({"terms": 1}, {("terms", "2"): 1}), 500) is None

    def test_a_first_version_that_is_announced_only(self) -> None:
        known = Published(published(("material", USE)))
        assert continues(known, "terms", Past({"terms": 0}, {("terms", "1"): 1}), 50) is None


class TestAccepting:
    @pytest.fixture
    def catalog(self) -> Catalog:
        version = PolicyVersion("1", texts={"en": "x", "de": "y"})
        return build(
            policies=[
                Policy("terms", versions=[version]),
                Policy("privacy", versions=[version]),
                Policy("news", versions=[version], kind="announcement"),
            ],
            bundles=[Bundle("both", ["terms", "privacy"])],
        )

    known = Published(published(FIRST, ("material", USE)) | published(FIRST, policy="privacy"))

    def test_a_bundle_is_one_act_with_an_answer_for_each_policy(self, catalog: Catalog) -> None:
        said = accepting(catalog, self.known, "both", Manner(250, method="tick"), Past())
        assert [(a.item, a.version, a.action) for a in said] == [
            ("terms", "2", Action.ACCEPTED),
            ("privacy", "1", Action.ACCEPTED),
        ]
        with pytest.raises(ChoiceRejected, match="one by one"):
            accepting(catalog, self.known, "both", Manner(250, notice="0" * 64), Past())

    def test_all_of_a_bundle_or_nothing(self, catalog: Catalog) -> None:
        with pytest.raises(
            ChoiceRejected, match="'2' of 'terms' is accepted by tick, login_button, not by paper"
        ):
            accepting(catalog, self.known, "both", Manner(250, method="paper"), Past())

    @pytest.mark.parametrize(
        ("asked", "shown", "recorded"),
        [
            (None, None, "en"),
            ("de", None, "de"),
            ("fr", None, "en"),
            (None, "de", "de"),
            ("en", "de", "de"),
            ("de", "de", "de"),
            ("fr", "en", "en"),
        ],
    )
    def test_the_language_is_that_of_the_text(
        self, catalog: Catalog, asked: str | None, shown: str | None, recorded: str
    ) -> None:
        notice = texts("terms", 2)[shown] if shown else None
        how = Manner(250, method="tick", locale=asked, notice=notice)
        (said,) = accepting(catalog, self.known, "terms", how, Past())
        assert (said.locale, said.notice) == (recorded, texts("terms", 2)[recorded])

    def test_an_old_text_is_refused_and_a_coming_one_is_accepted_ahead(self, catalog: Catalog) -> None:
        with pytest.raises(NoticeOutdated) as refused:
            accepting(
                catalog,
                self.known,
                "terms",
                Manner(250, method="tick", locale="de", notice=texts("terms", 1)["de"]),
                Past(),
            )
        assert refused.value.current == texts("terms", 2)["de"]
        early = Manner(150, method="tick", notice=texts("terms", 2)["en"])
        (said,) = accepting(catalog, self.known, "terms", early, Past())
        assert (said.version, said.ordinal) == ("2", 2)

    def test_ahead_is_never_by_use(self, catalog: Catalog) -> None:
        past = Past({"terms": 1}, {("terms", "2"): 1})
        early = Manner(150, method="continued_use", notice=texts("terms", 2)["en"])
        with pytest.raises(ChoiceRejected, match="shown to the subject before it came into force"):
            accepting(catalog, self.known, "terms", early, past)

    def test_who_and_what(self, catalog: Catalog) -> None:
        for actor in ("operator", "browser"):
            with pytest.raises(ChoiceRejected, match="cannot accept for a person"):
                accepting(catalog, self.known, "terms", Manner(250, actor), Past())
        with pytest.raises(ChoiceRejected, match="acknowledged, not accepted"):
            accepting(catalog, self.known, "news", Manner(250), Past())
        with pytest.raises(UnknownPolicy):
            accepting(catalog, self.known, "terns", Manner(250), Past())
        with pytest.raises(ChoiceRejected, match="no published version"):
            accepting(catalog, Published(), "terms", Manner(250), Past())

    def test_declining_is_an_answer_about_the_version_in_force(self, catalog: Catalog) -> None:
        said = declining(catalog, self.known, "both", Manner(150))
        assert [(a.item, a.version, a.action) for a in said] == [
            ("terms", "1", Action.DECLINED),
            ("privacy", "1", Action.DECLINED),
        ]
        (unpublished,) = declining(catalog, Published(), "terms", Manner(150))
        assert unpublished.version is None
