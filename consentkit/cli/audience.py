"""`flask consent audience`: who may be processed now, for a mailer."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from typing import IO

import click
from flask.cli import with_appcontext

from consentkit.cli.printing import NotKnown, Unusable, count, note, progress
from consentkit.core.errors import StoreUnavailable, UnknownPurpose
from consentkit.web.state import current_state


@click.command("audience", short_help="List who may be processed for PURPOSE now.")
@click.argument("purpose")
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "csv"]),
    default="jsonl",
    show_default=True,
    help="One JSON object or one row of CSV per subject.",
)
@click.option("--scope", default="", help="The one thing that a scoped purpose is about, such as comment:42.")
@click.option("--tenant", default="", help="The tenant to whom the subjects belong.")
@click.option(
    "--among",
    type=click.File("r", encoding="utf-8"),
    metavar="FILE",
    help="Of these subjects only, one a line; - is stdin.",
)
@with_appcontext
def audience(purpose: str, form: str, scope: str, tenant: str, among: IO[str] | None) -> None:
    """List the accounts that may be processed for PURPOSE now.

    PURPOSE is the key of a purpose, category, policy or bundle. Streams. Where
    the exit status is not 0 the list is not complete: do not use it.
    """
    kit = current_state().kit
    wanted = _lines(among) if among is not None else None
    number = 0
    try:
        for number, subject in enumerate(
            kit.audience_ids(purpose, tenant=tenant, scope=scope, among=wanted), start=1
        ):
            _write(subject, form, first=number == 1)
            progress(number)
    except UnknownPurpose as error:
        raise NotKnown(str(error)) from None
    except StoreUnavailable as error:
        raise Unusable(f"{error}. The list above is not complete: do not use it") from None
    if form == "csv" and not number:
        click.echo("subject")
    note(f"{count(number, 'subject')} may be processed.")


def _write(subject: str, form: str, *, first: bool) -> None:
    if form == "jsonl":
        click.echo(json.dumps({"subject": subject}, ensure_ascii=False))
        return
    rows = csv.writer(sys.stdout, lineterminator="\n")
    if first:
        rows.writerow(["subject"])
    rows.writerow([subject])


def _lines(file: IO[str]) -> Iterator[str]:
    return (text for line in file if (text := line.strip("\ufeff\r\n")))
