"""Channel groups: which channels must be cut together.

Every layer's output has an arrangement of channel sets along its last axis. A convolution or dense layer starts a set of its
own; batch normalisation, activations, pooling and depthwise convolutions pass sets on; value-by-value merges unite them;
concatenation and flattening arrange them. What is left after all unions are the groups. This is Torch-Pruning's DepGraph
(Fang et al. 2023) worked out forwards, for widths: which of a set's channels go is not decided here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from secateur.core.errors import InvalidArgument
from secateur.core.graph.ir import Layer, LayerGraph
from secateur.core.graph.table import MERGES, OPERATIONS, RESIDUAL_MERGES


class Residual(StrEnum):
    """What happens to groups that take part in a residual addition.

    SKIP keeps them, as seed A does; COUPLED lets them be cut together.
    """

    SKIP = "skip"
    COUPLED = "coupled"


_MAX_SETS: Final = 1_024
"""Longest arrangement followed; a concatenation of more sets is frozen, so that hostile graphs cannot grow without bound."""


@dataclass(frozen=True, slots=True)
class ChannelGroup:
    """Channels that must be cut together.

    Args:
        name: Name of the first layer that produces them.
        width: Number of channels.
        producers: Layers whose `filters` or `units` set the width, in execution order.
        members: All layers that produce or carry the channels, in execution order.
        prunable: Whether the width may change.
        reason: Why it may not; empty when it may.
    """

    name: str
    width: int
    producers: tuple[str, ...]
    members: tuple[str, ...]
    prunable: bool
    reason: str = ""


def channel_groups(graph: LayerGraph, *, residual: Residual | str = Residual.SKIP) -> tuple[ChannelGroup, ...]:
    """Returns the channel groups of a network, in execution order of their first producers.

    Args:
        graph: The network.
        residual: What happens to groups that take part in a residual addition. Gates (Multiply) are coupled either way.
    """
    return _Tracer(graph, Residual(residual)).groups()


def check_prunable(graph: LayerGraph) -> None:
    """Checks that at least one group can be cut, if not one by one then along a residual stream.

    Raises:
        InvalidArgument: GRAPH_NOT_PRUNABLE with the reasons.
    """
    groups = channel_groups(graph, residual=Residual.COUPLED)
    if any(group.prunable for group in groups):
        return
    reasons = "; ".join(f"{group.name}: {group.reason}" for group in groups[:8]) or "it has no convolution and no dense layer"
    raise InvalidArgument(
        "GRAPH_NOT_PRUNABLE",
        f"Nothing in this network can be pruned; add a convolution or dense layer before the last one. Received: {reasons}",
        field=groups[0].name if groups else "",
    )


@dataclass(frozen=True, slots=True)
class _Arrangement:
    """How channel sets lie along the last axis.

    Args:
        pattern: What lies where, without saying which sets: two arrangements can be united if their patterns are equal.
        sets: Ids of the sets in the order of the pattern.
    """

    pattern: tuple[Any, ...]
    sets: tuple[int, ...]


class _Tracer:
    def __init__(self, graph: LayerGraph, residual: Residual) -> None:
        self._graph = graph
        self._residual = residual
        self._parent: list[int] = []
        self._reason: dict[int, str] = {}
        self._producer: dict[int, str] = {}
        self._arrangement: dict[str, _Arrangement] = {}

    def groups(self) -> tuple[ChannelGroup, ...]:
        for layer in self._graph:
            self._arrangement[layer.name] = self._trace(layer)
        for layer in self._graph:
            if layer.shares:
                self._share(layer)
        for name in self._graph.outputs:
            self._freeze(self._arrangement[name].sets, f"it reaches the network's output, {name}")
        producers: dict[int, list[str]] = {}
        for root, name in ((self._root(number), name) for number, name in self._producer.items()):
            producers.setdefault(root, []).append(name)
        members: dict[int, list[str]] = {root: [] for root in producers}
        for name, arrangement in self._arrangement.items():
            for root in dict.fromkeys(self._root(number) for number in arrangement.sets):
                if root in members:  # sets of the input have no producers and make no group
                    members[root].append(name)
        return tuple(self._group(root, names, members[root]) for root, names in producers.items())

    def _group(self, root: int, producers: list[str], members: list[str]) -> ChannelGroup:
        reason = self._reason.get(root, "")
        width = self._graph[producers[0]].output_shape[-1]
        return ChannelGroup(producers[0], width, tuple(producers), tuple(members), not reason, reason)

    def _trace(self, layer: Layer) -> _Arrangement:
        given = [self._arrangement[name] for name in layer.inputs]
        if layer.op == "InputLayer":
            return self._fixed(layer, "it comes from the network's input")
        if OPERATIONS[layer.op].produces:
            return self._produce(layer, given[0])
        if layer.op in MERGES:
            return self._merge(layer, given)
        match layer.op:
            case "Concatenate":
                return self._concatenate(layer, given)
            case "Flatten" | "Reshape" | "Permute":
                return self._rearrange(layer, given[0])
            case "DepthwiseConv1D" | "DepthwiseConv2D":
                return self._depthwise(layer, given[0])
            case "ZeroPadding2D":
                return self._pad(layer, given[0])
        if reason := _tie(layer):
            self._freeze(given[0].sets, reason)
        return given[0]

    def _produce(self, layer: Layer, given: _Arrangement) -> _Arrangement:
        produced = self._new(layer, producer=layer.name)
        if layer.config.get("groups", 1) > 1:
            reason = f"{layer.name} is a grouped convolution, whose groups must stay equal"
            self._freeze(given.sets, reason)
            self._freeze(produced.sets, reason)
        return produced

    def _depthwise(self, layer: Layer, given: _Arrangement) -> _Arrangement:
        multiplier = layer.config["depth_multiplier"]
        return given if multiplier == 1 else _Arrangement(("each", multiplier, given.pattern), given.sets)

    def _pad(self, layer: Layer, given: _Arrangement) -> _Arrangement:
        if layer.config["data_format"] == "channels_last":
            return given
        reason = f"{layer.name} pads its channels with zeros"
        self._freeze(given.sets, reason)
        return self._fixed(layer, reason)

    def _merge(self, layer: Layer, given: list[_Arrangement]) -> _Arrangement:
        width = layer.output_shape[-1]
        shapes = self._graph.input_shapes(layer.name)
        aligned = [item for item, shape in zip(given, shapes, strict=True) if shape[-1] == width]
        for item, shape in zip(given, shapes, strict=True):
            if shape[-1] != width:
                self._freeze(item.sets, f"{layer.name} stretches it over {width} channels")
        self._align(aligned, f"{layer.name} merges channels that are arranged differently")
        if layer.op in RESIDUAL_MERGES and self._residual is Residual.SKIP:
            self._freeze(aligned[0].sets, f"it takes part in the residual merge {layer.name}")
        return aligned[0]

    def _align(self, given: Sequence[_Arrangement], otherwise: str) -> None:
        """Couples arrangements channel by channel, or freezes them if that cannot be done."""
        first = given[0]
        if any(item.pattern != first.pattern for item in given):
            for item in given:
                self._freeze(item.sets, otherwise)
            return
        for item in given[1:]:
            for one, other in zip(first.sets, item.sets, strict=True):
                self._unite(one, other)

    def _concatenate(self, layer: Layer, given: list[_Arrangement]) -> _Arrangement:
        if layer.config["axis"] != -1:  # positions are put together, channels stay where they are
            self._align(given, f"{layer.name} joins channels that are arranged differently")
            return given[0]
        sets = [number for item in given for number in item.sets]
        if len(sets) > _MAX_SETS:
            reason = f"{layer.name} concatenates more than {_MAX_SETS} channel sets"
            self._freeze(sets, reason)
            return self._fixed(layer, reason)
        parts: list[Any] = []
        for item in given:
            parts.extend(item.pattern[1:] if item.pattern[0] == "row" else [item.pattern])
        return _Arrangement(("row", *parts), tuple(sets))

    def _rearrange(self, layer: Layer, given: _Arrangement) -> _Arrangement:
        received = self._graph.input_shapes(layer.name)[0]
        kept = layer.config["dims"][-1] == len(received) if layer.op == "Permute" else layer.output_shape[-1] == received[-1]
        if kept:
            return given  # positions are rearranged, channels are not
        if layer.op == "Flatten":
            return _Arrangement(("each position", received[:-1], given.pattern), given.sets)
        reason = f"{layer.name} mixes channels with positions"
        self._freeze(given.sets, reason)
        return self._fixed(layer, reason)

    def _share(self, layer: Layer) -> None:
        """Couples what two calls of one layer take and return."""
        owner = self._graph[layer.shares]
        reason = f"{layer.name} shares the weights of {owner.name}, but their channels are arranged differently"
        for one, other in ((owner.inputs[0], layer.inputs[0]), (owner.name, layer.name)):
            self._align([self._arrangement[one], self._arrangement[other]], reason)

    def _new(self, layer: Layer, producer: str = "") -> _Arrangement:
        number = len(self._parent)
        self._parent.append(number)
        if producer:
            self._producer[number] = producer
        return _Arrangement(("set", layer.output_shape[-1]), (number,))

    def _fixed(self, layer: Layer, reason: str) -> _Arrangement:
        arrangement = self._new(layer)
        self._freeze(arrangement.sets, reason)
        return arrangement

    def _freeze(self, sets: Iterable[int], reason: str) -> None:
        for number in sets:
            self._reason.setdefault(self._root(number), reason)

    def _root(self, number: int) -> int:
        while self._parent[number] != number:
            self._parent[number] = self._parent[self._parent[number]]
            number = self._parent[number]
        return number

    def _unite(self, one: int, other: int) -> None:
        kept, gone = sorted((self._root(one), self._root(other)))
        self._parent[gone] = kept
        if gone != kept and gone in self._reason:
            self._reason.setdefault(kept, self._reason.pop(gone))


def _tie(layer: Layer) -> str:
    """Returns why a layer that carries channels needs all of them; empty if it does not."""
    if layer.op == "GroupNormalization" and layer.config["groups"] > 1:
        return f"{layer.name} normalises groups of channels, which must stay equal"
    if any(isinstance(layer.config.get(name), list) for name in ("scale", "offset", "mean")):
        return f"{layer.name} holds one value per channel"
    return ""
