"""`flask consent seal | verify | checkpoint | prove | doctor | log-key | purge | reapply-erasures`: the ledger."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

import click
from flask.cli import with_appcontext

from consentkit.cli.printing import Failure, NotKnown, count, note, table
from consentkit.core.errors import ConsentKitError, LedgerBroken
from consentkit.proof import SigningKey
from consentkit.store.doctor import examine
from consentkit.store.log_keys import KEY_NAME
from consentkit.store.sealing import Sealed
from consentkit.store.verifying import Report
from consentkit.web.state import current_state


@click.command("seal", short_help="Seal what waits into the signed tree.")
@click.option("--watch", is_flag=True, help="Go on, until stopped.")
@click.option(
    "--every", default=1.0, show_default=True, type=click.FloatRange(0.1), help="Seconds between seals."
)
@with_appcontext
def seal(watch: bool, every: float) -> None:
    """Put waiting events into the Merkle tree and sign a checkpoint.

    Any number may run at once: one wins. Exit status 2 when database and
    anchor contradict each other; then nothing is sealed.
    """
    runtime = current_state().kit.runtime
    stop = threading.Event()
    if watch:
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
    while True:
        sealed = runtime.seal(_Progress("sealed"))
        if sealed.events or sealed.refused or not watch:
            _say_sealed(sealed)
        if not watch or stop.wait(every):
            return


def _say_sealed(sealed: Sealed) -> None:
    if sealed.busy:
        click.echo("Another sealer is at work.")
    else:
        click.echo(f"Sealed {count(sealed.events, 'event')}; the tree has {sealed.size:,}.")
    for event_id in sealed.refused:
        note(
            f"Refused event {event_id}: it was not written by this installation, or was changed before sealing."
        )


@click.command("verify", short_help="Verify the whole ledger.")
@with_appcontext
def verify() -> None:
    """Check every event, text, mapping and answer against the signed tree.

    Writes nothing. Exit status 0 when the ledger is as it was sealed, 2 when
    something was changed or is missing, 3 when it could not be looked at.
    """
    try:
        report = current_state().kit.ledger.verify(_Progress("verified"))
    except LedgerBroken as error:
        if not isinstance(error.report, Report):
            raise
        _say_report(error.report)
        rows = [(fault.verdict, fault.at, fault.what) for fault in error.report.faults]
        click.echo("\n" + table(("VERDICT", "WHERE", "WHAT"), rows))
        more = " More faults were not listed." if error.report.more else ""
        raise Failure(f"the ledger is not what was sealed.{more}") from None
    _say_report(report)


def _say_report(report: Report) -> None:
    verdict = {True: "holds", False: "BROKEN"}
    rows = [
        ("events", f"{report.events:,}"),
        ("sealed", f"{report.sealed:,}"),
        ("waiting", f"{report.pending:,}"),
        ("checkpoints", f"{report.checkpoints:,} signed, {report.anchored:,} anchored"),
        ("integrity", verdict[report.integrity]),
        ("completeness", verdict[report.completeness]),
    ]
    click.echo("\n".join(f"{name:<13} {value}" for name, value in rows))
    for warning in report.warnings:
        note(f"Warning: {warning}.")


@click.command("checkpoint", short_help="Print the latest signed checkpoint.")
@with_appcontext
def checkpoint() -> None:
    """Print the signed head of the log, as anybody may keep it."""
    found = current_state().kit.ledger.checkpoint()
    if found is None:
        raise NotKnown("nothing was sealed yet: run `flask consent seal`")
    click.echo(found, nl=False)


@click.command("prove", short_help="Print the proof of an event.")
@click.argument("event_id")
@with_appcontext
def prove(event_id: str) -> None:
    """Print the proof that EVENT_ID is in the ledger.

    It is checked without the ledger by `python -m consentkit.verify`.
    """
    try:
        click.echo(current_state().kit.ledger.prove(event_id), nl=False)
    except LookupError as error:
        raise NotKnown(str(error)) from None


@click.command("doctor", short_help="Look at what protects the ledger.")
@with_appcontext
def doctor() -> None:
    """Try the triggers (rolled back), look at anchor, settings and keys.

    Exit status 0 when all is well, 2 when something has to be mended.
    """
    runtime = current_state().kit.runtime
    runtime.ensure()
    places = runtime.log_keys, runtime.folder, runtime.journal
    found = list(examine(runtime.database, *places, runtime.clock.now()))
    click.echo(
        table(("LOOKED AT", "RESULT", ""), [(f.what, "ok" if f.well else "LOOK", f.says) for f in found])
    )
    if not all(finding.well for finding in found):
        raise Failure("something has to be looked at, see above")


@click.command("log-key", short_help="Make a key that signs checkpoints.")
def log_key() -> None:
    """Print a new CONSENTKIT_LOG_KEY, its public key on stderr. Nothing is stored."""
    key = SigningKey.generate(KEY_NAME)
    click.echo(key.private_text())
    click.echo(f"public key: {key.verifier}", err=True)


@click.command("new-log", short_help="Go on after a restore that lost events.")
@with_appcontext
def new_log() -> None:
    """Give the log a new origin and record what a restore has lost.

    For a database that was restored from a backup older than the anchor, when
    there is no newer backup. The old origin never signs again.
    """
    for lost in current_state().kit.ledger.begin_new_log():
        click.echo(f"{lost.origin} had {count(lost.known, 'event')}, of which {lost.kept:,} are here.")
    click.echo("A new log goes on from there.")


@click.command("purge", short_help="Hide overdue ids, destroy what is over.")
@with_appcontext
def purge() -> None:
    """Replace the ids of subjects whose erasure deadline has passed.

    Then destroy superseded answers whose purpose's retention is over; the last
    answer to everything stays. Then erase anonymous visitors of whom nothing
    was recorded for the site's visitor_retention. Then enter in the erasure
    journal what it lacks.
    """
    kit = current_state().kit
    click.echo(f"Hid {count(kit.purge(), 'id')}.")
    click.echo(f"Destroyed {count(kit.purge_events(), 'superseded event')}.")
    click.echo(f"Erased {count(kit.purge_visitors(_Progress('erased')), 'visitor')}.")
    if entered := kit.complete_journal():
        click.echo(f"Entered {count(entered, 'erasure')} that the journal lacked.")


@click.command("reapply-erasures", short_help="Erase again after a restore.")
@with_appcontext
def reapply_erasures() -> None:
    """Erase again what the journal lists and the database has forgotten.

    Run it after a backup was restored, before the app is started.
    """
    journal = current_state().kit.runtime.journal
    if journal is None or not Path(journal.path).exists():
        raise ConsentKitError("there is no erasure journal: set CONSENTKIT_ERASURE_JOURNAL to its path")
    click.echo(f"Erased {count(current_state().kit.reapply_erasures(), 'subject')} again.")


class _Progress:
    """A line on a terminal that counts; nothing where output goes to a file."""

    def __init__(self, verb: str) -> None:
        self._verb, self._shown = verb, 0

    def __call__(self, number: int) -> None:
        if sys.stderr.isatty() and number - self._shown >= 1000:
            self._shown = number
            click.echo(f"\r{self._verb} {number:,}", nl=False, err=True)
