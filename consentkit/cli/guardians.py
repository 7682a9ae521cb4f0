"""`flask consent invitations | signed-form | cancel-invitation`: guardians, from the operator's side."""

from __future__ import annotations

import click
from flask.cli import with_appcontext

from consentkit.cli.printing import NotKnown, count
from consentkit.core.errors import ChoiceRejected, ConsentKitError
from consentkit.core.record import Event
from consentkit.web.state import current_state


@click.command("invitations", short_help="Send second messages, forget contacts. For cron.")
@with_appcontext
def invitations() -> None:
    """Do what is due with invitations to guardians. Run it by cron, every hour or so.

    Sends the second message to who has said yes by email_plus or text_plus,
    forgets the contacts of invitations that are over, and deletes those that
    count for nothing any more. Exit status 2 when a message could not be sent;
    it is tried again in an hour.
    """
    done = current_state().kit.tend_invitations()
    click.echo(f"Sent {count(done.confirmations, 'second message')}.")
    click.echo(f"Ended {count(done.ended, 'invitation')}, deleted {done.forgotten:,}.")
    if done.failures:
        raise ConsentKitError(f"{count(done.failures, 'second message')} could not be sent: the log says why")


@click.command("signed-form", short_help="Record a form that a guardian has signed.")
@click.argument("invitation")
@click.option("--give", multiple=True, metavar="ITEM", help="Marked with yes. May be repeated.")
@click.option("--refuse", multiple=True, metavar="ITEM", help="Marked with no. May be repeated.")
@click.option("--disclose", multiple=True, metavar="ITEM", help="Where the tick about third parties is set.")
@click.option("--evidence", required=True, metavar="SHA256", help="Digest of the scanned form.")
@click.option("--operator", required=True, help="The staff id of who read it.")
@with_appcontext
def signed_form(
    invitation: str,
    give: tuple[str, ...],
    refuse: tuple[str, ...],
    disclose: tuple[str, ...],
    evidence: str,
    operator: str,
) -> None:
    """Record the answers on the signed form of INVITATION; its number stands on the form.

    Every item that was asked about is named once, by --give or --refuse.
    """
    answers = {"give": give, "refuse": refuse, "disclose": disclose}
    try:
        events = current_state().kit.record_signed_form(
            invitation, evidence=evidence, operator=operator, **answers
        )
    except ValueError as error:
        raise ConsentKitError(str(error)) from None
    _print(events)


@click.command("cancel-invitation", short_help="Take an invitation back.")
@click.argument("invitation")
@with_appcontext
def cancel_invitation(invitation: str) -> None:
    """Take INVITATION back: its link and its code are worth nothing from now on.

    Exit status 1 when there is no open one of this number.
    """
    try:
        events = current_state().kit.cancel_invitation(invitation)
    except ChoiceRejected as error:
        raise NotKnown(str(error)) from None
    _print(events)


def _print(events: list[Event]) -> None:
    for event in events:
        click.echo(f"{event.action} {event.item}, by {event.actor}, event {event.event_id}")
