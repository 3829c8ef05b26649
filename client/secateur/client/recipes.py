"""How to train: what the caller asks for, and what a job shows."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from secateur.client.datasets import Augmentation


@dataclass(frozen=True, slots=True)
class Recipe:
    """A training recipe by name, and what to override of it. None is the recipe's own value; a job shows them all filled in.

    Args:
        name: "fast" (Nesterov SGD, one cycle, 30 epochs), "strong" (200 epochs down a cosine, taught by the unpruned network),
            "finetune" (half the epochs and half the rate of "fast") or "paper" (RMSprop at a constant rate, 150 epochs); empty
            for "fast".
        epochs: Passes over the training split. 1 to 10,000.
        batch_size: Images per step. 1 to 8,192.
        learning_rate: Peak learning rate, from 1e-8 to 10.
        weight_decay: Decoupled weight decay. 0 to 1.
        label_smoothing: Share of the target probability that is spread over all classes. 0 to 0.9.
        validation_fraction: Share of the training images that is kept for validation. 0.01 to 0.5.
        optimizer: What moves the weights: "sgd" (with Nesterov momentum) or "rmsprop".
        schedule: How the learning rate moves: "one_cycle", "cosine" or "constant".
        augmentation: What is done to training images; what is None in it is what the data set allows, or nothing with "paper".
        average_epochs: Weights are averaged over about so many epochs; 0 for none. 0 to 100.
        distillation: Weight of the unpruned network's answers in the loss; 0 for none. 0 to 1.
        patience: Training ends once the validation loss has not sunk for so many epochs; 0 for never. 0 to 10,000.
        mixed_precision: Whether to compute in bfloat16 where the hardware is made for it.
        scratch: Whether a pruned network that is trained from scratch gets the "epochs" of the unpruned one, or its "compute",
            which is more epochs.
    """

    name: str = ""
    _: KW_ONLY
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    label_smoothing: float | None = None
    validation_fraction: float | None = None
    optimizer: str | None = None
    schedule: str | None = None
    augmentation: Augmentation | None = None
    average_epochs: float | None = None
    distillation: float | None = None
    patience: int | None = None
    mixed_precision: bool | None = None
    scratch: str | None = None
