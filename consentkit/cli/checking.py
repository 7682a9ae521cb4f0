"""`flask consent check`: what a deployment looks at before it serves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import click
from flask import current_app
from flask.cli import with_appcontext

from consentkit.cli.printing import Failure, Unusable, count, note, wrapped
from consentkit.core.errors import ConsentKitError, SchemaOutdated, StoreUnavailable
from consentkit.core.times import Duration
from consentkit.runtime import Runtime
from consentkit.store import publishing, schema
from consentkit.store.database import store_errors
from consentkit.store.files import unwritable
from consentkit.store.keys import KEY_FILE, load_key
from consentkit.web.checks import check_decorators, foreign_declarations
from consentkit.web.declared import required
from consentkit.web.state import State, current_state


@click.command("check")
@with_appcontext
def check() -> None:
    """Check catalogue, gates, database, keys and publication.

    Writes nothing. Exit status 0 when all is well, 2 when something has to be
    mended, 3 when the database could not be looked at.
    """
    state = current_state()
    wrong: list[ConsentKitError] = []
    told = any(party.webhook for party in state.kit.catalog.parties.values())
    for name, look in (_CHECKS | ({"webhooks": _webhooks} if told else {})).items():
        if wrong and isinstance(wrong[-1], (StoreUnavailable, SchemaOutdated)):
            result = "not looked at"
        else:
            try:
                result = f"ok     {look(state)}"
            except ConsentKitError as error:
                result = "wrong"
                wrong.append(error)
        click.echo(wrapped(f"{name:<10} {result}", " " * 18))
    if wrong:
        blind = all(isinstance(error, StoreUnavailable) for error in wrong)
        lines = [" ".join(fault.split()) for error in wrong for fault in _faults(error)]
        raise (Unusable if blind else Failure)("\n".join(lines))


class Several(ConsentKitError):
    """More than one thing has to be mended. Its message has a line for each."""


def _faults(error: ConsentKitError) -> list[str]:
    return str(error).splitlines() if isinstance(error, Several) else [str(error)]


def _none_of(faults: list[str]) -> None:
    """Raise Several where there are faults."""
    if faults:
        raise Several("\n".join(faults))


def _catalogue(state: State) -> str:
    catalog = state.kit.catalog
    purposes = count(len(catalog.purposes), "purpose")
    policies = count(len(catalog.policies), "policy", "policies")
    for remark in _remarks(state):
        note(f"Note: {remark}")
    return f"{purposes}, {policies}, {', '.join(catalog.locales)}"


def _remarks(state: State) -> Iterator[str]:
    """What may be meant as it stands."""
    catalog = state.kit.catalog
    if catalog.minors is not None and not catalog.minors.turns_away and state.kit.guardian.mailer is None:
        yield (
            "there are rules for minors, and nobody sends messages to guardians: register who does with "
            "@consent.guardian_mailer"
        )
    for purpose in catalog.purposes.values():
        if purpose.retention and not _is_duration(purpose.retention):
            yield (
                f"the retention of {purpose.key!r} is words, which people read; `flask consent purge` "
                "destroys nothing by it. A duration is written P13M"
            )


def _is_duration(text: str) -> bool:
    try:
        Duration.parse(text)
    except ValueError:
        return False
    return True


def _gates(state: State) -> str:
    check_decorators(current_app)
    for foreign in foreign_declarations(current_app):
        note(f"Note: {foreign}. It may be another app's; here it would process nothing.")
    return f"{count(len(list(required(current_app))), 'requirement')} on views"


def _database(state: State) -> str:
    database = state.kit.runtime.database
    url = database.engine.url
    if not database.postgresql:
        if url.database and not url.database.startswith("file:") and not Path(url.database).exists():
            raise SchemaOutdated(f"there is no database {url.database}: run `flask consent upgrade`")
        database.read(lambda tx: tx.run("SELECT 1"))
        return f"SQLite {url.database}"
    database.read(lambda tx: tx.run("SELECT 1"))
    return f"PostgreSQL {url.host or url.query.get('host') or 'localhost'}, {url.database}"


def _keys(state: State) -> str:
    """The key file is not made here: where tables are, a missing one is a lost one."""
    if not current_app.secret_key:
        raise ConsentKitError("SECRET_KEY is not set: the visitor cookie is signed with it")
    settings, folder = state.settings, state.kit.runtime.folder
    if not settings.key and folder is not None and not (folder / KEY_FILE).exists():
        raise ConsentKitError(
            f"the key file {folder / KEY_FILE} is missing: put it back from the backup; "
            "for a new ledger `flask consent upgrade` makes it"
        )
    known = f"CONSENTKIT_KEY {load_key(settings.key, folder).fingerprint}, SECRET_KEY"
    if folder is None and not settings.log_key:
        return f"{known}; CONSENTKIT_LOG_KEY is not set: this process cannot seal or verify"
    return known


def _files(state: State) -> str:
    """What is kept outside the database, where a setting says where."""
    settings = state.settings
    named = {
        "CONSENTKIT_LOG_ANCHOR": settings.log_anchor,
        "CONSENTKIT_ERASURE_JOURNAL": settings.erasure_journal,
    }
    _none_of([f"{name}: {why}" for name, path in named.items() if path and (why := unwritable(Path(path)))])
    beside = state.kit.runtime.folder is not None
    return ", ".join(
        f"{name} {'set' if path else 'beside the database' if beside else 'not set'}"
        for name, path in zip(("anchor", "erasure journal"), named.values(), strict=True)
    )


def check_tables(state: State) -> str:
    """The version of the tables. Raises SchemaOutdated."""
    with store_errors(), state.kit.runtime.database.engine.connect() as connection:
        have = schema.installed(connection)
    schema.check(have)
    return f"schema {have}"


def _published(state: State) -> str:
    runtime = state.kit.runtime
    steps = runtime.plan()
    if not is_published(runtime):
        what = count(len(steps), "new version") if steps else "texts only"
        raise ConsentKitError(f"this catalogue is not published ({what}): run `flask consent publish`")
    return "this very catalogue"


def is_published(runtime: Runtime) -> bool:
    """Whether this very catalogue is. Raises StoreUnavailable."""
    return runtime.database.read(lambda tx: publishing.is_published(runtime.catalog, tx))


def _webhooks(state: State) -> str:
    """Every party with a webhook needs a secret, and every secret a party."""
    catalog, settings = state.kit.catalog, state.settings.webhooks
    told = {party.key: party.webhook for party in catalog.parties.values() if party.webhook}
    faults = []
    if bare := sorted(told.keys() - settings.secrets.keys()):
        faults.append(
            f"there is no secret for {', '.join(bare)} in CONSENTKIT_WEBHOOK_SECRETS: nothing is delivered. "
            "`flask consent webhook-secret` makes one"
        )
    if idle := sorted(settings.secrets.keys() - told.keys()):
        faults.append(
            f"CONSENTKIT_WEBHOOK_SECRETS names {', '.join(idle)}: no party with a webhook has that key"
        )
    if (plain := sorted(k for k, url in told.items() if url.startswith("http:"))) and not settings.networks:
        faults.append(
            f"the webhook of {', '.join(plain)} is http://, which is for networks in CONSENTKIT_WEBHOOK_NETWORKS"
        )
    _none_of(faults)
    named = {r for purpose in catalog.purposes.values() for r in purpose.recipients}
    idle = sorted(told.keys() - named)
    never = f"; {', '.join(idle)} is told nothing: no purpose names it" if idle else ""
    return f"{count(len(told), 'recipient')}{never}"


_CHECKS: dict[str, Callable[[State], str]] = {
    "catalogue": _catalogue,
    "gates": _gates,
    "database": _database,
    "keys": _keys,
    "files": _files,
    "tables": check_tables,
    "published": _published,
}
"""In this order; nothing is looked at below a database that cannot be used."""
