"""What exporter and TensorFlow Lite Micro make of a graph: operators, file sizes and arena.

The converter folds batch normalisation into the layer before it, fuses ReLU and ReLU6, and drops layers that only matter in
training. What is left is a list of operators with their constants. `tests/benchmarks/sizes.py` holds the predictions against
exported files.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Final

from secateur.core.cost.kinds import (
    ACTIVATIONS,
    FOLDED_ACTIVATION,
    FOLDED_NORMALIZATION,
    KINDS,
    VALUEWISE,
    Kind,
    Temporary,
    joined,
)
from secateur.core.cost.lifetimes import Tensor
from secateur.core.graph import Layer, LayerGraph

_KERNELS: Final = frozenset({"Dense", *(op for op in KINDS if "Conv" in op)})
_FUSING: Final = _KERNELS | {"Add", "Subtract", "Multiply", "BatchNormalization"}
_FOLDED: Final = {"BatchNormalization": FOLDED_NORMALIZATION, "Rescaling": Kind(0, 0, operators=0)}
"""Price of what the converter works into the weights of the kernel before it."""
_DROPPED: Final = frozenset(
    {
        "ActivityRegularization", "AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise", "Identity", "SpatialDropout1D",
        "SpatialDropout2D",
    }
)  # fmt: skip

FILE_BYTES: Final = 624
FLOAT_FILE_BYTES: Final = 572
"""Header, signature and metadata of a file."""
ARENA_BYTES: Final = 735
"""What the interpreter keeps for itself."""
TENSOR_BYTES: Final = 24
"""Kept per tensor, constants included."""
OPERATOR_BYTES: Final = 64
"""Kept per operator."""
PLAN_BYTES: Final = 264
PLAN_TENSOR_BYTES: Final = 32
PLAN_BUFFER_BYTES: Final = 40
"""While it plans the memory, the interpreter needs room for its books: a part, more per tensor, more per planned tensor. The
room lies where the tensors go afterwards, so it counts only where it is the larger of the two."""


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator of the file, or the few that one layer turns into.

    Args:
        kind: Its fixed price.
        layers: The layer it carries out, and those folded into it.
        inputs: Layers whose output tensors it reads.
        fusing: Whether it can take an activation.
    """

    kind: Kind
    layers: tuple[str, ...]
    inputs: tuple[str, ...]
    fusing: bool

    @property
    def output(self) -> str:
        """Layer whose output it writes."""
        return self.layers[-1]


def lower(graph: LayerGraph) -> tuple[Operator, ...]:
    """Returns the operators of the int8 file in execution order."""
    by_output: dict[str, Operator] = {}
    tensor_of: dict[str, str] = {}  # layer -> layer that writes the tensor holding its output
    for layer in graph:
        inputs = tuple(tensor_of[name] for name in layer.inputs)
        tensor_of[layer.name] = layer.name
        if layer.op == "InputLayer":
            continue
        if layer.op in _DROPPED or _activation(layer) == "linear" or _keeps_shape(graph, layer):
            tensor_of[layer.name] = inputs[0]
            continue
        before = by_output.get(inputs[0])
        if before is not None and _only_reader(graph, layer) and _folds(graph, layer, before):
            del by_output[before.output]
            kind = _with_folded(before.kind, _FOLDED.get(layer.op, FOLDED_ACTIVATION))
            fusing = before.fusing and layer.op in _FOLDED
            by_output[layer.name] = Operator(kind, (*before.layers, layer.name), before.inputs, fusing)
            continue
        inline = layer.config.get("activation", "linear") if layer.op in _KERNELS else "linear"
        fusing = layer.op in _FUSING and inline == "linear"
        kind = KINDS.get(layer.op, ACTIVATIONS.get(_activation(layer), VALUEWISE))
        if inline not in {"linear", "relu", "relu6"}:
            kind = joined(kind, ACTIVATIONS.get(inline, VALUEWISE))
        by_output[layer.name] = Operator(kind, (layer.name,), inputs, fusing)
    return tuple(by_output.values())


@cache  # of a few kinds; networks fold hundreds of layers
def _with_folded(kind: Kind, folded: Kind) -> Kind:
    return replace(kind, int8_bytes=kind.int8_bytes + folded.int8_bytes, float_bytes=kind.float_bytes + folded.float_bytes)


def _activation(layer: Layer) -> str:
    """Returns the activation that a layer of its own applies; empty if it is another layer."""
    if layer.op == "Activation":
        return str(layer.config["activation"])
    if layer.op != "ReLU":
        return ""
    config = layer.config
    if config["threshold"] != 0:
        return "other"
    if config["negative_slope"] != 0:
        return "leaky_relu"
    return {None: "relu", 6: "relu6"}.get(config["max_value"], "other")


def _keeps_shape(graph: LayerGraph, layer: Layer) -> bool:
    return layer.op in {"Flatten", "Reshape"} and layer.output_shape == graph[layer.inputs[0]].output_shape


def _only_reader(graph: LayerGraph, layer: Layer) -> bool:
    name = layer.inputs[0]
    return graph.consumers[name] == (layer.name,) and name not in graph.outputs


def _folds(graph: LayerGraph, layer: Layer, before: Operator) -> bool:
    if not before.fusing:
        return False
    if layer.op in _FOLDED:
        return graph[before.layers[0]].op in _KERNELS
    return _activation(layer) in {"relu", "relu6"}


@dataclass(frozen=True, slots=True)
class Inside:
    """A tensor between the operators of one layer.

    Args:
        name: Name of its own, unlike that of any layer.
        operator: The operator that it is part of.
        temporary: Its width, its steps and what it has the shape of.
    """

    name: str
    operator: Operator
    temporary: Temporary


def tensors_inside(operators: tuple[Operator, ...]) -> tuple[Inside, ...]:
    """Returns the tensors between the operators of single layers."""
    return tuple(
        Inside(f"{operator.layers[0]}: temporary {number}", operator, temporary)
        for operator in operators
        for number, temporary in enumerate(operator.kind.temporaries)
    )


def arena_tensors(graph: LayerGraph, operators: tuple[Operator, ...], inside: tuple[Inside, ...]) -> tuple[Tensor, ...]:
    """Returns the tensors that the interpreter plans: inputs, one per operator in the order of the file, temporaries.

    Args:
        graph: The network.
        operators: From `lower`.
        inside: From `tensors_inside`.
    """
    first = {layer.name: 0 for layer in graph if layer.op == "InputLayer"}
    last = dict(first)
    starts: dict[str, int] = {}
    step = 1
    for operator in operators:
        starts[operator.output] = step
        for name in operator.inputs:
            last[name] = step + operator.kind.reads
        step += operator.kind.operators
        first[operator.output] = last[operator.output] = step - 1
    between = (
        Tensor(
            each.name, starts[each.operator.output] + each.temporary.first, starts[each.operator.output] + each.temporary.last
        )
        for each in inside
    )
    return (*(Tensor(name, first[name], last[name]) for name in first), *between)


@dataclass(frozen=True, slots=True)
class Frame:
    """What the file and the arena take whatever the widths.

    Args:
        flash_bytes: Of the int8 file.
        flash_float32_bytes: Of the float32 file.
        arena_bytes: Of the arena, for as long as the interpreter lives.
        planning_bytes: Of the arena, while the memory is being planned.
    """

    flash_bytes: int
    flash_float32_bytes: int
    arena_bytes: int
    planning_bytes: int


def frame_of(graph: LayerGraph, operators: tuple[Operator, ...]) -> Frame:
    """Returns the part of files and arena that does not depend on widths.

    Args:
        graph: The network.
        operators: From `lower`.
    """
    kinds = [operator.kind for operator in operators]
    firsts = {graph[operator.layers[0]].op: operator.kind for operator in reversed(operators)}
    once = sum(kind.once for kind in firsts.values())
    calls = sum(kind.operators for kind in kinds)
    planned = sum(layer.op == "InputLayer" for layer in graph) + calls  # and one output per operator
    tensors = planned + sum(kind.constants for kind in kinds)
    return Frame(
        flash_bytes=FILE_BYTES + once + sum(kind.int8_bytes for kind in kinds),
        flash_float32_bytes=FLOAT_FILE_BYTES + once + sum(kind.float_bytes for kind in kinds),
        arena_bytes=ARENA_BYTES + TENSOR_BYTES * tensors + OPERATOR_BYTES * calls + sum(kind.arena_bytes for kind in kinds),
        planning_bytes=PLAN_BYTES + PLAN_TENSOR_BYTES * tensors + PLAN_BUFFER_BYTES * planned,
    )
