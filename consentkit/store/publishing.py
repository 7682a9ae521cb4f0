"""Publishing: every text, notice and catalogue by digest; versions of policies and purposes for ever."""

# ruff: noqa: S608 - every name is a constant of this package, every value a bind parameter
from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from consentkit.core.catalog import Catalog, Policy, localized
from consentkit.core.catalog_rules import canonical, definition, material_changes
from consentkit.core.errors import CatalogError
from consentkit.core.notice import Notice, category_notice, digest, notice_of, purpose_notice
from consentkit.core.published import PolicyRelease, Published, PurposeRelease
from consentkit.core.terms import Basis, Change
from consentkit.core.times import rfc3339, to_us
from consentkit.core.unchanged import check_unchanged
from consentkit.store.database import Database, Tx
from consentkit.store.tables import PREFIX as _P

_AT_ONCE = 500
JSON, MARKDOWN = "application/json", "text/markdown"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that publishing changes: `what` is new_purpose, new_version, new_policy or notice."""

    what: str
    item: str
    version: str
    change: str


def read_published(tx: Tx) -> Published:
    """All versions. Reference tables are small."""
    policies: dict[str, list[PolicyRelease]] = {}
    rows = tx.run(
        "SELECT item, version, ordinal, change, effective_us, published_us, acceptance, texts "
        f"FROM {_P}policy_version ORDER BY item, ordinal"
    )
    for item, version, ordinal, change, effective, published, acceptance, texts in rows:
        methods, by_locale = tuple(json.loads(acceptance)), json.loads(texts)
        release = PolicyRelease(
            item, version, ordinal, Change(change), effective, published, methods, by_locale
        )
        policies.setdefault(item, []).append(release)
    purposes: dict[str, list[PurposeRelease]] = {}
    rows = tx.run(
        f"SELECT item, version, definition, published_us FROM {_P}purpose_version ORDER BY item, version"
    )
    for row in rows:
        purposes.setdefault(row[0], []).append(PurposeRelease(*row))
    return Published({k: tuple(v) for k, v in policies.items()}, {k: tuple(v) for k, v in purposes.items()})


def plan(catalog: Catalog, published: Published, now_us: int) -> list[Step]:
    """What publishing would change now. Raises CatalogError for a change that is not allowed."""
    steps: list[Step] = []
    for purpose in catalog.purposes.values():
        steps += _purpose_step(catalog, purpose.key, published.purposes.get(purpose.key, ()))
    for policy in catalog.policies.values():
        steps += _policy_steps(policy, published.policies.get(policy.key, ()), now_us)
    return steps


def _purpose_step(catalog: Catalog, key: str, known: Sequence[PurposeRelease]) -> list[Step]:
    purpose = catalog.purposes[key]
    if not known:
        return [Step("new_purpose", key, str(purpose.version), "")]
    last = known[-1]
    changed = material_changes(last.definition, definition(catalog, purpose))
    if purpose.version < last.version:
        mend = f"Write version = {last.version} or more"
        raise CatalogError(
            f"version {last.version} is published already", key=f"purposes.{key}.version", mend=mend
        )
    if purpose.version == last.version and changed:
        mend = f"Write version = {last.version + 1}: people are asked again for this purpose only"
        raise CatalogError(
            f"{', '.join(changed)} changed under version {last.version}", key=f"purposes.{key}", mend=mend
        )
    return (
        [Step("new_version", key, str(purpose.version), Change.MATERIAL)]
        if purpose.version > last.version
        else []
    )


def _policy_steps(policy: Policy, known: Sequence[PolicyRelease], now_us: int) -> list[Step]:
    order = [version.version for version in policy.versions]
    for index, release in enumerate(known):
        if index >= len(order) or order[index] != release.version:
            mend = "Keep published versions, first and in their order; add new ones below"
            raise CatalogError(
                f"version {release.version!r} is published", key=f"policies.{policy.key}", mend=mend
            )
        check_unchanged(policy.key, policy.versions[index], release)
    _starts(policy, known, now_us)
    return [Step("new_policy", policy.key, v.version, v.change.value) for v in policy.versions[len(known) :]]


def _starts(policy: Policy, known: Sequence[PolicyRelease], now_us: int) -> list[int]:
    """When each new version comes into force: one that is added to a published policy not before people could
    read it. Raises CatalogError when it would come before the one above it.
    """
    starts = [known[-1].effective_us] if known else []
    for version in policy.versions[len(known) :]:
        start = to_us(version.effective) if version.effective else now_us
        start = max(start, now_us) if known else start
        if starts and start < starts[-1]:
            raise CatalogError(
                f"version {version.version!r} would be in force before the one above it, from "
                f"{rfc3339(start)} and {rfc3339(starts[-1])}",
                key=f"policies.{policy.key}.versions.{version.version}.effective",
                mend=f"Write effective = {rfc3339(starts[-1])} or later; of two with one date the lower governs",
            )
        starts.append(start)
    return starts[1:] if known else starts


def publish(catalog: Catalog, database: Database, now_us: int) -> list[Step]:
    """Store texts, notices, versions and catalogue, all or nothing. Raises CatalogError, StoreUnavailable."""

    def work(tx: Tx) -> list[Step]:
        if database.postgresql:  # one at a time, so that two never give the same ordinal
            tx.count(f"LOCK TABLE {_P}policy_version, {_P}purpose_version IN SHARE ROW EXCLUSIVE MODE")
        known = read_published(tx)
        latest_us = max((r.published_us for rs in known.policies.values() for r in rs), default=now_us)
        at_us = max(now_us, latest_us)  # the clock of the host that published before may be ahead
        steps = plan(catalog, known, at_us)
        _store_documents(tx, _documents(catalog), at_us)
        for purpose in catalog.purposes.values():
            row = (purpose.key, purpose.version, definition(catalog, purpose), at_us)
            _insert(tx, "purpose_version", "item, version, definition, published_us", "item, version", row)
        for policy in catalog.policies.values():
            _store_versions(tx, policy, known.policies.get(policy.key, ()), at_us)
        return steps

    return database.write(work)


def is_published(catalog: Catalog, tx: Tx) -> bool:
    """Whether this very catalogue was published, with the notices that this version of the package shows."""
    wanted = [digest(canonical(catalog)), *(notice.digest for notice in _notices(catalog))]
    for start in range(0, len(wanted), _AT_ONCE):
        some = tuple(dict.fromkeys(wanted[start : start + _AT_ONCE]))
        marks = ", ".join("?" * len(some))
        if tx.run(f"SELECT count(*) FROM {_P}document WHERE digest IN ({marks})", some)[0][0] < len(some):
            return False
    return True


def published_us(catalog: Catalog, tx: Tx) -> int | None:
    """When this very catalogue was published first; None when it was not."""
    wanted = digest(canonical(catalog))
    rows = tx.run(f"SELECT stored_us FROM {_P}document WHERE digest = ?", (wanted,))
    return rows[0][0] if rows else None


def catalogues(tx: Tx) -> list[tuple[int, str]]:
    """When each catalogue was published first, and its digest; in that order. No notice begins like one."""
    start = '{"bundles":'
    rows = tx.run(
        f"SELECT stored_us, digest FROM {_P}document WHERE media_type = ? "
        f"AND substr(content, 1, {len(start)}) = ? ORDER BY stored_us",
        (JSON, start),
    )
    return [(stored, name) for stored, name in rows]


def read_document(tx: Tx, wanted: str) -> tuple[str, str] | None:
    """Media type and content of a stored text by its digest."""
    rows = tx.run(f"SELECT media_type, content FROM {_P}document WHERE digest = ?", (wanted,))
    return (rows[0][0], rows[0][1]) if rows else None


def _documents(catalog: Catalog) -> Iterable[tuple[str, str]]:
    for policy in catalog.policies.values():
        for version in policy.versions:
            yield from ((version.media_type, text) for text in version.texts.values())
    yield from ((JSON, notice.body) for notice in _notices(catalog))
    yield JSON, canonical(catalog)


def _notices(catalog: Catalog) -> Iterable[Notice]:
    """What banner and preference page show, and what is shown where something is asked by itself, in every locale."""
    for locale in catalog.locales:
        yield notice_of(catalog, locale)
        yield from (category_notice(catalog, category, locale) for category in catalog.choices)
        asked = (purpose for purpose in catalog.purposes.values() if purpose.basis is Basis.CONSENT)
        yield from (purpose_notice(catalog, purpose, locale) for purpose in asked)


def _store_documents(tx: Tx, documents: Iterable[tuple[str, str]], now_us: int) -> None:
    stored = {row[0] for row in tx.run(f"SELECT digest FROM {_P}document")}
    for media_type, text in documents:
        name = digest(text)
        if name not in stored:
            stored.add(name)
            row = (name, media_type, text, now_us)
            _insert(tx, "document", "digest, media_type, content, stored_us", "digest", row)


def _store_versions(tx: Tx, policy: Policy, known: Sequence[PolicyRelease], now_us: int) -> None:
    columns = "item, version, ordinal, change, effective_us, published_us, acceptance, texts, summary"
    have = len(known)
    new = zip(policy.versions[have:], _starts(policy, known, now_us), strict=True)
    for ordinal, (version, start_us) in enumerate(new, start=have + 1):
        methods = json.dumps(list(version.acceptance))
        texts = json.dumps({locale: digest(text) for locale, text in version.texts.items()}, sort_keys=True)
        summary = localized(version.summary, "en")
        said = (policy.key, version.version, ordinal, version.change.value)
        row = (*said, start_us, now_us, methods, texts, summary)
        _insert(tx, "policy_version", columns, "item, version", row)


def _insert(tx: Tx, table: str, columns: str, key: str, row: Sequence[object]) -> None:
    marks = ", ".join("?" * len(row))
    tx.count(f"INSERT INTO {_P}{table} ({columns}) VALUES ({marks}) ON CONFLICT ({key}) DO NOTHING", row)
