"""What came of a target: artifacts, measurements and compliance, each figure with how it was obtained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from secateur.core.cost import Cost
from secateur.core.planning import Plan
from secateur.core.resources import Compliance, Resource

ARENA_BYTES: Final = "arena_bytes"
"""Measurement that tells the RAM a model takes on TensorFlow Lite Micro."""
PROCESS_PEAK_BYTES: Final = "process_peak_bytes"
"""Measurement that tells the RAM a model takes on LiteRT under an operating system."""


class ArtifactFormat(StrEnum):
    """Format of a file that a model is delivered as."""

    LITERT_FLOAT32 = "litert-float32"
    LITERT_INT8 = "litert-int8"


@dataclass(frozen=True, slots=True)
class ArtifactReport:
    """One stored file of a model.

    Args:
        format: Its format.
        sha256: Digest of its bytes, hexadecimal; its key in the blob store.
        size_bytes: Its length.
        accuracy: Top-1 accuracy of this very file on the test split, 0 to 1.
        test_images: Images of the test split.
    """

    format: ArtifactFormat
    sha256: str
    size_bytes: int
    accuracy: float
    test_images: int


@dataclass(frozen=True, slots=True)
class Measurement:
    """One figure of the resource profile.

    Args:
        name: What was measured, for example "latency_ms".
        value: The figure; where there are samples, their median.
        unit: Its unit, for example "ms"; empty for a fraction or a count.
        method: How it was obtained, for people.
        machine: On which machine, for example "x86_64, 2 cores".
        format: Artifact it is of; None for the network as a whole.
        samples: Every sample, where there is more than one.
    """

    name: str
    value: float
    unit: str
    method: str
    machine: str
    format: ArtifactFormat | None = None
    samples: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far training is.

    Args:
        target_index: Target being worked on.
        epoch: Epochs done.
        epochs: Epochs in all.
        loss: Training loss of the last epoch.
        accuracy: Top-1 accuracy on the validation split, 0 to 1.
        eta_seconds: Estimated seconds until training ends.
    """

    target_index: int
    epoch: int
    epochs: int
    loss: float
    accuracy: float
    eta_seconds: float


@dataclass(frozen=True, slots=True)
class SearchCandidate:
    """A plan that a search looked at.

    Args:
        origin: How it was drawn, for people: "uniform", "flops, seed 3, temperature 0.5, at least 8 wide".
        plan: Digest of the plan, hexadecimal.
        parameters: Predicted weights.
        macs: Predicted multiply-accumulates.
        missed: Limits that its prediction does not keep; such a candidate is not ranked.
        scores: Scores of its untrained network by proxy ("synflow", "zico", "naswot"); the higher, the better.
        rank: Mean of its ranks under all proxies, 1 for the best; None if it was not ranked.
        measured_fits: Whether its untrained export kept the measured limits; None if it was not exported.
        validation_accuracy: Top-1 accuracy after the brief training, 0 to 1; None if it had none.
        chosen: Whether it was trained in full.
    """

    origin: str
    plan: str
    parameters: int
    macs: int
    missed: tuple[Resource, ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    rank: float | None = None
    measured_fits: bool | None = None
    validation_accuracy: float | None = None
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class TargetReport:
    """How one target came out.

    Args:
        target_index: Index into the job's targets.
        plan: Plan of the (nearest) network; None if not even planning got to one.
        unpruned_cost: Predicted cost of the unpruned network.
        compliance: Every limit: asked, achieved, method.
        artifacts: Stored files; empty if nothing was trained.
        measurements: The resource profile.
        message: One sentence for people; names the binding limit when one is missed.
        plans_tried: Plans tried, counting those tightened after a measurement.
        candidates: Everything that a search looked at, the chosen plan included, best first; empty if there was none.
    """

    target_index: int
    plan: Plan | None
    unpruned_cost: Cost
    compliance: tuple[Compliance, ...]
    artifacts: tuple[ArtifactReport, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    message: str = ""
    plans_tried: int = 1
    candidates: tuple[SearchCandidate, ...] = ()

    @property
    def device_file(self) -> ArtifactReport:
        """The file that goes onto the device: int8 where there is one. Raises IndexError if nothing was trained."""
        return next((file for file in self.artifacts if file.format is ArtifactFormat.LITERT_INT8), self.artifacts[0])

    @property
    def met(self) -> bool:
        """Whether there is a model and it keeps every limit."""
        return bool(self.artifacts) and all(limit.met for limit in self.compliance)
