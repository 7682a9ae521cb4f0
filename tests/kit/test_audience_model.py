"""An audience holds exactly whom the gate allows: on random ledgers, by random catalogues, for every reason."""

from __future__ import annotations

import itertools
import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from ledgers import KEY, OnPostgresql, OnSqlite, open_kit

from consentkit.core import audience, gate
from consentkit.core.catalog import Catalog, MinorRules, Policy, PolicyVersion, Purpose, Site
from consentkit.core.catalog_rules import build
from consentkit.core.errors import ConsentKitError
from consentkit.core.gate import Decision
from consentkit.core.minors import Age
from consentkit.core.places import AgeRule, RegimeRule
from consentkit.core.record import bucket_of
from consentkit.core.terms import Assurance, Basis, Reason, Regime
from consentkit.kit import Kit
from consentkit.kit_facts import FactSources
from consentkit.runtime import Runtime
from consentkit.store.clock import system_us
from consentkit.store.database import begin_sqlite
from consentkit.store.tables import metadata

DAY = 86_400 * 1_000_000
SUBJECTS = 150
SUBJECT, STATE = metadata.tables["consentkit_subject"], metadata.tables["consentkit_state"]
PEOPLE = sa.Table("people", sa.MetaData(), sa.Column("id", sa.Text, primary_key=True))
ASKED = ("p", "q", "account", "terms", "analytics", "necessary", "preferences")

READ = date(2026, 1, 1)
AGES = [
    AgeRule("AA", 16, 16, zone="Europe/Berlin", source="a law", as_of=READ),
    AgeRule("BB", 13, 18, ("guardian", "subject"), zone="Asia/Tokyo", source="a law", as_of=READ),
    AgeRule("CC", 14, 18, verification=Assurance.VERIFIABLE, forbidden=("Ads",), source="a law", as_of=READ),
    AgeRule("CC-N", 20, 20, zone="America/Toronto", source="a law", as_of=READ),
]
REGIMES = [
    RegimeRule("AA", {"analytics": Regime.OPT_OUT}, "a law", READ),
    RegimeRule("BB-N", {"analytics": Regime.EXEMPT_WITH_NOTICE}, "a law", READ),
]


# ---------------------------------------------------------------- what there may be


@dataclass(frozen=True)
class World:
    """A catalogue, and what is asked of it."""

    basis: Basis
    minors: str
    assurance: str
    category: str | None
    signals: list[str]
    policies: list[str]
    dpv: list[str]
    core: bool
    policy_minors: str
    rules: MinorRules | None
    default: str | None
    item: str
    scope: str


@dataclass(frozen=True)
class Said:
    """A row of state. `days`: when it is over, counted from now."""

    about: tuple[str, str]
    scope: str
    actor: str
    status: str
    version: int
    level: int
    at: int
    days: int | None


@dataclass(frozen=True)
class Known:
    """A row of facts, and how the ledger knows its subject."""

    name: str
    band: str | None
    days: int | None
    jurisdiction: str | None
    erased: bool
    said: tuple[Said, ...]


def world_of(draw: Random) -> World:
    """Any catalogue; in every third one guardians are what matters."""
    families = draw.random() < 0.34
    rules = MinorRules(
        age=draw.choice([None, 15, 18]),
        unknown_age=draw.choice(["adult", "minor", "ask"]),
        children=draw.choice(["guardian"] * 4 + ["not_allowed"]),
        guardians=draw.choice(["any", "all"]),
        ages=AGES,
    )
    return World(
        basis=Basis.CONSENT if families else draw.choice([Basis.CONSENT] * 10 + list(Basis)),
        minors="guardian" if families else draw.choice(["guardian", "never", "allowed"]),
        assurance=draw.choice(["none", "reasonable", "confirmed"]),
        category=draw.choice([None, "analytics", "analytics"]),
        signals=draw.choice([[], ["gpc"]]),
        policies=[] if families else draw.choice([[], [], ["terms"]]),
        dpv=draw.choice([[], [], ["Ads"]]),
        core=draw.random() < 0.2,
        policy_minors=draw.choice(["allowed", "guardian"]),
        rules=rules if families else draw.choice([None, rules]),
        default=draw.choice([None, "AA", "BB", "CC-N"]),
        item="p" if families else draw.choice(["p"] * 8 + list(ASKED)),
        scope=draw.choice(["", "", "c:1"]),
    )


P, SIGNAL = ("purpose", "p"), ("signal", "gpc")
ABOUT = [P, P, P, P, ("purpose", "q"), ("purpose", "account"), ("policy", "terms"), ("policy", "terms")]
ABOUT += [("subject", "restriction"), ("subject", "objection"), SIGNAL]
ACTORS = ["subject"] * 4 + ["guardian:1"] * 2 + ["guardian:2", "invitation:1", "invitation:2", "invitation"]
ACTORS += ["operator", "browser", "visitor", "Guardian:1"]
FAMILY = [
    "guardian:1",
    "guardian:1",
    "guardian:2",
    "guardian:2",
    "invitation:1",
    "invitation:2",
    "subject",
    "subject",
]
FAMILY += ["invitation", "browser"]
STATUSES = ["given"] * 7 + ["accepted"] * 2 + ["renewed", "refused", "withdrawn", "declined", "revoked"]
STATUSES += ["invalidated", "restricted", "objected", "lifted", "requested", "requested"]
JURISDICTIONS = [None, None, "AA", "AA", "AA-X", "BB", "BB-N", "bb-n", "CC", "CC-N", "CCC", "ZZ"]
DAYS = [None, -800, -1, 1, 300, 360, 700, 1000, 1430, 2000, 4000]


def said(draw: Random, family: bool) -> Said:
    """A row; in a family mostly about one thing, by guardians."""
    about = draw.choice([P] * 8 + [SIGNAL, *ABOUT] if family else ABOUT)
    actor = draw.choice(FAMILY if family else ACTORS)
    if about[0] in ("subject", "signal") and draw.random() < 0.8:
        status = draw.choice(["restricted", "objected", "objected", "lifted"])
    elif actor.startswith("invitation") and draw.random() < 0.8:
        status = "requested"
    else:
        status = "given" if family and draw.random() < 0.6 else draw.choice(STATUSES)
    return Said(
        about=about,
        scope=draw.choice(["", "", "", "c:1", "c:2"]),
        actor=actor,
        status=status,
        version=draw.choice([1, 2, 2, 2, 3]),
        level=draw.randint(0, 3),
        at=draw.randint(1, 4),
        days=draw.choice([None, None, None, 1, -1]),
    )


def people(draw: Random, number: int) -> list[Known]:
    """So many subjects of whom anything may have been said by anybody; every other one is a child of somebody."""

    def one(family: bool) -> Known:
        every = [said(draw, family) for _ in range(draw.randint(0, 7))]
        band = "minor" if family else draw.choice([None, "unknown", "adult", "minor"])
        days = draw.choice([None, 4000] if family else DAYS)
        return Known(
            name=draw.choice(["account"] * 8 + ["visitor", "hidden"]),
            band=band,
            days=days if band == "minor" else None,
            jurisdiction=draw.choice(JURISDICTIONS),
            erased=draw.random() < 0.05,
            said=tuple({(row.about, row.scope, row.actor): row for row in every}.values()),
        )

    return [one(n % 2 == 0) for n in range(number)]


def catalog_of(world: World, key: str) -> Catalog:
    """The world's catalogue under keys of its own: what was published once stays."""
    versions = [
        PolicyVersion(str(n), effective=datetime(2020 + n, 1, 1, tzinfo=UTC), texts={"en": f"{key} {n}"})
        for n in (1, 2)
    ]
    shared: dict[str, Any] = {"version": 2}
    return build(
        purposes=[
            Purpose(
                f"{key}p",
                title="P",
                basis=world.basis,
                minors=world.minors,
                assurance=world.assurance,
                category=world.category,
                signals=world.signals if world.basis is Basis.CONSENT else [],
                policies=[f"{key}{policy}" for policy in world.policies],
                dpv=world.dpv,
                **shared,
            ),
            Purpose(f"{key}q", title="Q", category="analytics", minors="allowed", **shared),
            Purpose(f"{key}account", title="A", basis=Basis.CONTRACT, core=world.core, **shared),
        ],
        policies=[Policy(f"{key}terms", title="T", versions=versions, minors=world.policy_minors)],
        minors=world.rules,
        regimes=REGIMES,
        site=Site(default_jurisdiction=world.default),
    )


# ---------------------------------------------------------------- a ledger with it


class Ledger:
    """One database; every example empties it and writes rows of its own."""

    def __init__(self, url: str) -> None:
        self.kit = open_kit(url)
        self.numbers = itertools.count()
        with self.engine.begin() as connection:
            PEOPLE.metadata.create_all(connection)

    @property
    def engine(self) -> sa.Engine:
        return self.kit.runtime.database.engine

    def fill(self, key: str, everybody: list[Known]) -> list[str]:
        """The ids that the host knows: those of the rows, and one that the ledger has never seen."""
        subjects, rows, ids = [], [], [f"{key}stranger"]
        for number, known in enumerate(everybody):
            subject = f"{'visitor:' if known.name == 'visitor' else ''}{key}x{number}"
            hidden = known.name == "hidden"
            ids.append(subject)
            bucket, pseudonym = bucket_of("", subject), uuid.uuid4().bytes
            now = system_us()
            subjects.append(
                {
                    "bucket": bucket,
                    "tenant": "",
                    "subject": self.kit.runtime.keyed.hidden_subject("", subject) if hidden else subject,
                    "subject_key": pseudonym,
                    "salt": None if hidden else b"s",
                    "band": None if hidden else known.band,
                    "minor_until_us": None if hidden or known.days is None else now + known.days * DAY,
                    "jurisdiction": None if hidden else known.jurisdiction,
                    "erased_us": 1 if hidden or known.erased else None,
                }
            )
            rows += [self.row(key, bucket, pseudonym, said, now) for said in known.said]
        with self.engine.begin() as connection:
            begin_sqlite(connection)
            for table in (SUBJECT, STATE, PEOPLE):
                connection.execute(sa.delete(table))
            connection.execute(sa.insert(PEOPLE), [{"id": each} for each in ids])
            if subjects:
                connection.execute(sa.insert(SUBJECT), subjects)
            if rows:
                connection.execute(sa.insert(STATE), rows)
        return ids

    def row(self, key: str, bucket: int, pseudonym: bytes, said: Said, now: int) -> dict[str, Any]:
        kind, item = said.about
        return {
            "bucket": bucket,
            "subject_key": pseudonym,
            "kind": kind,
            "item": item if kind in ("subject", "signal") else key + item,
            "scope": said.scope,
            "actor": said.actor,
            "status": said.status,
            "version": said.version,
            "level": said.level,
            "effective_us": said.at,
            "expires_us": None if said.days is None else now + said.days * DAY,
            "event_id": str(uuid.uuid4()),
        }

    def kit_of(self, world: World, key: str) -> Kit:
        runtime = Runtime(catalog_of(world, key), self.kit.runtime.database, key=KEY)
        runtime.publish()
        return Kit(runtime, FactSources())

    def ids(self, statement: sa.Select[Any]) -> list[str]:
        with self.engine.connect() as connection:
            return sorted(connection.scalars(statement))


REASONS = set(Reason) - {Reason.STORE_UNAVAILABLE, Reason.EXCEPTION}
"""Those two are no property of a ledger's rows."""


class ModelSuite:
    """Runs on either database."""

    examples: int

    @pytest.fixture
    def ledger(self, url: str) -> Any:
        ledger = Ledger(url)
        yield ledger
        ledger.kit.runtime.dispose()

    def test_an_audience_is_whom_the_gate_allows(self, ledger: Ledger) -> None:
        reasons: set[Reason] = set()

        @settings(
            max_examples=self.examples,
            deadline=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(st.randoms(use_true_random=True))
        def compare(draw: Random) -> None:
            reasons.update(check(ledger, world_of(draw), people(draw, SUBJECTS)))

        compare()
        assert REASONS - reasons == set()

    def test_whom_only_the_host_could_ask_for_an_age_is_left_out(self, ledger: Ledger) -> None:
        """With an age loader an audience has nobody whom the gate might deny."""
        differing = 0

        @settings(
            max_examples=self.examples // 3,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        @given(st.randoms(use_true_random=True))
        def compare(draw: Random) -> None:
            nonlocal differing
            years = draw.choice([None, 5, 15, 17, 40])
            differing += check_loaded(ledger, world_of(draw), people(draw, SUBJECTS), years)

        compare()
        assert differing > 5  # somebody of unknown age was left out


def check(ledger: Ledger, world: World, everybody: list[Known]) -> set[Reason]:
    """Compare, and tell which reasons the gate gave."""
    key = f"e{next(ledger.numbers)}"
    kit, ids = ledger.kit_of(world, key), ledger.fill(key, everybody)
    item = world.item if world.item in kit.catalog.categories else key + world.item
    asked: dict[str, Any] = {"scope": world.scope}
    decisions = {each: kit.decide(each, item, **asked) for each in ids}
    allowed = sorted(each for each, decision in decisions.items() if decision.allowed)
    given_ids = sa.select(PEOPLE.c.id)
    found = ledger.ids(kit.audience(item, among=given_ids, **asked))
    assert found == allowed, differences(decisions, found, everybody, world)
    assert ledger.ids(given_ids.where(kit.allowed(item, PEOPLE.c.id, **asked))) == allowed
    assert list(kit.audience_ids(item, among=sorted(ids), **asked)) == allowed
    if decisions[f"{key}stranger"].allowed:
        with pytest.raises(ConsentKitError, match="among"):
            kit.audience(item, **asked)
    else:
        accounts = [each for each in allowed if not each.startswith("visitor:")]
        assert ledger.ids(kit.audience(item, **asked)) == accounts
        assert sorted(kit.audience_ids(item, **asked)) == accounts
    return {decision.reason for decision in decisions.values()}


def differences(
    decisions: dict[str, Decision], found: list[str], everybody: list[Known], world: World
) -> str:
    """Of whom the audience and the gate do not say the same."""
    wrong = [each for each, decision in decisions.items() if decision.allowed != (each in found)]
    return f"{world}\n" + "\n".join(
        f"{decisions[each].reason}: {everybody[int(each.rpartition('x')[2])] if 'x' in each else each}"
        for each in wrong[:3]
    )


def check_loaded(ledger: Ledger, world: World, everybody: list[Known], years: int | None) -> int:
    """How many the gate allows and the audience leaves out; nobody is in it whom the gate denies."""
    key = f"e{next(ledger.numbers)}"
    kit, ids = ledger.kit_of(world, key), ledger.fill(key, everybody)
    kit.facts.age = lambda subject: None if years is None else Age(years=years)
    item = world.item if world.item in kit.catalog.categories else key + world.item
    asked: dict[str, Any] = {"scope": world.scope}
    decisions = {each: kit.decide(each, item, **asked) for each in ids}
    given_ids = sa.select(PEOPLE.c.id)
    found = ledger.ids(kit.audience(item, among=given_ids, **asked))
    assert found == ledger.ids(given_ids.where(kit.allowed(item, PEOPLE.c.id, **asked)))
    allowed = {each for each, decision in decisions.items() if decision.allowed}
    assert set(found) <= allowed, differences(decisions, found, everybody, world)
    assert set(kit.audience_ids(item, among=ids, **asked)) == allowed
    left_out = {everybody[int(each.rpartition("x")[2])] for each in allowed - set(found) if "x" in each}
    assert {known.band for known in left_out if known.name == "account"} <= OPEN
    return len(left_out)


OPEN = {None, "unknown", "adult"}
"""Bands that may leave an age open: an adult by the rule of a place with a lower age is of unknown age elsewhere."""


class TestOnSqlite(OnSqlite, ModelSuite):
    examples = 60


class TestOnPostgresql(OnPostgresql, ModelSuite):
    examples = 40


def test_the_builder_knows_every_step_of_the_gate() -> None:
    """A step that the gate gets has to be written here too: `core.audience`."""
    for ours, theirs in (
        (audience.PURPOSE_STEPS, gate._PURPOSE_STEPS),
        (audience.POLICY_STEPS, gate._POLICY_STEPS),
    ):
        assert [(n, step.__name__) for n, step in ours] == [(n, step.__name__) for n, step in theirs]
