"""The table of regimes in the documentation is the data."""

from __future__ import annotations

from pathlib import Path

from consentkit.core.places import RegimeRule, regime_rules
from consentkit.core.terms import Regime

PAGE = Path(__file__).parents[2] / "docs" / "regimes.md"


def line(rule: RegimeRule) -> str:
    """The row of a place."""

    def named(regime: Regime) -> str:
        found = ", ".join(sorted(key for key, value in rule.regimes.items() if value is regime))
        return f" {found} " if found else " "

    return f"| {rule.code} |{named(Regime.OPT_OUT)}|{named(Regime.EXEMPT_WITH_NOTICE)}| {rule.source} |"


def test_the_table_is_the_data() -> None:
    text = PAGE.read_text("utf-8")
    rows = [line(rule) for _, rule in sorted(regime_rules().items())]
    assert "\n".join(rows) in text, "\n" + "\n".join(rows)
    shown = text.partition("## The table")[2].partition("\n## ")[0]
    assert shown.count("\n| ") == len(rows) + 1, "a row that is not in the data"
    (as_of,) = {rule.as_of for rule in regime_rules().values()}
    assert f"As of {as_of}." in text


def test_every_regime_is_explained() -> None:
    text = PAGE.read_text("utf-8")
    assert all(f"| `{regime}` |" in text for regime in Regime)
