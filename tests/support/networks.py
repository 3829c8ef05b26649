"""Small networks of the families that pruning has to master, and models of them that look trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import keras
import numpy as np

from secateur.core.graph import LayerGraph, zoo
from secateur.core.graph.assembly import Builder
from secateur.workers.engine.build import build_model

SHAPE: Final = (8, 8, 3)
CLASSES: Final = 5


def gated_mobilenet() -> LayerGraph:
    """Inverted residuals with squeeze and excitation, hard activations and a depth multiplier; the gates' f(0) is not 0."""
    net = Builder("gated_mobilenet", SHAPE)
    net.add("Conv2D", "stem", filters=8, kernel_size=3, padding="same", use_bias=False)
    net.add("BatchNormalization", "stem_bn")
    stream = net.add("Activation", "stem_act", activation="hard_silu")
    for number in (1, 2):
        name = f"block{number}"
        net.add("Conv2D", f"{name}_expand", stream, filters=12, kernel_size=1, use_bias=False)
        net.add("BatchNormalization", f"{name}_expand_bn")
        net.add("ReLU", f"{name}_expand_relu", max_value=6.0)
        net.add("DepthwiseConv2D", f"{name}_depthwise", kernel_size=3, padding="same", depth_multiplier=number)
        net.add("BatchNormalization", f"{name}_depthwise_bn")
        inner = net.add("ReLU", f"{name}_relu", max_value=6.0)
        net.add("GlobalAveragePooling2D", f"{name}_squeeze", inner, keepdims=True)
        net.add("Conv2D", f"{name}_reduce", filters=6, kernel_size=1, activation="sigmoid")  # f(0) = 0.5
        gate = net.add("Conv2D", f"{name}_gate", filters=12 * number, kernel_size=1, activation="hard_sigmoid")
        net.add("Multiply", f"{name}_gated", inner, gate)
        net.add("Conv2D", f"{name}_project", filters=8, kernel_size=1, use_bias=False)
        branch = net.add("BatchNormalization", f"{name}_project_bn")
        stream = net.add("Add", f"{name}_add", stream, branch)
    net.add("SeparableConv2D", "separable", stream, filters=10, kernel_size=3, depth_multiplier=2, activation="sigmoid")
    net.add("Flatten", "flat")
    net.add("Dense", "hidden", units=9, activation="sigmoid")
    net.add("Dense", "logits", units=CLASSES)
    return net.build()


def densenet() -> LayerGraph:
    """Dense blocks: every layer normalises and reads the concatenation of all before it."""
    net = Builder("densenet", SHAPE)
    stream = net.add("Conv2D", "stem", filters=8, kernel_size=3, padding="same", use_bias=False)
    for block in (1, 2):
        for number in (1, 2, 3):
            name = f"block{block}_conv{number}"
            net.add("BatchNormalization", f"{name}_bn1", stream)
            net.add("ReLU", f"{name}_relu1")
            net.add("Conv2D", f"{name}_1", filters=16, kernel_size=1, use_bias=False)
            net.add("BatchNormalization", f"{name}_bn2")
            net.add("ReLU", f"{name}_relu2")
            grown = net.add("Conv2D", f"{name}_2", filters=6, kernel_size=3, padding="same", use_bias=False)
            stream = net.add("Concatenate", f"{name}_concat", stream, grown)
        net.add("BatchNormalization", f"transition{block}_bn", stream)
        net.add("ReLU", f"transition{block}_relu")
        net.add("Conv2D", f"transition{block}", filters=12, kernel_size=1, use_bias=False)
        stream = net.add("AveragePooling2D", f"transition{block}_pool")
    net.add("BatchNormalization", "last_bn", stream)
    net.add("Flatten", "flat")
    net.add("Dense", "logits", units=CLASSES)
    return net.build()


NETWORKS: Final[dict[str, Callable[[], LayerGraph]]] = {
    "vgg16": lambda: zoo.build("vgg16", SHAPE, CLASSES),
    "resnet56": lambda: zoo.build("resnet56", SHAPE, CLASSES),
    "gated_mobilenet": gated_mobilenet,
    "densenet": densenet,
}


def trained_looking(graph: LayerGraph, seed: int = 0) -> keras.Model:
    """Builds a model with no weight at a special value, whose outputs depend on its inputs as a trained one's do.

    Statistics of normalisations are those of a batch. Made-up ones let the signal fade from layer to layer, until the outputs
    of a deep network were the same for all images, and equal to those of any network with the same last layers.
    """
    draw = np.random.default_rng(seed)
    keras.utils.set_random_seed(seed)
    model = build_model(graph)
    for layer in model.layers:
        layer.set_weights([_drawn(draw, weight) for weight in layer.weights])
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(draw.normal(size=(16, *graph.input_shape)).astype(np.float32), training=True)
    return model


def _drawn(draw: np.random.Generator, weight: keras.Variable) -> np.ndarray:
    if weight.name.endswith("kernel"):
        fan_in = np.prod(weight.shape[:-1]) if weight.name != "depthwise_kernel" else np.prod(weight.shape[:-2])
        return np.asarray(draw.normal(0, np.sqrt(2 / fan_in), weight.shape), np.float32)
    low, high = (0.5, 1.5) if weight.name == "gamma" else (-0.5, 0.5)
    return np.asarray(draw.uniform(low, high, weight.shape), np.float32)
