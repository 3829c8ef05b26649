"""Reading networks from Keras JSON and from our own data.

**No client bytes are ever deserialised by Keras, pickle or an eval**: plain JSON is walked by hand, and only what is expected
is taken. Everything else is refused with a sentence that names the layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from secateur.core.graph.arguments import MALFORMED, show
from secateur.core.graph.assembly import Call, assemble
from secateur.core.graph.documents import mapping, parse, refuse, sequence, string
from secateur.core.graph.flatten import flatten, read_model
from secateur.core.graph.ir import LayerGraph
from secateur.core.graph.pixels import for_unit_pixels
from secateur.core.graph.records import operation


def read_keras_json(text: str) -> LayerGraph:
    """Reads the architecture in `keras.Model.to_json()`, Keras 3 or 2, Functional or Sequential.

    Nested models are laid out flat, layers that are called several times share their weights, channels-first networks become
    the same networks with channels last, and those made for pixels from 0 to 255 the same networks on pixels from 0 to 1.

    Args:
        text: The JSON.

    Raises:
        InvalidArgument: ARCHITECTURE_MALFORMED, LAYER_UNSUPPORTED or ARCHITECTURE_TOO_LARGE, naming the layer.
    """
    try:
        model = read_model(parse(text))
        calls, outputs = flatten(model)
        return for_unit_pixels(assemble(model.name, calls, outputs))
    except RecursionError:
        raise refuse(MALFORMED, "The architecture is nested too deeply to be a network") from None


def from_data(data: Any) -> LayerGraph:
    """Rebuilds a graph from what `LayerGraph.to_dict` returned, through the same checks as any other graph.

    Raises:
        InvalidArgument: ARCHITECTURE_MALFORMED, LAYER_UNSUPPORTED or ARCHITECTURE_TOO_LARGE, naming the layer.
    """
    try:
        top = mapping(data, "The graph")
        calls = [_stored_call(mapping(item, "A layer")) for item in sequence(top.get("layers"), "The list of layers")]
        outputs = tuple(string(entry, "An output") for entry in sequence(top.get("outputs"), "The list of outputs"))
        return assemble(string(top.get("name"), "The name of the graph"), calls, outputs)
    except RecursionError:
        raise refuse(MALFORMED, "The graph is nested too deeply to be a network") from None


def _stored_call(layer: Mapping[str, Any]) -> Call:
    name = string(layer.get("name"), "The name of a layer")
    inputs = sequence(layer.get("inputs"), f"The list of inputs of layer {show(name)}", name)
    producers = tuple(string(entry, f"An input of layer {show(name)}", name) for entry in inputs)
    config = mapping(layer.get("config"), f"The config of layer {show(name)}", name)
    shares = string(layer.get("shares", ""), f"The layer whose weights layer {show(name)} shares", name)
    return Call(name, operation(name, layer.get("op")), producers, config, shares)
