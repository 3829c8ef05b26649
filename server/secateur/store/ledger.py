"""The worker's side of a job: claim it, report on it, end it. The row decides who runs, never the broker."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import select, update
from sqlalchemy.exc import DBAPIError

from secateur.core.errors import Conflict, Unavailable
from secateur.core.jobs import JobStage, JobState
from secateur.core.reports import Progress, TargetReport
from secateur.core.routing import Need
from secateur.core.serial import from_data, to_data
from secateur.core.specs import JobSpec
from secateur.store.journal import WORKER_LOST
from secateur.store.records import Claim
from secateur.store.tables import JobEventRow, JobRow, OutcomeRow, SearchRow
from secateur.store.turns import take_next
from secateur.store.unit_of_work import Store, UnitOfWork

JOB_UNREADABLE: Final = "JOB_UNREADABLE"
"""Reason of a job whose rows this release cannot read."""

_log = structlog.get_logger(__name__)


class JobLedger:
    """Each call is one transaction. Apart from claims, each is refused once the attempt is no longer the job's current one.

    Args:
        store: Where the jobs are.
        max_running: Most jobs of one project that run at once; None for any number.
        max_run_seconds: How long one attempt may run unless its job says less; None for ever.
    """

    def __init__(self, store: Store, *, max_running: int | None = None, max_run_seconds: float | None = None) -> None:
        self._store = store
        self._max_running = max_running
        self._max_run_seconds = max_run_seconds
        self._unanswered: list[tuple[Claim, datetime]] = []

    def claim_next(self, *, worker: str, lease_seconds: float, needs: Collection[Need] = tuple(Need)) -> Claim | None:
        """Starts the next attempt of the job whose turn it is; see `secateur.store.turns`.

        What an earlier call may have claimed, and was never told, is given back first: that costs no attempt.

        Args:
            worker: Who claims it, for people.
            lease_seconds: How long the claim holds without a heartbeat.
            needs: What the job may need.

        Returns:
            The claim; None if no job waits that may start now.
        """
        self._give_back_unanswered()
        while True:
            with self._store.unit_of_work() as work:
                job = take_next(work.session, work.journal.now(), needs, self._max_running)
                if job is None:
                    return None
                work.journal.locked()
                claim = self._start(work, job, worker, lease_seconds)
            if claim is not None:
                return claim

    def claim(self, job_id: str, *, worker: str, lease_seconds: float) -> Claim | None:
        """Starts the next attempt of a certain job, whosever turn it is.

        Args:
            job_id: The job.
            worker: Who claims it, for people.
            lease_seconds: How long the claim holds without a heartbeat.

        Returns:
            The claim; None if the job does not wait: the message was a duplicate, or the job was cancelled, or somebody is just
            claiming or cancelling it. Should they not get that done, the reaper announces the job again.
        """
        with self._store.unit_of_work() as work:
            job = work.journal.take(job_id)
            if job is None:
                _log.info("claim_refused", job=job_id, worker=worker)
                return None
            return self._start(work, job, worker, lease_seconds)

    def _start(self, work: UnitOfWork, job: JobRow, worker: str, lease_seconds: float) -> Claim | None:
        """Claims a locked job and commits. A job that cannot be read fails; else it would stay the next one for ever."""
        try:
            claim = self._claim_of(work, job)
        except DBAPIError:
            raise
        except Exception:
            _log.exception("job_unreadable", job=job.id)
            message = "This release cannot read what the job asks for; create it again"
            work.journal.move(job, JobState.FAILED, message, reason=JOB_UNREADABLE)
            work.commit()
            return None
        now = work.journal.now()
        job.attempt = claim.attempt
        job.lease_owner = worker
        job.lease_expires = expires = now + timedelta(seconds=lease_seconds)
        job.start_time = job.start_time or now
        if claim.run_seconds is not None:
            job.run_deadline = now + timedelta(seconds=claim.run_seconds)
        work.journal.move(job, JobState.RUNNING, f"Claimed by {worker}")
        try:
            work.commit()
        except DBAPIError:
            self._unanswered.append((claim, expires))
            raise
        _log.info("job_claimed", job=job.id, worker=worker, attempt=claim.attempt)
        return claim

    def _give_back_unanswered(self) -> None:
        """Gives back a claim whose answer was lost. Else its lease would have to run out, which counts as a lost attempt."""
        while self._unanswered:
            claim, expires = self._unanswered.pop()
            try:
                with self._store.unit_of_work() as work:
                    job = work.journal.lock(claim.job_id)
                    # The time tells ours from the attempt of another worker, which has the same number if ours came to nothing.
                    ours = JobState.RUNNING, claim.attempt, expires
                    if job is not None and (job.state, job.attempt, job.lease_expires) == ours:
                        work.journal.give_back(job, "The database's answer to the claim was lost", reason="")
                        work.commit()
            except Unavailable:
                self._unanswered.append((claim, expires))
                raise

    def _claim_of(self, work: UnitOfWork, job: JobRow) -> Claim:
        limits = [limit for limit in (job.max_run_seconds, self._max_run_seconds) if limit is not None]
        reports = work.session.scalars(select(OutcomeRow.report).where(OutcomeRow.job_id == job.id))
        return Claim(
            job.id,
            job.attempt + 1,
            from_data(JobSpec, job.spec),
            work.architectures.graph(job.project, job.architecture),
            tuple(from_data(TargetReport, report) for report in reports),
            min(limits, default=None),
        )

    def heartbeat(self, claim: Claim, lease_seconds: float) -> bool:
        """Renews the lease and returns whether somebody asked for the job to be cancelled.

        Raises:
            Conflict: LEASE_LOST.
        """
        with self._store.unit_of_work() as work:
            # A statement of its own, not a change of the row: a heartbeat must not change the job's version.
            cancel_requested = work.session.execute(
                update(JobRow)
                .where(JobRow.id == claim.job_id, JobRow.state == JobState.RUNNING, JobRow.attempt == claim.attempt)
                .values(lease_expires=work.journal.now() + timedelta(seconds=lease_seconds))
                .returning(JobRow.cancel_requested)
            ).scalar_one_or_none()
            if cancel_requested is None:
                raise _lease_lost(claim)
            work.commit()
        return cancel_requested

    def report(
        self,
        claim: Claim,
        *,
        stage: JobStage | None = None,
        message: str = "",
        progress: Progress | None = None,
        again: bool = False,
    ) -> None:
        """Adds an event.

        Args:
            claim: The attempt.
            stage: What the attempt does from now on; None if that has not changed.
            message: One sentence for people.
            progress: How far training is; None if that has not changed.
            again: Whether the same may have been recorded already, since nobody knows what became of an earlier call.

        Raises:
            Conflict: LEASE_LOST.
        """
        with self._store.unit_of_work() as work:
            job = _held(work, claim)
            if again and _is_recorded(work, job, stage, message, progress):
                return
            if stage is not None:
                job.stage = stage
            if progress is not None:
                job.progress = to_data(progress)
            work.journal.record(job, message, progress)
            work.commit()

    def settle_target(self, claim: Claim, report: TargetReport) -> str | None:
        """Keeps how a target came out, and its model if it has files. What was settled before, by whatever attempt, stays.

        The report is read back without its candidates; `JobRepository.candidates` returns those.

        Returns:
            Id of the model; None if nothing was trained.

        Raises:
            Conflict: LEASE_LOST.
        """
        with self._store.unit_of_work() as work:
            job = _held(work, claim)
            settled = work.session.get(OutcomeRow, (job.id, report.target_index))
            if settled is not None:
                return settled.model_id
            candidates, report = report.candidates, replace(report, candidates=())
            target = claim.spec.targets[report.target_index]
            model_id = work.models.add(job, target.device_profile, report, work.journal.now()) if report.artifacts else None
            work.session.add(
                OutcomeRow(job_id=job.id, target_index=report.target_index, report=to_data(report), model_id=model_id)
            )
            if candidates:
                work.session.flush()  # the outcome first: the search refers to it
                work.session.add(SearchRow(job_id=job.id, target_index=report.target_index, candidates=to_data(candidates)))
            work.journal.record(job, report.message)
            work.commit()
        return model_id

    def finish(self, claim: Claim, state: JobState, *, reason: str = "", message: str = "") -> None:
        """Ends the job.

        Args:
            claim: The attempt.
            state: Terminal state.
            reason: Why it failed, UPPER_SNAKE_CASE; empty unless it did.
            message: One sentence for people.

        Raises:
            Conflict: LEASE_LOST.
            FailedPrecondition: JOB_STATE, if the life cycle has no such move.
        """
        with self._store.unit_of_work() as work:
            work.journal.move(_held(work, claim), state, message or state.capitalize(), reason=reason)
            work.commit()
        _log.info("job_finished", job=claim.job_id, attempt=claim.attempt, state=state.value, reason=reason)

    def release(self, claim: Claim, message: str, *, reason: str = WORKER_LOST) -> JobState:
        """Gives the job back unfinished, for example because the child process died.

        Args:
            claim: The attempt.
            message: Why, one sentence for people.
            reason: UPPER_SNAKE_CASE; empty if nothing is wrong, then it does not count as a lost attempt. See
                `secateur.store.journal.Journal.give_back`.

        Returns:
            QUEUED; or FAILED for the reason if this was the last attempt; or CANCELLED if somebody had asked for that.

        Raises:
            Conflict: LEASE_LOST.
        """
        with self._store.unit_of_work() as work:
            state = work.journal.give_back(_held(work, claim), message, reason=reason)
            work.commit()
        _log.warning("job_released", job=claim.job_id, attempt=claim.attempt, state=state.value, message=message)
        return state

    def has_ended(self, job_id: str) -> bool:
        """Returns whether the job is in a terminal state, or gone."""
        with self._store.snapshot() as work:
            return work.jobs.has_ended(job_id)


def _held(work: UnitOfWork, claim: Claim) -> JobRow:
    job = work.journal.lock(claim.job_id)
    if job is None or job.state is not JobState.RUNNING or job.attempt != claim.attempt:
        raise _lease_lost(claim)
    return job


def _is_recorded(work: UnitOfWork, job: JobRow, stage: JobStage | None, message: str, progress: Progress | None) -> bool:
    latest = work.session.get(JobEventRow, (job.id, job.last_sequence))
    said = (stage or job.stage, job.attempt, message, to_data(progress) if progress is not None else None)
    return latest is not None and (latest.stage, latest.attempt, latest.message, latest.progress) == said


def _lease_lost(claim: Claim) -> Conflict:
    return Conflict("LEASE_LOST", f"Attempt {claim.attempt} no longer holds job {claim.job_id}; stop working on it")
