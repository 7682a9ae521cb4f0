"""`flask consent routes`: what asks for consent before it processes, and what has nothing to say about it."""

from __future__ import annotations

import json
from typing import Any

import click
from flask import current_app
from flask.cli import with_appcontext

from consentkit.cli.printing import Failure, count, note, table
from consentkit.core.catalog import Catalog
from consentkit.core.errors import CatalogError
from consentkit.kit_declared import Declared, declarations
from consentkit.web.declared import View, views
from consentkit.web.state import current_state


@click.command("routes")
@click.option("--fail-undeclared", is_flag=True, help="Exit status 2 when a view declares nothing.")
@click.option("--format", "shape", type=click.Choice(["text", "json"]), default="text", show_default=True)
@with_appcontext
def routes(fail_undeclared: bool, shape: str) -> None:
    """List views, jobs and adapters with what they require.

    A view declares with a gate, or with ungated("why") that it needs none.
    Static files and the pages of consentkit are left out. Of jobs and
    adapters those are known that were imported together with the app.
    """
    kit = current_state().kit
    found, others = views(current_app), declarations(kit)
    silent = [view for view in found if view.undeclared]
    if shape == "json":
        click.echo(json.dumps(_document(kit.catalog, found, others), indent=2))
    else:
        _print(kit.catalog, found, others)
    if silent and shape == "text":
        note(f"{count(len(silent), 'view declares', 'views declare')} nothing.")
    if silent and fail_undeclared:
        places = ", ".join(f"{' '.join(view.methods)} {view.path}" for view in silent)
        raise Failure(f'add a gate or @ungated("why") to: {places}')


def _print(catalog: Catalog, found: list[View], others: list[Declared]) -> None:
    rows = [[view.path, " ".join(view.methods), _said(catalog, view)] for view in found]
    click.echo(table(["VIEW", "METHODS", "REQUIRES"], rows))
    if others:
        listed = [[d.where, d.kind, _keys(catalog, d.items) or "by the host that is called"] for d in others]
        click.echo("\n" + table(["CODE", "KIND", "REQUIRES"], listed))


def _said(catalog: Catalog, view: View) -> str:
    if view.ungated is not None:
        return f"none: {view.ungated}"
    return _keys(catalog, view.items) or "NOTHING DECLARED"


def _keys(catalog: Catalog, items: tuple[str, ...]) -> str:
    return ", ".join(key if _known(catalog, key) else f"{key} (unknown)" for key in items)


def _known(catalog: Catalog, key: str) -> bool:
    try:
        return bool(catalog.items_of(key) or key in catalog.categories)
    except CatalogError:
        return False


def _document(catalog: Catalog, found: list[View], others: list[Declared]) -> dict[str, Any]:
    return {
        "views": [
            {
                "path": view.path,
                "endpoint": view.endpoint,
                "methods": list(view.methods),
                **_sorted_out(catalog, view.items),
                "ungated": view.ungated,
                "undeclared": view.undeclared,
            }
            for view in found
        ],
        "code": [{"where": d.where, "kind": d.kind, **_sorted_out(catalog, d.items)} for d in others],
    }


def _sorted_out(catalog: Catalog, items: tuple[str, ...]) -> dict[str, list[str]]:
    known = [key for key in items if _known(catalog, key)]
    policies = [key for key in known if key in catalog.policies or key in catalog.bundles]
    return {
        "purposes": [key for key in known if key not in policies],
        "policies": policies,
        "unknown": [key for key in items if key not in known],
    }
