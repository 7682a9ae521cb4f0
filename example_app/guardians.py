"""Readers under sixteen ask their parents: whom to ask, by which way, and the message in place of mail."""

from __future__ import annotations

from flask import Blueprint, request, session
from werkzeug import Response
from werkzeug.utils import redirect

from consentkit import AskedTooOften, ChoiceRejected, Invitation, current_consents, ungated
from example_app.site import edition, here, link, render

blueprint = Blueprint("guardians", __name__)
METHODS = ("email_plus", "gov_id")


def send(invitation: Invitation) -> None:
    """The guardian_mailer. A real site sends mail here; this one puts it where everybody can read it."""
    with here().database.transaction() as db:
        db.execute(
            "insert into message (contact, title, text, url) values (?, ?, ?, ?)",
            [invitation.contact, invitation.title, invitation.text, invitation.url],
        )


@blueprint.post("/letter/ask")
@ungated("asks for consent")
def ask() -> Response:
    """Ask a parent about the letter. The page says the same whoever the address belongs to."""
    account = session.get("account")
    if account is None:
        return redirect(link("accounts.sign_in", next=link("letters.letter")), 303)
    method = request.form.get("method", "")
    try:
        here().consent.invite_guardian(
            account,
            "newsletter",
            contact=request.form.get("contact", ""),
            method=method if method in offered() else METHODS[0],
            locale=edition(),
        )
    except AskedTooOften:
        return redirect(link("letters.letter", said="too_often"), 303)
    except (ChoiceRejected, ValueError):
        return redirect(link("letters.letter", said="not_asked"), 303)
    return redirect(link("letters.letter", said="asked"), 303)


@blueprint.get("/outbox")
@ungated("a page for everybody, because this is a demo")
def outbox() -> str:
    """What was sent, newest first."""
    with here().database.transaction() as db:
        sent = db.execute("select * from message order by at desc, rowid desc limit 20").fetchall()
    return render("outbox.html", messages=sent)


def offered() -> tuple[str, ...]:
    """The ways to be verified: without a verifier at work only messages."""
    return METHODS if here().consent.guardian.verifiers else METHODS[:1]


def standing() -> str | None:
    """How it stands with a reader's parents; None where they are not asked."""
    reason = current_consents.decide("newsletter").reason.value
    return reason if reason.startswith("GUARDIAN") else None
