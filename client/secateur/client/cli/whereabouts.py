"""Where a job is: its state, how far it is, since when, and why it ended."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from rich.text import Text

from secateur.client.cli.formats import duration
from secateur.client.cli.training import progress_line, recipe_line
from secateur.client.jobs import JobSnapshot

STATE_STYLES: Final = {"SUCCEEDED": "green", "FAILED": "red", "INFEASIBLE": "yellow", "CANCELLED": "dim", "EXPIRED": "red"}
"""Styles of the final states."""


def whereabouts(job: JobSnapshot) -> Iterator[Text]:
    """Yields lines that say which job it is, where it stands and why it failed, if it did."""
    if job.name:
        labels = [f"{key}={value}" for key, value in sorted(job.labels.items())]
        called = " ".join(word for word in [job.display_name, *labels] if word)
        yield Text.assemble((job.name, "bold"), " ", (job.state, STATE_STYLES.get(job.state, "")), f" {called}".rstrip())
    else:
        yield Text("The service would accept this job. Nothing was created.")
    yield Text(f"{job.architecture} on {job.dataset}, seed {job.seed}", style="dim")
    yield Text(recipe_line(job.recipe), style="dim")
    if job.name:
        yield Text(", ".join(_times(job)))
    if job.queue_position:
        yield Text(place_line(job))
    if job.stage and not job.done:
        again = f", attempt {job.attempt}" if job.attempt > 1 else ""
        of_many = f" target {job.progress.target_index + 1}/{len(job.targets)}" if job.progress and len(job.targets) > 1 else ""
        figures = f" {progress_line(job.progress, curve=True)}" if job.progress and job.stage == "TRAINING" else ""
        yield Text(f"{job.stage}{again}{of_many}{figures}")
    if job.error is not None:
        yield Text(f"{job.error.reason}: {job.error.message}", style="red")


def place_line(job: JobSnapshot) -> str:
    """Returns where a job that waits stands: "Place 2 in the queue cpu, priority NORMAL, starts at about ..."."""
    start = job.estimated_start_time
    when = f", starts at about {start.isoformat(' ', 'minutes')}" if start else ""
    queue = f"queue {job.queue}" if job.queue else "queue"  # a server of the release before names none
    again = f", for attempt {job.attempt + 1}" if job.attempt else ""
    return f"Place {job.queue_position} in the {queue}{again}, priority {job.priority}{when}"


def how_far(job: JobSnapshot) -> str:
    """Returns the stage of a running job and, while it trains, the epochs that are done: "TRAINING 3/30"."""
    if job.stage == "TRAINING" and job.progress:
        return f"{job.stage} {job.progress.epoch}/{job.progress.epochs}"
    return job.stage


def moment(time: datetime | None) -> str:
    """Returns a time to the second; nothing if it is not known."""
    return time.isoformat(" ", "seconds") if time else ""


def _times(job: JobSnapshot) -> Iterator[str]:
    if job.create_time:
        yield f"Created {moment(job.create_time)}"
    if job.start_time:
        yield f"started {moment(job.start_time)}"
    if job.end_time:
        took = f" after {duration(job.end_time - job.start_time)}" if job.start_time else ""
        yield f"ended {moment(job.end_time)}{took}"
