"""What is asked: catalogue, policies with every version, texts by digest; and the API's own description."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from flask import Response, make_response, url_for

from consentkit.core.catalog import Catalog, Cookie, Party, Purpose
from consentkit.core.published import PolicyRelease
from consentkit.core.texts import texts
from consentkit.core.times import rfc3339
from consentkit.web.api_request import Call, Refused, json_answer, query
from consentkit.web.api_schemas import DIGEST
from consentkit.web.own_cookies import own_cookies
from consentkit.web.state import BLUEPRINT, current_state

OPENAPI = Path(__file__).parent.parent / "static" / "openapi.json"


def catalog(call: Call) -> Response:
    """`GET catalog`: categories, purposes, parties, policies and bundles, and the digests of the notices."""
    query()
    kit = call.kit
    shown = kit.catalog
    return json_answer(
        {
            "revision": kit.revision,
            "controller": {"name": shown.controller.name, "contact": shown.controller.contact},
            "site": shown.site.name,
            "locales": list(shown.locales),
            "notices": {locale: kit.notice(locale).digest for locale in shown.locales},
            "categories": [
                {
                    "key": c.key,
                    "title": _text(c.title) or _built_in(shown, f"category.{c.key}.title") or c.key,
                    "description": _text(c.description) or _built_in(shown, f"category.{c.key}.description"),
                    "regime": c.regime.value if c.regime is not None else None,
                    "purposes": [p.key for p in shown.in_category(c.key)],
                }
                for c in shown.categories.values()
            ],
            "purposes": [_purpose(p) for p in shown.purposes.values()],
            "parties": [_party(p) for p in shown.parties.values()],
            "own_cookies": [
                {
                    "name": cookie.name,
                    "description": {
                        locale: texts(locale)[f"cookie.{cookie.what}"] for locale in shown.locales
                    },
                    "duration": cookie.lasts,
                }
                for cookie in own_cookies(current_state())
            ],
            "policies": list(shown.policies),
            "bundles": [{"key": b.key, "policies": list(b.policies)} for b in shown.bundles.values()],
        }
    )


def policies(call: Call) -> Response:
    """`GET policies`: each with all its published versions, oldest first, and the one in force."""
    query()
    kit = call.kit
    published = kit.runtime.published.policies
    listed = []
    for key, policy in kit.catalog.policies.items():
        in_force = kit.policy_in_effect(key)
        listed.append(
            {
                "key": key,
                "title": _text(policy.title),
                "kind": policy.kind,
                "required": policy.required,
                "in_force": None if in_force is None else in_force.version,
                "versions": [_release(release) for release in published.get(key, ())],
            }
        )
    return json_answer({"policies": listed})


def stats(call: Call) -> Response:
    """`GET stats`: how many subjects there are, and how many last answers say the same."""
    query()
    return json_answer(call.kit.stats(tenant=call.tenant))


def document(call: Call, digest: str) -> Response:
    """`GET documents/<digest>`: the very bytes of a policy text or notice; their SHA-256 is the digest."""
    query()
    found = call.kit.document(digest) if re.fullmatch(DIGEST, digest) else None
    if found is None or not _for_people(*found):
        raise Refused(404, "unknown-document", "Not found", "There is no text with this digest.")
    media_type, content = found
    response = make_response(content.encode())
    response.content_type = f"{media_type}; charset=utf-8" if media_type.startswith("text/") else media_type
    return response


def openapi() -> Response:
    """`GET openapi.json`: the OpenAPI 3.1 description, with this app's own address."""
    here = url_for(f"{BLUEPRINT}_api.openapi").removesuffix("/openapi.json")
    return json_answer({**_description(), "servers": [{"url": here}]})


@cache
def _description() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(OPENAPI.read_text("utf-8"))
    return read


def _for_people(media_type: str, content: str) -> bool:
    """Whether it was shown to people. A stored catalogue was not: it may name a party's webhook."""
    return media_type != "application/json" or "locale" in json.loads(content)


def _text(text: object) -> object:
    return text if isinstance(text, str) else dict(text)  # type: ignore[call-overload]


def _built_in(shown: Catalog, name: str) -> dict[str, str] | str:
    """What people read where the catalogue says nothing, by locale; an empty text where nothing is built in."""
    return {locale: texts(locale)[name] for locale in shown.locales} if name in texts("en") else ""


def _purpose(purpose: Purpose) -> dict[str, Any]:
    flags = ("explicit", "separate", "scoped", "sensitive", "core")
    lists = ("policies", "data", "recipients", "locations", "signals", "dpv", "gcm")
    return {
        "key": purpose.key,
        "title": _text(purpose.title),
        "description": _text(purpose.description),
        "version": purpose.version,
        "category": purpose.category,
        "basis": purpose.basis.value,
        **{name: getattr(purpose, name) for name in flags},
        **{name: list(getattr(purpose, name)) for name in lists},
        "valid_for": purpose.valid_for,
        "reask_after": purpose.reask_after,
        "retention": purpose.retention,
        "minors": purpose.minors,
        "assurance": purpose.assurance,
        "cookies": [_cookie(c) for c in purpose.cookies],
    }


def _cookie(cookie: Cookie) -> dict[str, Any]:
    about = {"name": cookie.name, "description": _text(cookie.description), "duration": cookie.duration}
    return {**about, "path": cookie.path, "domain": cookie.domain}


def _party(party: Party) -> dict[str, Any]:
    names = ("key", "name", "url", "contact", "address", "country", "role", "processor")
    return {**{name: getattr(party, name) for name in names}, "hosts": list(party.hosts)}


def _release(release: PolicyRelease) -> dict[str, Any]:
    return {
        "version": release.version,
        "change": release.change.value,
        "effective_at": rfc3339(release.effective_us),
        "published_at": rfc3339(release.published_us),
        "acceptance": list(release.acceptance),
        "texts": dict(release.texts),
    }
