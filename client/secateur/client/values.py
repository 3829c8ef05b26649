"""What the service answers, as frozen values.

States, stages, resources and formats are plain strings, so that a newer service can add some: a value that this SDK does
not know reads "UNKNOWN(17)". What is not set is empty or None. Fields are named as in the API; the unit is in the name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar, overload

ModelT = TypeVar("ModelT")


@dataclass(frozen=True, slots=True)
class Limit:
    """One bound on one resource: `value` in the unit of the resource, or `fraction` of the unpruned network's own value."""

    resource: str
    value: float | None = None
    fraction: float | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """What one inference of a network costs, counted from its layer graph.

    Flash and RAM are predictions, for int8 where nothing else is said. Energies are estimates in microjoule: with the constants
    of the paper that the planner follows, and with those of Horowitz (45 nm, 32 bit, weights and outputs in DRAM).
    """

    parameters: int
    macs: int
    flops: int
    weight_bytes: int
    memory_bytes: int
    peak_activation_bytes: int
    flash_bytes: int
    ram_bytes: int
    activation_bytes: int = 0
    flash_float32_bytes: int = 0
    energy_paper_uj: float = 0.0
    energy_horowitz_uj: float = 0.0


@dataclass(frozen=True, slots=True)
class Compliance:
    """How one limit came out. `margin` is the room left as a fraction of the bound, negative when the limit is missed."""

    resource: str
    asked: float
    achieved: float
    margin: float
    met: bool
    method: str
    origin: str


@dataclass(frozen=True, slots=True)
class GroupWidth:
    """Channels that a plan keeps of one channel group."""

    group: str
    width: int
    unpruned_width: int
    indices: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What is kept of a network, and what that is predicted to cost.

    Of a `stock` plan, which has no widths, it is the name of the zoo network that takes the place of the unpruned one.
    `dropped_blocks` are the residual blocks that go, in execution order. A group's `indices` are the channels that stay where
    their weights are inherited; lists leave them empty.
    """

    digest: str
    seed: int
    mode: str
    widths: tuple[GroupWidth, ...]
    cost: Cost
    stock: str = ""
    dropped_blocks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LimitQuote:
    """One limit of a target as predicted, and the smallest value that any plan could reach."""

    resource: str
    asked: float
    unpruned: float
    predicted: float
    smallest_reachable: float
    met: bool
    origin: str


@dataclass(frozen=True, slots=True)
class TargetQuote:
    """Whether a target can be met, by which plan, and else which limit binds. Nothing is trained for it.

    `unchanged` tells that the unpruned network meets every limit already; a job for such a target is refused.
    """

    feasible: bool
    plan: Plan | None
    limits: tuple[LimitQuote, ...]
    binding_limit: str
    message: str
    unchanged: bool


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """What a network is predicted to cost with `width` of the channels of every group that may be cut."""

    width: float
    cost: Cost


@dataclass(frozen=True, slots=True)
class Quotes(Sequence[TargetQuote]):
    """One quote per target, in their order; beside them the cost of the unpruned network and its budget curve.

    The `curve` goes from the full width down: it shows where budgets lie that can be asked for.
    """

    targets: tuple[TargetQuote, ...]
    unpruned_cost: Cost
    curve: tuple[CurvePoint, ...]

    @overload
    def __getitem__(self, index: int) -> TargetQuote: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[TargetQuote, ...]: ...
    def __getitem__(self, index: int | slice) -> TargetQuote | tuple[TargetQuote, ...]:
        return self.targets[index]

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True, slots=True)
class LayerSummary:
    """One layer of an architecture and its share of the whole."""

    name: str
    op: str
    output_shape: tuple[int, ...]
    parameters: int
    macs: int
    parameters_share: float
    flops_share: float
    memory_share: float
    group: str


@dataclass(frozen=True, slots=True)
class ChannelGroup:
    """Channels that must be cut together; `reason` tells why a group may not be cut."""

    name: str
    width: int
    members: tuple[str, ...]
    prunable: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Architecture:
    """An uploaded layer graph; it never changes. Lists leave `layers` and `groups` empty."""

    name: str
    digest: str
    display_name: str
    input_shape: tuple[int, ...]
    classes: int
    cost: Cost
    layers: tuple[LayerSummary, ...]
    groups: tuple[ChannelGroup, ...]
    create_time: datetime | None


@dataclass(frozen=True, slots=True)
class DeviceProfile:
    """A class of hardware; `usable_` sizes are what a model may take."""

    name: str
    display_name: str
    clock_hz: int
    flash_bytes: int
    ram_bytes: int
    usable_flash_bytes: int
    usable_ram_bytes: int
    macs_per_second: float
    bytes_per_second: float
    seconds_per_operator: float
    runtime: str
    source: str


@dataclass(frozen=True, slots=True)
class HybridPolicy:
    """How mode "hybrid" decides what stays.

    Args:
        criterion: What makes channels and blocks worth keeping: "weight_l1", "weight_l2", "batch_norm_scale",
            "feature_map_rank" or "random". It needs trained weights, so a quote, which has none, draws at random.
        order: What is cut first: "layers_first" or "channels_first".
        alpha: Base of depth, from 1 (channels only) to 2 (layers only). None lets the job try several and keep the best; a
            quote then takes 1.2.
        rounds: Times of scoring, cutting and fine-tuning on the way to the budget. More than one cut channels only: the
            conventional, iterative pipeline.
    """

    criterion: str = "weight_l1"
    order: str = "layers_first"
    alpha: float | None = None
    rounds: int = 1


@dataclass(frozen=True, slots=True)
class SearchPolicy:
    """How many plans a job looks at before it trains one in full.

    Args:
        candidates: Plans drawn, 2 to 1,000; those that keep every limit are ranked without training.
        finalists: Best-ranked plans that are trained briefly, 1 to 16; with one, the ranking alone decides.
        brief_epochs: Epochs of that training, 1 to 100.
    """

    candidates: int = 200
    finalists: int = 4
    brief_epochs: int = 3


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file of a model; `accuracy` is that of this very file on the test split."""

    name: str
    format: str
    size_bytes: int
    sha256: str
    accuracy: float
    test_images: int


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measured figure and how it was obtained; `value` is the median where there are samples."""

    name: str
    value: float
    unit: str
    method: str
    machine: str
    format: str
    samples: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class OperatorTime:
    """What one operator of a file takes; `layer` is the last of those folded into it, empty if unknown."""

    operator: str
    layer: str
    output_shape: tuple[int, ...]
    milliseconds: float


@dataclass(frozen=True, slots=True)
class OperatorProfile:
    """Where the time of an inference goes: every operator of one file in execution order."""

    format: str
    method: str
    machine: str
    operators: tuple[OperatorTime, ...]


@dataclass(frozen=True, slots=True)
class ModelSnapshot:
    """A model as the service keeps it. One that is not `met` is the nearest point of an infeasible target.

    Lists leave `operator_profiles` and the samples of measurements empty.
    """

    name: str
    job: str
    target_index: int
    architecture: str
    dataset: str
    device_profile: str
    plan: Plan
    unpruned_cost: Cost
    artifacts: tuple[Artifact, ...]
    measurements: tuple[Measurement, ...]
    compliance: tuple[Compliance, ...]
    create_time: datetime | None
    met: bool
    operator_profiles: tuple[OperatorProfile, ...]
    delete_time: datetime | None = None
    purge_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Resolution(Generic[ModelT]):
    """The answer to a device: the most accurate model that fits, its file, and every limit of the request against it.

    `etag` changes with the answer; `Client.resolve_if_changed` takes it.
    """

    model: ModelT
    artifact: Artifact
    compliance: tuple[Compliance, ...]
    fitting_models: int
    etag: str
