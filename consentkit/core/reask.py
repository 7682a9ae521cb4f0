"""After a no: for how long one does not ask again."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from consentkit.core.catalog import Catalog, Purpose
from consentkit.core.terms import DENIALS, Kind
from consentkit.core.times import Duration
from consentkit.core.view import Row

REST = "P6M"
REST_OF_SALE = "P12M"
SALE = frozenset({"SellDataToThirdParties", "SellInsightsFromData", "TargetedAdvertising"})
"""DPV purposes that are a sale or sharing of personal data (Civ. 1798.140(ad), (ah))."""


def rest_after_no(purpose: Purpose) -> Duration:
    """`reask_after`, else six months (Garante 10.6.2021 n.231), twelve for sale or sharing (Civ. 1798.135(c)(4)).

    What heeds an opt-out signal is a sale or sharing, too.
    """
    sale = bool(purpose.signals) or not SALE.isdisjoint(purpose.dpv)
    return _read(purpose.reask_after or (REST_OF_SALE if sale else REST))


_read = cache(Duration.parse)


def longest_rest_days(catalog: Catalog) -> int:
    """For how many days at most a no to something in the catalogue has to be remembered."""
    return max((rest_after_no(p).days_at_most for p in catalog.purposes.values()), default=0)


def rests(purpose: Purpose, rows: Iterable[Row], now_us: int) -> bool:
    """Whether the last no, the browser's signal among them, is too young to ask again."""
    said = (
        row.effective_us
        for row in rows
        if row.status in DENIALS
        and (
            (row.kind == Kind.PURPOSE and row.item == purpose.key)
            or (row.kind == Kind.SIGNAL and row.item in purpose.signals)
        )
    )
    last_us = max(said, default=None)
    return last_us is not None and now_us < rest_after_no(purpose).after(last_us)
