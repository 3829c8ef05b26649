"""Optimizers whose learning rate follows a schedule, worked out once per step on the device.

Keras's own schedules are evaluated once per variable and step: two seconds of tracing and a hundred small operations for
ResNet-20. A callback that sets the rate before each step does nothing under JAX, whose steps carry their state along.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import keras
from keras import ops

from secateur.core.specs import OptimizerKind, Recipe, Schedule

WARM_UP: Final = 0.15
"""Share of the steps in which a one-cycle schedule rises to its peak; it falls along a cosine for the rest."""
_MOMENTUM: Final = 0.9
_NOT_DECAYED: Final = ("bias", "gamma", "beta")
"""Weight decay shrinks kernels only: offsets and batch-norm scales do not overfit, and decaying them costs accuracy."""


def optimizer_of(recipe: Recipe, learning_rate: float, *, steps: int, average_steps: int) -> keras.optimizers.Optimizer:
    """Makes the optimizer of a recipe.

    Args:
        recipe: How to train.
        learning_rate: Its peak.
        steps: Steps of the whole training.
        average_steps: Steps over which weights are averaged, where the recipe averages them.
    """
    options: dict[str, Any] = {"name": "optimizer", "weight_decay": recipe.weight_decay or None}
    if recipe.average_epochs:
        options |= {"use_ema": True, "ema_momentum": 1 - 1 / max(2, average_steps)}
    schedule = _SHAPES[recipe.schedule](steps)
    match recipe.optimizer:
        case OptimizerKind.SGD:
            optimizer = _ScheduledSGD(learning_rate, momentum=_MOMENTUM, nesterov=True, **options)
        case OptimizerKind.RMSPROP:
            optimizer = _ScheduledRMSprop(learning_rate, **options)
    optimizer.rate = lambda step: learning_rate * schedule(step)
    if recipe.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=_NOT_DECAYED)
    return optimizer


class _Scheduled:
    """Sets the learning rate as the first thing of every step."""

    rate: Callable[[Any], Any]

    def apply(self: Any, grads: Any, trainable_variables: Any = None) -> Any:
        self.learning_rate = self.rate(ops.cast(self.iterations, "float32") + 1)
        return super().apply(grads, trainable_variables)  # type: ignore[misc]  # of the Keras optimizer beside it


class _ScheduledSGD(_Scheduled, keras.optimizers.SGD):  # type: ignore[misc]  # Keras ships no types
    pass


class _ScheduledRMSprop(_Scheduled, keras.optimizers.RMSprop):  # type: ignore[misc]
    pass


def _one_cycle(steps: int) -> Callable[[Any], Any]:
    """Up a line and down a cosine (Smith & Topin, arXiv 1708.07120)."""
    rising = max(1, round(WARM_UP * steps))
    falling = max(1, steps - rising)
    return lambda step: ops.where(step <= rising, step / rising, _cosine_at((step - rising) / falling))


def _cosine(steps: int) -> Callable[[Any], Any]:
    """Down a cosine (Loshchilov & Hutter, arXiv 1608.03983), without restarts."""
    return lambda step: _cosine_at((step - 1) / steps)


def _constant(_steps: int) -> Callable[[Any], Any]:
    return lambda step: ops.ones_like(step)


def _cosine_at(share: Any) -> Any:
    return (1 + ops.cos(math.pi * share)) / 2


_SHAPES: Final[dict[Schedule, Callable[[int], Callable[[Any], Any]]]] = {
    Schedule.ONE_CYCLE: _one_cycle,
    Schedule.COSINE: _cosine,
    Schedule.CONSTANT: _constant,
}
