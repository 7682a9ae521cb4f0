"""The minors sweep among many subjects, a twentieth of them children without a guardian's consent.

    .venv/bin/python bench/minors.py [subjects] [postgresql://user@host/empty_database]

The first sweep requires a deletion of each of these children, the second finds nothing new.
"""

from __future__ import annotations

import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from consentkit.core.catalog import MinorRules, Party, Purpose
from consentkit.core.catalog_rules import build
from consentkit.core.record import bucket_of
from consentkit.kit import Kit
from consentkit.runtime import Runtime
from consentkit.store.clock import Clock, system_us

DAY_US = 24 * 3600 * 1_000_000
_SUBJECT = (
    "INSERT INTO consentkit_subject (bucket, tenant, subject, subject_key, salt, band, minor_until_us, "
    "jurisdiction, facts_us) VALUES (?, '', ?, ?, ?, ?, ?, 'DE', ?)"
)
_STATE = (
    "INSERT INTO consentkit_state (bucket, subject_key, kind, item, scope, actor, status, version, level, "
    "effective_us, event_id) VALUES (?, ?, 'purpose', ?, '', 'subject', 'given', 1, 0, ?, ?)"
)


def fill(kit: Kit, subjects: int) -> None:
    """Rows as the verbs write them, without their events: the sweep does not look at those."""
    then = system_us() - 30 * DAY_US
    people, answers = [], []
    for number in range(subjects):
        name, key = f"u-{number}", uuid.uuid4().bytes
        bucket, child = bucket_of("", name), number % 20 == 0
        until = system_us() + 900 * DAY_US if child else None
        people.append((bucket, name, key, key * 2, "minor" if child else "adult", until, then))
        answers += [(bucket, key, f"p{n}", then, str(uuid.uuid4())) for n in range(4)]
    for start in range(0, subjects, 10_000):
        some = people[start : start + 10_000]
        kit.runtime.database.write(lambda tx, some=some: tx.many(_SUBJECT, some))  # type: ignore[misc]
        more = answers[start * 4 : (start + 10_000) * 4]
        kit.runtime.database.write(lambda tx, more=more: tx.many(_STATE, more))  # type: ignore[misc]


def timed(what: str, work: Callable[[], object]) -> None:
    """One line."""
    start = time.perf_counter()
    said = work()
    print(f"{what:<14} {time.perf_counter() - start:8.2f} s   {said}", flush=True)


def main() -> None:
    """Print seconds."""
    subjects = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        url = sys.argv[2] if len(sys.argv) > 2 else f"sqlite:///{Path(folder) / 'ledger.db'}"
        purposes = [Purpose(f"p{n}", recipients=["mailer"]) for n in range(4)]
        catalog = build(purposes=purposes, parties=[Party("mailer", name="M")], minors=MinorRules())
        clock = Clock(lambda: system_us())
        runtime = Runtime.of_url(catalog, url, key="k" * 64)
        runtime.clock = Clock(lambda: system_us() - 30 * DAY_US)
        runtime.upgrade()
        runtime.publish()
        runtime.clock = clock
        kit = Kit(runtime)
        fill(kit, subjects)
        timed("first sweep", kit.sweep_minors)
        timed("second sweep", kit.sweep_minors)
        timed("report", lambda: sum(1 for _ in kit.unconfirmed_deletions()))
        runtime.dispose()


if __name__ == "__main__":
    main()
