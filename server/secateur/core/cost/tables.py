"""Channel groups with what they take of a network: the table that says what can be pruned, and what cannot and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from secateur.core.cost.channels import channels_of
from secateur.core.cost.figures import LayerShare
from secateur.core.cost.model import CostModel
from secateur.core.graph import ChannelGroup, LayerGraph, channel_groups
from secateur.core.graph.groups import Residual

_NAMED: Final = 3
"""Members that a line names; the rest is counted."""
_HEADER: Final = ("group", "width", "parameters", "FLOPs", "memory", "prunable", "members")


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

    @property
    def verdict(self) -> str:
        """Whether it can be pruned, or why not."""
        return "yes" if self.group.prunable else f"no: {self.group.reason}"


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


def group_table(rows: Sequence[GroupRow]) -> str:
    """Returns the rows as text in columns, a line per group.

    Args:
        rows: From `group_rows`.
    """
    lines = [_HEADER, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADER))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if 0 < column < 5 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _cells(row: GroupRow) -> tuple[str, ...]:
    members = row.group.members
    named = ", ".join(members[:_NAMED]) + (f" and {len(members) - _NAMED} more" if len(members) > _NAMED else "")
    parts = (f"{100 * value:.1f} %" for value in (row.share.parameters, row.share.flops, row.share.memory))
    return row.group.name, str(row.group.width), *parts, row.verdict, named
