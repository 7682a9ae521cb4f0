"""`flask consent keys …`: the keys of the REST API."""

from __future__ import annotations

import click
from flask.cli import with_appcontext

from consentkit.cli.printing import Failure, NotKnown, note, table, when
from consentkit.store.api_keys import SCOPES, create_key, list_keys, revoke_key
from consentkit.web.state import current_state


@click.group("keys")
def keys() -> None:
    """Keys of the REST API: create, list, revoke."""


@keys.command("create")
@click.option("--label", required=True, help="What the key is for, such as the name of a service.")
@click.option("--tenant", default="", help="The tenant whose subjects it may see.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    default=("read",),
    show_default=True,
    help="May be given several times.",
)
@with_appcontext
def create(label: str, tenant: str, scopes: tuple[str, ...]) -> None:
    """Make a key and print its secret, once.

    Only the secret goes to standard output.
    """
    try:
        secret = create_key(current_state().kit.runtime, label=label, tenant=tenant, scopes=scopes)
    except ValueError as error:
        raise Failure(str(error)) from None
    note("Keep this secret: it is stored as a hash and cannot be shown again.")
    click.echo(secret)


@keys.command("list")
@with_appcontext
def list_() -> None:
    """List the keys, revoked ones too, without their secrets."""
    found = list_keys(current_state().kit.runtime)
    if not found:
        note("There are no keys: `flask consent keys create --label …` makes one.")
        return
    rows = [
        (k.key_id, k.label, k.tenant, " ".join(k.scopes), when(k.created_at)[:10], when(k.revoked_at)[:10])
        for k in found
    ]
    click.echo(table(("ID", "LABEL", "TENANT", "SCOPES", "CREATED", "REVOKED"), rows))


@keys.command("revoke")
@click.argument("key_id", metavar="ID")
@with_appcontext
def revoke(key_id: str) -> None:
    """End a key: its next request is refused.

    Exit status 1 when there is no such key, or it has ended already.
    """
    if not revoke_key(current_state().kit.runtime, key_id):
        raise NotKnown(f"there is no key {key_id!r} that could be ended: see `flask consent keys list`")
    click.echo(f"Revoked {key_id}.")
