"""Training with half the bits where the hardware is made for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras


def has_gpu() -> bool:
    """Returns whether networks run on a GPU. On a CPU bfloat16 is emulated and several times slower."""
    return any(device.startswith("gpu") for device in keras.distribution.list_devices())


@contextmanager
def half_precision(model: keras.Model) -> Iterator[None]:
    """Has every layer of a model but the last compute in bfloat16; weights stay float32 (Micikevicius et al., 1710.03740).

    bfloat16 has the exponents of float32, so no loss needs scaling.

    Args:
        model: Changed in place until the block ends. What is traced within the block keeps what it saw.
    """
    *hidden, _head = model.layers
    policies = [layer.dtype_policy for layer in hidden]
    for layer in hidden:
        layer.dtype_policy = keras.DTypePolicy("mixed_bfloat16")
    try:
        yield
    finally:
        for layer, policy in zip(hidden, policies, strict=True):
            layer.dtype_policy = policy
