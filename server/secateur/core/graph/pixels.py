"""Networks that take pixels from 0 to 255 as the same networks on pixels from 0 to 1, which is what all data sets here have.

Keras's own examples begin with `Rescaling(1 / 255)`. On images from 0 to 1 that leaves next to nothing of them, and a network
without batch normalisation then learns nothing. f(x) and f(255 x) differ in one layer's constants.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from secateur.core.graph.ir import Layer, LayerGraph

_BYTE: Final = 255.0
_SMALL_SCALE: Final = 1 / 50
"""A scale below this is meant for bytes: the usual ones are 1/255, 1/128 and 1/127.5."""
_FAR_OFFSET: Final = 10.0
"""So is a shift by more than this: mean colours, counted in bytes, are about 120."""


def for_unit_pixels(graph: LayerGraph) -> LayerGraph:
    """Returns the network for images of values from 0 to 1.

    What shows that it was made for values from 0 to 255 is the layer that takes its images: a `Rescaling` or `Normalization`
    that divides by about a hundred or subtracts about a hundred. Other networks stay as they are.

    Args:
        graph: The network as it was written.
    """
    takers = [graph.consumers[source.name] for source in graph if source.op == "InputLayer" and len(source.output_shape) == 3]
    alone = {names[0] for names in takers if len(names) == 1}  # what else reads an image would have to change with it
    alone -= {layer.shares for layer in graph}
    if not alone:
        return graph
    return replace(
        graph,
        layers=tuple(replace(layer, config=_turned(layer)) if layer.name in alone else layer for layer in graph),
    )


def _turned(layer: Layer) -> Mapping[str, Any]:
    """Returns the arguments of a layer that takes images, for pixels from 0 to 1."""
    config = layer.config
    if layer.op == "Rescaling":
        scale, shift = _largest(config["scale"]), _largest(config["offset"])
        if scale and (scale <= _SMALL_SCALE or shift > _FAR_OFFSET * scale):
            return {**config, "scale": _times(_BYTE, config["scale"])}
    elif layer.op == "Normalization" and config["mean"] is not None and not config["invert"]:
        deviation = _largest(config["variance"]) ** 0.5
        if deviation >= 1 / _SMALL_SCALE or _largest(config["mean"]) > _FAR_OFFSET:
            return {**config, "mean": _times(1 / _BYTE, config["mean"]), "variance": _times(_BYTE**-2, config["variance"])}
    return config


def _largest(values: float | list[float]) -> float:
    return max(map(abs, values)) if isinstance(values, list) else abs(values)


def _times(factor: float, values: float | list[float]) -> float | list[float]:
    return [factor * value for value in values] if isinstance(values, list) else factor * values
