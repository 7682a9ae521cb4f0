"""Policies and purposes against a small model of our own: any history of versions, answers and notices.

The model knows nothing of the code: it keeps lists of what happened and answers by the words of the docs.
"""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledgers import KEY, OnPostgresql, OnSqlite, open_kit

from consentkit.core.acceptance import methods
from consentkit.core.catalog import Catalog, Policy, PolicyVersion, Purpose
from consentkit.core.catalog_rules import build
from consentkit.core.errors import CatalogError, ChoiceRejected, NoticeOutdated
from consentkit.core.terms import Kind, Reason
from consentkit.core.times import from_us
from consentkit.kit import Kit
from consentkit.runtime import Runtime
from consentkit.store.clock import Clock
from consentkit.store.counting import asked_again

SECOND, DAY = 1_000_000, 86_400 * 1_000_000
EXPRESS = {"tick", "button"}
DEFAULT = {"tick", "button", "form", "login_button", "api", "paper", "code", "import"}
ALL_ACTS = sorted(DEFAULT | {"continued_use"})
USE = ["tick", "login_button", "continued_use"]
LISTS: tuple[list[str], ...] = ([], ["tick"], ["button", "login_button"], USE, USE, USE, ["continued_use"])
PEOPLE = ("ada", "bob")
THINGS = ("mail", "ads")


# ---------------------------------------------------------------- the model


@dataclass
class Edition:
    """A version of the policy, as the model remembers it."""

    change: str
    start: int
    acts: set[str]


@dataclass
class Said:
    """An answer: `what` is yes, no, withdrawn or revoked; `number` the version of a yes, from 1."""

    at: int
    who: str
    what: str
    number: int = 0


@dataclass
class Model:
    """What happened, and what follows from it."""

    editions: list[Edition] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)
    told: dict[tuple[str, int], int] = field(default_factory=dict)
    things: dict[str, list[int]] = field(default_factory=lambda: {thing: [0] for thing in THINGS})
    given: dict[str, list[Said]] = field(default_factory=lambda: {thing: [] for thing in THINGS})

    def governing(self, at: int) -> int:
        """The number of the version in force."""
        started = [n for n, edition in enumerate(self.editions, 1) if edition.start <= at]
        return max(started, default=1)

    def real(self, after: int, upto: int) -> list[int]:
        """The numbers of the changes that are more than editorial."""
        return [n for n in range(after + 1, upto + 1) if self.editions[n - 1].change != "editorial"]

    def last(self, who: str, at: int, *what: str) -> Said | None:
        answers = [s for s in self.said if s.who == who and s.at <= at and (not what or s.what in what)]
        return max(answers, key=lambda s: s.at, default=None)

    def decision(self, who: str, at: int) -> str:
        answer = self.last(who, at)
        if answer is None:
            return "NO_ANSWER"
        if answer.what != "yes":
            return {"no": "REFUSED", "withdrawn": "WITHDRAWN", "revoked": "REVOKED"}[answer.what]
        return "OUTDATED" if self.real(answer.number, self.governing(at)) else "ACCEPTED"

    def acts(self, who: str, number: int, now: int) -> set[str]:
        """By which acts a person may accept a version."""
        allowed = set(self.editions[number - 1].acts)
        answer, before = self.last(who, now), self.last(who, now, "yes")
        for n in self.real(before.number, number) if before else []:
            allowed &= self.editions[n - 1].acts
            if self.editions[n - 1].change == "reduces_rights":
                allowed &= EXPRESS
        express = allowed - {"continued_use"} or EXPRESS
        standing = answer is not None and answer.what == "yes"
        return express | (allowed if standing else set())

    def by_use(self, who: str, now: int) -> bool:
        """Whether going on using the service means acceptance."""
        answer, number = self.last(who, now), self.governing(now)
        if answer is None or answer.what != "yes" or "continued_use" not in self.acts(who, number, now):
            return False
        due = self.real(answer.number, number)
        in_time = [self.told.get((who, n), now) < self.editions[n - 1].start <= now for n in due]
        return bool(due) and all(in_time)

    def to_tell(self, now: int) -> set[str]:
        newest = max(self.real(0, len(self.editions)), default=1)
        found = set()
        for who in PEOPLE:
            mine = [s for s in self.said if s.who == who and s.at <= now and s.what != "revoked"]
            own = max(mine, key=lambda s: s.at, default=None)
            knows = any(w == who and n >= newest for w, n in self.told)
            if own is not None and own.what == "yes" and own.number < newest and not knows:
                found.add(who)
        return found

    def thing(self, who: str, thing: str, at: int) -> str:
        mine = [s for s in self.given[thing] if s.who == who and s.at <= at]
        if not mine:
            return "NO_ANSWER"
        if mine[-1].what == "no":
            return "REFUSED"
        asked = max(sum(published <= at for published in self.things[thing]), 1)
        return "GIVEN" if mine[-1].number >= asked else "OUTDATED"


# ---------------------------------------------------------------- the machine


class Machine:
    """The kit and the model are told the same; they have to agree."""

    def __init__(self, kit: Kit, now: list[int], number: int, acts: list[str]) -> None:
        self.kit, self.now, self.number = kit, now, number
        self.key, self.model, self.moments = f"p{number}", Model(), list[int]()
        self.written: list[PolicyVersion] = []
        self.now[0] += 100 * DAY
        self.add("material", None, acts)
        self.model.things = {thing: [self.now[0]] for thing in THINGS}

    def name(self, person: str) -> str:
        return f"{person}-{self.number}"

    def text(self, version: int, locale: str) -> str:
        return f"{self.key} {version} {locale}"

    def digest(self, version: int, locale: str) -> str:
        return hashlib.sha256(self.text(version, locale).encode()).hexdigest()

    def step(self) -> int:
        """Time passes, so that no two answers are at one moment; what was true is asked again at the end."""
        self.moments.append(self.now[0] + SECOND // 2)
        self.now[0] += SECOND
        return self.now[0]

    def publish(self, written: list[PolicyVersion]) -> None:
        policy = Policy(self.key, title="P", versions=written)
        versions = {thing: len(dates) for thing, dates in self.model.things.items()}
        purposes = [
            Purpose(f"{thing}-{self.key}", title=thing, version=n, data=[str(n)])
            for thing, n in versions.items()
        ]
        catalog: Catalog = build(purposes=purposes, policies=[policy])
        runtime = self.kit.runtime
        new = Runtime(catalog, runtime.database, key=KEY, clock=runtime.clock)
        new.publish()
        self.kit._runtime = new

    def add(self, change: str, start: int | None, acts: list[str]) -> None:
        ordinal = len(self.written) + 1
        texts = {locale: self.text(ordinal, locale) for locale in ("en", "de")}
        effective = from_us(start) if start is not None else None
        allowed = [a for a in acts if a in EXPRESS] if change == "reduces_rights" else acts
        version = PolicyVersion(str(ordinal), change, effective, allowed, texts=texts)  # type: ignore[arg-type]
        begins = max(start or 0, self.now[0]) if self.written or start is None else start
        dates = [v.effective for v in self.written if v.effective]
        backwards = effective is not None and dates != [] and effective < dates[-1]
        if backwards or (self.model.editions and begins < self.model.editions[-1].start):
            with pytest.raises(CatalogError, match="before the one above it"):
                self.publish([*self.written, version])
            return
        self.publish([*self.written, version])
        self.written.append(version)
        default = EXPRESS if change == "reduces_rights" else DEFAULT
        self.model.editions.append(Edition(change, begins, set(allowed) or default))

    # -- what may happen

    def new_version(self, change: str, days: int | None, acts: list[str]) -> None:
        now = self.step()
        before = len(self.model.editions)
        self.add(change, None if days is None else now + days * DAY, acts)
        added = len(self.model.editions)
        if added > before and change != "editorial" and self.model.governing(now) == added:
            outdated = [p for p in PEOPLE if self.decide(self.key, p).reason is Reason.OUTDATED]
            counted = self.kit.runtime.database.read(lambda tx: asked_again(tx, Kind.POLICY, self.key, added))
            assert counted == len(outdated)

    def new_purpose(self, thing: str) -> None:
        now, key = self.step(), f"{thing}-{self.key}"
        self.model.things[thing].append(now)
        self.publish(self.written)
        version = len(self.model.things[thing])
        counted = self.kit.runtime.database.read(lambda tx: asked_again(tx, Kind.PURPOSE, key, version))
        assert counted == sum(self.model.thing(p, thing, now) == "OUTDATED" for p in PEOPLE)

    def time_passes(self, days: int) -> None:
        self.moments.append(self.now[0] + SECOND // 2)
        self.now[0] += days * DAY

    def accept(self, person: str, act: str, locale: str) -> None:
        now = self.step()
        self.say_yes(person, act, self.model.governing(now), now, locale=locale)

    def accept_shown(self, person: str, act: str, back: int, locale: str) -> None:
        """The text of any version: an old one is refused, a coming one is accepted ahead."""
        now = self.step()
        version = max(len(self.model.editions) - back // 2, 1)
        shown = self.digest(version, locale)
        if version < self.model.governing(now):
            with pytest.raises(NoticeOutdated):
                self.kit.accept(self.name(person), self.key, method=act, notice=shown)
            return
        self.say_yes(person, act, version, now, notice=shown)

    def say_yes(self, person: str, act: str, version: int, now: int, **how: Any) -> None:
        allowed = self.model.acts(person, version, now)
        good = act in allowed and (act != "continued_use" or self.model.by_use(person, now))
        if not good:
            with pytest.raises(ChoiceRejected):
                self.kit.accept(self.name(person), self.key, method=act, **how)
            return
        (event,) = self.kit.accept(self.name(person), self.key, method=act, **how)
        assert event.version == str(version)
        assert event.notice == self.digest(version, event.locale or "")
        assert event.notice == how.get("notice", event.notice)
        assert event.locale == (
            {"fr": "en"}.get(how["locale"], how["locale"]) if "locale" in how else event.locale
        )
        self.model.said.append(Said(now, person, "yes", version))

    def paper_found_later(self, person: str, back: int) -> None:
        """An acceptance on paper that was given days ago: of the version that governed then."""
        now = self.step()
        at = now - back * DAY - SECOND // 4
        version = self.model.governing(at)
        if "paper" in self.model.acts(person, version, now):
            self.kit.accept(self.name(person), self.key, method="paper", at=from_us(at))
            self.model.said.append(Said(at, person, "yes", version))
        else:
            with pytest.raises(ChoiceRejected):
                self.kit.accept(self.name(person), self.key, method="paper", at=from_us(at))

    def deny(self, person: str, what: str) -> None:
        now = self.step()
        if what == "no":
            self.kit.decline(self.name(person), self.key)
        else:
            actor = "operator" if what == "revoked" else "subject"
            self.kit.withdraw(self.name(person), self.key, actor=actor)
        self.model.said.append(Said(now, person, what))

    def tell(self, person: str, back: int) -> None:
        now = self.step()
        version = max(len(self.model.editions) - back // 2, 1)
        events = self.kit.notified(self.name(person), self.key, version=str(version))
        assert len(events) == (0 if (person, version) in self.model.told else 1)
        self.model.told.setdefault((person, version), now)

    def tell_all(self) -> None:
        now = self.step()
        for name in list(self.kit.to_tell(self.key)):
            assert self.kit.notified(name, self.key)
            self.model.told[(name.rsplit("-", 1)[0], len(self.model.editions))] = now
        assert list(self.kit.to_tell(self.key)) == []

    def use(self, person: str) -> None:
        now = self.step()
        expected, version = self.model.by_use(person, now), self.model.governing(now)
        events = self.kit.continue_use(self.name(person))
        assert [e.version for e in events] == ([str(version)] if expected else [])
        if expected:
            self.model.said.append(Said(now, person, "yes", version))

    def announced_change(self, person: str, change: str, told: bool, days: int) -> None:
        """The whole course: accepted, announced, perhaps told, and the person goes on using the service."""
        self.accept(person, "tick", "en")
        self.new_version(change, 2, USE)
        if told:
            self.tell(person, 0)
        self.time_passes(days)
        self.use(person)

    def answer_purpose(self, person: str, thing: str, yes: bool) -> None:
        now, key = self.step(), f"{thing}-{self.key}"
        if yes:
            with pytest.raises(ChoiceRejected, match="is not consent"):
                self.kit.give(self.name(person), key, method="continued_use")
        (self.kit.give if yes else self.kit.refuse)(self.name(person), key)
        version = len(self.model.things[thing])
        self.model.given[thing].append(Said(now, person, "yes" if yes else "no", version))

    # -- what has to hold

    def decide(self, key: str, person: str, at: datetime | None = None) -> Any:
        return self.kit.decide(self.name(person), key, at=at)

    def agree(self) -> None:
        now = self.now[0] + SECOND // 2
        self.now[0] = now
        version = self.model.governing(now)
        release = self.kit.policy_in_effect(self.key)
        assert release is not None
        assert release.ordinal == version
        for person in PEOPLE:
            decision = self.decide(self.key, person)
            assert (decision.reason, decision.version) == (self.model.decision(person, now), str(version))
            for thing in THINGS:
                assert self.decide(f"{thing}-{self.key}", person).reason == self.model.thing(
                    person, thing, now
                )
            past = self.kit._past(self.name(person), {})
            known = set(methods(self.kit.runtime.published, release, past))
            assert known == self.model.acts(person, version, now)
        told = {name.rsplit("-", 1)[0] for name in self.kit.to_tell(self.key)}
        assert told == self.model.to_tell(now)

    def agree_on_the_past(self) -> None:
        """At every moment that has passed."""
        for at in (self.model.editions[0].start, *self.moments):
            release = self.kit.policy_in_effect(self.key, from_us(at))
            assert release is not None
            assert release.ordinal == self.model.governing(at)
            for person in PEOPLE:
                decision = self.decide(self.key, person, from_us(at))
                assert decision.reason == self.model.decision(person, at), (person, at)
                thing = THINGS[0]
                then = self.decide(f"{thing}-{self.key}", person, from_us(at))
                assert then.reason == self.model.thing(person, thing, at)


# ---------------------------------------------------------------- histories

who = st.sampled_from(PEOPLE)
pick = st.integers(0, 5)
some = st.sampled_from
CHANGES = ("editorial", "material", "material", "reduces_rights")


def step(often: int, name: str, **given: Any) -> list[st.SearchStrategy[tuple[str, dict[str, Any]]]]:
    return [st.tuples(st.just(name), st.fixed_dictionaries(given))] * often


STEPS = st.one_of(
    *step(3, "new_version", change=some(CHANGES), days=some((None, -3, 0, 2, 2, 5)), acts=some(LISTS)),
    *step(1, "new_purpose", thing=some(THINGS)),
    *step(3, "time_passes", days=some((1, 2, 3))),
    *step(
        3, "accept", person=who, act=some(("tick", "button", "login_button")), locale=some(("en", "de", "fr"))
    ),
    *step(2, "accept", person=who, act=some(ALL_ACTS), locale=some(("en", "de", "fr"))),
    *step(2, "accept_shown", person=who, act=some(("tick", "button")), back=pick, locale=some(("en", "de"))),
    *step(1, "paper_found_later", person=who, back=pick),
    *step(1, "deny", person=who, what=some(("no", "withdrawn", "revoked"))),
    *step(2, "tell", person=who, back=pick),
    *step(1, "tell_all"),
    *step(3, "use", person=who),
    *step(
        2,
        "announced_change",
        person=who,
        change=some(CHANGES),
        told=some((True, True, False)),
        days=some((1, 3)),
    ),
    *step(2, "answer_purpose", person=who, thing=some(THINGS), yes=st.booleans()),
    *step(2, "agree"),
)
HISTORIES = st.tuples(some(LISTS), st.lists(STEPS, min_size=20, max_size=45))


class Agreement:
    examples = 40

    def test_the_kit_agrees_with_the_model(self, url: str) -> None:
        time, numbers = [1_800_000_000 * SECOND], itertools.count(1)
        kit = open_kit(url, build(), clock=Clock(lambda: time[0]))

        @settings(
            max_examples=self.examples,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(HISTORIES)
        def test(history: tuple[list[str], list[tuple[str, dict[str, Any]]]]) -> None:
            acts, steps = history
            machine = Machine(kit, time, next(numbers), acts)
            for name, how in steps:
                getattr(machine, name)(**how)
            machine.agree()
            machine.agree_on_the_past()

        test()
        kit.runtime.dispose()


class TestSqlite(OnSqlite, Agreement): ...


class TestPostgresql(OnPostgresql, Agreement):
    examples = 10
