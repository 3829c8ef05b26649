"""A network and jobs that train in seconds on the digits."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from secateur.core import devices, recipes
from secateur.core.graph import LayerGraph
from secateur.core.graph.assembly import Builder
from secateur.core.resources import Budget
from secateur.core.specs import JobSpec, PlanPolicy, Recipe, Target

QUICK: Final = replace(recipes.resolve(epochs=6), batch_size=32)
"""Takes `small_network` above 95 % in three seconds."""


def small_network(*, prefix: str = "") -> LayerGraph:
    """Three convolutions with batch norm on 8x8x1 images, 10 classes, 14,618 parameters.

    Args:
        prefix: Put before every layer name.
    """
    net = Builder("small", (8, 8, 1))
    for number, (filters, strides) in enumerate(((16, 1), (32, 2), (32, 2))):
        name = f"{prefix}block{number}"
        net.add("Conv2D", f"{name}_conv", filters=filters, kernel_size=3, strides=strides, padding="same", use_bias=False)
        net.add("BatchNormalization", f"{name}_bn")
        net.add("ReLU", f"{name}_relu")
    net.add("GlobalAveragePooling2D", f"{prefix}pool")
    net.add("Dense", f"{prefix}logits", units=10)
    return net.build()


def residual_network() -> LayerGraph:
    """Two residual blocks of 16 channels on 8x8x1 images, 10 classes, 9,802 parameters."""
    net = Builder("residual", (8, 8, 1))
    stream = net.add("Conv2D", "stem", filters=16, kernel_size=3, strides=2, padding="same", use_bias=False)
    for name in ("first", "second"):
        net.add("BatchNormalization", f"{name}_bn1", stream)
        net.add("ReLU", f"{name}_relu1")
        net.add("Conv2D", f"{name}_conv1", filters=16, kernel_size=3, padding="same", use_bias=False)
        net.add("BatchNormalization", f"{name}_bn2")
        net.add("ReLU", f"{name}_relu2")
        branch = net.add("Conv2D", f"{name}_conv2", filters=16, kernel_size=3, padding="same", use_bias=False)
        stream = net.add("Add", f"{name}_add", stream, branch)
    net.add("BatchNormalization", "last_bn", stream)
    net.add("ReLU", "last_relu")
    net.add("GlobalAveragePooling2D", "pool")
    net.add("Dense", "logits", units=10)
    return net.build()


def quick_job(
    budget: Budget,
    *,
    recipe: Recipe = QUICK,
    profile: str | None = "stm32f746",
    graph: LayerGraph | None = None,
    policy: PlanPolicy | None = None,
) -> JobSpec:
    """A job on the digits with one target."""
    target = Target(devices.get(profile) if profile else None, budget)
    return JobSpec((graph or small_network()).digest, "digits", (target,), recipe, policy or PlanPolicy())
