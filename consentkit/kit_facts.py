"""Where facts about a subject come from: the ledger's row, else the host's loaders, else the catalogue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from logging import ERROR

from consentkit.core.catalog import Catalog, MinorRules
from consentkit.core.minors import Age, Facts, band_of, minor_until, moved
from consentkit.core.place_rules import is_jurisdiction
from consentkit.core.record import VISITOR
from consentkit.core.terms import Band
from consentkit.logs import harmless, log

AgeLoader = Callable[[str], Age | None]
JurisdictionLoader = Callable[[], str | None]


@dataclass
class FactSources:
    """The host's loaders. `age` is never called for visitors; `jurisdiction` only inside a request.

    `told`: the log has the loader's fault, once for a process.
    """

    age: AgeLoader | None = None
    jurisdiction: JurisdictionLoader | None = None
    in_request: Callable[[], bool] = lambda: False
    told: bool = False

    def rules(self, catalog: Catalog) -> MinorRules | None:
        """The rules for minors; None where there are neither rules nor an age loader."""
        if catalog.minors is None and self.age is not None:
            return MinorRules()
        return catalog.minors

    def complete_past(self, catalog: Catalog, subject: str, known: Facts, at_us: int, now_us: int) -> Facts:
        """The same of a past moment. The loader of the place says where somebody is now: it is not asked."""
        place = catalog.site.default_jurisdiction
        if known.jurisdiction is None and self.jurisdiction is None and place is not None:
            known = placed(catalog, known, place, at_us)
        age = self._age(catalog, subject, known)
        if age is None:
            return known
        until = minor_until(age, catalog.places.at(known.jurisdiction).ages, now_us)
        return replace(known, band=Band.MINOR, minor_until_us=until)

    def complete(self, catalog: Catalog, subject: str, known: Facts, now_us: int) -> Facts:
        """What is known of a subject, with what is missing asked from the loaders; the place first, then the age."""
        if self.age is None and self.jurisdiction is None and catalog.site.default_jurisdiction is None:
            return known
        if known.jurisdiction is None and (place := self.place(catalog)) is not None:
            known = placed(catalog, known, place, now_us)
        age = self._age(catalog, subject, known)
        if age is not None:
            band, until = band_of(age, catalog.places.at(known.jurisdiction).ages, now_us)
            known = replace(known, band=band, minor_until_us=until)
        return known

    def _age(self, catalog: Catalog, subject: str, known: Facts) -> Age | None:
        """What the host says of the age of an account of which none is known, where there are rules for minors."""
        if self.age is None or known.band is not Band.UNKNOWN or subject.startswith(VISITOR):
            return None
        return self.age(subject) if self.rules(catalog) is not None else None

    def relaxes(self, catalog: Catalog) -> bool:
        """Whether silence may be enough for some visitor of the site: by its loader, or by its place."""
        if self.jurisdiction is not None:
            return bool(catalog.relaxed)
        return catalog.places.at(catalog.site.default_jurisdiction).regimes.code in catalog.relaxed

    def place(self, catalog: Catalog) -> str | None:
        """The jurisdiction of a subject of whom none is written down."""
        if self.jurisdiction is not None:
            return self._asked(self.jurisdiction) if self.in_request() else None
        return catalog.site.default_jurisdiction

    def _asked(self, loader: JurisdictionLoader) -> str | None:
        """The loader's word, which is written down with the next answer. What is no place is an unknown one."""
        try:
            said = loader()
            code = said.strip().upper() if isinstance(said, str) else ""
            if said is None or is_jurisdiction(code):
                return code or None
            fault = "it returned what is not ISO 3166, such as DE or US-CA"
        except Exception as error:
            fault = harmless(error)
        if not self.told:
            self.told = True
            message = "the jurisdiction_loader failed, so the strictest law holds: %(error)s"
            log(ERROR, "jurisdiction_unknown", message, error=fault)
        return None


def placed(catalog: Catalog, facts: Facts, jurisdiction: str, now_us: int) -> Facts:
    """The facts in another jurisdiction, with the age by its rule."""
    old, new = catalog.places.at(facts.jurisdiction), catalog.places.at(jurisdiction)
    return replace(moved(facts, old.ages, new.ages, now_us), jurisdiction=jurisdiction)
