"""What networks cost: parameters, MACs, memory, flash, RAM, latency and energy, in closed form from the layer graph."""

from secateur.core.cost.figures import Cost, LayerCost, LayerShare
from secateur.core.cost.latency import Work, predict_latency_ms
from secateur.core.cost.model import CostModel
from secateur.core.cost.reports import cost_of, layer_costs, shares
from secateur.core.cost.tables import GroupRow, group_rows

__all__ = [
    "Cost",
    "CostModel",
    "GroupRow",
    "LayerCost",
    "LayerShare",
    "Work",
    "cost_of",
    "group_rows",
    "layer_costs",
    "predict_latency_ms",
    "shares",
]
