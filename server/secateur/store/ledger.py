"""The worker's side of a job: claim it, report on it, end it. The row decides who runs, never the broker."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import structlog
from sqlalchemy import select, update

from secateur.core.errors import Conflict
from secateur.core.jobs import JobStage, JobState
from secateur.core.reports import Progress, TargetReport
from secateur.core.serial import from_data, to_data
from secateur.core.specs import JobSpec
from secateur.store.records import Claim
from secateur.store.tables import JobRow, OutcomeRow, SearchRow
from secateur.store.unit_of_work import Store, UnitOfWork

_log = structlog.get_logger(__name__)


class JobLedger:
    """Each call is one transaction. Apart from `claim`, each is refused once the attempt is no longer the job's current one.

    Args:
        store: Where the jobs are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def claim(self, job_id: str, *, worker: str, lease_seconds: float) -> Claim | None:
        """Starts the next attempt of a queued job.

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
            now = work.journal.now()
            job.attempt += 1
            job.lease_owner = worker
            job.lease_expires = now + timedelta(seconds=lease_seconds)
            job.start_time = job.start_time or now
            work.journal.move(job, JobState.RUNNING, f"Claimed by {worker}")
            claim = Claim(
                job_id,
                job.attempt,
                from_data(JobSpec, job.spec),
                work.architectures.graph(job.project, job.architecture),
                tuple(
                    from_data(TargetReport, report)
                    for report in work.session.scalars(select(OutcomeRow.report).where(OutcomeRow.job_id == job_id))
                ),
            )
            work.commit()
        _log.info("job_claimed", job=job_id, worker=worker, attempt=claim.attempt)
        return claim

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
        self, claim: Claim, *, stage: JobStage | None = None, message: str = "", progress: Progress | None = None
    ) -> None:
        """Adds an event.

        Args:
            claim: The attempt.
            stage: What the attempt does from now on; None if that has not changed.
            message: One sentence for people.
            progress: How far training is; None if that has not changed.

        Raises:
            Conflict: LEASE_LOST.
        """
        with self._store.unit_of_work() as work:
            job = _held(work, claim)
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
            work.journal.record(job, report.message or f"Target {report.target_index} is done")
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

    def release(self, claim: Claim, message: str) -> JobState:
        """Gives the job back unfinished, for example because the child process died.

        Args:
            claim: The attempt.
            message: Why, one sentence for people.

        Returns:
            QUEUED; or FAILED (WORKER_LOST) if this was the last attempt; or CANCELLED if somebody had asked for that.

        Raises:
            Conflict: LEASE_LOST.
        """
        with self._store.unit_of_work() as work:
            state = work.journal.give_back(_held(work, claim), message)
            work.commit()
        _log.warning("job_released", job=claim.job_id, attempt=claim.attempt, state=state.value, message=message)
        return state


def _held(work: UnitOfWork, claim: Claim) -> JobRow:
    job = work.journal.lock(claim.job_id)
    if job is None or job.state is not JobState.RUNNING or job.attempt != claim.attempt:
        raise _lease_lost(claim)
    return job


def _lease_lost(claim: Claim) -> Conflict:
    return Conflict("LEASE_LOST", f"Attempt {claim.attempt} no longer holds job {claim.job_id}; stop working on it")
