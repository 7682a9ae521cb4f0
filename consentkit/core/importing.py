"""An export read back: the answers that it holds, with their instants (GDPR 20: data that another system can take).

What is no answer (a notice that was shown, an invitation, an erasure) was evidence of the ledger it came from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from consentkit.core.catalog import Catalog
from consentkit.core.errors import ChoiceRejected
from consentkit.core.minors import Facts
from consentkit.core.published import Published
from consentkit.core.record import Answer
from consentkit.core.terms import ANSWERS, Action, Band, Kind, Method
from consentkit.core.times import not_ahead

SCHEMA = "consentkit/export/v1"
CONTINUES = "continues"
_LAW = ("actors", "age_rule")
"""Of what an answer carries besides, the rule by which a child's was taken."""


@dataclass(frozen=True, slots=True)
class Imported:
    """An answer of another ledger. `event_id`: its id there; `effective_us`: when it was said."""

    event_id: str
    effective_us: int
    answer: Answer


@dataclass(frozen=True, slots=True)
class Export:
    """What an export says of a subject."""

    subject: str
    facts: Facts
    answers: tuple[Imported, ...]


def read_export(export: Mapping[str, Any], now_us: int) -> Export:
    """Read it. Raises ValueError for what is no export, or says something that nobody can have said."""
    if not isinstance(export, Mapping) or export.get("schema") != SCHEMA:
        raise ValueError(f"this is no export: schema is {SCHEMA!r} in one")
    try:
        bodies = [json.loads(event["body"]) for event in export["events"]]
        said = tuple(_imported(body, now_us) for body in bodies if body["action"] in ANSWERS)
        facts = export["facts"]
        known = Facts(Band(facts["band"]), _optional(facts["minor_until_us"], int), facts["jurisdiction"])
        subject = export["subject"]
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"the export is damaged: {error!r}") from error
    if not isinstance(subject, str):
        raise ValueError("the export names no subject")
    return Export(subject, known, said)


def _imported(body: Mapping[str, Any], now_us: int) -> Imported:
    event_id, effective_us = _text(body["event_id"]), not_ahead(_number(body["effective_us"]), now_us)
    law = tuple((name, _text(body[name])) for name in _LAW if name in body)
    answer = Answer(
        Kind(body["kind"]),
        _text(body["item"]),
        Action(body["action"]),
        _optional(body["version"], str),
        _number(body["ordinal"]),
        _text(body["scope"]),
        _text(body["actor"]),
        Method.IMPORT.value,
        _optional(body["locale"], str),
        _optional(body["notice"], str),
        _number(body["level"]),
        _optional(body["expires_us"], int),
        (*law, (CONTINUES, event_id), ("imported_method", _optional(body["method"], str))),
    )
    return Imported(event_id, effective_us, answer)


def check_known(answer: Answer, catalog: Catalog, published: Published) -> None:
    """Raise ChoiceRejected for an item or a version that was never published here: it would judge another text."""
    item, ordinal = answer.item, answer.ordinal
    if answer.kind is Kind.PURPOSE:
        known = item in catalog.purposes and any(
            release.version == ordinal for release in published.purposes.get(item, ())
        )
    elif answer.kind in (Kind.POLICY, Kind.ANNOUNCEMENT):
        releases = published.policies.get(item, ()) if item in catalog.policies else ()
        known = any((release.ordinal, release.version) == (ordinal, answer.version) for release in releases)
    else:
        known = answer.kind in (Kind.SUBJECT, Kind.SIGNAL)
    if not known:
        raise ChoiceRejected(
            f"the {answer.kind.value} {item!r} in version {answer.version!r} is not published here: "
            "publish the catalogue that was in force, then import again"
        )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is no whole number")
    return value


def _optional(value: Any, kind: type) -> Any:
    if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value
