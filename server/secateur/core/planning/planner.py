"""Planners: from a budget to the widths that keep it, one network at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from secateur.core.cost import Cost, CostModel, cost_of
from secateur.core.devices import DeviceProfile
from secateur.core.graph import LayerGraph, zoo
from secateur.core.planning.bench import Bench
from secateur.core.planning.budgets import absolute_budget
from secateur.core.planning.complexity import cut_until_it_fits, give_back
from secateur.core.planning.curves import CurvePoint, budget_curve
from secateur.core.planning.infeasible import BudgetInfeasible
from secateur.core.planning.limits import Limits
from secateur.core.planning.plan import Plan
from secateur.core.planning.uniform import narrow_all_alike
from secateur.core.planning.widths import WidthRule
from secateur.core.resources import Budget, Resource
from secateur.core.specs import PlanMode

_RESOURCE_OF_MODE: Final = {
    PlanMode.PARAMETERS: Resource.PARAMETERS,
    PlanMode.FLOPS: Resource.FLOPS,
    PlanMode.MEMORY: Resource.MEMORY_BYTES,
    PlanMode.ACTIVATION: Resource.ACTIVATION_BYTES,
}


@dataclass(frozen=True, slots=True)
class Trace:
    """A plan and how it came about.

    Args:
        plan: The plan.
        cuts: The group that every step cut, in order; the number of steps is the paper's number of iterations. Empty for the
            baselines, which do not cut step by step.
    """

    plan: Plan
    cuts: tuple[str, ...] = ()


def plan(
    graph: LayerGraph,
    budget: Budget,
    *,
    mode: PlanMode | str = PlanMode.DEVICE,
    seed: int = 0,
    step: float = 0.1,
    round_to: int = 1,
    min_width: int = 4,
    profile: DeviceProfile | None = None,
    literal: bool = False,
) -> Plan:
    """Plans widths that keep every limit of a budget. The same arguments give the same plan.

    Modes "parameters", "flops", "memory" and "activation" draw groups by their share of that resource until all limits hold.
    Mode "device" first draws one of the limits not yet kept, in proportion to its relative excess, and then a group by its
    share of what is limited; with one limit it is the corresponding other mode. The baselines draw nothing: "uniform" narrows
    all groups by one multiplier, "stock" takes the largest smaller network of the same zoo family.

    Args:
        graph: The unpruned network.
        budget: Limits, absolute or relative. A floor on accuracy is left to training.
        mode: How to decide where to cut.
        seed: Seed of all draws.
        step: Share of a group's present channels that one step removes, in (0, 1); the paper's k.
        round_to: Kept widths are multiples of this, or full.
        min_width: Smallest width of any group.
        profile: Class of hardware that latency limits are about.
        literal: Follow the paper: groups may shrink to one channel, `round_to` and `min_width` are not looked at, and the
            last step is not given back where it overshoots.

    Raises:
        BudgetInfeasible: If the limits cannot all be kept; it carries the nearest plan.
        InvalidArgument: LIMIT_NEEDS_PROFILE, POLICY_INVALID or, in mode "stock", STOCK_NEEDS_ZOO.
    """
    rule = WidthRule(step, 1, 1) if literal else WidthRule(step, round_to, min_width)
    return Planner(graph, rule, profile).plan(budget, PlanMode(mode), seed, land=not literal)


class Planner:
    """Plans one network under one width rule; what does not depend on the budget is worked out once. Not thread-safe.

    Args:
        graph: The unpruned network.
        rule: Allowed widths.
        profile: Class of hardware that latency limits are about.
    """

    def __init__(self, graph: LayerGraph, rule: WidthRule, profile: DeviceProfile | None = None) -> None:
        self._graph = graph
        self._profile = profile
        self._bench = Bench(graph, rule)
        self.unpruned: Plan = self._record(PlanMode.DEVICE, 0)
        """The plan that cuts nothing."""
        self._bench.set_widths(self._bench.smallest)
        self.smallest: Plan = self._record(PlanMode.DEVICE, 0)
        """The plan with every group at its smallest width."""

    def on(self, profile: DeviceProfile | None) -> Planner:
        """Returns a planner of the same network for another class of hardware. The two share their workbench."""
        other = copy.copy(self)
        other._profile = profile  # noqa: SLF001  of the same class
        return other

    def smallest_cost(self, mode: PlanMode) -> Cost:
        """Returns the cost of the smallest network that a mode can reach.

        Raises:
            InvalidArgument: STOCK_NEEDS_ZOO.
        """
        return self._stock[-1].cost if mode is PlanMode.STOCK else self.smallest.cost

    def plan(self, budget: Budget, mode: PlanMode, seed: int, *, land: bool = True) -> Plan:
        """Plans for one budget; see the function `plan`.

        Args:
            budget: Limits, absolute or relative.
            mode: How to decide where to cut.
            seed: Seed of all draws.
            land: Give back what the last cuts overshot.
        """
        return self.trace(budget, mode, seed, land=land).plan

    def trace(self, budget: Budget, mode: PlanMode, seed: int, *, land: bool = True) -> Trace:
        """Plans as `plan` does and tells how the plan came about."""
        limits = Limits.of(absolute_budget(budget, self.unpruned.cost, self._profile), self._profile)
        if mode is PlanMode.STOCK:
            return Trace(self._stock_plan(limits, seed))
        bench = self._bench
        reachable = limits.figures(self.smallest.cost)
        if not limits.allow(reachable):
            bench.set_widths(bench.smallest)
            raise _infeasible(limits, reachable, replace(self.smallest, mode=mode, seed=seed), bench.heaviest_layer)
        if limits.allow(limits.figures(self.unpruned.cost)):
            return Trace(replace(self.unpruned, mode=mode, seed=seed))
        bench.set_widths(bench.full)
        if mode is PlanMode.UNIFORM:
            narrow_all_alike(bench, limits)
            return Trace(self._record(mode, seed))
        cuts = cut_until_it_fits(bench, limits, _RESOURCE_OF_MODE.get(mode), seed)
        if land:
            give_back(bench, limits, list(dict.fromkeys(reversed(cuts))))
        return Trace(self._record(mode, seed), cuts)

    def curve(self) -> tuple[CurvePoint, ...]:
        """Returns what the network costs with all groups narrowed alike, from the full width down."""
        return budget_curve(self._bench)

    def _stock_plan(self, limits: Limits, seed: int) -> Plan:
        """Returns the largest network of the family that keeps the limits."""
        for member in self._stock:
            reached = limits.figures(member.cost)
            if limits.allow(reached):
                return replace(member, seed=seed)
        smallest = CostModel(member.apply(self._graph))
        raise _infeasible(limits, reached, replace(member, seed=seed), smallest.heaviest_layer)

    @cached_property
    def _stock(self) -> tuple[Plan, ...]:
        """The network itself and the smaller ones of its family, from the largest to the smallest."""
        shape, classes = self._graph.input_shape, self._graph.classes
        smaller = (
            Plan(self._graph.digest, PlanMode.STOCK, 0, {}, {}, cost_of(zoo.build(name, shape, classes)), stock=name)
            for name in zoo.smaller_than(self._graph)
        )
        return (replace(self.unpruned, mode=PlanMode.STOCK), *smaller)

    def _record(self, mode: PlanMode, seed: int) -> Plan:
        bench = self._bench
        return Plan(self._graph.digest, mode, seed, dict(bench.widths), dict(bench.full), bench.cost())


def _infeasible(
    limits: Limits, reachable: Mapping[Resource, float], nearest: Plan, heaviest_layer: Callable[[Resource], str]
) -> BudgetInfeasible:
    missed = {resource: reachable[resource] / asked for resource, asked in limits.asked.items() if reachable[resource] > asked}
    binding = max(missed, key=missed.__getitem__)
    return BudgetInfeasible(nearest, binding, limits.asked[binding], reachable, heaviest_layer(binding))
