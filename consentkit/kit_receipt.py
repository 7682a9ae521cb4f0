"""The receipt: what a person keeps of the last answers, with the proof of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from consentkit.core.record import Event
from consentkit.core.terms import ANSWERS, Status
from consentkit.core.times import rfc3339
from consentkit.kit_deliveries import deliveries_of, received_by
from consentkit.kit_ledger import Ledger, event_json
from consentkit.runtime import Runtime


def receipt_of(
    runtime: Runtime, subject: str | None, events: Sequence[Event], status_of: Callable[[Event], Status]
) -> dict[str, Any]:
    """The receipt of all events of a subject. `status_of`: to what an answer has come by now."""
    ledger, controller = Ledger(runtime), runtime.catalog.controller
    last = {
        (e.kind, e.item, e.scope, e.actor): e
        for e in sorted(events, key=lambda e: e.effective_at)
        if e.action in ANSWERS
    }
    told = deliveries_of(runtime, list(last.values()))
    return {
        "schema": "consentkit/receipt/v1",
        "id": events[-1].event_id if events else None,
        "at": rfc3339(runtime.clock.now()),
        "subject": subject,
        "controller": {"name": controller.name, "contact": controller.contact},
        "log_key": ledger.key if last else None,
        "answers": [
            {
                **event_json(e),
                "status": str(status_of(e)),
                "proof": proof,
                "sealed": proof is not None,
                **received_by(runtime, e),
                "deliveries": [d.for_the_person for d in told if d.event_id == e.event_id],
            }
            for e, proof in zip(last.values(), ledger.proofs(list(last.values())), strict=True)
        ],
    }
