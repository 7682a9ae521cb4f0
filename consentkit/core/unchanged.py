"""A published version is for ever: what the catalogue says of it now has to be what was published."""

from __future__ import annotations

import hashlib

from consentkit.core.catalog import ACCEPTANCE_METHODS, EXPRESS_METHODS, PolicyVersion
from consentkit.core.errors import CatalogError
from consentkit.core.published import PolicyRelease
from consentkit.core.times import rfc3339, to_us


def check_unchanged(policy: str, version: PolicyVersion, release: PolicyRelease) -> None:
    """Raise CatalogError for a text, language, class, date or list of acts other than the published one."""
    where = f"policies.{policy}.versions.{version.version}"
    _check_texts(where, version, release)
    if version.change is not release.change:
        raise CatalogError(
            f"is published as {release.change}, the catalogue says {version.change}",
            key=f"{where}.change",
            mend=f'Write change = "{release.change}"; a new class needs a new version',
        )
    if not _same_date(version, release):
        said = rfc3339(to_us(version.effective)) if version.effective else "no date"
        raise CatalogError(
            f"is published with {rfc3339(release.effective_us)}, the catalogue says {said}",
            key=f"{where}.effective",
            mend=f"Write effective = {rfc3339(release.effective_us)}; another date needs a new version",
        )
    if not _same_acts(version, release):
        raise CatalogError(
            f"is published with {', '.join(release.acceptance)}, the catalogue says "
            f"{', '.join(version.acceptance)}",
            key=f"{where}.acceptance",
            mend="Put the published list back; another list needs a new version",
        )


def _check_texts(where: str, version: PolicyVersion, release: PolicyRelease) -> None:
    for locale, published in release.texts.items():
        key, file = f"{where}.files.{locale}", version.files.get(locale)
        if locale not in version.texts:
            raise CatalogError(
                f"the text is missing; it is published with digest {published}",
                key=key,
                mend="Put its line and its file back: what was published stays readable",
            )
        now = hashlib.sha256(version.texts[locale].encode()).hexdigest()
        if now != published:
            raise CatalogError(
                f"version {version.version!r} ({locale}) is published with digest {published}, "
                f"the file has {now}",
                key=key,
                file=file,
                mend="Put the published text back, and add a new version with the changed text",
            )
    for locale in version.texts.keys() - release.texts.keys():
        raise CatalogError(
            f"version {version.version!r} was published without it",
            key=f"{where}.files.{locale}",
            file=version.files.get(locale),
            mend='Take it out, and add a version with change = "editorial" and all languages: '
            "nobody is asked again",
        )


def _same_date(version: PolicyVersion, release: PolicyRelease) -> bool:
    """No date means: when published. A date that was past by then was taken for that, too."""
    at_once = release.effective_us == release.published_us
    if version.effective is None:
        return at_once
    said = to_us(version.effective)
    return said == release.effective_us or (at_once and said <= release.published_us)


def _same_acts(version: PolicyVersion, release: PolicyRelease) -> bool:
    """The default list is not compared: another release of this package may have another one."""
    default = version.acceptance in (ACCEPTANCE_METHODS, EXPRESS_METHODS)
    return default or set(version.acceptance) == set(release.acceptance)
