"""Lawful exceptions: recorded before the block, open for the code inside it, and for nothing and nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import greenlet
import pytest
from ledgers import OnPostgresql, OnSqlite, ShiftedClock, Suite, catalog, open_kit

from consentkit import (
    CatalogError,
    ChoiceRejected,
    ConsentKitError,
    ConsentMissing,
    ExceptionGround,
    Purpose,
    Reason,
    StoreUnavailable,
    UnknownPurpose,
    consent_recorded,
)
from consentkit.core.terms import Basis
from consentkit.kit import Kit
from consentkit.kit_exception import Opening, _entered
from consentkit.kit_file import load

GROUNDS = [
    ExceptionGround("court_order", title="Order of a court", source="GDPR 6(1)(c)"),
    ExceptionGround("vital", title="To save a life", source="GDPR 6(1)(d)", purposes=["third_party"]),
]
PURPOSES = [
    Purpose("third_party", title="Disclosure to a third party", category="marketing", version=3),
    Purpose("news", title="News"),
    Purpose("letter", title="One letter", valid_for="P1D"),
    Purpose("quote", title="Quote", scoped=True),
    Purpose("ads", title="Ads", category="marketing", minors="never", policies=["terms"]),
    Purpose("account", title="Account", basis=Basis.CONTRACT, core=True),
]
CATALOG = catalog(purposes=PURPOSES, exceptions=GROUNDS)


def order(kit: Kit, subject: str = "u-1", **more: Any) -> Opening:
    given = {"purposes": ["third_party"], "reference": "2026/0815", "operator": "staff-7"}
    return kit.exception("court_order", subject=subject, **(given | more))


def disclosed(kit: Kit, subject: str | None = "u-1", **how: Any) -> bool:
    return kit.of(subject, **how).allows("third_party")


class ExceptionSuite(Suite):
    @pytest.fixture
    def kit(self, url: str, clock: ShiftedClock) -> Iterator[Kit]:
        kit = open_kit(url, CATALOG, clock=clock)
        kit.refuse("u-1", ["third_party", "news"])
        yield kit
        assert not [one for one in _entered.get() if one.is_open]
        kit.runtime.dispose()

    # ------------------------------------------------------------ the record

    def test_it_is_on_record_before_the_block_and_changes_no_answer(self, kit: Kit, url: str) -> None:
        before = kit.of("u-1").decide("third_party")
        with order(kit, purposes=["third_party", "news", "third_party"]) as events:
            other = open_kit(url, CATALOG, publish=False)  # committed: somebody else reads it
            seen = other.ledger.of_subject("u-1")[-2:]
            other.runtime.dispose()
        assert [e.event_id for e in events] == [e.event_id for e in seen]
        for event, item, version in zip(seen, ("third_party", "news"), ("3", "1"), strict=True):
            assert (event.kind, event.item, event.version) == ("purpose", item, version)
            assert (event.action, event.actor, event.method) == ("exception_used", "operator", "code")
            body = json.loads(event.body)
            assert {key: body[key] for key in ("ground", "operator", "reference")} == {
                "ground": "court_order",
                "operator": "staff-7",
                "reference": "2026/0815",
            }
        assert kit.of("u-1").decide("third_party") == before
        assert kit.of("u-1").status("third_party") == "refused"
        answers = [answer["action"] for answer in kit.receipt("u-1")["answers"]]
        assert answers == ["refused", "refused"]
        assert len(kit.export("u-1")["events"]) == 4
        if not kit.runtime.database.postgresql:
            kit.ledger.seal()
        assert kit.ledger.verify().faults == []

    def test_about_somebody_of_whom_nothing_is_known(self, kit: Kit) -> None:
        with order(kit, "u-9"):
            assert disclosed(kit, "u-9")
        assert kit.of("u-9").decide("third_party").reason == Reason.NO_ANSWER
        assert [event.action for event in kit.ledger.of_subject("u-9")] == ["exception_used"]

    def test_about_somebody_who_was_erased_and_stays_so(self, kit: Kit) -> None:
        (mark,) = kit.erase("u-1")
        with order(kit) as (event,):
            assert kit.of("u-1").decide("third_party").reason == Reason.EXCEPTION
            assert kit.of("u-1").decide("news").reason == Reason.ERASED
        assert kit.of("u-1").decide("third_party").reason == Reason.ERASED
        assert json.loads(event.body)["subject_key"] == json.loads(mark.body)["subject_key"]

    def test_also_after_the_id_is_hidden(self, kit: Kit, clock: ShiftedClock) -> None:
        kit.erase("u-1")
        clock.shift_us += 40 * 24 * 3600 * 1_000_000
        assert kit.purge() == 1
        with order(kit):
            assert disclosed(kit)
        assert kit.of("u-1").decide("account").reason == Reason.ERASED
        assert kit.ledger.of_subject("u-1")[-1].action == "exception_used"
        assert kit.ledger.verify().faults == []

    def test_retention_leaves_it_for_the_auditor(self, url: str, clock: ShiftedClock) -> None:
        kit = open_kit(
            url, catalog(purposes=[Purpose("news", retention="P1M")], exceptions=GROUNDS[:1]), clock=clock
        )
        kit.give("u-1", "news")
        kit.withdraw("u-1", "news")
        with order(kit, purposes="news"):
            pass
        kit.ledger.seal()
        clock.shift_us += 60 * 24 * 3600 * 1_000_000
        assert kit.purge_events() == 1
        said = [event.action for event in kit.ledger.of_subject("u-1")]
        assert said[:2] == ["withdrawn", "exception_used"]
        kit.runtime.dispose()

    def test_the_signal_is_sent(self, kit: Kit) -> None:
        heard: list[str] = []

        def hear(_: object, events: Any, **__: Any) -> None:
            heard.extend(event.action for event in events)

        with consent_recorded.connected_to(hear, kit), order(kit):
            assert heard == ["exception_used"]

    def test_a_store_that_fails_keeps_the_block_closed(self, kit: Kit) -> None:
        opening, entered = order(kit), False
        kit.runtime.database.write(lambda tx: tx.count("DROP TABLE consentkit_pending"))
        with pytest.raises(StoreUnavailable), opening:
            entered = True
        assert not entered
        assert not disclosed(kit)
        assert len(kit.ledger.of_subject("u-1")) == 2

    def test_a_store_that_fails_inside_the_block_blocks(self, kit: Kit) -> None:
        with order(kit):
            assert disclosed(kit)
            kit.runtime.database.write(lambda tx: tx.count("DROP TABLE consentkit_state"))
            assert kit.of("u-1").decide("third_party").reason == Reason.STORE_UNAVAILABLE

    # ------------------------------------------------------------ what it opens

    def test_only_the_named_pairs(self, kit: Kit) -> None:
        with order(kit):
            assert kit.of("u-1").decide("third_party").reason == Reason.EXCEPTION
            assert kit.decide_many(["u-1", "u-2"], "third_party")["u-1"].allowed
            closed = [
                kit.of("u-1").allows("news"),
                kit.of("u-1").allows("marketing"),
                disclosed(kit, "u-2"),
                disclosed(kit, None),
                disclosed(kit, "u-1", tenant="t"),
                kit.of("u-1").allows("third_party", scope="comment:1"),
                kit.decide_many(["u-2"], "third_party")["u-2"].allowed,
            ]
            assert closed == [False] * 7
        assert not disclosed(kit)

    def test_a_tenants_subject_and_one_thing(self, kit: Kit) -> None:
        with order(kit, tenant="t", purposes="quote", scope="comment:1"):
            who = kit.of("u-1", tenant="t")
            assert who.allows("quote", scope="comment:1")
            assert not who.allows("quote", scope="comment:2")
            assert not who.allows("quote")
            assert not kit.of("u-1").allows("quote", scope="comment:1")

    def test_what_else_stands_in_the_way(self, kit: Kit) -> None:
        kit.restrict("u-1")
        kit.withdraw("u-1", "account")
        with order(kit, purposes=["ads"]):
            assert kit.of("u-1").decide("ads").reason == Reason.EXCEPTION
        assert kit.of("u-1").decide("ads").reason == Reason.RESTRICTED

    def test_the_past_is_not_opened(self, kit: Kit) -> None:
        with order(kit):
            assert disclosed(kit)
            assert not kit.of("u-1").decide("third_party", at=datetime.now(UTC)).allowed

    def test_the_status_is_still_the_persons_own(self, kit: Kit, clock: ShiftedClock) -> None:
        kit.give("u-1", "letter")
        clock.shift_us += 2 * 24 * 3600 * 1_000_000
        with order(kit, purposes="letter"):
            assert kit.of("u-1").allows("letter")
            assert kit.of("u-1").status("letter") == "expired"

    def test_another_kit_on_the_same_database_is_closed(self, kit: Kit, url: str) -> None:
        other = open_kit(url, CATALOG, publish=False)
        with order(kit):
            assert not disclosed(other)
        other.runtime.dispose()

    def test_nested_blocks(self, kit: Kit) -> None:
        with order(kit):
            with order(kit, "u-2"):
                assert (disclosed(kit, "u-1"), disclosed(kit, "u-2")) == (True, True)
                with order(kit):
                    assert disclosed(kit)
                assert disclosed(kit)
            assert (disclosed(kit, "u-1"), disclosed(kit, "u-2")) == (True, False)
        assert not disclosed(kit)

    def test_an_error_in_the_block_closes_it_and_goes_on(self, kit: Kit) -> None:
        with pytest.raises(ZeroDivisionError), order(kit):
            1 / 0  # noqa: B018
        assert not disclosed(kit)

    def test_each_block_is_a_use_of_its_own(self, kit: Kit) -> None:
        opening = order(kit)
        assert not disclosed(kit)
        with opening:
            pass
        with pytest.raises(ConsentKitError, match="opened once"), opening:
            pass
        uses = [e for e in kit.ledger.of_subject("u-1") if e.action == "exception_used"]
        assert len(uses) == 1

    # ------------------------------------------------------------ what is refused

    @pytest.mark.parametrize("name", ["reference", "operator"])
    @pytest.mark.parametrize(
        "value", ["", "Jane Doe", "a" * 81, "jane@example.org", "ca\nse", "Ж-1", None, 4711]
    )
    def test_no_names_and_no_free_text(self, kit: Kit, name: str, value: Any) -> None:
        what = {"reference": "number of the case", "operator": "staff id"}[name]
        with pytest.raises(ChoiceRejected, match=rf"{name}= is the {what}.*no name and no free text"):
            order(kit, **{name: value})

    @pytest.mark.parametrize(
        ("how", "error", "said"),
        [
            ({"purposes": []}, ChoiceRejected, "names the purposes"),
            ({"purposes": ["nws"]}, UnknownPurpose, "nws"),
            ({"purposes": ["marketing"]}, UnknownPurpose, "marketing"),
            ({"purposes": ["quote"]}, ChoiceRejected, "add scope="),
            ({"scope": "comment:1"}, ChoiceRejected, "leave scope= out"),
            ({"purposes": ["quote"], "scope": "two words"}, ValueError, "scope"),
            ({"subject": ""}, ValueError, "subject"),
            ({"tenant": "\0"}, ValueError, "tenant"),
        ],
    )
    def test_what_cannot_be_opened(
        self, kit: Kit, how: dict[str, Any], error: type[Exception], said: str
    ) -> None:
        with pytest.raises(error, match=said):
            order(kit, **how)
        assert len(kit.ledger.of_subject("u-1")) == 2

    def test_grounds_are_a_closed_list(self, kit: Kit) -> None:
        with pytest.raises(ChoiceRejected, match=r"no ground 'curiosity'.*court_order, vital"):
            kit.exception("curiosity", subject="u-1", purposes="news", reference="1", operator="1")
        with pytest.raises(ChoiceRejected, match="'vital' does not open 'news', only third_party"):
            kit.exception("vital", subject="u-1", purposes="news", reference="1", operator="1")
        with kit.exception("vital", subject="u-1", purposes="third_party", reference="1", operator="1"):
            assert disclosed(kit)

    def test_everything_has_to_be_said(self, kit: Kit) -> None:
        for missing in ("subject", "purposes", "reference", "operator"):
            given = {"subject": "u-1", "purposes": "news", "reference": "1", "operator": "1"}
            del given[missing]
            with pytest.raises(TypeError, match=missing):
                kit.exception("court_order", **given)  # type: ignore[arg-type]

    # ------------------------------------------------------------ who else is closed

    def test_other_threads_also_with_a_copy_of_the_context(self, kit: Kit) -> None:
        with order(kit), ThreadPoolExecutor(2) as pool:
            copied = contextvars.copy_context()
            assert not pool.submit(disclosed, kit).result()
            assert not pool.submit(copied.run, disclosed, kit).result()
            assert copied.run(disclosed, kit)  # called from the block, on its own stack
            assert disclosed(kit)
        assert not copied.run(disclosed, kit)  # the copy still has it, and it is over

    def test_a_thread_with_a_block_of_its_own(self, kit: Kit) -> None:
        meet, seen = threading.Barrier(2, timeout=30), dict[str, tuple[bool, bool]]()

        def run(mine: str, other: str) -> None:
            with order(kit, mine):
                meet.wait()
                seen[mine] = (disclosed(kit, mine), disclosed(kit, other))
                meet.wait()

        threads = [threading.Thread(target=run, args=pair) for pair in (("a", "b"), ("b", "a"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == {"a": (True, False), "b": (True, False)}

    def test_await_inside_the_block_and_other_tasks(self, kit: Kit) -> None:
        async def deep(subject: str = "u-1") -> bool:
            await asyncio.sleep(0)
            return disclosed(kit, subject)

        async def main() -> list[bool]:
            outlives, go = asyncio.Event(), asyncio.Event()

            async def later() -> bool:
                outlives.set()
                await go.wait()
                return disclosed(kit)

            before = asyncio.create_task(later())
            await outlives.wait()
            outlives.clear()
            with order(kit):
                child = asyncio.create_task(later())
                await outlives.wait()
                heard: list[bool] = []
                asyncio.get_running_loop().call_soon(lambda: heard.append(disclosed(kit)))
                inside = [await deep(), await asyncio.wait_for(deep(), None)]
                others = await asyncio.gather(deep(), asyncio.to_thread(disclosed, kit))
                go.set()
                others += [await before, await child, *heard]
            return [all(inside), any(others), await deep(), len(heard) == 1]

        assert asyncio.run(main()) == [True, False, False, True]

    def test_a_task_that_outlives_the_block(self, kit: Kit) -> None:
        async def main() -> tuple[bool, bool]:
            go = asyncio.Event()

            async def later() -> bool:
                await go.wait()
                return disclosed(kit)

            with order(kit):
                task = asyncio.create_task(later())
                await asyncio.sleep(0)
                inside = disclosed(kit)
            go.set()
            return inside, await task

        assert asyncio.run(main()) == (True, False)

    def test_two_tasks_that_take_turns(self, kit: Kit) -> None:
        async def one(mine: str, other: str) -> list[tuple[bool, bool]]:
            seen = []
            with order(kit, mine):
                for _ in range(3):
                    await asyncio.sleep(0)
                    seen.append((disclosed(kit, mine), disclosed(kit, other)))
            return seen

        async def main() -> list[list[tuple[bool, bool]]]:
            return await asyncio.gather(one("a", "b"), one("b", "a"))

        assert asyncio.run(main()) == [[(True, False)] * 3] * 2

    def test_a_cancelled_task_leaves_nothing_open(self, kit: Kit) -> None:
        async def main() -> bool:
            async def hang() -> None:
                with order(kit):
                    await asyncio.Event().wait()

            task = asyncio.create_task(hang())
            await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            return disclosed(kit)

        assert not asyncio.run(main())

    def test_a_loop_started_inside_the_block_has_tasks_of_its_own(self, kit: Kit) -> None:
        async def main() -> bool:
            return disclosed(kit)

        with order(kit):
            assert not asyncio.run(main())
            assert disclosed(kit)

    def test_a_job_called_inside_is_inside_and_one_that_is_queued_is_not(self, kit: Kit) -> None:
        @kit.gated("third_party", subject="user_id")
        def disclose(user_id: str) -> str:
            return "sent"

        queue: list[Callable[[], str]] = []
        with order(kit), ThreadPoolExecutor(1) as workers:
            assert disclose("u-1") == "sent"
            queue.append(lambda: disclose("u-1"))
            with pytest.raises(ConsentMissing):
                workers.submit(disclose, "u-1").result()
        with pytest.raises(ConsentMissing):
            queue.pop()()

    # ------------------------------------------------------------ generators

    def test_a_generator_does_not_open_for_whoever_runs_it(self, kit: Kit) -> None:
        def rows() -> Iterator[bool]:
            with order(kit):
                yield disclosed(kit)
                yield disclosed(kit)

        running = rows()
        assert next(running)
        assert not disclosed(kit)
        assert next(running)
        assert not disclosed(kit)
        del running
        gc.collect()
        assert not disclosed(kit)

    def test_an_async_generator_does_not_either(self, kit: Kit) -> None:
        async def rows() -> AsyncIterator[bool]:
            with order(kit):
                yield disclosed(kit)
                await asyncio.sleep(0)
                yield disclosed(kit)

        async def main() -> list[tuple[bool, bool]]:
            seen = [(inside, disclosed(kit)) async for inside in rows()]
            left = rows()
            seen.append((await anext(left), disclosed(kit)))
            return [*seen, (True, disclosed(kit))]  # `left` is closed by the loop, in another context

        assert asyncio.run(main()) == [(True, False)] * 4
        assert not disclosed(kit)

    def test_a_block_in_the_consumer_of_a_generator(self, kit: Kit) -> None:
        def rows() -> Iterator[bool]:
            while True:
                yield disclosed(kit)

        running = rows()
        with order(kit):
            assert next(running)
        assert not next(running)

    def test_a_context_manager_of_your_own_opens_it_for_its_block(self, kit: Kit) -> None:
        @contextlib.contextmanager
        def by_order(subject: str) -> Iterator[None]:
            with order(kit, subject):
                yield

        with by_order("u-1"):
            assert disclosed(kit)
            assert not self._in_thread(kit)
        with contextlib.ExitStack() as stack:
            stack.enter_context(by_order("u-1"))
            stack.enter_context(order(kit, "u-2"))
            assert (disclosed(kit, "u-1"), disclosed(kit, "u-2")) == (True, True)
        assert (disclosed(kit, "u-1"), disclosed(kit, "u-2")) == (False, False)

    def test_an_async_context_manager_of_your_own(self, kit: Kit) -> None:
        @contextlib.asynccontextmanager
        async def by_order() -> AsyncIterator[None]:
            with order(kit):
                await asyncio.sleep(0)
                yield

        async def main() -> list[bool]:
            async with by_order():
                await asyncio.sleep(0)
                inside = disclosed(kit)
                other = await asyncio.create_task(self._ask(kit))
            async with contextlib.AsyncExitStack() as stack:
                await stack.enter_async_context(by_order())
                again = disclosed(kit)
            return [inside, other, again, disclosed(kit)]

        assert asyncio.run(main()) == [True, False, True, False]

    def test_one_that_is_entered_by_hand_ends_with_the_function(self, kit: Kit) -> None:
        kept: list[Opening] = []

        def enter() -> bool:
            kept.append(order(kit))
            kept[0].__enter__()
            return disclosed(kit)

        assert enter()
        assert not disclosed(kit)
        kept[0].__exit__(None, None, None)

    def test_greenlets(self, kit: Kit) -> None:
        """As SQLAlchemy's `run_sync` and gevent switch: another greenlet has another stack."""
        seen: list[bool] = []

        def other() -> None:
            seen.append(disclosed(kit))
            greenlet.getcurrent().parent.switch()
            seen.append(disclosed(kit))

        def block() -> None:
            with order(kit):
                seen.append(disclosed(kit))
                greenlet.getcurrent().parent.switch()
                seen.append(disclosed(kit))

        asking, opening = greenlet.greenlet(other), greenlet.greenlet(block)
        opening.switch()
        asking.switch()
        opening.switch()
        asking.switch()
        assert seen == [True, False, True, False]

    @staticmethod
    def _in_thread(kit: Kit) -> bool:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(contextvars.copy_context().run, disclosed, kit).result()

    @staticmethod
    async def _ask(kit: Kit) -> bool:
        return disclosed(kit)


class TestSqlite(OnSqlite, ExceptionSuite): ...


class TestPostgresql(OnPostgresql, ExceptionSuite): ...


def test_grounds_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "consent.toml").write_text("""
        [controller]
        name = "A"
        contact = "a@example.org"
        [site]
        name = "S"
        [purposes.disclosure]
        title = "Disclosure"
        [exceptions.court_order]
        title = {en = "Order of a court", de = "Gerichtsbeschluss"}
        description = "Where a court orders it."
        source = "GDPR 6(1)(c)"
        purposes = ["disclosure"]
        [exceptions.merger]
        title = "Merger"
        """)
    found = load(tmp_path / "consent.toml").exceptions
    assert list(found) == ["court_order", "merger"]
    title = {"en": "Order of a court", "de": "Gerichtsbeschluss"}
    assert found["court_order"] == ExceptionGround(
        "court_order", title, "Where a court orders it.", "GDPR 6(1)(c)", ["disclosure"]
    )
    assert found["merger"].purposes == ()


def test_a_ground_that_is_declared_twice() -> None:
    with pytest.raises(CatalogError, match=r"exceptions\.vital: is declared twice"):
        catalog(purposes=PURPOSES, exceptions=[GROUNDS[1], GROUNDS[1]])
