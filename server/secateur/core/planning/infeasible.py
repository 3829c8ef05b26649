"""The answer where no plan keeps the budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from secateur.core.errors import Infeasible
from secateur.core.planning.bench import Bench
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
        ways: What else could be done about it than raising the limit.
        remark: What no other width changes; empty for nothing.
    """

    def __init__(
        self,
        nearest: Plan,
        binding: Resource,
        asked: float,
        smallest_reachable: Mapping[Resource, float],
        layer: str,
        coupled: float | None = None,
        *,
        ways: tuple[str, ...] = (),
        remark: str = "",
    ) -> None:
        smallest = smallest_reachable[binding]
        metadata = {
            "binding_limit": binding.value,
            "asked": f"{asked:.10g}",
            "smallest_reachable": f"{smallest:.10g}",
            "layer": layer,
        }
        if coupled is not None:
            metadata["smallest_reachable_coupled"] = f"{coupled:.10g}"
            ways = (*ways, f"let residual streams shrink as well: residual 'coupled' reaches {coupled:,.10g}")
        super().__init__(
            "BUDGET_INFEASIBLE",
            f"No pruned network keeps {binding.value} at or below {asked:,.10g}: the smallest reachable value is "
            f"{smallest:,.10g}, the most in layer {layer!r}. {remark}{', or '.join(('Raise this limit', *ways))}.",
            field=binding.value,
            metadata=metadata,
        )
        self.nearest = nearest
        self.binding = binding
        self.smallest_reachable = dict(smallest_reachable)
        self.layer = layer

    @classmethod
    def of(
        cls, limits: Limits, nearest: Plan, bench: Bench, coupled: Mapping[Resource, float] | None = None
    ) -> BudgetInfeasible:
        """Returns the answer for a nearest plan that misses a limit.

        Args:
            limits: What was asked.
            nearest: The nearest plan.
            bench: Workbench of the network without the blocks that the plan drops.
            coupled: What could be reached by cutting residual streams as well; None if they are cut already.
        """
        reached, binding = _reached(limits, nearest)
        asked = limits.asked[binding]
        bench.set_widths(nearest.widths)
        layer = bench.heaviest_layer(binding)
        bench.set_widths(dict.fromkeys(bench.full, 1))
        left = bench.value(binding, limits.profile)
        ways: tuple[str, ...] = ()
        remark = ""
        if left > asked:
            frozen = bench.heaviest_frozen(binding)
            most = f", the most in the channels of {frozen.name!r}, which are not cut: {frozen.reason}" if frozen else ""
            remark = f"Narrower layers do not help: with one channel in each that can be cut, {left:,.10g} is left{most}. "
        elif nearest.widths == bench.smallest:
            ways = ("allow narrower layers by a smaller min_width or round_to",)
        else:
            ways = ("take a smaller alpha, which cuts more channels for the layers it leaves",)
        further = coupled[binding] if coupled and coupled[binding] < reached[binding] else None
        return cls(nearest, binding, asked, reached, layer, further, ways=ways, remark=remark)

    @classmethod
    def of_stock(cls, limits: Limits, nearest: Plan, heaviest_layer: Callable[[Resource], str]) -> BudgetInfeasible:
        """Returns the answer for a family whose smallest network misses a limit.

        Args:
            limits: What was asked.
            nearest: The plan of that network.
            heaviest_layer: Tells which layer of it takes most of a resource.
        """
        reached, binding = _reached(limits, nearest)
        ways = ("take another mode than 'stock', which prunes nothing",)
        return cls(nearest, binding, limits.asked[binding], reached, heaviest_layer(binding), ways=ways)


def _reached(limits: Limits, nearest: Plan) -> tuple[dict[Resource, float], Resource]:
    """Returns what the nearest plan has of everything that is limited, and the limit that it misses by most."""
    reached = limits.figures(nearest.cost)
    return reached, max(limits.asked, key=lambda resource: reached[resource] / limits.asked[resource])
