"""Jobs as the server sees them: create, read, list, cancel, follow, recover."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from secateur.core.errors import NotFound
from secateur.core.jobs import JobState
from secateur.core.reports import Progress, SearchCandidate, TargetReport
from secateur.core.serial import from_data, to_data
from secateur.core.specs import JobSpec
from secateur.store.database import exclude_others
from secateur.store.journal import Journal
from secateur.store.paging import read_page
from secateur.store.reaper import RESEND_AFTER, reap
from secateur.store.records import EventRecord, JobRecord, Page, Reaped, TargetOutcome
from secateur.store.requests import RequestKeys
from secateur.store.tables import DatasetRow, JobEventRow, JobRow, OutcomeRow, SearchRow
from secateur.store.trash import kept

_CREATE: Final = "CreateJob"


class JobRepository:
    """Reads and writes jobs inside one transaction.

    Args:
        session: Session of the transaction.
        journal: Moves jobs in the same transaction.
        requests: Idempotency keys in the same transaction.
    """

    def __init__(self, session: Session, journal: Journal, requests: RequestKeys) -> None:
        self._session = session
        self._journal = journal
        self._requests = requests

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

        Raises:
            InvalidArgument: REQUEST_ID_REUSED, if the key was used for another request.
            NotFound: DATASET_NOT_FOUND, if somebody has just deleted its data set.
        """
        # One creation at a time per request and per work, always in this order: the second sees what the first has made.
        self._requests.hold(project, _CREATE, request_id)
        exclude_others(self._session, f"jobs/{project}/{work_key}")
        job_id = self._requests.answer(project, _CREATE, request_id, fingerprint)
        if job_id is None:
            job = self._live(project, work_key) or self._new(project, spec, work_key, display_name, labels or {})
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

    def list(self, project: str, *, page_size: int = 0, page_token: str = "", show_deleted: bool = False) -> Page[JobRecord]:
        """Returns one page of a project's jobs, newest first; see `secateur.store.paging.read_page`."""
        rows, token = read_page(
            self._session,
            JobRow,
            project,
            page_size,
            page_token,
            options=[selectinload(JobRow.outcomes)],
            where=[] if show_deleted else [kept(JobRow)],
        )
        return Page(tuple(_record(row) for row in rows), token)

    def cancel(self, project: str, job_id: str) -> JobRecord:
        """Cancels a queued job at once and asks the worker of a running one to stop; a finished one stays as it is.

        Raises:
            NotFound: JOB_NOT_FOUND.
        """
        row = self._journal.lock(job_id)
        if row is None or row.project != project:
            raise _not_found(project, job_id)
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

    def reap(self, now: datetime, *, resend_after: timedelta = RESEND_AFTER) -> Reaped:
        """Recovers what lost workers and lost queue messages left behind; see `secateur.store.reaper.reap`."""
        return reap(self._session, self._journal, now, resend_after)

    def _live(self, project: str, work_key: str) -> JobRow | None:
        return self._session.scalars(
            select(JobRow).where(JobRow.project == project, JobRow.live_work_key == work_key)
        ).one_or_none()

    def _new(self, project: str, spec: JobSpec, work_key: str, display_name: str, labels: Mapping[str, str]) -> JobRow:
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
    )


def _outcome(row: OutcomeRow) -> TargetOutcome:
    return TargetOutcome(from_data(TargetReport, row.report), row.model_id)
