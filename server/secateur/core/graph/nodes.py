"""Calls of layers as Keras 3 and Keras 2 write them ("inbound nodes")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from secateur.core.graph.arguments import MALFORMED, UNSUPPORTED, show
from secateur.core.graph.documents import mapping, refuse, sequence

_CONSTANT: Final = "_CONSTANT_VALUE"
"""Stands for a layer's name where Keras 2 writes a constant."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a tensor comes from: Keras's history of it.

    Args:
        layer: Name of the layer, within its model.
        call: Which call of that layer.
        output: Which output of that call.
    """

    layer: str
    call: int = 0
    output: int = 0


Operand = Source | float
"""What a call takes: a tensor, or, for Keras's arithmetic, a number."""


def operands_of(name: str, node: Any) -> tuple[Operand, ...]:
    """Returns what a call takes, in order.

    Args:
        name: Layer that is called.
        node: One of its inbound nodes.

    Raises:
        InvalidArgument: ARCHITECTURE_MALFORMED or LAYER_UNSUPPORTED.
    """
    if not isinstance(node, Mapping):
        return _nested_lists(name, sequence(node, f"The inbound node of layer {show(name)}", name))
    _check_keywords(name, mapping(node.get("kwargs", {}), f"The keyword arguments of layer {show(name)}", name))
    found: list[Operand] = []
    for argument in sequence(node.get("args"), f"The arguments of layer {show(name)}", name):
        found.extend(_operand(name, item) for item in (argument if isinstance(argument, list) else [argument]))
    return tuple(found)


def _operand(name: str, item: Any) -> Operand:
    if isinstance(item, int | float) and not isinstance(item, bool):
        return item
    if not isinstance(item, Mapping) or item.get("class_name") != "__keras_tensor__":
        raise refuse(
            UNSUPPORTED, f"Layer {show(name)} takes something other than a layer's output. Received: {show(item)}", layer=name
        )
    return source_of(name, mapping(item.get("config"), f"An input of layer {show(name)}", name).get("keras_history"))


def _nested_lists(name: str, node: list[Any]) -> tuple[Operand, ...]:
    """Reads a node of Keras 2: [producer, call, output, keyword arguments], or a list of those."""
    found: list[Operand] = []
    for history in [node] if node and isinstance(node[0], str) else node:
        if not isinstance(history, list) or len(history) not in (3, 4):
            raise refuse(
                MALFORMED, f"Layer {show(name)} has an input that names no layer. Received: {show(history)}", layer=name
            )
        constant = history[0] == _CONSTANT and isinstance(history[2], int | float) and not isinstance(history[2], bool)
        found.append(history[2] if constant else source_of(name, history[:3]))
        keywords = dict(mapping(history[3] if len(history) == 4 else {}, f"The keyword arguments of layer {show(name)}", name))
        other = keywords.pop("y", None)  # the second operand of Keras 2's arithmetic
        if isinstance(other, list):
            found.append(source_of(name, other))
        elif isinstance(other, int | float) and not isinstance(other, bool):
            found.append(other)
        keywords.pop("name", None)
        _check_keywords(name, keywords)
    return tuple(found)


def _check_keywords(name: str, keywords: Mapping[str, Any]) -> None:
    for key, value in keywords.items():
        if value not in (None, False):  # Keras writes training=False for Dropout
            raise refuse(
                UNSUPPORTED,
                f"Layer {show(name)} is called with an argument that is not supported. Received: {show(key)}={show(value)}",
                layer=name,
            )


def source_of(name: str, history: Any) -> Source:
    """Returns the tensor named by [layer, call, output]. Raises InvalidArgument ARCHITECTURE_MALFORMED.

    Args:
        name: Layer that takes the tensor.
        history: What Keras wrote.
    """
    if not isinstance(history, list) or len(history) != 3 or not isinstance(history[0], str):
        raise refuse(MALFORMED, f"Layer {show(name)} has an input that names no layer. Received: {show(history)}", layer=name)
    layer, call, output = history
    if type(call) is not int or type(output) is not int or min(call, output) < 0:
        raise refuse(
            MALFORMED, f"Layer {show(name)} has an input that names no call of a layer. Received: {show(history)}", layer=name
        )
    return Source(layer, call, output)


def ends_of(ends: Any, what: str) -> tuple[Source, ...]:
    """Returns the tensors in `input_layers` or `output_layers`: [name, call, output], or a list of such triples.

    Raises:
        InvalidArgument: ARCHITECTURE_MALFORMED; LAYER_UNSUPPORTED, if they are a dict.
    """
    if isinstance(ends, Mapping):
        raise refuse(
            UNSUPPORTED,
            f"{what} is a dict of named tensors; make the model of one keras.Input of images and one output, without a dict. "
            f"Received: {show(list(ends))}",
        )
    entries = sequence(ends, what)
    if len(entries) == 3 and isinstance(entries[0], str):
        entries = [entries]
    return tuple(source_of("output_layers", entry) for entry in entries)
