"""The outbox: messages that the queue is owed, written with the change that causes them and sent after its commit."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import and_, select, update
from sqlalchemy.orm import Session

from secateur.core.datasets import DATASETS, Dataset
from secateur.core.routing import Need, need_of
from secateur.core.serial import from_data
from secateur.core.specs import JobSpec
from secateur.store.datasets import DatasetRepository
from secateur.store.records import OutboxRecord
from secateur.store.tables import ArchitectureRow, JobRow, OutboxRow


class OutboxRepository:
    """Reads and marks messages inside one transaction.

    A message may be sent twice: by two relays at once, or again after a crash between sending and marking. That is harmless,
    since the job's row decides who runs.

    Args:
        session: Session of the transaction.
        datasets: Data sets of projects in the same transaction: their size decides what a job needs.
    """

    def __init__(self, session: Session, datasets: DatasetRepository) -> None:
        self._session = session
        self._datasets = datasets

    def unsent(self, limit: int) -> tuple[OutboxRecord, ...]:
        """Returns up to `limit` messages that were not sent yet, oldest first."""
        macs = ArchitectureRow.cost["macs"].as_float()  # as an integer it would have 32 bits on PostgreSQL
        rows = self._session.execute(
            select(OutboxRow, JobRow.project, JobRow.spec, macs)
            .join(JobRow, JobRow.id == OutboxRow.job_id)
            .join(
                ArchitectureRow,
                and_(ArchitectureRow.project == JobRow.project, ArchitectureRow.digest == JobRow.architecture),
            )
            .where(OutboxRow.sent_time.is_(None))
            .order_by(OutboxRow.id)
            .limit(limit)
        )
        return tuple(
            OutboxRecord(row.id, row.job_id, self._need(project, from_data(JobSpec, spec), int(macs)), row.create_time)
            for row, project, spec, macs in rows
        )

    def mark_sent(self, ids: Iterable[int], now: datetime) -> None:
        """Remembers that messages were sent. One whose job has left the queue meanwhile is gone, and stays so."""
        self._session.execute(update(OutboxRow).where(OutboxRow.id.in_(tuple(ids))).values(sent_time=now))

    def _need(self, project: str, spec: JobSpec, macs: int) -> Need:
        dataset = self._dataset(project, spec)
        # Nobody knows its data set: a worker says so, while here it would hold up everybody's messages.
        return Need.CPU if dataset is None else need_of(spec, macs=macs, images=dataset.train_images)

    def _dataset(self, project: str, spec: JobSpec) -> Dataset | None:
        if not spec.dataset_id:
            return DATASETS.get(spec.dataset)
        uploaded = self._datasets.find(project, spec.dataset_id)
        return uploaded.dataset if uploaded else None
