"""What the int8 exporter and TensorFlow Lite Micro make of a graph: operators, file size and arena.

The converter folds batch normalisation into the layer before it, fuses ReLU and ReLU6, and drops layers that only matter in
training. What is left is a list of operators, each with one output tensor and its constants.

The constants below were fitted to files of the workers' own exporter (TensorFlow 2.21) and to the smallest arenas in which the
interpreter that measures them starts (tflite-micro of October 2026, 64-bit host): 17 chains, residual and depthwise networks of
5 to 88 operators. On these, arenas come out 0 to 0.5 % too large and files within 1 %, the smallest files (5 kB) within 2 %.
Outside of that the workers measure and plan again: activations that TensorFlow Lite Micro has no int8 kernel for (ELU) are
computed in float32 at several times the memory.
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
        flash_bytes: Tables, names, alignment and padding of operators and tensors in the file.
        arena_bytes: Options and prepared data in the persistent part of the arena.
        constants: Constant tensors.
        operators: Operators.
    """

    flash_bytes: int
    arena_bytes: int
    constants: int = 0
    operators: int = 1


def _joined(first: Kind, second: Kind) -> Kind:
    return Kind(
        first.flash_bytes + second.flash_bytes,
        first.arena_bytes + second.arena_bytes,
        first.constants + second.constants,
        first.operators + second.operators,
    )


_KERNEL: Final = Kind(flash_bytes=412, arena_bytes=108, constants=2)
_MERGE: Final = Kind(flash_bytes=92, arena_bytes=75)
_POOL: Final = Kind(flash_bytes=122, arena_bytes=72)
_REDUCE: Final = Kind(flash_bytes=220, arena_bytes=65, constants=1)
_RESHAPE: Final = Kind(flash_bytes=296, arena_bytes=32, constants=1)
_PAD: Final = Kind(flash_bytes=392, arena_bytes=60, constants=1)
_SOFTMAX: Final = Kind(flash_bytes=192, arena_bytes=80)
_VALUEWISE: Final = Kind(flash_bytes=130, arena_bytes=15)
_SCALE: Final = Kind(flash_bytes=524, arena_bytes=120, constants=2, operators=2)

_SEPARABLE: Final = Kind(flash_bytes=824, arena_bytes=216, constants=4, operators=2)
_SEQUENCE: Final = _joined(_KERNEL, _joined(_RESHAPE, _RESHAPE))  # computed as an image of one row
_NORMALIZE: Final = _joined(_joined(_REDUCE, _REDUCE), _joined(_SCALE, _VALUEWISE))

_KINDS: Final = {
    "Conv1D": _SEQUENCE,
    "Conv2D": _KERNEL,
    "Conv1DTranspose": _SEQUENCE,
    "Conv2DTranspose": _KERNEL,
    "DepthwiseConv1D": _SEQUENCE,
    "DepthwiseConv2D": _KERNEL,
    "SeparableConv1D": _joined(_SEPARABLE, _joined(_RESHAPE, _RESHAPE)),
    "SeparableConv2D": _SEPARABLE,
    "Dense": _KERNEL,
    "BatchNormalization": _SCALE,
    "LayerNormalization": _NORMALIZE,
    "GroupNormalization": _NORMALIZE,
    "RMSNormalization": _NORMALIZE,
    "UnitNormalization": _NORMALIZE,
    "Normalization": _SCALE,
    "Rescaling": _SCALE,
    "Add": _MERGE,
    "Subtract": _MERGE,
    "Multiply": _MERGE,
    "Maximum": _MERGE,
    "Minimum": _MERGE,
    "Average": _SCALE,
    "Concatenate": _MERGE,
    **{f"{prefix}{kind}Pooling{rank}D": price for kind in ("Max", "Average") for rank in (1, 2)
       for prefix, price in (("", _POOL), ("Global", _REDUCE), ("Adaptive", _REDUCE))},
    "Flatten": _RESHAPE,
    "Reshape": _RESHAPE,
    "Permute": _RESHAPE,
    "ZeroPadding1D": _PAD,
    "ZeroPadding2D": _PAD,
    "Cropping1D": _PAD,
    "Cropping2D": _PAD,
    "UpSampling1D": _RESHAPE,
    "UpSampling2D": _RESHAPE,
    "Softmax": _SOFTMAX,
}  # fmt: skip
"""Price by layer. Layers that are not listed work value by value."""
_ACTIVATIONS: Final = {"softmax": _SOFTMAX, "silu": _joined(_VALUEWISE, _MERGE)}
"""Price by activation. Activations that are not listed are one operator that works value by value."""
_KERNELS: Final = frozenset({"Dense", *(op for op in _KINDS if "Conv" in op)})
_FUSING: Final = _KERNELS | {"Add", "Subtract", "Multiply", "BatchNormalization"}
_DROPPED: Final = frozenset(
    {
        "ActivityRegularization", "AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise", "Identity", "SpatialDropout1D",
        "SpatialDropout2D",
    }
)  # fmt: skip

FILE_BYTES: Final = 560
"""Header, operator codes, signature and metadata of a file."""
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
        kind = _KINDS.get(layer.op, _ACTIVATIONS.get(_activation(layer), _VALUEWISE))
        if inline not in {"linear", "relu", "relu6"}:
            kind = _joined(kind, _ACTIVATIONS.get(inline, _VALUEWISE))
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


def arena_tensors(graph: LayerGraph, operators: tuple[Operator, ...]) -> tuple[Tensor, ...]:
    """Returns the tensors that the interpreter plans: the network input and one per operator, in the order of the file."""
    first = {layer.name: 0 for layer in graph if layer.op == "InputLayer"}
    last = dict(first)
    for step, operator in enumerate(operators, start=1):
        for name in operator.inputs:
            last[name] = step
        first[operator.output] = last[operator.output] = step
    return tuple(Tensor(name, first[name], last[name]) for name in first)


@dataclass(frozen=True, slots=True)
class Frame:
    """What the file and the arena take whatever the widths.

    Args:
        flash_bytes: Of the file.
        arena_bytes: Of the arena, for as long as the interpreter lives.
        planning_bytes: Of the arena, while the memory is being planned.
    """

    flash_bytes: int
    arena_bytes: int
    planning_bytes: int


def frame_of(operators: tuple[Operator, ...], inputs: int = 1) -> Frame:
    """Returns the part of file and arena that does not depend on widths.

    Args:
        operators: Operators of the file.
        inputs: How many tensors the network takes.
    """
    kinds = [operator.kind for operator in operators]
    calls = sum(kind.operators for kind in kinds)
    planned = inputs + calls  # and one output per operator
    tensors = planned + sum(kind.constants for kind in kinds)
    return Frame(
        flash_bytes=FILE_BYTES + sum(kind.flash_bytes for kind in kinds),
        arena_bytes=ARENA_BYTES + TENSOR_BYTES * tensors + OPERATOR_BYTES * calls + sum(kind.arena_bytes for kind in kinds),
        planning_bytes=PLAN_BYTES + PLAN_TENSOR_BYTES * tensors + PLAN_BUFFER_BYTES * planned,
    )
