"""The bodies that the API takes: every field by name, wrong types and unknown fields refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from marshmallow import Schema, ValidationError, fields, validates_schema
from marshmallow.validate import Length, OneOf, Range, Regexp

from consentkit.core.ids import SUBJECT_BYTES
from consentkit.core.terms import Method
from consentkit.core.verification import GuardianMethod

SUBJECTS = 1000
ACTOR = r"subject|operator|guardian:[0-9]{1,9}"
LOCALE = r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8}){0,7}"
SCOPE = r"[\x21-\x7e]{0,200}"
DIGEST = r"[0-9a-f]{64}"
JURISDICTION = r"[A-Z]{2}(?:-[A-Z0-9]{1,3})?"
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})?"
)
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


def moment(text: str) -> datetime:
    """An instant from RFC 3339 text. Raises ValueError: malformed, without an offset, or before 1970."""
    found = _RFC3339.fullmatch(text.upper())
    if found is None:
        raise ValueError("write an instant as RFC 3339, such as 2026-01-31T12:00:00Z")
    if found[2] is None:
        raise ValueError("a time zone is missing: add Z or an offset such as +01:00")
    when = datetime.fromisoformat(text.upper())
    if when < _EARLIEST:
        raise ValueError("instants before 1970 are not taken")
    return when


def check_id(text: str) -> None:
    """Raise ValueError for what cannot be the id of a subject."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError("an id is valid Unicode text") from None
    if not 0 < size <= SUBJECT_BYTES or "\0" in text:
        raise ValueError(f"an id has 1 to {SUBJECT_BYTES} bytes of UTF-8 and no NUL")


class _Moment(fields.Field[datetime]):
    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any
    ) -> datetime:
        try:
            return moment(value)
        except (AttributeError, TypeError):
            raise ValidationError("Not a valid string.") from None
        except ValueError as error:
            raise ValidationError(str(error)) from error


def _subject(text: str) -> None:
    try:
        check_id(text)
    except ValueError as error:
        raise ValidationError(str(error)) from error


def _pattern(pattern: str, error: str) -> Regexp:
    return Regexp(rf"(?:{pattern})\Z", error=error)


class AnswerSchema(Schema):
    """How something was said. All but `action` may be left out."""

    method = fields.String(load_default=Method.API.value, validate=OneOf([m.value for m in Method]))
    locale = fields.String(validate=_pattern(LOCALE, "a BCP 47 tag such as en or zh-Hans"))
    notice = fields.String(validate=_pattern(DIGEST, "a SHA-256 digest: 64 lower-case hex digits"))
    actor = fields.String(validate=_pattern(ACTOR, "subject, operator or guardian:<number>"))
    at = _Moment()


class ConsentSchema(AnswerSchema):
    """`PUT subjects/<subject>/consents/<purpose>`."""

    action = fields.String(required=True, validate=OneOf(["given", "renewed", "refused", "withdrawn"]))
    scope = fields.String(validate=_pattern(SCOPE, "at most 200 printable ASCII characters, no spaces"))


class AcceptanceSchema(AnswerSchema):
    """`PUT subjects/<subject>/policies/<policy>`."""

    action = fields.String(required=True, validate=OneOf(["accepted", "declined"]))


class InvitationSchema(Schema):
    """`POST invitations`."""

    subject = fields.String(required=True, validate=_subject)
    purposes = fields.List(fields.String(), required=True, validate=Length(min=1, max=50))
    contact = fields.String(required=True, validate=Length(min=1, max=320))
    method = fields.String(required=True, validate=OneOf([m.value for m in GuardianMethod]))
    child = fields.String(load_default="", validate=Length(max=80))
    locale = fields.String(validate=_pattern(LOCALE, "a BCP 47 tag such as en or zh-Hans"))


class _Whole(fields.Integer):
    """A whole number; marshmallow takes true for one."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **named: Any) -> int:
        if isinstance(value, bool):
            raise ValidationError("Not a valid integer.")
        return super()._deserialize(value, attr, data, **named)


class _Day(fields.Field[date]):
    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any) -> date:
        if not isinstance(value, str) or not _DATE.fullmatch(value):
            raise ValidationError("write a date such as 2014-05-01")
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise ValidationError("there is no such day") from None


class FactsSchema(Schema):
    """`PUT subjects/<subject>/facts`. At least one; an age by years, or by the date of birth."""

    age = _Whole(strict=True, validate=Range(min=0, max=150))
    born = _Day()
    jurisdiction = fields.String(
        validate=_pattern(JURISDICTION, "a jurisdiction of ISO 3166, such as DE or US-CA")
    )

    @validates_schema
    def _says_something(self, data: dict[str, Any], **_: Any) -> None:
        if not data:
            raise ValidationError("say age or born, jurisdiction, or both")
        if "age" in data and "born" in data:
            raise ValidationError("say age or born, not both")


class BatchSchema(Schema):
    """`POST decisions`."""

    subjects = fields.List(
        fields.String(validate=_subject), required=True, validate=Length(min=1, max=SUBJECTS)
    )
    item = fields.String(required=True)
    scope = fields.String(
        load_default="", validate=_pattern(SCOPE, "at most 200 printable ASCII characters, no spaces")
    )


def load(schema: type[Schema], body: object) -> dict[str, Any]:
    """The checked fields. Raises ValidationError."""
    loaded: dict[str, Any] = schema().load(body)  # type: ignore[arg-type]
    return loaded


def pointers(messages: object, where: str = "#") -> list[dict[str, str]]:
    """The messages of a ValidationError as the list `errors` of a problem (RFC 9457, appendix A)."""
    if isinstance(messages, Mapping):
        inner = [(where if k == "_schema" else f"{where}/{_escape(str(k))}", v) for k, v in messages.items()]
        return [found for place, value in inner for found in pointers(value, place)]
    listed = messages if isinstance(messages, list) else [messages]
    return [{"pointer": where, "detail": str(message)} for message in listed]


def _escape(key: str) -> str:
    shown = key.encode("utf-8", "replace").decode()[:100]
    return shown.replace("~", "~0").replace("/", "~1")
