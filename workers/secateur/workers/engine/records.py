"""What a training tells of itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Epoch:
    """One finished epoch.

    Args:
        number: Epochs done, from 1.
        of: Epochs in all.
        steps: Steps in an epoch.
        loss: Mean training loss.
        accuracy: Top-1 accuracy on the validation split, 0 to 1.
        validation_loss: Mean loss on the validation split.
        learning_rate: Learning rate of its last step.
        images_per_second: Training images per second, validation left out.
        seconds: Wall time, validation included.
        eta_seconds: Estimated seconds until training ends.
    """

    number: int
    of: int
    steps: int
    loss: float
    accuracy: float
    validation_loss: float
    learning_rate: float
    images_per_second: float
    seconds: float
    eta_seconds: float


@dataclass(frozen=True, slots=True)
class Step:
    """A step within an epoch.

    Args:
        number: Steps of this epoch that are done, from 1.
        of: Steps in an epoch.
        epochs: Epochs in all.
        loss: Mean training loss of the epoch so far.
        images_per_second: Training images per second since the epoch began.
        learning_rate: Learning rate of the step.
        eta_seconds: Estimated seconds until training ends.
        before: The last epoch that is finished; None within the first.
    """

    number: int
    of: int
    epochs: int
    loss: float
    images_per_second: float
    learning_rate: float
    eta_seconds: float
    before: Epoch | None


@dataclass(frozen=True, slots=True)
class Training:
    """A finished training.

    Args:
        epochs: Every epoch in order.
        best: The epoch whose weights the model now has.
        restarts: How often it started over at a lower learning rate.
    """

    epochs: tuple[Epoch, ...]
    best: Epoch
    restarts: int = 0

    @property
    def seconds(self) -> float:
        """Wall time of all epochs, compilation and validation included, also of those before an interruption."""
        return sum(epoch.seconds for epoch in self.epochs)
