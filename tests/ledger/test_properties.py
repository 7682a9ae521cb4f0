"""Whatever happens in whatever order: decisions are those of a tiny model, and the ledger verifies.

And the other way round: whatever single bit is changed, it is found.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from ledger_scenes import Scene, build_postgresql, build_sqlite, flipped, scene
from sealed_ledgers import assert_clean, faults, look, open_log, primary_key

from consentkit.core.errors import ChoiceRejected
from consentkit.kit import Kit
from consentkit.store.tables import APPEND_ONLY

if TYPE_CHECKING:
    from conftest import PgServer

# ---------------------------------------------------------------- any interleaving

SUBJECTS = st.sampled_from(("ann", "bob", "cyd"))
PURPOSES = st.sampled_from(("news", "stats"))
HOURS = st.sampled_from((None, None, 1, 2, 3))
"""Hours ago: None is now; few of them, so that answers meet at the same instant."""

DENIES = {"refused", "withdrawn", "declined", "restricted"}
DENIAL = {
    "refused": "REFUSED",
    "withdrawn": "WITHDRAWN",
    "declined": "REFUSED",
    "given": "GIVEN",
    "accepted": "ACCEPTED",
}
Said = tuple[float, bool, int, str]


@dataclass
class Person:
    """What the model knows of one subject: by item the last answer, in the order (when, denies, which)."""

    said: dict[str, Said] = field(default_factory=dict)
    known: bool = False
    erased: bool = False

    def say(self, item: str, action: str, when: float, number: int) -> None:
        if self.erased and (when < 0 or action not in ("given", "accepted")):
            return  # a no, or what was said before the erasure
        if self.erased:
            self.said, self.erased = {}, False
        self.known = True
        answer = (when, action in DENIES, number, action)
        self.said[item] = max(self.said.get(item, answer), answer)

    def reason(self, item: str) -> str:
        if self.erased:
            return "ERASED"
        if self.said.get("", (0, False, 0, "lifted"))[3] == "restricted":
            return "RESTRICTED"
        return DENIAL[self.said[item][3]] if item in self.said else "NO_ANSWER"


class Interleavings(RuleBasedStateMachine):
    """Verbs, seals, erasures and new processes in any order. `fresh`: a kit, and how to open it again."""

    fresh: Callable[[], tuple[Kit, Callable[[], Kit], str]]

    def __init__(self) -> None:
        super().__init__()
        self.kit, self.reopen, self.tenant = type(self).fresh()
        self.people = {name: Person() for name in ("ann", "bob", "cyd")}
        self.start, self.count = datetime.now(UTC), itertools.count(1)
        self.last = "ann"

    def _say(self, verb: str, subject: str, items: tuple[str, ...], action: str, hours: int | None) -> None:
        number = next(self.count)
        at = None if hours is None else self.start - timedelta(hours=hours)
        method = "code" if hours is None else "import"
        getattr(self.kit, verb)(subject, *items, at=at, method=method, tenant=self.tenant)
        self.last = subject
        self.people[subject].say((*items, "")[0], action, number if hours is None else -hours, number)

    @rule(subject=SUBJECTS, item=PURPOSES, hours=HOURS)
    def give(self, subject: str, item: str, hours: int | None) -> None:
        self._say("give", subject, (item,), "given", hours)

    @rule(subject=SUBJECTS, item=PURPOSES, hours=HOURS)
    def refuse(self, subject: str, item: str, hours: int | None) -> None:
        self._say("refuse", subject, (item,), "refused", hours)

    @rule(subject=SUBJECTS, item=st.sampled_from(("news", "stats", "terms")), hours=HOURS)
    def withdraw(self, subject: str, item: str, hours: int | None) -> None:
        self._say("withdraw", subject, (item,), "withdrawn", hours)

    @rule(subject=SUBJECTS, hours=HOURS)
    def accept(self, subject: str, hours: int | None) -> None:
        self._say("accept", subject, ("terms",), "accepted", hours)

    @rule(subject=SUBJECTS, hours=HOURS)
    def decline(self, subject: str, hours: int | None) -> None:
        self._say("decline", subject, ("terms",), "declined", hours)

    @rule(subject=SUBJECTS)
    def restrict(self, subject: str) -> None:
        self._say("restrict", subject, (), "restricted", None)

    @rule(subject=SUBJECTS)
    def lift(self, subject: str) -> None:
        self._say("lift", subject, (), "lifted", None)

    @rule(subject=SUBJECTS, mode=st.sampled_from(("unlink", "destroy")))
    def erase(self, subject: str, mode: str) -> None:
        if mode == "destroy":
            self.kit.ledger.seal()
        self.kit.erase(subject, mode=mode, tenant=self.tenant)
        self.last, self.people[subject] = subject, Person(known=True, erased=True)

    @rule(old=SUBJECTS, new=SUBJECTS)
    def rename(self, old: str, new: str) -> None:
        was, other = self.people[old], self.people[new]
        possible = was.known and not was.erased and (other.erased or not other.known) and old != new
        try:
            self.kit.rename(old, new, tenant=self.tenant)
        except ChoiceRejected:
            assert not possible
            return
        assert possible
        said = {i: (when, deny, next(self.count), what) for i, (when, deny, _, what) in was.said.items()}
        self.people[new] = Person(said, known=True)
        self.people[old] = Person(known=True, erased=True)
        self.last = new

    @rule()
    def seal(self) -> None:
        self.kit.ledger.seal()
        places = [event.leaf_index for event in self.kit.ledger.events()]
        assert places == list(range(len(places)))

    @rule()
    def another_process(self) -> None:
        self.kit.runtime.dispose()
        self.kit = self.reopen()

    @rule()
    def verify(self) -> None:
        assert_clean(self.kit)

    @invariant()
    def the_last_subject_is_as_the_model_says(self) -> None:
        self._compare(self.last)

    def _compare(self, subject: str) -> None:
        consents, person = self.kit.of(subject, tenant=self.tenant), self.people[subject]
        for item in ("news", "stats", "terms"):
            decision = consents.decide(item)
            assert decision.reason.name == person.reason(item), (subject, item, person)
            assert decision.allowed == (person.reason(item) in ("GIVEN", "ACCEPTED"))

    def teardown(self) -> None:
        for subject in self.people:
            self._compare(subject)
        self.seal()
        assert_clean(self.kit)
        self.kit.runtime.dispose()


def run(fresh: Callable[[], tuple[Kit, Callable[[], Kit], str]], examples: int, steps: int) -> None:
    machine = type("Machine", (Interleavings,), {"fresh": staticmethod(fresh)})
    limits = settings(
        max_examples=examples,
        stateful_step_count=steps,
        derandomize=True,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=limits)


def test_any_interleaving_on_sqlite(tmp_path: Path) -> None:
    number = itertools.count()

    def fresh() -> tuple[Kit, Callable[[], Kit], str]:
        folder = tmp_path / str(next(number))
        folder.mkdir()
        url = f"sqlite:///{folder}/ledger.sqlite3"
        return open_log(url, folder), lambda: open_log(url, folder), ""

    run(fresh, 15, 40)


def test_any_interleaving_on_postgresql(pg_url: str, tmp_path: Path) -> None:
    """One ledger for all: each example is a tenant."""
    number = itertools.count()

    def fresh() -> tuple[Kit, Callable[[], Kit], str]:
        return open_log(pg_url, tmp_path), lambda: open_log(pg_url, tmp_path), f"t{next(number)}"

    run(fresh, 6, 30)


# ---------------------------------------------------------------- any bit

PLACES = st.tuples(
    st.sampled_from((*APPEND_ONLY, "event", "event", "state")),
    st.integers(0, 2**16),
    st.integers(0, 2**16),
    st.integers(0, 2**16),
    st.integers(0, 7),
)
NO_EVIDENCE = {("document", "stored_us")}


def assert_every_bit_counts(made: Scene, examples: int) -> None:
    made.attacker.drop_triggers()
    tables = {table: made.attacker.read(table) for table in {*APPEND_ONLY, "state"}}

    @settings(max_examples=examples, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    @given(PLACES)
    def check(place: tuple[str, int, int, int, int]) -> None:
        table, row_number, column_number, position, bit = place
        row = tables[table][row_number % len(tables[table])]
        names = [n for n, v in row.items() if v not in (None, "") and (table, n) not in NO_EVIDENCE]
        name = names[column_number % len(names)]
        changed = flipped(row[name], position, bit)
        try:
            change(made, table, row, name, changed)
        except (psycopg.DataError, psycopg.IntegrityError, sqlite3.IntegrityError, UnicodeEncodeError):
            assume(False)  # not taken: another row's key, and on PostgreSQL what is not UTF-8 or not a UUID
        try:
            assert look(made.kit).faults, f"{table}.{name} of {row}: it became {changed!r}"
        finally:
            change(made, table, row | {name: changed}, name, row[name])
        assert not (left := look(made.kit)).faults, faults(left)

    check()


def change(made: Scene, table: str, row: dict[str, Any], name: str, value: Any) -> None:
    """Write one value of a row. On SQLite text goes in by its bytes: it need not be UTF-8."""

    def mark(value: Any) -> str:
        raw = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else b""
        return f"CAST(x'{raw.hex()}' AS TEXT)" if raw and made.attacker.sqlite else "?"

    key = primary_key(table)
    where = " AND ".join(f"{part} = {mark(row[part])}" for part in key)
    given = [v for v in (value, *(row[part] for part in key)) if mark(v) == "?"]
    done = made.attacker.run(
        f"UPDATE {{p}}{table} SET {name} = {mark(value)} WHERE {where} RETURNING 1", *given
    )
    assert done == [(1,)]


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Iterator[Scene]:
    build_sqlite(tmp_path)
    with scene(f"sqlite:///{tmp_path}/ledger.sqlite3", tmp_path) as made:
        yield made


@pytest.fixture
def on_postgresql(pg_server: PgServer, pg_template: str, tmp_path: Path) -> Iterator[Scene]:
    with pg_server.database(template=pg_template) as name:
        build_postgresql(pg_server.url(name), tmp_path)
        with scene(pg_server.url(name), tmp_path) as made:
            yield made


def test_every_bit_counts_on_sqlite(on_sqlite: Scene) -> None:
    assert_every_bit_counts(on_sqlite, 150)


def test_every_bit_counts_on_postgresql(on_postgresql: Scene) -> None:
    assert_every_bit_counts(on_postgresql, 40)
