"""`gated` around every kind of callable: asked when the body begins to run, and nothing of it runs before."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from multiprocessing import get_context
from typing import Any

import pytest
from ledgers import OnPostgresql, OnSqlite, Suite, open_kit

from consentkit import (
    AcceptanceMissing,
    ConsentKitError,
    ConsentMissing,
    GateUnavailable,
    Reason,
    UnknownPurpose,
    decision_made,
    gated,
    processing_blocked,
)
from consentkit.core.gate import Decision, unavailable
from consentkit.kit import Kit


class GatedSuite(Suite):
    @pytest.fixture
    def ran(self) -> list[Any]:
        return []

    def test_a_plain_function_as_cron_calls_it(self, kit: Kit, ran: list[Any]) -> None:
        @kit.gated("news", "stats", subject="user_id")
        def letter(user_id: str, /, issue: int = 1, *more: int, **options: int) -> str:
            ran.append((user_id, issue, more, options))
            return "sent"

        kit.give("u-1", "news")
        for user_id in ("u-1", "u-2"):
            with pytest.raises(ConsentMissing):
                letter(user_id)
        kit.give("u-1", "stats")
        assert letter("u-1", 2, 3, fast=4) == "sent"
        assert ran == [("u-1", 2, (3,), {"fast": 4})]
        with pytest.raises(TypeError, match=r"letter\(\): missing a required argument: 'user_id'"):
            letter()

    def test_of_several_the_denial_of_the_lowest_rule_is_answered(self, kit: Kit) -> None:
        kit.refuse("u-1", "stats")
        kit.give("u-1", "ads")
        heard: list[tuple[str, bool]] = []
        blocked: list[str] = []

        def ask(_: object, asked: str, decision: Decision, **__: object) -> None:
            heard.append((asked, decision.allowed))

        def stop(_: object, decision: Decision, **__: object) -> None:
            blocked.append(decision.item)

        with decision_made.connected_to(ask, kit), processing_blocked.connected_to(stop, kit):
            for items in (("ads", "news", "stats"), ("stats", "news", "ads")):
                with pytest.raises(ConsentMissing, match="'stats' is blocked: REFUSED"):
                    kit.gated(*items, subject="user_id")(lambda user_id: user_id)("u-1")
        assert blocked == ["stats", "stats"]
        assert heard == [("news", False), ("stats", False), ("stats", False), ("news", False)]

    @pytest.mark.parametrize("subject", [None, "", 0, True, object()])
    def test_who_is_nobody_the_ledger_knows_is_blocked(self, kit: Kit, ran: list[Any], subject: Any) -> None:
        letter = kit.gated("news", subject="user_id")(lambda user_id=None: ran.append(user_id))
        kit.give("None", "news")
        for call in (lambda: letter(), lambda: letter(subject)):
            with pytest.raises(ConsentMissing) as caught:
                call()
            assert caught.value.decision.reason == Reason.NO_ANSWER
        assert ran == []

    def test_an_id_that_is_no_text(self, kit: Kit) -> None:
        kit.give("42", "news")
        assert kit.gated("news", subject="user_id")(lambda user_id: user_id)(42) == 42

    def test_one_thing_and_a_tenant(self, kit: Kit) -> None:
        kit.give("u-1", "quote", scope="comment:7", tenant="t")
        quote = kit.gated("quote", subject="user", scope="comment", tenant="t", skip=True)(
            lambda user, comment: "printed"
        )
        assert [quote("u-1", "comment:7"), quote("u-1", "comment:8")] == ["printed", None]
        kit.give("u-1", "quote", scope="None", tenant="t")
        assert quote("u-1", None) is None, "no thing is not a thing of that name"

    def test_a_policy(self, kit: Kit) -> None:
        with pytest.raises(AcceptanceMissing):
            kit.gated("terms", subject="user_id")(lambda user_id: user_id)("u-1")

    def test_methods_of_every_kind(self, kit: Kit) -> None:
        class Mailer:
            @kit.gated("news", subject="user_id")
            def send(self, user_id: str) -> str:
                return f"{type(self).__name__} to {user_id}"

            @classmethod
            @kit.gated("news", subject="user_id")
            def for_all(cls, user_id: str) -> str:
                return f"{cls.__name__} to {user_id}"

            @staticmethod
            @kit.gated("news", subject="user_id")
            def plain(user_id: str) -> str:
                return f"to {user_id}"

        calls: tuple[Callable[[str], str], ...] = (Mailer().send, Mailer.for_all, Mailer.plain)
        for call in calls:
            with pytest.raises(ConsentMissing):
                call("u-1")
        kit.give("u-1", "news")
        assert [call("u-1") for call in calls] == ["Mailer to u-1", "Mailer to u-1", "to u-1"]

    def test_callable_objects_and_partials(self, kit: Kit) -> None:
        class Mailer:
            def __call__(self, user_id: str) -> str:
                return f"to {user_id}"

        class Later:
            async def __call__(self, user_id: str) -> str:
                return f"to {user_id}"

        def send(medium: str, user_id: str) -> str:
            return f"{medium} to {user_id}"

        gate = kit.gated("news", subject="user_id")
        calls = [gate(Mailer()), gate(functools.partial(send, "mail"))]
        later = gate(Later())
        assert inspect.iscoroutinefunction(later)
        waiting = later("u-1")
        for call in calls:
            with pytest.raises(ConsentMissing):
                call("u-1")
        kit.give("u-1", "news")
        assert [call("u-1") for call in calls] == ["to u-1", "mail to u-1"]
        assert asyncio.run(waiting) == "to u-1"
        assert asyncio.run(gate(functools.partial(Later().__call__))("u-1")) == "to u-1"

    def test_two_gates_one_upon_the_other(self, kit: Kit, ran: list[Any]) -> None:
        @kit.gated("news", subject="sender")
        @kit.gated("stats", subject="reader")
        def share(sender: str, reader: str) -> None:
            ran.append((sender, reader))

        kit.give("u-1", "news")
        with pytest.raises(ConsentMissing, match="'stats'"):
            share("u-1", "u-2")
        kit.give("u-2", "stats")
        share("u-1", "u-2")
        assert ran == [("u-1", "u-2")]
        assert share.__consentkit_purposes__ == ("stats", "news")

    def test_a_coroutine_is_asked_when_it_is_awaited(self, kit: Kit, ran: list[Any]) -> None:
        @kit.gated("news", subject="user_id")
        async def letter(user_id: str) -> str:
            ran.append(user_id)
            await asyncio.sleep(0)
            return "sent"

        async def main() -> str:
            early, late = letter("u-1"), letter("u-1")
            kit.give("u-1", "news")
            sent = await early
            kit.withdraw("u-1", "news")
            with pytest.raises(ConsentMissing, match="WITHDRAWN"):
                await late
            return sent

        assert (asyncio.run(main()), ran) == ("sent", ["u-1"])

    @pytest.mark.parametrize("skip", [False, True])
    def test_behind_another_decorator_it_is_asked_when_it_runs_too(self, kit: Kit, skip: bool) -> None:
        def other(function: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(function)
            def hand_on(*args: Any, **kwargs: Any) -> Any:
                return function(*args, **kwargs)

            return hand_on

        ran: list[Any] = []

        class Later:
            async def __call__(self, user_id: str) -> str:
                ran.append(user_id)
                return "sent"

        async def coroutine(user_id: str) -> str:
            return await Later()(user_id)

        def generator(user_id: str) -> Iterator[str]:
            yield ran.append(user_id) or "sent"

        async def async_generator(user_id: str) -> AsyncIterator[str]:
            yield ran.append(user_id) or "sent"

        async def collect(items: AsyncIterator[str]) -> list[str]:
            return [item async for item in items]

        gate = kit.gated("news", subject="user_id", skip=skip)
        runs: list[tuple[Callable[..., Any], Callable[[Any], Any], Any]] = [
            (gate(other(coroutine)), asyncio.run, None),
            (gate(functools.partial(Later())), asyncio.run, None),
            (gate(functools.partial(other(coroutine))), asyncio.run, None),
            (gate(other(generator)), list, []),
            (gate(other(async_generator)), lambda made: asyncio.run(collect(made)), []),
        ]
        for job, run, nothing in runs:
            kit.give("u-1", "news")
            made = [job("u-1"), job("u-1")]
            assert run(made.pop()) in ("sent", ["sent"])
            kit.withdraw("u-1", "news")
            if skip:
                assert run(made.pop()) == nothing
            else:
                with pytest.raises(ConsentMissing, match="WITHDRAWN"):
                    run(made.pop())
        assert len(ran) == len(runs)

    def test_a_call_that_is_skipped_can_be_awaited_where_it_would_have_been(self, kit: Kit) -> None:
        async def job(user_id: str) -> str:
            return "sent"

        @functools.wraps(job)
        def awaited(user_id: str) -> Any:
            return job(user_id)

        @functools.wraps(job)
        def runs_it(user_id: str) -> Any:
            return asyncio.run(job(user_id))

        async def main(call: Callable[..., Any]) -> Any:
            return await call("u-1")

        gate = kit.gated("news", subject="user_id", skip=True)
        assert asyncio.run(main(gate(awaited))) is None
        assert gate(runs_it)("u-1") is None
        kit.give("u-1", "news")
        assert (asyncio.run(main(gate(awaited))), gate(runs_it)("u-1")) == ("sent", "sent")

    # ------------------------------------------------------------ generators

    def test_a_generator_is_asked_at_its_first_item(self, kit: Kit, ran: list[Any]) -> None:
        @kit.gated("news", subject="user_id")
        def letters(user_id: str) -> Generator[int, str, str]:
            ran.append(user_id)
            said = yield 1
            try:
                yield len(said)
            except ValueError:
                yield 3
            return "done"

        assert inspect.isgeneratorfunction(letters)
        early, late = letters("u-1"), letters("u-1")
        assert ran == []
        kit.give("u-1", "news")
        assert next(early) == 1
        kit.withdraw("u-1", "news")
        with pytest.raises(ConsentMissing, match="WITHDRAWN"):
            next(late)
        assert [early.send("abcd"), early.throw(ValueError())] == [4, 3]
        with pytest.raises(StopIteration) as ended:
            next(early)
        assert (ended.value.value, ran) == ("done", ["u-1"])

    def test_a_generator_that_is_skipped_is_empty(self, kit: Kit) -> None:
        @kit.gated("news", subject="user_id", skip=True)
        def letters(user_id: str) -> Iterator[int]:
            yield 1

        @kit.gated("news", subject="user_id", skip=True)
        async def later(user_id: str) -> AsyncIterator[int]:
            yield 1

        async def collect(user_id: str) -> list[int]:
            return [item async for item in later(user_id)]

        assert (list(letters("u-1")), asyncio.run(collect("u-1"))) == ([], [])
        kit.give("u-1", "news")
        assert (list(letters("u-1")), asyncio.run(collect("u-1"))) == ([1], [1])

    def test_an_async_generator_is_asked_at_its_first_item(self, kit: Kit, ran: list[Any]) -> None:
        @kit.gated("news", subject="user_id")
        async def letters(user_id: str) -> AsyncGenerator[Any, str]:
            ran.append("begun")
            try:
                said = yield 1
                await asyncio.sleep(0)
                try:
                    yield said
                except ValueError as error:
                    yield str(error)
                yield "last"
            finally:
                await asyncio.sleep(0)
                ran.append("closed")

        async def main() -> None:
            early, late, closed = letters("u-1"), letters("u-1"), letters("u-1")
            assert ran == []
            kit.give("u-1", "news")
            assert await anext(early) == 1
            assert await anext(closed) == 1
            kit.withdraw("u-1", "news")
            with pytest.raises(ConsentMissing, match="WITHDRAWN"):
                await anext(late)
            assert await early.asend("abc") == "abc"
            assert await early.athrow(ValueError("thrown")) == "thrown"
            assert [item async for item in early] == ["last"]
            await closed.aclose()

        assert inspect.isasyncgenfunction(letters)
        asyncio.run(main())
        assert ran == ["begun", "begun", "closed", "closed"]

    def test_an_async_generator_whose_consumer_is_cancelled(self, kit: Kit, ran: list[Any]) -> None:
        @kit.gated("news", subject="user_id")
        async def letters(user_id: str) -> AsyncIterator[int]:
            try:
                yield 1
                await asyncio.Event().wait()
            finally:
                ran.append("closed")

        async def main() -> None:
            async def consume() -> None:
                async for _ in letters("u-1"):
                    begun.set()

            begun = asyncio.Event()
            task = asyncio.create_task(consume())
            await begun.wait()
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        kit.give("u-1", "news")
        asyncio.run(main())
        assert ran == ["closed"]

    def test_context_managers(self, kit: Kit, ran: list[Any]) -> None:
        """Errors of the block reach the generator through the gate."""

        @contextmanager
        @kit.gated("news", subject="user_id")
        def mailbox(user_id: str) -> Iterator[str]:
            with pytest.raises(ZeroDivisionError):
                yield user_id
            ran.append("sync")

        @asynccontextmanager
        @kit.gated("news", subject="user_id")
        async def mailbox_async(user_id: str) -> AsyncIterator[str]:
            with pytest.raises(ZeroDivisionError):
                yield user_id
            ran.append("async")

        async def main() -> None:
            async with mailbox_async("u-1"):
                raise ZeroDivisionError

        with pytest.raises(ConsentMissing), mailbox("u-1"):
            ran.append("never")
        with pytest.raises(ConsentMissing):
            asyncio.run(main())
        kit.give("u-1", "news")
        with mailbox("u-1"):
            raise ZeroDivisionError
        asyncio.run(main())
        assert ran == ["sync", "async"]

    # ------------------------------------------------------------ a store that fails

    def test_a_failing_ledger_blocks_every_kind(self, kit: Kit, ran: list[Any]) -> None:
        def function(user_id: str) -> None:
            ran.append(user_id)

        async def coroutine(user_id: str) -> None:
            ran.append(user_id)

        def generator(user_id: str) -> Iterator[None]:
            yield ran.append(user_id)

        async def async_generator(user_id: str) -> AsyncIterator[None]:
            yield ran.append(user_id)

        kit.give("u-1", "news")
        kit.runtime.database.write(lambda tx: tx.count("DROP TABLE consentkit_state"))
        gate = kit.gated("news", subject="user_id")
        runs: list[Callable[[], object]] = [
            lambda: gate(function)("u-1"),
            lambda: asyncio.run(gate(coroutine)("u-1")),
            lambda: list(gate(generator)("u-1")),
            lambda: asyncio.run(_first(gate(async_generator)("u-1"))),
        ]
        for run in runs:
            with pytest.raises(GateUnavailable) as caught:
                run()
            assert caught.value.decision.reason == Reason.STORE_UNAVAILABLE
        assert kit.gated("news", subject="user_id", skip=True)(function)("u-1") is None
        assert ran == []


async def _first(items: AsyncIterator[Any]) -> Any:
    return await anext(items)


class TestSqlite(OnSqlite, GatedSuite): ...


class TestPostgresql(OnPostgresql, GatedSuite): ...


# ---------------------------------------------------------------- what is refused when it is decorated


@pytest.fixture
def kit(sqlite_url: str) -> Iterator[Kit]:
    kit = open_kit(sqlite_url)
    yield kit
    kit.runtime.dispose()


def function(user_id: str) -> str:
    return user_id


def test_what_has_no_such_argument(kit: Kit) -> None:
    for what, name in (
        (function, "function"),
        (functools.partial(function), "function"),
        (Callable_(), "Callable_"),
    ):
        with pytest.raises(ConsentKitError, match=rf"{name}\(\) has no argument 'user'"):
            kit.gated("news", subject="user")(what)
    for subject in ("", None, function, ["user_id"]):
        with pytest.raises(ConsentKitError, match=r"has no argument .* to take the subject from"):
            kit.gated("news", subject=subject)(function)  # type: ignore[arg-type]
    for scope in ("comment", ""):
        with pytest.raises(ConsentKitError, match=f"has no argument '{scope}' to take the scope from"):
            kit.gated("news", subject="user_id", scope=scope)(function)


@pytest.mark.parametrize("name", ["args", "kwargs"])
def test_what_is_no_single_argument(kit: Kit, name: str) -> None:
    def many(user_id: str, *args: str, **kwargs: str) -> None: ...

    with pytest.raises(ConsentKitError, match=rf"'{name}' of .*many\(\) is no single argument"):
        kit.gated("news", subject=name)(many)


@pytest.mark.parametrize(
    "key", [function, ["news", "stats"], None, b"news"], ids=lambda key: type(key).__name__
)
def test_keys_that_are_no_text(kit: Kit, key: Any) -> None:
    for gate in (kit.gated, gated):
        with pytest.raises(ConsentKitError, match="needs the key of a purpose"):
            gate(key, subject="user_id")


def test_keys_that_the_catalogue_does_not_have(kit: Kit) -> None:
    with pytest.raises(UnknownPurpose, match="'nws'"):
        kit.gated("news", "nws", subject="user_id")


def test_classes(kit: Kit) -> None:
    with pytest.raises(ConsentKitError, match="Callable_ is a class: put the gate around its methods"):
        kit.gated("news", subject="user_id")(Callable_)


@pytest.mark.parametrize("kind", [classmethod, staticmethod])
def test_decorators_of_methods_go_above(kit: Kit, kind: Any) -> None:
    with pytest.raises(ConsentKitError, match=f"write @{kind.__name__} above @gated"):
        kit.gated("news", subject="user_id")(kind(function))


@pytest.mark.parametrize("name", ["apply_async", "send_with_options", "call_local"])
def test_tasks_of_queues_go_above(kit: Kit, name: str) -> None:
    task = Callable_()
    setattr(task, name, function)
    with pytest.raises(ConsentKitError, match=r"Callable_ is a task of a queue.*decorator above @gated"):
        kit.gated("news", subject="user_id")(task)


class Callable_:
    def __call__(self, user_id: str) -> str:
        return user_id


# ---------------------------------------------------------------- errors that come home from worker processes

DENIED = Decision(False, Reason.WITHDRAWN, "news", "1", "0190", None, ("news",))


def fail(error: ConsentKitError) -> None:
    raise error


@pytest.mark.parametrize(
    "error",
    [
        ConsentMissing(DENIED, "u-1", "t"),
        AcceptanceMissing(DENIED, "u-1"),
        GateUnavailable(unavailable("news"), "u-1"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_of_a_gate_comes_home_whole(error: ConsentMissing) -> None:
    """From a pool of processes errors come pickled; one that cannot be read again breaks the pool."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        seen = pool.submit(fail, error).exception()
    assert type(seen) is type(error)
    assert (str(seen), vars(seen)) == (str(error), vars(error))
    assert "u-1" not in str(seen) + repr(seen)
