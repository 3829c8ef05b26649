"""Creates jobs, any number in one transaction: what costs a statement is paid once for all of them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from secateur.core.datasets import content
from secateur.core.errors import NotFound, SecateurError
from secateur.core.jobs import JobState, Scheduling
from secateur.core.specs import JobSpec
from secateur.store.database import exclude_others, is_among
from secateur.store.journal import Journal
from secateur.store.quotas import QuotaRepository
from secateur.store.records import JobRecord
from secateur.store.requests import RequestKey, RequestKeys
from secateur.store.tables import DatasetRow, JobRow
from secateur.store.trash import kept

CREATE: Final = "CreateJob"
"""Method that idempotency keys of jobs belong to."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job that is wanted.

    Args:
        project: Project of the job.
        spec: What to do; its architecture must be stored in the project.
        work_key: Digest of the work; an equal job that is queued, running or succeeded is joined.
        display_name: Name for people.
        labels: Labels.
        request_id: Idempotency key: the same key returns the first answer's job. Empty for none.
        fingerprint: Digest of the request; required with a `request_id`.
        scheduling: When to run it, and for how long. A job that is joined keeps its own.
    """

    project: str
    spec: JobSpec
    work_key: str
    display_name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    request_id: str = ""
    fingerprint: str = ""
    scheduling: Scheduling = field(default_factory=Scheduling)

    @property
    def request_key(self) -> RequestKey:
        """What its idempotency key is known by."""
        return RequestKey(self.project, CREATE, self.request_id)

    def record(self, job_id: str, create_time: datetime, *, version: int) -> JobRecord:
        """Returns the job as it is when it has just been created.

        Args:
            job_id: Its id; empty for one that is not going to be.
            create_time: When that is.
            version: Of the job, and number of its last event: 1, or 0 for one that is not going to be.
        """
        return JobRecord(
            id=job_id,
            project=self.project,
            display_name=self.display_name,
            labels=dict(self.labels),
            spec=self.spec,
            state=JobState.QUEUED,
            stage=None,
            attempt=0,
            progress=None,
            cancel_requested=False,
            error_reason="",
            error_message="",
            create_time=create_time,
            start_time=None,
            end_time=None,
            version=version,
            last_sequence=version,
            priority=self.scheduling.priority,
            max_pending_seconds=self.scheduling.max_pending_seconds,
            max_run_seconds=self.scheduling.max_run_seconds,
        )


class Creation:
    """Creates the jobs of one transaction, each with its first event and its queue message, or finds those to join.

    Args:
        session: Session of the transaction.
        journal: Opens jobs in the same transaction.
        requests: Idempotency keys in the same transaction.
        quotas: What projects may take, in the same transaction.
    """

    def __init__(self, session: Session, journal: Journal, requests: RequestKeys, quotas: QuotaRepository) -> None:
        self._session = session
        self._journal = journal
        self._requests = requests
        self._quotas = quotas

    def run(self, wanted: Sequence[NewJob]) -> list[JobRecord | str | SecateurError]:
        """Creates jobs. One that is refused keeps none of the others from being created.

        Returns:
            For each job its record; or the id of the one that it joins or that its request was answered with before; or why
            it is refused: InvalidArgument REQUEST_ID_REUSED, NotFound DATASET_NOT_FOUND (its data set was deleted, and
            another file may have its id by now) or QuotaExceeded QUEUED_JOBS_QUOTA.
        """
        # One creation at a time per project, which has a quota, per request and per work: the second sees what the first made.
        projects = {new.project for new in wanted}
        exclude_others(
            self._session,
            *(f"queued_jobs/{project}" for project in projects),
            *(new.request_key.lock for new in wanted if new.request_id),
            *(f"jobs/{new.project}/{new.work_key}" for new in wanted),
        )
        self._requests.read([new.request_key for new in wanted])
        live = self._live(wanted)
        waiting = {project: self._quotas.count_queued(project) for project in projects}
        held = self._hold_datasets({(new.project, new.spec.dataset_id) for new in wanted if new.spec.dataset_id})
        made: dict[str, tuple[JobRecord, str]] = {}
        found: list[str | SecateurError] = []
        for new in wanted:
            try:
                job_id = self._requests.answer(new.request_key, new.fingerprint)
                if job_id is None:
                    job_id = live.get((new.project, new.work_key))
                    if job_id is None:
                        if new.spec.dataset_id and held.get((new.project, new.spec.dataset_id)) != new.spec.dataset:
                            raise _dataset_gone(new)
                        self._quotas.check_queued(new.project, waiting[new.project])
                        waiting[new.project] += 1
                        job_id = live[new.project, new.work_key] = str(uuid.uuid4())
                        made[job_id] = new.record(job_id, self._journal.now(), version=1), new.work_key
                    self._requests.remember(new.request_key, new.fingerprint, job_id)
                found.append(job_id)
            except SecateurError as error:
                found.append(error)
        self._journal.open(list(made.values()))
        return [made[each][0] if isinstance(each, str) and each in made else each for each in found]

    def _live(self, wanted: Sequence[NewJob]) -> dict[tuple[str, str], str]:
        keys = {(new.project, new.work_key) for new in wanted}
        live = select(JobRow.project, JobRow.work_key, JobRow.id).where(is_among((JobRow.project, JobRow.live_work_key), keys))
        return {(project, work_key): job_id for project, work_key, job_id in self._session.execute(live)}

    def _hold_datasets(self, datasets: set[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """Locks data sets against deletion until the transaction ends, and returns the content of those that exist."""
        if not datasets:
            return {}
        asked = is_among((DatasetRow.project, DatasetRow.id), datasets)
        sets = select(DatasetRow.project, DatasetRow.id, DatasetRow.digest)
        self._session.execute(sets.where(asked).order_by(DatasetRow.project, DatasetRow.id).with_for_update(read=True)).all()
        # A statement of its own: the first one may have waited for a deletion that it does not see.
        there = self._session.execute(sets.where(asked, kept(DatasetRow)))
        return {(project, dataset_id): content(digest) for project, dataset_id, digest in there}


def _dataset_gone(new: NewJob) -> NotFound:
    return NotFound(
        "DATASET_NOT_FOUND",
        f"The data set is gone from project {new.project}, even if another file has its id. Received: {new.spec.dataset_id}",
        field="dataset",
    )
