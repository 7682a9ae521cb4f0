"""Signals (blinker), sent after commit when we own the transaction. The sender is the kit.

`consent_recorded(kit, subject=…, tenant=…, events=[Event, …])`: answers were recorded.
`processing_blocked(kit, decision=Decision, subject=…)`: a gate stopped processing.
"""

from __future__ import annotations

from blinker import Namespace

_signals = Namespace()

consent_recorded = _signals.signal("consent-recorded")
processing_blocked = _signals.signal("processing-blocked")
