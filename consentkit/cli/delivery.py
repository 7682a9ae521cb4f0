"""`flask consent deliver | webhook-secret`: recipients are told."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Mapping

import click
from flask.cli import with_appcontext

from consentkit.cli.printing import Failure, NotKnown, count, note, printable, table, when
from consentkit.core.errors import ChoiceRejected, StoreUnavailable
from consentkit.core.webhooks import new_secret
from consentkit.kit import Kit
from consentkit.kit_deliver import Delivered
from consentkit.kit_deliveries import Delivery
from consentkit.web.state import current_state

_OUTDATED = "another catalogue was published since this process began: start it again, with that one"


@click.command("deliver", short_help="Tell recipients what was answered.")
@click.option("--watch", is_flag=True, help="Go on, until stopped.")
@click.option(
    "--every", default=2.0, show_default=True, type=click.FloatRange(0.1), help="Seconds between rounds."
)
@click.option("--status", "status", is_flag=True, help="Send nothing, say what every recipient waits for.")
@click.option("--subject", help="With --status: what the messages about SUBJECT have come to.")
@click.option("--redeliver", metavar="EVENT_ID", help="Send the message about an event once more.")
@click.option("--to", metavar="PARTY", help="With --redeliver: to this recipient only.")
@click.option("--enable", metavar="PARTY", help="Tell a recipient again that wanted no more (410).")
@click.option("--drop", metavar="PARTY", help="Give up what is open for a party that is told no more.")
@click.option("--reason", metavar="CODE", help="With --drop: a short word, such as dissolved.")
@with_appcontext
def deliver(
    watch: bool,
    every: float,
    status: bool,
    subject: str | None,
    redeliver: str | None,
    to: str | None,
    enable: str | None,
    drop: str | None,
    reason: str | None,
) -> None:
    """Send what recipients have not confirmed yet, by signed webhook.

    Any number may run at once. Exit status 1 for an unknown event or party, 2
    when something could not be delivered (it stays and is tried again), and
    when another catalogue was published since the process began; so does
    --watch, for a supervisor to start it again.
    """
    kit = current_state().kit
    if (subject and not status) or (to and not redeliver) or bool(drop) != bool(reason):
        raise click.UsageError("--subject goes with --status, --to with --redeliver, --drop with --reason")
    if status:
        click.echo(_of_subject(kit, subject) if subject else _recipients(kit))
        return
    if drop and reason:
        _drop(kit, drop, reason)
        return
    if enable and not kit.enable_recipient(enable):
        raise NotKnown(f"there is no recipient {enable!r}: see `flask consent deliver --status`")
    if redeliver:
        _open_again(kit, redeliver, to)
    if watch:
        _watch(kit, every)
    else:
        _once(kit)


@click.command("webhook-secret", short_help="Make a secret to share with a recipient.")
def webhook_secret() -> None:
    """Print a new secret for CONSENTKIT_WEBHOOK_SECRETS. Nothing is stored."""
    click.echo(new_secret())


def _once(kit: Kit) -> None:
    failed, outdated = _drain(kit)
    if failed:
        rows = [(recipient, error) for recipient, error in sorted(failed.items())]
        click.echo(table(("RECIPIENT", "NOT DELIVERED"), rows), err=True)
    if outdated:
        raise Failure(_OUTDATED)
    waiting = sum(recipient.waiting for recipient in kit.recipients())
    if waiting:
        raise Failure(f"{count(waiting, 'message')} not delivered yet, see `flask consent deliver --status`")


def _drain(kit: Kit) -> tuple[dict[str, str], bool]:
    """Rounds until none has anything to do; why it failed, by recipient, and whether the catalogue is outdated."""
    progress, delivered = _Progress(), 0
    failed: dict[str, str] = {}
    while True:
        done = kit.deliver(progress)
        delivered += done.delivered
        failed |= done.failed
        if not done.more:
            click.echo(f"Delivered {count(delivered, 'message')}.")
            return failed, done.outdated


def _watch(kit: Kit, every: float) -> None:
    """Until SIGTERM. A ledger that cannot be used is tried again: nothing of what is queued is lost.

    One that does not know the published catalogue ends: it would queue nothing any more, and nobody would notice.
    """
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    said: Mapping[str, str] = {}
    while not stop.is_set():
        try:
            done = kit.deliver()
        except StoreUnavailable as error:
            done = Delivered(0, 0, {"ledger": str(error)})
        if done.delivered:
            click.echo(f"Delivered {count(done.delivered, 'message')}.")
        for what, why in done.failed.items():
            if said.get(what) != why:
                note(f"{what}: {printable(why)}")
        said = done.failed
        if done.outdated:
            raise Failure(_OUTDATED)
        if not done.more:
            stop.wait(every)


def _drop(kit: Kit, party: str, reason: str) -> None:
    try:
        dropped = kit.drop_messages(party, reason)
    except LookupError as error:
        raise NotKnown(str(error)) from None
    except ChoiceRejected as error:
        raise Failure(str(error)) from None
    click.echo(f"Dropped {count(dropped, 'message')}.")


def _open_again(kit: Kit, event_id: str, to: str | None) -> None:
    try:
        told = kit.redeliver(event_id, to)
    except LookupError as error:
        raise NotKnown(str(error)) from None
    click.echo(f"To be sent once more, to {', '.join(told)}.")


def _recipients(kit: Kit) -> str:
    found = kit.recipients()
    rows = [
        (
            r.key,
            "gone" if r.disabled_at is not None else "waiting" if r.waiting or r.unqueued else "all told",
            f"{r.waiting:,}",
            when(r.since),
            when(r.next_try_at),
            r.error or "",
        )
        for r in found
    ]
    if not rows:
        return "Nobody is told: no party of the catalogue has a webhook."
    shown = table(("RECIPIENT", "STATE", "OPEN", "SINCE (UTC)", "NEXT TRY (UTC)", "LAST ERROR"), rows)
    unqueued = max(r.unqueued for r in found)
    return shown + (f"\nNot queued yet: {count(unqueued, 'sealed event')}." if unqueued else "")


def _of_subject(kit: Kit, subject: str) -> str:
    """Delivered to A at t, pending at B since t."""
    kit.runtime.ensure()
    if kit.runtime.reader.state("", subject).key is None:
        raise NotKnown(f"the ledger does not know the subject {subject!r}")
    rows = [(d.recipient, d.type, d.item, d.status, _moment(d)) for d in kit.deliveries(subject=subject)]
    if not rows:
        return "Nobody has to be told."
    return table(("RECIPIENT", "MESSAGE", "ITEM", "STATUS", "WHEN (UTC)"), rows)


def _moment(found: Delivery) -> str:
    if found.status == "dropped":
        return when(found.tried_at)
    return when(found.delivered_at) if found.delivered_at else f"since {when(found.since)}"


class _Progress:
    """A line on a terminal that counts; nothing where output goes to a file."""

    def __init__(self) -> None:
        self._done = 0

    def __call__(self, _number: int) -> None:
        self._done += 1
        if sys.stderr.isatty() and self._done % 100 == 0:
            click.echo(f"\rdelivered {self._done:,}", nl=False, err=True)
