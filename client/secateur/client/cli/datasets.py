"""`secateur datasets`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.text import Text

from secateur.client.cli import options
from secateur.client.cli.app import Session, app
from secateur.client.cli.render import dataset_table, render_dataset

commands = typer.Typer(help="Look at data sets; upload your own.", no_args_is_help=True)
app.add_typer(commands, name="datasets")


Name = Annotated[
    str, typer.Argument(help="Id of a built-in data set or of one of the project, or resource name.", show_default=False)
]


@commands.command("list")
def list_datasets(
    ctx: typer.Context,
    deleted: options.ShowDeleted = False,
    json: options.Json = False,  # noqa: ARG001 -- its callback keeps it
) -> None:
    """List data sets: the built-in ones, then those of the project."""
    session: Session = ctx.obj
    with session.client() as client:
        datasets = list(client.datasets(show_deleted=deleted))
    session.show(datasets, dataset_table(datasets))


@commands.command("get")
def get_dataset(
    ctx: typer.Context,
    name: Name,
    json: options.Json = False,  # noqa: ARG001 -- its callback keeps it
) -> None:
    """Show one data set with its classes and its augmentation."""
    session: Session = ctx.obj
    with session.client() as client:
        dataset = client.dataset(name)
    session.show(dataset, render_dataset(dataset))


@commands.command("upload")
def upload_dataset(
    ctx: typer.Context,
    dataset_id: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="Small letters, digits, hyphens, underscores; not that of a built-in one.", show_default=False
        ),
    ],
    path: Annotated[
        Path,
        typer.Argument(
            help="An .npz with x_train, y_train and perhaps x_test, y_test; or a folder of images, "
            "\\[train/|test/]class/*.png|jpg, which needs secateur-client\\[data].",
            show_default=False,
        ),
    ],
    display_name: Annotated[str, typer.Option("--name", help="Name for people. Default: the id.", show_default=False)] = "",
    class_name: Annotated[
        list[str] | None,
        typer.Option(help="Name of a class, in the order of the labels; once per class. Default: names of the folders."),
    ] = None,
    flip: Annotated[bool, typer.Option("--flip", help="Training images may be mirrored, left to right.")] = False,
    crop: Annotated[int, typer.Option(min=0, help="Training images may be shifted by up to so many pixels.")] = 0,
    cutout: Annotated[int, typer.Option(min=0, help="A square with sides of so many pixels may be blanked in them.")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check; register nothing.")] = False,
    json: options.Json = False,  # noqa: ARG001 -- its callback keeps it
) -> None:
    """Upload a data set. It never changes. Called again, an upload that broke off goes on where it was."""
    session: Session = ctx.obj
    with session.client() as client, _sending() as show:
        dataset = client.upload_dataset(
            dataset_id,
            path,
            display_name=display_name,
            class_names=class_name or (),
            flip=flip,
            crop=crop,
            cutout=cutout,
            validate_only=dry_run,
            on_progress=show,
        )
    session.show(dataset, render_dataset(dataset))


@contextmanager
def _sending() -> Iterator[Callable[[int, int], None]]:
    """Shows a bar that fills with what is sent, where a person looks on."""
    console = Console(stderr=True)
    columns = (TextColumn("Uploading"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("upload", total=None)
        yield lambda sent, size: bar.update(task, completed=sent, total=size)


@commands.command("delete")
def delete_dataset(
    ctx: typer.Context,
    name: Name,
    allow_missing: options.AllowMissing = False,
    json: options.Json = False,  # noqa: ARG001 -- its callback keeps it
) -> None:
    """Delete a data set of the project. Models trained on it stay."""
    session: Session = ctx.obj
    with session.client() as client:
        client.delete_dataset(name, allow_missing=allow_missing)
    session.show({"deleted": name}, Text(f"{name} is deleted; `datasets undelete` undoes that"))


@commands.command("undelete")
def undelete_dataset(
    ctx: typer.Context,
    name: Name,
    json: options.Json = False,  # noqa: ARG001 -- its callback keeps it
) -> None:
    """Undo a deletion."""
    session: Session = ctx.obj
    with session.client() as client:
        found = client.undelete_dataset(name)
    session.show(found, render_dataset(found))
