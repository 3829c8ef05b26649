"""Training: Nesterov SGD under a one-cycle schedule, the best epoch on the validation split kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import keras
import numpy as np

from secateur.core.errors import FailedPrecondition
from secateur.core.specs import Recipe
from secateur.workers.engine.datasets import Data, Split

_WARM_UP: Final = 0.15
"""Share of the steps in which the learning rate rises to its peak; it falls along a cosine for the rest."""
_MOMENTUM: Final = 0.9
_NOT_DECAYED: Final = ("bias", "gamma", "beta")
"""Weight decay shrinks kernels only: offsets and batch-norm scales do not overfit, and decaying them costs accuracy."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """One finished epoch.

    Args:
        number: Epochs done, from 1.
        of: Epochs in all.
        loss: Mean training loss.
        accuracy: Top-1 accuracy on the validation split, 0 to 1.
        validation_loss: Mean loss on the validation split.
        eta_seconds: Estimated seconds until training ends.
    """

    number: int
    of: int
    loss: float
    accuracy: float
    validation_loss: float
    eta_seconds: float


@dataclass(frozen=True, slots=True)
class Training:
    """A finished training.

    Args:
        epochs: Every epoch in order.
        best: The epoch whose weights the model now has.
        seconds: Wall time, compilation included.
    """

    epochs: tuple[Epoch, ...]
    best: Epoch
    seconds: float


def train(
    model: keras.Model,
    data: Data,
    recipe: Recipe,
    *,
    seed: int,
    probabilities: bool = False,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
) -> Training:
    """Trains the model in place and leaves it with the weights of its best epoch on the validation split.

    The test split is not looked at. On one machine the same model, data, recipe and seed give the same result.

    Args:
        model: Freshly built; input (n, height, width, channels), output (n, classes).
        data: Splits with images in [0, 1].
        recipe: How to train.
        seed: Seed of shuffling and of layers that draw numbers, below 2**32.
        probabilities: Whether the model returns probabilities instead of logits.
        on_epoch: Called after every epoch; what it raises ends the training.

    Raises:
        FailedPrecondition: TRAINING_DIVERGED, if the loss is no longer a finite number.
    """
    keras.utils.set_random_seed(seed)
    model.compile(
        optimizer=_optimizer(model, recipe),
        loss=keras.losses.CategoricalCrossentropy(from_logits=not probabilities, label_smoothing=recipe.label_smoothing),
        # Not just "accuracy": that would create its variables in the first step; see `_optimizer`.
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        # On a CPU, XLA takes longer to compile a small network than the whole training does without it.
        jit_compile=bool(keras.distribution.list_devices("gpu")),
    )
    steps = recipe.epochs * math.ceil(len(data.train) / recipe.batch_size)
    keeper = _BestEpoch(recipe.epochs, on_epoch)
    classes = model.output_shape[-1]
    start = time.perf_counter()
    model.fit(
        data.train.images,
        _one_hot(data.train, classes),
        batch_size=recipe.batch_size,
        epochs=recipe.epochs,
        validation_data=(data.validation.images, _one_hot(data.validation, classes)),
        validation_batch_size=max(recipe.batch_size, 256),
        callbacks=[_OneCycle(recipe.learning_rate, steps), keeper],
        verbose=0,
    )
    best = keeper.restore()
    return Training(tuple(keeper.epochs), best, time.perf_counter() - start)


def _optimizer(model: keras.Model, recipe: Recipe) -> Any:
    optimizer = keras.optimizers.SGD(recipe.learning_rate, momentum=_MOMENTUM, nesterov=True, weight_decay=recipe.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=_NOT_DECAYED)
    # TensorFlow traces a step that creates variables twice, which takes seconds for a deep network. So none may.
    optimizer.build(model.trainable_variables)
    return optimizer


def _one_hot(split: Split, classes: int) -> Any:
    return np.eye(classes, dtype=np.float32)[split.labels]


class _OneCycle(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    """Moves the learning rate up a line and down a cosine (Smith & Topin, arXiv 1708.07120).

    A callback and not a `LearningRateSchedule`, which Keras builds into the graph once per variable: for ResNet-20, two
    seconds of tracing and a hundred small operations in every step.
    """

    def __init__(self, peak: float, steps: int) -> None:
        super().__init__()
        self._peak = peak
        self._steps = steps
        self._rising = max(1, round(_WARM_UP * steps))
        self._step = 0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002 -- Keras's signature
        self._step += 1
        self.model.optimizer.learning_rate = self._peak * self._share(self._step)

    def _share(self, step: int) -> float:
        if step <= self._rising:
            return step / self._rising
        return (1 + math.cos(math.pi * (step - self._rising) / (self._steps - self._rising))) / 2


class _BestEpoch(keras.callbacks.Callback):  # type: ignore[misc]
    """Reports every epoch and remembers the weights of the best: the one with the lowest validation loss.

    Not the one with the highest validation accuracy: that of a small split takes few values, and its maximum is often luck.
    """

    def __init__(self, epochs: int, on_epoch: Callable[[Epoch], None]) -> None:
        super().__init__()
        self.epochs: list[Epoch] = []
        self._of = epochs
        self._on_epoch = on_epoch
        self._seconds: list[float] = []
        self._started = 0.0
        self._best: tuple[Epoch, list[Any]] | None = None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002 -- Keras's signature
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        if not self.epochs and batch == 0:  # the first step compiled the rest
            self._started = time.perf_counter()

    def on_test_begin(self, logs: Any = None) -> None:  # noqa: ARG002
        if not self.epochs:  # the first validation compiles, too
            self._seconds.append(time.perf_counter() - self._started)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if not math.isfinite(logs["loss"]):
            raise FailedPrecondition(
                "TRAINING_DIVERGED",
                f"The training loss stopped being a finite number in epoch {epoch + 1}; lower the learning rate. "
                f"Received: loss={logs['loss']}",
                field="recipe.learning_rate",
            )
        if self.epochs:
            self._seconds.append(time.perf_counter() - self._started)
        typical = float(np.median(self._seconds))
        done = epoch + 1
        finished = Epoch(
            number=done,
            of=self._of,
            loss=float(logs["loss"]),
            accuracy=float(logs["val_accuracy"]),
            validation_loss=float(logs["val_loss"]),
            eta_seconds=typical * (self._of - done),
        )
        self.epochs.append(finished)
        if self._best is None or finished.validation_loss < self._best[0].validation_loss:
            self._best = (finished, self.model.get_weights())
        self._on_epoch(finished)

    def restore(self) -> Epoch:
        """Gives the model the weights of the best epoch and returns that epoch."""
        assert self._best is not None, "a training has at least one epoch"
        epoch, weights = self._best
        self.model.set_weights(weights)
        return epoch
