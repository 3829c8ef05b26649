"""Deleting, undeleting and purging: what is deleted is out of sight, and stays for a while.

Only a mark is written at first (AIP-164). Whatever runs jobs does not look at it: a deleted job has ended, and nobody joins it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, TypeVar, cast

from sqlalchemy import ColumnElement, delete, exists, or_, select, update
from sqlalchemy.orm import Session

from secateur.core.errors import AlreadyExists, FailedPrecondition, NotFound
from secateur.core.jobs import JobState
from secateur.core.missing import missing
from secateur.store.database import exclude_others, is_among
from secateur.store.records import DatasetRecord, Deletion, JobRecord, ModelRecord
from secateur.store.references import UNFINISHED
from secateur.store.tables import (
    ArtifactRow,
    DatasetRow,
    Deletable,
    DeletionRow,
    JobEventRow,
    JobRow,
    ModelRow,
    OutboxRow,
    OutcomeRow,
    SearchRow,
)

_R = TypeVar("_R", JobRecord, ModelRecord, DatasetRecord)
_Row = JobRow | ModelRow | DatasetRow

_ROWS: Final[dict[Deletable, type[_Row]]] = {
    Deletable.JOB: JobRow,
    Deletable.MODEL: ModelRow,
    Deletable.DATASET: DatasetRow,
}
_KINDS: Final[dict[type, Deletable]] = {
    JobRecord: Deletable.JOB,
    ModelRecord: Deletable.MODEL,
    DatasetRecord: Deletable.DATASET,
    **{row: kind for kind, row in _ROWS.items()},
}
_WORDS: Final = {Deletable.JOB: "job", Deletable.MODEL: "model", Deletable.DATASET: "data set"}

PURGE_BATCH: Final = 100
"""Most that one transaction purges."""


def kept(row: type[_Row]) -> ColumnElement[bool]:
    """Returns the condition that a row of a query was not deleted."""
    return ~exists().where(DeletionRow.kind == _KINDS[row], DeletionRow.project == row.project, DeletionRow.id == row.id)


class Trash:
    """Deletes and undeletes inside one transaction.

    Args:
        session: Session of the transaction.
        clock: Returns the current time, aware.
        on_model: Called with a model that is no longer, or again, one to choose from.
    """

    def __init__(self, session: Session, clock: Callable[[], datetime], on_model: Callable[[ModelRow], None]) -> None:
        self._session = session
        self._clock = clock
        self._on_model = on_model

    def find(self, kind: Deletable, project: str, identifier: str) -> Deletion | None:
        """Returns when something was deleted; None if it was not."""
        row = self._session.get(DeletionRow, (kind, project, identifier))
        return None if row is None else Deletion(row.delete_time, row.purge_time)

    def mark(self, record: _R) -> _R:
        """Returns the record with the time of its deletion filled in, if it was deleted."""
        return self.mark_all([record])[0]

    def mark_all(self, records: Sequence[_R]) -> tuple[_R, ...]:
        """Returns records of one kind with the times of their deletions filled in."""
        if not records:
            return ()
        rows = self._session.scalars(
            select(DeletionRow).where(
                DeletionRow.kind == _KINDS[type(records[0])],
                is_among((DeletionRow.project, DeletionRow.id), [(record.project, record.id) for record in records]),
            )
        )
        found = {(row.project, row.id): Deletion(row.delete_time, row.purge_time) for row in rows}
        return tuple(replace(record, deletion=found.get((record.project, record.id))) for record in records)

    def delete(self, kind: Deletable, project: str, identifier: str, *, keep: timedelta, allow_missing: bool = False) -> bool:
        """Deletes something, for the time being.

        Args:
            kind: What it is.
            project: Its project.
            identifier: Its id.
            keep: How long it can be undeleted.
            allow_missing: Accept that there is no such thing, or that it was deleted before.

        Returns:
            Whether there is such a thing.

        Raises:
            NotFound: JOB_NOT_FOUND, MODEL_NOT_FOUND or DATASET_NOT_FOUND; also if it was deleted before.
            FailedPrecondition: JOB_NOT_FINISHED; DATASET_IN_USE by a job that has not ended.
        """
        row = self._lock(kind, project, identifier)
        deleted = self._session.get(DeletionRow, (kind, project, identifier)) is not None
        if row is None or deleted:
            if allow_missing:
                return row is not None
            raise _not_found(kind, project, identifier, " that was not deleted" if deleted else "")
        if isinstance(row, JobRow):
            if not row.state.is_terminal:
                raise FailedPrecondition(
                    "JOB_NOT_FINISHED",
                    f"Cancel the job first, and wait until it has ended. Received: {identifier}",
                    field="name",
                )
            row.live_work_key = None  # whoever asks for the same work from now on wants a job that they can see
        elif isinstance(row, DatasetRow):
            self._check_unused(row)
        elif (job := self._session.get(JobRow, row.job_id)) is not None:
            job.live_work_key = None  # and one that still has all its models
        now = self._clock()
        if isinstance(row, ModelRow):
            self._on_model(row)
        self._session.add(DeletionRow(kind=kind, project=project, id=identifier, delete_time=now, purge_time=now + keep))
        self._session.flush()
        return True

    def undelete(self, kind: Deletable, project: str, identifier: str) -> None:
        """Makes a deletion undone.

        Raises:
            NotFound: JOB_NOT_FOUND, MODEL_NOT_FOUND or DATASET_NOT_FOUND.
            AlreadyExists: JOB_NOT_DELETED, MODEL_NOT_DELETED or DATASET_NOT_DELETED.
        """
        row = self._lock(kind, project, identifier)
        if row is None:
            raise _not_found(kind, project, identifier)
        deletion = self._session.get(DeletionRow, (kind, project, identifier))
        if deletion is None:
            raise AlreadyExists(
                f"{kind.name}_NOT_DELETED", f"This {_WORDS[kind]} was not deleted. Received: {identifier}", field="name"
            )
        self._session.delete(deletion)
        job = row if isinstance(row, JobRow) else None
        if isinstance(row, ModelRow):
            self._on_model(row)
            job = self._session.get(JobRow, row.job_id)
        if job is not None and job.state is JobState.SUCCEEDED:
            self._offer(job)
        self._session.flush()

    def purge(self, now: datetime) -> int:
        """Removes what can no longer be undeleted, at most `PURGE_BATCH`, and returns how many it was.

        Files of what is removed go with the garbage. A model outlives its job, and the report of a job its models.
        """
        due = self._session.execute(
            select(DeletionRow.kind, DeletionRow.project, DeletionRow.id)
            .where(DeletionRow.purge_time <= now)
            .order_by(DeletionRow.purge_time)
            .limit(PURGE_BATCH)
        ).all()
        return sum(self._purge(kind, project, identifier, now) for kind, project, identifier in due)

    def _purge(self, kind: Deletable, project: str, identifier: str, now: datetime) -> bool:
        # The row first, as everybody else locks it, and then the mark: it may just have been taken back.
        row = self._lock(kind, project, identifier)
        marked = delete(DeletionRow).where(
            DeletionRow.kind == kind,
            DeletionRow.project == project,
            DeletionRow.id == identifier,
            DeletionRow.purge_time <= now,
        )
        if self._session.execute(marked.returning(DeletionRow.id)).one_or_none() is None:
            return False
        if row is not None:
            self._remove(row)
        return True

    def _lock(self, kind: Deletable, project: str, identifier: str) -> _Row | None:
        if kind is Deletable.MODEL:  # its job first, as whoever settles a target does
            self._session.scalars(
                select(JobRow)
                .join(ModelRow, ModelRow.job_id == JobRow.id)
                .where(ModelRow.id == identifier, JobRow.project == project)
                .with_for_update(of=JobRow)
                .execution_options(populate_existing=True)
            ).one_or_none()
        key = (project, identifier) if kind is Deletable.DATASET else identifier
        row = self._session.get(_ROWS[kind], key, populate_existing=True, with_for_update=True)
        return cast("_Row", row) if row is not None and cast("_Row", row).project == project else None

    def _check_unused(self, dataset: DatasetRow) -> None:
        user = self._session.scalars(
            select(JobRow.id)
            .where(
                JobRow.project == dataset.project,
                JobRow.state.in_(UNFINISHED),
                JobRow.spec["dataset_id"].as_string() == dataset.id,
            )
            .limit(1)
        ).one_or_none()
        if user is not None:
            raise FailedPrecondition(
                "DATASET_IN_USE",
                f"A job trains on this data set; cancel it first, or wait until it has ended. Received: {dataset.id}, "
                f"used by job {user}",
                field="name",
                metadata={"job": user},
            )

    def _offer(self, job: JobRow) -> None:
        """Lets equal requests join a job again, unless it or one of its models is gone, or another one does its work by now."""
        exclude_others(self._session, f"jobs/{job.project}/{job.work_key}")
        other = select(JobRow.id).where(JobRow.project == job.project, JobRow.live_work_key == job.work_key)
        lost = (
            select(OutcomeRow.target_index)
            .outerjoin(ModelRow, ModelRow.id == OutcomeRow.model_id)  # the outcome of one that was purged names none
            .where(OutcomeRow.job_id == job.id, or_(ModelRow.id.is_(None), ~kept(ModelRow)))
        )
        whole = select(JobRow.id).where(JobRow.id == job.id, kept(JobRow), ~lost.exists(), ~other.exists())
        if self._session.scalars(whole).one_or_none() is not None:
            job.live_work_key = job.work_key

    def _remove(self, row: _Row) -> None:
        match row:
            case JobRow(id=job_id):
                for table in (SearchRow, OutcomeRow, JobEventRow, OutboxRow):
                    self._session.execute(delete(table).where(table.job_id == job_id))
            case ModelRow(id=model_id):
                self._session.execute(update(OutcomeRow).where(OutcomeRow.model_id == model_id).values(model_id=None))
                self._session.execute(delete(ArtifactRow).where(ArtifactRow.model_id == model_id))
        self._session.delete(row)
        self._session.flush()


def _not_found(kind: Deletable, project: str, identifier: str, what: str = "") -> NotFound:
    field = "dataset" if kind is Deletable.DATASET else "name"  # as wherever else it is not found
    return missing(f"{kind.name.lower()}s", project, identifier, field=field, which=what)
