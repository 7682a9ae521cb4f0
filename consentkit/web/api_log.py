"""The log itself: proofs, the signed checkpoint, the public key, and the tree by tiles (c2sp.org/tlog-tiles).

Nothing here is about a person but the proof, which holds the body of one event; the rest is hashes of blinded
commitments.
"""

from __future__ import annotations

import re

from flask import Response, make_response

from consentkit.core.merkle import TILE_WIDTH
from consentkit.store.proving import NotSealed
from consentkit.web.api_feed import found_event
from consentkit.web.api_request import Call, Refused, query

RETRY = "5"  # seconds; the sealer comes by every second
_LEVEL = re.compile(r"[0-9]|[1-5][0-9]|6[0-3]")
_TILE = re.compile(r"((?!x000)(?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")


def proof(call: Call, event_id: str) -> Response:
    """`GET events/<id>/proof`: the tlog-proof of one event; another tenant's is not found."""
    query()
    event = found_event(call, event_id)
    try:
        return _text(call.kit.ledger.prove(event.event_id))
    except NotSealed:
        detail = "The event is recorded and not sealed yet, so there is no proof. Try again later."
        raise Refused(409, "not-sealed", "Not sealed", detail, headers={"Retry-After": RETRY}) from None
    except LookupError:  # destroyed since it was found
        raise Refused(404, "unknown-event", "Not found", "There is no such event.") from None


def checkpoint(call: Call) -> Response:
    """`GET checkpoint`: the latest signed note over size and root of the tree."""
    query()
    note = call.kit.ledger.checkpoint()
    if note is None:
        raise Refused(404, "no-checkpoint", "Not found", "Nothing was sealed yet; the sealer has to run.")
    return _text(note)


def log_key(call: Call) -> Response:
    """`GET log-key`: the public key of the log, as signed notes write it."""
    query()
    key = call.kit.ledger.key
    if key is None:
        detail = (
            "This process has no key of the log: its operator sets CONSENTKIT_LOG_KEY, or restores the file."
        )
        raise Refused(404, "no-log-key", "Not found", detail)
    return _text(f"{key}\n")


def tile(call: Call, level: str, tile: str) -> Response:
    """`GET tile/<L>/<N>[.p/<W>]`: hashes that stand side by side, 256 of them unless it is a partial tile."""
    query()
    hashes = _hashes(call, level, tile)
    if hashes is None:
        detail = "There is no such tile within the size of the latest checkpoint."
        raise Refused(404, "unknown-tile", "Not found", detail)
    response = make_response(hashes)
    response.content_type = "application/octet-stream"
    return response


def _hashes(call: Call, level: str, tile: str) -> bytes | None:
    found = _TILE.fullmatch(tile)
    if found is None or not _LEVEL.fullmatch(level):
        return None
    width = int(found[2] or TILE_WIDTH)
    if found[2] and width >= TILE_WIDTH:
        return None
    return call.kit.ledger.tile(int(level), int(re.sub("[x/]", "", found[1])), width)


def _text(text: str) -> Response:
    response = make_response(text)
    response.content_type = "text/plain; charset=utf-8"
    return response
