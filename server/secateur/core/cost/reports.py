"""Costs of a network as it stands."""

from __future__ import annotations

from secateur.core.cost.figures import Cost, LayerCost, LayerShare
from secateur.core.cost.model import CostModel
from secateur.core.graph import LayerGraph, channel_groups


def cost_of(graph: LayerGraph) -> Cost:
    """Returns what one inference of the network costs."""
    return CostModel(graph).cost()


def layer_costs(graph: LayerGraph) -> dict[str, LayerCost]:
    """Returns the cost of every layer by name, in execution order; layers without weights cost nothing by themselves."""
    costs = CostModel(graph).layer_costs
    return {layer.name: costs.get(layer.name, LayerCost()) for layer in graph}


def shares(graph: LayerGraph) -> dict[str, LayerShare]:
    """Returns the share of every prunable layer in the cost of all prunable layers (seed A, Eqs. 4, 6 and 8).

    Prunable are the layers that set the width of a group which may be cut when residual additions are left alone, as in the
    paper. The shares of each resource sum to 1.
    """
    costs = layer_costs(graph)
    prunable = [name for group in channel_groups(graph) if group.prunable for name in group.producers]
    total = sum((costs[name] for name in prunable), start=LayerCost())
    return {
        name: LayerShare(
            parameters=costs[name].parameters / total.parameters,
            flops=costs[name].macs / total.macs,
            memory=costs[name].memory_bytes / total.memory_bytes,
        )
        for name in prunable
    }
