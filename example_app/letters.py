"""The letter: ask for it, stop it, read the earlier ones, and the job that sends it."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, redirect, request, session
from werkzeug import Response

from consentkit import GuardianNeeded, current_consents, gated, requires_consent, ungated
from example_app import guardians
from example_app.reading import collection
from example_app.site import edition, here, link, render

blueprint = Blueprint("letters", __name__)


@gated("newsletter", subject="account")
def send_letter(account: str) -> None:
    """The job. However it is started, a queue, cron or a button, it runs only for who wants the letter."""
    newest = collection("letters", "en")[0].slug
    with here().database.transaction() as db:
        db.execute("insert into sent (account, letter) values (?, ?)", [account, newest])


@blueprint.get("/letter")
@ungated("asks the question")
def letter() -> str:
    """What the letter is, and the form. The template asks `consents.allows("newsletter")`."""
    return _letter_page(request.args.get("said"))


@blueprint.post("/letter")
@ungated("takes the answer")
def letter_answer() -> Response | tuple[str, int]:
    """A tick gives consent, for the account; the stop button withdraws it. Both are one click."""
    account = session.get("account")
    if account is None:
        return redirect(link("accounts.sign_in", next=link("letters.letter")), 303)
    consent = here().consent
    if "stop" in request.form:
        consent.withdraw(account, "newsletter", method="form", locale=edition())
        return redirect(link("letters.letter", said="stopped"), 303)
    if not request.form.get("yes"):
        return _letter_page("missing_tick"), 422
    try:
        consent.give(
            account, "newsletter", method="form", locale=edition(), notice=consent.notice(edition()).digest
        )
    except GuardianNeeded:
        return redirect(link("letters.letter", said="guardian"), 303)
    return redirect(link("letters.letter", said="thanks"), 303)


@blueprint.get("/letters")
@requires_consent("newsletter")
def letters() -> str:
    """The earlier letters, for who gets the letter."""
    return render("letters.html", letters=collection("letters", edition()), subject=current_consents.subject)


def _letter_page(said: str | None) -> str:
    return render(
        "letter.html",
        purpose=_purpose(),
        said=said,
        signed_in="account" in session,
        guardian=guardians.standing(),
        methods=guardians.offered(),
    )


def _purpose() -> dict[str, Any]:
    """The purpose in the words of the notice: the form shows what the record will say was shown."""
    purposes = here().consent.notice(edition()).data["apart"]
    return next(dict(purpose) for purpose in purposes if purpose["key"] == "newsletter")
