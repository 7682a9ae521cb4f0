"""`consent.toml`: read, checked by marshmallow at the border, turned into a catalogue.

An error names the file, the key and what to write instead.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, time
from os import PathLike
from pathlib import Path
from stat import S_ISREG
from typing import Any

from marshmallow import ValidationError

from consentkit.core import catalog_rules
from consentkit.core.catalog import (
    Bundle,
    Catalog,
    Category,
    Controller,
    Cookie,
    ExceptionGround,
    MinorRules,
    Party,
    Policy,
    PolicyVersion,
    Purpose,
    Site,
)
from consentkit.core.errors import CatalogError
from consentkit.core.places import AgeRule, age_rule, age_rules, regime_rule
from consentkit.core.policy_rules import MAX_TEXT_BYTES
from consentkit.core.terms import Basis, Change
from consentkit.kit_mend import fault
from consentkit.kit_schema import FileSchema


def load(path: str | PathLike[str]) -> Catalog:
    """Read a catalogue. Raises CatalogError for the first fault, with the file's name in it."""
    file = Path(path)
    try:
        return _build(_checked(_read(file)), file.parent)
    except CatalogError as error:
        raise type(error)(error.message, key=error.key, mend=error.mend, file=str(path)) from None


def read_texts(policy: Policy, folder: Path) -> Policy:
    """The policy with the texts of its files. Raises CatalogError for a missing, huge or non-UTF-8 file."""
    return replace(policy, versions=tuple(_with_texts(policy.key, v, folder) for v in policy.versions))


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        mend = "Give the path from the working directory, or Path(__file__).with_name('consent.toml')"
        raise CatalogError(f"there is no such file ({file.resolve()})", mend=mend) from None
    except OSError as error:
        raise CatalogError(
            f"the file cannot be read: {error.strerror}", mend="Name a readable file"
        ) from None
    except UnicodeDecodeError as error:
        raise CatalogError(f"not UTF-8 at byte {error.start}", mend="Save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise CatalogError(f"not valid TOML: {error}", mend="Mend that line") from None
    except RecursionError:
        raise CatalogError(
            "nested too deeply", mend="Two or three levels are all there is to write"
        ) from None


def _checked(raw: dict[str, Any]) -> dict[str, Any]:
    try:
        data: dict[str, Any] = FileSchema().load(raw)
    except ValidationError as error:
        raise fault(error.messages, raw) from None
    return data


def _build(data: Mapping[str, Any], folder: Path) -> Catalog:
    policies = [_policy(key, table) for key, table in data["policies"].items()]
    return catalog_rules.build(
        controller=Controller(**data["controller"]),
        site=Site(**data["site"]),
        categories=[_category(key, table) for key, table in data["categories"].items()],
        purposes=[_purpose(key, table) for key, table in data["purposes"].items()],
        parties=[Party(key, **table) for key, table in data["parties"].items()],
        policies=[read_texts(policy, folder) for policy in policies],
        bundles=[Bundle(key, tuple(table["policies"])) for key, table in data["bundles"].items()],
        minors=_minors(data["minors"]) if data["minors"] is not None else None,
        regimes=[regime_rule(code, row) for code, row in data["regimes"].items()],
        exceptions=[ExceptionGround(key, **table) for key, table in data["exceptions"].items()],
    )


def _category(key: str, table: dict[str, Any]) -> Category:
    return Category(key, **table)


def _minors(table: dict[str, Any]) -> MinorRules:
    ages = [_age_rule(code, row) for code, row in table.pop("ages", {}).items()]
    return MinorRules(**table, ages=tuple(ages))


def _age_rule(code: str, row: dict[str, Any]) -> AgeRule:
    """A row of the file is laid over the package's row; a subdivision without one over its country's."""
    known = age_rules().get(code) or age_rules().get(code.partition("-")[0])
    over = {"forbidden": (), **(asdict(known) if known else {}), **row}
    over["minor_until"] = row.get("minor_until", max(row["age"], known.minor_until if known else 0))
    return age_rule(code, over)


def _purpose(key: str, table: dict[str, Any]) -> Purpose:
    cookies = tuple(Cookie(**cookie) for cookie in table.pop("cookies", ()))
    return Purpose(key, **{**table, "cookies": cookies, "basis": Basis(table.get("basis", Basis.CONSENT))})


def _policy(key: str, table: dict[str, Any]) -> Policy:
    versions = tuple(_version(version) for version in table.pop("versions"))
    return Policy(key, versions=versions, **table)


def _version(table: dict[str, Any]) -> PolicyVersion:
    plain = any(name.endswith(".txt") for name in table["files"].values())
    media = "text/plain" if plain else "text/markdown"
    given = {
        **table,
        "change": Change(table.get("change", Change.MATERIAL)),
        "effective": _moment(table.get("effective")),
    }
    return PolicyVersion(**given, media_type=media)


def _moment(value: date | datetime | None) -> datetime | None:
    """A TOML date means 00:00 UTC; a date-time without offset is refused by the schema."""
    if value is None or isinstance(value, datetime):
        return value
    return datetime.combine(value, time.min, UTC)


def _with_texts(policy: str, version: PolicyVersion, folder: Path) -> PolicyVersion:
    if not version.files:
        return version
    texts = {
        locale: _text(folder / name, f"policies.{policy}.versions.files.{locale}")
        for locale, name in version.files.items()
    }
    return replace(version, texts={**version.texts, **texts})


def _text(file: Path, key: str) -> str:
    try:
        about = file.stat()
        if not S_ISREG(about.st_mode):
            raise CatalogError(f"{file} is not a file", key=key, mend="Name a file with the text")
        if about.st_size > MAX_TEXT_BYTES:
            raise CatalogError(
                f"{file} has {about.st_size:,} bytes", key=key, mend=f"A text may have {MAX_TEXT_BYTES:,}"
            )
        return file.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise CatalogError(
            f"{file} is not UTF-8 at byte {error.start}", key=key, mend="Save it as UTF-8"
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        said = getattr(error, "strerror", None) or error
        mend = "Paths are relative to the TOML file"
        raise CatalogError(f"{str(file)!r} cannot be read: {said}", key=key, mend=mend) from None
