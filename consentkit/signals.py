"""Signals (blinker). The sender is the kit; answers are told after commit when we own the transaction.

`consent_recorded(kit, subject=…, tenant=…, events=[Event, …])`: answers were recorded.
`processing_blocked(kit, decision=Decision, subject=…)`: a gate stopped processing.
`delete_required(kit, subject=…, tenant=…, purposes=[…], reason=…, reminder=False)`: a child's data have to go.
`decision_made(kit, asked="analytics", decision=Decision, subject=…, tenant=…)`: somebody asked what is allowed now.
`audience_read(kit, asked="analytics", tenant=…, scope=…)`: somebody asks for all that are allowed. For tests.
"""

from __future__ import annotations

import logging
from types import CoroutineType
from typing import Any

from blinker import Namespace, Signal

from consentkit import logs

_signals = Namespace()

consent_recorded = _signals.signal("consent-recorded")
processing_blocked = _signals.signal("processing-blocked")
decision_made = _signals.signal("decision-made")
audience_read = _signals.signal("audience-read")
delete_required = _signals.signal("delete-required")


def tell(signal: Signal, sender: object, **said: Any) -> None:
    """Call every receiver. Receivers listen, they have no say: one that raises is logged, the others are called.

    What they are told has happened: an answer is recorded, a gate has decided. An error of a receiver must not
    turn a withdrawal that is in the ledger into a failed request.
    """
    if not signal.receivers or signal.is_muted:
        return
    for receiver in signal.receivers_for(sender):
        try:
            made = receiver(sender, **said)
            if isinstance(made, CoroutineType):
                made.close()
                raise TypeError("a receiver of a signal is a plain function, not a coroutine")
        except Exception as error:
            logs.log(
                logging.ERROR,
                "receiver_failed",
                "a receiver of %(signal)s failed: %(receiver)s raised %(error)s\n%(where)s",
                signal=str(getattr(signal, "name", signal)),
                receiver=getattr(receiver, "__qualname__", type(receiver).__name__),
                error=type(error).__name__,
                where=logs.where(error),
            )
