"""The tree: every signed checkpoint and every line of the anchor against the leaves, stored tiles and head."""

# ruff: noqa: S608 - every name is a constant of this package, every value a bind parameter
from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from consentkit.core.merkle import HASH_BYTES, Frontier
from consentkit.proof import Checkpoint, NoteInvalid, VerifierKey, verify_checkpoint, verify_note
from consentkit.store.log_keys import Anchored
from consentkit.store.restoring import acknowledged, opening_bodies
from consentkit.store.snapshot import CHUNK, Snapshot
from consentkit.store.tables import PREFIX as _P
from consentkit.store.tree import LOG_ID, earlier_logs

if TYPE_CHECKING:
    from consentkit.store.verifying import Report


@dataclass(slots=True)
class _Claims:
    """By tree size: who claims which root."""

    roots: dict[int, list[tuple[str, bytes]]] = field(default_factory=dict)

    def add(self, who: str, size: int, root: bytes) -> None:
        self.roots.setdefault(size, []).append((who, root))

    def meet(self, frontier: Frontier, report: Report) -> None:
        for who, root in self.roots.pop(frontier.size, ()):
            if root != frontier.root():
                report.changed(
                    f"leaf {frontier.size}",
                    f"{who} of {frontier.size} events has another root than the leaves",
                )


@dataclass(frozen=True, slots=True)
class _Earlier:
    """A log that ended with a restore: what was kept of it, and up to where the loss was owned up."""

    origin: str
    kept: int
    lost: int


def check_tree(
    view: Snapshot,
    verifier: VerifierKey,
    anchored: Sequence[Anchored],
    prefix: str,
    report: Report,
    tell: Callable[[int], None],
) -> None:
    """Note what the leaves contradict. `anchored` was read before the snapshot; `prefix` is of our origins."""
    heads = view.run(f"SELECT origin, size, frontier FROM {_P}head WHERE log_id = ?", (LOG_ID,))
    notes = _notes(view, report)
    origin = heads[0][0] if heads else _origin(notes, verifier)
    claims, earlier = _Claims(), _earlier(view, report)
    _claim_signed(notes, verifier, origin, earlier, claims, report)
    anchored = _claim_earlier(anchored, earlier, claims, report)
    _claim_anchored(anchored, origin, prefix, {size for size, _ in notes}, claims, report)
    frontier = _walk(view, claims, report, tell)
    for size in sorted(claims.roots):
        who, _ = claims.roots[size][0]
        says = f"{who} covers {size} events, the ledger has {frontier.size}"
        report.missing(f"leaf {frontier.size}", says)
    _check_head(heads, notes, frontier, report)
    report.sealed = frontier.size


def _notes(view: Snapshot, report: Report) -> list[tuple[int, Any]]:
    notes = view.run(f"SELECT tree_size, note FROM {_P}checkpoint ORDER BY tree_size")
    for size, _ in notes:
        if not isinstance(size, int):
            report.changed(f"checkpoint {size!r}", "the size of a checkpoint is no number")
    return [(size, note) for size, note in notes if isinstance(size, int)]


def _origin(notes: Sequence[tuple[Any, ...]], verifier: VerifierKey) -> str:
    """Without a head: the log that the last good checkpoint names."""
    for _, note in reversed(notes):
        try:
            return Checkpoint.parse(verify_note(note, [verifier])[0]).origin
        except (NoteInvalid, TypeError):
            continue
    return ""


def _claim_signed(
    notes: Sequence[tuple[Any, ...]],
    verifier: VerifierKey,
    origin: str,
    earlier: Sequence[_Earlier],
    claims: _Claims,
    report: Report,
) -> None:
    for size, note in notes:
        report.checkpoints += 1
        signer = next((log.origin for log in earlier if size <= log.kept), origin)
        try:
            signed = verify_checkpoint(note, verifier, signer)
        except (NoteInvalid, TypeError, AttributeError) as error:
            report.changed(f"checkpoint {size}", f"the checkpoint does not verify: {error}")
            continue
        if signed.size != size:
            report.changed(f"checkpoint {size}", f"the signed checkpoint is of {signed.size} events")
        claims.add("the signed checkpoint", signed.size, signed.root)


def _earlier(view: Snapshot, report: Report) -> list[_Earlier]:
    """Logs before this one. Each must be named by the event that opened its successor."""
    owned = acknowledged(opening_bodies(view))
    earlier = [_Earlier(origin, size, owned.get(origin, 0)) for origin, size in earlier_logs(view)]
    for log in earlier:
        if log.lost <= log.kept:
            report.changed("head", f"no event says why the log {log.origin} ended")
    return earlier


def _claim_earlier(
    anchored: Sequence[Anchored], earlier: Sequence[_Earlier], claims: _Claims, report: Report
) -> list[Anchored]:
    """Judge the anchor's lines of earlier logs; returns the others."""
    logs = {log.origin: log for log in earlier}
    for log in earlier:
        report.warnings.append(f"a restore lost events {log.kept} to {log.lost - 1} of the log {log.origin}")
    for line in anchored:
        ended = logs.get(line.origin)
        if ended is not None and line.size <= ended.kept:
            report.anchored += 1
            claims.add("the anchor", line.size, line.root)
        elif ended is not None and line.size > ended.lost:
            what = f"the anchor knows {line.size} events of {log.origin}, of which nobody said that they were lost"
            report.missing(f"leaf {ended.lost}", what)
    return [line for line in anchored if line.origin not in logs]


def _claim_anchored(
    anchored: Sequence[Anchored], origin: str, prefix: str, signed: set[int], claims: _Claims, report: Report
) -> None:
    newest = max(signed, default=-1)
    for line in anchored:
        if line.origin == origin:
            report.anchored += 1
            claims.add("the anchor", line.size, line.root)
            if line.size not in signed and line.size < newest:
                report.missing(f"checkpoint {line.size}", "a published checkpoint is not there")
        elif line.origin.startswith(prefix) and line.size:
            what = f"the anchor knows another log of this database, {line.origin}: it was replaced"
            report.missing("head", what)


def _walk(view: Snapshot, claims: _Claims, report: Report, tell: Callable[[int], None]) -> Frontier:
    """Build the tree from its leaves and compare it with every claim and every stored tile on the way."""
    nodes = view.stream(f"SELECT level, idx, hash FROM {_P}node ORDER BY level, idx")
    stored = {(level, index): value for level, index, value in nodes}
    stops = sorted(claims.roots)
    frontier = Frontier()
    for chunk in _leaves(view, report):
        for part in _cut(chunk, frontier.size, stops):
            frontier, tiles = frontier.extend(part)
            for tile in tiles:
                if stored.pop((tile.level, tile.index), None) != tile.hash:
                    what = "a stored tile is not that of its leaves"
                    report.changed(f"node {tile.level}/{tile.index}", what)
            claims.meet(frontier, report)
        tell(frontier.size)
    for level, index in stored:
        report.changed(f"node {level}/{index}", "a stored tile has no leaves")
    return frontier


def _leaves(view: Snapshot, report: Report) -> Iterator[list[bytes]]:
    """Leaf hashes in order, in chunks; the indexes must be dense. An empty chunk first meets size 0."""
    yield []
    chunk: list[bytes] = []
    expected = 0
    for index, value in view.stream(f"SELECT leaf_index, hash FROM {_P}leaf ORDER BY leaf_index"):
        if index != expected:
            if not isinstance(index, int) or index < expected:
                report.changed(f"leaf {index!r}", "the leaf has no place in the tree")
                continue
            report.missing(f"leaf {expected}", f"the leaves from {expected} to {index - 1} are not there")
            expected = index
        if not isinstance(value, bytes) or len(value) != HASH_BYTES:
            report.changed(f"leaf {index}", "the leaf is not a hash")
            value = bytes(HASH_BYTES)
        chunk.append(value)
        expected += 1
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    yield chunk


def _cut(chunk: list[bytes], size: int, stops: Sequence[int]) -> Iterator[list[bytes]]:
    """The chunk in parts that end at the sizes somebody makes a claim about."""
    inside = stops[bisect_right(stops, size) : bisect_left(stops, size + len(chunk))]
    start = 0
    for stop in (*inside, size + len(chunk)):
        yield chunk[start : stop - size]
        start = stop - size


def _check_head(
    heads: Sequence[tuple[Any, ...]], notes: Sequence[tuple[Any, ...]], frontier: Frontier, report: Report
) -> None:
    if not heads:
        if frontier.size or notes:
            report.missing("head", "there are leaves or checkpoints, but no head")
        return
    _, size, stored = heads[0]
    if frontier.size != size or frontier.to_bytes() != stored:
        report.changed("head", f"the head says {size} events, the leaves are {frontier.size}")
    latest = max((size for size, _ in notes), default=0)
    if latest != size:
        report.missing(f"checkpoint {size}", "the head has no signed checkpoint, or is not the last one")
