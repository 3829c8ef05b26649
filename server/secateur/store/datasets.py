"""Data sets that projects have uploaded; each is written once and never changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from secateur.core.datasets import Dataset
from secateur.core.errors import AlreadyExists, FailedPrecondition
from secateur.core.missing import missing
from secateur.core.serial import from_data, to_data
from secateur.store.families import FamilyRepository
from secateur.store.quotas import QuotaRepository
from secateur.store.records import DatasetRecord
from secateur.store.tables import DatasetRow, Deletable, DeletionRow
from secateur.store.trash import kept


class DatasetRepository:
    """Reads and writes the data sets of projects inside one transaction.

    Args:
        session: Session of the transaction.
        clock: Returns the current time, aware.
        quotas: What projects may take, in the same transaction.
        families: Versions of families, in the same transaction.
    """

    def __init__(
        self, session: Session, clock: Callable[[], datetime], quotas: QuotaRepository, families: FamilyRepository
    ) -> None:
        self._session = session
        self._clock = clock
        self._quotas = quotas
        self._families = families

    def put(self, project: str, dataset: Dataset, *, digest: str, size_bytes: int) -> DatasetRecord:
        """Keeps a data set; the same one put again is the one that is already there.

        Args:
            project: Project that it belongs to.
            dataset: Its facts, its id among them.
            digest: SHA-256 of its file, hexadecimal.
            size_bytes: Length of its file.

        Raises:
            AlreadyExists: DATASET_EXISTS, if the project has another data set of that id.
            QuotaExceeded: STORED_BYTES_QUOTA, if the file has no room in the project.
            FailedPrecondition: DATASET_DELETED, if it was deleted and can still be undeleted.
        """
        self._check_kept(project, dataset.name)
        found = self.find(project, dataset.name)
        if found is None:
            if self.of_content(project, digest) is None:
                self._quotas.check_stored(project, size_bytes, digest=digest)
            row = DatasetRow(
                project=project,
                id=dataset.name,
                digest=digest,
                size_bytes=size_bytes,
                dataset=to_data(dataset),
                create_time=self._clock(),
            )
            try:
                with self._session.begin_nested():
                    self._session.add(row)
            except IntegrityError:  # somebody else put one a moment ago
                found = self.get(project, dataset.name)
            else:
                self._families.touch_dataset(project, dataset.name, row.create_time)  # there may be models of an earlier one
                return _record(row)
        if (found.digest, found.dataset) != (digest, dataset):
            raise _exists(project, dataset.name)
        return found

    def check_free(self, project: str, dataset_id: str, digest: str) -> None:
        """Refuses an id under which the project has another file.

        Raises:
            AlreadyExists: DATASET_EXISTS.
            FailedPrecondition: DATASET_DELETED.
        """
        self._check_kept(project, dataset_id)
        found = self.find(project, dataset_id)
        if found is not None and found.digest != digest:
            raise _exists(project, dataset_id)

    def find(self, project: str, dataset_id: str) -> DatasetRecord | None:
        """Returns one data set; None if the project has none of that id."""
        row = self._session.get(DatasetRow, (project, dataset_id))
        return None if row is None else _record(row)

    def get(self, project: str, dataset_id: str) -> DatasetRecord:
        """Returns one data set.

        Raises:
            NotFound: DATASET_NOT_FOUND.
        """
        found = self.find(project, dataset_id)
        if found is None:
            raise missing("datasets", project, dataset_id, field="dataset")
        return found

    def of_content(self, project: str, digest: str) -> DatasetRecord | None:
        """Returns a data set of the project whose file has that SHA-256, whatever its id; None if there is none.

        One that was deleted does not count: its file may go.
        """
        row = self._session.scalars(
            select(DatasetRow)
            .where(DatasetRow.project == project, DatasetRow.digest == digest, kept(DatasetRow))
            .order_by(DatasetRow.id)
            .limit(1)
        ).one_or_none()
        return None if row is None else _record(row)

    def list(self, project: str, *, after: str, limit: int, show_deleted: bool = False) -> tuple[DatasetRecord, ...]:
        """Returns up to `limit` data sets of a project by id, those whose id is greater than `after`."""
        rows = self._session.scalars(
            select(DatasetRow)
            .where(DatasetRow.project == project, DatasetRow.id > after)
            .where(*([] if show_deleted else [kept(DatasetRow)]))
            .order_by(DatasetRow.id)
            .limit(limit)
        )
        return tuple(map(_record, rows))

    def _check_kept(self, project: str, dataset_id: str) -> None:
        if self._session.get(DeletionRow, (Deletable.DATASET, project, dataset_id)) is not None:
            raise FailedPrecondition(
                "DATASET_DELETED",
                "A data set of this id was deleted and is not purged yet; undelete it, or choose another id. "
                f"Received: {dataset_id}",
                field="spec.dataset_id",
            )


def _exists(project: str, dataset_id: str) -> AlreadyExists:
    return AlreadyExists(
        "DATASET_EXISTS",
        f"Project {project} has another data set of this id, and a data set never changes; choose another id. "
        f"Received: {dataset_id}",
        field="spec.dataset_id",
    )


def _record(row: DatasetRow) -> DatasetRecord:
    return DatasetRecord(
        project=row.project,
        dataset=from_data(Dataset, row.dataset),
        digest=row.digest,
        size_bytes=row.size_bytes,
        create_time=row.create_time,
    )
