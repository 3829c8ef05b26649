"""Planners: from a budget to the widths that keep it, one network at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache
from typing import Final

from secateur.core.cost import Cost, CostModel, cost_of
from secateur.core.devices import DeviceProfile
from secateur.core.graph import LayerGraph, Residual, zoo
from secateur.core.planning.bench import Bench, go_on_for_ever
from secateur.core.planning.budgets import absolute_budget
from secateur.core.planning.complexity import RESOURCE_OF_MODE, Path, cut_until_it_fits, give_back
from secateur.core.planning.curves import CurvePoint, budget_curve
from secateur.core.planning.hybrid import HybridPlanner, Scaling
from secateur.core.planning.hybrid_scores import Scores
from secateur.core.planning.infeasible import BudgetInfeasible
from secateur.core.planning.limits import Limits
from secateur.core.planning.plan import Plan
from secateur.core.planning.uniform import narrow_all_alike
from secateur.core.planning.widths import WidthRule
from secateur.core.resources import Budget, Resource
from secateur.core.specs import HybridPolicy, PlanMode, PlanPolicy

_PATHS_KEPT: Final = 4
"""Paths of cuts that are kept for other budgets: those of one quote have one seed and few resources."""


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
    residual: Residual | str = Residual.SKIP,
    temperature: float = 1.0,
) -> Plan:
    """Plans widths that keep every limit of a budget. The same arguments give the same plan.

    Modes "parameters", "flops", "memory" and "activation" draw groups by their share of that resource until all limits hold.
    Mode "device" first draws one of the limits not yet kept, in proportion to its relative excess, and then a group by its
    share of what is limited; with one limit it is the corresponding other mode. The baselines draw nothing: "uniform" narrows
    all groups by one multiplier, "stock" takes the largest smaller network of the same zoo family. Mode "hybrid" drops blocks
    as well; without trained weights it draws which (see `planning.hybrid`).

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
        residual: "skip" keeps the widths of residual streams, as the paper does; "coupled" lets them shrink as well.
        temperature: Groups are drawn by their share to this power: 1 is the paper, 0 draws all alike.

    Raises:
        BudgetInfeasible: If the limits cannot all be kept; it carries the nearest plan.
        InvalidArgument: LIMIT_NEEDS_PROFILE, POLICY_INVALID or, in mode "stock", STOCK_NEEDS_ZOO.
    """
    policy = PlanPolicy(PlanMode(mode), step, round_to, min_width, Residual(residual), temperature, literal=literal)
    return Planner.of(graph, policy, profile).plan(budget, policy.mode, seed)


class Planner:
    """Plans one network under one width rule; what does not depend on the budget is worked out once. Not thread-safe.

    Args:
        graph: The unpruned network.
        rule: Allowed widths.
        profile: Class of hardware that latency limits are about.
        residual: Whether the widths of residual streams stay or shrink as well.
        temperature: Groups are drawn by their share to this power.
        hybrid: How mode HYBRID decides what stays.
        land: Give back what the last cuts overshot.
        go_on: As for `Bench`.
    """

    def __init__(
        self,
        graph: LayerGraph,
        rule: WidthRule,
        profile: DeviceProfile | None = None,
        *,
        residual: Residual = Residual.SKIP,
        temperature: float = 1.0,
        hybrid: HybridPolicy | None = None,
        land: bool = True,
        go_on: Callable[[], None] = go_on_for_ever,
    ) -> None:
        self._graph = graph
        self._land = land
        self._profile = profile
        self._residual = residual
        self._temperature = temperature
        self._policy = hybrid or HybridPolicy()
        self._bench = Bench(graph, rule, residual, go_on)
        self.unpruned: Plan = self._record(PlanMode.DEVICE, 0)
        """The plan that cuts nothing."""
        self._bench.set_widths(self._bench.smallest)
        self.smallest: Plan = self._record(PlanMode.DEVICE, 0)
        """The plan with every group at its smallest width."""
        # asked for by few; planners for other profiles share the answers
        self._hybrid = cache(lambda: HybridPlanner(graph, self._bench, residual))
        self._path = lru_cache(_PATHS_KEPT)(lambda resource, seed: Path(self._bench, resource, seed, temperature))
        self._coupled = cache(lambda: Planner(graph, rule, residual=Residual.COUPLED, go_on=go_on).smallest.cost)

    @classmethod
    def of(
        cls,
        graph: LayerGraph,
        policy: PlanPolicy,
        profile: DeviceProfile | None = None,
        go_on: Callable[[], None] = go_on_for_ever,
    ) -> Planner:
        """Returns the planner that follows a policy.

        Args:
            graph: The unpruned network.
            policy: How to plan; its mode is up to every call of `plan`.
            profile: Class of hardware that latency limits are about.
            go_on: As for `Bench`.

        Raises:
            InvalidArgument: POLICY_INVALID.
        """
        literal = policy.literal
        return cls(
            graph,
            WidthRule(policy.step, 1, 1) if literal else WidthRule(policy.step, policy.round_to, policy.min_width),
            profile,
            residual=policy.residual,
            temperature=policy.temperature,
            hybrid=policy.hybrid,
            land=not literal,
            go_on=go_on,
        )

    @property
    def hybrid(self) -> HybridPlanner:
        """The planner of depth and width together. The two share their workbench."""
        return self._hybrid()

    def on(self, profile: DeviceProfile | None) -> Planner:
        """Returns a planner of the same network for another class of hardware. The two share their workbench."""
        other = copy.copy(self)
        other._profile = profile  # noqa: SLF001  of the same class
        return other

    def limits(self, budget: Budget) -> Limits:
        """Returns what a budget comes to for this network and class of hardware. Raises InvalidArgument LIMIT_NEEDS_PROFILE."""
        return Limits.of(absolute_budget(budget, self.unpruned.cost, self._profile), self._profile)

    def smallest_cost(self, mode: PlanMode) -> Cost:
        """Returns the cost of the smallest network that a mode can reach.

        Raises:
            InvalidArgument: STOCK_NEEDS_ZOO.
        """
        match mode:
            case PlanMode.STOCK:
                return self._stock[-1].cost
            case PlanMode.HYBRID:
                return self.hybrid.smallest(self._scaling(None)).cost
        return self.smallest.cost

    def plan(
        self,
        budget: Budget,
        mode: PlanMode,
        seed: int,
        *,
        scores: Scores | None = None,
        alpha: float | None = None,
    ) -> Plan:
        """Plans for one budget; see the function `plan`.

        Args:
            budget: Limits, absolute or relative.
            mode: How to decide where to cut.
            seed: Seed of all draws.
            scores: Scores of trained channels, for mode HYBRID: the plan then says which stay. Without them,
                they are drawn under the seed and only decide which blocks go.
            alpha: Base of depth in mode HYBRID; None for that of the policy, or else the usual one.
        """
        if mode is PlanMode.HYBRID:
            limits, hybrid = self.limits(budget), self.hybrid
            given = hybrid.random_scores(seed) if scores is None else scores
            return hybrid.plan(limits, given, self._scaling(alpha), self._policy.order, seed=seed, inherits=scores is not None)
        return self.trace(budget, mode, seed).plan

    def trace(self, budget: Budget, mode: PlanMode, seed: int) -> Trace:
        """Plans as `plan` does and tells how the plan came about. Not for mode HYBRID, which is no way of many cuts."""
        limits = self.limits(budget)
        if mode is PlanMode.STOCK:
            return Trace(self._stock_plan(limits, seed))
        bench = self._bench
        if not limits.allow(limits.figures(self.smallest.cost)):
            coupled = limits.figures(self._coupled()) if self._residual is Residual.SKIP else None
            raise BudgetInfeasible.of(limits, replace(self.smallest, mode=mode, seed=seed), bench, coupled)
        if limits.allow(limits.figures(self.unpruned.cost)):
            return Trace(replace(self.unpruned, mode=mode, seed=seed))
        if mode is PlanMode.UNIFORM:
            narrow_all_alike(bench, limits)
            return Trace(self._record(mode, seed))
        resource = RESOURCE_OF_MODE.get(mode) or limits.only
        if resource is None or Resource.RAM_BYTES in limits.asked:
            bench.set_widths(bench.full)
            cuts = cut_until_it_fits(bench, limits, resource, seed, self._temperature)
        else:
            cuts = self._path(resource, seed).until(limits)
        if self._land:
            give_back(bench, limits, list(dict.fromkeys(reversed(cuts))))
        return Trace(self._record(mode, seed), cuts)

    def curve(self, mode: PlanMode = PlanMode.DEVICE, seed: int = 0) -> tuple[CurvePoint, ...]:
        """Returns what the network costs with all groups narrowed alike, from the full width down.

        Args:
            mode: HYBRID drops blocks on the way.
            seed: Seed that draws which.
        """
        return self.hybrid.curve(self._scaling(None), seed) if mode is PlanMode.HYBRID else budget_curve(self._bench)

    def _scaling(self, alpha: float | None) -> Scaling:
        given = self._policy.alpha if alpha is None else alpha
        return Scaling() if given is None else Scaling(given)

    def _stock_plan(self, limits: Limits, seed: int) -> Plan:
        """Returns the largest network of the family that keeps the limits."""
        for member in self._stock:
            if limits.allow(limits.figures(member.cost)):
                return replace(member, seed=seed)
        smallest = CostModel(member.apply(self._graph))
        raise BudgetInfeasible.of_stock(limits, replace(member, seed=seed), smallest.heaviest_layer)

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
