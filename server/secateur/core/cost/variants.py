"""Layers whose operators follow from their arguments and shapes, beside those of `kinds` that are always the same."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from secateur.core.cost.kinds import (
    ACTIVATIONS,
    GROUP_NORMALIZATION,
    KINDS,
    UNFOLD,
    VALUEWISE,
    Extent,
    Kind,
    Temporary,
    as_image,
    joined,
)
from secateur.core.graph import Layer, LayerGraph, Shape
from secateur.core.graph.table import MERGES

KERNELS: Final = frozenset({"Dense", *(op for op in KINDS if "Conv" in op)})
DROPPED: Final = frozenset(
    {
        "ActivityRegularization", "AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise", "Identity", "SpatialDropout1D",
        "SpatialDropout2D",
    }
)  # fmt: skip
"""Layers that only matter in training."""
_SEQUENTIAL: Final = frozenset(
    {"MaxPooling1D", "AveragePooling1D", *(op for op in KERNELS if op.endswith(("1D", "1DTranspose")))}
)
"""Layers over sequences that are computed as layers over images."""


def kind_of(graph: LayerGraph, layer: Layer) -> Kind:
    """Returns what a layer becomes, the activation among its arguments left out.

    Args:
        graph: The network.
        layer: One of its layers.
    """
    received = graph.input_shapes(layer.name)
    make = _VARIANTS.get(layer.op)
    if make:
        return make(layer, received[0])
    kind = KINDS.get(layer.op) or ACTIVATIONS.get(activation_of(layer), VALUEWISE)
    if layer.op in _SEQUENTIAL:
        padded = received[0][0] + _padding(layer) if _padding(layer) else 0
        enters = bool(padded) or not _follows(graph, layer)
        return as_image(kind, padded=padded, enters=enters, leaves=not _precedes(graph, layer))
    if layer.op not in MERGES:
        return kind
    kind = _of_more(kind, len(received) - 2)
    return _stretching(kind) if layer.op != "Multiply" and len(set(received)) > 1 else kind


def _padding(layer: Layer) -> int:
    """Returns how many steps a causal convolution pads."""
    causal = layer.config["padding"] == "causal"
    return (layer.config["kernel_size"][0] - 1) * layer.config["dilation_rate"][0] if causal else 0


def _follows(graph: LayerGraph, layer: Layer) -> bool:
    """Whether what a layer over a sequence receives is still an image."""
    before = graph[layer.inputs[0]]
    while _passes(before):
        before = graph[before.inputs[0]]
    return before.op in _SEQUENTIAL and _precedes(graph, before)


def _precedes(graph: LayerGraph, layer: Layer) -> bool:
    """Whether what a layer over a sequence returns may stay an image, as its only reader takes one."""
    readers = graph.consumers[layer.name]
    while len(readers) == 1 and _passes(graph[readers[0]]):
        readers = graph.consumers[readers[0]]
    after = graph[readers[0]] if len(readers) == 1 else layer
    return after is not layer and after.op in _SEQUENTIAL and not _padding(after) and not inline_of(layer)


def _passes(layer: Layer) -> bool:
    """Whether a layer is folded into the one before, or left out."""
    return layer.op in DROPPED or layer.op == "BatchNormalization" or activation_of(layer) in {"linear", "relu", "relu6"}


def activation_of(layer: Layer) -> str:
    """Returns the activation that a layer of its own applies; empty if it is another layer."""
    if layer.op == "Activation":
        return str(layer.config["activation"])
    if layer.op != "ReLU":
        return ""
    top, slope, threshold = (layer.config[name] for name in ("max_value", "negative_slope", "threshold"))
    if not (slope or threshold) and top in (None, 6):
        return "relu" if top is None else "relu6"
    if top is None and not threshold:
        return "leaky_relu"
    options = {"clipped": top is not None, "sloped": slope, "threshold": threshold}
    return ", ".join(("ReLU", *(name for name, given in options.items() if given)))


def inline_of(layer: Layer) -> str:
    """Returns the activation among a kernel's arguments, if it is an operator of its own; else nothing."""
    name = str(layer.config.get("activation", "")) if layer.op in KERNELS else ""
    return "" if name in {"linear", "relu", "relu6"} else name


def _stretching(kind: Kind) -> Kind:
    """Returns a merge with something smaller, which is reshaped before."""
    return replace(
        kind, int8_bytes=kind.int8_bytes + 300, float_bytes=kind.float_bytes + 240, arena_bytes=kind.arena_bytes + 160
    )


def _of_more(kind: Kind, more: int) -> Kind:
    """Returns a merge of more than two inputs, which is done two by two.

    Each pair is merged as soon as both are there, but the sums are placed so that gaps remain in the memory. So all inputs are
    counted as alive together, which is never too little.
    """
    one = KINDS["Add"]
    return replace(
        kind,
        int8_bytes=kind.int8_bytes + more * one.int8_bytes,
        float_bytes=kind.float_bytes + more * one.float_bytes,
        arena_bytes=kind.arena_bytes + more * one.arena_bytes,
    )


def _layer_normalization(layer: Layer, _: Shape) -> Kind:
    scale, center = layer.config["scale"], layer.config["center"]
    affine = scale + center
    last = 10 + affine
    spread = Extent.OUTPUT if scale else Extent.POSITIONS
    temporaries = [
        Temporary(4, 0, 0, Extent.POSITIONS), Temporary(1, 0, 4, Extent.POSITIONS), Temporary(4, 1, 2, Extent.POSITIONS),
        Temporary(4, 2, 3, Extent.POSITIONS), Temporary(1, 3, last - 1 - center, Extent.POSITIONS), Temporary(1, 4, 5),
        Temporary(4, 5, 5, Extent.POSITIONS), Temporary(1, 5, 6, Extent.POSITIONS), Temporary(1, 6, 7, Extent.POSITIONS),
        Temporary(1, 7, 8 if scale else 9, Extent.POSITIONS),
        *([Temporary(1, 8, 10)] if scale else []),
        Temporary(1, 8 + scale, last), Temporary(1, 9 + scale, 10 + scale, spread),
        *([Temporary(1, last - 1, last)] if center else []),
    ]  # fmt: skip
    return Kind(
        1_672 + 264 * affine, 1_198 + 196 * affine, 270, arena_bytes=1_000 + 56 * affine, constants=affine,
        operators=last + 1, reads=8 + scale, temporaries=tuple(temporaries),
    )  # fmt: skip


def _group_normalization(layer: Layer, received: Shape) -> Kind:
    """Up to four axes, the batch and that of the groups included, become what a layer normalisation does."""
    if len(received) > 2:
        return GROUP_NORMALIZATION
    return joined(joined(UNFOLD, _layer_normalization(layer, received)), UNFOLD)


def _adaptive_image(layer: Layer, received: Shape) -> Kind:
    """Returns an adaptive pooling over images, which works along one axis after the other.

    Keras pools every place with two windows, one wider than the other by 1, and then picks one of the two results.
    """
    (height, width), (rows, columns) = received[:-1], layer.config["output_size"]
    tall, wide = height - math.ceil(height / rows) + 1, width - math.ceil(width / columns) + 1  # places of the smaller window
    return Kind(
        1_560 + 4 * (rows + columns), 1_260 + 4 * (rows + columns), arena_bytes=540, constants=2, operators=8, reads=1,
        temporaries=(
            Temporary(1, 0, 2, positions=tall * width), Temporary(1, 1, 2, positions=(tall - 1) * width),
            Temporary(1, 2, 3, positions=(2 * tall - 1) * width), Temporary(1, 3, 5, positions=rows * width),
            Temporary(1, 4, 6, positions=rows * wide), Temporary(1, 5, 6, positions=rows * (wide - 1)),
            Temporary(1, 6, 7, positions=rows * (2 * wide - 1)),
        ),
    )  # fmt: skip


def _adaptive_sequence(layer: Layer, received: Shape) -> Kind:
    """As of an image, along the one axis, each pooling reshaped to an image and back."""
    (steps,) = layer.config["output_size"]
    places = received[0] - math.ceil(received[0] / steps) + 1
    return Kind(
        1_500 + 4 * steps, 1_250 + 4 * steps, arena_bytes=540, constants=4, operators=7, reads=3,
        temporaries=(
            Temporary(1, 0, 1, Extent.INPUT), Temporary(1, 1, 2, positions=places), Temporary(1, 2, 5, positions=places),
            Temporary(1, 3, 4, positions=places - 1), Temporary(1, 4, 5, positions=places - 1),
            Temporary(1, 5, 6, positions=2 * places - 1),
        ),
    )  # fmt: skip


_VARIANTS: Final[dict[str, Callable[[Layer, Shape], Kind]]] = {
    "GroupNormalization": _group_normalization,
    "LayerNormalization": _layer_normalization,
    **{f"Adaptive{kind}Pooling1D": _adaptive_sequence for kind in ("Average", "Max")},
    **{f"Adaptive{kind}Pooling2D": _adaptive_image for kind in ("Average", "Max")},
}
