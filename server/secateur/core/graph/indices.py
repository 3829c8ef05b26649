"""Which channels are kept: from indices per channel group to positions in every layer's output, as pure data.

Widths say how many channels of a group stay; indices say which. One forward trace tells for every position of every layer's
last axis whose channel it carries; what is kept of a layer, and which weights of its readers belong to it, follows from that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from secateur.core.errors import InvalidArgument
from secateur.core.graph.groups import ChannelGroup, channel_groups
from secateur.core.graph.ir import Layer, LayerGraph

Origin = tuple[str, int] | None
"""Group and channel that a position carries; None where no producer set it, as in the network's input."""
Kept = Mapping[str, Sequence[int]]
"""Kept channels by group, ascending. A group is named after its first producer; one that is not named keeps everything."""


def channel_origins(graph: LayerGraph) -> dict[str, tuple[Origin, ...]]:
    """Returns, for every layer, the channel that each position along the last axis of its output carries.

    Merges carry the channels of their widest input: the others are either the same channels or stretched over them.
    """
    group_of = {producer: group for group in _groups(graph).values() for producer in group.producers}
    found: dict[str, tuple[Origin, ...]] = {}
    for layer in graph:
        if layer.name in group_of:
            group = group_of[layer.name]
            found[layer.name] = tuple((group.name, channel) for channel in range(group.width))
        else:
            found[layer.name] = _follow(layer, [found[name] for name in layer.inputs])
    return found


def kept_positions(graph: LayerGraph, kept: Kept) -> dict[str, tuple[int, ...]]:
    """Returns, for every layer, the positions along the last axis of its output that stay, ascending.

    There are as many as the layer has channels in `with_widths(graph, {group: len(indices)})`.

    Args:
        graph: The unpruned network.
        kept: Kept channels by group.

    Raises:
        InvalidArgument: INDICES_INVALID for an unknown group or one that may not be cut, and for indices that are none, out
            of range, repeated or not ascending.
    """
    groups = _groups(graph)
    for name, indices in kept.items():
        _check(groups, name, indices)
    members = {name: frozenset(indices) for name, indices in kept.items()}
    return {
        name: tuple(
            position
            for position, origin in enumerate(origins)
            if origin is None or origin[0] not in members or origin[1] in members[origin[0]]
        )
        for name, origins in channel_origins(graph).items()
    }


def _groups(graph: LayerGraph) -> dict[str, ChannelGroup]:
    return {group.name: group for group in channel_groups(graph, residual="coupled")}


def _follow(layer: Layer, given: Sequence[tuple[Origin, ...]]) -> tuple[Origin, ...]:
    """Returns the origins of a layer that produces no channels of its own."""
    width = layer.output_shape[-1]
    if not given:
        return (None,) * width
    if layer.op == "Concatenate" and layer.config["axis"] == -1:
        return tuple(origin for part in given for origin in part)
    widest = max(given, key=len)
    if layer.op.startswith("DepthwiseConv"):
        return tuple(origin for origin in widest for _ in range(layer.config["depth_multiplier"]))
    if layer.op == "Flatten":
        return widest * (width // len(widest))  # channels are the fastest axis: they repeat at every position
    moved = layer.op == "Permute" and layer.config["dims"][-1] != len(layer.output_shape)
    if moved or len(widest) != width:
        return (None,) * width  # positions, padding or a mixture: no group that ends here is prunable
    return widest


def _check(groups: Mapping[str, ChannelGroup], name: str, indices: Sequence[int]) -> None:
    group = groups.get(name)
    if group is None:
        raise _invalid(name, f"Kept channels are given by channel group. Received: {name[:128]!r}, which is none")
    if any(isinstance(index, bool) or not isinstance(index, int) for index in indices):
        raise _invalid(name, f"Kept channels of {name!r} are whole numbers. Received: {_show(indices)}")
    if not indices or indices[0] < 0 or indices[-1] >= group.width or any(b <= a for a, b in pairwise(indices)):
        raise _invalid(
            name,
            f"Kept channels of {name!r} ascend from 0 or more to at most {group.width - 1}, without repetition, and there is "
            f"at least one. Received: {_show(indices)}",
        )
    if len(indices) < group.width and not group.prunable:
        raise _invalid(name, f"Channels of {name!r} may not be cut: {group.reason}. Received: {len(indices)} of {group.width}")


def _show(indices: Sequence[int]) -> str:
    shown = ", ".join(str(index) for index in indices[:8])
    return f"[{shown}{', ...' if len(indices) > 8 else ''}]"


def _invalid(name: str, message: str) -> InvalidArgument:
    return InvalidArgument("INDICES_INVALID", message, field=name[:128])
