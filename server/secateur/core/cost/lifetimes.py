"""Which tensors are alive together, and how much memory that takes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from secateur.core.graph import LayerGraph

IN_PLACE: Final = frozenset(
    {
        "Activation", "ActivityRegularization", "Add", "AlphaDropout", "Average", "BatchNormalization", "Dropout", "ELU",
        "Flatten", "GaussianDropout", "GaussianNoise", "GroupNormalization", "Identity", "LayerNormalization", "LeakyReLU",
        "Maximum", "Minimum", "Multiply", "Normalization", "PReLU", "ReLU", "Rescaling", "Reshape", "RMSNormalization",
        "Softmax", "SpatialDropout1D", "SpatialDropout2D", "Subtract", "UnitNormalization",
    }
)  # fmt: skip
"""Layers that can write over an input of the same size which nobody else reads."""
ALIGNMENT: Final = 16
"""TensorFlow Lite Micro rounds the arena, and whatever it places in it, up to a multiple of this many bytes."""
_UNPLACED: Final = -1


def aligned(size: int) -> int:
    """Returns `size` rounded up to the interpreter's alignment."""
    return -(-size // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True, slots=True)
class Tensor:
    """A buffer and when it is needed.

    Args:
        layer: Layer whose output it holds; its size is that of this output.
        first: Step that writes it.
        last: Last step that reads it; never before `first`.
    """

    layer: str
    first: int
    last: int


def float_tensors(graph: LayerGraph) -> tuple[Tensor, ...]:
    """Returns the tensors of a float interpreter that runs layer by layer and works in place where it can."""
    holder: dict[str, str] = {}
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for step, layer in enumerate(graph):
        for producer in layer.inputs:
            last[holder[producer]] = step
        reused = [name for name in layer.inputs if layer.op in IN_PLACE and _may_overwrite(graph, name, layer.name)]
        holder[layer.name] = holder[reused[0]] if reused else layer.name
        first.setdefault(holder[layer.name], step)
        last[holder[layer.name]] = step
    for name in graph.outputs:
        last[holder[name]] = len(graph) - 1
    return tuple(Tensor(name, first[name], last[name]) for name in first)


def _may_overwrite(graph: LayerGraph, name: str, reader: str) -> bool:
    same_size = math.prod(graph[name].output_shape) == math.prod(graph[reader].output_shape)
    return same_size and graph.consumers[name] == (reader,) and name not in graph.outputs and graph[name].op != "InputLayer"


def steps_of(tensors: Sequence[Tensor]) -> tuple[tuple[str, ...], ...]:
    """Returns, for every step that can be the peak, the layers whose tensors are alive.

    Steps whose tensors are all alive in another step, too, are left out: whatever the widths, they are never the peak alone.
    """
    moments = sorted({tensor.first for tensor in tensors})
    alive = [frozenset(tensor.layer for tensor in tensors if tensor.first <= step <= tensor.last) for step in moments]
    kept = [
        names
        for index, names in enumerate(alive)
        if not any(names < alive[other] or (names == alive[other] and other < index) for other in _near(index, len(alive)))
    ]
    return tuple(tuple(sorted(names)) for names in kept)


def _near(index: int, count: int) -> Iterable[int]:
    return (other for other in (index - 1, index + 1) if 0 <= other < count)


def peak(steps: Sequence[Sequence[str]], sizes: Mapping[str, int]) -> tuple[int, Sequence[str]]:
    """Returns the most bytes alive at once and the layers whose tensors they are.

    Args:
        steps: From `steps_of`.
        sizes: Bytes by layer.
    """
    totals = [sum(sizes[name] for name in names) for names in steps]
    highest = max(range(len(steps)), key=totals.__getitem__)
    return totals[highest], steps[highest]


class GreedyArena:
    """Memory plan of TensorFlow Lite Micro's default planner.

    It places tensors from the largest to the smallest, of equal ones the last first, each at the lowest address where nothing
    alive at the same time is in the way. Gaps remain, so the result can lie well above the bytes alive at any one moment.

    Args:
        tensors: Tensors in the order of the model file.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._layers = tuple(tensor.layer for tensor in tensors)
        self._rivals = tuple(
            tuple(
                other
                for other, rival in enumerate(tensors)
                if other != index and rival.first <= tensor.last and tensor.first <= rival.last
            )
            for index, tensor in enumerate(tensors)
        )

    def size(self, sizes: Mapping[str, int]) -> int:
        """Returns the bytes from the lowest to the highest address in use.

        Args:
            sizes: Bytes by layer, before alignment.
        """
        wanted = [aligned(sizes[name]) for name in self._layers]
        count, highest = len(wanted), 0
        offsets = [_UNPLACED] * count
        # size and place as one number: this is where planning under a RAM limit spends most of its time
        for number in sorted((size * count + index for index, size in enumerate(wanted)), reverse=True):
            size, index = divmod(number, count)
            offset = 0
            taken = [(offsets[rival], wanted[rival]) for rival in self._rivals[index] if offsets[rival] != _UNPLACED]
            taken.sort()
            for start, length in taken:
                if start - offset >= size:
                    break
                offset = max(offset, start + length)
            offsets[index] = offset
            highest = max(highest, offset + size)
        return highest
