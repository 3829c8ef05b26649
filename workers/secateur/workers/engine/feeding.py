"""Training images on the device: kept there as bytes, gathered by index, flipped, cropped and cut out inside the step.

A step is fed indices instead of images, so that nothing but a few integers crosses to the device, and the images take a
quarter of what they would as floats.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from secateur.core.specs import Augmentation


class Gather(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """Looks images up by index.

    Args:
        images: Uint8, shape (n, height, width, channels).
    """

    def __init__(self, images: NDArray[np.uint8]) -> None:
        super().__init__(name="gather", dtype="float32")
        self.images = self.add_weight(shape=images.shape, dtype="uint8", trainable=False, initializer="zeros", name="images")
        self.images.assign(images)

    def call(self, indices: Any) -> Any:
        """Returns float32 images of shape (batch, height, width, channels) in [0, 1] for int32 indices of shape (batch,)."""
        return ops.cast(ops.take(self.images, indices, axis=0), "float32") / 255


class Augment(keras.layers.Layer):  # type: ignore[misc]
    """Flips, shifts and partly blanks images, each image on its own; outside of training it passes them on.

    Args:
        augmentation: What is done, and how strongly.
        seed: Seed of all draws.
    """

    def __init__(self, augmentation: Augmentation, *, seed: int) -> None:
        super().__init__(name="augment", dtype="float32")
        self._augmentation = augmentation
        self._seeds = keras.random.SeedGenerator(seed)

    def call(self, images: Any, training: bool = False) -> Any:
        """Returns images of the shape it is given, (batch, height, width, channels)."""
        if not training:
            return images
        if self._augmentation.flip:
            images = self._flipped(images)
        if self._augmentation.crop:
            images = self._shifted(images, self._augmentation.crop)
        if self._augmentation.cutout:
            images = self._blanked(images, self._augmentation.cutout)
        return images

    def _flipped(self, images: Any) -> Any:
        """Mirrors every second image, left to right."""
        coin = keras.random.uniform((ops.shape(images)[0], 1, 1, 1), seed=self._seeds)
        return ops.where(coin < 0.5, ops.flip(images, axis=2), images)

    def _shifted(self, images: Any, most: int) -> Any:
        """Shifts by up to `most` pixels along both sides; what comes in is black. The same as padding and cropping."""
        count, height, width, _ = ops.shape(images)
        padded = ops.pad(images, ((0, 0), (most, most), (most, most), (0, 0)))
        across = self._offsets(count, 2 * most + 1) + ops.arange(width)[None]
        down = self._offsets(count, 2 * most + 1) + ops.arange(height)[None]
        rows = ops.take_along_axis(padded, down[:, :, None, None], axis=1)
        return ops.take_along_axis(rows, across[:, None, :, None], axis=2)

    def _blanked(self, images: Any, side: int) -> Any:
        """Blanks a square of `side` pixels around a point of the image; at the edge part of it falls outside."""
        count, height, width, _ = ops.shape(images)
        inside = [
            ops.abs(2 * (ops.arange(length)[None] - self._offsets(count, length)) + 1 - side % 2) < side
            for length in (height, width)
        ]
        square = ops.logical_and(inside[0][:, :, None, None], inside[1][:, None, :, None])
        return ops.where(square, 0.0, images)

    def _offsets(self, count: Any, bound: Any) -> Any:
        """Draws whole numbers in [0, bound), of shape (count, 1)."""
        return keras.random.randint((count, 1), 0, bound, seed=self._seeds)


def feeder(images: NDArray[np.uint8], augmentation: Augmentation, *, seed: int) -> keras.Model:
    """Builds a model from int32 indices of shape (batch,) to augmented float32 images in [0, 1].

    Args:
        images: The training split, uint8, shape (n, height, width, channels).
        augmentation: What is done to every image.
        seed: Seed of all draws, below 2**32.
    """
    indices = keras.Input((), dtype="int32", name="indices")
    return keras.Model(indices, Augment(augmentation, seed=seed)(Gather(images)(indices)), name="feeder")
