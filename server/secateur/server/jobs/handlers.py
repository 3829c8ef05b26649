"""Shows, cancels, retries and deletes jobs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from secateur.core.errors import FailedPrecondition
from secateur.core.jobs import Scheduling, check_retry
from secateur.core.serial import digest_of
from secateur.server.jobs.creation import TOOLCHAIN
from secateur.server.lists import ListRows
from secateur.store import Store
from secateur.store.creation import CREATE, NewJob
from secateur.store.jobs import check_etag
from secateur.store.records import JobRecord, Page
from secateur.store.requests import RequestKey
from secateur.store.tables import Deletable
from secateur.store.turns import QueuePlace


@dataclass(frozen=True, slots=True)
class JobInQueue:
    """A job, and where it stands in the queue if it waits."""

    job: JobRecord
    place: QueuePlace | None


@dataclass(frozen=True, slots=True)
class RetryJob:
    """A request to do the work of a job again.

    Args:
        project: Project of the job.
        job: Id of the job.
        etag: What the job's etag has to be still; empty for anything.
        request_id: Idempotency key; empty for none.
    """

    project: str
    job: str
    etag: str
    request_id: str


def get_job(project: str, job_id: str, *, store: Store) -> JobInQueue:
    """Returns a job.

    Raises:
        NotFound: JOB_NOT_FOUND.
    """
    with store.snapshot() as work:
        return JobInQueue(work.trash.mark(work.jobs.get(project, job_id)), work.jobs.place(job_id))


def list_jobs(query: ListRows, *, store: Store) -> Page[JobRecord]:
    """Returns one page of a project's jobs, newest first unless asked otherwise.

    Raises:
        InvalidArgument: FILTER_INVALID, ORDER_INVALID or PAGE_TOKEN_INVALID.
    """
    with store.snapshot() as work:
        page = work.jobs.list(
            query.project,
            page_size=query.page_size,
            page_token=query.page_token,
            filter_text=query.filter_text,
            order_by=query.order_by,
            show_deleted=query.show_deleted,
        )
        return replace(page, items=work.trash.mark_all(page.items))


def cancel_job(project: str, job_id: str, etag: str, *, store: Store) -> JobRecord:
    """Cancels a job: a queued one at once, a running one as soon as its worker notices. A finished one stays as it is.

    Args:
        project: Project of the job.
        job_id: Id of the job.
        etag: What the job's etag has to be still unless its cancellation was asked for before; empty for anything.
        store: Where jobs are.

    Raises:
        NotFound: JOB_NOT_FOUND.
        Conflict: ETAG_MISMATCH.
    """
    with store.unit_of_work() as work:
        job = work.trash.mark(work.jobs.cancel(project, job_id, etag=etag))
        work.commit()
    return job


def retry_job(command: RetryJob, *, store: Store) -> JobRecord:
    """Does the work of a job that came to nothing again, as a new job: what has ended stays as it ended.

    Returns:
        The new job; or the one that does the same work by now, or that the same `request_id` made.

    Raises:
        NotFound: JOB_NOT_FOUND; DATASET_NOT_FOUND, also if another file has the id of its data set by now.
        Conflict: ETAG_MISMATCH.
        FailedPrecondition: JOB_NOT_RETRYABLE, or JOB_DELETED.
        InvalidArgument: REQUEST_ID_REUSED.
    """
    fingerprint = digest_of({"retry": command.job})
    with store.unit_of_work() as work:
        # First of all: whatever has become of the old job since, an answer stands.
        answered = work.jobs.requested(RequestKey(command.project, CREATE, command.request_id), fingerprint)
        if answered is not None:
            return answered
        old = work.jobs.get(command.project, command.job)
        check_etag(command.etag, old.etag)
        check_retry(old.state)
        if work.trash.find(Deletable.JOB, command.project, command.job):
            raise FailedPrecondition("JOB_DELETED", f"Undelete the job first. Received: {command.job}", field="name")
        job = work.jobs.create(
            NewJob(
                command.project,
                old.spec,
                display_name=old.display_name,
                labels=old.labels,
                work_key=old.spec.work_key(TOOLCHAIN),
                request_id=command.request_id,
                fingerprint=fingerprint,
                scheduling=Scheduling(old.priority, old.max_pending_seconds, old.max_run_seconds),
            )
        )
        work.commit()
    return job


def delete_job(project: str, job_id: str, *, allow_missing: bool, keep: timedelta, store: Store) -> JobRecord | None:
    """Deletes a job that has ended, and returns it; None if there is none and that is allowed.

    Raises:
        NotFound: JOB_NOT_FOUND, also if it was deleted before.
        FailedPrecondition: JOB_NOT_FINISHED.
    """
    with store.unit_of_work() as work:
        there = work.trash.delete(Deletable.JOB, project, job_id, keep=keep, allow_missing=allow_missing)
        job = work.trash.mark(work.jobs.get(project, job_id)) if there else None
        work.commit()
    return job


def undelete_job(project: str, job_id: str, *, store: Store) -> JobRecord:
    """Undoes the deletion of a job.

    Raises:
        NotFound: JOB_NOT_FOUND.
        AlreadyExists: JOB_NOT_DELETED.
    """
    with store.unit_of_work() as work:
        work.trash.undelete(Deletable.JOB, project, job_id)
        job = work.jobs.get(project, job_id)
        work.commit()
    return job
