"""What a verification cannot see: whether the database still defends itself, settings, anchors, waiting events."""

# ruff: noqa: S608 - every name is a constant of this package, every value a bind parameter
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from consentkit.core.errors import StoreUnavailable
from consentkit.store import schema
from consentkit.store.database import Database, Tx
from consentkit.store.deliveries import Standing, standings
from consentkit.store.files import unwritable
from consentkit.store.journal import Journal, unlisted
from consentkit.store.keys import KEY_FILE
from consentkit.store.lag import minted_us, unqueued
from consentkit.store.log_keys import KEY_FILE as LOG_KEY_FILE
from consentkit.store.log_keys import LogKeys
from consentkit.store.tables import APPEND_ONLY
from consentkit.store.tables import PREFIX as _P
from consentkit.store.tree import read_head

OLD_US = 60 * 1_000_000
UNQUEUED_US, UNDELIVERED_US = 120 * 1_000_000, 24 * 3600 * 1_000_000
_PROBE = "doctor"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `well`: nothing has to be done."""

    what: str
    well: bool
    says: str


class _Undo(Exception):
    """Rolls a probe back."""


def examine(
    database: Database, keys: LogKeys, folder: Path | None, journal: Journal | None, now_us: int
) -> Iterator[Finding]:
    """Look at everything. Changes nothing: what it tries is rolled back. Raises StoreUnavailable."""
    with database.connection() as connection:
        have = schema.installed(connection)
    yield Finding("schema", have == schema.VERSION, f"{have}, this consentkit knows {schema.VERSION}")
    yield from _triggers(database)
    yield from _settings(database)
    yield _anchor(database, keys)
    yield _journal(database, journal)
    yield _waiting(database, now_us)
    yield from _deliveries(database, now_us)
    if folder is not None:
        yield from _key_files(folder)


def _triggers(database: Database) -> Iterator[Finding]:
    """Try to change and to delete a row of our own making, and roll back."""
    tries = {
        "UPDATE": f"UPDATE {_P}document SET media_type = 'x' WHERE digest = '{_PROBE}'",
        "DELETE": f"DELETE FROM {_P}document WHERE digest = '{_PROBE}'",
    }
    for name, statement in tries.items():
        refused = _refuses(database, statement)
        yield Finding(
            f"append-only, {name}", refused, "refused" if refused else "NOT refused: the trigger is gone"
        )
    missing = database.read(lambda tx: _missing_triggers(tx, database.postgresql))
    says = f"gone: {', '.join(missing)}. Find out who removed them" if missing else "all in place"
    yield Finding("append-only, triggers", not missing, says)


def _refuses(database: Database, statement: str) -> bool:
    def probe(tx: Tx) -> None:
        columns = "digest, media_type, content, stored_us"
        tx.run(f"INSERT INTO {_P}document ({columns}) VALUES ('{_PROBE}', 'text/plain', '', 0)")
        try:
            tx.run(statement)
        except Exception as error:
            raise _Undo from error
        raise _Undo

    try:
        database.write(probe)
    except _Undo as undone:
        return undone.__cause__ is not None
    raise StoreUnavailable("a probe could not be rolled back")


def _missing_triggers(tx: Tx, postgresql: bool) -> list[str]:
    kinds = ("no_update", "no_delete", "no_truncate" if postgresql else "no_replace")
    wanted = {f"{_P}{table}_{kind}" for table in APPEND_ONLY for kind in kinds}
    catalog = "SELECT tgname FROM pg_trigger WHERE tgenabled <> 'D'"
    found = tx.run(catalog if postgresql else "SELECT name FROM sqlite_master WHERE type = 'trigger'")
    return sorted(wanted - {row[0] for row in found})


def _settings(database: Database) -> Iterator[Finding]:
    """Durability: an acknowledged withdrawal must survive a power cut."""
    asked: dict[str, tuple[str, Callable[[str], bool], str]]
    if database.postgresql:
        asked = {
            "fsync": ("SHOW fsync", lambda v: v == "on", "on"),
            "synchronous_commit": ("SHOW synchronous_commit", lambda v: v != "off", "anything but off"),
        }
    else:
        asked = {
            "synchronous": ("PRAGMA synchronous", lambda v: v in ("2", "3"), "2 (FULL)"),
            "journal_mode": ("PRAGMA journal_mode", lambda v: v == "wal", "wal"),
            "secure_delete": ("PRAGMA secure_delete", lambda v: v == "1", "1"),
        }
    for name, (statement, good, wanted) in asked.items():
        value = str(database.read(lambda tx, s=statement: tx.run(s))[0][0])  # type: ignore[misc]
        ours = "" if database.owned else " (set on the host's engine)"
        yield Finding(name, good(value), value if good(value) else f"{value}, should be {wanted}{ours}")


def _anchor(database: Database, keys: LogKeys) -> Finding:
    if keys.anchor is None:
        says = "none: a cut tail or an old backup would not be seen. Set CONSENTKIT_LOG_ANCHOR"
        return Finding("anchor", False, says)
    if why := unwritable(keys.anchor.path):
        return Finding("anchor", False, why)
    head = database.read(read_head)
    sizes = [line.size for line in keys.anchor.lines() if head is not None and line.origin == head.origin]
    sealed, anchored = head.frontier.size if head else 0, max(sizes, default=0)
    says = f"{anchored:,} of {sealed:,} sealed events, in {keys.anchor.path.name}"
    return Finding("anchor", anchored == sealed, says)


def _journal(database: Database, journal: Journal | None) -> Finding:
    """Whether a restored backup could be erased again."""
    if journal is None:
        says = "none: a restore would bring erased people back. Set CONSENTKIT_ERASURE_JOURNAL"
        return Finding("erasure journal", False, says)
    if why := unwritable(journal.path):
        return Finding("erasure journal", False, why)
    lacking = len(unlisted(database, journal))
    if lacking:
        says = f"{lacking:,} on record are not in {journal.path.name}: `flask consent purge` enters them"
        return Finding("erasure journal", False, says)
    return Finding("erasure journal", True, f"every erasure, in {journal.path.name}")


def _waiting(database: Database, now_us: int) -> Finding:
    rows = database.read(lambda tx: tx.run(f"SELECT COUNT(*), MIN(CAST(event_id AS TEXT)) FROM {_P}pending"))
    number, oldest = rows[0]
    if not number:
        return Finding("waiting events", True, "none")
    age_us = now_us - minted_us(str(oldest))
    late = database.postgresql and age_us > OLD_US
    says = f"{number:,}, the oldest {max(age_us, 0) // 1_000_000} s old"
    return Finding(
        "waiting events", not late, f"{says}: is `flask consent seal --watch` running?" if late else says
    )


def _deliveries(database: Database, now_us: int) -> Iterator[Finding]:
    """Messages to recipients; nothing where nobody is told by webhook."""
    told = database.read(standings)
    if told:
        number, since_us = database.read(unqueued)
        wrong = [*_unqueued(number, since_us, now_us), *(w for one in told for w in _overdue(one, now_us))]
        open_ = sum(one.open for one in told)
        says = f"{open_:,} open, {len(told)} told by webhook" + f", {number:,} events not queued yet" * (
            number > 0
        )
        yield Finding("deliveries", not wrong, "; ".join(wrong) or says)


def _unqueued(number: int, since_us: int | None, now_us: int) -> Iterator[str]:
    if since_us is not None and now_us - since_us > UNQUEUED_US:
        yield f"sealed events are not queued ({number:,}): is `flask consent deliver --watch` running?"


def _overdue(one: Standing, now_us: int) -> Iterator[str]:
    if one.disabled_us is not None:
        yield f"{one.recipient} answered 410, {one.open:,} open: mend it, then `deliver --enable {one.recipient}`"
    elif one.oldest_us is not None and now_us - one.oldest_us > UNDELIVERED_US:
        yield f"{one.recipient} has not confirmed {one.open:,} for over a day: {one.last_error or 'not tried'}"


def _key_files(folder: Path) -> Iterator[Finding]:
    for name in (KEY_FILE, LOG_KEY_FILE):
        path = folder / name
        if path.exists():
            mode = path.stat().st_mode & 0o777
            private = not mode & 0o077
            yield Finding(
                name, private, f"mode {mode:o}" if private else f"mode {mode:o}: others can read it"
            )
