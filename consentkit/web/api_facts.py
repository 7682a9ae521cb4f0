"""Facts about a subject, from a program that knows them: age and place."""

from __future__ import annotations

from flask import Response

from consentkit.core.minors import Age
from consentkit.web import api_schemas as schemas
from consentkit.web.api_request import Call, Refused, body, json_answer, query


def facts(call: Call, subject: str) -> Response:
    """`PUT subjects/<subject>/facts`: of an age only the band is kept; nothing about an erased subject."""
    query()
    said = body(schemas.FactsSchema)
    age, kit = None, call.kit
    try:
        if "age" in said or "born" in said:
            age = Age(years=said.get("age"), born=said.get("born"))
        kit.learn(subject, age=age, jurisdiction=said.get("jurisdiction"), tenant=call.tenant)
    except ValueError as error:
        raise Refused(422, "invalid-body", "Invalid body", str(error)) from None
    known = kit.runtime.reader.state(call.tenant, subject).facts
    shown = {
        "band": known.band.value,
        "minor_until_us": known.minor_until_us,
        "jurisdiction": known.jurisdiction,
    }
    return json_answer({"subject": subject, "facts": shown})
