"""What the tables and the plots both show: shares of layers and groups, and what a plan leaves. Nothing here draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from secateur.client.values import Architecture, Cost, LayerSummary, Plan

RESOURCES: Final[Mapping[str, str]] = {
    "parameters": "parameters_share",
    "FLOPs": "flops_share",
    "memory": "memory_share",
}
"""Resources that every layer has a share of, and the field of the layer that tells it."""


@dataclass(frozen=True, slots=True)
class GroupShares:
    """One channel group, or a layer that is in none, and its share of the whole by the names of `RESOURCES`."""

    name: str
    shares: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class GroupCut:
    """Width of one channel group before and after; 0 after if it went with its block."""

    group: str
    before: int
    after: int

    @property
    def kept(self) -> float:
        """Share of its channels that stay, in [0, 1]."""
        return self.after / self.before


def layer_shares(layer: LayerSummary) -> dict[str, float]:
    """Returns the shares of one layer by the names of `RESOURCES`."""
    return {resource: getattr(layer, field) for resource, field in RESOURCES.items()}


def group_shares(architecture: Architecture) -> list[GroupShares]:
    """Returns the shares of every group, or layer that is in none, in the order of their first layers."""
    sums: dict[str, dict[str, float]] = {}
    for layer in architecture.layers:
        whole = sums.setdefault(layer.group or layer.name, dict.fromkeys(RESOURCES, 0.0))
        for resource, share in layer_shares(layer).items():
            whole[resource] += share
    return [GroupShares(name, whole) for name, whole in sums.items()]


def cuts(plan: Plan, architecture: Architecture) -> list[GroupCut]:
    """Returns the groups that a plan cuts, those of dropped blocks among them, in the order of the architecture."""
    found = {width.group: GroupCut(width.group, width.unpruned_width, width.width) for width in plan.widths}
    if plan.dropped_blocks:
        gone = [group for group in architecture.groups if group.prunable and group.name not in found]
        found |= {group.name: GroupCut(group.name, group.width, 0) for group in gone}
    places = {group.name: place for place, group in enumerate(architecture.groups)}
    return sorted(found.values(), key=lambda cut: places.get(cut.group, len(places)))


def kept_channels(widths: Sequence[GroupCut]) -> float:
    """Returns the share of all channels that stay, in [0, 1]."""
    return sum(cut.after for cut in widths) / max(1, sum(cut.before for cut in widths))


def cost_left(cost: Cost, unpruned: Cost, resource: str) -> float:
    """Returns what is left of one resource as a share of the unpruned network; `resource` is a field of `Cost`."""
    whole = getattr(unpruned, resource)
    return float(getattr(cost, resource) / whole) if whole else 0.0
