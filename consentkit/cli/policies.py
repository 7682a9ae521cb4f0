"""`flask consent notify | announce`: who has to be told of a version, who was, and announcements to a selection."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from typing import IO, Any

import click
from flask.cli import with_appcontext

from consentkit.cli.printing import Failure, NotKnown, count, note, printable, progress
from consentkit.core.errors import ChoiceRejected, UnknownPolicy
from consentkit.kit import Kit
from consentkit.web.state import current_state

LINES = click.File("r", encoding="utf-8")


@click.command("notify", short_help="List who has to be told of POLICY, or record who was.")
@click.argument("policy")
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "csv"]),
    default="jsonl",
    show_default=True,
    help="One JSON object or one row of CSV per subject.",
)
@click.option(
    "--told", type=LINES, metavar="FILE", help="Record who was told: subjects or JSON lines; - is stdin."
)
@click.option("--version", "version", help="With --told and plain lines: the version; else the newest one.")
@click.option("--tenant", default="", help="The tenant to whom the subjects belong.")
@with_appcontext
def notify(policy: str, form: str, told: IO[str] | None, version: str | None, tenant: str) -> None:
    """List who has to be told of the newest version of POLICY.

    Of a policy that is who accepted an earlier version, of an announcement
    everybody or its selection, but for those who were told. Give the list to
    your mailer, and what it has sent to --told: nobody is listed again who
    was told, and a call that was interrupted is simply made again.
    """
    kit = current_state().kit
    if version is not None and told is None:
        raise click.UsageError("--version goes with --told: the newest version is the one to tell of")
    try:
        _record(kit, policy, told, version, tenant) if told else _list(kit, policy, form, tenant)
    except UnknownPolicy as error:
        raise NotKnown(str(error)) from None


@click.command("announce", short_help="Address the announcement KEY to a selection.")
@click.argument("key")
@click.option(
    "--to",
    type=LINES,
    required=True,
    metavar="FILE",
    help="Subjects, one a line, or JSON lines; - is stdin.",
)
@click.option("--tenant", default="", help="The tenant to whom the subjects belong.")
@with_appcontext
def announce(key: str, to: IO[str], tenant: str) -> None:
    """Address the announcement KEY to a selection of subjects.

    Nobody else sees it. Who was addressed before is not addressed again, so
    a call that was interrupted is simply made again.
    """
    kit = current_state().kit
    new, at = 0, 0
    try:
        for at, line in read_lines(to):
            subjects = [line["subject"]]
            new += _on_line(at, lambda: kit.announce(key, subjects, tenant=tenant))  # noqa: B023
            progress(at)
        if not at:
            kit.announce(key, [], tenant=tenant)
    except UnknownPolicy as error:
        raise NotKnown(str(error)) from None
    click.echo(f"Addressed to {count(new, 'subject')} who had not been addressed before.")


def _list(kit: Kit, policy: str, form: str, tenant: str) -> None:
    subjects = kit.to_tell(policy, tenant=tenant)
    release = kit.runtime.published.policies[policy][-1]
    fields = ("subject", "policy", "version")
    writer = csv.writer(sys.stdout, lineterminator="\n")
    if form == "csv":
        writer.writerow(fields)
    number = 0
    for number, subject in enumerate(subjects, start=1):
        row = (subject, policy, release.version)
        if form == "csv":
            writer.writerow(row)
        else:
            click.echo(json.dumps(dict(zip(fields, row, strict=True)), ensure_ascii=False))
        progress(number)
    note(f"{count(number, 'subject')} to be told of version {printable(release.version)} of {policy}.")


def _record(kit: Kit, policy: str, told: IO[str], version: str | None, tenant: str) -> None:
    kit.catalog.policy(policy)
    kit.runtime.ensure()
    new, seen, unknown = 0, 0, []
    for at, line in read_lines(told):
        if line.get("policy", policy) != policy:
            raise Failure(f"line {at} is about {line['policy']!r}, not about {policy!r}")
        subject: str = line["subject"]
        if kit.runtime.reader.state(tenant, subject).key is None:
            unknown.append(at)
            del unknown[10:]
            continue
        how: dict[str, Any] = {"tenant": tenant, "locale": line.get("locale")}
        of = line.get("version") or version
        new += _on_line(at, lambda: len(kit.notified(subject, policy, version=of, **how)))  # noqa: B023
        seen += 1
        progress(seen)
    click.echo(f"{count(new, 'subject')} recorded as told, {seen - new:,} had been before.")
    if unknown:
        lines = ", ".join(map(str, unknown))
        raise NotKnown(f"the ledger does not know every subject, and did not record them: see line {lines}")


def _on_line(at: int, work: Any) -> int:
    """Do what a line asks for. Raises Failure, which names the line."""
    try:
        done: int = work()
    except (ValueError, ChoiceRejected) as error:
        raise Failure(f"line {at}: {error}. What stands above it is recorded") from None
    return done


def read_lines(lines: IO[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Subjects, one a line, JSON objects with `subject`, or CSV as `notify` writes it. Empty lines do not count."""
    header: list[str] | None = None
    try:
        for at, line in enumerate(lines, start=1):
            text = line.strip("\ufeff\r\n")
            if at == 1 and text.startswith("subject,"):
                header = text.split(",")
            elif header is not None and text:
                yield at, dict(zip(header, next(csv.reader([text])), strict=False))
            elif text:
                yield at, _parsed(at, text)
    except UnicodeDecodeError:
        raise Failure("the file is not UTF-8. What stands above the wrong line is done") from None


def _parsed(at: int, text: str) -> dict[str, Any]:
    if not text.startswith("{"):
        return {"subject": text}
    try:
        said = json.loads(text)
    except ValueError:
        said = None
    texts = said if isinstance(said, dict) else {}
    if not texts.get("subject") or not all(isinstance(value, str) for value in texts.values()):
        raise Failure(f'line {at} is not a JSON object of texts such as {{"subject": "u-42"}}')
    return texts
