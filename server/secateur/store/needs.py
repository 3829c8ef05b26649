"""What a job that waits needs, from its rows; the rule itself is `secateur.core.routing`."""

from __future__ import annotations

import structlog
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from secateur.core.datasets import DATASETS, Dataset
from secateur.core.routing import Need, need_of
from secateur.core.serial import from_data
from secateur.core.specs import JobSpec
from secateur.store.datasets import DatasetRepository
from secateur.store.tables import ArchitectureRow, JobRow

_log = structlog.get_logger(__name__)


class Needs:
    """Works out what jobs need, inside one transaction.

    Args:
        session: Session of the transaction.
        datasets: Data sets of projects in the same transaction: their size decides.
    """

    def __init__(self, session: Session, datasets: DatasetRepository) -> None:
        self._session = session
        self._datasets = datasets
        self._macs: dict[tuple[str, str], int] = {}  # an architecture never changes

    def of(self, job: JobRow, spec: JobSpec | None = None) -> Need:
        """Returns what a job needs. Never raises for a job that nobody can read: the worker that claims it says so.

        Args:
            job: The job.
            spec: Its spec, if that has been read already.
        """
        try:
            return self._of(job, spec or from_data(JobSpec, job.spec))
        except DBAPIError:
            raise
        except Exception:
            _log.exception("job_unreadable", job=job.id)
            return Need.CPU

    def _of(self, job: JobRow, spec: JobSpec) -> Need:
        dataset = self._dataset(job.project, spec)
        if dataset is None:  # a worker says so
            return Need.CPU
        return need_of(spec, macs=self._macs_of(job.project, job.architecture), images=dataset.train_images)

    def _macs_of(self, project: str, architecture: str) -> int:
        key = project, architecture
        if key not in self._macs:
            # As an integer it would have 32 bits on PostgreSQL.
            macs = select(ArchitectureRow.cost["macs"].as_float()).where(
                ArchitectureRow.project == project, ArchitectureRow.digest == architecture
            )
            self._macs[key] = int(self._session.scalars(macs).one())
        return self._macs[key]

    def _dataset(self, project: str, spec: JobSpec) -> Dataset | None:
        if not spec.dataset_id:
            return DATASETS.get(spec.dataset)
        uploaded = self._datasets.find(project, spec.dataset_id)
        return uploaded.dataset if uploaded else None
