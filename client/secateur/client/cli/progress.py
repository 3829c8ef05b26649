"""Waiting for a job where a person, or a log file, looks on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column

from secateur.client.cli.consoles import PlainConsole, print_line
from secateur.client.cli.exits import INTERRUPTED
from secateur.client.cli.render import event_line
from secateur.client.cli.training import progress_line
from secateur.client.cli.whereabouts import place_line
from secateur.client.client import Job
from secateur.client.jobs import JobEvent


def wait_with_progress(job: Job, *, timeout: float | None = None, console: Console | None = None) -> None:
    """Waits for a job, showing its progress: a bar on a terminal, one line per event anywhere else.

    Args:
        job: The job.
        timeout: How long to wait, in seconds; None for as long as it takes.
        console: Where to show it; None for standard error.

    Raises:
        WaitTimeout: If it is not done in time. It goes on.
        SecateurError: If the service fails for good.
    """
    console = console or PlainConsole(stderr=True)
    if not job.done and job.refresh().snapshot.queue_position:
        console.print(place_line(job.snapshot), markup=False, highlight=False, soft_wrap=True)
    if console.is_terminal:
        with _bar(console, len(job.snapshot.targets)) as show:
            job.wait(timeout, show)
    else:
        job.wait(timeout, lambda event: console.print(event_line(event), markup=False, highlight=False, soft_wrap=True))


@contextmanager
def going_on(job: Job) -> Iterator[None]:
    """Turns Ctrl+C into a word on how to take up the waiting again, and its exit code."""
    try:
        yield
    except KeyboardInterrupt:
        print_line(f"stopped waiting; the job goes on: secateur jobs wait {job.name}", err=True)
        raise typer.Exit(INTERRUPTED) from None


@contextmanager
def _bar(console: Console, targets: int) -> Iterator[Callable[[JobEvent], None]]:
    """Shows a bar that fills with the steps of the target that trains."""
    facts = TextColumn("{task.fields[facts]}", table_column=Column(no_wrap=False))  # on a narrow terminal this column gives way
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), facts, TimeElapsedColumn())
    with Progress(*columns, console=console, refresh_per_second=1) as bar:  # as often as the time that it shows changes
        task = bar.add_task("QUEUED", total=None, facts="")

        def show(event: JobEvent) -> None:
            progress = event.progress
            bar.update(task, description=event.stage or event.state)
            if progress is None:
                return
            target = f"target {progress.target_index + 1}/{targets} " if targets > 1 else ""
            done = progress.epoch + progress.step / max(1, progress.steps)
            bar.update(task, completed=done, total=progress.epochs or None, facts=f"{target}{progress_line(progress)}")

        yield show
