"""Residual blocks with an identity shortcut: finding them, and networks without some of them.

Such a block adds a branch to the very tensor that the branch starts from, so its input and output have one shape (stride 1,
C_in = C_out) and the network stays whole when the block is replaced by identity. This is the layer pruning of hybrid schemes
(Sadaqa & Liu, arXiv 2509.08714).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from secateur.core.errors import InvalidArgument
from secateur.core.graph.groups import channel_groups
from secateur.core.graph.ir import Layer, LayerGraph
from secateur.core.graph.reader import from_data

_IDEMPOTENT: Final = frozenset({"relu", "relu6"})


@dataclass(frozen=True, slots=True)
class Block:
    """A residual block that can be replaced by identity.

    Args:
        name: Name of its addition.
        source: Layer whose output enters the block and takes the place of the block's output when it is dropped.
        output: Last layer of the block: the addition, or the activation after it where the source is activated alike.
        layers: Layers that go with the block, in execution order.
        groups: Names of the channel groups that are produced within the block alone, in execution order.
    """

    name: str
    source: str
    output: str
    layers: tuple[str, ...]
    groups: tuple[str, ...]


def residual_blocks(graph: LayerGraph) -> tuple[Block, ...]:
    """Returns the identity-shortcut residual blocks of a network, in execution order.

    A block is an `Add` of two tensors, one of which is the only way into the branch that ends in the other; nothing but the
    addition reads the branch, and no layer elsewhere shares its weights. Of nested blocks, inner and outer are found:
    dropping the outer drops the inner.
    """
    found = []
    position = {layer.name: number for number, layer in enumerate(graph)}
    sets = {group.name: frozenset(group.producers) for group in channel_groups(graph, residual="coupled")}
    for layer in graph:
        if layer.op != "Add" or len(layer.inputs) != 2:
            continue
        for source, branch in (layer.inputs, layer.inputs[::-1]):
            inner = _branch(graph, source, branch, layer.name, position)
            if not inner or graph[source].output_shape != layer.output_shape:
                continue
            output = _output(graph, source, layer)
            names = sorted({*inner, layer.name, output}, key=position.__getitem__)
            own = tuple(name for name, producers in sets.items() if producers <= inner)
            found.append(Block(layer.name, source, output, tuple(names), own))
            break
    return tuple(found)


def drop_blocks(graph: LayerGraph, names: Collection[str]) -> LayerGraph:
    """Returns the network with the named blocks replaced by identity; all other layers stay as they are.

    Args:
        graph: Network to change; it stays as it is.
        names: Names of blocks, as `residual_blocks` gives them.

    Raises:
        InvalidArgument: BLOCK_UNKNOWN for a name that is no removable block.
    """
    blocks = {block.name: block for block in residual_blocks(graph)}
    for name in names:
        if name not in blocks:
            raise InvalidArgument(
                "BLOCK_UNKNOWN",
                f"Only residual blocks with an identity shortcut can be dropped, by the name of their addition. "
                f"This network has {len(blocks)} of them. Received: {name[:128]!r}",
                field=name[:128],
            )
    dropped = [blocks[name] for name in dict.fromkeys(names)]
    gone = {name for block in dropped for name in block.layers}
    instead = {block.output: block.source for block in dropped}

    def resolve(name: str) -> str:
        while name in instead:  # a run of dropped blocks leads back to the first one's source
            name = instead[name]
        return name

    data = graph.to_dict()
    data["layers"] = [
        {**layer, "inputs": [resolve(name) for name in layer["inputs"]]}
        for layer in data["layers"]
        if layer["name"] not in gone
    ]
    data["outputs"] = [resolve(name) for name in data["outputs"]]
    return from_data(data)


def _branch(graph: LayerGraph, source: str, end: str, addition: str, position: dict[str, int]) -> frozenset[str]:
    """Returns the layers between `source` and `end`, `end` included, or none if that is not a closed branch."""
    inner: set[str] = set()
    left = [end]
    while left:
        name = left.pop()
        if name == source or name in inner:
            continue
        # Every layer behind the source is younger than it; an older one, or an input, is another way into the branch.
        if position[name] < position[source] or not graph[name].inputs:
            return frozenset()
        inner.add(name)
        left.extend(graph[name].inputs)
    closed = all(reader in inner or (name == end and reader == addition) for name in inner for reader in graph.consumers[name])
    return frozenset(inner) if closed and not inner & set(graph.outputs) else frozenset()


def _output(graph: LayerGraph, source: str, addition: Layer) -> str:
    """Returns the last layer of the block.

    With f(f(x)) = f(x), an activation after the addition is itself identity on a source that ends in the same activation.
    """
    readers = graph.consumers[addition.name]
    if len(readers) == 1 and addition.name not in graph.outputs:
        after = graph[readers[0]]
        if _is_idempotent(after) and (after.op, after.config) == (graph[source].op, graph[source].config):
            return after.name
    return addition.name


def _is_idempotent(layer: Layer) -> bool:
    if layer.op == "ReLU":
        ceiling = layer.config["max_value"]
        return bool(layer.config["negative_slope"] == 0 and (ceiling is None or ceiling >= layer.config["threshold"]))
    return layer.op == "Activation" and layer.config["activation"] in _IDEMPOTENT
