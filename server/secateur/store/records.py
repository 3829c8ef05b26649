"""What the store hands out: frozen values, detached from any session."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Generic, TypeVar

from secateur.core.access import Principal, Scope
from secateur.core.cost import Cost
from secateur.core.datasets import Dataset, DatasetName
from secateur.core.graph import LayerGraph
from secateur.core.jobs import JobPriority, JobStage, JobState
from secateur.core.profiles import ProfileName
from secateur.core.reports import Progress, TargetReport
from secateur.core.specs import JobSpec

T = TypeVar("T")

ARCHITECTURE_ID_LENGTH: Final = 16
"""The id of an architecture is the start of its digest."""


@dataclass(frozen=True, slots=True)
class ArchitectureRecord:
    """An uploaded architecture."""

    project: str
    digest: str
    display_name: str
    graph: LayerGraph
    cost: Cost
    create_time: datetime

    @property
    def id(self) -> str:
        """Id within the project."""
        return self.digest[:ARCHITECTURE_ID_LENGTH]


@dataclass(frozen=True, slots=True)
class Deletion:
    """When something was deleted, and until when that can be undone."""

    delete_time: datetime
    purge_time: datetime


@dataclass(frozen=True, slots=True)
class DatasetRecord:
    """An uploaded data set: its facts, and the SHA-256 and length of its file in the blob store."""

    project: str
    dataset: Dataset
    digest: str
    size_bytes: int
    create_time: datetime
    deletion: Deletion | None = None

    @property
    def id(self) -> str:
        """Id within the project."""
        return self.dataset.name


@dataclass(frozen=True, slots=True)
class TargetOutcome:
    """A target that came to an end, and the model it left behind (None if nothing was trained)."""

    report: TargetReport
    model_id: str | None


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job as of one moment. `version` grows with every change; times are aware, in UTC."""

    id: str
    project: str
    display_name: str
    labels: dict[str, str]
    spec: JobSpec
    state: JobState
    stage: JobStage | None
    attempt: int
    progress: Progress | None
    cancel_requested: bool
    error_reason: str
    error_message: str
    create_time: datetime
    start_time: datetime | None
    end_time: datetime | None
    version: int
    last_sequence: int
    outcomes: tuple[TargetOutcome, ...] = ()
    priority: JobPriority = JobPriority.NORMAL
    max_pending_seconds: float | None = None
    max_run_seconds: float | None = None
    retry_time: datetime | None = None
    deletion: Deletion | None = None

    @property
    def etag(self) -> str:
        """Changes with every change of the job."""
        return str(self.version)


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One event of a job; sequences run 1, 2, 3, ... without gap."""

    job_id: str
    sequence: int
    time: datetime
    state: JobState
    stage: JobStage | None
    attempt: int
    message: str
    progress: Progress | None


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """A trained model: the report of its target and where it came from."""

    id: str
    project: str
    job_id: str
    architecture: str
    dataset: DatasetName
    device_profile: ProfileName | None
    report: TargetReport
    create_time: datetime
    deletion: Deletion | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker's right to run one attempt of a job, for at most `run_seconds` (None: for ever).

    `attempt` is the fencing token; `settled` is what earlier ones brought.
    """

    job_id: str
    attempt: int
    spec: JobSpec
    graph: LayerGraph = field(repr=False)
    settled: tuple[TargetReport, ...] = ()
    run_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class OutboxRecord:
    """A message that the queue of a need is owed: the id of a job that waits."""

    id: int
    job_id: str


@dataclass(frozen=True, slots=True)
class Reaped:
    """What one round of recovery did: the state that each job with a lost worker went to, and the jobs announced again.

    `expired` are the jobs that waited or ran for too long.
    """

    ended: dict[str, JobState]
    resent: tuple[str, ...]
    expired: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list and the opaque token of the next; an empty token ends the list."""

    items: tuple[T, ...]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """An API token without its secret; `project` is None for all projects. Times are aware, in UTC."""

    id: str
    digest: str = field(repr=False)
    scope: Scope
    project: str | None
    title: str
    create_time: datetime
    expire_time: datetime | None
    revoke_time: datetime | None

    @property
    def principal(self) -> Principal:
        """Who calls with it."""
        return Principal(self.id, self.scope, self.project)


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """A call that changed something, or tried to: `code` is the gRPC status, `token` is empty where none is asked for."""

    time: datetime
    token: str
    project: str
    method: str
    resource: str
    code: str
    request_id: str
