"""What makes a policy's versions valid: names, dates in order, texts that can be stored, acts of acceptance."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime

from consentkit.core.catalog import (
    ACCEPTANCE_METHODS,
    EXPRESS_METHODS,
    Bundle,
    Catalog,
    Policy,
    PolicyVersion,
)
from consentkit.core.errors import CatalogError
from consentkit.core.terms import Change, Method

MAX_TEXT_BYTES = 5_000_000
_VERSION = re.compile(r"\w[\w .,:()+-]{0,99}")
_LOCALE = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*")


def check_policy(catalog: Catalog, policy: Policy) -> None:
    """Raise CatalogError for the first fault in a policy's versions."""
    where = f"policies.{policy.key}.versions"
    if not policy.versions:
        raise CatalogError("has no version", key=where, mend=f"Add [[{where}]] with version and files")
    seen: set[str] = set()
    before: datetime | None = None
    for version in policy.versions:
        _check_name(version.version, seen, where)
        _check_date(version, before, where)
        before = version.effective or before
        _check_texts(version, catalog.site.default_locale, where)
        _check_acceptance(version.change, version.acceptance, f"{where}.{version.version}.acceptance")


def check_bundle(catalog: Catalog, bundle: Bundle) -> None:
    """Raise CatalogError for a bundle of nothing, of unknown policies, or of one policy twice."""
    where = f"bundles.{bundle.key}.policies"
    if not bundle.policies:
        raise CatalogError("is empty", key=where, mend="Name the policies that are accepted in one act")
    for member in bundle.policies:
        known_key(member, catalog.policies, where, "policy")
    if len(set(bundle.policies)) < len(bundle.policies):
        raise CatalogError("names a policy twice", key=where, mend="Name each policy once")


def known_key(key: str, known: Mapping[str, object], where: str, what: str) -> None:
    """Raise CatalogError, with the known ones, for a key that is not declared."""
    if key not in known:
        names = ", ".join(sorted(known)) or "none is declared"
        raise CatalogError(f"there is no {what} {key!r}", key=where, mend=f"Known: {names}")


def _check_name(name: str, seen: set[str], where: str) -> None:
    if not _VERSION.fullmatch(name):
        mend = 'Write a short text that can stand in an address, such as "2" or "2026-03", without /'
        raise CatalogError(f"{name[:100]!r} is not a usable version", key=where, mend=mend)
    if name in seen:
        raise CatalogError(f"version {name!r} stands there twice", key=where, mend="Keep one of the two")
    seen.add(name)


def _check_date(version: PolicyVersion, before: datetime | None, where: str) -> None:
    if version.effective is None:
        return
    if version.effective.tzinfo is None:
        raise CatalogError(
            f"version {version.version!r}: effective has no time zone", key=where, mend="Add tzinfo=UTC"
        )
    if before and version.effective < before:
        raise CatalogError(
            f"version {version.version!r} is in force before the one above it",
            key=where,
            mend="Order versions from the oldest to the newest",
        )


def _check_texts(version: PolicyVersion, default: str, where: str) -> None:
    if default not in version.texts:
        raise CatalogError(
            f"version {version.version!r} lacks the text of the default locale",
            key=where,
            mend=f'Add files = {{{default} = "..."}}',
        )
    for locale, text in version.texts.items():
        key = f"{where}.{version.version}.files.{locale}"
        if not _LOCALE.fullmatch(locale):
            raise CatalogError(
                "is not a BCP 47 tag", key=key, mend="Write a language such as en, pt-BR or zh-Hans"
            )
        _check_text(text, key, version.files.get(locale))


def _check_text(text: str, key: str, file: str | None) -> None:
    """Databases keep no text with NUL, UTF-8 has no halves of surrogate pairs; and a novel is no policy."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise CatalogError(
            f"half of a surrogate pair at {error.start}", key=key, mend="Write whole characters", file=file
        ) from None
    if size > MAX_TEXT_BYTES:
        raise CatalogError(
            f"has {size:,} bytes", key=key, mend=f"A text may have {MAX_TEXT_BYTES:,}", file=file
        )
    if "\0" in text:
        at = text.index("\0")
        raise CatalogError(f"a NUL character at {at}", key=key, mend="Save it as text in UTF-8", file=file)


def _check_acceptance(change: Change, methods: Iterable[str], where: str) -> None:
    known = (*ACCEPTANCE_METHODS, Method.CONTINUED_USE.value)
    for method in methods:
        if method not in known:
            raise CatalogError(
                f"method {method!r} is not known", key=where, mend=f"Known: {', '.join(known)}"
            )
        if change is Change.REDUCES_RIGHTS and method not in EXPRESS_METHODS:
            mend = f"List {' or '.join(EXPRESS_METHODS)}, or leave the list out"
            raise CatalogError(f"less rights need an express act, not {method!r}", key=where, mend=mend)
