"""From layer calls to a checked `LayerGraph`: the one door through which every graph comes into being."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from secateur.core.graph import layers, layouts
from secateur.core.graph.arguments import MALFORMED, TOO_LARGE, LayerError, show
from secateur.core.graph.documents import layer_name, refuse, refuse_layer
from secateur.core.graph.ir import Layer, LayerGraph, Shape
from secateur.core.graph.table import WEIGHTED

MAX_LAYERS: Final = 2_000
"""Most layers of a network."""
MAX_KERNEL_VALUES: Final = 500_000_000
"""Most values in the kernels of a network, 3.6 times those of VGG-16 for ImageNet."""
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_.\-]")


@dataclass(frozen=True, slots=True)
class Call:
    """A layer call as described by somebody: nothing in it has been checked but the types of these fields."""

    name: str
    op: str
    inputs: tuple[str, ...]
    config: Mapping[str, Any] = field(default_factory=dict)
    shares: str = ""


def assemble(name: str, calls: Sequence[Call], outputs: Sequence[str]) -> LayerGraph:
    """Checks a network and infers its shapes.

    Args:
        name: Name for people; what Keras does not take in names is replaced.
        calls: Layer calls in any order.
        outputs: Names of the layers whose outputs the network returns.

    Returns:
        The graph, in execution order, arguments in normal form.

    Raises:
        InvalidArgument: ARCHITECTURE_MALFORMED, LAYER_UNSUPPORTED or ARCHITECTURE_TOO_LARGE, naming the layer.
    """
    if len(calls) > MAX_LAYERS:
        raise refuse(TOO_LARGE, f"A network may have at most {MAX_LAYERS} layers. Received: {len(calls)}")
    _check_names(calls)
    _check_ends(calls, outputs)
    channels_first = layouts.is_channels_first((call.name, call.op, call.config) for call in calls)
    shapes: dict[str, Shape] = {}
    done: list[Layer] = []
    kernel_values = 0
    for call in _in_execution_order(calls, outputs):
        received = [shapes[producer] for producer in call.inputs]
        try:
            given = layouts.channels_last(call.op, call.config, received) if channels_first else call.config
            config, shape = layers.normalise(call.op, given, received)
            kernel_values += layers.kernel_values(call.op, config, received)
        except LayerError as refusal:
            raise refuse_layer(refusal, call.name, call.op) from None
        if kernel_values > MAX_KERNEL_VALUES:
            raise refuse(
                TOO_LARGE,
                f"The kernels of a network may hold at most {MAX_KERNEL_VALUES} values; layer {call.name!r} goes beyond that. "
                f"Received: {kernel_values} up to there",
                layer=call.name,
            )
        shapes[call.name] = shape
        done.append(Layer(call.name, call.op, call.inputs, config, shape, call.shares if call.op in WEIGHTED else ""))
    title = _NOT_IN_NAMES.sub("_", name)[:128] if name[:1].isalnum() else "model"
    graph = LayerGraph(title, tuple(done), tuple(outputs))
    _check_shared(graph)
    return graph


class Builder:
    """Writes a network layer by layer; shapes are known as soon as the graph is built.

    Args:
        name: Name for people.
        shape: Input shape without the batch.
    """

    def __init__(self, name: str, shape: Shape) -> None:
        self._name = name
        self._calls = [Call("input", "InputLayer", (), {"shape": list(shape)})]

    def add(self, op: str, name: str, *inputs: str, shares: str = "", **config: Any) -> str:
        """Adds a layer call and returns its name.

        Args:
            op: Keras class name.
            name: Name of the call.
            inputs: Layers that it takes; without any, the layer added last.
            shares: Name of the call whose weights it uses.
            config: Arguments.
        """
        self._calls.append(Call(name, op, inputs or (self._calls[-1].name,), config, shares))
        return name

    def build(self) -> LayerGraph:
        """Returns the graph; the layer added last is its output. Raises InvalidArgument as `assemble` does."""
        return assemble(self._name, self._calls, (self._calls[-1].name,))


def _check_names(calls: Sequence[Call]) -> None:
    seen: set[str] = set()
    for call in calls:
        layer_name(call.name)
        if call.name in seen:
            raise refuse(MALFORMED, f"Layer names are unique. Received: {show(call.name)} twice", layer=call.name)
        seen.add(call.name)
    for call in calls:
        for producer in call.inputs:
            if producer not in seen:
                raise refuse(
                    MALFORMED,
                    f"Layer {show(call.name)} takes the output of a layer that is not there. Received: {show(producer)}",
                    layer=call.name,
                )


def _check_ends(calls: Sequence[Call], outputs: Sequence[str]) -> None:
    if not any(call.op == "InputLayer" for call in calls):
        raise refuse(MALFORMED, "A network needs an InputLayer. Received: none")
    if not outputs:
        raise refuse(MALFORMED, "A network needs an output. Received: none")
    names = {call.name for call in calls}
    for output in outputs:
        if output not in names:
            raise refuse(MALFORMED, f"The output is a layer that is not in the network. Received: {show(output)}")


def _check_shared(graph: LayerGraph) -> None:
    """Checks that layers which share weights could be one layer called several times."""
    owners = {layer.name: layer for layer in graph if not layer.shares}
    for layer in graph:
        if not layer.shares:
            continue
        owner = owners.get(layer.shares)
        if owner is None or (owner.op, owner.config) != (layer.op, layer.config):
            raise refuse(
                MALFORMED,
                f"Layer {show(layer.name)} shares the weights of a layer that is not there, or that is another kind of layer. "
                f"Received: {show(layer.shares)}",
                layer=layer.name,
            )
        (first, *_), (second, *_) = graph.input_shapes(owner.name), graph.input_shapes(layer.name)
        if WEIGHTED[layer.op](layer.config, first) != WEIGHTED[layer.op](layer.config, second):
            raise refuse(
                MALFORMED,
                f"Layer {show(layer.name)} cannot share the weights of {show(owner.name)}, as its input has another size. "
                f"Received: {list(second)} instead of {list(first)}",
                layer=layer.name,
            )


def _in_execution_order(calls: Sequence[Call], outputs: Sequence[str]) -> list[Call]:
    """Returns the calls in the order in which Keras runs a Functional model: by distance from the outputs, farthest first.

    So the order, and with it the digest, follows from the network alone, however its layers were listed. Inputs come first,
    in the order given: it is the order in which the network takes its tensors.
    """
    by_name = {call.name: call for call in calls}
    found: dict[str, int] = {}  # by when a depth-first search from the outputs came across it
    left: dict[str, None] = {}  # in the order in which the search left them: producers before consumers
    stack = list(reversed(outputs))
    while stack:
        name = stack[-1]
        if name in found:
            stack.pop()
            left.setdefault(name)
            continue
        found[name] = len(found)
        for producer in reversed(by_name[name].inputs):
            if producer not in found:
                stack.append(producer)
            elif producer not in left:
                raise refuse(
                    MALFORMED, f"Layer {producer!r} depends on its own output; a network has no cycles", layer=producer
                )
    for call in calls:
        if call.name not in found:  # its cost would count, yet Keras would not build it
            raise refuse(MALFORMED, f"Layer {call.name!r} ({call.op}) does not lead to an output; remove it", layer=call.name)
    distance = dict.fromkeys(found, 0)
    for name in reversed(left):
        for producer in by_name[name].inputs:
            distance[producer] = max(distance[producer], distance[name] + 1)
    sources = [call for call in calls if call.op == "InputLayer"]
    others = [call for call in calls if call.op != "InputLayer"]
    return [*sources, *sorted(others, key=lambda call: (-distance[call.name], found[call.name]))]
