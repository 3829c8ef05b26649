"""Statistics of batch normalisations: of what a network is now, not of what it was long ago."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import keras
import numpy as np
from numpy.typing import NDArray

_BATCH: Final = 64
_LEAST_STEPS: Final = 10


def recalibrate(model: keras.Model, images: NDArray[np.float32]) -> None:
    """Gives every batch normalisation the mean statistics of some images; nothing is trained.

    Inherited statistics are those of a network with all channels, and tell little about how good the pruned one can get
    (EagleEye, Li et al. 2020).

    Args:
        model: Network to change in place.
        images: Training images, shape (n, rows, columns, channels); what a last batch would leave over is not looked at.
    """
    layers = _normalisations(model)
    batches = [images[start : start + _BATCH] for start in range(0, max(1, len(images) - _BATCH + 1), _BATCH)]
    with _own_momenta(layers):
        for number, batch in enumerate(batches if layers else []):
            for layer in layers:
                layer.momentum = number / (number + 1)  # so that the moving average is the mean of all batches
            model(batch, training=True)


@contextmanager
def statistics_over(model: keras.Model, steps: int) -> Iterator[None]:
    """Has every batch normalisation average over at most so many steps.

    Keras's momentum of 0.99 remembers a hundred. A training of few steps would end with the statistics of a network that had
    hardly learned anything, and be much worse on the validation split than it is.

    Args:
        model: Changed in place until the block ends.
        steps: At least 1; less than a few make the statistics noisy, so that no fewer than `_LEAST_STEPS` are taken.
    """
    layers = _normalisations(model)
    with _own_momenta(layers):
        for layer in layers:
            layer.momentum = min(layer.momentum, 1 - 1 / max(steps, _LEAST_STEPS))
        yield


@contextmanager
def _own_momenta(layers: list[keras.layers.BatchNormalization]) -> Iterator[None]:
    momenta = [layer.momentum for layer in layers]
    try:
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum


def _normalisations(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    return [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
