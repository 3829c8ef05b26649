"""Weights of a pruned network, sliced out of the unpruned one.

Which channels stay is data (`secateur.core.graph.indices`). A weight has an axis along the channels that its layer reads, one
along those that it returns, both, or neither, and is sliced along them. So the pruned network computes exactly what the
unpruned one computes with the cut channels held at zero, but for layers that mix all channels into one statistic: layer, group,
RMS and unit normalisation and softmax see fewer of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray

from secateur.core.errors import InvalidArgument
from secateur.core.graph import Layer, LayerGraph, with_widths
from secateur.core.graph.indices import Kept, kept_positions
from secateur.workers.engine.build import build_model

_Axes = tuple[int | None, int | None]
"""Axis along the channels that the layer reads, axis along those that it returns; counted from the end."""
_Weight = NDArray[Any]

_FORWARD: Final[_Axes] = (-2, -1)
_READ: Final[_Axes] = (-2, None)
_RETURNED: Final[_Axes] = (None, -1)
_AXES: Final[Mapping[str, _Axes]] = {"kernel": _FORWARD, "pointwise_kernel": _FORWARD, "depthwise_kernel": _READ}
"""By name of the weight; all others have one value per returned channel, as a bias does."""
_KERNEL_AXES: Final[Mapping[str, _Axes]] = {
    **dict.fromkeys(("Conv1DTranspose", "Conv2DTranspose"), (-1, -2)),
    **dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D"), _READ),
}
"""By layer, where a kernel is arranged otherwise."""


def inherit(model: keras.Model, graph: LayerGraph, kept: Kept) -> keras.Model:
    """Builds a pruned network with the weights of the unpruned one.

    Args:
        model: Trained model whose layers have the names of the graph's. It may have more layers, those of dropped blocks.
        graph: The network before its channels are cut.
        kept: Kept channels by channel group; groups that are not named keep all.

    Returns:
        A model of `with_widths(graph, {group: len(indices)})`.

    Raises:
        InvalidArgument: INDICES_INVALID for indices that do not fit the graph, MODEL_MISMATCH for a model that does not.
    """
    positions = kept_positions(graph, kept)
    pruned = build_model(with_widths(graph, {group: len(indices) for group, indices in kept.items()}))
    given, targets = ({layer.name: layer for layer in each.layers} for each in (model, pruned))
    for layer in graph:
        if layer.shares:
            continue  # its weights come with their owner
        target = targets[layer.name]
        if not target.weights:
            continue
        if layer.name not in given:
            raise _mismatch(layer, "has no such layer")
        width = given[layer.name].output.shape[-1]
        if width != layer.output_shape[-1]:
            raise _mismatch(layer, f"has {width} channels where the unpruned network has {layer.output_shape[-1]}")
        read, returned = positions[layer.inputs[0]], positions[layer.name]
        weights = [
            _sliced(layer, weight.name, values, read, returned)
            for weight, values in zip(given[layer.name].weights, given[layer.name].get_weights(), strict=True)
        ]
        shapes = [tuple(weight.shape) for weight in target.weights]
        if [weight.shape for weight in weights] != shapes:
            raise _mismatch(layer, f"gives it weights of shapes {[weight.shape for weight in weights]} instead of {shapes}")
        target.set_weights(weights)
    return pruned


def _sliced(layer: Layer, name: str, weight: _Weight, read: Sequence[int], returned: Sequence[int]) -> _Weight:
    """Returns the part of a weight that belongs to the kept channels that the layer reads and returns."""
    if layer.config.get("groups", 1) > 1:
        return weight  # a grouped convolution or normalisation keeps all it reads and returns
    along_read, along_returned = _KERNEL_AXES.get(layer.op, _FORWARD) if name == "kernel" else _AXES.get(name, _RETURNED)
    if name == "pointwise_kernel":  # it reads every channel once per filter of the depthwise step
        multiplier = layer.config["depth_multiplier"]
        read = [channel * multiplier + copy for channel in read for copy in range(multiplier)]
    return _taken(_taken(weight, read, along_read), returned, along_returned)


def _taken(weight: _Weight, channels: Sequence[int], axis: int | None) -> _Weight:
    """Returns the weight at some channels; one without that axis, or with a value that all channels share, stays whole."""
    if axis is None or weight.ndim == 0 or weight.shape[axis] == 1:
        return weight
    return np.take(weight, channels, axis=axis)


def _mismatch(layer: Layer, what: str) -> InvalidArgument:
    return InvalidArgument(
        "MODEL_MISMATCH",
        f"Weights come from a model of the unpruned network, layer by layer. Received: a model that {what}: {layer.name!r} "
        f"({layer.op})",
        field=layer.name,
    )
