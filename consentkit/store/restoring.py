"""After a restore from a backup: a new log goes on from what is left, and says what the old one had more.

The old origin never signs again, so nobody sees two histories under one name. The event that opens the new log
commits to the last published checkpoint of the old one.
"""

# ruff: noqa: S608 - every name is a constant of this package, every value a bind parameter
from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from consentkit.core.errors import ConsentKitError
from consentkit.core.merkle import Frontier
from consentkit.core.record import Answer, bucket_of
from consentkit.core.terms import Action, Kind, Method
from consentkit.store.database import Tx
from consentkit.store.ledger import LedgerWriter
from consentkit.store.log_keys import Anchored, LogKeys
from consentkit.store.tables import PREFIX as _P
from consentkit.store.tree import LOG_ID, Head, Reads, earlier_logs, origin_prefix, read_head

LOG_SUBJECT, LOG_ITEM = "consentkit:log", "log"


@dataclass(frozen=True, slots=True)
class Lost:
    """What the restored database does not have: events from `kept` to `known` of the log `origin`."""

    origin: str
    kept: int
    known: int
    root: str


def begin_new_log(writer: LedgerWriter, keys: LogKeys) -> list[Lost]:
    """Give the log a new origin, in one transaction with the event that says why.

    Raises ConsentKitError when the anchor does not know more than the database: then nothing was lost.
    """
    anchor = keys.anchor
    if anchor is None:
        raise ConsentKitError("there is no anchor (CONSENTKIT_LOG_ANCHOR), so nothing tells what was lost")

    def work(tx: Tx) -> list[Lost]:
        head = read_head(tx, lock=" FOR UPDATE" if writer.database.postgresql else "")
        prefix = origin_prefix(writer.database)
        lost = _lost(head, anchor.lines(), {origin for origin, _ in earlier_logs(tx)}, prefix)
        frontier = head.frontier if head is not None else Frontier()
        columns = "log_id, origin, size, frontier"
        for log in lost:
            row = (f"{LOG_ID}:{log.origin}", log.origin, log.kept, frontier.to_bytes())
            tx.count(f"INSERT INTO {_P}head ({columns}) VALUES (?, ?, ?, ?)", row)
        fresh = (f"{prefix}{secrets.token_hex(8)}", LOG_ID)
        if not tx.count(f"UPDATE {_P}head SET origin = ? WHERE log_id = ?", fresh):
            row = (LOG_ID, fresh[0], 0, frontier.to_bytes())
            tx.count(f"INSERT INTO {_P}head ({columns}) VALUES (?, ?, ?, ?)", row)
        writer.record(tx, writer.act("", LOG_SUBJECT, [_said(log) for log in lost]))
        return lost

    return writer.database.write(work)


def acknowledged(bodies: Sequence[str]) -> dict[str, int]:
    """By origin: up to which size the events of new logs own up to the loss."""
    owned: dict[str, int] = {}
    for text in bodies:
        with suppress(
            ValueError, KeyError, TypeError
        ):  # not ours, or damaged: found where events are checked
            body = json.loads(text)
            owned[str(body["log"])] = int(body["lost_size"])
    return owned


def opening_bodies(tx: Reads) -> list[str]:
    """The bodies of the events that opened new logs."""
    statement = (
        f"SELECT body FROM {_P}event WHERE bucket = ? AND kind = 'subject' AND item = '{LOG_ITEM}' "
        "AND action = 'notified'"
    )
    return [str(row[0]) for row in tx.run(statement, (bucket_of("", LOG_SUBJECT),))]


def _lost(head: Head | None, lines: Sequence[Anchored], known: set[str], prefix: str) -> list[Lost]:
    """What the anchor knows more: of the log there is, or, where the backup had none yet, of any of this database."""
    newest = {
        line.origin: line for line in lines if line.origin.startswith(prefix) and line.origin not in known
    }
    kept = head.frontier.size if head is not None else 0
    if head is not None:
        newest = {origin: line for origin, line in newest.items() if origin == head.origin}
    lost = [
        Lost(line.origin, kept, line.size, line.root.hex()) for line in newest.values() if line.size > kept
    ]
    if not lost:
        raise ConsentKitError(
            "the anchor knows nothing that the database has not: the log can go on with `flask consent seal`"
        )
    return lost


def _said(lost: Lost) -> Answer:
    extra = (("log", lost.origin), ("lost_root", lost.root), ("lost_size", lost.known))
    said = Answer(
        Kind.SUBJECT, LOG_ITEM, Action.NOTIFIED, actor="operator", method=Method.CODE.value, extra=extra
    )
    return said
