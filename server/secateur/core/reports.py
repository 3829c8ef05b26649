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

LATENCY_MS: Final = "latency_ms"
"""Measurement that tells the time of one inference on the machine that measured."""


class ArtifactFormat(StrEnum):
    """Format of a file that a model is delivered as.

    LITERT_* are LiteRT flatbuffers: float32, float32 whose weights are stored as float16, full integer. TFLM_SOURCE is the int8
    file as a C++ header for TensorFlow Lite Micro, KERAS the trained model itself.
    """

    LITERT_FLOAT32 = "litert-float32"
    LITERT_FLOAT16 = "litert-float16"
    LITERT_INT8 = "litert-int8"
    TFLM_SOURCE = "tflm-source"
    KERAS = "keras"


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
class OperatorTime:
    """What one operator of a file takes.

    Args:
        operator: Its name in the file format, for example "CONV_2D".
        layer: Layer of the network that it carries out, the last one where several are folded into it; empty if unknown.
        output_shape: Shape of the tensor that it writes, batch included.
        milliseconds: Median time of one run.
    """

    operator: str
    layer: str
    output_shape: tuple[int, ...]
    milliseconds: float


@dataclass(frozen=True, slots=True)
class OperatorProfile:
    """Where the time of an inference goes.

    Args:
        format: Artifact that was profiled.
        method: How the times were obtained, for people.
        machine: On which machine.
        operators: Every operator in execution order.
    """

    format: ArtifactFormat
    method: str
    machine: str
    operators: tuple[OperatorTime, ...]


@dataclass(frozen=True, slots=True)
class Tightening:
    """A limit that was lowered because a measurement missed it.

    Args:
        resource: What was missed.
        limit: What the next plan had to keep, so that its measurement keeps what was asked.
    """

    resource: Resource
    limit: float


@dataclass(frozen=True, slots=True)
class Attempt:
    """A plan that was tried for a target.

    Args:
        plan: Digest of the plan, hexadecimal.
        trained: Whether it was trained; else its untrained export was measured.
        compliance: How every limit came out for it; one on accuracy only if it was trained.
        tightened: What the next attempt was made to allow for; empty for the last attempt.
    """

    plan: str
    trained: bool
    compliance: tuple[Compliance, ...]
    tightened: tuple[Tightening, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far training is.

    Args:
        target_index: Target being worked on.
        epoch: Epochs done.
        epochs: Epochs in all.
        loss: Training loss of the last epoch; within an epoch, of its steps so far.
        accuracy: Top-1 accuracy on the validation split after the last epoch, 0 to 1.
        eta_seconds: Estimated seconds until training ends.
        step: Steps done of the epoch that has begun; 0 between two epochs.
        steps: Steps in an epoch.
        images_per_second: Training images per second since the epoch began, validation left out.
        validation_loss: Loss on the validation split after the last epoch.
        learning_rate: Learning rate of the last step.
    """

    target_index: int
    epoch: int
    epochs: int
    loss: float
    accuracy: float
    eta_seconds: float
    step: int = 0
    steps: int = 0
    images_per_second: float = 0.0
    validation_loss: float = 0.0
    learning_rate: float = 0.0


@dataclass(frozen=True, slots=True)
class SearchCandidate:
    """A plan that a search looked at.

    Args:
        origin: How it was drawn, for people: "uniform", "flops, seed 3, temperature 0.5, at least 10% of every width".
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
        operator_profiles: Where the time of an inference goes, per LiteRT file.
        attempts: Every plan that was tried, in order; the last is the one reported.
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
    operator_profiles: tuple[OperatorProfile, ...] = ()
    attempts: tuple[Attempt, ...] = ()

    @property
    def device_file(self) -> ArtifactReport:
        """The file that goes onto the device: int8 where there is one. Raises IndexError if nothing was trained."""
        return next((file for file in self.artifacts if file.format is ArtifactFormat.LITERT_INT8), self.artifacts[0])

    @property
    def met(self) -> bool:
        """Whether there is a model and it keeps every limit."""
        return bool(self.artifacts) and all(limit.met for limit in self.compliance)
