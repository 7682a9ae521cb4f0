"""Re-make the tables of `docs/minors.md` from ages.toml: `python tests/ages_table.py`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from consentkit.core.places import AgeRule, age_rules
from consentkit.core.terms import Assurance

PAGE = Path(__file__).parents[1] / "docs" / "minors.md"
_BLOCK = re.compile(r"(<!-- ages -->\n)(.*?)(<!-- /ages -->)", re.S)


def made() -> str:
    """What has to stand between the two marks."""
    return "\n".join(_lines()) + "\n"


def written() -> str:
    """What stands there."""
    found = _BLOCK.search(PAGE.read_text("utf-8"))
    assert found is not None, "docs/minors.md has no marks <!-- ages --> and <!-- /ages -->"
    return found[2]


def _lines() -> Iterator[str]:
    rules = age_rules().values()
    dates = {rule.as_of for rule in rules}
    assert len(dates) == 1, "rows have dates of their own: show them"
    yield f"As of {dates.pop()}:"
    yield ""
    yield "| code | answers alone from | a minor until | below, who answers | guardian verified | source |"
    yield "|---|---|---|---|---|---|"
    for rule in sorted(rules, key=lambda rule: rule.code):
        until = rule.minor_until if rule.minor_until != rule.age else ""
        yield f"| {rule.code} | {rule.age} | {until} | {_who(rule)} | {_how(rule)} | {rule.source} |"
    yield ""
    yield "What is forbidden for minors, whatever anybody says:"
    yield ""
    yield "| code | DPV purposes |"
    yield "|---|---|"
    for rule in sorted((rule for rule in rules if rule.forbidden), key=lambda rule: rule.code):
        yield f"| {rule.code} | {', '.join(f'`{purpose}`' for purpose in rule.forbidden)} |"


def _who(rule: AgeRule) -> str:
    return "child and guardian" if rule.joint else "guardian"


def _how(rule: AgeRule) -> str:
    return "" if rule.verification is Assurance.NONE else f"`{rule.verification}`"


if __name__ == "__main__":
    text = PAGE.read_text("utf-8")
    PAGE.write_text(_BLOCK.sub(lambda found: found[1] + made() + found[3], text), "utf-8")
