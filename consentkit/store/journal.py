"""The erasure journal: a file outside the database, so that a restored backup can be erased again.

A line per erasure, in JSON: the record's id, the pseudonym, the ground, the mode. No id of the host.
"""

# ruff: noqa: S608 - every name is a constant of this package, every value a bind parameter
from __future__ import annotations

import json
import os
from collections.abc import Container, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from consentkit.core.errors import ConsentKitError
from consentkit.core.record import BUCKETS, Event
from consentkit.core.times import to_us
from consentkit.store.clock import bucket_of_event
from consentkit.store.database import Database, Tx
from consentkit.store.tables import PREFIX as _P

JOURNAL_FILE = "consentkit-erasure.journal"
_NOT_FOR_IT = ("renamed", "visitor_retention")
_OTHERS = (
    f"SELECT COUNT(*) FROM {_P}event o WHERE o.bucket = e.bucket AND o.subject_key = e.subject_key "
    "AND o.action <> 'erased'"
)
_RECORDS = (
    f"SELECT e.event_id, e.body, e.recorded_us, ({_OTHERS}) FROM {_P}subject s "
    f"JOIN {_P}event e ON e.bucket = s.bucket AND e.subject_key = s.subject_key "
    "WHERE s.bucket = ? AND s.erased_us IS NOT NULL AND e.kind = 'subject' AND e.item = 'subject' "
    "AND e.action = 'erased' ORDER BY e.event_id"
)


@dataclass(frozen=True, slots=True)
class Line:
    """One erasure."""

    record_id: str
    bucket: int
    subject_key: str
    tenant: str
    reason: str
    mode: str
    at_us: int


class Journal:
    """The file. It grows only."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, erasures: Iterable[Line]) -> None:
        """Write down erasures, durably. Raises ConsentKitError when the file cannot be written."""
        lines = "".join(json.dumps(asdict(erasure), sort_keys=True) + "\n" for erasure in erasures)
        if not lines:
            return
        try:
            handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(handle, lines.encode())
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise ConsentKitError(
                f"the erasure is recorded, but the journal {self.path} cannot be written ({error.strerror}): "
                "after a restore from a backup it would not be applied again. "
                "`flask consent purge` enters what is missing"
            ) from error

    def lines(self) -> Iterator[Line]:
        """Every erasure, oldest first. Raises ConsentKitError for a line that is not one."""
        try:
            text = self.path.read_text("utf-8")
        except FileNotFoundError:
            return
        except (OSError, UnicodeDecodeError) as error:
            raise ConsentKitError(f"the journal {self.path} cannot be read: {error}") from error
        for number, line in enumerate(text.splitlines(), start=1):
            try:
                yield Line(**json.loads(line))
            except (ValueError, TypeError):
                raise ConsentKitError(f"line {number} of the journal {self.path} is not an erasure") from None


def line_of(event: Event, mode: str) -> Line:
    """What the journal keeps of an `erased` event."""
    body = json.loads(event.body)
    who = (bucket_of_event(event.event_id), body["subject_key"], body["tenant"])
    return Line(event.event_id, *who, body.get("reason", ""), mode, to_us(event.recorded_at))


def _unlisted(tx: Tx, bucket: int, listed: Container[str]) -> list[Line]:
    """Erasures on record that the journal has not.

    A renaming and a visitor's retention are not for it: after a restore the one is gone with what came of it, and
    the other is found again.
    """
    found = []
    for event_id, body, recorded_us, left in tx.run(_RECORDS, (bucket,)):
        said = json.loads(body)
        if str(event_id) not in listed and said.get("reason") not in _NOT_FOR_IT:
            who = (bucket, said["subject_key"], said["tenant"])
            mode = "unlink" if left else "destroy"
            found.append(Line(str(event_id), *who, said.get("reason", ""), mode, recorded_us))
    return found


def unlisted(database: Database, journal: Journal) -> list[Line]:
    """The same of the whole database."""
    listed = {line.record_id for line in journal.lines()}
    return [
        line
        for bucket in range(BUCKETS)
        for line in database.read(lambda tx, b=bucket: _unlisted(tx, b, listed))  # type: ignore[misc]
    ]


def missing(tx: Tx, line: Line) -> str | None:
    """The id of a subject whose erasure the database has forgotten, or None when there is nothing to do."""
    if tx.run(f"SELECT 1 FROM {_P}event WHERE bucket = ? AND event_id = ?", (line.bucket, line.record_id)):
        return None
    where = f"SELECT subject FROM {_P}subject WHERE bucket = ? AND subject_key = ? AND salt IS NOT NULL"
    rows = tx.run(where, (line.bucket, bytes.fromhex(line.subject_key)))
    return str(rows[0][0]) if rows else None
