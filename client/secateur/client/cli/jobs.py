"""`secateur jobs`."""

from __future__ import annotations

import json as json_codec
from contextlib import closing
from itertools import islice
from typing import Annotated

import typer
from rich.console import Group
from rich.text import Text

from secateur.client._data import to_data
from secateur.client.cli import options
from secateur.client.cli.app import Session, app
from secateur.client.cli.consoles import print_line
from secateur.client.cli.exits import exit_code_of_state
from secateur.client.cli.progress import going_on, wait_with_progress
from secateur.client.cli.render import candidate_table, event_line, job_table, render_job
from secateur.client.client import Job
from secateur.client.units import parse_seconds

commands = typer.Typer(help="Look at jobs, wait for them, cancel or retry them.", no_args_is_help=True)
app.add_typer(commands, name="jobs")

Name = Annotated[str, typer.Argument(help="Resource name or id of a job.", show_default=False)]


def show_job(session: Session, job: Job) -> None:
    """Prints a job with its models; as JSON, the job's fields and a list `models`."""
    models = job.models()
    data = {field: getattr(job.snapshot, field) for field in job.snapshot.__dataclass_fields__}
    session.show({**data, "models": [model.snapshot for model in models]}, render_job(job, models))


@commands.command("list")
def list_jobs(
    ctx: typer.Context,
    limit: options.Rows = 20,
    filter: options.JobFilter = "",  # noqa: A002 -- the option's name
    order_by: options.JobOrder = "",
    deleted: options.ShowDeleted = False,
    json: options.Json = False,  # noqa: ARG001 -- its callback keeps it
) -> None:
    """List jobs, newest first unless asked otherwise."""
    session: Session = ctx.obj
    with session.client() as client, closing(client.jobs(filter, order_by, show_deleted=deleted)) as rows:
        jobs = list(islice(rows, limit))
    session.show([job.snapshot for job in jobs], job_table(jobs))


@commands.command("get")
def get_job(
    ctx: typer.Context,
    name: Name,
    json: options.Json = False,  # noqa: ARG001 -- its callback keeps it
) -> None:
    """Show one job and what came of it."""
    session: Session = ctx.obj
    with session.client() as client:
        show_job(session, client.job(name))


@commands.command("candidates")
def list_candidates(
    ctx: typer.Context,
    name: Name,
    target: Annotated[int, typer.Option(min=0, help="Index of the target, from 0.")] = 0,
    limit: options.Rows = 20,
    json: options.Json = False,  # noqa: ARG001 -- its callback keeps it
) -> None:
    """List what the search of a finished target looked at, best first."""
    session: Session = ctx.obj
    with session.client() as client, closing(client.search_candidates(name, target)) as rows:
        found = list(islice(rows, limit))
    session.show(found, candidate_table(found))


@commands.command("watch")
def watch_job(
    ctx: typer.Context,
    name: Name,
    after: Annotated[int, typer.Option(help="Sequence number of the last event already seen.")] = 0,
    timeout: options.Timeout = None,
    json: options.Json = False,  # noqa: ARG001 -- its callback keeps it
) -> None:
    """Print the events of a job as they happen, one per line, until it is done. The exit code tells how it ended."""
    session: Session = ctx.obj
    seconds = None if timeout is None else parse_seconds(timeout, field="timeout")
    with session.client() as client:
        job = client.job(name)
        state = job.state
        with going_on(job), closing(job.watch(after, seconds)) as events:
            for event in events:
                state = event.state
                if session.json:
                    typer.echo(json_codec.dumps(to_data(event)))
                else:
                    print_line(f"{event.sequence} {event_line(event)}")
    raise typer.Exit(exit_code_of_state(state))


@commands.command("wait")
def wait_for_job(
    ctx: typer.Context,
    name: Name,
    timeout: options.Timeout = None,
    json: options.Json = False,  # noqa: ARG001 -- its callback keeps it
) -> None:
    """Wait for a job and show what came of it. The exit code tells how it ended."""
    session: Session = ctx.obj
    seconds = None if timeout is None else parse_seconds(timeout, field="timeout")
    with session.client() as client:
        job = client.job(name)
        with going_on(job):
            wait_with_progress(job, timeout=seconds)
        show_job(session, job)
    raise typer.Exit(exit_code_of_state(job.state))


@commands.command("cancel")
def cancel_job(
    ctx: typer.Context,
    name: Name,
    json: options.Json = False,  # noqa: ARG001 -- its callback keeps it
) -> None:
    """Ask for a job to end. One that is done stays as it is; a running one ends within seconds: `jobs wait` waits for it."""
    session: Session = ctx.obj
    with session.client() as client:
        job = client.job(name)
        job.cancel()
    note = "" if job.done else "asked to end; it does so within seconds"
    session.show(job.snapshot, Group(job_table([job]), Text(note)))


@commands.command("retry")
def retry_job(
    ctx: typer.Context,
    name: Name,
    json: options.Json = False,  # noqa: ARG001 -- its callback keeps it
) -> None:
    """Do the work of a job that is FAILED, CANCELLED or EXPIRED again, as a new job."""
    session: Session = ctx.obj
    with session.client() as client:
        job = client.job(name).retry()
    session.show(job.snapshot, job_table([job]))


@commands.command("delete")
def delete_job(
    ctx: typer.Context,
    name: Name,
    allow_missing: options.AllowMissing = False,
    json: options.Json = False,  # noqa: ARG001 -- its callback keeps it
) -> None:
    """Delete a job that is done. Its models stay."""
    session: Session = ctx.obj
    with session.client() as client:
        client.delete_job(name, allow_missing=allow_missing)
    session.show({"deleted": name}, Text(f"{name} is deleted; `jobs undelete` undoes that"))


@commands.command("undelete")
def undelete_job(
    ctx: typer.Context,
    name: Name,
    json: options.Json = False,  # noqa: ARG001 -- its callback keeps it
) -> None:
    """Undo a deletion."""
    session: Session = ctx.obj
    with session.client() as client:
        found = client.undelete_job(name)
    session.show(found.snapshot, job_table([found]))
