"""What networks cost: parameters, MACs, memory, flash and RAM, in closed form from the layer graph."""

from secateur.core.cost.figures import Cost, LayerCost, LayerShare
from secateur.core.cost.model import CostModel
from secateur.core.cost.reports import cost_of, layer_costs, shares

__all__ = ["Cost", "CostModel", "LayerCost", "LayerShare", "cost_of", "layer_costs", "shares"]
