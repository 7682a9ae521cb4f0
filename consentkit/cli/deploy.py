"""`flask consent check | upgrade | publish | sql`: what a deployment runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
from flask import current_app
from flask.cli import with_appcontext
from sqlalchemy.dialects import postgresql, sqlite

from consentkit.cli.printing import Failure, Unusable, count, note, wrapped
from consentkit.core.catalog import Catalog
from consentkit.core.errors import ConsentKitError, SchemaOutdated, StoreUnavailable
from consentkit.core.terms import Basis, Change, Kind
from consentkit.core.times import to_us
from consentkit.runtime import Runtime
from consentkit.store import publishing, schema
from consentkit.store.counting import asked_again
from consentkit.store.database import store_errors
from consentkit.store.keys import KEY_FILE, load_key
from consentkit.store.tables import PREFIX
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
        raise (Unusable if blind else Failure)("\n".join(" ".join(str(error).split()) for error in wrong))


@click.command("upgrade")
@with_appcontext
def upgrade() -> None:
    """Make the tables, or bring them up to date.

    May be run again at any time, also by several hosts at once. On SQLite the
    key file is made beside the database, when there is none.
    """
    runtime = current_state().kit.runtime
    if (folder := runtime.folder) is not None and not folder.is_dir():
        raise StoreUnavailable(f"the folder {folder} of the database does not exist: make it first")
    steps = runtime.upgrade()
    if runtime.folder is not None:
        _ = runtime.keyed
    for step in steps:
        click.echo(f"Applied schema step {step}.")
    if not steps:
        click.echo(f"The tables are up to date (schema {schema.VERSION}).")


@click.command("publish")
@click.option("--dry-run", is_flag=True, help="Say what would change, write nothing.")
@with_appcontext
def publish(dry_run: bool) -> None:
    """Store the catalogue and the texts of its policies.

    Prints every change, and where a new version asks people again, how many
    known subjects: those whose grant is of a version that is no longer good.

    Refused with exit status 2: a changed text under a published version, and a
    material change without a new version.
    """
    state = current_state()
    runtime = state.kit.runtime
    _tables(state)
    known = _is_published(runtime)
    steps = runtime.plan() if dry_run else runtime.publish()
    for step in steps:
        click.echo(_described(runtime, step))
    if not steps:
        click.echo("Nothing to publish." if known else "Only texts change; nobody is asked again.")
    if state.embedded:
        click.echo(wrapped("The embedded ledger publishes by itself whenever the app starts."))
    if dry_run:
        click.echo("Nothing was written (--dry-run).")
    elif steps or not known:
        click.echo("Published.")


@click.command("sql")
@click.option(
    "--dialect", required=True, type=click.Choice(["sqlite", "postgresql"]), help="Which database it is for."
)
def sql(dialect: str) -> None:
    """Print every statement of a new installation.

    For those who make tables by hand: run it in place of `upgrade`.
    """
    for statement in schema.statements(
        sqlite.dialect() if dialect == "sqlite" else postgresql.dialect()  # type: ignore[no-untyped-call]
    ):
        click.echo(f"{statement};\n")
    click.echo(
        f"INSERT INTO {PREFIX}schema (version, applied_us)\n"
        f"VALUES ({schema.VERSION}, {_NOW[dialect]}) ON CONFLICT (version) DO NOTHING;"
    )


_NOW = {
    "sqlite": "CAST(strftime('%s', 'now') AS INTEGER) * 1000000",
    "postgresql": "CAST(EXTRACT(EPOCH FROM CURRENT_TIMESTAMP) * 1000000 AS BIGINT)",
}


def _catalogue(state: State) -> str:
    catalog = state.kit.catalog
    purposes = count(len(catalog.purposes), "purpose")
    policies = count(len(catalog.policies), "policy", "policies")
    return f"{purposes}, {policies}, {', '.join(catalog.locales)}"


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
    folder = state.kit.runtime.folder
    if not state.settings.key and folder is not None and not (folder / KEY_FILE).exists():
        raise ConsentKitError(
            f"the key file {folder / KEY_FILE} is missing: put it back from the backup; "
            "for a new ledger `flask consent upgrade` makes it"
        )
    return f"CONSENTKIT_KEY {load_key(state.settings.key, folder).fingerprint}, SECRET_KEY"


def _tables(state: State) -> str:
    with store_errors(), state.kit.runtime.database.engine.connect() as connection:
        have = schema.installed(connection)
    schema.check(have)
    return f"schema {have}"


def _published(state: State) -> str:
    runtime = state.kit.runtime
    steps = runtime.plan()
    if not _is_published(runtime):
        what = count(len(steps), "new version") if steps else "texts only"
        raise ConsentKitError(f"this catalogue is not published ({what}): run `flask consent publish`")
    return "this very catalogue"


def _webhooks(state: State) -> str:
    """Every party with a webhook needs a secret, and every secret a party."""
    catalog, settings = state.kit.catalog, state.settings.webhooks
    told = {party.key: party.webhook for party in catalog.parties.values() if party.webhook}
    if bare := sorted(told.keys() - settings.secrets.keys()):
        raise ConsentKitError(
            f"there is no secret for {', '.join(bare)} in CONSENTKIT_WEBHOOK_SECRETS: nothing is delivered. "
            "`flask consent webhook-secret` makes one"
        )
    if idle := sorted(settings.secrets.keys() - told.keys()):
        raise ConsentKitError(
            f"CONSENTKIT_WEBHOOK_SECRETS names {', '.join(idle)}: no party with a webhook has that key"
        )
    if (plain := sorted(k for k, url in told.items() if url.startswith("http:"))) and not settings.networks:
        raise ConsentKitError(
            f"the webhook of {', '.join(plain)} is http://, which is for networks in CONSENTKIT_WEBHOOK_NETWORKS"
        )
    named = {r for purpose in catalog.purposes.values() for r in purpose.recipients}
    idle = sorted(told.keys() - named)
    never = f"; {', '.join(idle)} is told nothing: no purpose names it" if idle else ""
    return f"{count(len(told), 'recipient')}{never}"


_CHECKS: dict[str, Callable[[State], str]] = {
    "catalogue": _catalogue,
    "gates": _gates,
    "database": _database,
    "keys": _keys,
    "tables": _tables,
    "published": _published,
}
"""In this order; nothing is looked at below a database that cannot be used."""


def _is_published(runtime: Runtime) -> bool:
    return runtime.database.read(lambda tx: publishing.is_published(runtime.catalog, tx))


def _described(runtime: Runtime, step: publishing.Step) -> str:
    """What changes, and how many are asked again by it."""
    line, catalog = wrapped(_line(runtime, step), " " * 14), runtime.catalog
    floor: tuple[Kind, int] | None = None
    if step.what == "new_policy":
        order = _order(catalog, step)
        if order > 1 and step.change != Change.EDITORIAL:
            floor = Kind.POLICY, order
    elif step.what == "new_version" and catalog.purposes[step.item].basis is Basis.CONSENT:
        floor = Kind.PURPOSE, int(step.version)
    if floor is None:
        return line
    kind, lowest = floor
    people = runtime.database.read(lambda tx: asked_again(tx, kind, step.item, lowest))
    return f"{line}\n{' ' * 14}asks {count(people, 'known subject')} again"


def _line(runtime: Runtime, step: publishing.Step) -> str:
    if step.what == "new_purpose":
        return f"new purpose   {step.item}, version {step.version}"
    if step.what != "new_policy":
        return f"new version   purpose {step.item}, version {step.version} ({step.change})"
    order = _order(runtime.catalog, step)
    effective = runtime.catalog.policies[step.item].versions[order - 1].effective
    later = effective is not None and to_us(effective) > runtime.clock.now()
    since = f", in force from {effective:%Y-%m-%d}" if later else ""
    if order == 1:
        return f"new policy    {step.item}, version {step.version}{since}"
    return f"new version   policy {step.item}, version {step.version} ({step.change}){since}"


def _order(catalog: Catalog, step: publishing.Step) -> int:
    """The ordinal of a policy's version: order is that of the catalogue."""
    return [v.version for v in catalog.policies[step.item].versions].index(step.version) + 1
