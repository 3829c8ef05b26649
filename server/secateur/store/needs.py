"""What a job that waits needs, from its rows; the rule itself is `secateur.core.routing`."""

from __future__ import annotations

from collections.abc import MutableMapping
from threading import Lock
from typing import Final

import structlog
from cachetools import LRUCache
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from secateur.core.datasets import DATASETS, Dataset
from secateur.core.routing import Need, need_of
from secateur.core.serial import from_data
from secateur.core.specs import JobSpec
from secateur.store.datasets import DatasetRepository
from secateur.store.tables import ArchitectureRow, JobRow

_MACS: Final[MutableMapping[str, int]] = LRUCache(4096)
"""Multiply-accumulates of networks by their digest, which stands for the same network in every project and database."""
_LOCK: Final = Lock()

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

    def of(self, job: JobRow) -> Need:
        """Returns what a job needs. Never raises for a job that nobody can read: the worker that claims it says so."""
        try:
            return self.of_spec(job.project, from_data(JobSpec, job.spec))
        except DBAPIError:
            raise
        except Exception:
            _log.exception("job_unreadable", job=job.id)
            return Need.CPU

    def of_spec(self, project: str, spec: JobSpec) -> Need:
        """Returns what a job of a project needs."""
        dataset = self._dataset(project, spec)
        macs = self._macs_of(project, spec.architecture)
        if dataset is None or macs is None:  # a worker, or the database, says so
            return Need.CPU
        return need_of(spec, macs=macs, images=dataset.train_images)

    def _macs_of(self, project: str, architecture: str) -> int | None:
        with _LOCK:
            known = _MACS.get(architecture)
        if known is not None:
            return known
        # As an integer it would have 32 bits on PostgreSQL.
        asked = select(ArchitectureRow.cost["macs"].as_float()).where(
            ArchitectureRow.project == project, ArchitectureRow.digest == architecture
        )
        found = self._session.scalars(asked).one_or_none()
        if found is None:
            return None
        with _LOCK:
            return _MACS.setdefault(architecture, int(found))

    def _dataset(self, project: str, spec: JobSpec) -> Dataset | None:
        if not spec.dataset_id:
            return DATASETS.get(spec.dataset)
        uploaded = self._datasets.find(project, spec.dataset_id)
        return uploaded.dataset if uploaded else None
