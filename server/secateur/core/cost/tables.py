"""What each channel group takes of a network."""

from __future__ import annotations

from dataclasses import dataclass

from secateur.core.cost.channels import channels_of
from secateur.core.cost.figures import LayerShare
from secateur.core.cost.model import CostModel
from secateur.core.graph import ChannelGroup, LayerGraph, channel_groups
from secateur.core.graph.groups import Residual


@dataclass(frozen=True, slots=True)
class GroupRow:
    """One channel group and what it takes.

    Args:
        group: The group.
        share: Its part of the whole network: that of the layers that carry it. A layer that carries several groups counts
            for each by its channels, so the shares of all groups sum to at most 1.
    """

    group: ChannelGroup
    share: LayerShare


def group_rows(graph: LayerGraph, *, residual: Residual | str = Residual.SKIP) -> tuple[GroupRow, ...]:
    """Returns a row per channel group, in execution order.

    Args:
        graph: The network.
        residual: Whether groups in residual additions are kept or coupled, see `channel_groups`.
    """
    groups = channel_groups(graph, residual=residual)
    model = CostModel(graph, groups)
    channels = channels_of(graph, groups)
    taken = {group.name: [0.0, 0.0, 0.0] for group in groups}
    for name, cost in model.layer_costs.items():
        width = graph[name].output_shape[-1]
        for group, factor in channels[name].terms:
            part = factor * model.widths[group] / width
            for index, value in enumerate((cost.parameters, cost.macs, cost.memory_bytes)):
                taken[group][index] += part * value
    total = model.cost()
    totals = [max(value, 1) for value in (total.parameters, total.macs, total.memory_bytes)]
    return tuple(
        GroupRow(group, LayerShare(*(value / whole for value, whole in zip(taken[group.name], totals, strict=True))))
        for group in groups
    )
