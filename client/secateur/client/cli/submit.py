"""`secateur quote` and `secateur submit`: what is asked of the service."""

from __future__ import annotations

from typing import Annotated

import typer

from secateur.client.cli import options
from secateur.client.cli.app import Session, app
from secateur.client.cli.exits import INFEASIBLE, exit_code_of_state
from secateur.client.cli.jobs import show_job
from secateur.client.cli.progress import going_on, wait_with_progress
from secateur.client.cli.render import render_quotes
from secateur.client.targets import Budget
from secateur.client.units import parse_seconds


@app.command()
def quote(
    ctx: typer.Context,
    architecture: options.ArchitectureArgument,
    input_shape: options.InputShape = None,
    classes: options.Classes = None,
    profile: options.Profiles = None,
    parameters: options.Parameters = None,
    macs: options.Macs = None,
    flops: options.Flops = None,
    memory: options.Memory = None,
    activation: options.Activation = None,
    flash: options.Flash = None,
    ram: options.Ram = None,
    latency: options.Latency = None,
    mode: options.Mode = "device",
    round_to: options.RoundTo = 1,
    seed: options.Seed = 0,
    json: options.Json = False,  # noqa: ARG001 -- its callback keeps it
) -> None:
    """Tell, without training, whether a target can be met, at what cost, and which limit binds. Exit code 4 if one cannot."""
    session: Session = ctx.obj
    budget = Budget(
        parameters=parameters,
        macs=macs,
        flops=flops,
        memory=memory,
        activation=activation,
        flash=flash,
        ram=ram,
        latency=latency,
    )
    targets = options.targets(profile, budget)
    shape = options.input_shape(input_shape)
    with session.client() as client:
        quotes = client.quote(
            architecture, targets=targets, input_shape=shape, classes=classes, mode=mode, round_to=round_to, seed=seed
        )
    session.show(quotes, render_quotes(quotes))
    if not all(quote.feasible for quote in quotes):
        raise typer.Exit(INFEASIBLE)


@app.command()
def submit(
    ctx: typer.Context,
    architecture: options.ArchitectureArgument,
    dataset: options.DatasetOption,
    input_shape: options.InputShape = None,
    classes: options.Classes = None,
    profile: options.Profiles = None,
    parameters: options.Parameters = None,
    macs: options.Macs = None,
    flops: options.Flops = None,
    memory: options.Memory = None,
    activation: options.Activation = None,
    flash: options.Flash = None,
    ram: options.Ram = None,
    latency: options.Latency = None,
    accuracy: options.Accuracy = None,
    recipe: Annotated[str, typer.Option(help="Training recipe; empty for the service's default.", show_default=False)] = "",
    epochs: Annotated[int | None, typer.Option(help="Passes over the training split.", show_default=False)] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images per step.", show_default=False)] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.", show_default=False)] = None,
    mode: options.Mode = "device",
    round_to: options.RoundTo = 1,
    seed: options.Seed = 0,
    name: Annotated[str, typer.Option(help="Name for people.", show_default=False)] = "",
    label: Annotated[list[str] | None, typer.Option(help="Label, key=value; may be repeated.", show_default=False)] = None,
    wait: Annotated[bool, typer.Option(help="Wait for the job and show what came of it.")] = True,
    timeout: options.Timeout = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check; create no job.")] = False,
    json: options.Json = False,  # noqa: ARG001 -- its callback keeps it
) -> None:
    """Prune, train and measure a model for every target."""
    session: Session = ctx.obj
    budget = Budget(
        parameters=parameters,
        macs=macs,
        flops=flops,
        memory=memory,
        activation=activation,
        flash=flash,
        ram=ram,
        latency=latency,
        accuracy=accuracy,
    )
    targets = options.targets(profile, budget)
    shape = options.input_shape(input_shape)
    seconds = None if timeout is None else parse_seconds(timeout, field="timeout")
    labels = options.labels(label)
    with session.client() as client:
        job = client.submit(
            architecture,
            dataset=dataset,
            targets=targets,
            input_shape=shape,
            classes=classes,
            recipe=recipe,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            mode=mode,
            round_to=round_to,
            seed=seed,
            display_name=name,
            labels=labels,
            validate_only=dry_run,
        )
        waiting = wait and not dry_run
        if waiting:
            typer.echo(f"job {job.name}", err=True)
            with going_on(job):
                wait_with_progress(job, timeout=seconds)
        show_job(session, job)
    if waiting:
        raise typer.Exit(exit_code_of_state(job.state))
