"""`flask consent upgrade | publish | sql`: what a deployment runs."""

from __future__ import annotations

import click
from flask.cli import with_appcontext

from consentkit.cli.checking import check_tables, is_published
from consentkit.cli.printing import count, wrapped
from consentkit.core.catalog import Catalog
from consentkit.core.errors import StoreUnavailable
from consentkit.core.terms import Basis, Change, Kind
from consentkit.core.times import to_us
from consentkit.runtime import Runtime
from consentkit.store import publishing, schema
from consentkit.store.counting import asked_again
from consentkit.store.tables import PREFIX
from consentkit.web.state import current_state


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
    check_tables(state)
    known = is_published(runtime)
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
    for statement in schema.statements(schema.DIALECTS[dialect]):
        click.echo(f"{statement};\n")
    click.echo(
        f"INSERT INTO {PREFIX}schema (version, applied_us)\n"
        f"VALUES ({schema.VERSION}, {_NOW[dialect]}) ON CONFLICT (version) DO NOTHING;"
    )


_NOW = {
    "sqlite": "CAST(strftime('%s', 'now') AS INTEGER) * 1000000",
    "postgresql": "CAST(EXTRACT(EPOCH FROM CURRENT_TIMESTAMP) * 1000000 AS BIGINT)",
}


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
