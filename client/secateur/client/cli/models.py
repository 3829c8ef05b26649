"""`secateur models`."""

from __future__ import annotations

from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from secateur.client.cli import options
from secateur.client.cli.app import Session, app
from secateur.client.cli.groups import grouped
from secateur.client.cli.render import compliance_table, model_table, render_model
from secateur.client.cli.tables import spaced

commands = typer.Typer(help="Look at models, download them, find the one for a device.", no_args_is_help=True)
app.add_typer(commands, name="models")

Name = Annotated[str, typer.Argument(help="Resource name or id of a model.", show_default=False)]


@commands.command("list")
def list_models(
    ctx: typer.Context,
    limit: options.Rows = 20,
    filter: options.ModelFilter = "",  # noqa: A002 -- the option's name
    order_by: options.ModelOrder = "",
    deleted: options.ShowDeleted = False,
    json: options.Json = False,  # noqa: ARG001 -- its callback keeps it
) -> None:
    """List models, newest first unless asked otherwise."""
    session: Session = ctx.obj
    with session.client() as client, closing(client.models(filter, order_by, show_deleted=deleted)) as rows:
        models = list(islice(rows, limit))
    session.show([model.snapshot for model in models], model_table(models))


@commands.command("get")
def get_model(
    ctx: typer.Context,
    name: Name,
    json: options.Json = False,  # noqa: ARG001 -- its callback keeps it
) -> None:
    """Show one model: its limits, its files, what was measured."""
    session: Session = ctx.obj
    with session.client() as client:
        model = client.model(name)
    session.show(model.snapshot, render_model(model))


@commands.command("download")
def download_model(
    ctx: typer.Context,
    name: Name,
    directory: Annotated[Path, typer.Argument(help="Where to; made if it does not exist.")] = Path(),
    format: Annotated[  # noqa: A002 -- the option's name
        list[str] | None,
        typer.Option(
            help="litert-float32, litert-float16, litert-int8, tflm-source or keras; may be repeated. Default: all.",
            show_default=False,
        ),
    ] = None,
    json: options.Json = False,  # noqa: ARG001 -- its callback keeps it
) -> None:
    """Download the files of a model, verified, and what is known of it as model.json."""
    session: Session = ctx.obj
    with session.client() as client:
        paths = client.model(name).download(directory, format)
    names = [str(path) for path in paths]
    session.show(names, Text("\n".join(names)))


@commands.command("resolve")
@grouped
def resolve_model(
    ctx: typer.Context,
    network: options.Network,
    dataset: options.DatasetOption,
    limits: options.Limits,
    profile: Annotated[str | None, typer.Option(help="The device's profile.", show_default=False)] = None,
    etag: Annotated[
        str, typer.Option(help="Etag of an earlier answer; if it still holds, nothing is shown.", show_default=False)
    ] = "",
    json: options.Json = False,  # noqa: ARG001 -- its callback keeps it
) -> None:
    """Find the most accurate model that fits a device. Exit code 4 if none does.

    Limits are absolute: a share of the unpruned network, such as 50%, is refused here.
    """
    session: Session = ctx.obj
    with session.client() as client:
        found = client.resolve_if_changed(etag, network.architecture, dataset, profile, limits.budget, **network.of_zoo)
    if found is None:
        session.show(None, Text(f"Still the answer of {etag}"))
        return
    data = {
        "model": found.model.snapshot,
        "artifact": found.artifact,
        "compliance": found.compliance,
        "fitting_models": found.fitting_models,
        "etag": found.etag,
    }
    summary = Text(f"{found.fitting_models} of the family's models fit; the best is {found.artifact.name}")
    session.show(data, spaced([summary, compliance_table(found.compliance), render_model(found.model, brief=True)]))


@commands.command("delete")
def delete_model(
    ctx: typer.Context,
    name: Name,
    allow_missing: options.AllowMissing = False,
    json: options.Json = False,  # noqa: ARG001 -- its callback keeps it
) -> None:
    """Delete a model: no device gets it any more."""
    session: Session = ctx.obj
    with session.client() as client:
        client.delete_model(name, allow_missing=allow_missing)
    session.show({"deleted": name}, Text(f"{name} is deleted; `models undelete` undoes that"))


@commands.command("undelete")
def undelete_model(
    ctx: typer.Context,
    name: Name,
    json: options.Json = False,  # noqa: ARG001 -- its callback keeps it
) -> None:
    """Undo a deletion."""
    session: Session = ctx.obj
    with session.client() as client:
        found = client.undelete_model(name)
    session.show(found.snapshot, model_table([found]))
