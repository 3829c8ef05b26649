"""The layer graph: a network as plain data, without a framework."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from secateur.core.serial import digest_of

Shape = tuple[int, ...]
"""A tensor shape without the batch dimension; channels last."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer call.

    Args:
        name: Unique within the graph.
        op: Keras class name, for example "Conv2D".
        inputs: Names of the layers whose outputs it takes, in order. Empty for `InputLayer`.
        config: Arguments of the Keras layer, restricted to what the reader allows: JSON scalars and lists of them.
        output_shape: Shape of its output, without the batch.
        shares: Name of the layer call whose weights it uses; empty if they are its own.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    config: Mapping[str, Any]
    output_shape: Shape
    shares: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Returns the layer as JSON-ready data. The output shape is left out: it follows from the rest."""
        data = {"name": self.name, "op": self.op, "inputs": list(self.inputs), "config": dict(self.config)}
        return {**data, "shares": self.shares} if self.shares else data


@dataclass(frozen=True)
class LayerGraph:
    """An immutable network: layers in execution order, producers before consumers.

    Args:
        name: Name for people; not part of the digest.
        layers: Layers in execution order.
        outputs: Names of the layers whose outputs the network returns.
    """

    name: str
    layers: tuple[Layer, ...]
    outputs: tuple[str, ...]
    _by_name: dict[str, Layer] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._by_name.update({layer.name: layer for layer in self.layers})

    def __getitem__(self, name: str) -> Layer:
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    @cached_property
    def consumers(self) -> dict[str, tuple[str, ...]]:
        """Names of the layers that take each layer's output, in execution order."""
        found: dict[str, list[str]] = {layer.name: [] for layer in self.layers}
        for layer in self.layers:
            for producer in layer.inputs:
                found[producer].append(layer.name)
        return {name: tuple(names) for name, names in found.items()}

    def input_shapes(self, name: str) -> tuple[Shape, ...]:
        """Shapes that the named layer receives, without the batch."""
        return tuple(self[producer].output_shape for producer in self[name].inputs)

    @property
    def input_shape(self) -> Shape:
        """Shape of the (first) network input, without the batch."""
        return next(layer.output_shape for layer in self.layers if layer.op == "InputLayer")

    @property
    def classes(self) -> int:
        """Width of the (first) network output."""
        return self[self.outputs[0]].output_shape[-1]

    def to_dict(self) -> dict[str, Any]:
        """Returns the graph as JSON-ready data; `secateur.core.graph.from_data` reverses it."""
        return {"name": self.name, "layers": [layer.to_dict() for layer in self.layers], "outputs": list(self.outputs)}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical graph without its name, hexadecimal."""
        data = self.to_dict()
        del data["name"]
        return digest_of(data)
