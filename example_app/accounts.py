"""Accounts: sign up, sign in, sign out, and a page that is open only to who accepted the terms."""

from __future__ import annotations

import functools
import re
import secrets
import sqlite3
from collections.abc import Callable
from typing import Any, TypeVar, cast

from flask import Blueprint, abort, redirect, request, session, url_for
from werkzeug import Response
from werkzeug.security import check_password_hash, generate_password_hash

from consentkit import Age, ConsentMissing, NoticeOutdated, current_consents, requires_acceptance, ungated
from example_app.letters import send_letter
from example_app.site import edition, here, link, render, words

blueprint = Blueprint("accounts", __name__)
View = TypeVar("View", bound=Callable[..., Any])
PASSWORD_LENGTH, ADULT = 10, 18
NOBODY = generate_password_hash(secrets.token_hex())


def current_account() -> str | None:
    """The id of whoever is signed in: consentkit's subject."""
    return cast("str | None", session.get("account"))


def sign_in_required(view: View) -> View:
    """Lead whoever is not signed in to the form, and back afterwards."""

    @functools.wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if current_account() is None:
            return redirect(link("accounts.sign_in", next=request.full_path.rstrip("?")), 303)
        return view(*args, **kwargs)

    return cast(View, guarded)


# ---------------------------------------------------------------- the page behind the terms


@blueprint.get("/account")
@sign_in_required
@requires_acceptance("terms")
def account() -> str:
    """What we know of the person. Closed while the terms in force are not accepted."""
    return _account_page()


@blueprint.post("/account/test-letter")
@sign_in_required
@requires_acceptance("terms")
def test_letter() -> str:
    """Run the job at once. The gate is around the job, not around this view: it asks when the job runs."""
    try:
        send_letter(account=str(current_account()))
    except ConsentMissing as error:
        return _account_page(blocked=error.decision.reason.value)
    return _account_page(sent=True)


def _account_page(**values: Any) -> str:
    with here().database.transaction() as db:
        person = db.execute("select * from account where id = ?", [current_account()]).fetchone()
        mailbox = db.execute(
            "select * from sent where account = ? order by at desc, rowid desc", [current_account()]
        )
        return render(
            "account.html",
            person=person,
            mailbox=mailbox.fetchall(),
            newsletter=current_consents.allows("newsletter"),
            **values,
        )


# ---------------------------------------------------------------- sign up


@blueprint.get("/sign-up")
@ungated("shows what is accepted")
def sign_up() -> str:
    """The form. It carries the digest of each text, so that the record says which one was shown."""
    return _sign_up_page()


@blueprint.post("/sign-up")
@ungated("is the acceptance")
def sign_up_answer() -> Response | tuple[str, int]:
    """Make the account and record what was accepted."""
    email, password = request.form.get("email", "").strip().lower(), request.form.get("password", "")
    fault = _fault(email, password)
    if fault:
        return _sign_up_page(fault), 422
    account = "u-" + secrets.token_hex(6)
    try:
        with here().database.transaction() as db:
            db.execute(
                "insert into account values (?, ?, ?)", [account, email, generate_password_hash(password)]
            )
            # Inside the transaction: where the acceptance cannot be recorded, there is no account either.
            here().consent.accept_shown(
                account,
                {policy: request.form.get(policy, "") for policy in _documents()},
                method="tick",
                locale=edition(),
            )
            here().consent.learn(
                account, age=Age(years=_age())
            )  # kept is whether it is a minor, and until when
    except sqlite3.IntegrityError:
        return _sign_up_page("taken"), 422
    except NoticeOutdated:
        return _sign_up_page("changed"), 409
    return _enter(account)


def _age() -> int:
    """What was chosen; whoever changes the form is no child."""
    said = request.form.get("age", "")
    return int(said) if re.fullmatch(r"[0-9]{1,2}", said) else ADULT


def _sign_up_page(fault: str | None = None) -> str:
    return render("sign_up.html", fault=fault, documents=_documents(), email=request.form.get("email", ""))


def _documents() -> dict[str, dict[str, str]]:
    """The documents of the bundle: title, address and digest of the text in force."""
    consent, locale, found = here().consent, edition(), {}
    for key in consent.catalog.bundles["sign_up"].policies:
        release = consent.policy_in_effect(key)
        if release is None:
            abort(503, f"{key} is not published yet")
        found[key] = {
            "title": consent.catalog.policies[key].title[locale],  # type: ignore[index]
            "url": url_for("consentkit.policy", key=key, locale=locale),
            "digest": release.texts[locale],
        }
    return found


def _fault(email: str, password: str) -> str | None:
    if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", email):
        return "bad_email"
    if len(password) < PASSWORD_LENGTH:
        return "short"
    return None if request.form.get("agree") else "no_tick"


# ---------------------------------------------------------------- sign in and out


@blueprint.get("/sign-in")
@ungated("signing in")
def sign_in() -> str:
    """The form."""
    return render("sign_in.html")


@blueprint.post("/sign-in")
@ungated("signing in")
def sign_in_answer() -> Response | tuple[str, int]:
    """Check the password; an unknown address takes as long as a known one."""
    email = request.form.get("email", "").strip().lower()
    with here().database.transaction() as db:
        found = db.execute("select id, password from account where email = ?", [email]).fetchone()
    right = check_password_hash(found["password"] if found else NOBODY, request.form.get("password", ""))
    if not found or not right:
        return render("sign_in.html", fault=words(edition())["sign_in"]["wrong"], email=email), 422
    return _enter(found["id"])


@blueprint.post("/sign-out")
@ungated("signing out")
def sign_out() -> Response:
    """Forget who was signed in."""
    session.clear()
    return redirect(link("pages.home"), 303)


def _enter(account: str) -> Response:
    session.clear()
    session["account"] = account
    target = request.args.get("next", "")
    safe = re.fullmatch(r"/(?![/\\])[^\x00-\x1f\x7f\\]*", target)
    return redirect(target if safe else link("accounts.account"), 303)
