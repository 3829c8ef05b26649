"""Statistics of batch normalisations for a network whose weights were taken from another one."""

from __future__ import annotations

from typing import Final

import keras
import numpy as np
from numpy.typing import NDArray

_BATCH: Final = 64


def recalibrate(model: keras.Model, images: NDArray[np.float32]) -> None:
    """Gives every batch normalisation the mean statistics of some images; nothing is trained.

    Inherited statistics are those of a network with all channels, and tell little about how good the pruned one can get
    (EagleEye, Li et al. 2020).

    Args:
        model: Network to change in place.
        images: Training images, shape (n, rows, columns, channels); what a last batch would leave over is not looked at.
    """
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in layers]
    batches = [images[start : start + _BATCH] for start in range(0, max(1, len(images) - _BATCH + 1), _BATCH)]
    for number, batch in enumerate(batches if layers else []):
        for layer in layers:
            layer.momentum = number / (number + 1)  # so that the moving average is the mean of all batches
        model(batch, training=True)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
