"""Who may be processed, among a million, beside joins that somebody who knows the tables would write by hand.

`plain` finds a valid yes and looks for nothing else; `same` asks what the law wants of it as well: nobody erased,
restricted, or denied by an operator. A list that rests on the first one is wrong.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import sqlalchemy as sa
from decide import catalog
from measuring import open_kit
from people import Row, fill
from timing import line, plain, turns

from consentkit.kit import Kit

ROUNDS = 5
YES = """
        {row}.kind = '{kind}' AND {row}.item = '{item}' AND {row}.scope = '' AND {row}.actor = 'subject'
        AND {row}.status IN ('given', 'accepted') AND ({row}.expires_us IS NULL OR {row}.expires_us > :now)
        AND {row}.version >= 1"""
SAME = "{one}.bucket = {other}.bucket AND {one}.subject_key = {other}.subject_key"
NO = """
    NOT EXISTS (SELECT 1 FROM consentkit_state d WHERE d.bucket = s.bucket AND d.subject_key = s.subject_key
        AND ((d.kind = 'purpose' AND d.item = '{item}' AND d.scope = '' AND d.actor NOT LIKE 'guardian:%'
              AND d.status IN ('refused', 'withdrawn', 'revoked', 'objected', 'restricted'))
          OR (d.kind = 'subject' AND d.item IN ('restriction', 'objection')
              AND d.status IN ('restricted', 'objected'))))"""
ASKED = {"news": [("purpose", "news")], "mail": [("purpose", "mail"), ("policy", "terms")]}


def person(number: int) -> tuple[Row, list[Row]]:
    """Nine of ten accepted the terms; of five three want the news and the mail, one refused; one in a thousand stopped
    everything."""
    then = 1_700_000_000_000_000 + number
    said = {0: "refused", 1: None}.get(number % 5, "given")
    rows: list[Row] = []
    if number % 10:
        rows.append(("policy", "terms", "", "subject", "accepted", 1, 0, then))
    if said is not None:
        rows += [("purpose", item, "", "subject", said, 1, 0, then) for item in ("news", "mail", "stats")]
    if number % 1000 == 7:
        rows.append(("subject", "restriction", "", "subject", "restricted", 0, 0, then))
    return ("adult", None, "DE", then), rows


def by_hand(asked: list[tuple[str, str]], *, same: bool) -> str:
    """The statement: rows of answers first, then the subject of each. SQLite keeps that order for CROSS JOIN."""
    rows = [f"r{number}" for number in range(len(asked))]
    tables = [*(f"consentkit_state {row}" for row in rows), "consentkit_subject s"]
    where = [YES.format(row=row, kind=kind, item=item) for row, (kind, item) in zip(rows, asked, strict=True)]
    where += [SAME.format(one=other, other=rows[0]) for other in (*rows[1:], "s")]
    where += ["s.tenant = ''", "s.subject NOT LIKE 'v:%'"]
    if same:
        where += ["s.erased_us IS NULL", NO.format(item=asked[0][1])]
    return f"SELECT s.subject FROM {' CROSS JOIN '.join(tables)} WHERE {' AND '.join(where)}"


def reader(kit: Kit, statement: Any) -> Callable[[], int]:
    """Counts the ids that a statement finds, in Python, so that each one has really come."""

    def read() -> int:
        with kit.runtime.database.engine.connect() as connection:
            rows = connection.execution_options(yield_per=5000).execute(statement)
            return sum(len(some) for some in rows.partitions())

    return read


def count(kit: Kit, item: str) -> int:
    """The same of the kit's own stream."""
    return sum(1 for _ in kit.audience_ids(item))


def run(new: Callable[[], str], subjects: int) -> None:
    """One line per question and statement."""
    kit = open_kit(catalog(), new())
    start = time.perf_counter()
    fill(kit, subjects, person)
    print(f"  {subjects:,} subjects written in {time.perf_counter() - start:,.0f} s", file=sys.stderr)
    now = kit.runtime.clock.now()
    for item, asked in ASKED.items():
        ours = reader(kit, kit.audience(item))
        hand = {
            name: reader(kit, sa.text(by_hand(asked, same=name == "same")).bindparams(now=now))
            for name in ("same", "plain")
        }
        streamed = partial(count, kit, item)
        counts = ours(), hand["same"](), streamed(), hand["plain"]()
        assert counts[0] == counts[1] == counts[2] < counts[3], counts
        mine, same, bare, ids = turns(ROUNDS, ours, hand["same"], hand["plain"], streamed)
        line(f"{item}: audience() of {ours():,}", mine, same, 1.3, form=plain, name="same ")
        line(f"{item}: audience()", mine, bare, form=plain, name="plain")
        line(f"{item}: audience_ids()", ids, same, form=plain, name="same ")
    among_rows(kit, subjects)
    kit.runtime.dispose()


def among_rows(kit: Kit, subjects: int) -> None:
    """`allowed` in a query of the host's: a page of twenty of its rows."""
    users = sa.Table(
        "app_user", sa.MetaData(), sa.Column("id", sa.String, primary_key=True), sa.Column("shop", sa.Integer)
    )
    with kit.runtime.database.connection() as connection:
        users.create(connection)
        connection.exec_driver_sql(
            "INSERT INTO app_user (id, shop) SELECT subject, 1 FROM consentkit_subject"
        )
    hand = f"{by_hand(ASKED['news'], same=True)} AND s.subject = u.id".replace(" CROSS JOIN", ",")
    raw = sa.text(f"SELECT u.id FROM app_user u WHERE EXISTS ({hand}) ORDER BY u.id LIMIT 20")
    theirs = reader(kit, raw.bindparams(now=kit.runtime.clock.now()))

    def ours() -> int:
        """As a view does it: the statement is written anew each time."""
        page = sa.select(users.c.id).where(kit.allowed("news", users.c.id)).order_by(users.c.id).limit(20)
        return reader(kit, page)()

    assert ours() == theirs() == 20
    mine, same = turns(20, ours, theirs)
    line(f"allowed(), 20 of {subjects:,} rows of the host's", mine, same, name="same ")
