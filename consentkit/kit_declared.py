"""What the code says that it does only with consent: jobs and adapters write it down here when they are made.

`flask consent routes` lists it and `flask consent check` compares it with the catalogue. What is gone is forgotten.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from weakref import WeakKeyDictionary, ref

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
_lock = threading.Lock()


def declare(
    thing: object, kind: str, where: str, items: tuple[str, ...], *, kit: object | None = None
) -> None:
    """Note that `thing` asks for `items`; it is forgotten with `thing`. `kit`: the one it asks, None: the app's."""
    with _lock:
        _declared[thing] = Declared(kind, where, items, None if kit is None else ref(kit))


def declarations(kit: object, *, shared: bool = True) -> list[Declared]:
    """What was declared for a kit, jobs first, by place; gates one upon the other are one entry.

    `shared`: with those that ask whichever kit the app has.
    """
    with _lock:
        found = [d for d in _declared.values() if d.is_of(kit, shared)]
    items: dict[tuple[str, str], set[str]] = {}
    for declared in found:
        items.setdefault((declared.kind, declared.where), set()).update(declared.items)
    listed = [Declared(kind, where, tuple(sorted(keys))) for (kind, where), keys in items.items()]
    return sorted(listed, key=lambda d: (d.kind != JOB, d.where))
