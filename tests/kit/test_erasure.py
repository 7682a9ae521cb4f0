"""Erasure: both modes, the deadline, the journal, and the drill: back up, erase, restore, apply again."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from ledgers import KEY, OnPostgresql, OnSqlite, ShiftedClock, catalog, rows

from consentkit import ChoiceRejected, ConsentKitError, Erased, Event, LedgerBroken
from consentkit.kit import Kit
from consentkit.proof import SigningKey
from consentkit.runtime import Runtime
from consentkit.store.database import Database
from consentkit.store.engines import own_engine
from consentkit.store.erasing import Unsealed

DAY_US = 24 * 3600 * 1_000_000
LOG_KEY = SigningKey.generate("consentkit-log").private_text()


Said = Callable[[Kit], list[Event] | None]
NO_YES: dict[str, Said] = {
    "defer": lambda kit: kit.defer("u-1", "news"),
    "notified": lambda kit: kit.notified("u-1", "terms"),
    "signalled": lambda kit: kit.signalled("u-1"),
    "lift": lambda kit: kit.lift("u-1"),
    "refuse": lambda kit: kit.refuse("u-1", "ads"),
    "withdraw": lambda kit: kit.withdraw("u-1", "news"),
    "decline": lambda kit: kit.decline("u-1", "terms"),
    "object": lambda kit: kit.object("u-1"),
    "restrict": lambda kit: kit.restrict("u-1"),
    "by the operator": lambda kit: kit.withdraw("u-1", "news", actor="operator"),
    "restricted by the operator": lambda kit: kit.restrict("u-1", actor="operator"),
    "said before the erasure": lambda kit: kit.give("u-1", "news", at=datetime(2025, 1, 1, tzinfo=UTC)),
}
YES: dict[str, Said] = {
    "give": lambda kit: kit.give("u-1", "ads"),
    "accept": lambda kit: kit.accept("u-1", "terms"),
}


class ErasureSuite:
    """Runs on either database."""

    @pytest.fixture
    def open_kit(self, url: str, tmp_path: Path) -> Iterator[Callable[[], Kit]]:
        opened: list[Runtime] = []

        def make() -> Kit:
            engine = own_engine(url)
            files = {"log_anchor": str(tmp_path / "anchor"), "erasure_journal": str(tmp_path / "journal")}
            database, clock = Database(lambda: engine, owned=True), ShiftedClock()
            runtime = Runtime(catalog(), database, key=KEY, log_key=LOG_KEY, clock=clock, **files)
            opened.append(runtime)
            runtime.upgrade()
            runtime.publish()
            return Kit(runtime)

        yield make
        for runtime in opened:
            runtime.dispose()

    @pytest.fixture
    def kit(self, open_kit: Callable[[], Kit]) -> Kit:
        kit = open_kit()
        for subject in ("u-1", "u-2"):
            kit.give(subject, "news")
            kit.give(subject, "quote", scope="comment:7")
            kit.accept(subject, "terms")
            kit.withdraw(subject, "news")
        return kit

    def test_unlink_keeps_the_evidence_and_destroys_what_has_a_scope(self, kit: Kit) -> None:
        before = [event.event_id for event in kit.ledger.of_subject("u-1")]
        (record,) = kit.erase("u-1")
        kept = [(event.item, event.action) for event in kit.ledger.of_subject("u-1")]
        assert kept == [
            ("news", "given"),
            ("terms", "accepted"),
            ("news", "withdrawn"),
            ("subject", "erased"),
        ]
        assert len(before) == len(kept)
        assert kit.decide("u-1", "quote", scope="comment:7").reason == "ERASED"
        assert kit.decide("u-1", "books").allowed
        assert json.loads(record.body)["reason"] == "art17"
        assert rows(kit, "SELECT scope FROM consentkit_state WHERE scope <> ''") == [("comment:7",)]
        kit.ledger.seal()
        assert kit.ledger.verify().faults == []

    def test_destroy_leaves_leaves_and_the_record(self, kit: Kit) -> None:
        kit.erase("u-1", mode="destroy")
        assert [event.action for event in kit.ledger.of_subject("u-1")] == ["erased"]
        kit.ledger.seal()
        feed = list(kit.ledger.events())
        assert len([leaf for leaf in feed if isinstance(leaf, Erased)]) == 4
        assert [leaf.leaf_index for leaf in feed] == list(range(9))
        assert kit.ledger.verify().faults == []
        assert kit.decide("u-1", "news").reason == "ERASED"
        assert kit.decide("u-2", "terms").allowed

    def test_destroy_after_unlink_takes_the_rest(self, kit: Kit) -> None:
        kit.erase("u-1")
        assert len(kit.erase("u-1", mode="destroy")) == 1
        assert kit.erase("u-1", mode="destroy") == []
        assert {event.action for event in kit.ledger.of_subject("u-1")} == {"erased"}
        kit.ledger.seal()
        assert kit.ledger.verify().faults == []

    def test_a_thousand_leaves_a_record(self, kit: Kit) -> None:
        for _ in range(3):
            kit.runtime.writer.append("", "u-3", [kit_answer()] * 400)
        records = kit.erase("u-3", mode="destroy")
        assert [json.loads(record.body)["leaves"] for record in records] == ["8-1007", "1008-1207"]
        kit.ledger.seal()
        assert kit.ledger.verify().faults == []

    def test_only_listed_events_may_be_deleted(self, kit: Kit) -> None:
        kit.erase("u-1", mode="destroy")
        with pytest.raises(ConsentKitError, match="append-only"):
            kit.runtime.database.write(lambda tx: tx.count("DELETE FROM consentkit_event WHERE bucket >= 0"))
        assert len(kit.ledger.of_subject("u-2")) == 4

    def test_in_the_callers_transaction_nothing_is_sealed_for_it(self, kit: Kit) -> None:
        with kit.runtime.database.engine.connect() as connection, pytest.raises(Unsealed):
            kit.erase("u-1", mode="destroy", connection=connection)
        assert len(kit.ledger.of_subject("u-1")) == 4
        kit.ledger.seal()
        with kit.runtime.database.engine.connect() as connection:
            kit.erase("u-1", mode="destroy", connection=connection)
            connection.rollback()
        assert len(kit.ledger.of_subject("u-1")) == 4

    @pytest.mark.parametrize("name", NO_YES)
    def test_what_is_no_yes_leaves_an_erased_subject_erased(self, kit: Kit, name: str) -> None:
        (record,) = kit.erase("u-1")
        for event in NO_YES[name](kit) or []:
            assert json.loads(event.body)["subject_key"] == json.loads(record.body)["subject_key"]
        for item in ("account", "news", "terms"):
            assert kit.decide("u-1", item).reason == "ERASED"
        assert len(rows(kit, "SELECT subject FROM consentkit_subject WHERE erased_us IS NOT NULL")) == 1
        kit.ledger.seal()
        assert kit.ledger.verify().faults == []

    @pytest.mark.parametrize("name", YES)
    def test_a_yes_begins_anew(self, kit: Kit, name: str) -> None:
        kit.erase("u-1")
        YES[name](kit)
        assert kit.decide("u-1", "news").reason == "NO_ANSWER"

    def test_nor_does_it_once_the_id_is_hidden(self, kit: Kit) -> None:
        kit.erase("u-1")
        clock = kit.runtime.clock
        assert isinstance(clock, ShiftedClock)
        clock.shift_us += 31 * DAY_US
        kit.purge()
        kit.defer("u-1", "news")
        assert kit.decide("u-1", "account").reason == "ERASED"
        assert not rows(kit, "SELECT subject FROM consentkit_subject WHERE subject = ?", "u-1")
        kit.give("u-1", "news")
        assert kit.decide("u-1", "news").allowed

    @pytest.mark.parametrize("given", [{"mode": "forget"}, {"reason": "She asked by phone"}, {"reason": ""}])
    def test_bad_input_erases_nothing(self, kit: Kit, given: dict[str, str]) -> None:
        with pytest.raises(ChoiceRejected):
            kit.erase("u-1", **given)
        assert kit.decide("u-1", "terms").allowed

    def test_the_id_is_hidden_after_the_deadline(self, kit: Kit) -> None:
        kit.erase("u-1")
        assert kit.purge() == 0
        clock = kit.runtime.clock
        assert isinstance(clock, ShiftedClock)
        clock.shift_us += 31 * DAY_US
        assert kit.purge() == 1
        subjects = rows(kit, "SELECT subject, salt FROM consentkit_subject WHERE erased_us IS NOT NULL")
        assert [subject.startswith("erased:") for subject, _ in subjects] == [True]
        assert subjects[0][1] is None
        assert kit.decide("u-1", "news").reason == "ERASED"
        kit.give("u-1", "news")
        assert kit.decide("u-1", "news").allowed
        assert [event.action for event in kit.ledger.of_subject("u-1")] == ["given"]
        kit.ledger.seal()
        assert kit.ledger.verify().faults == []

    def test_the_journal_holds_no_id_of_the_host(self, kit: Kit, tmp_path: Path) -> None:
        kit.erase("u-1", reason="art17", mode="destroy")
        line = json.loads((tmp_path / "journal").read_text())
        assert (line["reason"], line["mode"]) == ("art17", "destroy")
        assert "u-1" not in (tmp_path / "journal").read_text()

    def test_the_restore_drill(self, kit: Kit, open_kit: Callable[[], Kit], url: str, tmp_path: Path) -> None:
        kit.ledger.seal()
        restore = self.back_up(url, tmp_path)
        kit.erase("u-1", mode="destroy")
        kit.erase("u-2")
        kit.runtime.dispose()
        restore()
        again = open_kit()
        assert again.decide("u-1", "terms").allowed
        assert again.reapply_erasures() == 2
        assert again.decide("u-1", "terms").reason == "ERASED"
        assert again.decide("u-2", "terms").reason == "ERASED"
        assert {event.action for event in again.ledger.of_subject("u-1")} == {"erased"}
        assert again.reapply_erasures() == 0

    def test_after_a_restore_that_lost_sealed_events_nobody_is_processed_meanwhile(
        self, kit: Kit, open_kit: Callable[[], Kit], url: str, tmp_path: Path
    ) -> None:
        restore = self.back_up(url, tmp_path)
        kit.erase("u-1", mode="destroy")
        kit.erase("u-2")
        kit.runtime.dispose()
        restore()
        again = open_kit()
        with pytest.raises(LedgerBroken, match=r"the database has no log|the anchor knows"):
            again.reapply_erasures()
        assert again.decide("u-1", "terms").reason == "ERASED"
        assert again.decide("u-2", "terms").reason == "ERASED"
        assert [(lost.kept, lost.known) for lost in again.ledger.begin_new_log()] == [(0, 8)]
        again.reapply_erasures()
        assert {event.action for event in again.ledger.of_subject("u-1")} == {"erased"}
        again.ledger.seal()
        assert again.ledger.verify().faults == []

    def test_what_the_journal_lacks_is_entered(self, kit: Kit, tmp_path: Path) -> None:
        kit.runtime.seal()
        with kit.runtime.database.engine.begin() as connection:
            kit.erase("u-1", connection=connection, mode="unlink")
        journal = tmp_path / "journal"
        assert not journal.exists()
        journal.mkdir()
        with pytest.raises(ConsentKitError, match="`flask consent purge` enters"):
            kit.erase("u-2", mode="destroy")
        journal.rmdir()
        assert kit.erase("u-2", mode="destroy") == []
        assert kit.complete_journal() == 2
        assert kit.complete_journal() == 0
        lines = [json.loads(line) for line in journal.read_text().splitlines()]
        assert sorted((line["mode"], line["reason"]) for line in lines) == [
            ("destroy", "art17"),
            ("unlink", "art17"),
        ]

    def test_a_journal_that_is_not_one_is_refused(self, kit: Kit, tmp_path: Path) -> None:
        (tmp_path / "journal").write_text("garbage\n")
        with pytest.raises(ConsentKitError, match="line 1 of the journal"):
            kit.reapply_erasures()

    def back_up(self, url: str, folder: Path) -> Callable[[], None]:
        raise AssertionError("each database has its own way")


def kit_answer() -> object:
    from consentkit.core.record import Answer
    from consentkit.core.terms import Action, Kind

    return Answer(Kind.PURPOSE, "news", Action.DEFERRED)


class TestOnSqlite(ErasureSuite, OnSqlite):
    def back_up(self, url: str, folder: Path) -> Callable[[], None]:
        path = Path(url.removeprefix("sqlite:///"))
        with sqlite3.connect(path) as source, sqlite3.connect(folder / "backup") as target:
            source.backup(target)

        def restore() -> None:
            for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
                name.unlink(missing_ok=True)
            shutil.copy(folder / "backup", path)

        return restore


class TestOnPostgresql(ErasureSuite, OnPostgresql):
    def back_up(self, url: str, folder: Path) -> Callable[[], None]:
        """Every table by COPY, as a dump does; triggers are off while it is restored, as pg_restore may."""
        engine = own_engine(url)
        with engine.connect() as connection:
            names = sa.inspect(connection).get_table_names()
            driver = connection.connection.dbapi_connection
            dump = {name: _copy_out(driver, name) for name in names}

        def restore() -> None:
            with engine.begin() as connection:
                connection.exec_driver_sql("SET session_replication_role = replica")
                driver = connection.connection.dbapi_connection
                for name, data in dump.items():
                    connection.exec_driver_sql(f"TRUNCATE {name}")
                    with driver.cursor().copy(f"COPY {name} FROM STDIN") as copy:
                        copy.write(data)
            engine.dispose()

        return restore


def _copy_out(driver: object, name: str) -> bytes:
    with driver.cursor().copy(f"COPY {name} TO STDOUT") as copy:
        return b"".join(bytes(part) for part in copy)
