"""Networks with every kind of layer, exported, and what their files take beside what was predicted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import keras
import numpy as np

from secateur.core.cost import Cost, cost_of
from secateur.core.errors import FailedPrecondition
from secateur.core.graph import LayerGraph, zoo
from secateur.core.graph.assembly import Builder
from secateur.core.reports import ArtifactFormat
from secateur.workers.engine.build import build_model
from secateur.workers.engine.export import export, export_untrained
from secateur.workers.engine.tflm import measure_arena
from tests.support.networks import trained_looking

SHAPE: Final = (16, 16, 3)


@dataclass(frozen=True)
class Sizes:
    """Bytes of the exported files and of the arena; no arena where TensorFlow Lite Micro cannot run the network."""

    cost: Cost
    int8: int
    float32: int
    arena: int | None

    def errors(self) -> dict[str, float]:
        """Relative errors of the predictions."""
        pairs = {
            "int8": (self.cost.flash_bytes, self.int8),
            "float32": (self.cost.flash_float32_bytes, self.float32),
            "arena": (self.cost.ram_bytes, self.arena),
        }
        return {name: predicted / real - 1 for name, (predicted, real) in pairs.items() if real is not None}


def sizes_of(graph: LayerGraph) -> Sizes:
    """Exports a network that looks trained and measures the files."""
    keras.utils.clear_session()
    images = np.random.default_rng(0).random((2, *graph.input_shape), np.float32)
    files = export(trained_looking(graph), images).files
    try:
        arena = measure_arena(files[ArtifactFormat.LITERT_INT8]).smallest
    except FailedPrecondition:
        arena = None
    return Sizes(cost_of(graph), len(files[ArtifactFormat.LITERT_INT8]), len(files[ArtifactFormat.LITERT_FLOAT32]), arena)


def untrained_size(graph: LayerGraph) -> int:
    """Bytes of the int8 file of fresh weights."""
    return len(export_untrained(build_model(graph), np.zeros((1, *graph.input_shape), np.float32)))


def _chain(*layers: tuple[str, dict[str, Any]]) -> Callable[[], LayerGraph]:
    """A stem, the layers between two convolutions each, and a head."""

    def build() -> LayerGraph:
        net = Builder("chain", SHAPE)
        for number, (op, config) in enumerate(layers):
            net.add("Conv2D", f"conv{number}", filters=16, kernel_size=3, padding="same", use_bias=False)
            net.add("BatchNormalization", f"bn{number}")
            net.add(op, f"layer{number}", **config)
        net.add("Conv2D", "last", filters=24, kernel_size=3, activation="relu")
        net.add("GlobalAveragePooling2D", "pool")
        net.add("Dense", "logits", units=10)
        return net.build()

    return build


def _activations(*names: str) -> Callable[[], LayerGraph]:
    return _chain(*(("Activation", {"activation": name}) for name in names))


def _gated() -> LayerGraph:
    net = Builder("gated", SHAPE)
    stream = net.add("Conv2D", "stem", filters=16, kernel_size=3, padding="same", activation="relu")
    for number in range(2):
        stream = net.add("Conv2D", f"conv{number}", stream, filters=16, kernel_size=3, padding="same", activation="relu")
        net.add("GlobalAveragePooling2D", f"squeeze{number}", keepdims=True)
        net.add("Conv2D", f"reduce{number}", filters=8, kernel_size=1, activation="relu")
        gate = net.add("Conv2D", f"gate{number}", filters=16, kernel_size=1, activation="sigmoid")
        stream = net.add("Multiply", f"gated{number}", stream, gate)
    net.add("GlobalAveragePooling2D", "pool", stream)
    net.add("Dense", "logits", units=10)
    return net.build()


def _dense_blocks() -> LayerGraph:
    net = Builder("dense_blocks", SHAPE)
    stream = net.add("Conv2D", "stem", filters=16, kernel_size=3, padding="same", use_bias=False)
    for number in range(4):
        net.add("BatchNormalization", f"bn{number}", stream)
        net.add("ReLU", f"relu{number}")
        grown = net.add("Conv2D", f"conv{number}", filters=12, kernel_size=3, padding="same", use_bias=False)
        stream = net.add("Concatenate", f"concat{number}", stream, grown)
    net.add("GlobalAveragePooling2D", "pool", stream)
    net.add("Dense", "logits", units=10, activation="softmax")
    return net.build()


def _elus() -> LayerGraph:
    """ELUs that are read twice, and that share a scale with what other layers return, in a concatenation and a maximum."""
    net = Builder("elus", SHAPE)
    net.add("Conv2D", "stem", filters=16, kernel_size=3, padding="same")
    stream = net.add("ELU", "stem_elu")
    grown = net.add("Conv2D", "grown", filters=12, kernel_size=3, padding="same", activation="elu")
    net.add("Concatenate", "both", stream, grown)
    stream = net.add("MaxPooling2D", "pooled", pool_size=2)
    net.add("Conv2D", "wide", filters=28, kernel_size=3, padding="same", use_bias=False)
    net.add("BatchNormalization", "bn")
    wide = net.add("Activation", "wide_elu", activation="elu")
    net.add("Maximum", "most", stream, wide)
    net.add("GlobalAveragePooling2D", "pool")
    net.add("Dense", "logits", units=10, activation="elu")
    return net.build()


_UP: Final = {"kernel_size": 3, "strides": 2, "padding": "same"}

NETWORKS: Final[dict[str, Callable[[], LayerGraph]]] = {
    "resnet20": lambda: zoo.build("resnet20", (32, 32, 3), 10),
    "mobilenetv2": lambda: zoo.build("mobilenetv2", (32, 32, 3), 10),
    "vgg11": lambda: zoo.build("vgg11", (32, 32, 3), 10),
    "transposed": _chain(
        ("Conv2DTranspose", {"filters": 12, **_UP}), ("MaxPooling2D", {}), ("Conv2DTranspose", {"filters": 8, **_UP})
    ),
    "separable": _chain(
        *(("SeparableConv2D", {"filters": filters, "kernel_size": 3, "padding": "same"}) for filters in (16, 24))
    ),
    "up_sampling": _chain(("MaxPooling2D", {}), ("UpSampling2D", {}), ("UpSampling2D", {"interpolation": "bilinear"})),
    "gated": _gated,
    "dense_blocks": _dense_blocks,
    "layer_norm": _chain(("LayerNormalization", {}), ("LayerNormalization", {})),
    "group_norm": _chain(("GroupNormalization", {"groups": 4})),
    "other_norms": _chain(("RMSNormalization", {}), ("UnitNormalization", {}), ("GroupNormalization", {"groups": -1})),
    "prelu": _chain(("PReLU", {"shared_axes": [1, 2]}), ("PReLU", {"shared_axes": [1, 2]}), ("LeakyReLU", {})),
    "elu": _elus,
    "rare": _chain(
        ("ELU", {}), ("ReLU", {"max_value": 4, "threshold": 0.5}),
        ("AdaptiveAveragePooling2D", {"output_size": (7, 5)}), ("LayerNormalization", {"center": False}),
        ("Activation", {"activation": "sparse_sigmoid"}), ("ZeroPadding2D", {"padding": 1}),
    ),
    "swish": _activations("silu", "silu", "sigmoid"),
    "hard_swish": _activations("hard_silu", "hard_silu", "tanh"),
    "softsign": _activations("softsign", "softsign"),
    "padding": _chain(("ZeroPadding2D", {"padding": 2}), ("Cropping2D", {"cropping": 1}), ("AveragePooling2D", {})),
}  # fmt: skip
"""Networks that TensorFlow Lite Micro runs, all of them."""
