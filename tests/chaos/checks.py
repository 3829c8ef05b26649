"""What must hold when everything has ended, whatever went wrong before."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select

from secateur.core.jobs import MAX_ATTEMPTS, JobState
from secateur.store import Store
from secateur.store.records import EventRecord, JobRecord
from secateur.store.tables import ArtifactRow, ModelRow, OutboxRow, OutcomeRow
from tests.chaos import child

PROJECT = "default"


@dataclass(frozen=True)
class Ended:
    """How the jobs of a run came out.

    Args:
        states: Jobs by terminal state, and by reason where there is one.
        attempts: Jobs by number of attempts.
        events: Events in all.
        blobs: Blobs that are referred to.
    """

    states: Counter[str]
    attempts: Counter[int]
    events: int
    blobs: int


def check(store: Store, blobs: Path, names: Iterable[str]) -> Ended:
    """Checks a deployment in which nothing happens any more, and whose garbage was collected.

    Args:
        store: Its store.
        blobs: Folder of its blobs.
        names: Resource names of the jobs that were created: none may be gone.
    """
    jobs = _jobs(store)
    assert sorted(job.id for job in jobs) == sorted(name.rpartition("/")[2] for name in names)
    events = 0
    for job in jobs:
        log = _events(store, job)
        events += len(log)
        try:
            _check_history(job, log)
            _check_outcome(job)
        except AssertionError as error:
            history = "\n".join(f"{event.sequence} {event.time} {event.attempt} {event.state} {event.message}" for event in log)
            error.add_note(f"job {job.id}, seed {job.spec.seed}, {job.error_reason} {job.error_message}\n{history}")
            raise
    _check_models(store, jobs)
    referenced = _check_blobs(store, blobs)
    assert _files(blobs / "checkpoints") == [], "checkpoints of jobs that have ended are left"
    for folder in ("uploads", "incoming", "quarantine"):
        assert _files(blobs / folder) == [], "files that nobody needs are left"
    with store.unit_of_work() as work:
        assert work.session.scalars(select(func.count()).select_from(OutboxRow)).one() == 0
    states = Counter(f"{job.state} {job.error_reason}".strip() for job in jobs)
    return Ended(states, Counter(job.attempt for job in jobs), events, referenced)


def _jobs(store: Store) -> list[JobRecord]:
    jobs: list[JobRecord] = []
    token = ""
    while True:
        with store.snapshot() as work:
            page = work.jobs.list(PROJECT, page_size=200, page_token=token)
        jobs += page.items
        token = page.next_page_token
        if not token:
            return jobs


def _events(store: Store, job: JobRecord) -> list[EventRecord]:
    with store.snapshot() as work:
        return list(work.jobs.events_after(job.id, 0, 100_000))


def _check_history(job: JobRecord, log: list[EventRecord]) -> None:
    """One terminal state, and a history without gap or repeat in which attempts follow each other."""
    assert job.state.is_terminal, f"{job.id} is {job.state}"
    assert [event.sequence for event in log] == list(range(1, job.last_sequence + 1))
    assert [event.state.is_terminal for event in log] == [False] * (len(log) - 1) + [True]
    assert log[-1].state is job.state
    assert [event.time for event in log] == sorted(event.time for event in log), f"{job.id}: the clocks of workers show"
    attempts = [event.attempt for event in log]
    assert attempts == sorted(attempts), f"{job.id}: an attempt wrote after a later one had begun"
    claims = [event.attempt for event in log if event.message.startswith("Claimed by")]
    assert claims == list(range(1, job.attempt + 1))
    epochs = Counter((event.attempt, event.progress.target_index, event.progress.epoch) for event in log if event.progress)
    assert set(epochs.values()) <= {1}, f"{job.id}: an attempt reported an epoch twice"


def _check_outcome(job: JobRecord) -> None:
    """The state is what the job's fate says, or that every attempt was lost to something that may pass."""
    fate = job.spec.seed % 10
    if job.error_reason == "WORKER_LOST" or (fate == child.UNLUCKY and job.error_reason == "RESOURCES_MISSING"):
        assert job.state is JobState.FAILED
        assert job.attempt >= MAX_ATTEMPTS
        return
    expected = {child.REFUSED: JobState.FAILED, child.MISSED: JobState.INFEASIBLE}.get(fate, JobState.SUCCEEDED)
    assert (job.state, job.error_reason) == (expected, "TRAINING_DIVERGED" if fate == child.REFUSED else "")
    settled = [outcome.report.target_index for outcome in job.outcomes]
    assert settled == ([] if fate == child.REFUSED else list(range(len(job.spec.targets))))
    for outcome in job.outcomes:
        wanted = child.artifacts(job.spec, outcome.report.target_index)
        kept = {file.format: file.sha256 for file in outcome.report.artifacts}
        assert kept == {kind: hashlib.sha256(data).hexdigest() for kind, data in wanted.items()}


def _check_models(store: Store, jobs: list[JobRecord]) -> None:
    """One accepted result per target, and no model that no result stands for."""
    with store.unit_of_work() as work:
        models = set(work.session.execute(select(ModelRow.job_id, ModelRow.target_index, ModelRow.id)).all())
        outcomes = set(work.session.execute(select(OutcomeRow.job_id, OutcomeRow.target_index, OutcomeRow.model_id)).all())
    assert models == outcomes
    assert len(models) == sum(len(job.outcomes) for job in jobs)


def _check_blobs(store: Store, folder: Path) -> int:
    with store.unit_of_work() as work:
        digests = set(work.session.scalars(select(ArtifactRow.sha256)))
    for digest in digests:
        assert hashlib.sha256((folder / "sha256" / digest[:2] / digest[2:]).read_bytes()).hexdigest() == digest
    assert len(_files(folder / "sha256")) == len(digests), "blobs that nothing refers to are left"
    return len(digests)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
