"""What the database refers to in the blob store."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from secateur.core.datasets import content
from secateur.core.jobs import JobState
from secateur.store.tables import ArtifactRow, DatasetRow, JobRow

UNFINISHED: Final = tuple(state for state in JobState if not state.is_terminal)
"""States of jobs whose inputs and checkpoints are still needed."""

_BATCH: Final = 500
"""Values in one statement: SQLite takes 999 in old versions."""


class References:
    """Reads references inside one transaction.

    A blob is referred to by the files of models and by data sets, those that were deleted and can be undeleted included, and by
    jobs that have not ended. A report names files too, but whoever downloads one goes by the model.

    Args:
        session: Session of the transaction.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def among(self, digests: Collection[str]) -> set[str]:
        """Returns those of the digests that something refers to."""
        found: set[str] = set()
        for batch in _batches(digests):
            wanted = {content(digest): digest for digest in batch}
            dataset = JobRow.spec["dataset"].as_string()
            found.update(self._session.scalars(select(ArtifactRow.sha256).where(ArtifactRow.sha256.in_(batch))))
            found.update(self._session.scalars(select(DatasetRow.digest).where(DatasetRow.digest.in_(batch))))
            trained_on = select(dataset).where(JobRow.state.in_(UNFINISHED), dataset.in_(wanted))
            found.update(wanted[name] for name in self._session.scalars(trained_on))
        return found

    def unfinished(self, job_ids: Collection[str]) -> set[str]:
        """Returns those of the jobs that are there and have not ended."""
        found: set[str] = set()
        for batch in _batches(job_ids):
            found.update(self._session.scalars(select(JobRow.id).where(JobRow.id.in_(batch), JobRow.state.in_(UNFINISHED))))
        return found


def _batches(values: Collection[str]) -> Iterator[list[str]]:
    rest = iter(values)
    while batch := list(islice(rest, _BATCH)):
        yield batch
