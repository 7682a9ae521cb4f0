"""Ready for a distributed PostgreSQL: with the tables split by hash of the bucket, one statement touches one part."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from ledgers import KEY, catalog, made
from sqlalchemy.dialects import postgresql

from consentkit.kit import Kit
from consentkit.runtime import Runtime
from consentkit.store import schema
from consentkit.store.database import Database, Tx
from consentkit.store.engines import own_engine
from consentkit.store.tables import BUCKETED, PREFIX

PARTS = 4
SPLIT = re.compile(rf"CREATE TABLE IF NOT EXISTS {PREFIX}({'|'.join(BUCKETED)}) ")


def split_tables(engine: sa.Engine) -> None:
    """What the schema makes, with each per-subject table in four partitions."""
    with engine.begin() as connection:
        for statement in schema.statements(postgresql.dialect()):
            if found := SPLIT.match(statement):
                statement = (
                    re.sub(r"\s+WITH \(fillfactor = 70\)", "", statement) + " PARTITION BY HASH (bucket)"
                )
            connection.exec_driver_sql(statement.replace("%", "%%"))
            for n in range(PARTS if found else 0):
                name = f"{PREFIX}{found[1]}"  # type: ignore[index]
                of = f"PARTITION OF {name} FOR VALUES WITH (MODULUS {PARTS}, REMAINDER {n})"
                connection.exec_driver_sql(f"CREATE TABLE {name}_{n} {of}")
        connection.exec_driver_sql(f"INSERT INTO {PREFIX}schema VALUES ({schema.VERSION}, 0)")


@pytest.fixture
def kit(pg_url: str) -> Iterator[Kit]:
    with made(pg_url, "TEMPLATE template0") as url:
        engine = own_engine(url)
        split_tables(engine)
        runtime = Runtime(catalog(), Database(lambda: engine, owned=True), key=KEY)
        runtime.publish()
        yield Kit(runtime)
        runtime.dispose()


def test_a_statement_about_a_subject_touches_one_partition(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, set[str]]] = []

    class Explaining:
        """Asks for the plan of every statement before it runs."""

        def __init__(self, tx: Tx) -> None:
            self.tx = tx

        def run(self, sql: str, params: Any = ()) -> Any:
            self.explain(sql, params)
            return self.tx.run(sql, params)

        def count(self, sql: str, params: Any = ()) -> int:
            self.explain(sql, params)
            return self.tx.count(sql, params)

        def explain(self, sql: str, params: Any) -> None:
            if sql.startswith(("SELECT", "UPDATE", "DELETE")):
                ((plan,),) = self.tx.run(f"EXPLAIN (FORMAT JSON) {sql}", params)
                text = plan if isinstance(plan, str) else json.dumps(plan)
                seen.append(
                    (f"{sql} {params}", set(re.findall(rf'"Relation Name": "({PREFIX}\w+_\d)"', text)))
                )

    for name in ("read", "write"):
        real = getattr(Database, name)

        def spying(self: Database, work: Any, *rest: Any, real: Any = real) -> Any:
            return real(self, lambda tx: work(Explaining(tx)), *rest)

        monkeypatch.setattr(Database, name, spying)
    kit.give("u-1", "news")
    kit.withdraw("u-1", "news")
    kit.learn("u-1", jurisdiction="DE")
    kit.of("u-1").decide("news")
    kit.export("u-1")
    kit.erase("u-1")
    kit.give("u-1", "news")
    touching = [(sql, parts) for sql, parts in seen if parts]
    assert len(touching) >= 8
    for sql, parts in touching:
        split = [re.sub(r"_\d$", "", part) for part in parts]
        assert len(split) == len(set(split)), (sql, parts)
