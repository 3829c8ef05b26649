"""The only place that moves a job: state, event and queue message change together."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from secateur.core.jobs import MAX_ATTEMPTS, JobStage, JobState, check_move, retry_seconds
from secateur.core.reports import Progress
from secateur.core.serial import to_data
from secateur.store.clock import DatabaseClock
from secateur.store.database import add_rows
from secateur.store.needs import Needs
from secateur.store.records import JobRecord
from secateur.store.tables import JobEventRow, JobRow, OutboxRow

WORKER_LOST: Final = "WORKER_LOST"
"""Reason of a job that failed because every attempt lost its worker."""
_NEW: Final = (
    "id",
    "project",
    "display_name",
    "labels",
    "create_time",
    "state",
    "stage",
    "progress",
    "cancel_requested",
    "error_reason",
    "error_message",
    "attempt",
    "priority",
    "max_pending_seconds",
    "max_run_seconds",
    "version",
    "last_sequence",
)
"""Columns of a new row whose values are those of its record; columns that are named nowhere start empty."""


class Journal:
    """Changes jobs inside one transaction and remembers which, so that their watchers can be woken after the commit.

    Every method takes a row that the transaction holds locked (`lock`), hence the sequence numbers have no gap.

    Args:
        session: Session of the transaction.
        clock: The time of the transaction.
        needs: What jobs need.
    """

    def __init__(self, session: Session, clock: DatabaseClock, needs: Needs) -> None:
        self._session = session
        self._clock = clock
        self._needs = needs
        self.touched: set[str] = set()

    def now(self) -> datetime:
        """Returns the current time."""
        return self._clock()

    def lock(self, job_id: str) -> JobRow | None:
        """Returns the job as it now is, and keeps everybody else from changing it until the transaction ends."""
        job = self._session.get(JobRow, job_id, populate_existing=True, with_for_update=True)
        self.locked()
        return job

    def take(self, job_id: str) -> JobRow | None:
        """Returns the job, locked, if it is QUEUED and nobody else is just moving it; never waits for somebody who is.

        On SQLite the transaction's write lock stands for the row's, and on both the version of the row is compared when it is
        written: the second of two would be refused.
        """
        job = self._session.scalars(
            select(JobRow).where(JobRow.id == job_id, JobRow.state == JobState.QUEUED).with_for_update(skip_locked=True)
        ).one_or_none()
        self.locked()
        return job

    def locked(self) -> None:
        """Notes that rows were locked just now. Their events so far are earlier than those that come, by the same clock."""
        self._clock.restart()

    def open(self, jobs: Sequence[tuple[JobRecord, str]]) -> None:
        """Adds new jobs, each with its first event and its queue message. Nobody watches a job that was not there.

        Args:
            jobs: What they are, and the digest of their work.
        """
        if not jobs:
            return
        rows = [
            {
                **{name: getattr(job, name) for name in _NEW},
                "architecture": job.spec.architecture,
                "spec": to_data(job.spec),
                "work_key": work_key,
                "live_work_key": work_key,
                "need": self._needs.of_spec(job.project, job.spec),
                "pending_deadline": self._pending_deadline(job),
                "lost_attempts": 0,
            }
            for job, work_key in jobs
        ]
        add_rows(self._session, JobRow, rows)
        add_rows(self._session, JobEventRow, [self._event(job, "Waiting for a worker") for job, _ in jobs])
        add_rows(self._session, OutboxRow, [self._message(job) for job, _ in jobs])

    def record(self, job: JobRow, message: str, progress: Progress | None = None) -> None:
        """Appends an event that shows the job as it now is."""
        job.last_sequence += 1
        self._session.add(JobEventRow(**self._event(job, message, progress)))
        # Now, in this order: an event must exist for every number that the job says it has given out.
        self._session.flush()
        self.touched.add(job.id)

    def move(self, job: JobRow, state: JobState, message: str, *, reason: str = "") -> None:
        """Moves the job and records it.

        Args:
            job: Locked row.
            state: Where to.
            message: One sentence for people.
            reason: Why it failed, UPPER_SNAKE_CASE; empty unless it did.

        Raises:
            FailedPrecondition: JOB_STATE, if the life cycle has no such move.
        """
        check_move(job.state, state)
        if job.state is JobState.QUEUED:  # delivered or obsolete
            self._session.execute(delete(OutboxRow).where(OutboxRow.job_id == job.id))
            job.pending_deadline = job.retry_time = None
        job.state = state
        job.stage = JobStage.PLANNING if state is JobState.RUNNING else None
        job.progress = None
        if state is not JobState.RUNNING:
            job.lease_owner = job.lease_expires = job.run_deadline = None
        if state.is_terminal:
            job.end_time = self.now()
            if reason:
                job.error_reason, job.error_message = reason, message
            if state is not JobState.SUCCEEDED:
                job.live_work_key = None
        if state is JobState.QUEUED:
            job.pending_deadline = self._pending_deadline(job)
        self.record(job, message)
        if state is JobState.QUEUED:
            self.owe_message(job)

    def request_cancel(self, job: JobRow) -> None:
        """Cancels a queued job, asks the worker of a running one to stop, and leaves a finished one alone."""
        if job.state is JobState.QUEUED:
            self.move(job, JobState.CANCELLED, "Cancelled before it started")
        elif job.state is JobState.RUNNING and not job.cancel_requested:
            job.cancel_requested = True
            job.live_work_key = None  # whoever asks for the same work from now on wants it done
            self.record(job, "Cancellation requested")

    def give_back(self, job: JobRow, message: str, *, reason: str = WORKER_LOST) -> JobState:
        """Ends a running attempt that will not go on: the job waits for the next, unless it was cancelled or had its last.

        Args:
            job: Locked row.
            message: Why, one sentence for people.
            reason: What the job fails for if this was its last attempt. Empty for an attempt that its worker gave back: it
                does not count. After any reason but a lost worker the next attempt waits, as what was missing may be back.
        """
        if job.cancel_requested:
            self.move(job, JobState.CANCELLED, "Cancelled")
            return job.state
        if reason:
            job.lost_attempts += 1
        if job.lost_attempts >= MAX_ATTEMPTS:
            self.move(job, JobState.FAILED, f"Gave up after {job.lost_attempts} lost attempts: {message}", reason=reason)
        else:
            self.move(job, JobState.QUEUED, message)
            if reason not in ("", WORKER_LOST):
                self._postpone(job)
        return job.state

    def owe_message(self, job: JobRow) -> None:
        """Leaves a message for the queue; the relay sends it after the commit. What the job needs is worked out anew.

        It takes the place of earlier ones: a job that waits for long is announced again and again.
        """
        job.need = self._needs.of(job)
        self._session.execute(delete(OutboxRow).where(OutboxRow.job_id == job.id))
        self._session.add(OutboxRow(**self._message(job)))

    def _event(self, job: JobRow | JobRecord, message: str, progress: Progress | None = None) -> dict[str, Any]:
        return {
            "job_id": job.id,
            "sequence": job.last_sequence,
            "time": self.now(),
            "state": job.state,
            "stage": job.stage,
            "attempt": job.attempt,
            "message": message,
            "progress": to_data(progress) if progress is not None else None,
        }

    def _message(self, job: JobRow | JobRecord) -> dict[str, Any]:
        return {"job_id": job.id, "create_time": self.now()}

    def _pending_deadline(self, job: JobRow | JobRecord) -> datetime | None:
        return None if job.max_pending_seconds is None else self.now() + timedelta(seconds=job.max_pending_seconds)

    def _postpone(self, job: JobRow) -> None:
        job.retry_time = self.now() + timedelta(seconds=retry_seconds(job.lost_attempts))
        # Nobody may claim it yet: the reaper announces it when its time has come.
        self._session.flush()
        self._session.execute(delete(OutboxRow).where(OutboxRow.job_id == job.id))
