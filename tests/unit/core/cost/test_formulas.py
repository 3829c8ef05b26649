"""Closed forms per layer, against figures worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from secateur.core.cost import layer_costs
from secateur.core.graph.assembly import Builder


@pytest.mark.parametrize(
    ("op", "config", "parameters", "macs", "outputs"),
    [
        ("Conv2D", {"filters": 8, "kernel_size": 3, "padding": "same"}, 3 * 3 * 4 * 8 + 8, 64 * 3 * 3 * 4 * 8, 64 * 8),
        ("Conv2D", {"filters": 8, "kernel_size": 3, "use_bias": False}, 3 * 3 * 4 * 8, 36 * 3 * 3 * 4 * 8, 36 * 8),
        (
            "Conv2D",
            {"filters": 6, "kernel_size": [1, 3], "strides": 2, "padding": "same"},
            3 * 4 * 6 + 6,
            16 * 3 * 4 * 6,
            16 * 6,
        ),
        ("Conv2D", {"filters": 8, "kernel_size": 1, "groups": 2}, 2 * 8 + 8, 64 * 2 * 8, 64 * 8),
        ("DepthwiseConv2D", {"kernel_size": 3, "padding": "same"}, 9 * 4 + 4, 64 * 9 * 4, 64 * 4),
        ("DepthwiseConv2D", {"kernel_size": 3, "padding": "same", "depth_multiplier": 2}, 9 * 8 + 8, 64 * 9 * 8, 64 * 8),
        (
            "SeparableConv2D",
            {"filters": 5, "kernel_size": 3, "padding": "same", "depth_multiplier": 2},
            9 * 8 + 8 * 5 + 5,
            64 * (9 * 8 + 8 * 5),
            64 * 5,
        ),
        (
            "Conv2DTranspose",  # every value read is multiplied by the whole kernel
            {"filters": 6, "kernel_size": 3, "strides": 2, "padding": "same"},
            9 * 4 * 6 + 6,
            64 * 9 * 4 * 6,
            256 * 6,
        ),
        ("Dense", {"units": 7}, 4 * 7 + 7, 64 * 4 * 7, 64 * 7),  # Keras applies it at every position
        ("BatchNormalization", {}, 4 * 4, 0, 0),
        ("BatchNormalization", {"scale": False, "center": False}, 2 * 4, 0, 0),
        ("ReLU", {}, 0, 0, 0),
        ("MaxPooling2D", {}, 0, 0, 0),
    ],
)
def test_layer(op: str, config: dict[str, Any], parameters: int, macs: int, outputs: int) -> None:
    net = Builder("net", (8, 8, 4))
    net.add(op, "layer", **config)
    cost = layer_costs(net.build())["layer"]
    assert cost.parameters == parameters
    assert cost.macs == macs
    assert cost.memory_bytes == 4 * (parameters + outputs)


def test_dense_after_flatten_reads_every_position() -> None:
    net = Builder("net", (8, 8, 4))
    net.add("Flatten", "flat")
    net.add("Dense", "dense", units=10)
    assert layer_costs(net.build())["dense"].parameters == 8 * 8 * 4 * 10 + 10


@pytest.mark.parametrize(
    ("op", "config", "kernel", "kernels"),
    [
        ("Conv2D", {"filters": 6, "kernel_size": 3}, 9 * 4 * 6, [6]),
        ("DepthwiseConv2D", {"kernel_size": 3, "depth_multiplier": 2}, 9 * 8, [8]),
        ("SeparableConv2D", {"filters": 6, "kernel_size": 3, "depth_multiplier": 2}, 9 * 8 + 8 * 6, [8, 6]),
        ("Dense", {"units": 6}, 4 * 6, [6]),
    ],
)
def test_quantised_kernel(op: str, config: dict[str, Any], kernel: int, kernels: list[int]) -> None:
    """int8 weights; per output channel an int32 bias, two scales and zero points, and two prepared int32."""
    net = Builder("net", (8, 8, 4))
    net.add(op, "layer", **config)
    cost = layer_costs(net.build())["layer"]
    assert cost.flash_bytes == kernel + sum(4 + 2 * (4 + 8) for channels in kernels for _ in range(channels))
    assert cost.arena_bytes == sum(2 * 16 * -(-4 * channels // 16) for channels in kernels)
