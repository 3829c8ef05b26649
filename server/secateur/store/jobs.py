"""Jobs as the server sees them: create, read, list, cancel, follow, recover."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from secateur.core.errors import Conflict, NotFound
from secateur.core.jobs import JobPriority, JobState, Scheduling
from secateur.core.reports import Progress, SearchCandidate, TargetReport
from secateur.core.serial import from_data, to_data
from secateur.core.specs import JobSpec
from secateur.store.database import exclude_others
from secateur.store.journal import Journal
from secateur.store.listings import JOBS
from secateur.store.quotas import QuotaRepository
from secateur.store.reaper import RESEND_AFTER, reap
from secateur.store.records import EventRecord, JobRecord, Page, Reaped, TargetOutcome
from secateur.store.requests import RequestKeys
from secateur.store.tables import DatasetRow, JobEventRow, JobRow, OutcomeRow, SearchRow
from secateur.store.trash import kept
from secateur.store.turns import QueuePlace, place_of

_CREATE: Final = "CreateJob"


class JobRepository:
    """Reads and writes jobs inside one transaction.

    Args:
        session: Session of the transaction.
        journal: Moves jobs in the same transaction.
        requests: Idempotency keys in the same transaction.
        quotas: What projects may take, in the same transaction.
    """

    def __init__(self, session: Session, journal: Journal, requests: RequestKeys, quotas: QuotaRepository) -> None:
        self._session = session
        self._journal = journal
        self._requests = requests
        self._quotas = quotas

    def create(
        self,
        project: str,
        spec: JobSpec,
        *,
        work_key: str,
        display_name: str = "",
        labels: Mapping[str, str] | None = None,
        request_id: str = "",
        fingerprint: str = "",
        scheduling: Scheduling = Scheduling(),  # noqa: B008 - immutable
    ) -> JobRecord:
        """Creates a job with its first event and its queue message, or joins the job that already does this work.

        Args:
            project: Project of the job.
            spec: What to do; its architecture must be stored in the project.
            work_key: Digest of the work; an equal job that is queued, running or succeeded is joined.
            display_name: Name for people.
            labels: Labels.
            request_id: Idempotency key: the same key returns the first answer's job. Empty for none.
            fingerprint: Digest of the request; required with a `request_id`.
            scheduling: When to run it, and for how long. A job that is joined keeps its own.

        Raises:
            InvalidArgument: REQUEST_ID_REUSED, if the key was used for another request.
            NotFound: DATASET_NOT_FOUND, if somebody has just deleted its data set.
            QuotaExceeded: QUEUED_JOBS_QUOTA, if the project has as many queued jobs as it may have.
        """
        # One creation at a time per request and per work, always in this order: the second sees what the first has made.
        self._requests.hold(project, _CREATE, request_id)
        exclude_others(self._session, f"jobs/{project}/{work_key}")
        job_id = self._requests.answer(project, _CREATE, request_id, fingerprint)
        if job_id is None:
            job = self._live(project, work_key) or self._new(project, spec, work_key, display_name, labels or {}, scheduling)
            job_id = job.id
            self._requests.remember(project, _CREATE, request_id, fingerprint, job_id)
            self._session.flush()
        return self.get(project, job_id)

    def requested(self, project: str, request_id: str, fingerprint: str) -> JobRecord | None:
        """Returns the job that an earlier request with this key made or joined; None if there was none, or no key is given.

        Raises:
            InvalidArgument: REQUEST_ID_REUSED, if the key was used for another request.
        """
        job_id = self._requests.answer(project, _CREATE, request_id, fingerprint)
        return None if job_id is None else self.get(project, job_id)

    def get(self, project: str, job_id: str) -> JobRecord:
        """Returns one job.

        Raises:
            NotFound: JOB_NOT_FOUND, also for a job of another project.
        """
        row = self._session.get(JobRow, job_id, options=[selectinload(JobRow.outcomes)], populate_existing=True)
        if row is None or row.project != project:
            raise _not_found(project, job_id)
        return _record(row)

    def list(
        self,
        project: str,
        *,
        page_size: int = 0,
        page_token: str = "",
        filter_text: str = "",
        order_by: str = "",
        show_deleted: bool = False,
    ) -> Page[JobRecord]:
        """Returns one page of a project's jobs, newest first unless `order_by` says otherwise; see `Listing.read`."""
        rows, token = JOBS.read(
            self._session,
            project,
            page_size,
            page_token,
            filter_text,
            order_by,
            options=[selectinload(JobRow.outcomes)],
            where=[] if show_deleted else [kept(JobRow)],
        )
        return Page(tuple(_record(row) for row in rows), token)

    def cancel(self, project: str, job_id: str, *, etag: str = "") -> JobRecord:
        """Cancels a queued job at once and asks the worker of a running one to stop; a finished one stays as it is.

        Args:
            project: Project of the job.
            job_id: Id of the job.
            etag: What `JobRecord.etag` has to be still; empty for anything.

        Raises:
            NotFound: JOB_NOT_FOUND.
            Conflict: ETAG_MISMATCH.
        """
        row = self._journal.lock(job_id)
        if row is None or row.project != project:
            raise _not_found(project, job_id)
        check_etag(etag, str(row.version))
        self._journal.request_cancel(row)
        return self.get(project, job_id)

    def candidates(self, job_id: str, target_index: int) -> tuple[SearchCandidate, ...] | None:
        """Returns what the search of a target looked at, best first; None if the target has not come to an end."""
        if self._session.get(OutcomeRow, (job_id, target_index)) is None:
            return None
        row = self._session.get(SearchRow, (job_id, target_index))
        return from_data(tuple[SearchCandidate, ...], row.candidates) if row is not None else ()

    def events_after(self, job_id: str, sequence: int, limit: int) -> tuple[EventRecord, ...]:
        """Returns up to `limit` events of a job with sequence numbers above `sequence`, in order."""
        rows = self._session.scalars(
            select(JobEventRow)
            .where(JobEventRow.job_id == job_id, JobEventRow.sequence > sequence)
            .order_by(JobEventRow.sequence)
            .limit(limit)
        )
        return tuple(
            EventRecord(
                job_id=row.job_id,
                sequence=row.sequence,
                time=row.time,
                state=row.state,
                stage=row.stage,
                attempt=row.attempt,
                message=row.message,
                progress=from_data(Progress, row.progress) if row.progress is not None else None,
            )
            for row in rows
        )

    def place(self, job_id: str) -> QueuePlace | None:
        """Returns where a job stands in the queue; None if it does not wait."""
        row = self._session.get(JobRow, job_id)
        if row is None or row.state is not JobState.QUEUED:
            return None
        return place_of(self._session, row, self._journal.now())

    def has_ended(self, job_id: str) -> bool:
        """Returns whether a job is in a terminal state, or gone."""
        state = self._session.scalars(select(JobRow.state).where(JobRow.id == job_id)).one_or_none()
        return state is None or state.is_terminal

    def reap(self, now: datetime, *, resend_after: timedelta = RESEND_AFTER, give_up: bool = True) -> Reaped:
        """Recovers what lost workers and lost queue messages left behind; see `secateur.store.reaper.reap`."""
        return reap(self._session, self._journal, now, resend_after, give_up=give_up)

    def _live(self, project: str, work_key: str) -> JobRow | None:
        return self._session.scalars(
            select(JobRow).where(JobRow.project == project, JobRow.live_work_key == work_key)
        ).one_or_none()

    def _new(
        self,
        project: str,
        spec: JobSpec,
        work_key: str,
        display_name: str,
        labels: Mapping[str, str],
        scheduling: Scheduling,
    ) -> JobRow:
        self._quotas.check_queued(project)
        if spec.dataset_id:
            self._hold_dataset(project, spec.dataset_id)
        row = JobRow(
            id=str(uuid.uuid4()),
            project=project,
            display_name=display_name,
            labels=dict(labels),
            architecture=spec.architecture,
            spec=to_data(spec),
            work_key=work_key,
            live_work_key=work_key,
            create_time=self._journal.now(),
            state=JobState.QUEUED,
            cancel_requested=False,
            error_reason="",
            error_message="",
            attempt=0,
            last_sequence=0,
            priority=scheduling.priority,
            max_pending_seconds=scheduling.max_pending_seconds,
            max_run_seconds=scheduling.max_run_seconds,
            lost_attempts=0,
        )
        self._journal.open(row)
        return row

    def _hold_dataset(self, project: str, dataset_id: str) -> None:
        """Keeps others from deleting a data set until the transaction ends."""
        self._session.get(DatasetRow, (project, dataset_id), with_for_update={"read": True})
        # A statement of its own: the first one may have waited for a deletion that it does not see.
        there = select(DatasetRow.id).where(DatasetRow.project == project, DatasetRow.id == dataset_id, kept(DatasetRow))
        if self._session.scalars(there).one_or_none() is None:
            raise NotFound(
                "DATASET_NOT_FOUND", f"The data set is gone from project {project}. Received: {dataset_id}", field="dataset"
            )


def check_etag(asked: str, current: str) -> None:
    """Refuses a change of what is no longer as the caller has read it.

    Args:
        asked: Etag that the caller has; empty if that does not matter.
        current: Etag as it is.

    Raises:
        Conflict: ETAG_MISMATCH.
    """
    if asked and asked != current:
        raise Conflict(
            "ETAG_MISMATCH",
            f"This has changed since it was read; read it again and decide anew. Received: {asked}",
            field="etag",
            metadata={"etag": current},
        )


def _not_found(project: str, job_id: str) -> NotFound:
    return NotFound("JOB_NOT_FOUND", f"There is no such job in project {project}. Received: {job_id}", field="name")


def _record(row: JobRow) -> JobRecord:
    return JobRecord(
        id=row.id,
        project=row.project,
        display_name=row.display_name,
        labels=row.labels,
        spec=from_data(JobSpec, row.spec),
        state=row.state,
        stage=row.stage,
        attempt=row.attempt,
        progress=from_data(Progress, row.progress) if row.progress is not None else None,
        cancel_requested=row.cancel_requested,
        error_reason=row.error_reason,
        error_message=row.error_message,
        create_time=row.create_time,
        start_time=row.start_time,
        end_time=row.end_time,
        version=row.version,
        last_sequence=row.last_sequence,
        outcomes=tuple(_outcome(outcome) for outcome in row.outcomes),
        priority=JobPriority(row.priority),
        max_pending_seconds=row.max_pending_seconds,
        max_run_seconds=row.max_run_seconds,
        retry_time=row.retry_time,
    )


def _outcome(row: OutcomeRow) -> TargetOutcome:
    return TargetOutcome(from_data(TargetReport, row.report), row.model_id)
