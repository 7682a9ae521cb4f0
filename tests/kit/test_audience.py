"""Audiences: what may be asked and how, statements that are kept, queries of the host's, who is never in one."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from ledgers import KEY, LOG_KEY, OnPostgresql, OnSqlite, ShiftedClock, Suite, catalog, open_kit
from sqlalchemy.dialects.postgresql import CITEXT
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, aliased, mapped_column

from consentkit import kit_audience
from consentkit.core.catalog import Bundle, MinorRules, Policy, PolicyVersion, Purpose, Site
from consentkit.core.catalog_rules import build
from consentkit.core.errors import ConsentKitError, StoreUnavailable, UnknownPurpose
from consentkit.core.minors import Age
from consentkit.core.places import RegimeRule
from consentkit.core.record import bucket_of
from consentkit.kit import Kit
from consentkit.kit_facts import FactSources
from consentkit.runtime import Runtime
from consentkit.store import audience as store
from consentkit.store.database import Database
from consentkit.store.tables import metadata

DAY = 86_400 * 1_000_000
SOON = datetime.now(UTC) + timedelta(days=20)


def listed(kit: Kit, statement: Any) -> list[Any]:
    """What a statement finds, in order."""
    with kit.runtime.database.engine.connect() as connection:
        return sorted(connection.scalars(statement))


def audience(kit: Kit, item: str, **asked: Any) -> list[Any]:
    return listed(kit, kit.audience(item, **asked))


def rows_of(kit: Kit, kind: Any, ids: list[Any]) -> sa.Table:
    """A table of the host's with these ids."""
    table = sa.Table(f"host_{uuid.uuid4().hex[:8]}", sa.MetaData(), sa.Column("id", kind))
    with transaction(kit) as connection:
        table.create(connection)
        connection.execute(table.insert(), [{"id": each} for each in ids])
    return table


@contextmanager
def transaction(kit: Kit) -> Iterator[sa.Connection]:
    """One for all of it: our own engine for SQLite is in autocommit, where each row would wait for the disk."""
    with kit.runtime.database.engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield connection
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("COMMIT")


class AskingSuite(Suite):
    """What is asked."""

    def test_who_said_yes(self, kit: Kit) -> None:
        kit.give("u-1", "news")
        kit.refuse("u-2", "news")
        kit.give("u-3", "stats")
        assert audience(kit, "news") == ["u-1"]
        assert audience(kit, "analytics") == []  # heatmap was not answered
        kit.give("u-3", "heatmap")
        assert audience(kit, "analytics") == ["u-3"]
        assert list(kit.audience_ids("analytics")) == ["u-3"]

    def test_one_column_called_subject(self, kit: Kit) -> None:
        people = sa.select(rows_of(kit, sa.Text, ["u-1"]).c.id)
        for statement in (
            kit.audience("news"),
            kit.audience("news", among=people),
            kit.audience("account", among=people),
            kit.audience("preferences"),
        ):
            assert list(statement.selected_columns.keys()) == ["subject"]

    def test_policies_and_bundles(self, kit: Kit) -> None:
        kit.accept("u-1", "terms")
        kit.accept("u-2", "sign_in")
        assert audience(kit, "terms") == ["u-1", "u-2"]
        assert audience(kit, "sign_in") == ["u-2"]

    def test_one_thing(self, kit: Kit) -> None:
        kit.give("u-1", "quote", scope="c:1")
        kit.give("u-2", "quote", scope="c:2")
        assert audience(kit, "quote") == []
        assert audience(kit, "quote", scope="c:1") == ["u-1"]

    def test_tenants_are_apart(self, kit: Kit) -> None:
        kit.give("u-1", "news", tenant="a")
        kit.give("u-2", "news")
        assert audience(kit, "news") == ["u-2"]
        assert audience(kit, "news", tenant="a") == ["u-1"]
        people = rows_of(kit, sa.Text, ["u-1", "u-2"])
        assert listed(kit, sa.select(people.c.id).where(kit.allowed("news", people.c.id, tenant="a"))) == [
            "u-1"
        ]
        assert list(kit.audience_ids("news", tenant="a", among=["u-1", "u-2"])) == ["u-1"]

    def test_visitors_only_where_they_are_asked_for(self, kit: Kit) -> None:
        kit.choose("visitor:v1", give=["news"])
        kit.give("u-1", "news")
        assert audience(kit, "news") == ["u-1"]
        people = rows_of(kit, sa.Text, ["visitor:v1", "u-1", "u-9"])
        ids = sa.select(people.c.id)
        assert audience(kit, "news", among=ids) == ["u-1", "visitor:v1"]
        assert listed(kit, ids.where(kit.allowed("news", people.c.id))) == ["u-1", "visitor:v1"]

    def test_what_is_not_known(self, kit: Kit) -> None:
        for ask in (kit.audience, kit.audience_ids):
            with pytest.raises(UnknownPurpose):
                ask("nothing")
        with pytest.raises(UnknownPurpose):
            kit.allowed("nothing", sa.column("id", sa.Text))


class SilenceSuite(Suite):
    """Where silence is enough: people are allowed whom the ledger has never seen."""

    def test_it_asks_among_whom(self, kit: Kit) -> None:
        for key in ("account", "books", "necessary"):
            with pytest.raises(ConsentKitError, match=r"among=select\(User.id\)"):
                kit.audience(key)
            with pytest.raises(ConsentKitError, match="among"):
                kit.audience_ids(key)

    def test_strangers_are_in_and_objectors_are_out(self, kit: Kit) -> None:
        kit.object("u-1", "account")
        kit.restrict("u-2")
        kit.give("u-3", "news")
        people = rows_of(kit, sa.Text, ["u-1", "u-2", "u-3", "u-4", "u-4", None])
        ids = sa.select(people.c.id)
        assert audience(kit, "account", among=ids) == ["u-3", "u-4"]
        distinct = ids.where(kit.allowed("account", people.c.id)).distinct()
        assert listed(kit, distinct) == ["u-3", "u-4"]
        given = ["u-4", "u-3", "u-2", "u-1"]
        assert list(kit.audience_ids("account", among=given)) == ["u-4", "u-3"]

    def test_an_erased_one_is_no_stranger_even_when_the_id_is_hidden(
        self, url: str, clock: ShiftedClock
    ) -> None:
        kit = open_kit(url, clock=clock)
        kit.give("u-1", "news")
        kit.erase("u-1")
        people = rows_of(kit, sa.Text, ["u-1", "u-2"])
        kept = kit.audience("account", among=sa.select(people.c.id))
        query = sa.select(people.c.id).where(kit.allowed("account", people.c.id))
        assert listed(kit, kept) == listed(kit, query) == ["u-2"]
        clock.shift_us += 40 * DAY
        assert kit.purge() == 1
        assert listed(kit, kept) == listed(kit, query) == ["u-2"]
        assert list(kit.audience_ids("account", among=["u-1", "u-2"])) == ["u-2"]
        # A legal obligation does not end with an erasure.
        assert audience(kit, "books", among=sa.select(people.c.id)) == ["u-1", "u-2"]
        kit.runtime.dispose()

    def test_an_erased_one_is_no_stranger_however_the_column_writes_the_id(
        self, url: str, clock: ShiftedClock
    ) -> None:
        kit = open_kit(url, clock=clock)
        kit.give("eva", "news")
        kit.erase("eva")
        clock.shift_us += 40 * DAY
        assert kit.purge() == 1
        padded = rows_of(kit, sa.CHAR(12), ["eva", "zed"]).c.id
        if kit.runtime.database.postgresql:
            with kit.runtime.database.engine.begin() as connection:
                connection.exec_driver_sql("CREATE EXTENSION citext")
        folded: Any = CITEXT if kit.runtime.database.postgresql else sa.Text(collation="NOCASE")
        assert [each.strip() for each in self.both(kit, padded)] == ["zed"]
        for order in (["EVA", "eva"], ["eva", "EVA"]):
            assert self.both(kit, rows_of(kit, folded, order).c.id) == ["EVA"]  # who is somebody else
        kit.runtime.dispose()

    def both(self, kit: Kit, ids: Any) -> list[str]:
        """Who may be processed for the account, as a condition and as a set."""
        found = listed(kit, sa.select(ids).where(kit.allowed("account", ids)))
        assert [each.strip() for each in found] == audience(kit, "account", among=sa.select(ids))
        return found

    def test_a_purge_between_the_question_and_the_answer(
        self, url: str, clock: ShiftedClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kit = open_kit(url, clock=clock)
        kit.give("u-1", "news")
        kit.erase("u-1")
        clock.shift_us += 40 * DAY
        people = rows_of(kit, sa.Text, ["u-1", "u-2"])
        asked = kit_audience._erased

        def then_purged(*question: Any) -> list[str]:
            found = asked(*question)
            assert kit.purge() == 1
            return found

        monkeypatch.setattr(kit_audience, "_erased", then_purged)
        query = sa.select(people.c.id).where(kit.allowed("account", people.c.id))
        assert listed(kit, query) == ["u-2"]
        kit.runtime.dispose()

    def test_more_erased_ones_than_a_statement_has_parameters(self, kit: Kit) -> None:
        ids = [f"gone-{n}" for n in range(66_000)]
        kit.decide("u-1", "account")  # which opens the ledger
        gone = [
            {
                "bucket": bucket_of("", each),
                "tenant": "",
                "subject": kit.runtime.keyed.hidden_subject("", each),
                "subject_key": n.to_bytes(16, "big"),
                "salt": None,
                "erased_us": 1,
            }
            for n, each in enumerate(ids)
        ]
        with transaction(kit) as connection:
            connection.execute(metadata.tables["consentkit_subject"].insert(), gone)
        people = rows_of(kit, sa.Text, [*ids, "u-2"])
        assert self.both(kit, people.c.id) == ["u-2"]

    def test_a_regime_of_the_place(self, url: str) -> None:
        rows = [RegimeRule("ZZ", {"analytics": "opt_out"}, "a law", SOON.date())]  # type: ignore[dict-item]
        stats = Purpose("stats", title="Stats", category="analytics")
        kit = open_kit(url, build(purposes=[stats], regimes=rows, site=Site(default_jurisdiction="ZZ")))
        kit.learn("u-1", jurisdiction="ZZ")
        kit.learn("u-2", jurisdiction="DE")
        people = rows_of(kit, sa.Text, ["u-1", "u-2", "u-3"])
        assert audience(kit, "stats", among=sa.select(people.c.id)) == ["u-1", "u-3"]
        kit.runtime.dispose()


class KeptSuite(Suite):
    """A statement that is kept and executed again gives the answer of then."""

    def statements(self, kit: Kit, item: str) -> list[Any]:
        people = rows_of(kit, sa.Text, ["u-1", "u-2"])
        ids = sa.select(people.c.id)
        return [kit.audience(item), kit.audience(item, among=ids), ids.where(kit.allowed(item, people.c.id))]

    def test_when_a_grant_ends(self, url: str, clock: ShiftedClock) -> None:
        kit = open_kit(url, catalog(purposes=[Purpose("news", title="N", valid_for="P10D")]), clock=clock)
        kept = self.statements(kit, "news")
        kit.give("u-1", "news")
        assert [listed(kit, each) for each in kept] == [["u-1"]] * 3
        clock.shift_us += 11 * DAY
        assert [listed(kit, each) for each in kept] == [[]] * 3
        kit.runtime.dispose()

    def test_when_a_version_comes_into_force(self, url: str, clock: ShiftedClock) -> None:
        versions = [
            PolicyVersion("1", texts={"en": "1"}),
            PolicyVersion("2", effective=SOON, texts={"en": "2"}),
        ]
        policies = [Policy("terms", title="T", versions=versions)]
        kit = open_kit(url, build(policies=policies, bundles=[Bundle("all", ["terms"])]), clock=clock)
        kept = self.statements(kit, "all")
        kit.accept("u-1", "terms")
        assert [listed(kit, each) for each in kept] == [["u-1"]] * 3
        clock.shift_us += 21 * DAY
        assert [listed(kit, each) for each in kept] == [[]] * 3
        kit.runtime.dispose()

    def test_when_a_child_grows_up(self, url: str, clock: ShiftedClock) -> None:
        letter = Purpose("letter", title="L", minors="never")
        kit = open_kit(url, build(purposes=[letter], minors=MinorRules(age=16)), clock=clock)
        born = (datetime.now(UTC) - timedelta(days=int(18 * 365.25) - 10)).date()
        kept = self.statements(kit, "letter")
        kit.give("u-1", "letter")
        kit.learn("u-1", age=Age(born=born))
        assert [listed(kit, each) for each in kept] == [[]] * 3
        clock.shift_us += 13 * DAY
        assert [listed(kit, each) for each in kept] == [["u-1"]] * 3
        kit.runtime.dispose()


class Base(DeclarativeBase): ...


class User(Base):
    __tablename__ = "shop_user"
    id: Mapped[int] = mapped_column(primary_key=True)
    login: Mapped[str]
    city: Mapped[str]


class HostSuite(Suite):
    """Queries of the host's, on its own engine."""

    @pytest.fixture
    def engine(self, url: str) -> Iterator[sa.Engine]:
        engine = sa.create_engine(url)
        Base.metadata.create_all(engine)
        with Session(engine) as session:
            people = [(1, "ada", "Bergen"), (2, "bob", "Bergen"), (3, "cyd", "Oslo")]
            session.add_all(User(id=n, login=login, city=city) for n, login, city in people)
            session.commit()
        yield engine
        engine.dispose()

    @pytest.fixture
    def kit(self, engine: sa.Engine) -> Kit:
        database = Database(lambda: engine, owned=False)
        runtime = Runtime(catalog(), database, key=KEY, log_key=LOG_KEY)
        runtime.upgrade()
        runtime.publish()
        kit = Kit(runtime)
        for login in ("ada", "cyd"):
            kit.give(login, "news")
        kit.give("2", "stats")
        return kit

    def logins(self, engine: sa.Engine, statement: Any) -> list[str]:
        with Session(engine) as session:
            return sorted(session.scalars(statement))

    def test_beside_conditions_of_its_own(self, kit: Kit, engine: sa.Engine) -> None:
        allowed = kit.allowed("news", User.login)
        query = sa.select(User.login).where(User.city == "Bergen", allowed)
        assert self.logins(engine, query) == ["ada"]
        assert self.logins(engine, sa.select(User.login).where(~allowed)) == ["bob"]
        assert self.logins(engine, sa.select(User.login).where(allowed | (User.id == 2))) == [
            "ada",
            "bob",
            "cyd",
        ]
        with Session(engine) as session:
            users = session.scalars(sa.select(User).where(allowed).order_by(User.id)).all()
            assert [user.login for user in users] == ["ada", "cyd"]
            assert session.execute(sa.select(User.login, allowed).order_by(User.id)).all() == [
                ("ada", True),
                ("bob", False),
                ("cyd", True),
            ]

    def test_another_name_for_the_table(self, kit: Kit, engine: sa.Engine) -> None:
        other = aliased(User)
        query = sa.select(other.login).where(kit.allowed("news", other.login))
        assert self.logins(engine, query) == ["ada", "cyd"]
        inside = sa.select(User.login).where(
            User.id.in_(sa.select(other.id).where(kit.allowed("news", other.login)))
        )
        assert self.logins(engine, inside) == ["ada", "cyd"]

    def test_two_columns_of_one_statement(self, kit: Kit, engine: sa.Engine) -> None:
        """What was written for one column is kept for the next."""
        other = aliased(User)
        pairs = sa.select(User.login + "-" + other.login).where(User.id < other.id)
        one, two = kit.allowed("news", User.login), kit.allowed("news", other.login)
        assert self.logins(engine, pairs.where(one, two)) == ["ada-cyd"]
        assert self.logins(engine, pairs.where(one, ~two)) == ["ada-bob"]
        inner = sa.select(other.login).where(two, other.id > User.id).correlate(User).exists()
        assert self.logins(engine, sa.select(User.login).where(one, inner)) == ["ada"]

    def test_one_thing_after_the_other(self, kit: Kit, engine: sa.Engine) -> None:
        """Each scope and tenant has an answer of its own, and not all of them are kept."""
        for number in range(70):
            kit.allowed("quote", User.login, scope=f"c:{number}")
        kit.give("ada", "quote", scope="c:1")
        kit.give("bob", "quote", scope="c:2", tenant="shop")
        asked: list[tuple[dict[str, str], list[str]]] = [
            ({}, []),
            ({"scope": "c:1"}, ["ada"]),
            ({"scope": "c:2"}, []),
            ({"scope": "c:2", "tenant": "shop"}, ["bob"]),
        ]
        for about, logins in asked:
            query = sa.select(User.login).where(kit.allowed("quote", User.login, **about))
            assert self.logins(engine, query) == logins
        assert len(kit.runtime.rules().kept) <= 64

    def test_a_set(self, kit: Kit, engine: sa.Engine) -> None:
        query = sa.select(User.login).where(User.login.in_(kit.audience("news")), User.city == "Oslo")
        assert self.logins(engine, query) == ["cyd"]
        among = kit.audience("news", among=sa.select(User.login).where(User.city == "Bergen"))
        assert self.logins(engine, among) == ["ada"]
        both = sa.select(User.login).where(User.city == "Oslo").union(sa.select(sa.literal("ada")))
        assert self.logins(engine, kit.audience("news", among=both)) == ["ada", "cyd"]

    def test_update_and_delete(self, kit: Kit, engine: sa.Engine) -> None:
        with Session(engine) as session:
            allowed = kit.allowed("news", User.login)
            session.execute(sa.update(User).where(allowed).values(city="mailed"))
            session.execute(sa.delete(User).where(~allowed))
            session.commit()
            assert sorted(session.execute(sa.select(User.login, User.city)).all()) == [
                ("ada", "mailed"),
                ("cyd", "mailed"),
            ]

    def test_numbers_are_their_decimal_text(self, kit: Kit, engine: sa.Engine) -> None:
        assert self.logins(engine, sa.select(User.id).where(kit.allowed("purpose:stats", User.id))) == [2]
        assert self.logins(engine, kit.audience("purpose:stats", among=sa.select(User.id))) == ["2"]

    def test_what_is_written_but_not_committed_counts_inside(self, kit: Kit, engine: sa.Engine) -> None:
        with Session(engine) as session:
            kit.withdraw("ada", "news", connection=session.connection())
            inside = session.scalars(sa.select(User.login).where(kit.allowed("news", User.login))).all()
            assert list(inside) == ["cyd"]
            session.rollback()
        assert self.logins(engine, kit.audience("news")) == ["ada", "cyd"]

    def test_types_whose_text_is_another(self, kit: Kit) -> None:
        for kind in (sa.Float(), sa.LargeBinary(), sa.DateTime(), sa.Enum("a", "b"), sa.JSON()):
            with pytest.raises(ValueError, match="give an expression of type String"):
                kit.allowed("news", sa.column("id", kind))
            with pytest.raises(ValueError, match="give an expression of type String"):
                kit.audience("news", among=sa.select(sa.column("id", kind)))

    @pytest.mark.parametrize("given", ["ada", None, 7])
    def test_an_id_is_no_column(self, kit: Kit, given: Any) -> None:
        with pytest.raises(ValueError, match="no column: give the one with the ids"):
            kit.allowed("news", given)

    def test_among_is_a_select_of_one_column(self, kit: Kit) -> None:
        with pytest.raises(ValueError, match="audience_ids"):
            kit.audience("news", among=["ada"])  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="2 columns"):
            kit.audience("news", among=sa.select(User.id, User.login))
        with pytest.raises(ValueError, match="not one text"):
            kit.audience_ids("news", among="ada")


class FactsSuite(Suite):
    """Facts: as a job would see them."""

    def test_the_place_of_a_request_is_not_that_of_everybody(self, url: str) -> None:
        rows = [RegimeRule("ZZ", {"analytics": "opt_out"}, "a law", SOON.date())]  # type: ignore[dict-item]
        stats = Purpose("stats", title="Stats", category="analytics")
        kit = open_kit(url, build(purposes=[stats], regimes=rows))
        kit.facts = FactSources(jurisdiction=lambda: "ZZ", in_request=lambda: True)
        kit.learn("u-1", jurisdiction="ZZ")
        people = rows_of(kit, sa.Text, ["u-1", "u-2"])
        assert kit.decide("u-2", "stats").allowed  # who asks is there
        assert audience(kit, "stats", among=sa.select(people.c.id)) == ["u-1"]
        kit.runtime.dispose()

    def test_an_age_that_only_the_host_knows(self, kit: Kit) -> None:
        kit.facts.age = lambda subject: Age(years=30)
        kit.give("u-1", "news")  # which writes the age down
        kit.facts.age = None
        kit.give("u-2", "news")
        kit.facts.age = lambda subject: Age(years=30)
        assert kit.decide("u-2", "news").allowed
        assert audience(kit, "news") == ["u-1"]
        assert sorted(kit.audience_ids("news", among=["u-1", "u-2"])) == ["u-1", "u-2"]
        ids = rows_of(kit, sa.Text, ["u-1", "u-2"]).c.id
        for loader, found in ((kit.facts.age, ["u-1"]), (None, ["u-1", "u-2"]), (kit.facts.age, ["u-1"])):
            kit.facts.age = loader
            assert listed(kit, sa.select(ids).where(kit.allowed("news", ids))) == found
        kit.learn("u-2", age=Age(years=30))
        assert audience(kit, "news") == ["u-1", "u-2"]

    def test_an_exception_opens_nothing_here(self, url: str) -> None:
        from consentkit.core.catalog import ExceptionGround

        kit = open_kit(url, catalog(exceptions=[ExceptionGround("court_order", source="a law")]))
        kit.refuse("u-1", "news")
        people = rows_of(kit, sa.Text, ["u-1"])
        about = {"subject": "u-1", "purposes": ["news"], "reference": "7", "operator": "staff-1"}
        with kit.exception("court_order", **about):  # type: ignore[arg-type]
            assert kit.decide("u-1", "news").allowed
            assert audience(kit, "news", among=sa.select(people.c.id)) == []
            assert list(kit.audience_ids("news", among=["u-1"])) == []
        kit.runtime.dispose()


class StreamSuite(Suite):
    def test_ids_at_hand_are_taken_bit_by_bit(self, kit: Kit) -> None:
        taken = 0

        def ids() -> Iterator[str]:
            nonlocal taken
            for taken in range(5000):
                yield f"u-{taken}"

        found = kit.audience_ids("account", among=ids())
        assert taken == 0
        assert next(found) == "u-0"
        assert taken < 1000

    def test_a_list_that_is_left_gives_its_connection_back(self, kit: Kit) -> None:
        for n in range(3):
            kit.give(f"u-{n}", "news")
        pool: Any = kit.runtime.database.engine.pool
        found = kit.audience_ids("news")
        next(found)
        assert pool.checkedout() == 1
        found.close()  # type: ignore[attr-defined]
        assert pool.checkedout() == 0

    def test_answers_meanwhile_do_not_wait(self, kit: Kit) -> None:
        for n in range(3):
            kit.give(f"u-{n}", "news")
        found = kit.audience_ids("news")
        next(found)
        writer = threading.Thread(target=lambda: kit.withdraw("u-9", "news"))
        writer.start()
        writer.join(10)
        assert not writer.is_alive()
        assert len(list(found)) == 2

    def test_no_ledger_no_audience(self, kit: Kit) -> None:
        kit.give("u-1", "news")
        with kit.runtime.database.engine.begin() as connection:
            connection.execute(sa.text("ALTER TABLE consentkit_state RENAME TO gone"))
        with pytest.raises(StoreUnavailable):
            list(kit.audience_ids("news"))
        with pytest.raises(StoreUnavailable):
            list(kit.audience_ids("news", among=["u-1"]))
        with pytest.raises(sa.exc.DBAPIError):
            audience(kit, "news")


class TestAskingOnSqlite(OnSqlite, AskingSuite): ...


class TestAskingOnPostgresql(OnPostgresql, AskingSuite): ...


class TestSilenceOnSqlite(OnSqlite, SilenceSuite): ...


class TestSilenceOnPostgresql(OnPostgresql, SilenceSuite): ...


class TestKeptOnSqlite(OnSqlite, KeptSuite): ...


class TestKeptOnPostgresql(OnPostgresql, KeptSuite): ...


class TestHostOnSqlite(OnSqlite, HostSuite):
    def test_capitals_count_whatever_the_column_says(self, kit: Kit) -> None:
        kit.object("Eve", "account")
        table = rows_of(kit, sa.Text(collation="NOCASE"), ["eve", "ADA", "Eve"])
        ids = sa.select(table.c.id)
        assert listed(kit, ids.where(kit.allowed("news", table.c.id))) == []
        assert audience(kit, "news", among=ids) == []
        assert listed(kit, ids.where(kit.allowed("account", table.c.id))) == ["ADA", "eve"]
        assert audience(kit, "account", among=ids) == ["ADA", "eve"]

    def test_uuids_have_no_text_of_their_own(self, kit: Kit) -> None:
        with pytest.raises(ValueError, match="give an expression of type String"):
            kit.allowed("news", sa.column("id", sa.Uuid()))

    def test_the_set_is_found_by_reading_rows_in_order(self, kit: Kit) -> None:
        """Not by looking up each subject in another place of the file."""
        query = kit.audience("news").compile(
            dialect=sa.create_engine("sqlite://").dialect, compile_kwargs={"literal_binds": True}
        )
        with kit.runtime.database.engine.connect() as connection:
            plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}")]
        assert plan[0].startswith("SCAN consentkit_state")
        assert any(
            "SEARCH consentkit_subject" in step and "INDEX consentkit_subject_of_key" in step for step in plan
        )

    def test_erased_ones_are_found_by_small_indexes(self, kit: Kit) -> None:
        question, _ = kit._question(kit.runtime.rules(), "account", "", "")
        plans = []
        with kit.runtime.database.engine.connect() as connection:
            for statement in (store.hidden(question), store.to_hide(question)):
                query = statement.compile(connection, compile_kwargs={"literal_binds": True})
                plans += [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}")]
        assert [plan.split(" INDEX ")[1] for plan in plans] == [
            "consentkit_subject_hidden",
            "consentkit_subject_to_hide",
        ]


class TestHostOnPostgresql(OnPostgresql, HostSuite):
    def test_uuids_are_their_usual_text(self, kit: Kit) -> None:
        one, two = uuid.uuid4(), uuid.uuid4()
        kit.give(str(one), "news")
        table = rows_of(kit, sa.Uuid(), [one, two])
        ids = sa.select(table.c.id)
        assert listed(kit, ids.where(kit.allowed("news", table.c.id))) == [one]
        assert audience(kit, "news", among=ids) == [str(one)]

    def test_no_loop_over_everybody(self, kit: Kit) -> None:
        """Whatever the planner takes the number of rows for: two sets are joined by hash or by order."""
        with kit.runtime.database.engine.connect() as connection:
            for n in range(3):
                connection.exec_driver_sql(
                    f"INSERT INTO shop_user SELECT n, 'p' || n, 'x' FROM generate_series({n}00000 + 10, {n}99999) n"
                )
            connection.exec_driver_sql(
                "INSERT INTO consentkit_subject (bucket, tenant, subject, subject_key, salt) "
                "SELECT id %% 1024, '', login, decode(md5(login), 'hex'), '' FROM shop_user WHERE id > 9"
            )
            connection.exec_driver_sql(
                "INSERT INTO consentkit_state SELECT id %% 1024, decode(md5(login), 'hex'), 'purpose', 'other', '', "
                "'subject', 'given', 1, 0, 1, NULL, gen_random_uuid() FROM shop_user WHERE id > 9"
            )
            connection.exec_driver_sql("ANALYZE")
            query = kit.audience("news").compile(
                dialect=connection.dialect, compile_kwargs={"literal_binds": True}
            )
            plan = "\n".join(
                row[0] for row in connection.exec_driver_sql("EXPLAIN " + str(query).replace("%", "%%"))
            )
        assert "Nested Loop" not in plan, plan

    def test_a_list_does_not_depend_on_statistics(self, kit: Kit) -> None:
        """Analyzed when they were empty, then filled: loops in loops would take minutes."""
        people = (
            "SELECT n, 'm' || n AS id, decode(md5('m' || n), 'hex') AS key FROM generate_series(1, 100000) n"
        )
        with kit.runtime.database.engine.begin() as connection:
            connection.exec_driver_sql(
                "DELETE FROM consentkit_state; DELETE FROM consentkit_subject; ANALYZE"
            )
            connection.exec_driver_sql(
                "INSERT INTO consentkit_subject (bucket, tenant, subject, subject_key, salt) "
                f"SELECT n %% 1024, '', id, key, '' FROM ({people}) people"
            )
            connection.exec_driver_sql(
                "INSERT INTO consentkit_state SELECT n %% 1024, key, 'purpose', 'news', '', 'subject', 'given', "
                f"1, 0, 1, NULL, gen_random_uuid() FROM ({people}) people"
            )
        assert sum(1 for _ in kit.audience_ids("news")) == 100_000


class TestFactsOnSqlite(OnSqlite, FactsSuite): ...


class TestFactsOnPostgresql(OnPostgresql, FactsSuite): ...


class TestStreamOnSqlite(OnSqlite, StreamSuite): ...


class TestStreamOnPostgresql(OnPostgresql, StreamSuite): ...
