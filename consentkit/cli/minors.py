"""`flask consent minors sweep | report | confirm`: children's data without a guardian's consent."""

from __future__ import annotations

import json
import sys

import click
from flask.cli import with_appcontext

from consentkit.cli.printing import Failure, NotKnown, count, note, table, when
from consentkit.core.sweeping import HOST
from consentkit.core.times import rfc3339, to_us
from consentkit.kit_sweep import Deletion
from consentkit.web.state import current_state


@click.group("minors", short_help="Find and follow up children's data.")
def minors() -> None:
    """Children's data without a guardian's consent."""


@minors.command("sweep", short_help="Have children's data deleted, remind.")
@with_appcontext
def sweep() -> None:
    """Require what has to be deleted, remind of what is not confirmed.

    Tells the app by a signal and recipients by webhook, destroys what the
    ledger itself may not keep, and tends invitations. Run it daily; run twice
    it does nothing more.
    """
    kit = current_state().kit
    swept = kit.sweep_minors(_counted)
    required, reminded = count(swept.required, "deletion"), count(swept.reminded, "reminder")
    click.echo(f"Looked at {count(swept.looked_at, 'subject')}: {required} required, {reminded}.")
    if swept.turned_away:
        click.echo(f"Turned away {count(swept.turned_away, 'child', 'children')}.")
    if kit.catalog.minors is None or kit.catalog.minors.turns_away:
        return
    tended = kit.tend_invitations()
    click.echo(f"Ended {count(tended.ended, 'invitation')}, forgot {tended.forgotten:,}.")
    if tended.failures:
        note(f"{count(tended.failures, 'message')} to guardians could not be sent; see the log.")


@minors.command("report", short_help="List deletions not confirmed yet.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@with_appcontext
def report(as_json: bool) -> None:
    """List the deletions that the app or a recipient has not confirmed.

    Exit status 0 when there is none, 2 when there are.
    """
    found = 0
    rows = []
    for deletion in current_state().kit.unconfirmed_deletions():
        found += 1
        if as_json:
            click.echo(json.dumps(_shown(deletion)))
        else:
            who = f"{deletion.subject} ({deletion.tenant})" if deletion.tenant else deletion.subject
            wants = (" ".join(deletion.waiting), " ".join(deletion.purposes))
            rows.append((who, when(deletion.since)[:10], *wants))
    if rows:
        click.echo(table(("SUBJECT", "SINCE", "WAITS FOR", "PURPOSES"), rows))
    if found:
        raise Failure(f"{count(found, 'deletion')} not confirmed")
    if not as_json:
        click.echo("Every required deletion is confirmed.")


@minors.command("confirm", short_help="Record that data was deleted.")
@click.argument("subject")
@click.option(
    "--by", default=HOST, show_default=True, metavar="PARTY", help="The party that has deleted; host: you."
)
@click.option("--tenant", default="", help="The tenant to whom the subject belongs.")
@with_appcontext
def confirm(subject: str, by: str, tenant: str) -> None:
    """Record that what was required of SUBJECT is deleted.

    Exit status 1 when nothing was open.
    """
    if not current_state().kit.confirm_deleted(subject, by=by, tenant=tenant):
        raise NotKnown(f"no deletion of {subject!r} waits for {by}: see `flask consent minors report`")
    click.echo("Confirmed.")


def _shown(deletion: Deletion) -> dict[str, object]:
    return {
        "subject": deletion.subject,
        "tenant": deletion.tenant,
        "since": rfc3339(to_us(deletion.since)),
        "reason": deletion.reason,
        "purposes": deletion.purposes,
        "waiting": deletion.waiting,
    }


def _counted(number: int) -> None:
    """A line on a terminal that counts."""
    if sys.stderr.isatty():
        click.echo(f"\rlooked at {number:,}", nl=False, err=True)
