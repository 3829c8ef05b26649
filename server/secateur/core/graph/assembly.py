"""From layer calls to a checked `LayerGraph`: the one door through which every graph comes into being."""

from __future__ import annotations

import heapq
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from secateur.core.errors import InvalidArgument
from secateur.core.graph import layers
from secateur.core.graph.arguments import MALFORMED, TOO_LARGE, UNSUPPORTED, Refused, show
from secateur.core.graph.ir import Layer, LayerGraph, Shape

MAX_LAYERS: Final = 2_000
"""Most layers of a network."""
MAX_PARAMETERS: Final = 500_000_000
"""Most weights of a network."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,127}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Call:
    """A layer call as described by somebody: nothing in it has been checked but the types of these fields."""

    name: str
    op: str
    inputs: tuple[str, ...]
    config: Mapping[str, Any] = field(default_factory=dict)


def refuse(reason: str, message: str, *, layer: str = "") -> InvalidArgument:
    """Returns the error for a bad graph; `layer` is the offending layer, if there is one."""
    field_name = layer if not layer or _NAME.fullmatch(layer) else "layers"  # the name itself may be what is wrong
    return InvalidArgument(reason, message, field=field_name)


def refuse_layer(refusal: Refused, name: str, op: str) -> InvalidArgument:
    """Returns the error for a layer that was refused."""
    return refuse(refusal.reason, f"Layer {show(name)} ({op}) {refusal.text}", layer=name)


def assemble(name: str, calls: Sequence[Call], outputs: Sequence[str]) -> LayerGraph:
    """Checks a network and infers its shapes.

    Args:
        name: Name for people; cut to 128 printable characters.
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
    shapes: dict[str, Shape] = {}
    done: list[Layer] = []
    weights = 0
    for call in _in_execution_order(calls):
        received = [shapes[producer] for producer in call.inputs]
        try:
            config, shape = layers.normalise(call.op, call.config, received)
            weights += layers.weight_count(call.op, config, received)
        except Refused as refusal:
            raise refuse_layer(refusal, call.name, call.op) from None
        if weights > MAX_PARAMETERS:
            raise refuse(
                TOO_LARGE,
                f"A network may have at most {MAX_PARAMETERS} parameters; layer {call.name!r} goes beyond that. "
                f"Received: {weights} up to there",
                layer=call.name,
            )
        shapes[call.name] = shape
        done.append(Layer(call.name, call.op, call.inputs, config, shape))
    title = "".join(character for character in name if character.isprintable())[:128]
    graph = LayerGraph(title, tuple(done), tuple(outputs))
    _check_used(graph)
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

    def add(self, op: str, name: str, *inputs: str, **config: Any) -> str:
        """Adds a layer call and returns its name. Without inputs it takes the layer added last."""
        self._calls.append(Call(name, op, inputs or (self._calls[-1].name,), config))
        return name

    def build(self) -> LayerGraph:
        """Returns the graph; the layer added last is its output. Raises InvalidArgument as `assemble` does."""
        return assemble(self._name, self._calls, (self._calls[-1].name,))


def _check_names(calls: Sequence[Call]) -> None:
    seen: set[str] = set()
    for call in calls:
        if not _NAME.fullmatch(call.name):
            raise refuse(
                MALFORMED,
                "A layer name has 1 to 128 letters, digits, '_', '.' or '-' and starts with a letter or digit. "
                f"Received: {show(call.name)}",
                layer=call.name,
            )
        if call.name in seen:
            raise refuse(MALFORMED, f"Layer names are unique. Received: {show(call.name)} twice", layer=call.name)
        seen.add(call.name)
    for call in calls:
        for producer in call.inputs:
            if producer not in seen:
                raise refuse(
                    MALFORMED,
                    f"Layer {show(call.name)} takes the output of a layer that is not in the network. Received: {show(producer)}",
                    layer=call.name,
                )


def _check_ends(calls: Sequence[Call], outputs: Sequence[str]) -> None:
    sources = [call.name for call in calls if call.op == "InputLayer"]
    if not sources:
        raise refuse(MALFORMED, "A network needs an InputLayer. Received: none")
    if len(sources) > 1:
        raise refuse(
            UNSUPPORTED, f"A network with several inputs is not supported. Received: {show(sources)}", layer=sources[1]
        )
    if len(outputs) != 1:
        raise refuse(UNSUPPORTED, f"A network must have exactly one output. Received: {len(outputs)}: {show(list(outputs))}")
    if outputs[0] not in {call.name for call in calls}:
        raise refuse(MALFORMED, f"The output is a layer that is not in the network. Received: {show(outputs[0])}")


def _in_execution_order(calls: Sequence[Call]) -> list[Call]:
    """Returns producers before consumers, and otherwise the order received (Kahn's algorithm)."""
    waiting = {index: len(set(call.inputs)) for index, call in enumerate(calls)}
    consumers: dict[str, list[int]] = {call.name: [] for call in calls}
    for index, call in enumerate(calls):
        for producer in set(call.inputs):
            consumers[producer].append(index)
    ready = [index for index, count in waiting.items() if count == 0]
    ordered = []
    while ready:
        index = heapq.heappop(ready)
        ordered.append(calls[index])
        for consumer in consumers[calls[index].name]:
            waiting[consumer] -= 1
            if waiting[consumer] == 0:
                heapq.heappush(ready, consumer)
    if len(ordered) < len(calls):
        placed = {call.name for call in ordered}
        stuck = next(call.name for call in calls if call.name not in placed)
        raise refuse(MALFORMED, f"Layer {stuck!r} depends on its own output; a network has no cycles", layer=stuck)
    return ordered


def _check_used(graph: LayerGraph) -> None:
    """Refuses layers that do not lead to the output: their cost would count, yet Keras would not build them."""
    needed = set(graph.outputs)
    for layer in reversed(graph.layers):
        if layer.name in needed:
            needed.update(layer.inputs)
    for layer in graph:
        if layer.name not in needed:
            raise refuse(
                MALFORMED, f"Layer {layer.name!r} ({layer.op}) does not lead to the output; remove it", layer=layer.name
            )
