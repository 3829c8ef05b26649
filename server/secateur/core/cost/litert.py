"""What the int8 exporter and TensorFlow Lite Micro make of a graph: operators, file size and arena.

The converter folds batch normalisation into the layer before it, fuses ReLU and ReLU6, and drops layers that only matter in
training. What is left is a list of operators, each with one output tensor and its constants.

The constants below were fitted to files of the workers' own exporter (TensorFlow 2.21) and to arenas of the interpreter that
measures them (tflite-micro of October 2026, 64-bit host): chains, residual and depthwise networks of 8 to 87 operators.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from secateur.core.cost.lifetimes import Tensor
from secateur.core.graph import Layer, LayerGraph


@dataclass(frozen=True, slots=True)
class Kind:
    """Fixed price of the operators that one layer turns into, whatever its channels.

    Args:
        flash_bytes: Tables, alignment and padding of operators and tensors in the file, names left out.
        arena_bytes: Options and prepared data in the persistent part of the arena.
        constants: Constant tensors.
        operators: Operators.
    """

    flash_bytes: int
    arena_bytes: int
    constants: int = 0
    operators: int = 1


_KERNEL: Final = Kind(flash_bytes=337, arena_bytes=108, constants=2)
_MERGE: Final = Kind(flash_bytes=117, arena_bytes=68)
_POOL: Final = Kind(flash_bytes=145, arena_bytes=72)
_REDUCE: Final = Kind(flash_bytes=240, arena_bytes=150, constants=1)
_ARRANGE: Final = Kind(flash_bytes=230, arena_bytes=60, constants=1)
_VALUEWISE: Final = Kind(flash_bytes=120, arena_bytes=72)
_SCALE: Final = Kind(flash_bytes=500, arena_bytes=144, constants=2, operators=2)

_KINDS: Final = {
    "Conv2D": _KERNEL,
    "DepthwiseConv2D": _KERNEL,
    "SeparableConv2D": Kind(2 * _KERNEL.flash_bytes, 2 * _KERNEL.arena_bytes, constants=4, operators=2),
    "Dense": _KERNEL,
    "BatchNormalization": _SCALE,
    "Rescaling": _SCALE,
    "Add": _MERGE,
    "Subtract": _MERGE,
    "Multiply": _MERGE,
    "Maximum": _MERGE,
    "Minimum": _MERGE,
    "Average": _SCALE,
    "Concatenate": _MERGE,
    "MaxPooling2D": _POOL,
    "AveragePooling2D": _POOL,
    "GlobalAveragePooling2D": _REDUCE,
    "GlobalMaxPooling2D": _REDUCE,
    "Flatten": _ARRANGE,
    "Reshape": _ARRANGE,
    "ZeroPadding2D": _ARRANGE,
    "UpSampling2D": _ARRANGE,
}
"""Price by layer. Layers that are not listed work value by value."""
_KERNELS: Final = frozenset({"Conv2D", "DepthwiseConv2D", "SeparableConv2D", "Dense"})
_FUSING: Final = _KERNELS | {"Add", "Subtract", "Multiply"}
_DROPPED: Final = frozenset({"Dropout", "SpatialDropout2D"})

_FILE_BYTES: Final = 700
_NAME_BYTES: Final = 20
_ARENA_BYTES: Final = 700
_TENSOR_ARENA_BYTES: Final = 24
_OPERATOR_ARENA_BYTES: Final = 64


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
        if layer.op in _DROPPED or _activation(layer) == "linear":
            tensor_of[layer.name] = inputs[0]
            continue
        before = by_output.get(inputs[0])
        if before is not None and _only_reader(graph, layer) and _folds(graph, layer, before):
            del by_output[before.output]
            fusing = before.fusing and layer.op == "BatchNormalization"
            by_output[layer.name] = replace(before, layers=(*before.layers, layer.name), fusing=fusing)
            continue
        inline = layer.config.get("activation", "linear") if layer.op in _KERNELS else "linear"
        fusing = layer.op in _FUSING and inline == "linear"
        kind = _KINDS.get(layer.op, _VALUEWISE)
        if inline not in {"linear", "relu", "relu6"}:
            kind = _joined(kind, _VALUEWISE)
        by_output[layer.name] = Operator(kind, (layer.name,), inputs, fusing)
    return tuple(by_output.values())


def _activation(layer: Layer) -> str:
    """Returns the activation that a layer of its own applies; empty if it is another layer."""
    if layer.op == "Activation":
        return str(layer.config["activation"])
    if layer.op != "ReLU":
        return ""
    config = layer.config
    plain = config["negative_slope"] == 0 and config["threshold"] == 0
    return {None: "relu", 6: "relu6"}.get(config["max_value"], "other") if plain else "other"


def _only_reader(graph: LayerGraph, layer: Layer) -> bool:
    name = layer.inputs[0]
    return graph.consumers[name] == (layer.name,) and name not in graph.outputs


def _folds(graph: LayerGraph, layer: Layer, before: Operator) -> bool:
    if not before.fusing:
        return False
    if layer.op == "BatchNormalization":
        return graph[before.layers[0]].op in _KERNELS
    return _activation(layer) in {"relu", "relu6"}


def _joined(first: Kind, second: Kind) -> Kind:
    return Kind(
        first.flash_bytes + second.flash_bytes,
        first.arena_bytes + second.arena_bytes,
        first.constants + second.constants,
        first.operators + second.operators,
    )


def arena_tensors(graph: LayerGraph, operators: tuple[Operator, ...]) -> tuple[Tensor, ...]:
    """Returns the tensors that the interpreter plans: the network input and one per operator, in the order of the file."""
    first = {layer.name: 0 for layer in graph if layer.op == "InputLayer"}
    last = dict(first)
    for step, operator in enumerate(operators, start=1):
        for name in operator.inputs:
            last[name] = step
        first[operator.output] = last[operator.output] = step
    return tuple(Tensor(name, first[name], last[name]) for name in first)


def fixed_flash_bytes(operators: tuple[Operator, ...]) -> int:
    """Returns the part of the int8 file that does not depend on widths."""
    return _FILE_BYTES + sum(operator.kind.flash_bytes + _name_bytes(operator) for operator in operators)


def _name_bytes(operator: Operator) -> int:
    """Length of the tensor names: constants carry the first layer's name, the output that of the activation as well."""
    first, last = operator.layers[0], operator.layers[-1]
    named = [first] * (1 + operator.kind.constants // 2) + [last] * (last != first)
    return sum(len(name) + _NAME_BYTES for name in named)


def fixed_arena_bytes(operators: tuple[Operator, ...]) -> int:
    """Returns the part of the arena that does not depend on widths."""
    tensors = 1 + sum(operator.kind.operators + operator.kind.constants for operator in operators)
    calls = sum(operator.kind.operators for operator in operators)
    own = sum(operator.kind.arena_bytes for operator in operators)
    return _ARENA_BYTES + _TENSOR_ARENA_BYTES * tensors + _OPERATOR_ARENA_BYTES * calls + own
