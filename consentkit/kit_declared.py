"""What the code says that it does only with consent: jobs and adapters write it down here when they are made.

`flask consent routes` lists it and `flask consent check` compares it with the catalogue. What is gone is forgotten.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from weakref import WeakKeyDictionary, WeakSet, ref

JOB, ADAPTER = "job", "adapter"
MARK = "__consentkit_purposes__"
"""The attribute under which a gated callable carries its keys; `functools.wraps` hands it on."""


@dataclass(frozen=True, slots=True)
class Declared:
    """A callable or an adapter with the keys that it asks for. `where`: module and name."""

    kind: str
    where: str
    items: tuple[str, ...]
    kit: ref[object] | None = None

    def is_of(self, kit: object, shared: bool) -> bool:
        """Whether it asks this kit, or, with `shared`, whichever kit the app has."""
        return shared if self.kit is None else self.kit() is kit


_declared: WeakKeyDictionary[object, Declared] = WeakKeyDictionary()
_behind: WeakSet[object] = WeakSet()
_lock = threading.Lock()


def declare(
    thing: object, kind: str, where: str, items: tuple[str, ...], *, kit: object | None = None
) -> None:
    """Note that `thing` asks for `items`; it is forgotten with `thing`. `kit`: the one it asks, None: the app's."""
    with _lock:
        _declared[thing] = Declared(kind, where, items, None if kit is None else ref(kit))


def declarations(kit: object, *, shared: bool = True) -> list[Declared]:
    """What was declared for a kit, jobs first, by place.

    Gates one upon the other are one entry, and so are adapters that are made at one place. `shared`: with those that
    ask whichever kit the app has.
    """
    with _lock:
        found = [(thing, d) for thing, d in _declared.items() if d.is_of(kit, shared)]
    items: dict[tuple[str, str, int], set[str]] = {}
    for thing, declared in found:
        one = id([*layers(thing)][-1]) if declared.kind == JOB else 0
        items.setdefault((declared.kind, declared.where, one), set()).update(declared.items)
    listed = {Declared(kind, where, tuple(sorted(keys))) for (kind, where, _), keys in items.items()}
    return sorted(listed, key=lambda d: (d.kind != JOB, d.where, d.items))


def put_behind(function: object) -> None:
    """Note that a gate stands before a function: whoever calls the function itself is not asked."""
    for layer in layers(function):
        with _lock, suppress(TypeError):  # what cannot be remembered is no function
            _behind.add(layer)


def is_behind(function: object) -> bool:
    """Whether a gate was put around it, so that by itself it is not what was meant to be called."""
    with _lock, suppress(TypeError):
        return function in _behind
    return False


def layers(function: object) -> Iterator[object]:
    """A callable and what it wraps, to the innermost."""
    yield function
    while (function := getattr(function, "__wrapped__", None)) is not None:
        yield function
