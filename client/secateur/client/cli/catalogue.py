"""`secateur devices` and `secateur architectures`."""

from __future__ import annotations

from contextlib import closing
from itertools import islice
from typing import Annotated

import typer

from secateur.client.cli import options
from secateur.client.cli.app import Session, app
from secateur.client.cli.render import architecture_table, device_table, render_architecture

devices = typer.Typer(help="Look at device profiles.", no_args_is_help=True)
architectures = typer.Typer(help="Look at architectures, upload them.", no_args_is_help=True)
app.add_typer(devices, name="devices")
app.add_typer(architectures, name="architectures")


@devices.command("list")
def list_devices(
    ctx: typer.Context,
    json: options.Json = False,  # noqa: ARG001 -- its callback keeps it
) -> None:
    """List device profiles."""
    session: Session = ctx.obj
    with session.client() as client:
        profiles = list(client.device_profiles())
    session.show(profiles, device_table(profiles))


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
def upload_architecture(
    ctx: typer.Context,
    architecture: options.ArchitectureArgument,
    input_shape: options.InputShape = None,
    classes: options.Classes = None,
    name: Annotated[str, typer.Option(help="Name for people.", show_default=False)] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check; store nothing.")] = False,
    json: options.Json = False,  # noqa: ARG001 -- its callback keeps it
) -> None:
    """Upload an architecture. The same graph twice is one architecture."""
    session: Session = ctx.obj
    shape = options.input_shape(input_shape)
    with session.client() as client:
        uploaded = client.upload(architecture, input_shape=shape, classes=classes, display_name=name, validate_only=dry_run)
    session.show(uploaded, render_architecture(uploaded))
