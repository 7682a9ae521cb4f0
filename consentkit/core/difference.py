"""What changed between two texts: paragraphs first, then words inside changed paragraphs.

Paragraphs that occur once in both texts hold the comparison together (a patience diff), so that a text of a
megabyte takes about a second; difflib, which is quadratic, only sees what lies between them.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum
from functools import lru_cache
from itertools import groupby

_LONG, _PAIRS, _PARAGRAPH_PAIRS, _ALIKE = 4000, 250_000, 900, 0.35
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_MARKS = "\u0300-\u036f\u064b-\u065f\u0670"
_TOKEN = re.compile(rf"[{_CJK}]|(?:(?![{_CJK}])[\w{_MARKS}])+|\s+|[^\w\s]")
_BLANK = re.compile(r"\n(?:[ \t]*\n)+")
_SENTENCE = re.compile(r"(?<=[.!?;])\s+|(?<=[\u3002\uff01\uff1f\uff1b])")


class Side(StrEnum):
    """Where a piece of text stands."""

    SAME = "same"
    REMOVED = "removed"
    ADDED = "added"


@dataclass(frozen=True, slots=True)
class Piece:
    """Some words of one paragraph."""

    side: Side
    text: str


@dataclass(frozen=True, slots=True)
class Block:
    """One paragraph, or several that cannot be told apart. `changed`: some of its pieces are not the same."""

    pieces: tuple[Piece, ...]

    @property
    def changed(self) -> bool:
        """Whether there is a difference in it."""
        return any(piece.side is not Side.SAME for piece in self.pieces)


@lru_cache(maxsize=16)
def compare(old: str, new: str) -> tuple[Block, ...]:
    """The new text with what was removed and added. Published texts never change, so results are kept."""
    a, b = _paragraphs(old), _paragraphs(new)
    blocks: list[Block] = []
    for a_low, a_high, b_low, b_high, same in _matched(a, b):
        if same:
            blocks += (Block((Piece(Side.SAME, text),)) for text in b[b_low:b_high])
        else:
            blocks += _changed(a[a_low:a_high], b[b_low:b_high])
    return tuple(blocks)


def _paragraphs(text: str) -> list[str]:
    """Split at blank lines; what is very long then at line ends, and then at sentences."""
    parts = _BLANK.split(text.replace("\r\n", "\n").strip("\n"))
    for splitter in (re.compile(r"\n"), _SENTENCE):
        parts = [p for part in parts for p in (splitter.split(part) if len(part) > _LONG else [part])]
    return [part for part in parts if part.strip()]


Stretch = tuple[int, int, int, int, bool]
"""Bounds in the old and the new sequence, and whether they are the same there."""


def _matched(a: Sequence[str], b: Sequence[str]) -> Iterator[Stretch]:
    """Stretches that are the same and stretches that are not, in order."""
    a_at, b_at = 0, 0
    for a_next, b_next in [*_anchors(a, b), (len(a), len(b))]:
        yield from _between(a, b, a_at, a_next, b_at, b_next)
        if a_next < len(a):
            yield a_next, a_next + 1, b_next, b_next + 1, True
        a_at, b_at = a_next + 1, b_next + 1


def _between(a: Sequence[str], b: Sequence[str], i: int, i_end: int, j: int, j_end: int) -> Iterator[Stretch]:
    """What lies between two anchors: what is the same at both ends, and difflib where that is quick."""
    i_first, j_first, i_last, j_last = i, j, i_end, j_end
    while i < i_end and j < j_end and a[i] == b[j]:
        i, j = i + 1, j + 1
    while i < i_end and j < j_end and a[i_end - 1] == b[j_end - 1]:
        i_end, j_end = i_end - 1, j_end - 1
    if i > i_first:
        yield i_first, i, j_first, j, True
    yield from _differing(a, b, i, i_end, j, j_end)
    if i_end < i_last:
        yield i_end, i_last, j_end, j_last, True


def _differing(
    a: Sequence[str], b: Sequence[str], i: int, i_end: int, j: int, j_end: int
) -> Iterator[Stretch]:
    if not (i < i_end and j < j_end) or (i_end - i) * (j_end - j) > _PAIRS:
        if i < i_end or j < j_end:
            yield i, i_end, j, j_end, False
        return
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, a[i:i_end], b[j:j_end], autojunk=False).get_opcodes():
        yield i + i1, i + i2, j + j1, j + j2, tag == "equal"


def _anchors(a: Sequence[str], b: Sequence[str]) -> list[tuple[int, int]]:
    """Positions of what occurs once in both, as the longest row that keeps its order."""
    in_a, in_b = Counter(a), Counter(b)
    where = {text: index for index, text in enumerate(b) if in_b[text] == 1}
    pairs = [(i, where[text]) for i, text in enumerate(a) if in_a[text] == 1 and text in where]
    tails: list[int] = []
    ends: list[int] = []
    before: list[int] = []
    for number, (_, j) in enumerate(pairs):
        place = bisect_left(tails, j)
        tails[place : place + 1] = [j]
        ends[place : place + 1] = [number]
        before.append(ends[place - 1] if place else -1)
    row, at = [], ends[-1] if ends else -1
    while at >= 0:
        row.append(pairs[at])
        at = before[at]
    return row[::-1]


def _changed(old: Sequence[str], new: Sequence[str]) -> list[Block]:
    """Changed paragraphs: each beside the one it came from, where that can be found out quickly."""
    if len(old) * len(new) <= _PARAGRAPH_PAIRS:
        return list(_aligned(old, new))
    if len(old) == len(new):
        return [_words(before, after) for before, after in zip(old, new, strict=True)]
    return [_words("\n\n".join(old), "\n\n".join(new))]


def _aligned(old: Sequence[str], new: Sequence[str]) -> Iterator[Block]:
    """In order; what has no counterpart is shown whole, first what was removed, then what was added."""
    words = [_TOKEN.findall(before) for before in old]
    at, added = 0, []
    for after in new:
        tokens = _TOKEN.findall(after)
        found = next((n for n in range(at, len(old)) if _alike(words[n], tokens)), None)
        if found is None:
            added.append(after)
            continue
        yield from _whole(old[at:found], added)
        yield _words(old[found], after)
        at, added = found + 1, []
    yield from _whole(old[at:], added)


def _whole(removed: Sequence[str], added: Sequence[str]) -> Iterator[Block]:
    yield from (Block((Piece(Side.REMOVED, text),)) for text in removed)
    yield from (Block((Piece(Side.ADDED, text),)) for text in added)


def _words(old: str, new: str) -> Block:
    """The words that changed; texts that have little in common are shown whole, one after the other."""
    a, b = _TOKEN.findall(old), _TOKEN.findall(new)
    if not _alike(a, b):
        return _block([(old, new, False)])
    said = [("".join(a[i:i2]), "".join(b[j:j2]), same) for i, i2, j, j2, same in _word_stretches(a, b)]
    inner = range(1, len(said) - 1)
    return _block(
        [(x, y, same and (n not in inner or bool(y.strip()))) for n, (x, y, same) in enumerate(said)]
    )


def _word_stretches(a: Sequence[str], b: Sequence[str]) -> Iterator[Stretch]:
    return _between(a, b, 0, len(a), 0, len(b)) if len(a) * len(b) <= _PAIRS else _matched(a, b)


def _alike(a: Sequence[str], b: Sequence[str]) -> bool:
    """Whether enough words are in both texts, in whatever order."""
    counted_a, counted_b = (Counter(t for t in tokens if not t.isspace()) for tokens in (a, b))
    all_of_them = counted_a.total() + counted_b.total()
    return bool(all_of_them) and 2 * (counted_a & counted_b).total() / all_of_them >= _ALIKE


def _block(said: Sequence[tuple[str, str, bool]]) -> Block:
    pieces: list[Piece] = []
    for same, group in groupby(said, key=lambda part: part[2]):
        parts = list(group)
        removed, added = "".join(p[0] for p in parts), "".join(p[1] for p in parts)
        if same:
            pieces.append(Piece(Side.SAME, added))
            continue
        pieces += (Piece(s, t) for s, t in ((Side.REMOVED, removed), (Side.ADDED, added)) if t)
    return Block(tuple(pieces))
