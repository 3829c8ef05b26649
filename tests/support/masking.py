"""The unpruned network with cut channels held at zero: what a pruned network has to agree with.

Masks are tensors that go through the network as its feature maps do, in NumPy, by shapes alone; nothing of the product that
tracks channels is used but the names of the groups' producers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from secateur.core.graph import Layer, LayerGraph, channel_groups

_MERGES = {"Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"}


def masked_outputs(
    model: keras.Model, graph: LayerGraph, kept: Mapping[str, Sequence[int]], images: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Runs the network layer by layer and sets cut channels to zero after each: whatever f(0) is, they are exactly zero."""
    indices = {
        producer: kept[group.name]
        for group in channel_groups(graph, residual="coupled")
        if group.name in kept
        for producer in group.producers
    }
    masks: dict[str, NDArray[np.float32]] = {}
    values: dict[str, Any] = {}
    for layer in graph:
        given = [masks[name] for name in layer.inputs]
        masks[layer.name] = _produced(layer, indices[layer.name]) if layer.name in indices else _followed(layer, given)
        if layer.op == "InputLayer":
            values[layer.name] = images
        else:
            inputs = [values[name] for name in layer.inputs]
            values[layer.name] = (
                model.get_layer(layer.shares or layer.name)(inputs[0] if len(inputs) == 1 else inputs) * masks[layer.name]
            )
    return np.array(values[graph.outputs[0]])


def _produced(layer: Layer, indices: Sequence[int]) -> NDArray[np.float32]:
    mask = np.zeros(layer.output_shape, np.float32)
    mask[..., list(indices)] = 1
    return mask


def _followed(layer: Layer, given: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    if layer.op in _MERGES:
        merged = given[0]
        for mask in given[1:]:
            merged = merged * mask
        return merged
    if layer.op == "Concatenate":
        return np.concatenate(given, axis=-1)
    if layer.op in ("Flatten", "Reshape"):
        return given[0].reshape(layer.output_shape)
    if layer.op == "DepthwiseConv2D":
        channels = np.repeat(given[0][0, 0], layer.config["depth_multiplier"])
        return np.broadcast_to(channels, layer.output_shape)
    if (
        not given
        or layer.op in ("Conv2D", "Conv2DTranspose", "SeparableConv2D", "Dense")
        or given[0].shape[-1] != layer.output_shape[-1]
    ):
        return np.ones(layer.output_shape, np.float32)
    return np.broadcast_to(given[0].reshape(-1, given[0].shape[-1])[0], layer.output_shape)
