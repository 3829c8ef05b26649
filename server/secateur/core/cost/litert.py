"""What the int8 exporter and TensorFlow Lite Micro make of a graph: operators, file size and arena.

The converter folds batch normalisation into the layer before it, fuses ReLU and ReLU6, and drops layers that only matter in
training. What is left is a list of operators, each with an output tensor and constants.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from secateur.core.cost.lifetimes import Tensor
from secateur.core.graph import Layer, LayerGraph


@dataclass(frozen=True, slots=True)
class Kind:
    """Fixed price of one operator, whatever its channels.

    Args:
        constants: Constant tensors that it reads.
        flash_bytes: Tables, offsets, alignment and padding that operator and tensors take in the file, names left out.
        arena_bytes: Its parameters and prepared data in the persistent part of the arena.
    """

    constants: int
    flash_bytes: int
    arena_bytes: int


CONV: Final = Kind(constants=2, flash_bytes=337, arena_bytes=108)
DENSE: Final = Kind(constants=2, flash_bytes=337, arena_bytes=108)
MERGE: Final = Kind(constants=0, flash_bytes=117, arena_bytes=68)
POOL: Final = Kind(constants=0, flash_bytes=145, arena_bytes=72)
REDUCE: Final = Kind(constants=1, flash_bytes=240, arena_bytes=108)
WITH_CONSTANT: Final = Kind(constants=1, flash_bytes=240, arena_bytes=72)
VALUEWISE: Final = Kind(constants=0, flash_bytes=120, arena_bytes=72)


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator of the file.

    Args:
        kind: Its fixed price.
        layers: Layers it carries out: the first, and those folded into it.
        inputs: Layers whose output tensors it reads.
        fusable: Whether an activation can still be fused.
    """

    kind: Kind
    layers: tuple[str, ...]
    inputs: tuple[str, ...]
    fusable: bool

    @property
    def output(self) -> str:
        """Layer whose output it writes."""
        return self.layers[-1]


def lower(graph: LayerGraph) -> tuple[Operator, ...]:
    """Returns the operators of the int8 file in execution order."""
    operators: dict[str, Operator] = {}  # by the layer whose output they write
    written: dict[str, str] = {}  # layer -> layer whose tensor holds its output
    for layer in graph:
        inputs = tuple(written[name] for name in layer.inputs)
        written[layer.name] = layer.name
        if layer.op == "InputLayer":
            continue
        if _vanishes(layer):
            written[layer.name] = inputs[0]
            continue
        before = operators.get(inputs[0])
        alone = all(graph.consumers[name] and len(graph.consumers[name]) == 1 and name not in graph.outputs for name in layer.inputs)
        if before is not None and alone and _folds(layer, before):
            del operators[before.output]
            fusable = before.fusable and not _is_relu(layer)
            operators[layer.name] = replace(before, layers=(*before.layers, layer.name), fusable=fusable)
            continue
        operators[layer.name] = Operator(_KINDS.get(layer.op, VALUEWISE), (layer.name,), inputs, layer.op in _FUSING)
    return tuple(operators.values())
