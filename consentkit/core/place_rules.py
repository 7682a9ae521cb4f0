"""What makes the catalogue's rows about places valid: codes, ages, regimes, and where each is from."""

from __future__ import annotations

import re

from consentkit.core.catalog import Catalog, MinorRules
from consentkit.core.errors import CatalogError
from consentkit.core.verification import GuardianMethod

GUARDIANS = ("any", "all")
_CODE = re.compile(r"[A-Z]{2}(?:-[A-Z0-9]{1,3})?")


def is_jurisdiction(code: str) -> bool:
    """Whether a text has the form of ISO 3166, such as `DE` or `US-CA`."""
    return _CODE.fullmatch(code) is not None


def check_places(catalog: Catalog) -> None:
    """Raises CatalogError for the first fault."""
    default = catalog.site.default_jurisdiction
    if default is not None:
        _check_code(default, "site.default_jurisdiction")
    if catalog.minors is not None:
        _check_guardians(catalog.minors)
    for rule in catalog.minors.ages if catalog.minors is not None else ():
        where = f"minors.ages.{rule.code}"
        _check_code(rule.code, where)
        _check_source(rule.source, rule.as_of, where)
        if not 0 <= rule.age <= rule.minor_until <= 21:
            mend = "Write years from 0 to 21, minor_until not below age"
            raise CatalogError("the ages do not fit", key=where, mend=mend)
    for row in catalog.regimes:
        where = f"regimes.{row.code}"
        _check_code(row.code, where)
        _check_source(row.source, row.as_of, where)
        for category in row.regimes:
            if category not in catalog.categories:
                known = ", ".join(sorted(catalog.categories))
                raise CatalogError(
                    f"there is no category {category!r}", key=where, mend=f"Known categories: {known}"
                )


def _check_guardians(rules: MinorRules) -> None:
    if rules.guardians not in GUARDIANS:
        mend = f"Write one of {', '.join(GUARDIANS)}"
        raise CatalogError(f"{rules.guardians!r} is not known", key="minors.guardians", mend=mend)
    for method in rules.methods:
        if method not in list(GuardianMethod):
            mend = f"Write some of {', '.join(GuardianMethod)}"
            raise CatalogError(f"{method!r} is not known", key="minors.methods", mend=mend)


def _check_code(code: str, where: str) -> None:
    if not is_jurisdiction(code):
        raise CatalogError(
            f"{code!r} is not a jurisdiction", key=where, mend="Write ISO 3166, such as DE or US-CA"
        )


def _check_source(source: str, as_of: object, where: str) -> None:
    """A legal number without its source cannot be defended years later."""
    if not source or as_of is None:
        mend = 'Add source = "where the rule is written" and as_of = 2026-10-01, the day you read it'
        raise CatalogError("lacks its source or date", key=where, mend=mend)
