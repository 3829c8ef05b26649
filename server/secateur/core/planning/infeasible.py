"""The answer where no plan keeps the budget."""

from __future__ import annotations

from collections.abc import Mapping

from secateur.core.errors import Infeasible
from secateur.core.planning.plan import Plan
from secateur.core.resources import Resource


class BudgetInfeasible(Infeasible):
    """No plan keeps the budget, even with every group at its smallest width, or with the smallest stock network.

    Args:
        nearest: Plan with every group at its smallest width. Resources shrink with every width (the arena but for the odd gap
            in its greedy placement), so no other comes nearer. In mode STOCK, the smallest network of the family.
        binding: Limit that is missed by most, relative to what was asked.
        asked: That limit.
        smallest_reachable: Per limited resource, its value under the nearest plan.
        layer: Layer that then takes most of the binding resource.
    """

    def __init__(
        self, nearest: Plan, binding: Resource, asked: float, smallest_reachable: Mapping[Resource, float], layer: str
    ) -> None:
        smallest = smallest_reachable[binding]
        super().__init__(
            "BUDGET_INFEASIBLE",
            f"No pruned network keeps {binding.value} at or below {asked:,.10g}: the smallest reachable value is "
            f"{smallest:,.10g}, most of it in layer {layer!r}. Raise this limit, or allow narrower layers.",
            field=binding.value,
            metadata={
                "binding_limit": binding.value,
                "asked": f"{asked:.10g}",
                "smallest_reachable": f"{smallest:.10g}",
                "layer": layer,
            },
        )
        self.nearest = nearest
        self.binding = binding
        self.smallest_reachable = dict(smallest_reachable)
        self.layer = layer
