"""Jobs as the service shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from secateur.client.recipes import Recipe
from secateur.client.values import Compliance, HybridPolicy, Limit, Plan, SearchPolicy

FINAL_STATES: Final = frozenset({"SUCCEEDED", "FAILED", "CANCELLED", "INFEASIBLE", "EXPIRED"})
"""States that a job never leaves."""


@dataclass(frozen=True, slots=True)
class TargetSummary:
    """A target as the service keeps it."""

    device_profile: str
    limits: tuple[Limit, ...]


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How far the training of one target is.

    `epoch` epochs are done, and `step` of `steps` in the one that has begun, 0 between two epochs. `loss` is that of training:
    of the last epoch, or of the steps so far. `accuracy` and `validation_loss` are those on the validation split after the last
    epoch, 0 before the first has ended.
    """

    target_index: int
    epoch: int
    epochs: int
    loss: float
    accuracy: float
    eta: timedelta | None
    step: int
    steps: int
    images_per_second: float
    validation_loss: float
    learning_rate: float


@dataclass(frozen=True, slots=True)
class Tightening:
    """A limit that was missed when it was measured, and what the next plan had to keep instead."""

    resource: str
    limit: float


@dataclass(frozen=True, slots=True)
class Attempt:
    """A plan that was tried: how every limit came out for it, and what the next one was made to allow for.

    If it was not `trained`, what was measured is its untrained export, which has the sizes but no accuracy.
    """

    plan: str
    trained: bool
    compliance: tuple[Compliance, ...]
    tightened: tuple[Tightening, ...]


@dataclass(frozen=True, slots=True)
class TargetResult:
    """How one target came out; of one that is not met, `model` is the nearest point, if one was trained."""

    target_index: int
    model: str
    compliance: tuple[Compliance, ...]
    plan: Plan | None
    met: bool
    message: str
    plans_tried: int
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True)
class JobFailure:
    """Why a job failed: a reason for programs and a sentence for people."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One thing that happened to a job, and the job's state after it. Sequences run 1, 2, 3, ... without gap."""

    sequence: int
    time: datetime | None
    state: str
    stage: str
    attempt: int
    message: str
    progress: JobProgress | None


@dataclass(frozen=True, slots=True)
class JobSnapshot:
    """A job as of one moment. `hybrid` is None unless that is the mode, `search` unless the job searches.

    `queue`, `queue_position` (1 is next) and `estimated_start_time` are known of a queued job that was read by itself.
    """

    name: str
    display_name: str
    labels: Mapping[str, str]
    architecture: str
    dataset: str
    targets: tuple[TargetSummary, ...]
    mode: str
    round_to: int
    step: float
    min_width: int
    residual: str
    temperature: float
    hybrid: HybridPolicy | None
    search: SearchPolicy | None
    recipe: Recipe
    seed: int
    state: str
    stage: str
    attempt: int
    progress: JobProgress | None
    results: tuple[TargetResult, ...]
    error: JobFailure | None
    create_time: datetime | None
    start_time: datetime | None
    end_time: datetime | None
    etag: str
    last_sequence: int
    priority: str = "NORMAL"
    max_pending: timedelta | None = None
    max_run: timedelta | None = None
    queue_position: int = 0
    estimated_start_time: datetime | None = None
    queue: str = ""
    delete_time: datetime | None = None
    purge_time: datetime | None = None

    @property
    def done(self) -> bool:
        """Whether the job has come to an end; also true of a final state that this SDK does not know."""
        return self.state in FINAL_STATES or self.end_time is not None


@dataclass(frozen=True, slots=True)
class SearchCandidate:
    """A plan that the search of a job looked at.

    `scores` are those of the untrained network by proxy, the higher the better; `rank` is the mean of its ranks under all of
    them, 1 for the best, None if a limit was missed. `measured_fits` tells whether its untrained export kept the measured
    limits, `validation_accuracy` what the brief training reached; None where there was none. One is `chosen`.
    """

    origin: str
    plan: str
    parameters: int
    macs: int
    missed_limits: tuple[str, ...]
    scores: Mapping[str, float]
    rank: float | None
    measured_fits: bool | None
    validation_accuracy: float | None
    chosen: bool
