"""Verify the whole ledger. Never writes. Integrity (nothing was changed) and completeness (nothing is missing).

Three passes over one snapshot: the tree against every signed checkpoint and the anchor; the leaves that have no
event; the events, subject by subject, with their mapping row and state rows.
"""

# ruff: noqa: S608 - every name is a constant of this package, every value a bind parameter
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from consentkit.core.errors import LedgerBroken
from consentkit.core.merkle import Frontier
from consentkit.proof import Checkpoint, NoteInvalid, verify_checkpoint
from consentkit.store.database import Database
from consentkit.store.keys import Keyed
from consentkit.store.log_keys import LogKeys
from consentkit.store.sealing import origin_prefix
from consentkit.store.snapshot import CHUNK, Snapshot, snapshot
from consentkit.store.tables import PREFIX as _P
from consentkit.store.tree import LOG_ID
from consentkit.store.verifying_documents import check_documents
from consentkit.store.verifying_erasure import check_erased
from consentkit.store.verifying_events import check_events

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
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(fault)
        else:
            self.more = True


def broken(report: Report) -> LedgerBroken:
    """The error for a report with faults."""
    first = report.faults[0]
    others = f" (and {len(report.faults) - 1} more)" if len(report.faults) > 1 else ""
    return LedgerBroken(f"{first.verdict}: {first.what} at {first.at}{others}", at=first.at, report=report)


def verify(database: Database, keyed: Keyed, keys: LogKeys, progress: Progress | None = None) -> Report:
    """Check everything that can be checked from the database, the pinned public key and the anchor.

    Raises StoreUnavailable when it could not look.
    """
    report = Report()
    tell = progress or (lambda _: None)
    with snapshot(database) as view:
        _check_tree(view, database, keys, report, tell)
        check_documents(view, report)
        check_erased(view, report)
        check_events(view, keyed, report, tell)
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


def _check_tree(view: Snapshot, database: Database, keys: LogKeys, report: Report, tell: Progress) -> None:
    """Every checkpoint and every line of the anchor against the leaves; the stored tiles and the head as well."""
    head = view.run(f"SELECT origin, size, frontier FROM {_P}head WHERE log_id = ?", (LOG_ID,))
    origin, size = (head[0][0], head[0][1]) if head else (None, 0)
    roots = _roots_to_meet(view, database, keys, origin, report)
    frontier = Frontier()
    nodes = view.stream(f"SELECT level, idx, hash FROM {_P}node ORDER BY level, idx")
    stored = {(level, index): bytes(value) for level, index, value in nodes}
    for chunk in _leaves(view, report):
        for part in _cut(chunk, frontier.size, roots):
            frontier, tiles = frontier.extend(part)
            for tile in tiles:
                if stored.pop((tile.level, tile.index), None) != tile.hash:
                    report.changed(
                        f"node {tile.level}/{tile.index}", "a stored tile is not that of its leaves"
                    )
            _meet(roots, frontier, report)
        tell(frontier.size)
    for where in sorted(roots):
        report.missing(
            f"leaf {frontier.size}",
            f"{roots[where][0][0]} covers {where} events, the ledger has {frontier.size}",
        )
    for level, index in stored:
        report.changed(f"node {level}/{index}", "a stored tile has no leaves")
    if head and (frontier.size != size or frontier.to_bytes() != bytes(head[0][2])):
        report.changed("head", f"the head says {size} events, the leaves are {frontier.size}")
    if frontier.size and not head:
        report.changed("head", "there are leaves, but no head")
    report.sealed = frontier.size


Roots = dict[int, list[tuple[str, bytes]]]


def _roots_to_meet(
    view: Snapshot, database: Database, keys: LogKeys, origin: str | None, report: Report
) -> Roots:
    """By tree size: who claims which root."""
    roots: Roots = {}
    latest = -1
    for size, note in view.run(f"SELECT tree_size, note FROM {_P}checkpoint ORDER BY tree_size"):
        report.checkpoints += 1
        try:
            signed = verify_checkpoint(note, keys.verifier, origin or "")
        except NoteInvalid as error:
            report.changed(f"checkpoint {size}", f"the checkpoint does not verify: {error}")
            continue
        if signed.size != size:
            report.changed(f"checkpoint {size}", f"the signed checkpoint is of {signed.size} events")
        _claim(roots, "the signed checkpoint", signed)
        latest = signed.size
    prefix = origin_prefix(database)
    for line in keys.anchor.lines() if keys.anchor is not None else ():
        if line.origin == origin:
            report.anchored += 1
            _claim(roots, "the anchor", Checkpoint(line.origin, line.size, line.root))
        elif line.origin.startswith(prefix) and line.size:
            report.missing(
                "head", f"the anchor knows another log of this database, {line.origin}: it was replaced"
            )
    head = view.run(f"SELECT size FROM {_P}head WHERE log_id = ?", (LOG_ID,))
    if head and head[0][0] != max(latest, 0):
        report.missing(f"checkpoint {head[0][0]}", "the head has no signed checkpoint")
    return roots


def _claim(roots: Roots, who: str, checkpoint: Checkpoint) -> None:
    roots.setdefault(checkpoint.size, []).append((who, checkpoint.root))


def _meet(roots: Roots, frontier: Frontier, report: Report) -> None:
    for who, root in roots.pop(frontier.size, ()):
        if root != frontier.root():
            report.changed(
                f"leaf {frontier.size}", f"{who} of {frontier.size} events has another root than the leaves"
            )


def _leaves(view: Snapshot, report: Report) -> Iterator[list[bytes]]:
    """Leaf hashes in order, in chunks; the indexes must be dense. An empty chunk first meets size 0."""
    yield []
    chunk: list[bytes] = []
    expected = 0
    for index, value in view.stream(f"SELECT leaf_index, hash FROM {_P}leaf ORDER BY leaf_index"):
        if index != expected:
            report.missing(f"leaf {expected}", f"the leaves from {expected} to {index - 1} are not there")
            expected = index
        chunk.append(bytes(value))
        expected += 1
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    yield chunk


def _cut(chunk: list[bytes], size: int, roots: Roots) -> Iterator[list[bytes]]:
    """The chunk in parts that end at the sizes somebody makes a claim about."""
    stops = sorted(stop - size for stop in roots if size < stop < size + len(chunk))
    start = 0
    for stop in (*stops, len(chunk)):
        yield chunk[start:stop]
        start = stop
