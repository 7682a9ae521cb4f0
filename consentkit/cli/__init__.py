"""`flask consent …`: the deploy steps, what is known of a subject, API keys.

Exit status of every command: 0; 1 what is named is not known; 2 something has to be mended (the message says
what); 3 the ledger could not be used.
"""

from __future__ import annotations

from importlib import import_module
from keyword import iskeyword
from typing import Any

import click
from flask.cli import AppGroup

from consentkit.cli.printing import Failure, Unusable
from consentkit.core.errors import ConsentKitError, SchemaOutdated, StoreUnavailable

_COMMANDS = {
    "check": "checking",
    "routes": "routes",
    "upgrade": "deploy",
    "publish": "deploy",
    "sql": "deploy",
    "show": "subjects",
    "withdraw": "subjects",
    "export": "subjects",
    "import": "subjects",
    "erase": "subjects",
    "invitations": "guardians",
    "signed-form": "guardians",
    "cancel-invitation": "guardians",
    "audience": "audience",
    "notify": "policies",
    "announce": "policies",
    "minors": "minors",
    "keys": "keys",
    "seal": "ledger",
    "verify": "ledger",
    "checkpoint": "ledger",
    "prove": "ledger",
    "doctor": "ledger",
    "deliver": "delivery",
    "webhook-secret": "delivery",
    "log-key": "ledger",
    "new-log": "ledger",
    "purge": "ledger",
    "reapply-erasures": "ledger",
}
"""Module of each command. It is imported when the command runs: `flask` loads this group for every app."""


class ConsentGroup(AppGroup):
    """The commands, in the order of their use. Every error of consentkit becomes one sentence, no traceback.

    That holds for errors while the app is loaded, too: a command loads the app when it runs.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands."""
        return [*_COMMANDS, *sorted(set(self.commands) - set(_COMMANDS))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name."""
        if cmd_name in _COMMANDS:
            module = import_module(f"consentkit.cli.{_COMMANDS[cmd_name]}")
            name = cmd_name.replace("-", "_")
            command: click.Command = getattr(module, f"{name}_" if iskeyword(name) else name)
            return command
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; turn errors of consentkit into a message and an exit status."""
        try:
            return super().invoke(ctx)
        except (StoreUnavailable, SchemaOutdated) as error:
            raise Unusable(str(error)) from None
        except ConsentKitError as error:
            raise Failure(str(error)) from None


consent = ConsentGroup(
    "consent",
    help="Consent: publish the catalogue, ask the ledger, manage API keys.",
    epilog="Exit status: 0; 1 what is named is not known; 2 something has to be mended, "
    "and the message says what; 3 the ledger could not be used.",
)
