"""The answer where no plan keeps the budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from secateur.core.errors import Infeasible
from secateur.core.planning.limits import Limits
from secateur.core.planning.plan import Plan
from secateur.core.resources import Resource


class BudgetInfeasible(Infeasible):
    """No plan keeps the budget, even with every group at its smallest width, or with the smallest stock network.

    Args:
        nearest: Plan with every group at its smallest width. Resources shrink with every width (the arena but for the odd gap
            in its greedy placement), so no other comes nearer. In mode STOCK, the smallest network of the family; in mode
            HYBRID, the network without any block that can go, as narrow as the exchange rate allows.
        binding: Limit that is missed by most, relative to what was asked.
        asked: That limit.
        smallest_reachable: Per limited resource, its value under the nearest plan.
        layer: Layer that then takes most of the binding resource.
        coupled: Value of the binding resource that could be reached by cutting residual streams as well; None where that does
            not help.
    """

    def __init__(
        self,
        nearest: Plan,
        binding: Resource,
        asked: float,
        smallest_reachable: Mapping[Resource, float],
        layer: str,
        coupled: float | None = None,
    ) -> None:
        smallest = smallest_reachable[binding]
        metadata = {
            "binding_limit": binding.value,
            "asked": f"{asked:.10g}",
            "smallest_reachable": f"{smallest:.10g}",
            "layer": layer,
        }
        way_out = "Raise this limit, or allow narrower layers."
        if coupled is not None:
            metadata["smallest_reachable_coupled"] = f"{coupled:.10g}"
            way_out = (
                "Raise this limit, allow narrower layers, or let residual streams shrink as well: "
                f"residual 'coupled' reaches {coupled:,.10g}."
            )
        super().__init__(
            "BUDGET_INFEASIBLE",
            f"No pruned network keeps {binding.value} at or below {asked:,.10g}: the smallest reachable value is "
            f"{smallest:,.10g}, most of it in layer {layer!r}. {way_out}",
            field=binding.value,
            metadata=metadata,
        )
        self.nearest = nearest
        self.binding = binding
        self.smallest_reachable = dict(smallest_reachable)
        self.layer = layer

    @classmethod
    def of(
        cls,
        limits: Limits,
        nearest: Plan,
        heaviest_layer: Callable[[Resource], str],
        coupled: Mapping[Resource, float] | None = None,
    ) -> BudgetInfeasible:
        """Returns the answer for a nearest plan that misses a limit.

        Args:
            limits: What was asked.
            nearest: The nearest plan.
            heaviest_layer: Tells which layer of it takes most of a resource.
            coupled: What could be reached by cutting residual streams as well; None if they are cut already.
        """
        reached = limits.figures(nearest.cost)
        missed = {resource: reached[resource] / asked for resource, asked in limits.asked.items() if reached[resource] > asked}
        binding = max(missed, key=missed.__getitem__)
        further = coupled[binding] if coupled and coupled[binding] < reached[binding] else None
        return cls(nearest, binding, limits.asked[binding], reached, heaviest_layer(binding), further)
