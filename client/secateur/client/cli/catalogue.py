"""`secateur architectures`."""

from __future__ import annotations

from contextlib import closing
from itertools import islice
from typing import Annotated

import typer

from secateur.client.cli import options
from secateur.client.cli.app import Session, app
from secateur.client.cli.groups import grouped
from secateur.client.cli.render import architecture_table, render_architecture

architectures = typer.Typer(help="Look at architectures, upload them.", no_args_is_help=True)
app.add_typer(architectures, name="architectures")


@architectures.command("list")
def list_architectures(
    ctx: typer.Context,
    limit: options.Rows = 20,
    json: options.Json = False,  # noqa: ARG001 -- its callback keeps it
) -> None:
    """List architectures, newest first."""
    session: Session = ctx.obj
    with session.client() as client, closing(client.architectures()) as rows:
        found = list(islice(rows, limit))
    session.show(found, architecture_table(found))


@architectures.command("get")
def get_architecture(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Resource name or id of an architecture.", show_default=False)],
    json: options.Json = False,  # noqa: ARG001 -- its callback keeps it
) -> None:
    """Show one architecture with its layers and their shares of the whole."""
    session: Session = ctx.obj
    with session.client() as client:
        architecture = client.architecture(name)
    session.show(architecture, render_architecture(architecture))


@architectures.command("upload")
@grouped
def upload_architecture(
    ctx: typer.Context,
    network: options.Network,
    name: Annotated[str, typer.Option(help="Name for people.", show_default=False)] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check; store nothing.")] = False,
    json: options.Json = False,  # noqa: ARG001 -- its callback keeps it
) -> None:
    """Upload an architecture. The same graph twice is one architecture."""
    session: Session = ctx.obj
    with session.client() as client:
        uploaded = client.upload(network.architecture, display_name=name, validate_only=dry_run, **network.of_zoo)
    session.show(uploaded, render_architecture(uploaded))
