"""Texts and versions: each text is what its digest says; each published version is what a stored catalogue says."""

# ruff: noqa: S608 - every name is a constant of this package, every value a bind parameter
from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from consentkit.core.catalog import localized
from consentkit.core.notice import digest
from consentkit.core.terms import Action, Kind
from consentkit.core.times import to_us
from consentkit.store.publishing import JSON
from consentkit.store.snapshot import Snapshot
from consentkit.store.tables import PREFIX as _P

if TYPE_CHECKING:
    from consentkit.store.verifying import Report

_DOCUMENTS = f"SELECT digest, media_type, content, stored_us FROM {_P}document ORDER BY digest"
_POLICIES = (
    "SELECT item, version, ordinal, change, acceptance, texts, summary, effective_us, published_us "
    f"FROM {_P}policy_version ORDER BY item, ordinal"
)
_PURPOSES = f"SELECT item, version, definition, published_us FROM {_P}purpose_version ORDER BY item, version"
_DEFINED = ("basis", "cookies", "data", "explicit", "locations", "recipients", "retention", "sensitive")
_PURPOSE, _POLICY = Kind.PURPOSE.value, Kind.POLICY.value
_BROWSER = ("button", "form")


@dataclass(slots=True)
class Published:
    """What was ever published, for looking up what events name."""

    documents: set[str] = field(default_factory=set)
    texts: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    purposes: set[tuple[str, str]] = field(default_factory=set)
    unknown_notices: int = 0

    def fault_of(self, body: Mapping[str, Any]) -> str | None:
        """What is missing of what an event names."""
        kind, named = body["kind"], (body["item"], body["version"])
        if kind == _PURPOSE:
            if named not in self.purposes:
                return f"the version {named[1]} of {named[0]} that was answered is not there"
            notice = body["notice"]
            if notice and notice not in self.documents and body["method"] in _BROWSER:
                self.unknown_notices += 1
        elif kind == _POLICY and body["action"] == Action.ACCEPTED:
            texts = self.texts.get(named)
            if texts is None:
                return f"the version {named[1]} of {named[0]} that was accepted is not there"
            if body["notice"] not in texts:
                return f"version {named[1]} of {named[0]} does not have the accepted text"
        return None


@dataclass(slots=True)
class _Catalogues:
    """The rows that stored catalogues lead to, each with the instants of the catalogues that say so."""

    policies: dict[tuple[Any, ...], dict[int, int | None]] = field(default_factory=dict)
    purposes: dict[tuple[Any, ...], set[int]] = field(default_factory=dict)
    media_types: dict[str, set[str]] = field(default_factory=dict)

    def add(self, catalogue: Mapping[str, Any], stored_us: int) -> None:
        for purpose in catalogue["purposes"].values():
            row: tuple[Any, ...] = (
                purpose["key"],
                purpose["version"],
                _definition(purpose, catalogue["parties"]),
            )
            self.purposes.setdefault(row, set()).add(stored_us)
        for policy in catalogue["policies"].values():
            for ordinal, version in enumerate(policy["versions"], start=1):
                texts = version["texts"]
                for named in texts.values():
                    self.media_types.setdefault(named, set()).add(version["media_type"])
                written = (json.dumps(version["acceptance"]), json.dumps(texts, sort_keys=True))
                row = (policy["key"], version["version"], ordinal, version["change"], *written)
                row += (localized(version["summary"], "en"),)
                effective = version["effective"]
                declared = to_us(datetime.fromisoformat(effective)) if effective else None
                self.policies.setdefault(row, {})[stored_us] = declared


def check_documents(view: Snapshot, report: Report) -> Published:
    """Note every stored text that was changed, and every version that is not what was published."""
    published, catalogues = Published(), _Catalogues()
    media_types: dict[str, str] = {}
    for named, media_type, content, stored_us in view.stream(_DOCUMENTS):
        try:
            published.documents.add(named)
            media_types[named] = media_type
            if digest(content) != named:
                raise ValueError
            if media_type == JSON and isinstance(read := json.loads(content), dict) and "policies" in read:
                catalogues.add(read, stored_us)
        except (ValueError, TypeError, AttributeError, KeyError):
            report.changed(f"document {named}", "the text is not the one of its digest")
    for named, media_type in media_types.items():
        if media_type not in catalogues.media_types.get(named, {JSON}):
            report.changed(f"document {named}", f"it was not published as {media_type}")
    _check_policies(view, report, published, catalogues)
    _check_purposes(view, report, published, catalogues)
    return published


def _check_policies(view: Snapshot, report: Report, published: Published, catalogues: _Catalogues) -> None:
    missing = {(row[0], row[1]) for row in catalogues.policies}
    for *row, effective_us, published_us in view.stream(_POLICIES):
        where = f"policy {row[0]} {row[1]}"
        missing.discard((row[0], row[1]))
        said = catalogues.policies.get(tuple(row), {})
        if published_us not in said or effective_us not in _effective(said[published_us], published_us):
            report.changed(where, "the version is not what a stored catalogue says")
        for locale, named in _texts(row[5]):
            published.texts.setdefault((row[0], row[1]), set()).add(named)
            if named not in published.documents:
                report.missing(f"{where} ({locale})", "the text of a published version is not there")
    for item, version in sorted(missing):
        report.missing(f"policy {item} {version}", "a published version is not there")


def _check_purposes(view: Snapshot, report: Report, published: Published, catalogues: _Catalogues) -> None:
    missing = {(row[0], row[1]) for row in catalogues.purposes}
    for *row, published_us in view.stream(_PURPOSES):
        missing.discard((row[0], row[1]))
        published.purposes.add((row[0], str(row[1])))
        if published_us not in catalogues.purposes.get(tuple(row), ()):
            report.changed(f"purpose {row[0]} {row[1]}", "the version is not what a stored catalogue says")
    for item, version in sorted(missing):
        report.missing(f"purpose {item} {version}", "a published version is not there")


def _effective(declared: int | None, published_us: int) -> tuple[int, ...]:
    """When a version may come into force: as declared, or when it was published if that is later."""
    return (published_us,) if declared is None else (declared, max(declared, published_us))


def _texts(texts: object) -> Iterator[tuple[str, str]]:
    try:
        yield from json.loads(str(texts)).items()
    except (ValueError, AttributeError):
        return  # noted already: no catalogue says so


def _definition(purpose: Mapping[str, Any], parties: Mapping[str, Any]) -> str:
    """As `core.catalog_rules.definition`, from the stored JSON."""
    facts = {name: purpose[name] for name in _DEFINED}
    for name in ("data", "locations", "recipients"):
        facts[name] = sorted(facts[name])
    facts["cookies"] = sorted(cookie["name"] for cookie in purpose["cookies"])
    facts["countries"] = sorted(parties[key]["country"] for key in purpose["recipients"])
    return json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
