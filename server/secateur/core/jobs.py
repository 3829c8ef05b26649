"""Life cycle of a job: its states and the only moves between them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final

from secateur.core.errors import FailedPrecondition

COMPRESS_TASK: Final = "secateur.compress"
"""Celery task name. The server enqueues by name; a message carries a job id and nothing else."""

MAX_ATTEMPTS: Final = 3
"""How many attempts of a job may be lost to causes that may pass: a worker that falls silent, a blob store that is away. An
attempt that its worker gave back, because it shut down or the database was away, does not count."""

RETRY_SECONDS: Final = 10.0
"""How long a job waits after the first attempt that failed for a reason that may pass; twice as long after the next."""


class JobPriority(IntEnum):
    """Who goes first. Among equals the projects take turns."""

    LOW = -1
    NORMAL = 0
    HIGH = 1


@dataclass(frozen=True, slots=True)
class Scheduling:
    """When a job runs, and for how long: no part of the work itself, so equal work is recognised whatever it says.

    Args:
        priority: Who goes first.
        max_pending_seconds: How long it may wait for a worker, each time, before it ends EXPIRED; None for ever.
        max_run_seconds: How long one attempt may run before the job ends EXPIRED; None for what the worker is set to.
    """

    priority: JobPriority = JobPriority.NORMAL
    max_pending_seconds: float | None = None
    max_run_seconds: float | None = None


def retry_seconds(lost_attempts: int) -> float:
    """Returns how long to wait after the last of so many attempts that failed for a reason that may pass, at least 1."""
    return RETRY_SECONDS * 2.0 ** (lost_attempts - 1)


class JobState(StrEnum):
    """State of a job."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    INFEASIBLE = "INFEASIBLE"
    EXPIRED = "EXPIRED"

    @property
    def is_terminal(self) -> bool:
        """Whether no move leads out of the state."""
        return not MOVES[self]


class JobStage(StrEnum):
    """What a running job does."""

    PLANNING = "PLANNING"
    TRAINING = "TRAINING"
    EXPORTING = "EXPORTING"
    MEASURING = "MEASURING"


MOVES: Final[dict[JobState, frozenset[JobState]]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED, JobState.FAILED, JobState.EXPIRED}),
    JobState.RUNNING: frozenset(
        {
            JobState.QUEUED,  # its worker was lost; the next attempt starts over
            JobState.SUCCEEDED,
            JobState.FAILED,
            JobState.CANCELLED,
            JobState.INFEASIBLE,
            JobState.EXPIRED,
        }
    ),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
    JobState.INFEASIBLE: frozenset(),
    JobState.EXPIRED: frozenset(),
}


def check_move(current: JobState, target: JobState) -> None:
    """Refuses a move that the life cycle does not have.

    Raises:
        FailedPrecondition: If `target` cannot follow `current`.
    """
    if target not in MOVES[current]:
        raise FailedPrecondition(
            "JOB_STATE",
            f"A job that is {current} cannot become {target}; allowed: {', '.join(sorted(MOVES[current])) or 'nothing'}",
        )


RETRYABLE: Final = frozenset({JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED})
"""States of jobs whose work may be done again. INFEASIBLE is not among them, since the same work would end the same way."""


def check_retry(state: JobState) -> None:
    """Refuses to do the work of a job again where that makes no sense.

    Raises:
        FailedPrecondition: JOB_NOT_RETRYABLE.
    """
    if state not in RETRYABLE:
        known = " or ".join(sorted(RETRYABLE))
        raise FailedPrecondition(
            "JOB_NOT_RETRYABLE", f"Only a job that is {known} can be retried. Received: one that is {state}"
        )
