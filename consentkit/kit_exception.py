"""Lawful exceptions: one processing without consent, on a ground of the catalogue's closed list, on record.

An exception is open for the code inside its block and for nobody else. A context variable alone does not say that:
a child task has a copy of it, and whoever resumes a generator shares it. So an exception remembers the frame that
holds the `with` and the task that runs it, and is open only for what is called from that frame by that task.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from contextvars import ContextVar
from types import FrameType, TracebackType

from consentkit.core.choices import Manner
from consentkit.core.errors import ConsentKitError
from consentkit.core.excepting import using
from consentkit.core.ids import check_subject
from consentkit.core.record import Answer, Event
from consentkit.kit_record import Keys, Recorder, keys_of

_GENERATOR = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
_NOTHING: frozenset[str] = frozenset()


class LawfulExceptions(Recorder):
    """Processing that the law allows or demands without consent."""

    def exception(
        self,
        ground: str,
        *,
        subject: str,
        purposes: Keys,
        reference: str,
        operator: str,
        tenant: str | None = None,
        scope: str = "",
    ) -> Opening:
        """Open these purposes of one subject for the block of a `with`, on a ground of the catalogue.

        Entering the block first records one event a purpose, durably; if that fails the block is not entered.
        `operator`: the staff id of who decided. `reference`: the number of the case. Raises ChoiceRejected,
        UnknownPurpose, StoreUnavailable, ValueError.
        """
        check_subject(subject, tenant)
        how = Manner(self.runtime.clock.now(), actor="operator", scope=scope)
        keys, by = keys_of(purposes), {"operator": operator, "reference": reference}
        return Opening(self, tenant or "", subject, using(self.runtime.catalog, ground, keys, how, **by))

    def _use(self, tenant: str, subject: str, used: list[Answer]) -> list[Event]:
        self.runtime.ensure()
        events = self.runtime.writer.append(tenant, subject, used)
        self._recorded(subject, tenant, events)
        return events


class Opening:
    """What `kit.exception` returns: open inside its `with` block, which is given the recorded events."""

    def __init__(self, kit: LawfulExceptions, tenant: str, subject: str, used: list[Answer]) -> None:
        self._kit, self._runtime, self._used = kit, kit.runtime, used
        self._about = (tenant, subject, used[0].scope)
        self._block: FrameType | None = None
        self._task: asyncio.Task[object] | None = None
        self._entered = False

    def __enter__(self) -> list[Event]:
        if self._entered:
            raise ConsentKitError("an exception is opened once: call exception() again for another block")
        self._entered = True
        events = self._kit._use(*self._about[:2], self._used)
        self._block, self._task = _block(inspect.currentframe()), _task()
        _entered.set((*(one for one in _entered.get() if one.is_open), self))
        return events

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._block = self._task = None
        _entered.set(tuple(one for one in _entered.get() if one is not self))

    @property
    def is_open(self) -> bool:
        """Whether its block has been entered and not been left."""
        return self._block is not None

    def opens(self, kit: LawfulExceptions, about: tuple[str, str | None, str]) -> frozenset[str]:
        """The purposes that it opens for whoever asks this kit about a tenant, a subject and a scope."""
        here = self.is_open and self._about == about and self._task is _task()
        if not here or self._runtime is not kit.runtime or not _calls_us(self._block):
            return _NOTHING
        return frozenset(answer.item for answer in self._used)


_entered: ContextVar[tuple[Opening, ...]] = ContextVar("consentkit_exceptions", default=())


def opened(kit: object, tenant: str, subject: str | None, scope: str) -> frozenset[str]:
    """The purposes that exceptions hold open here and now."""
    entered = _entered.get()
    if not entered or not isinstance(kit, LawfulExceptions):
        return _NOTHING
    return _NOTHING.union(*(one.opens(kit, (tenant, subject, scope)) for one in entered))


def _task() -> asyncio.Task[object] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no loop is running in this thread
        return None


def _block(frame: FrameType | None) -> FrameType | None:
    """The frame that holds the `with`. A context manager made with contextlib opens it for whoever uses that."""
    frame = frame and frame.f_back
    while frame is not None and (_contextlibs(frame) or _driven(frame)):
        frame = frame.f_back
    return frame


def _driven(frame: FrameType) -> bool:
    return bool(frame.f_code.co_flags & _GENERATOR) and _contextlibs(frame.f_back)


def _contextlibs(frame: FrameType | None) -> bool:
    return frame is not None and frame.f_globals is vars(contextlib)


def _calls_us(block: FrameType | None) -> bool:
    """Whether the code inside the block is what runs: a suspended generator or coroutine is on nobody's stack."""
    frame = inspect.currentframe()
    while frame is not None and frame is not block:
        frame = frame.f_back
    return frame is not None
