"""An export read back: the answers that it holds, with their instants (GDPR 20: data that another system can take).

What is no answer (a notice that was shown, an invitation) was evidence of the ledger it came from. Whatever the
file says is checked before anything of it is recorded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from consentkit.core.choices import Manner
from consentkit.core.errors import ChoiceRejected
from consentkit.core.minors import NOTHING_KNOWN, Facts
from consentkit.core.place_rules import is_jurisdiction
from consentkit.core.published import Published
from consentkit.core.record import Answer
from consentkit.core.sweeping import DELETION, MINOR
from consentkit.core.terms import ANSWERS, SIGNALS, Action, Assurance, Band, Kind, Method
from consentkit.core.times import not_ahead
from consentkit.core.view import OBJECTION, RESTRICTION

SCHEMA = "consentkit/export/v1"
CONTINUES = "continues"
NEVER = -1
_LAW = ("actors", "age_rule")
"""Of what an answer carries besides, the rule by which a child's was taken."""
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LONGEST, _FAR = 200, 2**53
_NOES = {Action.REFUSED, Action.WITHDRAWN, Action.REVOKED, Action.INVALIDATED}
_FITTING = {
    Kind.PURPOSE: {Action.GIVEN, Action.RENEWED, *_NOES, Action.OBJECTED, Action.LIFTED},
    Kind.POLICY: {Action.ACCEPTED, Action.DECLINED, *_NOES},
    Kind.ANNOUNCEMENT: {Action.ACCEPTED},
    Kind.SIGNAL: {Action.OBJECTED},
}
_FITTING_SUBJECT = {
    RESTRICTION: {Action.RESTRICTED, Action.LIFTED},
    OBJECTION: {Action.OBJECTED, Action.LIFTED},
    MINOR: {Action.REFUSED},
    DELETION: {Action.LIFTED},
    "link": {Action.DECLINED},
}


@dataclass(frozen=True, slots=True)
class Imported:
    """An answer of another ledger. `event_id`: its id there; `effective_us`: when it was said; `facts`: as it says."""

    event_id: str
    effective_us: int
    answer: Answer
    facts: Facts


@dataclass(frozen=True, slots=True)
class Export:
    """What an export says of a subject, each answer once. `erased_us`: when the subject was erased last, or NEVER.

    Of an erased subject no facts are known.
    """

    subject: str
    tenant: str
    facts: Facts
    answers: tuple[Imported, ...]
    erased_us: int = NEVER


def read_export(export: Mapping[str, Any], now_us: int) -> Export:
    """Read it. Raises ValueError for what is no export, or says something that nobody can have said."""
    if not isinstance(export, Mapping) or export.get("schema") != SCHEMA:
        raise ValueError(f"this is no export: schema is {SCHEMA!r} in one")
    try:
        subject, tenant = (
            _long_text(export["subject"], "the export names no subject"),
            _text(export["tenant"]),
        )
        events = export["events"]
        if not isinstance(events, list):
            raise TypeError("events is no list")
        known = _object(export["facts"])
        facts = _facts(known["band"], known["minor_until_us"], known["jurisdiction"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the export is damaged: {_why(error)}") from error
    said, erased_us = _read(events, tenant, now_us)
    return Export(subject, tenant, facts if erased_us == NEVER else NOTHING_KNOWN, said, erased_us)


def _read(events: list[Any], tenant: str, now_us: int) -> tuple[tuple[Imported, ...], int]:
    """The answers, each once, and when the subject was erased. Raises ValueError, which names the event."""
    said: dict[str, Imported] = {}
    keys, erased_us = set(), NEVER
    for number, event in enumerate(events, start=1):
        try:
            body = _object(json.loads(_object(event)["body"]))
            keys.add((_text(body["subject_key"]), _text(body["tenant"])))
            if len(keys) > 1 or body["tenant"] != tenant:
                raise ValueError("it is about another subject than the one before")
            kind, action = Kind(body["kind"]), Action(body["action"])
            if action in ANSWERS:
                found = _imported(body, kind, action, now_us)
                if said.setdefault(found.event_id, found) != found:
                    raise ValueError("another event has its id")
            elif action is Action.ERASED and body["item"] == "subject":
                erased_us = max(erased_us, not_ahead(_number(body["effective_us"]), now_us))
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"the export is damaged, event {number}: {_why(error)}") from error
    return tuple(said.values()), erased_us


def _imported(body: Mapping[str, Any], kind: Kind, action: Action, now_us: int) -> Imported:
    event_id, effective_us = _text(body["event_id"]), not_ahead(_number(body["effective_us"]), now_us)
    if not _ID.fullmatch(event_id):
        raise ValueError("its event_id is no UUID")
    law = tuple((name, _text(body[name])) for name in _LAW if name in body)
    answer = Answer(
        kind,
        _text(body["item"]),
        action,
        _optional_text(body["version"]),
        _number(body["ordinal"]),
        _text(body["scope"]),
        _text(body["actor"]),
        Method.IMPORT.value,
        _optional_text(body["locale"]),
        _optional_text(body["notice"]),
        _number(body["level"]),
        _optional_instant(body["expires_us"]),
        (*law, (CONTINUES, event_id), ("imported_method", _optional_text(body["method"]))),
    )
    _check_said(answer, effective_us)
    return Imported(event_id, effective_us, answer, _facts(body["band"], None, body["jurisdiction"]))


def _check_said(answer: Answer, at_us: int) -> None:
    """Raise ValueError for what none of the verbs records."""
    kind, item, actor = answer.kind, answer.item, answer.actor
    fitting = _FITTING_SUBJECT.get(item, set()) if kind is Kind.SUBJECT else _FITTING.get(kind, set())
    if answer.action not in fitting or (kind is Kind.SIGNAL and item not in SIGNALS):
        raise ValueError(f"nobody can say {answer.action.value} about the {kind.value} {item!r}")
    how = Manner(at_us, actor, Method.IMPORT.value, answer.locale, answer.notice, answer.scope, answer.level)
    how.check()
    if (actor == "browser") != (kind is Kind.SIGNAL) or (actor == "operator" and answer.grants):
        raise ValueError(f"the {actor} cannot say {answer.action.value} about the {kind.value} {item!r}")
    if not 0 <= answer.level <= Assurance.VERIFIABLE.level or (answer.level and not how.by_guardian):
        raise ValueError(f"level {answer.level} is no assurance of a guardian's")


def check_known(answer: Answer, published: Published) -> None:
    """Raise ChoiceRejected for an item or a version that was never published here: it would judge another text."""
    item, ordinal, version = answer.item, answer.ordinal, answer.version
    if answer.kind is Kind.PURPOSE:
        releases = published.purposes.get(item, ())
        known = any(release.version == ordinal and version == str(ordinal) for release in releases)
    elif answer.kind in (Kind.POLICY, Kind.ANNOUNCEMENT):
        known = _is_policy_known(answer, published)
    else:
        known = (ordinal, version) == (0, None)
    if not known:
        raise ChoiceRejected(
            f"the {answer.kind.value} {item!r} in version {version!r} is not published here: "
            "publish the catalogue that was in force, then import again"
        )


def _is_policy_known(answer: Answer, published: Published) -> bool:
    """By version; an acceptance also by its text. A refusal or withdrawal is about the policy in any version."""
    releases = published.policies.get(answer.item, ())
    if (answer.ordinal, answer.version) == (0, None):
        return bool(releases) and answer.action is not Action.ACCEPTED
    return any(
        (release.ordinal, release.version) == (answer.ordinal, answer.version)
        and (answer.action is not Action.ACCEPTED or answer.notice in release.texts.values())
        for release in releases
    )


def _facts(band: object, minor_until_us: object, jurisdiction: object) -> Facts:
    found = Facts(Band(_text(band)), _optional_instant(minor_until_us), _optional_text(jurisdiction))
    if found.minor_until_us is not None and found.band is not Band.MINOR:
        raise ValueError(f"minor_until_us is not for the band {found.band.value}")
    if found.jurisdiction is not None and not is_jurisdiction(found.jurisdiction):
        raise ValueError(f"{found.jurisdiction!r} is no jurisdiction such as DE or US-CA")
    return found


def _object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{value!r:.60} is no object")
    return value


def _long_text(value: object, wrong: str) -> str:
    if not isinstance(value, str):
        raise TypeError(wrong)
    value.encode()
    return value


def _text(value: object) -> str:
    found = _long_text(value, f"{value!r:.60} is no text")
    if len(found) > _LONGEST:
        raise ValueError(f"a text of {len(found):,} characters, where {_LONGEST} are the most")
    return found


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r:.60} is no whole number")
    if abs(value) >= _FAR:
        raise ValueError("a number is too large to be recorded exactly")
    return value


def _optional_text(value: object) -> str | None:
    return None if value is None else _text(value)


def _optional_instant(value: object) -> int | None:
    if value is not None and _number(value) < 0:
        raise ValueError("an instant lies before 1970")
    return None if value is None else _number(value)


def _why(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error} is missing"
    return "it is nested too deep" if isinstance(error, RecursionError) else f"{error!s:.300}"
