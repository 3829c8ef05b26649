"""keras.applications as test material, and a count of their multiply-accumulates that shares no code with ours."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np

from secateur.core.cost import cost_of
from secateur.core.graph import LayerGraph, Residual, read_keras_json
from secateur.core.planning import Budget, BudgetInfeasible, Plan, plan
from secateur.workers.engine.build import build_model

SMALLEST = {
    "VGG16": 32, "VGG19": 32,
    "ResNet50": 32, "ResNet101": 32, "ResNet152": 32, "ResNet50V2": 32, "ResNet101V2": 32, "ResNet152V2": 32,
    "MobileNet": 32, "MobileNetV2": 32, "MobileNetV3Small": 32, "MobileNetV3Large": 32,
    "DenseNet121": 32, "DenseNet169": 32, "DenseNet201": 32,
    "EfficientNetB0": 32, "EfficientNetB1": 32, "EfficientNetB2": 32, "EfficientNetB3": 32, "EfficientNetB4": 32,
    "EfficientNetB5": 32, "EfficientNetB6": 32, "EfficientNetB7": 32,
    "EfficientNetV2B0": 32, "EfficientNetV2B1": 32, "EfficientNetV2B2": 32, "EfficientNetV2B3": 32,
    "EfficientNetV2S": 32, "EfficientNetV2M": 32, "EfficientNetV2L": 32,
    "Xception": 71, "InceptionV3": 75, "InceptionResNetV2": 75, "NASNetMobile": 32, "NASNetLarge": 32,
}  # fmt: skip
"""All networks of the families that we promise to read, with the smallest side that Keras lets them have."""


@dataclass(frozen=True)
class Rebuilt:
    """A planned network as Keras builds it.

    Args:
        residual: What the plan did to the streams of residual networks.
        predicted: Parameters that the plan predicts.
        counted: Parameters that Keras counts.
        kept: Share of the limited resource that is left.
        planning_s: How long the plan took, in seconds of processor time.
        output: What it returns for a grey image.
    """

    residual: Residual
    predicted: int
    counted: int
    kept: float
    planning_s: float
    output: np.ndarray[Any, Any]


def application(name: str, side: int | None = None, classes: int = 10, **options: Any) -> keras.Model:
    """Builds a network of keras.applications with fresh weights, at the smallest side unless told otherwise."""
    side = side or SMALLEST[name]
    return getattr(keras.applications, name)(weights=None, input_shape=(side, side, 3), classes=classes, **options)


def macs_in_keras(model: keras.Model) -> int:
    """Counts multiply-accumulates from the weights and output shapes of the Keras layers."""
    total = 0
    for layer in model.layers:
        places = math.prod(layer.output.shape[1:-1])
        if isinstance(layer, keras.layers.Dense | keras.layers.Conv1D | keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
            total += places * math.prod(layer.kernel.shape)
        elif isinstance(layer, keras.layers.SeparableConv2D):
            total += places * (math.prod(layer.depthwise_kernel.shape) + math.prod(layer.pointwise_kernel.shape))
    return total


def shapes_in_keras(model: keras.Model) -> dict[str, tuple[int, ...]]:
    """Returns output shapes by layer."""
    return {layer.name: tuple(layer.output.shape[1:]) for layer in model.layers}


def half_of(graph: LayerGraph, resource: str) -> tuple[Plan, Residual]:
    """Plans a network to half of a resource.

    The streams of residual networks are left alone as long as half can be reached without cutting them.

    Raises:
        BudgetInfeasible: If half cannot be reached either way.
    """
    budget = Budget.fractions(**{resource: 0.5})
    try:
        return plan(graph, budget), Residual.SKIP
    except BudgetInfeasible:
        return plan(graph, budget, residual=Residual.COUPLED), Residual.COUPLED


def kept_share(graph: LayerGraph, resource: str, chosen: Plan) -> float:
    """Returns the share of a resource that a plan leaves."""
    share: float = getattr(chosen.cost, resource) / getattr(cost_of(graph), resource)
    return share


def rebuild_at_half(graph: LayerGraph, resource: str) -> Rebuilt:
    """Plans a network to half of a resource, builds it and runs it once. Raises BudgetInfeasible as `half_of` does."""
    start = time.process_time()
    chosen, residual = half_of(graph, resource)
    taken = time.process_time() - start
    model = build_model(graph, chosen)
    output = np.asarray(model(np.full((1, *graph.input_shape), 0.5, np.float32)))
    kept = kept_share(graph, resource, chosen)
    return Rebuilt(residual, chosen.cost.parameters, model.count_params(), kept, taken, output)


def read(model: keras.Model) -> LayerGraph:
    """Reads a Keras model through the product's door."""
    return read_keras_json(model.to_json())
