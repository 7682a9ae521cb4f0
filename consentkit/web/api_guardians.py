"""Inviting guardians over the API: the message is sent by this app's own guardian_mailer."""

from __future__ import annotations

from flask import Response

from consentkit.core.errors import (
    AskedTooOften,
    ChoiceRejected,
    MessageNotSent,
    NotSetUp,
    UnknownPolicy,
    UnknownPurpose,
)
from consentkit.core.times import rfc3339, to_us
from consentkit.web import api_schemas as schemas
from consentkit.web.api_request import Call, Refused, body, json_answer, kind_of, query


def invitations(call: Call) -> Response:
    """`POST invitations`: asks a guardian; the same answer for known and unknown contacts."""
    query()
    said = body(schemas.InvitationSchema)
    try:
        number = call.kit.invite_guardian(
            said.pop("subject"), said.pop("purposes"), tenant=call.tenant, **said
        )
    except (UnknownPurpose, UnknownPolicy) as error:
        raise Refused(422, "unknown-item", "Unknown item", str(error)) from None
    except AskedTooOften as error:
        raise _too_often(call, error) from None
    except ChoiceRejected as error:
        raise Refused(422, kind_of(error), "Choice rejected", str(error)) from None
    except ValueError as error:
        raise Refused(422, "invalid-body", "Invalid body", str(error)) from None
    except NotSetUp as error:
        raise Refused(501, "guardians-not-set-up", "Not implemented", str(error)) from None
    except MessageNotSent as error:
        raise Refused(502, "message-not-sent", "Bad gateway", str(error)) from None
    return json_answer({"invitation": number})


def _too_often(call: Call, error: AskedTooOften) -> Refused:
    again_us = to_us(error.again_at) if error.again_at is not None else call.kit.runtime.clock.now()
    seconds = max(1, (again_us - call.kit.runtime.clock.now()) // 1_000_000)
    headers = {"Retry-After": str(seconds)}
    return Refused(
        *(429, kind_of(error), "Too many requests", str(error)), headers=headers, again_at=rfc3339(again_us)
    )
