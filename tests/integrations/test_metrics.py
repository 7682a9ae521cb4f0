"""Metrics, scraped over HTTP the way a Prometheus server does it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from flask import Flask
from ledgers import OnPostgresql, OnSqlite, ShiftedClock, Suite, open_kit
from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.parser import text_string_to_metric_families

from consentkit import ConsentKit
from consentkit.integrations.metrics import LedgerCollector, Metrics
from consentkit.kit import Kit
from tests.web.conftest import make_app, make_kit

Sample = tuple[str, dict[str, str], float]


def scrape(url: str) -> list[Sample]:
    """Every sample of ours, without moments of creation."""
    with urlopen(url, timeout=20) as response:
        assert response.status == 200
        text = response.read().decode()
    samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
    return [(s.name, s.labels, s.value) for s in samples if not s.name.endswith("_created")]


def of(samples: list[Sample], name: str) -> dict[tuple[str, ...], float]:
    """The values of one metric by its labels' values, which are in the order of their names."""
    return {
        tuple(labels.values()): value for found, labels, value in samples if found == f"consentkit_{name}"
    }


# ---------------------------------------------------------------- counters


@pytest.fixture
def kit() -> ConsentKit:
    return make_kit()


@pytest.fixture
def app(kit: ConsentKit, tmp_path: Path) -> Flask:
    return make_app(kit, tmp_path)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metered(kit: ConsentKit, app: Flask, registry: CollectorRegistry) -> Flask:
    Metrics(kit, registry)
    return app


def test_decisions_blocked_and_answers(
    kit: ConsentKit, metered: Flask, registry: CollectorRegistry, live_server: Callable[[Any], str]
) -> None:
    site, metrics = live_server(metered), live_server(make_wsgi_app(registry))
    client = metered.test_client()
    for _ in range(3):
        client.get("/letters")
    kit.give("u-42", ["newsletter", "analytics"])
    kit.withdraw("u-42", "newsletter")
    kit.object("u-42")
    kit.decide_many(["u-42", "u-43"], "analytics")
    with urlopen(f"{site}/plain", timeout=20) as response:
        assert response.status == 200
    samples = scrape(metrics)
    assert of(samples, "decisions_total") == {
        ("newsletter", "NO_ANSWER"): 3,
        ("statistics", "RESTRICTED"): 1,
        ("statistics", "NO_ANSWER"): 1,
    }
    assert of(samples, "blocked_total") == {("newsletter", "NO_ANSWER"): 3}
    assert of(samples, "answers_total") == {
        ("given", "newsletter"): 1,
        ("given", "statistics"): 1,
        ("withdrawn", "newsletter"): 1,
        ("objected", "subject"): 1,
    }


def test_nothing_about_people_and_no_key_of_a_request_is_a_label(
    kit: ConsentKit, metered: Flask, registry: CollectorRegistry, live_server: Callable[[Any], str]
) -> None:
    client = metered.test_client()
    kit.refuse("ada@example.org", "newsletter", tenant="acme")
    kit.decide("ada@example.org", "newsletter", tenant="acme")
    client.get("/consent/accept/invented")
    client.post("/consent", data={"decision": "accept-all"}, headers={"Sec-Fetch-Site": "same-origin"})
    client.post("/consent", data={"decision": "save", "purpose": "invented"})
    with pytest.raises(LookupError):
        kit.decide("u-42", "invented")
    seen = {
        value for _, labels, _ in scrape(live_server(make_wsgi_app(registry))) for value in labels.values()
    }
    known = {
        *kit.catalog.purposes,
        *kit.catalog.policies,
        "NO_ANSWER",
        "REFUSED",
        "GIVEN",
        "given",
        "refused",
    }
    assert seen - known == set()
    assert "newsletter" in seen


def test_a_second_one_in_a_registry_is_refused(
    kit: ConsentKit, metered: Flask, registry: CollectorRegistry
) -> None:
    with pytest.raises(ValueError, match="Duplicated"):
        Metrics(kit, registry)


def test_kits_are_counted_apart(
    kit: ConsentKit,
    metered: Flask,
    registry: CollectorRegistry,
    live_server: Callable[[Any], str],
    tmp_path: Path,
) -> None:
    other, others = make_kit(), CollectorRegistry()
    make_app(other, tmp_path / "other")
    Metrics(other, others)
    other.decide("u-1", "newsletter")
    assert of(scrape(live_server(make_wsgi_app(registry))), "decisions_total") == {}
    assert of(scrape(live_server(make_wsgi_app(others))), "decisions_total") == {
        ("newsletter", "NO_ANSWER"): 1
    }


def test_without_prometheus_client_the_error_names_the_extra() -> None:
    code = "import sys; sys.modules['prometheus_client'] = None; import consentkit.integrations.metrics"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'consentkit[metrics]'" in done.stderr


def test_importing_consentkit_imports_no_prometheus_client() -> None:
    code = "import sys, consentkit, consentkit.extension; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


WORKER = """
import sys
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
import consentkit
from consentkit import Purpose
from consentkit.core.catalog_rules import build
from consentkit.integrations.metrics import LedgerCollector, Metrics

kit = consentkit.open(build(purposes=[Purpose("news", title="News")]), "sqlite:///ledger.sqlite3")
if sys.argv[1] == "work":
    Metrics(kit)
    kit.decide("u-1", "news")
else:
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    registry.register(LedgerCollector(kit))
    print(generate_latest(registry).decode())
"""


def test_several_processes(tmp_path: Path) -> None:
    (tmp_path / "counters").mkdir()
    (tmp_path / "worker.py").write_text(WORKER)
    root = str(Path(__file__).parents[2])
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": root, "PROMETHEUS_MULTIPROC_DIR": "counters"}
    seen = ""
    for what in ("work", "work", "scrape"):
        done = subprocess.run(
            *([sys.executable, "worker.py", what],),
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        seen = done.stdout
    assert 'consentkit_decisions_total{item="news",reason="NO_ANSWER"} 2.0' in seen
    assert "consentkit_ledger_up 1.0" in seen


# ---------------------------------------------------------------- the ledger's gauges


class Gauges(Suite):
    @pytest.fixture
    def scraped(self, kit: Kit, live_server: Callable[[Any], str]) -> Callable[[], list[Sample]]:
        registry = CollectorRegistry()
        registry.register(LedgerCollector(kit))
        url = live_server(make_wsgi_app(registry))
        return lambda: scrape(url)

    def test_what_waits_to_be_sealed(
        self, kit: Kit, clock: ShiftedClock, scraped: Callable[[], list[Sample]]
    ) -> None:
        assert of(scraped(), "unsealed_events") == {(): 0}
        assert of(scraped(), "unsealed_oldest_seconds") == {(): 0}
        kit.give("u-1", "news")
        clock.shift_us += 90_000_000
        kit.refuse("u-2", "news")
        samples = scraped()
        assert of(samples, "ledger_up") == {(): 1}
        assert of(samples, "unsealed_events") == {(): 2}
        assert 90 <= of(samples, "unsealed_oldest_seconds")[()] < 150
        kit.ledger.seal()
        assert of(scraped(), "unsealed_events") == {(): 0}

    def test_followers(self, kit: Kit, scraped: Callable[[], list[Sample]]) -> None:
        kit.give("u-1", "news")
        kit.ledger.seal()
        kit.ledger.follow("copy", lambda event: None)
        assert of(scraped(), "follower_behind_events") == {("copy",): 0}
        kit.refuse("u-1", ["news", "stats"])
        kit.ledger.seal()
        assert of(scraped(), "follower_behind_events") == {("copy",): 2}

    def test_deliveries(self, kit: Kit, clock: ShiftedClock, scraped: Callable[[], list[Sample]]) -> None:
        now = kit.runtime.clock.now()
        queued = [("mailer", 0, "delivered", now - 9_000_000_000), ("mailer", 1, "pending", now - 60_000_000)]
        queued += [("mailer", 2, "pending", now - 1), ("other", 1, "pending", now)]
        for values in queued:
            kit.runtime.database.write(
                lambda tx, v=values: tx.run(  # type: ignore[misc]
                    "INSERT INTO consentkit_delivery (recipient, leaf_index, status, attempts, queued_us) "
                    "VALUES (?, ?, ?, 0, ?)",
                    v,
                )
            )
        samples = scraped()
        assert of(samples, "undelivered_messages") == {("mailer",): 2, ("other",): 1}
        ages = of(samples, "undelivered_oldest_seconds")
        assert 60 <= ages[("mailer",)] < 120
        assert ages[("other",)] < 60

    def test_a_ledger_that_cannot_be_used(self, kit: Kit, scraped: Callable[[], list[Sample]]) -> None:
        assert of(scraped(), "ledger_up") == {(): 1}
        kit.runtime.database.write(lambda tx: tx.run("ALTER TABLE consentkit_pending RENAME TO gone"))
        samples = scraped()
        assert [(name, value) for name, _, value in samples] == [("consentkit_ledger_up", 0)]
        kit.runtime.database.write(lambda tx: tx.run("ALTER TABLE gone RENAME TO consentkit_pending"))
        assert of(scraped(), "ledger_up") == {(): 1}

    def test_registering_reads_nothing(self, url: str) -> None:
        unpublished = open_kit(url, publish=False)
        CollectorRegistry().register(LedgerCollector(unpublished))
        assert not unpublished.runtime._ready


class TestSqlite(OnSqlite, Gauges): ...


class TestPostgresql(OnPostgresql, Gauges): ...


def test_a_server_that_is_gone(live_server: Callable[[Any], str]) -> None:
    kit = open_kit("postgresql://nobody@127.0.0.1:1/none", publish=False)
    registry = CollectorRegistry()
    registry.register(LedgerCollector(kit))
    assert of(scrape(live_server(make_wsgi_app(registry))), "ledger_up") == {(): 0}
