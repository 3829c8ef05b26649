"""The application: global options, exit codes, and the one place where errors become lines."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType
from typer.core import TyperGroup

from secateur.client._data import to_data
from secateur.client.cli.exits import EPILOG, exit_code
from secateur.client.client import Client
from secateur.client.errors import SecateurError

_WIDTH_OF_A_PIPE = 160
"""Columns of tables that go into a pipe or a file, where there is no terminal to fit."""


@dataclass
class Session:
    """What the commands of one call share.

    Args:
        address: Server; None for the SDK's own rule.
        project: Project id.
        json: Whether standard output carries JSON; set by `--json`.
    """

    address: str | None
    project: str
    json: bool = False

    def client(self) -> Client:
        """Returns a client; close it, or use it as a context."""
        return Client(self.address, self.project)

    def show(self, data: object, table: RenderableType) -> None:
        """Prints an answer on standard output: `data` as JSON with `--json`, else `table`."""
        if self.json:
            typer.echo(json.dumps(to_data(data)))
        else:
            Console(width=None if sys.stdout.isatty() else _WIDTH_OF_A_PIPE).print(table)

    def report(self, error: SecateurError) -> None:
        """Prints an error as one line on standard error: an object with `--json`, else text."""
        if self.json:
            facts = {"code": error.code, "reason": error.reason, "message": error.message, "field": error.field}
            typer.echo(json.dumps({"error": {**facts, "metadata": error.metadata}}), err=True)
        else:
            where = f" [{error.field}]" if error.field else ""
            typer.echo(f"error: {error.reason}: {' '.join(error.message.split())}{where}", err=True)


class _Group(TyperGroup):
    """The root group. Whatever command raises a `SecateurError`, it ends here."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except SecateurError as error:
            ctx.obj.report(error)
            raise typer.Exit(exit_code(error)) from None


app = typer.Typer(
    cls=_Group,
    name="secateur",
    help="Prune a CNN until it fits a device, as a service.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def root(
    ctx: typer.Context,
    address: Annotated[
        str | None,
        typer.Option(help="Server, host:port. Default: $SECATEUR_ADDRESS, or else 127.0.0.1:50551.", show_default=False),
    ] = None,
    project: Annotated[str, typer.Option(help="Project id.")] = "default",
) -> None:
    """Keeps the global options."""
    ctx.obj = Session(address, project)


def main() -> None:
    """Runs the command line."""
    app()
