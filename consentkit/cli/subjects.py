"""`flask consent show | withdraw | export | erase`: one subject, on somebody's request."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import IO, Any, TypeVar

import click
from flask.cli import with_appcontext

from consentkit.cli.printing import Failure, NotKnown, count, note, printable, table, when, wrapped
from consentkit.core.errors import ChoiceRejected, UnknownPolicy, UnknownPurpose
from consentkit.core.ids import check_subject
from consentkit.core.record import Event
from consentkit.core.terms import Basis, Kind
from consentkit.core.times import rfc3339
from consentkit.kit import Kit
from consentkit.kit_ledger import event_json
from consentkit.store.reading import SubjectState
from consentkit.web.state import current_state

F = TypeVar("F", bound=Callable[..., Any])


def _tenant(command: F) -> F:
    return click.option("--tenant", default="", help="The tenant to whom the subject belongs.")(command)


@click.command("show", short_help="Show facts, decisions and events of SUBJECT.")
@click.argument("subject")
@_tenant
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with event ids and bodies.")
@with_appcontext
def show(subject: str, tenant: str, as_json: bool) -> None:
    """Show what is known of SUBJECT: facts, decisions, events.

    Exit status 1 when the ledger does not know the subject.
    """
    kit, state = _looked_up(subject, tenant)
    items = list(_items(kit, subject, tenant, state))
    events = kit.ledger.of_subject(subject, tenant=tenant)
    if as_json:
        shown = {
            "subject": subject,
            "tenant": tenant,
            "known": state.key is not None,
            "facts": _facts(state),
            "items": items,
            "events": [event_json(event) for event in events],
        }
        click.echo(json.dumps(shown, indent=2))
    if state.key is None:
        raise _unknown(subject, tenant)
    if not as_json:
        click.echo(_report(subject, tenant, state, items, events))


@click.command("withdraw", short_help="Record that consent of SUBJECT ends.")
@click.argument("subject")
@click.argument("items", metavar="[ITEM]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every purpose that rests on consent; no policy.")
@_tenant
@click.option(
    "--actor",
    type=click.Choice(["subject", "operator"]),
    default="subject",
    show_default=True,
    help="Who says so: the person (withdrawn), or you (revoked).",
)
@click.option(
    "--method",
    type=click.Choice(["code", "paper", "form"]),
    default="code",
    show_default=True,
    help="How it was said; a letter is paper.",
)
@with_appcontext
def withdraw(
    subject: str, items: tuple[str, ...], everything: bool, tenant: str, actor: str, method: str
) -> None:
    """Record that consent of SUBJECT ends, on somebody's request.

    ITEM is a purpose, a category, a policy or a bundle. It is recorded
    whatever came before, also for a subject that was not known. Exit status 1,
    and nothing recorded, for an ITEM that the catalogue does not have.
    """
    if everything == bool(items):
        raise click.UsageError("name what is withdrawn, or write --all (not both)")
    kit, state = _looked_up(subject, tenant)
    said = _scopes(kit, state) if everything else {"": list(items)}
    events: list[Event] = []
    for scope, keys in said.items():
        if keys:
            how = {"tenant": tenant, "actor": actor, "method": method, "scope": scope}
            events += _withdrawn(kit, subject, keys, how)
    if not events:
        what = "the catalogue" if everything else "what is named"
        click.echo(f"Nothing to withdraw: {what} has no purpose that rests on consent.")
    elif state.key is None:
        note(f"Note: the ledger did not know the subject {printable(subject)!r}; it does now.")
    for e in events:
        click.echo(f"{e.action} {e.item}{_in(e.scope)}, event {e.event_id}")


@click.command("export", short_help="Print what the ledger holds about SUBJECT as JSON.")
@click.argument("subject")
@_tenant
@with_appcontext
def export(subject: str, tenant: str) -> None:
    """Print everything the ledger holds about SUBJECT as JSON (GDPR 15, 20).

    Exit status 1, and no JSON, when the ledger does not know the subject.
    """
    kit, state = _looked_up(subject, tenant)
    if state.key is None:
        raise _unknown(subject, tenant)
    click.echo(json.dumps(kit.export(subject, tenant=tenant), indent=2))


@click.command("import", short_help="Record the answers of an export.")
@click.argument("file", type=click.File("r", encoding="utf-8-sig"))
@click.option("--subject", help="Under another id than the export's.")
@click.option("--tenant", help="For another tenant than the export's; '' is none.")
@with_appcontext
def import_(file: IO[str], subject: str | None, tenant: str | None) -> None:
    """Record the answers of FILE, as `flask consent export` wrote it; - is stdin.

    As of the instants they were said: a later answer here stays the last one.
    What is here already, or was said before an erasure, is left out, so a call
    can be made again. All or nothing; exit status 2 for a file that cannot be
    recorded.
    """
    try:
        export = json.load(file)
    except (ValueError, RecursionError):
        raise Failure(f"{file.name} is no export: `flask consent export` writes JSON") from None
    try:
        done = current_state().kit.import_export(export, subject=subject, tenant=tenant)
    except (ChoiceRejected, ValueError) as error:
        raise Failure(str(error)) from None
    left = {"here already": done.known, "from before an erasure": done.erased}
    parts = [f"{count(len(done), 'answer')} recorded", *(f"{n} {why}" for why, n in left.items() if n)]
    note(f"{', '.join(parts)}.")


@click.command("erase", short_help="Erase SUBJECT (GDPR 17). Cannot be undone.")
@click.argument("subject")
@click.option("--reason", default="art17", show_default=True, help="A short code; it is kept for ever.")
@click.option(
    "--mode",
    type=click.Choice(["unlink", "destroy"]),
    default="unlink",
    show_default=True,
    help="Keep the events under a pseudonym, as proof, or destroy them.",
)
@_tenant
@with_appcontext
def erase(subject: str, reason: str, mode: str, tenant: str) -> None:
    """Erase SUBJECT (GDPR 17): nothing that needs consent is allowed any more.

    Cannot be undone. Exit status 1 when the ledger does not know the subject.
    """
    kit, state = _looked_up(subject, tenant)
    if state.key is None:
        raise _unknown(subject, tenant)
    events = kit.erase(subject, reason=reason, mode=mode, tenant=tenant)
    for event in events:
        click.echo(f"Erased, {when(event.recorded_at)} UTC, event {event.event_id}")
    if not events:
        click.echo("Nothing is left to erase.")


def _withdrawn(kit: Kit, subject: str, keys: list[str], how: dict[str, Any]) -> list[Event]:
    try:
        return kit.withdraw(subject, keys, **how)
    except (UnknownPurpose, UnknownPolicy) as error:
        raise NotKnown(str(error)) from None


def _looked_up(subject: str, tenant: str) -> tuple[Kit, SubjectState]:
    kit = current_state().kit
    try:
        check_subject(subject, tenant)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    kit.runtime.ensure()
    return kit, kit.runtime.reader.state(tenant, subject)


def _unknown(subject: str, tenant: str) -> NotKnown:
    where = f" of tenant {tenant!r}" if tenant else ""
    return NotKnown(f"the ledger does not know the subject {subject!r}{where}")


def _scopes(kit: Kit, state: SubjectState) -> dict[str, list[str]]:
    """What `--all` means, by scope: purposes that rest on consent, and whatever else was given."""
    purposes = kit.catalog.purposes
    said = {"": [f"purpose:{p.key}" for p in purposes.values() if p.basis is Basis.CONSENT and not p.scoped]}
    for row in state.rows:
        key = f"purpose:{row.item}"
        given = row.kind == Kind.PURPOSE and row.grants and row.item in purposes
        if given and key not in said.setdefault(row.scope, []):
            said[row.scope].append(key)
    return said


def _items(kit: Kit, subject: str, tenant: str, state: SubjectState) -> Iterable[dict[str, Any]]:
    """Status and decision of every purpose and policy; a scoped purpose once per scope that was answered."""
    consents, catalog = kit.of(subject, tenant=tenant), kit.catalog
    for kind, prefix, keys in (("purpose", "purpose:", catalog.purposes), ("policy", "", catalog.policies)):
        for key in keys:
            scopes = sorted({row.scope for row in state.rows if (row.kind, row.item) == (kind, key)})
            for scope in scopes or [""]:
                decision = consents.look(prefix + key, scope=scope)
                yield {
                    "kind": kind,
                    "item": key,
                    "scope": scope,
                    "status": str(consents.status(prefix + key, scope=scope)),
                    "allowed": decision.allowed,
                    "reason": str(decision.reason),
                    "version": decision.version,
                    "expires": decision.expires.isoformat() if decision.expires else None,
                    "event_id": decision.event_id,
                }


def _facts(state: SubjectState) -> dict[str, Any]:
    facts = state.facts
    return {
        "band": facts.band.value,
        "minor_until": None if facts.minor_until_us is None else rfc3339(facts.minor_until_us),
        "jurisdiction": facts.jurisdiction,
        "erased": None if facts.erased_us is None else rfc3339(facts.erased_us),
    }


def _report(
    subject: str, tenant: str, state: SubjectState, items: list[dict[str, Any]], events: list[Event]
) -> str:
    facts = ", ".join(f"{name} {value}" for name, value in _facts(state).items() if value is not None)
    decisions = [
        (
            f"{i['kind']} {i['item']}{_in(i['scope'])}",
            i["status"],
            "allowed" if i["allowed"] else "blocked",
            i["reason"],
            (i["expires"] or "")[:10],
        )
        for i in items
    ]
    said = [
        (
            when(e.effective_at),
            e.action,
            f"{e.kind} {e.item}{_in(e.scope)}" if e.kind != Kind.SUBJECT else e.item,
            e.version or "",
            e.actor,
            e.method or "",
        )
        for e in events
    ]
    of_tenant = f", tenant {tenant}" if tenant else ""
    parts = [wrapped(f"{printable(subject)}{of_tenant}: {facts}")]
    if decisions:
        parts.append(table(("ITEM", "STATUS", "NOW", "REASON", "UNTIL"), decisions))
    if said:
        parts.append(table(("WHEN (UTC)", "ACTION", "ITEM", "VERSION", "ACTOR", "METHOD"), said))
    return "\n\n".join(parts)


def _in(scope: str) -> str:
    return f" [{printable(scope)}]" if scope else ""
