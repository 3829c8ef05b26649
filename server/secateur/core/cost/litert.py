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
    VALUEWISE,
    Kind,
    Temporary,
    joined,
)
from secateur.core.cost.lifetimes import Tensor
from secateur.core.cost.variants import DROPPED, KERNELS, activation_of, inline_of, kind_of
from secateur.core.graph import Layer, LayerGraph

_SLIDING: Final = frozenset({"Conv2D", "DepthwiseConv2D", "SeparableConv2D"})
_FUSING: Final = KERNELS | {"Add", "Subtract", "Multiply", "BatchNormalization"}
_NOTHING: Final = Kind(0, 0, operators=0)
_FOLDED: Final = {"BatchNormalization": FOLDED_NORMALIZATION, "Normalization": _NOTHING, "Rescaling": _NOTHING}
"""Price of what the converter works into the weights of the kernel before it."""
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
        if layer.op in DROPPED or activation_of(layer) == "linear" or _keeps_shape(graph, layer):
            tensor_of[layer.name] = inputs[0]
            continue
        before = by_output.get(inputs[0])
        if before is not None and _only_reader(graph, layer) and _folds(graph, layer, before):
            del by_output[before.output]
            kind = _with_folded(before.kind, _FOLDED.get(layer.op, FOLDED_ACTIVATION))
            fusing = before.fusing and layer.op in _FOLDED
            by_output[layer.name] = Operator(kind, (*before.layers, layer.name), before.inputs, fusing)
            continue
        if before is not None and _only_reader(graph, layer) and _takes_padding(graph, layer, before):
            del by_output[before.output]
            inputs = before.inputs
        kind, inline = kind_of(graph, layer), inline_of(layer)
        fusing = layer.op in _FUSING and layer.config.get("activation", "linear") == "linear"
        if inline:
            kind = joined(kind, ACTIVATIONS.get(inline, VALUEWISE))
        by_output[layer.name] = Operator(kind, (layer.name,), inputs, fusing)
    return tuple(by_output.values())


@cache  # of a few kinds; networks fold hundreds of layers
def _with_folded(kind: Kind, folded: Kind) -> Kind:
    return replace(kind, int8_bytes=kind.int8_bytes + folded.int8_bytes, float_bytes=kind.float_bytes + folded.float_bytes)


def _keeps_shape(graph: LayerGraph, layer: Layer) -> bool:
    return layer.op in {"Flatten", "Reshape"} and layer.output_shape == graph[layer.inputs[0]].output_shape


def _only_reader(graph: LayerGraph, layer: Layer) -> bool:
    name = layer.inputs[0]
    return graph.consumers[name] == (layer.name,) and name not in graph.outputs


def _takes_padding(graph: LayerGraph, layer: Layer, before: Operator) -> bool:
    """Whether a convolution does the zero padding before it itself: it can if that is what "same" would have padded."""
    padding = graph[before.output]
    if padding.op != "ZeroPadding2D" or layer.op not in _SLIDING or layer.config["padding"] != "valid":
        return False
    config, margins = layer.config, []
    sizes = graph.input_shapes(padding.name)[0][:-1]
    for size, window, stride, rate in zip(
        sizes, config["kernel_size"], config["strides"], config["dilation_rate"], strict=True
    ):
        missing = max(0, (-(-size // stride) - 1) * stride + (window - 1) * rate + 1 - size)
        margins.append([missing // 2, missing - missing // 2])
    return bool(padding.config["padding"] == margins and padding.config["data_format"] == "channels_last")


def _folds(graph: LayerGraph, layer: Layer, before: Operator) -> bool:
    if not before.fusing:
        return False
    if layer.op in _FOLDED:
        return graph[before.layers[0]].op in KERNELS
    return activation_of(layer) in {"relu", "relu6"}


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
    computed = [Tensor(name, first[name], last[name]) for name in first]
    scratch: list[Tensor] = []
    for each in inside:
        start, temporary = starts[each.operator.output], each.temporary
        tensor = Tensor(each.name, start + temporary.first, start + temporary.last)
        (scratch if temporary.first == temporary.last else computed).append(tensor)
    return (*sorted(computed, key=lambda tensor: tensor.first), *scratch)


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
    once: dict[str, int] = {}
    for operator in operators:
        layer = graph[operator.layers[0]]
        name = activation_of(layer) or layer.op
        once[name] = max(once.get(name, 0), kind_of(graph, layer).once)
        if inline := inline_of(layer):
            once[inline] = ACTIVATIONS.get(inline, VALUEWISE).once
    calls = sum(kind.operators for kind in kinds)
    planned = sum(layer.op == "InputLayer" for layer in graph) + calls  # and one output per operator
    tensors = planned + sum(kind.constants for kind in kinds)
    return Frame(
        flash_bytes=FILE_BYTES + sum(once.values()) + sum(kind.int8_bytes for kind in kinds),
        flash_float32_bytes=FLOAT_FILE_BYTES + sum(once.values()) + sum(kind.float_bytes for kind in kinds),
        arena_bytes=ARENA_BYTES + TENSOR_BYTES * tensors + OPERATOR_BYTES * calls + sum(kind.arena_bytes for kind in kinds),
        planning_bytes=PLAN_BYTES + PLAN_TENSOR_BYTES * tensors + PLAN_BUFFER_BYTES * planned,
    )
