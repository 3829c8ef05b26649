"""What a job is asked to do: targets, planning policy, recipe and their digest."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from secateur.core.resources import Budget
from secateur.core.serial import digest_of, to_data


class PlanMode(StrEnum):
    """How the planner decides where to cut: by a resource (seed A, section 3), or as the baselines that it has to beat.

    DEVICE looks at every limit that does not hold yet, PARAMETERS, FLOPS, MEMORY (Eq. 5 reading b) and ACTIVATION (Eq. 5
    reading a) at one resource. UNIFORM narrows all groups alike; STOCK takes a smaller network of the same family.
    """

    DEVICE = "device"
    PARAMETERS = "parameters"
    FLOPS = "flops"
    MEMORY = "memory"
    ACTIVATION = "activation"
    UNIFORM = "uniform"
    STOCK = "stock"


@dataclass(frozen=True, slots=True)
class PlanPolicy:
    """How to plan.

    Args:
        mode: How to decide where to cut.
        step: Share of a group's channels that one step removes, in (0, 1); the paper's k.
        round_to: Kept widths are multiples of this where the group is wide enough.
        min_width: Smallest width of any group.
    """

    mode: PlanMode = PlanMode.DEVICE
    step: float = 0.1
    round_to: int = 1
    min_width: int = 4


@dataclass(frozen=True, slots=True)
class Target:
    """A device class and what the model may cost there.

    Args:
        device_profile: Id of a device profile, for example "stm32f746"; None for none.
        budget: Limits beside those of the profile; None for none.
    """

    device_profile: str | None = None
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


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What is done to every training image, at random; all of it leaves the class as it is.

    Args:
        flip: Mirror it, left to right.
        crop: Shift it by up to so many pixels.
        cutout: Blank a square with sides of so many pixels.
    """

    flip: bool = False
    crop: int = 0
    cutout: int = 0


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train, every value filled in. Made by `secateur.core.recipes.resolve`.

    Args:
        name: Recipe it came from.
        epochs: Passes over the training split.
        batch_size: Images per step.
        learning_rate: Peak learning rate.
        weight_decay: Decoupled weight decay.
        label_smoothing: Share of the target probability spread over all classes.
        validation_fraction: Share of the training images kept for validation.
        optimizer: What moves the weights.
        schedule: How the learning rate moves.
        augmentation: What is done to training images.
        average_epochs: Weights are averaged over about so many epochs (an exponential moving average); 0 for none.
        distillation: Weight of the unpruned network's answers in the loss, in [0, 1]; 0 for none.
        patience: Training ends once the validation loss has not sunk for so many epochs; 0 for never.
        mixed_precision: Compute in bfloat16 where the hardware is made for it.
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


@dataclass(frozen=True, slots=True)
class JobSpec:
    """The work of a job: everything that decides its result.

    Args:
        architecture: Digest of the layer graph, 64 hexadecimal characters.
        dataset: Id of the data set, for example "digits".
        targets: One model is made for each.
        recipe: How to train.
        policy: How to plan.
        seed: Seed of planner, initialisation, splits and shuffling; below 2**32.
    """

    architecture: str
    dataset: str
    targets: tuple[Target, ...]
    recipe: Recipe
    policy: PlanPolicy = field(default_factory=PlanPolicy)
    seed: int = 0

    def work_key(self, toolchain: str) -> str:
        """Returns the digest under which identical work is recognised.

        Args:
            toolchain: Versions that may change the result, for example "secateur 0.1.0".
        """
        return digest_of({"spec": to_data(self), "toolchain": toolchain})
