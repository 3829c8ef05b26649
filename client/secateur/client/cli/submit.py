"""`secateur quote` and `secateur submit`: what is asked of the service."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from secateur.client.cli import options
from secateur.client.cli.app import Session, app
from secateur.client.cli.consoles import print_line
from secateur.client.cli.exits import INFEASIBLE, exit_code_of_state
from secateur.client.cli.groups import grouped
from secateur.client.cli.jobs import show_job
from secateur.client.cli.plot import QuotePlot
from secateur.client.cli.progress import going_on, wait_with_progress
from secateur.client.cli.render import render_quotes
from secateur.client.units import parse_seconds


@app.command()
@grouped
def quote(
    ctx: typer.Context,
    network: options.Network,
    limits: options.PredictedLimits,
    plans: options.Plans,
    profile: options.Profiles = None,
    seed: options.Seed = 0,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Draw shares, widths and the budget curve into this .svg or .png file; needs secateur-client\\[plot].",
            show_default=False,
        ),
    ] = None,
    json: options.Json = False,  # noqa: ARG001 -- its callback keeps it
) -> None:
    """Tell, without training, whether a target can be met, at what cost, and which limit binds. Exit code 4 if one cannot."""
    session: Session = ctx.obj
    drawing = QuotePlot(plot) if plot is not None else None
    targets = limits.targets(profile)
    with session.client() as client:
        quotes = client.quote(network.architecture, targets=targets, seed=seed, **network.of_zoo, **plans.planning)
        if drawing is not None:
            drawing.save(client.upload(network.architecture, **network.of_zoo), quotes)
    session.show(quotes, render_quotes(quotes))
    if not all(quote.feasible for quote in quotes):
        raise typer.Exit(INFEASIBLE)


@app.command()
@grouped
def submit(
    ctx: typer.Context,
    network: options.Network,
    dataset: options.DatasetOption,
    limits: options.Limits,
    plans: options.Plans,
    training: options.Training,
    profile: options.Profiles = None,
    seed: options.Seed = 0,
    name: Annotated[str, typer.Option(help="Name for people.", show_default=False)] = "",
    label: Annotated[list[str] | None, typer.Option(help="Label, key=value; may be repeated.", show_default=False)] = None,
    priority: Annotated[
        str | None,
        typer.Option(help="low, normal or high: who goes first. Equals take turns.", show_default=False),
    ] = None,
    max_pending: Annotated[
        str | None, typer.Option(help="Give the job up if no worker has taken it by then: 2h.", show_default=False)
    ] = None,
    max_run: Annotated[
        str | None, typer.Option(help="Give the job up if an attempt runs for longer: 90m.", show_default=False)
    ] = None,
    wait: Annotated[bool, typer.Option(help="Wait for the job and show what came of it.")] = True,
    timeout: options.Timeout = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check; create no job.")] = False,
    json: options.Json = False,  # noqa: ARG001 -- its callback keeps it
) -> None:
    """Prune, train and measure a model for every target."""
    session: Session = ctx.obj
    seconds = None if timeout is None else parse_seconds(timeout, field="timeout")
    targets = limits.targets(profile)
    labels = options.labels(label)
    with session.client() as client:
        job = client.submit(
            network.architecture,
            dataset=dataset,
            targets=targets,
            recipe=training.chosen,
            seed=seed,
            display_name=name,
            labels=labels,
            priority=priority,
            max_pending=_time(max_pending, "max_pending"),
            max_run=_time(max_run, "max_run"),
            validate_only=dry_run,
            **network.of_zoo,
            **plans.planning,
        )
        waiting = wait and not dry_run
        if waiting:
            print_line(f"job {job.name}", err=True)
            with going_on(job):
                wait_with_progress(job, timeout=seconds)
        show_job(session, job)
    if waiting:
        raise typer.Exit(exit_code_of_state(job.state))


def _time(text: str | None, field: str) -> timedelta | None:
    return None if text is None else timedelta(seconds=parse_seconds(text, field=field))
