"""`flask consent audience`: who may be processed now, for a mailer."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from typing import IO

import click
from flask.cli import with_appcontext

from consentkit.cli.policies import LINES, read_lines
from consentkit.cli.printing import Failure, NotKnown, Unusable, count, note, progress
from consentkit.core.errors import ConsentKitError, StoreUnavailable, UnknownPurpose
from consentkit.web.state import current_state

_FIELDS = ("subject", "purpose")


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
    type=LINES,
    metavar="FILE",
    help="Of these subjects only: one a line, or JSON lines or CSV as this command writes them; - is stdin.",
)
@with_appcontext
def audience(purpose: str, form: str, scope: str, tenant: str, among: IO[str] | None) -> None:
    """List the accounts that may be processed for PURPOSE now.

    PURPOSE is the key of a purpose, category, policy or bundle. Streams. Where
    the exit status is not 0 the list is not complete: do not use it.
    """
    kit = current_state().kit
    wanted = (line["subject"] for _, line in read_lines(among)) if among is not None else None
    number = 0
    try:
        found = kit.audience_ids(purpose, tenant=tenant, scope=scope, among=wanted)
        write = _writer(form)
        for number, subject in enumerate(found, start=1):
            write((subject, purpose))
            progress(number)
        sys.stdout.flush()
    except UnknownPurpose as error:
        raise NotKnown(str(error)) from None
    except StoreUnavailable as error:
        raise Unusable(f"{error}. The list above is not complete: do not use it") from None
    except ConsentKitError as error:
        what, asks, _ = str(error).partition("say among whom")
        if not asks:
            raise
        raise Failure(f"{what}{asks}, by --among FILE") from None  # instead of how it is said in Python
    _say(number, asks_age=kit.facts.age is not None and not tenant and among is None)


def _writer(form: str) -> Callable[[tuple[str, str]], object]:
    """Writes one row. Not by `click.echo`, which flushes a million times."""
    if form == "csv":
        rows = csv.writer(sys.stdout, lineterminator="\n")
        rows.writerow(_FIELDS)
        return rows.writerow

    def write(row: tuple[str, str]) -> None:
        sys.stdout.write(json.dumps(dict(zip(_FIELDS, row, strict=True)), ensure_ascii=False) + "\n")

    return write


def _say(number: int, asks_age: bool) -> None:
    note(f"{count(number, 'subject')} may be processed.")
    if asks_age:
        note(
            "Left out is whoever is of unknown age, where an age matters: this list does not ask the age loader."
        )
