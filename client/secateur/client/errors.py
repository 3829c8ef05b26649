"""What can go wrong, as exceptions.

Every exception of the SDK is a `SecateurError`. An error that the service reported carries the gRPC status code and what
the service said of it; an error that the SDK raised itself has an empty `code`.

================  =====================  =============================================================
raised by         exception              meaning
================  =====================  =============================================================
INVALID_ARGUMENT  `InvalidArgument`      the request is wrong; `field` says where
FAILED_PRECOND.   `FailedPrecondition`   well-formed, but cannot be served as things stand
FAILED_PRECOND.   `Infeasible`           no plan meets the budget, or no model fits the device
NOT_FOUND         `NotFound`             what was named does not exist in this project
UNAVAILABLE       `Unavailable`          the server could not be reached, even after retries
every other code  one class each         `CODES` lists them
the SDK           `UsageError`           an argument makes no sense; nothing was sent
the SDK           `WaitTimeout`          waiting took too long; the job goes on
the SDK           `DigestMismatch`       a download is not what the service says it is; no file is left
`Job.result`      `JobError`             the job did not succeed: one class per final state
================  =====================  =============================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final


class SecateurError(Exception):
    """Base of every error of the SDK.

    Args:
        reason: UPPER_SNAKE_CASE, stable, for programs.
        message: One sentence for people.
        field: Offending request field, resource or layer; empty if none.
        metadata: Further facts for programs, for example `{"smallest_reachable": "1234"}`.
        code: Name of the gRPC status code, for example "NOT_FOUND"; empty for errors of the SDK itself.
    """

    def __init__(
        self, reason: str, message: str, *, field: str = "", metadata: Mapping[str, str] | None = None, code: str = ""
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.field = field
        self.metadata = dict(metadata or {})
        self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        # That of Exception calls the class with `args`, the message alone; one that cannot be read back ends a process pool.
        return _blank, (type(self),), {**vars(self), "args": self.args}

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


def _blank(kind: type[SecateurError]) -> SecateurError:
    return kind.__new__(kind)


class UsageError(SecateurError, ValueError):
    """An argument makes no sense. The message says what was wrong, what was received and what is accepted."""


class WaitTimeout(SecateurError, TimeoutError):
    """The caller's own time limit ran out while waiting. The job goes on; a job that the service timed out is EXPIRED."""


class DigestMismatch(SecateurError):
    """The bytes of a download do not have the promised SHA-256. No file is left behind."""


class Cancelled(SecateurError):
    """The server, or a proxy, dropped the call; every pause between tries was spent."""


class Unknown(SecateurError):
    """The server failed without saying how."""


class InvalidArgument(SecateurError):
    """The request is wrong whatever the state of the service; `field` says where."""


class DeadlineExceeded(SecateurError):
    """The call took longer than the client's `timeout`."""


class NotFound(SecateurError):
    """What was named does not exist, or not in this project."""


class AlreadyExists(SecateurError):
    """What should be created exists."""


class PermissionDenied(SecateurError):
    """The caller may not do this."""


class ResourceExhausted(SecateurError):
    """A quota or a size limit is used up."""


class FailedPrecondition(SecateurError):
    """The request is well-formed, but cannot be served as things stand."""


class Infeasible(FailedPrecondition):
    """No plan meets the budget, or no model fits the device. The message names the limit that binds."""


class Aborted(SecateurError):
    """Somebody else changed the same thing first; read again and retry."""


class OutOfRange(SecateurError):
    """An offset lies past the end."""


class Unimplemented(SecateurError):
    """The server does not know this call; it may be older than the SDK."""


class Internal(SecateurError):
    """A defect in the server."""


class Unavailable(SecateurError):
    """The service cannot be reached, or cannot answer at the moment; every pause between tries was spent."""


class DataLoss(SecateurError):
    """Stored data is lost or damaged."""


class Unauthenticated(SecateurError):
    """The caller is not known."""


class JobError(SecateurError):
    """A job that was waited for did not succeed.

    Args:
        job: Resource name of the job.
        reason: Why, UPPER_SNAKE_CASE.
        message: One sentence for people.
    """

    def __init__(self, job: str, reason: str, message: str) -> None:
        super().__init__(reason, message, metadata={"job": job})
        self.job = job


class JobFailed(JobError):
    """The job ended FAILED."""


class JobCancelled(JobError):
    """The job ended CANCELLED."""


class JobInfeasible(JobError):
    """The job ended INFEASIBLE: a limit could not be met. The nearest models are still there: `job.models()`."""


class JobExpired(JobError):
    """The job ended EXPIRED: it waited or ran longer than the service allows."""


CODES: Final[Mapping[str, type[SecateurError]]] = {
    "CANCELLED": Cancelled,
    "UNKNOWN": Unknown,
    "INVALID_ARGUMENT": InvalidArgument,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "NOT_FOUND": NotFound,
    "ALREADY_EXISTS": AlreadyExists,
    "PERMISSION_DENIED": PermissionDenied,
    "RESOURCE_EXHAUSTED": ResourceExhausted,
    "FAILED_PRECONDITION": FailedPrecondition,
    "ABORTED": Aborted,
    "OUT_OF_RANGE": OutOfRange,
    "UNIMPLEMENTED": Unimplemented,
    "INTERNAL": Internal,
    "UNAVAILABLE": Unavailable,
    "DATA_LOSS": DataLoss,
    "UNAUTHENTICATED": Unauthenticated,
}
"""Exception of every gRPC status code but OK."""

INFEASIBLE_REASONS: Final = frozenset({"BUDGET_INFEASIBLE", "NO_MODEL_FITS"})
"""Reasons that make a FAILED_PRECONDITION an `Infeasible`."""

JOB_STATES: Final[Mapping[str, type[JobError]]] = {
    "FAILED": JobFailed,
    "CANCELLED": JobCancelled,
    "INFEASIBLE": JobInfeasible,
    "EXPIRED": JobExpired,
}
"""Exception of every final job state but SUCCEEDED."""
