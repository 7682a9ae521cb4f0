"""What the tables hold after an answer, and what the database refuses."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
from typing import Any

import pytest
from ledgers import KEY, OnPostgresql, OnSqlite, ShiftedClock, Suite, rows

from consentkit.core.choices import Manner, denying, giving
from consentkit.core.errors import StoreUnavailable
from consentkit.core.folding import fold
from consentkit.core.record import bucket_of, commitment
from consentkit.core.terms import Action
from consentkit.kit import Kit
from consentkit.store.clock import bucket_of_event
from consentkit.store.tables import APPEND_ONLY, metadata

EVENT = "bucket, event_id, tenant, subject_key, kind, item, version, scope, action, actor, recorded_us, effective_us"
ONE_ROW = {
    "erasure": ("bucket, event_id, leaf_index, record_id", "1, '{id}', 7, '{id}'"),
    "leaf": ("leaf_index, bucket, event_id, hash", "7, 1, '{id}', {blob}"),
    "node": ("level, idx, hash", "1, 7, {blob}"),
}


class Tables(Suite):
    def test_every_column_equals_the_body(self, kit: Kit) -> None:
        kit.give("u-1", ["stats", "news"], locale="en")
        kit.give("u-1", "quote", scope="c:1", tenant="t")
        kit.accept("u-1", "terms")
        kit.restrict("u-1", actor="operator")
        stored = rows(kit, f"SELECT {EVENT}, body FROM consentkit_event")
        assert len(stored) == 5
        for *columns, body in stored:
            said = json.loads(body)
            for name, value in zip(EVENT.split(", "), columns, strict=True):
                plain = bytes(value).hex() if name == "subject_key" else value
                assert said[name] == (str(plain) if name == "event_id" else plain), name
            assert said["schema"] == 1
            assert "u-1" not in body

    def test_the_commitment_recomputes_and_the_pending_row_is_keyed(self, kit: Kit) -> None:
        kit.give("u-1", "analytics")
        stored = rows(
            kit,
            "SELECT e.body, e.salt, e.commitment, p.commitment, p.mac FROM consentkit_event e "
            "JOIN consentkit_pending p ON p.bucket = e.bucket AND p.event_id = e.event_id",
        )
        assert len(stored) == 2
        for body, salt, *digests in stored:
            ours = hashlib.sha256(b"consentkit/v1/record\0" + bytes(salt) + body.encode()).digest()
            assert ours == commitment(bytes(salt), body)
            mac = hmac.digest(KEY.encode(), ours, "sha256")
            assert [bytes(d) for d in digests] == [ours, ours, mac]
        assert len({bytes(salt) for _, salt, *_ in stored}) == 2

    def test_the_pseudonym_recomputes_and_routes(self, kit: Kit) -> None:
        (event,) = kit.give("u-1", "news", tenant="t")
        ((bucket, key, salt),) = rows(kit, "SELECT bucket, subject_key, salt FROM consentkit_subject")
        digest = hashlib.sha256(b"consentkit/v1/subject\0" + bytes(salt) + b"t\0u-1").digest()
        assert bytes(key) == digest[:16]
        assert bucket == bucket_of("t", "u-1") == bucket_of_event(event.event_id)

    def test_the_state_is_the_fold_of_the_events(self, kit: Kit, clock: ShiftedClock) -> None:
        """Live, back-dated and imported answers of several actors, in any order."""
        chance = random.Random(7)
        now = clock.now()
        for _ in range(60):
            how = Manner(now - chance.randrange(5), chance.choice(["subject", "operator", "guardian:1"]))
            item = chance.choice(["news", "stats", "ads"])
            if chance.random() < 0.5 and how.actor != "operator":
                said = giving(kit.catalog, [item], how)
            else:
                said = denying(kit.catalog, [item], how, chance.choice([Action.REFUSED, Action.WITHDRAWN]))
            kit.runtime.writer.append("", "u-1", said, at_us=how.at_us if chance.random() < 0.7 else None)
        folded = fold(event.body for event in kit.ledger.of_subject("u-1")).values()
        stored = kit.runtime.reader.state("", "u-1").rows
        assert sorted(folded, key=repr) == sorted(stored, key=repr)
        assert len(stored) == 9

    # ---------------------------------------------------------------- append-only

    @pytest.mark.parametrize("table", APPEND_ONLY)
    def test_the_database_refuses_changes(self, kit: Kit, table: str) -> None:
        kit.give("u-1", "news")
        name, blob = f"consentkit_{table}", "'\\x00'" if kit.runtime.database.postgresql else "x'00'"
        if table in ONE_ROW:
            columns, values = ONE_ROW[table]
            some_id = "01a2030a-5553-7000-8826-1fffab920f0e"
            self.run(kit, f"INSERT INTO {name} ({columns}) VALUES ({values.format(id=some_id, blob=blob)})")
        before = rows(kit, f"SELECT * FROM {name} ORDER BY 1, 2")
        assert before
        column = metadata.tables[name].columns.keys()[-1]
        attacks = [f"UPDATE {name} SET {column} = {column}", f"DELETE FROM {name}"]
        attacks += [f"TRUNCATE {name}"] if kit.runtime.database.postgresql else []
        for attack in attacks:
            with pytest.raises(StoreUnavailable, match="append-only"):
                self.run(kit, attack)
        assert rows(kit, f"SELECT * FROM {name} ORDER BY 1, 2") == before

    def test_an_event_is_deleted_only_when_its_erasure_is_listed(self, kit: Kit) -> None:
        event = kit.give("u-1", "news")[0]
        bucket = bucket_of_event(event.event_id)
        delete = "DELETE FROM consentkit_event WHERE bucket = ? AND event_id = ?"
        with pytest.raises(StoreUnavailable, match="append-only"):
            self.run(kit, delete, bucket, event.event_id)
        listing = (
            "INSERT INTO consentkit_erasure (bucket, event_id, leaf_index, record_id) VALUES (?, ?, 1, ?)"
        )
        self.run(kit, listing, bucket, event.event_id, event.event_id)
        assert self.run(kit, delete, bucket, event.event_id) == 1

    def test_a_row_is_not_inserted_twice(self, kit: Kit) -> None:
        """A retry of the same act finds what it wrote; another event with the same id is an error."""
        writer, database = kit.runtime.writer, kit.runtime.database
        act = writer.act("", "u-1", giving(kit.catalog, ["news"], Manner(1)))
        database.write(lambda tx: writer.record(tx, act))
        with pytest.raises(Exception, match="another one has its id"):
            database.write(lambda tx: writer.record(tx, act))
        assert len(rows(kit, "SELECT * FROM consentkit_event")) == 1

    @staticmethod
    def run(kit: Kit, statement: str, *params: Any) -> int:
        return kit.runtime.database.write(lambda tx: tx.count(statement, params))


class TestSqlite(OnSqlite, Tables):
    @pytest.mark.parametrize("table", [t for t in APPEND_ONLY if t not in ("erasure", "leaf", "node")])
    def test_insert_or_replace_replaces_nothing(self, kit: Kit, table: str) -> None:
        kit.give("u-1", "news")
        name = f"consentkit_{table}"
        before = rows(kit, f"SELECT * FROM {name}")
        columns = metadata.tables[name].columns.keys()
        changed = ", ".join([*columns[:-1], "'x'"])
        assert self.run(kit, f"INSERT OR REPLACE INTO {name} SELECT {changed} FROM {name}") == 0
        assert rows(kit, f"SELECT * FROM {name}") == before

    def test_the_file_is_durable(self, kit: Kit) -> None:
        found = {
            name: rows(kit, f"PRAGMA {name}")[0][0]
            for name in ("journal_mode", "synchronous", "secure_delete")
        }
        assert found == {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1}


class TestPostgresql(OnPostgresql, Tables): ...
