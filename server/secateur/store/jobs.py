"""Jobs as the server sees them: create, read, list, cancel, follow, recover."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from secateur.core.errors import Conflict, NotFound, SecateurError
from secateur.core.jobs import JobPriority, JobState
from secateur.core.missing import missing
from secateur.core.reports import Progress, SearchCandidate, TargetReport
from secateur.core.routing import Need
from secateur.core.serial import from_data
from secateur.core.specs import JobSpec
from secateur.store.creation import Creation, NewJob
from secateur.store.journal import Journal
from secateur.store.listings import JOBS
from secateur.store.reaper import RESEND_AFTER, reap
from secateur.store.records import EventRecord, JobRecord, Page, Reaped, TargetOutcome
from secateur.store.requests import RequestKey, RequestKeys
from secateur.store.tables import JobEventRow, JobRow, OutcomeRow, SearchRow
from secateur.store.trash import Trash
from secateur.store.turns import QueuePlace, held, place_of, waiting


class JobRepository:
    """Reads and writes jobs inside one transaction.

    Args:
        session: Session of the transaction.
        journal: Moves jobs in the same transaction.
        requests: Idempotency keys in the same transaction.
        creation: Creates jobs in the same transaction.
        trash: Knows which were deleted, in the same transaction.
    """

    def __init__(self, session: Session, journal: Journal, requests: RequestKeys, creation: Creation, trash: Trash) -> None:
        self._session = session
        self._journal = journal
        self._requests = requests
        self._creation = creation
        self._trash = trash

    def create_all(self, wanted: Sequence[NewJob]) -> list[JobRecord | SecateurError]:
        """Creates jobs, each with its first event and its queue message, or joins those that already do their work.

        One that is refused keeps none of the others from being created.

        Returns:
            For each its record, or why it is refused; see `Creation.run`.
        """
        made = self._creation.run(wanted)
        found = self._find({each for each in made if isinstance(each, str)})
        # Nobody joins a job that was deleted, but one may be what a request was answered with before.
        there = {job.id: job for job in self._trash.mark_all(tuple(found.values()))}
        return [
            there.get(each) or _not_found(new.project, each) if isinstance(each, str) else each
            for new, each in zip(wanted, made, strict=True)
        ]

    def create(self, new: NewJob) -> JobRecord:
        """Creates one job; see `create_all`.

        Raises:
            InvalidArgument: REQUEST_ID_REUSED, if the key was used for another request.
            NotFound: DATASET_NOT_FOUND, if its data set was deleted, also if another file has its id by now.
            QuotaExceeded: QUEUED_JOBS_QUOTA, if the project has as many queued jobs as it may have.
        """
        made = self.create_all([new])[0]
        if isinstance(made, SecateurError):
            raise made
        return made

    def requested(self, key: RequestKey, fingerprint: str) -> JobRecord | None:
        """Returns the job that an earlier request with this key made or joined; None if there was none, or no key is given.

        Raises:
            InvalidArgument: REQUEST_ID_REUSED, if the key was used for another request.
        """
        job_id = self._requests.answer(key, fingerprint)
        return None if job_id is None else self._trash.mark(self.get(key.project, job_id))

    def get(self, project: str, job_id: str) -> JobRecord:
        """Returns one job.

        Raises:
            NotFound: JOB_NOT_FOUND, also for a job of another project.
        """
        job = self._find({job_id}).get(job_id)
        if job is None or job.project != project:
            raise _not_found(project, job_id)
        return job

    def _find(self, job_ids: Collection[str]) -> dict[str, JobRecord]:
        """Returns jobs by their ids, without those that are not there."""
        if not job_ids:
            return {}
        asked = select(JobRow).where(JobRow.id.in_(job_ids)).options(selectinload(JobRow.outcomes))
        rows = self._session.scalars(asked, execution_options={"populate_existing": True})
        return {row.id: _read(row) for row in rows}

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
            show_deleted=show_deleted,
            options=[selectinload(JobRow.outcomes)],
        )
        return Page(tuple(_read(row) for row in rows), token)

    def cancel(self, project: str, job_id: str, *, etag: str = "") -> JobRecord:
        """Cancels a queued job at once and asks the worker of a running one to stop; a finished one stays as it is.

        Args:
            project: Project of the job.
            job_id: Id of the job.
            etag: What `JobRecord.etag` has to be still; empty for anything. It does not matter for a job whose cancellation was
                asked for before: whoever asks again, as the answer was lost, has an etag of before that.

        Raises:
            NotFound: JOB_NOT_FOUND.
            Conflict: ETAG_MISMATCH.
        """
        row = self._journal.lock(job_id)
        if row is None or row.project != project:
            raise _not_found(project, job_id)
        if row.state is not JobState.CANCELLED and not row.cancel_requested:
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

    def waiting(self) -> dict[Need, int]:
        """Returns how many jobs of all projects wait in each queue; those where none waits are left out."""
        return waiting(self._session)

    def held(self) -> Mapping[str, Sequence[str]]:
        """Returns the resource names of the running jobs of all projects by the name of the worker that has them."""
        return held(self._session)

    def has_ended(self, job_id: str) -> bool:
        """Returns whether a job is in a terminal state, or gone."""
        state = self._session.scalars(select(JobRow.state).where(JobRow.id == job_id)).one_or_none()
        return state is None or state.is_terminal

    def reap(self, now: datetime, *, resend_after: timedelta = RESEND_AFTER, give_up: bool = True) -> Reaped:
        """Recovers what lost workers and lost queue messages left behind; see `secateur.store.reaper.reap`."""
        return reap(self._session, self._journal, now, resend_after, give_up=give_up)


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
    return missing("jobs", project, job_id, field="name")


def _read(row: JobRow) -> JobRecord:
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
