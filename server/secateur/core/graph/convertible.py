"""Layers that can be read and costed but not delivered: the workers' converter or interpreter cannot handle them.

The list is kept apart from the table of layers, so that a network that was stored before one of its layers was listed here can
still be read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from secateur.core.graph.arguments import ACTIVATIONS, UNSUPPORTED, LayerError
from secateur.core.graph.documents import refuse_layer
from secateur.core.graph.ir import LayerGraph, Shape

_LOST_ACTIVATIONS: Final = frozenset(
    {
        "celu", "exponential", "gelu", "log_sigmoid", "mish", "selu", "soft_shrink", "softplus", "sparse_plus", "sparsemax",
        "squareplus", "threshold",
    }
)  # fmt: skip
"""TensorFlow Lite Micro lacks an int8 operator that they take (GELU, EXP, SELECT, SQRT, TOPK_V2); `threshold` Keras itself
cannot call by its name."""
_INTERPOLATIONS: Final = ("nearest", "bilinear")


def check_convertible(graph: LayerGraph) -> None:
    """Checks that every layer can be converted to int8 and run by TensorFlow Lite Micro, as every model that is delivered is.

    Raises:
        InvalidArgument: LAYER_UNSUPPORTED, naming the first layer that cannot and what to use instead.
    """
    for layer in graph:
        obstacle = _obstacle(layer.op, layer.config, graph.input_shapes(layer.name))
        if obstacle:
            text = f"cannot run as int8 on TensorFlow Lite Micro: {obstacle}"
            raise refuse_layer(LayerError(UNSUPPORTED, text), layer.name, layer.op)


def _obstacle(op: str, config: Mapping[str, Any], received: Sequence[Shape]) -> str:
    """Returns what stands in a layer's way and what to do instead; empty if nothing does."""
    if config.get("activation") in _LOST_ACTIVATIONS:
        instead = ", ".join(sorted(ACTIVATIONS - _LOST_ACTIVATIONS - {"linear"}))
        return f"its activation is to be one of {instead}. Received: {config['activation']!r}"
    if op == "Activation" and config["activation"] == "hard_tanh":  # RELU_N1_TO_1 runs only as part of another operator
        return "hard_tanh is to be an argument of the layer before, not a layer of its own"
    if op == "ELU" and config["alpha"] != 1:
        return f"its alpha is to be 1. Received: {config['alpha']:g}"
    if op == "UpSampling2D" and config["interpolation"] not in _INTERPOLATIONS:
        return f"its interpolation is to be one of {', '.join(_INTERPOLATIONS)}. Received: {config['interpolation']!r}"
    if op == "UpSampling1D":
        return "use Conv1DTranspose"
    if op.startswith("Adaptive") and 1 in (*config["output_size"], *received[0][:-1]):  # Keras's window is wider than the map
        return f"use {op.replace('Adaptive', 'Global')} with keepdims, as nothing can be pooled to, or from, a side of 1"
    if op.endswith("Transpose") and max(config["dilation_rate"]) > 1:
        return f"its dilation_rate is to be 1. Received: {config['dilation_rate']}"
    return ""
