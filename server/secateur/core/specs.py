"""What a job is asked to do: targets, planning policy, recipe and their digest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from secateur.core import devices
from secateur.core.devices import DeviceProfile
from secateur.core.errors import InvalidArgument
from secateur.core.graph import Residual
from secateur.core.resources import Budget
from secateur.core.serial import digest_of, read_older, to_data

MAX_EPOCHS: Final = 10_000
"""Most epochs of one training."""


class PlanMode(StrEnum):
    """How the planner decides where to cut: by a resource (seed A, section 3), or as the baselines that it has to beat.

    DEVICE looks at every limit that does not hold yet, PARAMETERS, FLOPS, MEMORY (Eq. 5 reading b) and ACTIVATION (Eq. 5
    reading a) at one resource. UNIFORM narrows all groups alike; STOCK takes a smaller network of the same family. HYBRID
    takes away depth and width together and keeps the weights of what stays (seed B).
    """

    DEVICE = "device"
    PARAMETERS = "parameters"
    FLOPS = "flops"
    MEMORY = "memory"
    ACTIVATION = "activation"
    UNIFORM = "uniform"
    STOCK = "stock"
    HYBRID = "hybrid"


class Criterion(StrEnum):
    """What makes a channel worth keeping.

    WEIGHT_L1 and WEIGHT_L2 take the norm of its filter, BATCH_NORM_SCALE the size of its normalisation's scale (network
    slimming), FEATURE_MAP_RANK the average rank of its feature map (HRank), RANDOM nothing at all.
    """

    WEIGHT_L1 = "weight_l1"
    WEIGHT_L2 = "weight_l2"
    BATCH_NORM_SCALE = "batch_norm_scale"
    FEATURE_MAP_RANK = "feature_map_rank"
    RANDOM = "random"


class Order(StrEnum):
    """What a hybrid plan cuts first. The second step sees what the first has left, and lands on the budget.

    LAYERS_FIRST scores blocks by all of their channels, then widens what is left as far as the budget allows. CHANNELS_FIRST
    scores blocks by the channels that stay, then takes back blocks, the best first, as far as the budget allows.
    """

    LAYERS_FIRST = "layers_first"
    CHANNELS_FIRST = "channels_first"


@dataclass(frozen=True, slots=True)
class HybridPolicy:
    """How mode HYBRID decides what stays.

    Args:
        criterion: What makes channels and blocks worth keeping. It needs trained weights, so a quote, which has none, draws
            them at random instead.
        order: What is cut first.
        alpha: Base of depth, from 1 (channels only) to 2 (layers only), see `planning.hybrid`. None lets the job try several
            and keep the one whose inherited network does best on the validation split before fine-tuning; with several
            rounds it means 1.
        rounds: Times of scoring, cutting and fine-tuning on the way to the budget. 1 is the one shot of seed B; more, with
            channels only, the conventional pipeline that one-shot methods are held against. 1 to 20.

    Raises:
        InvalidArgument: POLICY_INVALID, if a value is out of range, or several rounds are to drop layers.
    """

    criterion: Criterion = Criterion.WEIGHT_L1
    order: Order = Order.LAYERS_FIRST
    alpha: float | None = None
    rounds: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.rounds <= 20:
            raise InvalidArgument(
                "POLICY_INVALID", f"rounds lies between 1 and 20. Received: {self.rounds}", field="policy.hybrid.rounds"
            )
        if self.rounds > 1:
            if self.alpha not in (None, 1):
                raise InvalidArgument(
                    "POLICY_INVALID",
                    f"Several rounds cut channels only: leave alpha out or take 1. Received: alpha={self.alpha}",
                    field="policy.hybrid.alpha",
                )
            object.__setattr__(self, "alpha", 1.0)
        if self.alpha is not None and not 1 <= self.alpha <= 2:
            raise InvalidArgument(
                "POLICY_INVALID", f"alpha lies between 1 and 2. Received: {self.alpha}", field="policy.hybrid.alpha"
            )


@dataclass(frozen=True, slots=True)
class SearchPolicy:
    """How many plans are looked at before one is trained in full.

    Args:
        candidates: Plans drawn; those that keep every limit are ranked without training. 2 to 1,000.
        finalists: Best-ranked plans that are trained briefly. 1 to 16; with one, the ranking alone decides.
        brief_epochs: Epochs of that training. 1 to 100.

    Raises:
        InvalidArgument: POLICY_INVALID, if a value is out of range.
    """

    candidates: int = 200
    finalists: int = 4
    brief_epochs: int = 3

    def __post_init__(self) -> None:
        for name, least, most in (("candidates", 2, 1_000), ("finalists", 1, 16), ("brief_epochs", 1, 100)):
            if not least <= getattr(self, name) <= most:
                raise InvalidArgument(
                    "POLICY_INVALID",
                    f"{name} lies between {least} and {most:,}. Received: {getattr(self, name)}",
                    field=f"policy.search.{name}",
                )


_OF_THE_PAPER: Final = (PlanMode.PARAMETERS, PlanMode.FLOPS, PlanMode.MEMORY, PlanMode.ACTIVATION)


@dataclass(frozen=True, slots=True)
class PlanPolicy:
    """How to plan.

    Args:
        mode: How to decide where to cut.
        step: Share of a group's channels that one step removes, in (0, 1); the paper's k.
        round_to: Kept widths are multiples of this where the group is wide enough.
        min_width: Smallest width of any group.
        residual: Whether the widths of residual streams stay or shrink as well.
        temperature: Groups are drawn with a probability in proportion to their share to this power: 1 is the paper, 0 draws all
            alike. 0 to 4.
        hybrid: How mode HYBRID decides what stays; other modes do not look at it.
        search: Draw many plans and choose among them; None makes one plan. Not for the modes STOCK, UNIFORM and HYBRID, which
            draw nothing.
        literal: Follow the paper's Algorithm 1 to the letter: groups may shrink to one channel, `round_to` and `min_width` are
            not looked at, and the last step is not given back where it overshoots. For the modes PARAMETERS, FLOPS, MEMORY and
            ACTIVATION.

    Raises:
        InvalidArgument: POLICY_INVALID, if the temperature is out of range, or the mode cannot be searched or taken literally.
    """

    mode: PlanMode = PlanMode.DEVICE
    step: float = 0.1
    round_to: int = 1
    min_width: int = 4
    residual: Residual = Residual.SKIP
    temperature: float = 1.0
    hybrid: HybridPolicy = field(default_factory=HybridPolicy)
    search: SearchPolicy | None = None
    literal: bool = False

    def __post_init__(self) -> None:
        if self.literal and (self.mode not in _OF_THE_PAPER or self.search):
            raise InvalidArgument(
                "POLICY_INVALID",
                f"The paper's algorithm has the modes {', '.join(_OF_THE_PAPER)} and no search. "
                f"Received: literal with mode {self.mode}{' and a search' if self.search else ''}",
                field="policy.literal",
            )
        if not 0 <= self.temperature <= 4:
            raise InvalidArgument(
                "POLICY_INVALID",
                f"The temperature lies between 0 and 4. Received: {self.temperature}",
                field="policy.temperature",
            )
        if self.search and self.mode in (PlanMode.STOCK, PlanMode.UNIFORM, PlanMode.HYBRID):
            raise InvalidArgument(
                "POLICY_INVALID",
                f"A search draws many plans, which mode {self.mode} does not; take another mode or leave the search out. "
                f"Received: search with mode {self.mode}",
                field="policy.search",
            )


@dataclass(frozen=True, slots=True)
class Target:
    """A device class and what the model may cost there.

    Args:
        device_profile: The whole profile, so that the work needs no look-up and is other work once a figure differs; None for
            none.
        budget: Limits beside those of the profile; None for none.
    """

    device_profile: DeviceProfile | None = None
    budget: Budget | None = None


class OptimizerKind(StrEnum):
    """SGD is Nesterov's, with momentum 0.9."""

    SGD = "sgd"
    RMSPROP = "rmsprop"


class Schedule(StrEnum):
    """How the learning rate moves: up a line and down a cosine, down a cosine, or not at all."""

    ONE_CYCLE = "one_cycle"
    COSINE = "cosine"
    CONSTANT = "constant"


class ScratchBudget(StrEnum):
    """What a pruned network that is trained from scratch may take (Liu et al., arXiv 1810.05270).

    EPOCHS is their Scratch-E: as many epochs as the unpruned network. COMPUTE is their Scratch-B: as many FLOPs, so in
    proportion more epochs.
    """

    EPOCHS = "epochs"
    COMPUTE = "compute"


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What is done to every training image, at random; all of it leaves the class as it is.

    Args:
        flip: Mirror it, left to right.
        crop: Shift it by up to so many pixels. 0 to 64.
        cutout: Blank a square with sides of so many pixels. 0 to 256.

    Raises:
        InvalidArgument: RECIPE_INVALID, if a value is out of range.
    """

    flip: bool = False
    crop: int = 0
    cutout: int = 0

    def __post_init__(self) -> None:
        _check_bounds(self, "recipe.augmentation", {"crop": (0, 64), "cutout": (0, 256)})


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train, every value filled in. Made by `secateur.core.recipes.resolve`.

    Args:
        name: Recipe it came from.
        epochs: Passes over the training split. 1 to 10,000.
        batch_size: Images per step. 1 to 8,192.
        learning_rate: Peak learning rate, from 1e-8 to 10.
        weight_decay: Decoupled weight decay. 0 to 1.
        label_smoothing: Share of the target probability spread over all classes. 0 to 0.9.
        validation_fraction: Share of the training images kept for validation. 0.01 to 0.5.
        optimizer: What moves the weights.
        schedule: How the learning rate moves.
        augmentation: What is done to training images.
        average_epochs: Weights are averaged over about so many epochs (an exponential moving average); 0 for none. 0 to 100.
        distillation: Weight of the unpruned network's answers in the loss; 0 for none. 0 to 1.
        patience: Training ends once the validation loss has not sunk for so many epochs; 0 for never. 0 to 10,000.
        mixed_precision: Compute in bfloat16 where the hardware is made for it.
        scratch: Whether a pruned network gets the epochs or the FLOPs that the unpruned one would.

    Raises:
        InvalidArgument: RECIPE_INVALID, if a value is out of range.
    """

    name: str
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    label_smoothing: float
    validation_fraction: float
    optimizer: OptimizerKind = OptimizerKind.SGD
    schedule: Schedule = Schedule.ONE_CYCLE
    augmentation: Augmentation = field(default_factory=Augmentation)
    average_epochs: float = 0.0
    distillation: float = 0.0
    patience: int = 0
    mixed_precision: bool = False
    scratch: ScratchBudget = ScratchBudget.EPOCHS

    def __post_init__(self) -> None:
        _check_bounds(self, "recipe", _RECIPE_BOUNDS)


_RECIPE_BOUNDS: Final = {
    "epochs": (1, MAX_EPOCHS),
    "batch_size": (1, 8_192),
    "learning_rate": (1e-8, 10),
    "weight_decay": (0, 1),
    "label_smoothing": (0, 0.9),
    "validation_fraction": (0.01, 0.5),
    "average_epochs": (0, 100),
    "distillation": (0, 1),
    "patience": (0, MAX_EPOCHS),
}


def _check_bounds(values: object, field: str, bounds: Mapping[str, tuple[float, float]]) -> None:
    for name, (least, most) in bounds.items():
        value = getattr(values, name)
        if not least <= value <= most:  # also refuses what is not a number
            raise InvalidArgument(
                "RECIPE_INVALID", f"{name} lies between {least:g} and {most:,}. Received: {value}", field=f"{field}.{name}"
            )


@dataclass(frozen=True, slots=True)
class JobSpec:
    """The work of a job: everything that decides its result.

    Args:
        architecture: Digest of the layer graph, 64 hexadecimal characters.
        dataset: What is trained on: the id of a registered data set, for example "digits", or the content of an uploaded one,
            see `secateur.core.datasets.content`.
        targets: One model is made for each.
        recipe: How to train.
        policy: How to plan.
        seed: Seed of planner, initialisation, splits and shuffling; below 2**32.
        dataset_id: What the project of the job calls an uploaded data set; empty for a registered one.
    """

    architecture: str
    dataset: str
    targets: tuple[Target, ...]
    recipe: Recipe
    policy: PlanPolicy = field(default_factory=PlanPolicy)
    seed: int = 0
    dataset_id: str = ""

    def work_key(self, toolchain: str) -> str:
        """Returns the digest under which identical work is recognised.

        Args:
            toolchain: Versions that may change the result, for example "secateur 0.1.0".
        """
        return digest_of({"spec": to_data(self), "toolchain": toolchain})


def _profile_of_today(data: Any) -> Any:
    # Specs once named a built-in profile by its id.
    return to_data(devices.get(data)) if isinstance(data, str) else data


read_older(DeviceProfile, _profile_of_today)
