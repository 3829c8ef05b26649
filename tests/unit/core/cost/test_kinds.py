"""Predicted sizes of one layer of each rarer kind between two convolutions, against what was measured.

Measured with `tests.support.exported.sizes_of`: TensorFlow 2.21.0, Keras 3.15.1, tflite-micro 0.dev20261023182759, 64-bit host.
"""

from __future__ import annotations

from typing import Any

import pytest

from secateur.core.cost import cost_of
from secateur.core.graph import LayerGraph
from secateur.core.graph.assembly import Builder

CONV: dict[str, Any] = {"filters": 16, "kernel_size": 3, "padding": "same"}


def between_convolutions(op: str, config: dict[str, Any]) -> LayerGraph:
    net = Builder("net", (16, 16, 3))
    net.add("Conv2D", "first", **CONV)
    net.add(op, "layer", **config)
    net.add("Conv2D", "last", filters=24, kernel_size=1, activation="relu")
    net.add("GlobalAveragePooling2D", "pool")
    net.add("Dense", "logits", units=10)
    return net.build()


def padded(*layers: tuple[str, dict[str, Any]]) -> LayerGraph:
    net = Builder("net", (16, 16, 3))
    net.add("Conv2D", "first", **CONV)
    for number, (op, config) in enumerate(layers):
        net.add(op, f"layer{number}", **config)
    net.add("GlobalAveragePooling2D", "pool")
    net.add("Dense", "logits", units=10)
    return net.build()


def merged(op: str, inputs: int) -> LayerGraph:
    net = Builder("net", (16, 16, 3))
    stem = net.add("Conv2D", "first", **CONV)
    branches = [net.add("Conv2D", f"branch{number}", stem, **CONV) for number in range(inputs - 1)]
    net.add(op, "merge", stem, *branches)
    net.add("Conv2D", "last", filters=16, kernel_size=1)
    net.add("GlobalAveragePooling2D", "pool")
    net.add("Dense", "logits", units=10)
    return net.build()


def check(graph: LayerGraph, int8: int, float32: int, arena: int, *, roomy: float = 0.02) -> None:
    """Too low is worse than too high: a job would be taken on that ends INFEASIBLE."""
    cost = cost_of(graph)
    assert -0.02 < cost.flash_bytes / int8 - 1 < 0.06
    assert -0.02 < cost.flash_float32_bytes / float32 - 1 < 0.06
    assert -0.01 < cost.ram_bytes / arena - 1 < roomy


@pytest.mark.parametrize(
    ("op", "config", "int8", "float32", "arena"),
    [
        ("ELU", {}, 4_688, 6_236, 12_656),
        ("Activation", {"activation": "hard_shrink"}, 5_144, 6_648, 16_800),
        ("Activation", {"activation": "sparse_sigmoid"}, 5_904, 7_184, 19_328),
        ("Activation", {"activation": "tanh_shrink"}, 4_784, 6_372, 16_672),
        ("ReLU", {"max_value": 4}, 4_864, 6_424, 12_544),
        ("ReLU", {"threshold": 1}, 4_968, 6_516, 16_688),
        ("ReLU", {"max_value": 6, "threshold": 0.5}, 5_160, 6_656, 14_736),
        ("ReLU", {"max_value": 6, "negative_slope": 0.1}, 5_696, 6_836, 39_808),
        ("ReLU", {"max_value": 4, "negative_slope": 0.1}, 6_056, 7_116, 40_064),
        ("ReLU", {"negative_slope": 0.1, "threshold": 0.5}, 5_616, 7_028, 21_264),
        ("ReLU", {"max_value": 6, "negative_slope": 0.1, "threshold": 0.5}, 5_792, 7_164, 21_360),
        ("AdaptiveAveragePooling2D", {"output_size": 7}, 5_976, 7_364, 17_168),
        ("AdaptiveMaxPooling2D", {"output_size": (5, 3)}, 6_040, 7_428, 16_176),
        ("LayerNormalization", {}, 6_992, 7_952, 18_384),
        ("LayerNormalization", {"center": False}, 6_712, 7_692, 22_288),
        ("LayerNormalization", {"scale": False}, 6_712, 7_692, 18_208),
        ("LayerNormalization", {"center": False, "scale": False}, 6_440, 7_432, 14_192),
        ("GroupNormalization", {"groups": 4}, 7_784, 8_612, 16_752),
        ("RMSNormalization", {}, 5_752, 7_180, 13_264),
        ("UnitNormalization", {}, 5_480, 6_936, 17_120),
        ("Normalization", {"mean": 0.3, "variance": 2.0}, 4_480, 6_144, 12_320),
        ("Normalization", {}, 4_456, 6_116, 12_320),
        ("Conv2D", {**CONV, "activation": "elu"}, 7_824, 15_808, 13_024),
        ("Conv2D", {**CONV, "activation": "silu"}, 7_912, 15_944, 17_024),
        ("Conv2D", {**CONV, "activation": "softsign"}, 8_192, 16_136, 17_216),
        ("Conv2D", {**CONV, "activation": "sparse_sigmoid"}, 9_024, 16_752, 19_696),
        ("SeparableConv2D", {"filters": 16, "kernel_size": 3}, 6_584, 8_468, 13_792),
    ],
)
def test_layers(op: str, config: dict[str, Any], int8: int, float32: int, arena: int) -> None:
    check(between_convolutions(op, config), int8, float32, arena)


@pytest.mark.parametrize(
    ("op", "config", "int8", "float32", "arena"),
    [
        ("Conv1D", CONV, 6_224, 8_784, 5_808),
        ("Conv1D", {**CONV, "padding": "causal"}, 6_976, 9_424, 7_312),
        ("DepthwiseConv1D", {"kernel_size": 3, "padding": "same"}, 5_600, 5_948, 5_808),
        ("MaxPooling1D", {}, 4_848, 5_536, 4_576),
        ("PReLU", {"shared_axes": [1]}, 5_376, 6_012, 5_888),
    ],
)
def test_sequences(op: str, config: dict[str, Any], int8: int, float32: int, arena: int) -> None:
    net = Builder("net", (64, 3))
    net.add("Conv1D", "first", **CONV)
    net.add(op, "layer", **config)
    net.add("Conv1D", "last", filters=24, kernel_size=1, activation="relu")
    net.add("GlobalAveragePooling1D", "pool")
    net.add("Dense", "logits", units=10)
    check(net.build(), int8, float32, arena)


def test_each_call_of_a_shared_kernel_has_a_bias_of_its_own() -> None:
    net = Builder("net", (16, 16, 3))
    net.add("Conv2D", "first", **CONV)
    for number in range(3):
        net.add("Conv2D", f"conv{number}", shares="conv0" if number else "", **CONV)
        net.add("ReLU", f"relu{number}")
    net.add("GlobalAveragePooling2D", "pool")
    net.add("Dense", "logits", units=10)
    check(net.build(), 7_152, 13_732, 10_896)


SLIDING: dict[str, Any] = {"filters": 16, "kernel_size": 3}
CORNER = {"padding": ((0, 1), (0, 1))}


@pytest.mark.parametrize(
    ("layers", "int8", "float32", "arena"),
    [
        ([("ReLU", {}), ("ZeroPadding2D", {"padding": 1}), ("Conv2D", SLIDING)], 6_056, 13_432, 10_208),
        ([("ZeroPadding2D", CORNER), ("DepthwiseConv2D", {"kernel_size": 3, "strides": 2})], 3_952, 4_792, 7_136),
        ([("ReLU", {}), ("ZeroPadding2D", {"padding": 2}), ("Conv2D", {**SLIDING, "dilation_rate": 2})], 6_056, 13_436, 10_208),
        ([("ReLU", {}), ("ZeroPadding2D", {"padding": 1}), ("SeparableConv2D", SLIDING)], 5_064, 6_208, 10_576),
        # what "same" would not have padded, or what no convolution reads, stays an operator of its own
        ([("ZeroPadding2D", {"padding": 1}), ("Conv2D", {**SLIDING, "strides": 2})], 6_320, 13_648, 11_472),
        ([("ZeroPadding2D", {"padding": 1}), ("AveragePooling2D", {"pool_size": 3, "strides": 1})], 3_416, 4_268, 11_248),
    ],
)  # fmt: skip
def test_padding(layers: list[tuple[str, dict[str, Any]]], int8: int, float32: int, arena: int) -> None:
    check(padded(*layers), int8, float32, arena)


@pytest.mark.parametrize(
    ("op", "inputs", "int8", "float32", "arena"),
    [
        ("Add", 3, 10_584, 24_624, 15_360),
        ("Maximum", 3, 10_560, 24_620, 15_216),
        ("Average", 2, 7_328, 14_940, 14_832),
        ("Average", 3, 10_600, 24_636, 15_360),
    ],
)
def test_merges(op: str, inputs: int, int8: int, float32: int, arena: int) -> None:
    check(merged(op, inputs), int8, float32, arena, roomy=0.3 if inputs > 2 else 0.02)
