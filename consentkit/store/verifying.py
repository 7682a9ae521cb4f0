"""Verify the whole ledger. Never writes. Integrity (nothing was changed) and completeness (nothing is missing).

Passes over one snapshot: the tree against every signed checkpoint and the anchor; texts and versions; the events,
subject by subject, with their mapping row and state rows; leaves that have no event.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from consentkit.core.errors import LedgerBroken, StoreUnavailable
from consentkit.store.database import Database
from consentkit.store.keys import Keyed
from consentkit.store.log_keys import Anchored, LogKeys
from consentkit.store.snapshot import snapshot
from consentkit.store.tree import origin_prefix
from consentkit.store.verifying_documents import check_documents
from consentkit.store.verifying_erasure import check_erased
from consentkit.store.verifying_events import EventCheck
from consentkit.store.verifying_tree import check_tree

INTEGRITY, COMPLETENESS = "integrity", "completeness"
MOST_FAULTS = 100
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as it was sealed: which verdict it breaks, where it is, what is wrong."""

    verdict: str
    at: str
    what: str


@dataclass(slots=True)
class Report:
    """What a verification saw. At most 100 faults are listed; `more` says that there were others."""

    events: int = 0
    sealed: int = 0
    pending: int = 0
    checkpoints: int = 0
    anchored: int = 0
    faults: list[Fault] = field(default_factory=list)
    more: bool = False
    warnings: list[str] = field(default_factory=list)

    @property
    def integrity(self) -> bool:
        """Whether nothing that is there was changed."""
        return not any(fault.verdict == INTEGRITY for fault in self.faults)

    @property
    def completeness(self) -> bool:
        """Whether nothing that was sealed is missing."""
        return not any(fault.verdict == COMPLETENESS for fault in self.faults)

    def changed(self, at: str, what: str) -> None:
        """Note a fault of integrity."""
        self._add(Fault(INTEGRITY, at, what))

    def missing(self, at: str, what: str) -> None:
        """Note a fault of completeness."""
        self._add(Fault(COMPLETENESS, at, what))

    def _add(self, fault: Fault) -> None:
        fault = Fault(fault.verdict, _printable(fault.at), _printable(fault.what))
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(fault)
        else:
            self.more = True


def broken(report: Report) -> LedgerBroken:
    """The error for a report with faults."""
    first = report.faults[0]
    others = f" (and {len(report.faults) - 1} more)" if len(report.faults) > 1 else ""
    return LedgerBroken(f"{first.verdict}: {first.what} at {first.at}{others}", at=first.at, report=report)


def _printable(text: str) -> str:
    """Text of a damaged row, fit for any terminal."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def verify(database: Database, keyed: Keyed, keys: LogKeys, progress: Progress | None = None) -> Report:
    """Check everything that can be checked from the database, the pinned public key and the anchor.

    Raises StoreUnavailable when it could not look, ConsentKitError for an anchor that cannot be read.
    """
    # Before the snapshot: what is published meanwhile may not be in it.
    anchored = keys.anchor.lines() if keys.anchor is not None else []
    tell = progress or (lambda _: None)
    try:
        report = _verify(database, keyed, keys, anchored, tell)
    except StoreUnavailable as error:
        if "UTF-8" not in str(error):
            raise
        report = _verify(database, keyed, keys, anchored, tell, lenient=True)
    if keys.anchor is None:
        report.warnings.append(
            "no anchor is set (CONSENTKIT_LOG_ANCHOR): a cut tail, a restored old backup, or events re-signed with a "
            "stolen key would not be seen"
        )
    elif not report.anchored and report.sealed:
        report.warnings.append(
            "the anchor has no line of this log: a cut tail or an old backup would not be seen"
        )
    return report


def _verify(
    database: Database,
    keyed: Keyed,
    keys: LogKeys,
    anchored: Sequence[Anchored],
    tell: Progress,
    *,
    lenient: bool = False,
) -> Report:
    report = Report()
    with snapshot(database, lenient=lenient) as view:
        check_tree(view, keys.verifier, anchored, origin_prefix(database), report, tell)
        published = check_documents(view, report)
        events = EventCheck(view, keyed, published, report, tell)
        events.run()
        check_erased(view, report, whole=events.leaves == report.sealed and not events.doubles)
    if published.unknown_notices:
        report.warnings.append(
            f"{published.unknown_notices} answers name a notice whose text is not stored here"
        )
    return report
