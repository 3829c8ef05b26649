"""From the layer graph to a Keras model."""

from __future__ import annotations

from typing import Any, Final

import keras

from secateur.core.graph import Layer, LayerGraph
from secateur.core.planning import Plan

_KEEPS_SUMS: Final = frozenset(
    {"ActivityRegularization", "Flatten", "GlobalAveragePooling1D", "GlobalAveragePooling2D", "Identity", "Reshape"}
)
"""Layers after which probabilities still sum to 1, class by class, if there are as many values per position as before."""


def build_model(graph: LayerGraph, plan: Plan | None = None, *, for_devices: bool = True) -> keras.Model:
    """Builds the functional Keras model of a graph, with fresh weights.

    Every layer keeps its name from the graph, calls that share weights are calls of one Keras layer, and `count_params()`
    equals `cost_of(graph).parameters`. The weights follow Keras's global seed; call `keras.utils.set_random_seed` first for a
    reproducible model.

    Args:
        graph: The network. It has passed the allow-list of `secateur.core.graph`, so its ops are Keras class names.
        plan: Applied to the graph first; None builds the network as it is.
        for_devices: Take equal layers in place of those that no device can run. Else the model's JSON reads as this graph.
    """
    if plan is not None:
        graph = plan.apply(graph)
    tensors: dict[str, Any] = {}
    made: dict[str, Any] = {}  # Keras layers by the name of the call that owns the weights
    for layer in graph:
        if layer.op == "InputLayer":
            tensors[layer.name] = keras.Input(layer.output_shape, name=layer.name)
            continue
        owner = layer.shares or layer.name
        if owner not in made:
            made[owner] = _made(layer, owner, for_devices=for_devices)
        tensors[layer.name] = made[owner](_one_or_all([tensors[name] for name in layer.inputs]))
    inputs = [tensors[layer.name] for layer in graph if layer.op == "InputLayer"]
    outputs = [tensors[name] for name in graph.outputs]
    return keras.Model(_one_or_all(inputs), _one_or_all(outputs), name=graph.name)


def ends_in_softmax(graph: LayerGraph) -> bool:
    """Whether the network returns probabilities instead of logits."""
    head = graph[graph.outputs[0]]
    while head.op in _KEEPS_SUMS and graph[head.inputs[0]].output_shape[-1] == graph.classes:
        head = graph[head.inputs[0]]
    return head.op == "Softmax" or head.config.get("activation") == "softmax"


def _made(layer: Layer, name: str, *, for_devices: bool) -> keras.layers.Layer:
    """Returns the Keras layer of a layer.

    For devices, repeating rows and columns is built as the equal resizing to the nearest neighbour: the converter makes TILE of
    Keras's own layer, which TensorFlow Lite Micro does not have.
    """
    if for_devices and layer.op == "UpSampling2D" and layer.config["interpolation"] == "nearest":
        height, width, _ = layer.output_shape
        return keras.layers.Resizing(height, width, interpolation="nearest", name=name)
    return getattr(keras.layers, layer.op)(**layer.config, name=name)


def _one_or_all(tensors: list[Any]) -> Any:
    return tensors[0] if len(tensors) == 1 else tensors
