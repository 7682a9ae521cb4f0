"""Where a visitor stands: what the banner, its script and the hint cookie need to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from consentkit.core.errors import StoreUnavailable
from consentkit.core.terms import Reason
from consentkit.core.times import rfc3339
from consentkit.web.current import current, signals
from consentkit.web.problems import ASK
from consentkit.web.state import State


@dataclass(frozen=True, slots=True)
class Standing:
    """`granted` and `denied`: keys of categories and of purposes that stand apart.

    A purpose that has a category's key stands there as `purpose:<key>`: the bare key is the category.
    """

    decided: bool
    granted: tuple[str, ...]
    denied: tuple[str, ...]
    event_id: str | None
    at_us: int | None


def standing(state: State) -> Standing:
    """The gate's answers to everything that the banner asks. Raises StoreUnavailable."""
    catalog, consents = state.kit.catalog, current()
    granted: list[str] = []
    denied: list[str] = []
    decided = True
    for category in catalog.choices:
        decisions = [consents.look(f"purpose:{p.key}") for p in catalog.purposes_of(category.key)]
        if any(d.reason is Reason.STORE_UNAVAILABLE for d in decisions):
            raise StoreUnavailable
        (granted if all(decisions) else denied).append(category.key)
        decided = decided and not any(d.reason in ASK for d in decisions)
    for purpose in catalog.apart:
        shown = f"purpose:{purpose.key}" if purpose.key in catalog.categories else purpose.key
        (granted if consents.look(f"purpose:{purpose.key}") else denied).append(shown)
    last = max(consents.rows, key=lambda row: row.effective_us, default=None)
    where = (last.event_id, last.effective_us) if last is not None else (None, None)
    return Standing(decided, tuple(granted), tuple(denied), *where)


def hint_value(state: State, now: Standing) -> str:
    """`<revision>~<d|u>~<key>~…`: decided or undecided, and what is allowed."""
    return "~".join((state.kit.revision, "d" if now.decided else "u", *now.granted))


def standing_json(state: State, now: Standing, *, changed: tuple[str, ...] = ()) -> dict[str, Any]:
    """The same as JSON, for the banner's script."""
    return {
        "decided": now.decided,
        "granted": list(now.granted),
        "denied": list(now.denied),
        "changed": list(changed),
        "revision": state.kit.revision,
        "id": now.event_id,
        "at": rfc3339(now.at_us) if now.at_us is not None else None,
        "notice": state.kit.notice(state.locale()).digest,
        "gpc": "gpc" in signals(),
        "regime": "opt_in",
    }
