"""What a project may take: queued jobs, stored bytes, uploads per minute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from secateur.core.errors import QuotaExceeded
from secateur.core.jobs import JobState
from secateur.store.database import exclude_others
from secateur.store.tables import DatasetRow, JobRow, UploadRateRow

QUEUE_RETRY_SECONDS: Final = 30.0
"""When to try again with a full queue: jobs take minutes, so a place is seldom free sooner."""

STORED_RETRY_SECONDS: Final = 3600.0
"""When to try again with a full store: somebody has to make room first."""

_MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Quotas:
    """What each project may take; 0 stands for no bound.

    Args:
        queued_jobs: Jobs that wait at once.
        stored_bytes: Bytes of uploaded files, unfinished ones included.
        uploads_per_minute: Uploads with a file that are begun per minute; as many may come at once after a quiet minute.
    """

    queued_jobs: int = 10_000
    stored_bytes: int = 2**40
    uploads_per_minute: int = 6_000


class QuotaRepository:
    """Counts what projects take inside one transaction.

    Args:
        session: Session of the transaction.
        clock: Returns the current time, aware.
        quotas: What each project may take.
    """

    def __init__(self, session: Session, clock: Callable[[], datetime], quotas: Quotas) -> None:
        self._session = session
        self._clock = clock
        self._quotas = quotas

    def count_queued(self, project: str) -> int:
        """Returns how many jobs of a project wait, as far as that matters: at most its quota, 0 if it has none."""
        waiting = select(JobRow.id).where(JobRow.project == project, JobRow.state == JobState.QUEUED)
        some = waiting.limit(self._quotas.queued_jobs).subquery()
        return self._session.scalars(select(func.count()).select_from(some)).one() if self._quotas.queued_jobs else 0

    def check_queued(self, project: str, waiting: int) -> None:
        """Refuses one more job if the queue of a project is full.

        Args:
            project: The project.
            waiting: Its jobs that wait, as `count_queued` says, and those that are about to.

        Raises:
            QuotaExceeded: QUEUED_JOBS_QUOTA.
        """
        limit = self._quotas.queued_jobs
        if limit and waiting >= limit:
            raise _exceeded(
                "QUEUED_JOBS_QUOTA",
                f"A project may have at most {limit:,} queued jobs; wait until some have started, or cancel some. "
                f"Received: one more for project {project}",
                limit,
                QUEUE_RETRY_SECONDS,
            )

    def check_stored(self, project: str, more_bytes: int, *, digest: str) -> None:
        """Refuses a file that has no room in its project, and keeps others from taking that room until the transaction ends.

        Args:
            project: The project.
            more_bytes: Bytes of the file, and of others that are not registered yet.
            digest: SHA-256 of the file, which counts once: a data set that was deleted may have it.

        Raises:
            QuotaExceeded: STORED_BYTES_QUOTA.
        """
        limit = self._quotas.stored_bytes
        if not limit:
            return
        exclude_others(self._session, f"stored_bytes/{project}")
        # A file may have several names; it is kept once.
        others = select(DatasetRow.digest, DatasetRow.size_bytes).where(
            DatasetRow.project == project, DatasetRow.digest != digest
        )
        files = others.distinct().subquery()
        stored = int(self._session.scalars(select(func.coalesce(func.sum(files.c.size_bytes), 0))).one())
        if stored + more_bytes > limit:
            raise _exceeded(
                "STORED_BYTES_QUOTA",
                f"A project may store at most {limit:,} bytes of uploads, and {stored:,} are taken, also by deleted data sets "
                "until they are purged; ask your operator for more. "
                f"Received: {more_bytes:,} more, unfinished uploads included",
                limit,
                STORED_RETRY_SECONDS,
                "spec.size_bytes",
            )

    def take_upload(self, project: str) -> None:
        """Counts an upload that begins, or refuses it.

        The state of a project is a single time: when all of its allowance will be free again. Each upload moves that time on
        by its share of a minute; it may lie at most a minute ahead (the generic cell rate algorithm).

        Raises:
            QuotaExceeded: UPLOAD_RATE_QUOTA, with the time after which the next upload is let in.
        """
        limit = self._quotas.uploads_per_minute
        if not limit:
            return
        exclude_others(self._session, f"upload_rates/{project}")
        now = self._clock()
        row = self._session.get(UploadRateRow, project)
        idle_time = max(now, row.idle_time if row is not None else now) + _MINUTE / limit
        if idle_time > now + _MINUTE:
            raise _exceeded(
                "UPLOAD_RATE_QUOTA",
                f"A project may begin at most {limit:,} uploads a minute; send this one again later. "
                f"Received: one more for project {project}",
                limit,
                (idle_time - now - _MINUTE).total_seconds(),
            )
        self._session.merge(UploadRateRow(project=project, idle_time=idle_time))


def _exceeded(reason: str, message: str, limit: int, retry_seconds: float, field: str = "") -> QuotaExceeded:
    return QuotaExceeded(reason, message, field=field, metadata={"limit": str(limit)}, retry_seconds=retry_seconds)
