"""Where a visitor stands: what the banner, its script and the hint cookie need to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flask import request

from consentkit.core.catalog import Catalog
from consentkit.core.errors import GateUnavailable
from consentkit.core.gate import Decision, Row
from consentkit.core.places import strictest
from consentkit.core.reask import rests
from consentkit.core.terms import Kind, Reason, Regime, Status
from consentkit.core.times import rfc3339
from consentkit.web.current import CurrentConsents, current, signals
from consentkit.web.identity import HINT
from consentkit.web.problems import asks
from consentkit.web.state import State

DAY_US = 24 * 3600 * 1_000_000
_OWN_NO = frozenset({Reason.REFUSED, Reason.WITHDRAWN, Reason.OPTED_OUT_BY_SIGNAL})


@dataclass(frozen=True, slots=True)
class Standing:
    """`granted` and `denied`: keys of categories and of purposes that stand apart. `unasked`: granted by silence.

    A purpose that has a category's key stands there as `purpose:<key>`: the bare key is the category. `decided`:
    nobody has to be asked. `shown`: `banner`, `notice` (of what silence allows, or of a signal) or `nothing`.
    `answered`: the switches were. `heard`: an opt-out signal came; `honored`: and nothing that heeds it is allowed.
    """

    decided: bool
    granted: tuple[str, ...]
    denied: tuple[str, ...]
    unasked: tuple[str, ...]
    event_id: str | None
    at_us: int | None
    shown: str
    answered: bool
    heard: bool
    honored: bool
    regimes: Mapping[str, Regime] = field(default_factory=dict)
    may_ask: tuple[str, ...] = ()


def standing(state: State, *, put_away: bool = False) -> Standing:
    """The gate's answers to everything that the banner asks. Raises StoreUnavailable.

    `put_away`: the visitor has just answered, or closed the notice.
    """
    catalog, consents = state.kit.catalog, current()
    asked, apart = _switches(catalog), _apart(catalog)
    whole = asked | apart
    said = {key: _look(consents, key) for keys in whole.values() for key in keys}
    granted = tuple(key for key, keys in whole.items() if all(said[k] for k in keys))
    unasked = tuple(k for k in granted if any(said[p].reason is Reason.NOT_REQUIRED for p in whole[k]))
    heard = _heard(state, consents)
    honored = heard and not any(_look(consents, key) for key, p in catalog.purposes.items() if p.signals)
    switched = {key for keys in asked.values() for key in keys}
    answered = any(_is_own(row) and row.item in switched for row in consents.rows)
    decided = not any(asks(said[key]) for key in switched)
    quiet = answered or put_away or _was_put_away(state)
    last = max(consents.rows, key=lambda row: row.effective_us, default=None)
    return Standing(
        decided=decided,
        granted=granted,
        denied=tuple(key for key in whole if key not in granted),
        unasked=unasked,
        event_id=last.event_id if last is not None else None,
        at_us=last.effective_us if last is not None else None,
        shown=_shown(decided, bool(unasked) or honored, quiet, consents.subject is not None or put_away),
        answered=answered,
        heard=heard,
        honored=honored,
        regimes={c.key: consents.regime(c.key) for c in catalog.choices},
        may_ask=tuple(key for key, keys in whole.items() if all(_may_ask(state, k, said[k]) for k in keys)),
    )


def granted(state: State) -> set[str]:
    """`Standing.granted` by itself. Raises StoreUnavailable."""
    consents, whole = current(), _switches(state.kit.catalog) | _apart(state.kit.catalog)
    return {key for key, purposes in whole.items() if all(_look(consents, p) for p in purposes)}


def _switches(catalog: Catalog) -> dict[str, list[str]]:
    """Categories, with the purposes that each switch answers."""
    return {c.key: [p.key for p in catalog.purposes_of(c.key)] for c in catalog.choices}


def _apart(catalog: Catalog) -> dict[str, list[str]]:
    return {f"purpose:{p.key}" if p.key in catalog.categories else p.key: [p.key] for p in catalog.apart}


def _shown(decided: bool, noticed: bool, quiet: bool, known: bool) -> str:
    """What is shown. `noticed`: there is something to notice; `quiet`: it was, or everything is answered."""
    if not decided:
        return "banner"
    if quiet:
        return "nothing"
    return "notice" if noticed else "nothing" if known else "banner"


def _look(consents: CurrentConsents, purpose: str) -> Decision:
    decision = consents.look(f"purpose:{purpose}")
    if decision.reason is Reason.STORE_UNAVAILABLE:
        raise GateUnavailable(decision)
    return decision


def _is_own(row: Row) -> bool:
    return row.kind == Kind.PURPOSE and row.actor == "subject"


def _may_ask(state: State, purpose: str, decision: Decision) -> bool:
    """Whether it is missing an answer, or the no is older than its `reask_after`."""
    if asks(decision):
        return True
    known, now_us = current().known, state.kit.runtime.clock.now()
    rows = (*known.subject.rows, *known.also)
    return decision.reason in _OWN_NO and not rests(state.kit.catalog.purposes[purpose], rows, now_us)


def _heard(state: State, consents: CurrentConsents) -> bool:
    """Whether an opt-out signal came with this request, or is on record."""
    rows = (*consents.rows, *consents.known.also) if state.kit.catalog.signals else ()
    recorded = any(row.kind == Kind.SIGNAL and row.status == Status.OBJECTED for row in rows)
    return recorded or bool(state.kit.catalog.signals & signals())


# ---------------------------------------------------------------- the hint


def hint_value(state: State, now: Standing) -> str:
    """`<revision>~<mark>~<key>~…`: what scripts know before they ask. The server opens nothing by it.

    The mark begins with `d` decided, `u` undecided, `n` the notice is shown, `a` it was put away. A number is the
    day (from 1970, UTC) with which ends what silence allows: who travels is under other laws. `g`: an opt-out
    signal is honoured; `h`: it was heard, and a later yes stands.
    """
    noticed = bool(now.unasked) or (now.honored and not now.answered)
    mark = {"banner": "u", "notice": "n"}.get(now.shown) or ("a" if noticed else "d")
    day = str(state.kit.runtime.clock.now() // DAY_US) if now.unasked else ""
    heard = "g" if now.honored else "h" if now.heard else ""
    return "~".join((state.kit.revision, mark + day + heard, *now.granted))


def hint_heard() -> bool | None:
    """Whether the browser's hint was written with its signal on; None where there is no hint."""
    mark = _sent()[1]
    return None if not mark else mark[-1] in "gh"


def _was_put_away(state: State) -> bool:
    """Whether this browser closed the notice of what is asked today. It opens nothing."""
    revision, mark = _sent()
    return revision == state.kit.revision and mark[:1] == "a"


def _sent() -> tuple[str, str]:
    revision, mark, *_ = [*request.cookies.get(HINT, "").split("~"), ""]
    return revision, mark


def standing_json(state: State, now: Standing, *, changed: tuple[str, ...] = ()) -> dict[str, Any]:
    """The same as JSON, for the banner's script."""
    return {
        "decided": now.decided,
        "shown": now.shown,
        "granted": list(now.granted),
        "denied": list(now.denied),
        "unasked": list(now.unasked),
        "may_ask": list(now.may_ask),
        "changed": list(changed),
        "revision": state.kit.revision,
        "id": now.event_id,
        "at": rfc3339(now.at_us) if now.at_us is not None else None,
        "notice": state.kit.notice(state.locale()).digest,
        "gpc": now.honored,
        "regime": strictest(now.regimes.values()),
        "regimes": dict(now.regimes),
    }
