"""`secateur profiles`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer
from rich.text import Text

from secateur.client.cli import options
from secateur.client.cli.app import Session, app
from secateur.client.cli.groups import grouped
from secateur.client.cli.render import profile_table, render_profile

commands = typer.Typer(help="Look at device profiles; add your own, delete them.", no_args_is_help=True)
app.add_typer(commands, name="profiles")

Name = Annotated[
    str, typer.Argument(help="Id of a built-in profile or of one of the project, or resource name.", show_default=False)
]


@dataclass(frozen=True, kw_only=True)
class HardwareOptions:
    """What a device is like, as `Client.add_device_profile` takes it."""

    flash: Annotated[str, typer.Option(help="Flash, or storage of a board: 1MiB.", show_default=False)]
    ram: Annotated[str, typer.Option(help="RAM: 320KiB.", show_default=False)]
    clock: Annotated[str, typer.Option(help="Core clock: 216MHz.", show_default=False)]
    macs_per_second: Annotated[
        str,
        typer.Option(
            "--macs",
            help="Int8 multiply-accumulates per second, of one that does not wait for memory: 200M.",
            show_default=False,
        ),
    ]
    runtime: Annotated[
        str, typer.Option(help="What runs the model: tflm (TensorFlow Lite for Microcontrollers) or litert.")
    ] = "tflm"
    bandwidth: Annotated[
        str | None,
        typer.Option(help="Bytes of memory per second: 100MB. Default: a 32-bit word per cycle.", show_default=False),
    ] = None
    overhead: Annotated[
        str | None,
        typer.Option(
            help="Time that the runtime adds to every operator: 5us. Default: 1,000 cycles; litert: 5,000.", show_default=False
        ),
    ] = None
    display_name: Annotated[str, typer.Option("--name", help="Name for people. Default: the id.", show_default=False)] = ""
    source: Annotated[str, typer.Option(help="Where the figures come from.", show_default=False)] = ""


@commands.command("list")
def list_profiles(
    ctx: typer.Context,
    json: options.Json = False,  # noqa: ARG001 -- its callback keeps it
) -> None:
    """List device profiles: the built-in ones, then those of the project."""
    session: Session = ctx.obj
    with session.client() as client:
        profiles = list(client.device_profiles())
    session.show(profiles, profile_table(profiles))


@commands.command("get")
def get_profile(
    ctx: typer.Context,
    name: Name,
    json: options.Json = False,  # noqa: ARG001 -- its callback keeps it
) -> None:
    """Show one device profile and where its figures come from."""
    session: Session = ctx.obj
    with session.client() as client:
        profile = client.device_profile(name)
    session.show(profile, render_profile(profile))


@commands.command("add")
@grouped
def add_profile(
    ctx: typer.Context,
    profile_id: Annotated[
        str,
        typer.Argument(metavar="ID", help="Small letters, digits and hyphens; not that of a built-in one.", show_default=False),
    ],
    hardware: HardwareOptions,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check; add nothing.")] = False,
    json: options.Json = False,  # noqa: ARG001 -- its callback keeps it
) -> None:
    """Add a device profile to the project. It never changes; delete it to give its id to another."""
    session: Session = ctx.obj
    with session.client() as client:
        profile = client.add_device_profile(profile_id, validate_only=dry_run, **vars(hardware))
    session.show(profile, render_profile(profile))


@commands.command("delete")
def delete_profile(
    ctx: typer.Context,
    name: Name,
    json: options.Json = False,  # noqa: ARG001 -- its callback keeps it
) -> None:
    """Delete a device profile of the project. Jobs and models made for it stay."""
    session: Session = ctx.obj
    with session.client() as client:
        client.delete_device_profile(name)
    session.show({"deleted": name}, Text(f"{name} is deleted"))
