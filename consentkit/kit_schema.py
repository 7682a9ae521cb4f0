"""The shape of `consent.toml`, for marshmallow. Meaning is checked in `core.catalog_rules`."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from marshmallow import INCLUDE, Schema, ValidationError, fields, validate, validates_schema

from consentkit.core.terms import Assurance, Basis, Change, Regime
from consentkit.core.verification import GuardianMethod


class LocalText(fields.Field[Any]):
    """A text, or a table of texts by locale."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if isinstance(value, str):
            return value
        if isinstance(value, dict) and value and all(isinstance(v, str) for v in value.values()):
            return value
        raise ValidationError(
            'is neither a text nor a table of texts. Write a text, or a table by locale {en = "…", de = "…"}'
        )


class TomlDate(fields.Field[Any]):
    """A TOML date, or a date-time with its offset."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if isinstance(value, datetime):
            if value.tzinfo is None:
                raise ValidationError(
                    "lacks its offset. Write a date, or a date-time such as 2027-01-01T00:00:00Z"
                )
            return value
        if isinstance(value, date):
            return value
        raise ValidationError("is not a date. Write a TOML date without quotes, such as 2027-01-01")


def strings() -> fields.List[Any]:
    """An optional list of texts."""
    return fields.List(fields.Str())


def one_of(values: Any) -> fields.Str:
    """A text out of a closed list."""
    known = [str(value) for value in values]
    return fields.Str(
        validate=validate.OneOf(known, error=f"{{input!r}} is not known. Write one of {', '.join(known)}")
    )


def table(nested: type[Schema]) -> fields.Dict:
    """Tables by key."""
    return fields.Dict(keys=fields.Str(), values=fields.Nested(nested), load_default=dict)


class ControllerSchema(Schema):
    """[controller]"""

    name = fields.Str(required=True, validate=validate.Length(min=1))
    contact = fields.Str(required=True, validate=validate.Length(min=1))
    address = fields.Str()
    country = fields.Str()


class SiteSchema(Schema):
    """[site]"""

    name = fields.Str(required=True, validate=validate.Length(min=1))
    default_locale = fields.Str()
    locales = strings()
    default_jurisdiction = fields.Str()
    visitor_retention = fields.Str()
    erasure_deadline = fields.Str()
    link = one_of(["strictest", "explicit_choice"])


class CategorySchema(Schema):
    """[categories.<key>]"""

    title = LocalText(required=True)
    description = LocalText()
    regime = one_of(Regime)


class CookieSchema(Schema):
    """One of purposes.<key>.cookies"""

    name = fields.Str(required=True, validate=validate.Length(min=1))
    description = LocalText()
    duration = fields.Str()
    path = fields.Str()
    domain = fields.Str()


class PurposeSchema(Schema):
    """[purposes.<key>]"""

    title = LocalText(required=True)
    description = LocalText()
    version = fields.Int(strict=True)
    category = fields.Str()
    basis = one_of(Basis)
    explicit = fields.Bool(truthy={True}, falsy={False})
    separate = fields.Bool(truthy={True}, falsy={False})
    scoped = fields.Bool(truthy={True}, falsy={False})
    sensitive = fields.Bool(truthy={True}, falsy={False})
    core = fields.Bool(truthy={True}, falsy={False})
    policies = strings()
    valid_for = fields.Str()
    reask_after = fields.Str()
    retention = fields.Str()
    data = strings()
    recipients = strings()
    locations = strings()
    cookies = fields.List(fields.Nested(CookieSchema))
    minors = fields.Str()
    assurance = fields.Str()
    signals = strings()
    dpv = strings()
    gcm = strings()


class PartySchema(Schema):
    """[parties.<key>]"""

    name = fields.Str(required=True)
    url = fields.Str()
    contact = fields.Str()
    address = fields.Str()
    country = fields.Str()
    role = fields.Str()
    hosts = strings()
    processor = fields.Bool(truthy={True}, falsy={False})
    webhook = fields.Str()


class PolicyVersionSchema(Schema):
    """[[policies.<key>.versions]]"""

    version = fields.Str(required=True, validate=validate.Length(min=1))
    change = one_of(Change)
    effective = TomlDate()
    acceptance = strings()
    files = fields.Dict(
        keys=fields.Str(), values=fields.Str(), required=True, validate=validate.Length(min=1)
    )
    summary = LocalText()


class PolicySchema(Schema):
    """[policies.<key>]"""

    title = LocalText(required=True)
    required = fields.Bool(truthy={True}, falsy={False})
    kind = one_of(["policy", "announcement"])
    audience = one_of(["all", "selected"])
    minors = one_of(["guardian", "allowed"])
    versions = fields.List(fields.Nested(PolicyVersionSchema), required=True)


class BundleSchema(Schema):
    """[bundles.<key>]"""

    policies = fields.List(fields.Str(), required=True, validate=validate.Length(min=1))


class AgeSchema(Schema):
    """[minors.ages.<code>], in place of the package's row"""

    age = fields.Int(strict=True, required=True, validate=validate.Range(min=0, max=21))
    minor_until = fields.Int(strict=True, validate=validate.Range(min=0, max=21))
    actors = fields.List(one_of(["guardian", "subject"]), validate=validate.Length(min=1))
    verification = one_of(Assurance)
    forbidden = strings()
    zone = fields.Str()
    source = fields.Str(required=True, validate=validate.Length(min=1))
    as_of = TomlDate(required=True)


class RegimeSchema(Schema):
    """[regimes.<code>], in place of the package's row: every other key is a category"""

    class Meta:
        """Categories are keys of the file's own."""

        unknown = INCLUDE

    source = fields.Str(required=True, validate=validate.Length(min=1))
    as_of = TomlDate(required=True)

    @validates_schema
    def _regimes(self, data: dict[str, Any], **_: Any) -> None:
        for key, value in data.items():
            if key not in ("source", "as_of") and value not in list(Regime):
                known = ", ".join(Regime)
                raise ValidationError(f"{value!r} is not known. Write one of {known}", key)


class MinorsSchema(Schema):
    """[minors]"""

    age = fields.Int(strict=True, validate=validate.Range(min=1, max=21))
    children = one_of(["guardian", "not_allowed"])
    unknown_age = one_of(["adult", "minor", "ask"])
    guardians = one_of(["any", "all"])
    methods = fields.List(one_of(GuardianMethod), validate=validate.Length(min=1))
    invitation_valid_for = fields.Str()
    confirm_after = fields.Str()
    purge_after = fields.Str()
    ages = table(AgeSchema)


class ExceptionSchema(Schema):
    """[exceptions.<key>]"""

    title = LocalText(required=True)
    description = LocalText()
    source = fields.Str()
    purposes = fields.List(fields.Str(), validate=validate.Length(min=1))


class FileSchema(Schema):
    """The whole file."""

    controller = fields.Nested(ControllerSchema, required=True)
    site = fields.Nested(SiteSchema, required=True)
    categories = table(CategorySchema)
    purposes = table(PurposeSchema)
    parties = table(PartySchema)
    policies = table(PolicySchema)
    bundles = table(BundleSchema)
    minors = fields.Nested(MinorsSchema, load_default=None)
    regimes = table(RegimeSchema)
    exceptions = table(ExceptionSchema)
