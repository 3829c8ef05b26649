"""How the channels of every layer follow from the widths of the channel groups."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from secateur.core.graph import ChannelGroup, Layer, LayerGraph
from secateur.core.graph.table import OPERATIONS


@dataclass(frozen=True, slots=True)
class Channels:
    """Output channels of a layer as a linear form: `constant` + sum of `factor` x width of a group.

    Args:
        constant: Channels that no group sets.
        terms: Pairs of group name and factor.
    """

    constant: int
    terms: tuple[tuple[str, int], ...] = ()

    def at(self, widths: Mapping[str, int]) -> int:
        """Returns the number of channels for the given widths of the groups."""
        return self.constant + sum(factor * widths[group] for group, factor in self.terms)

    def scaled(self, factor: int) -> Channels:
        """Returns the form times `factor`."""
        return Channels(self.constant * factor, tuple((group, own * factor) for group, own in self.terms))

    def __add__(self, other: Channels) -> Channels:
        terms = dict(self.terms)
        for group, factor in other.terms:
            terms[group] = terms.get(group, 0) + factor
        return Channels(self.constant + other.constant, tuple(terms.items()))


def channels_of(graph: LayerGraph, groups: Sequence[ChannelGroup]) -> dict[str, Channels]:
    """Returns the output channels of every layer in the widths of `groups`; what no group sets is constant.

    Args:
        graph: The unpruned network.
        groups: Groups whose widths vary.
    """
    group_of = {producer: group.name for group in groups for producer in group.producers}
    found: dict[str, Channels] = {}
    for layer in graph:
        if layer.name in group_of:
            found[layer.name] = Channels(0, ((group_of[layer.name], 1),))
        else:
            found[layer.name] = _follow(layer, [graph[name] for name in layer.inputs], [found[name] for name in layer.inputs])
    return found


def _follow(layer: Layer, inputs: Sequence[Layer], channels: Sequence[Channels]) -> Channels:
    """Returns the channels of a layer that is not the producer of a group."""
    width = layer.output_shape[-1]
    if not channels or OPERATIONS[layer.op].produces:
        return Channels(width)
    if "depth_multiplier" in layer.config:
        return channels[0].scaled(layer.config["depth_multiplier"])
    if layer.op == "Concatenate" and layer.config["axis"] == -1:
        return sum(channels[1:], start=channels[0])
    if layer.op == "Flatten":
        return channels[0].scaled(math.prod(inputs[0].output_shape[:-1]))
    widest = max(range(len(inputs)), key=lambda index: inputs[index].output_shape[-1])  # merges stretch channels of size 1
    extra = width - inputs[widest].output_shape[-1]
    if layer.op == "Permute" or (layer.op == "Reshape" and extra):
        kept = layer.op == "Permute" and layer.config["dims"][-1] == len(layer.output_shape)
        return channels[0] if kept else Channels(width)  # a group whose channels are mixed with positions is not prunable
    return channels[widest] + Channels(extra)  # padding may add channels
