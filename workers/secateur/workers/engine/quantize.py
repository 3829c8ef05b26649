"""Real values to the numbers of a .tflite file's inputs and outputs, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def encode(images: NDArray[np.float32], dtype: type, scale: float, zero_point: int) -> NDArray[Any]:
    """Returns `images` in the input type of a model: unchanged for float32, else round(image / scale) + zero point."""
    if dtype == np.float32:
        return images
    limits = np.iinfo(dtype)
    encoded: NDArray[Any] = np.clip(np.round(images / scale) + zero_point, limits.min, limits.max).astype(dtype)
    return encoded


def decode(raw: NDArray[Any], scale: float, zero_point: int) -> NDArray[np.float32]:
    """Returns the real values of a model's raw outputs."""
    if raw.dtype == np.float32:
        return raw
    return ((raw.astype(np.float32) - zero_point) * scale).astype(np.float32)
