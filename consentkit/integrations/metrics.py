"""Metrics for Prometheus: `Metrics(consent)`. Needs the extra `consentkit[metrics]`.

Labels are keys of the catalogue and words of closed lists; nothing about a person, and no key that a request made up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from consentkit import logs
from consentkit.core.catalog import Catalog
from consentkit.core.errors import ConsentKitError
from consentkit.core.gate import Decision
from consentkit.core.record import Event
from consentkit.core.terms import Reason
from consentkit.signals import consent_recorded, decision_made, processing_blocked
from consentkit.store.lag import Lag, read_lag

if TYPE_CHECKING:
    from consentkit.kit import Kit

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter
    from prometheus_client.core import GaugeMetricFamily
    from prometheus_client.registry import Collector
except ImportError:
    raise ConsentKitError("metrics need prometheus-client: pip install 'consentkit[metrics]'") from None

OTHER = "other"


class Metrics:
    """Counts a kit's decisions, blocked processing and answers, and shows how far behind its ledger is.

    Without it nothing is counted and nothing costs. Raises ValueError for a second one in the same registry.
    """

    def __init__(self, kit: Kit, registry: CollectorRegistry = REGISTRY) -> None:
        self._decisions = Counter(
            "consentkit_decisions",
            "Answers of the gate to questions about the present.",
            ["item", "reason"],
            registry=registry,
        )
        self._blocked = Counter(
            "consentkit_blocked", "Processing that a gate stopped.", ["item", "reason"], registry=registry
        )
        self._answers = Counter(
            "consentkit_answers", "Answers that were recorded.", ["item", "action"], registry=registry
        )
        self._counted: dict[tuple[str, Reason], Counter] = {}
        registry.register(LedgerCollector(kit))
        decision_made.connect(self._decided, sender=kit, weak=False)
        processing_blocked.connect(self._stopped, sender=kit, weak=False)
        consent_recorded.connect(self._recorded, sender=kit, weak=False)

    def _decided(self, kit: Kit, *, decision: Decision, **_about: object) -> None:
        what = (decision.item, decision.reason)
        counter = self._counted.get(what)
        if counter is None:  # decisions are frequent: the labels are looked up once
            item = _item(kit.catalog, decision.item)
            counter = self._counted[what] = self._decisions.labels(item, decision.reason.value)
        counter.inc()

    def _stopped(self, kit: Kit, *, decision: Decision, **_about: object) -> None:
        self._blocked.labels(_item(kit.catalog, decision.item), decision.reason.value).inc()

    def _recorded(self, kit: Kit, *, events: Sequence[Event], **_about: object) -> None:
        for event in events:
            item = _item(kit.catalog, event.item, event.kind)
            self._answers.labels(item, event.action).inc()


class LedgerCollector(Collector):
    """Reads at each scrape what waits: to be sealed, to be read by followers, to be delivered.

    `Metrics` registers one. With several processes register it yourself, in the registry that is scraped.
    """

    def __init__(self, kit: Kit) -> None:
        self._kit = kit

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """The names, so that registering reads no ledger."""
        return [_gauge("ledger_up"), *(_gauge(name) for name in _TEXTS if name != "ledger_up")]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges. A ledger that cannot be used is `consentkit_ledger_up 0` and nothing more."""
        try:
            runtime = self._kit.runtime
            runtime.ensure()
            lag, now_us = runtime.database.read(read_lag), runtime.clock.now()
        except Exception as error:
            logs.unavailable(error)
            yield _gauge("ledger_up", 0)
            return
        yield _gauge("ledger_up", 1)
        yield from _gauges(lag, now_us)


_TEXTS: Mapping[str, tuple[str, str | None]] = {
    "ledger_up": ("Whether the ledger can be used.", None),
    "unsealed_events": ("Events that wait to be sealed.", None),
    "unsealed_oldest_seconds": ("Age of the oldest event that waits to be sealed.", None),
    "follower_behind_events": ("Sealed events that a follower has not handled.", "follower"),
    "unqueued_events": ("Sealed events that are not queued for recipients yet.", None),
    "unqueued_oldest_seconds": ("Age of the oldest event that is not queued yet.", None),
    "undelivered_messages": ("Messages that wait for a recipient.", "recipient"),
    "undelivered_oldest_seconds": ("Age of the oldest message that waits for a recipient.", "recipient"),
}


def _gauges(lag: Lag, now_us: int) -> Iterator[GaugeMetricFamily]:
    yield _gauge("unsealed_events", lag.unsealed)
    yield _gauge("unsealed_oldest_seconds", _age_s(lag.unsealed_since_us, now_us))
    yield _gauge("follower_behind_events", lag.behind)
    yield _gauge("unqueued_events", lag.unqueued)
    yield _gauge("unqueued_oldest_seconds", _age_s(lag.unqueued_since_us, now_us))
    yield _gauge("undelivered_messages", lag.undelivered)
    ages = {recipient: _age_s(us, now_us) for recipient, us in lag.undelivered_since_us.items()}
    yield _gauge("undelivered_oldest_seconds", ages)


def _gauge(name: str, value: float | Mapping[str, float] | None = None) -> GaugeMetricFamily:
    text, label = _TEXTS[name]
    made = GaugeMetricFamily(f"consentkit_{name}", text, labels=[label] if label else None)
    if isinstance(value, Mapping):
        for key, number in value.items():
            made.add_metric([key], number)
    elif value is not None:
        made.add_metric([], value)
    return made


def _age_s(since_us: int | None, now_us: int) -> float:
    return 0.0 if since_us is None else max(0, now_us - since_us) / 1e6


def _item(catalog: Catalog, key: str, unknown: str = OTHER) -> str:
    """A key of the catalogue as a label."""
    key = key.removeprefix("purpose:")
    known = (catalog.purposes, catalog.policies, catalog.categories, catalog.bundles)
    return key if any(key in keys for keys in known) else unknown
