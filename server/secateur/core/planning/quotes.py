"""Quotes: what a target would come to, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from secateur.core.graph import LayerGraph
from secateur.core.planning.bench import go_on_for_ever
from secateur.core.planning.budgets import budget_of, predicted
from secateur.core.planning.curves import CurvePoint
from secateur.core.planning.hybrid import groups_to_score
from secateur.core.planning.hybrid_scores import check_scales
from secateur.core.planning.infeasible import BudgetInfeasible
from secateur.core.planning.plan import Plan
from secateur.core.planning.planner import Planner
from secateur.core.resources import Resource
from secateur.core.specs import Criterion, PlanMode, PlanPolicy, Target


@dataclass(frozen=True, slots=True)
class LimitQuote:
    """One limit of a target as predicted, in the unit of its resource.

    Args:
        resource: What is limited.
        asked: The bound, fractions resolved.
        unpruned: Value of the unpruned network.
        predicted: Value of the plan; of an infeasible target, that of the nearest one.
        smallest_reachable: Value with every group at its smallest width.
        met: Whether the prediction keeps the bound.
        origin: Where the limit came from: "budget" or "device_profile".
    """

    resource: Resource
    asked: float
    unpruned: float
    predicted: float
    smallest_reachable: float
    met: bool
    origin: str


@dataclass(frozen=True, slots=True)
class TargetQuote:
    """The answer for one target.

    Args:
        feasible: Whether every limit that can be predicted holds.
        plan: The plan; of an infeasible target, the nearest one.
        limits: Every limit that can be predicted: all but accuracy.
        binding: Of an infeasible target, the limit that is missed by most.
        message: One sentence for people.
        unchanged: Whether the unpruned network already keeps every limit on its cost, so that there is nothing to prune.
    """

    feasible: bool
    plan: Plan
    limits: tuple[LimitQuote, ...]
    binding: Resource | None
    message: str
    unchanged: bool


class Quoter:
    """Quotes targets of one network under one policy; what does not depend on the target is worked out once.

    Args:
        graph: The unpruned network.
        policy: How to plan.
        seed: Seed of the planner.
        go_on: As for `Bench`.

    Raises:
        InvalidArgument: POLICY_INVALID, CRITERION_UNSUITABLE or STOCK_NEEDS_ZOO.
    """

    def __init__(
        self, graph: LayerGraph, policy: PlanPolicy, seed: int = 0, go_on: Callable[[], None] = go_on_for_ever
    ) -> None:
        if policy.mode is PlanMode.HYBRID and policy.hybrid.criterion is Criterion.BATCH_NORM_SCALE:
            check_scales(graph, groups_to_score(graph, policy.residual))  # else the job would fail
        self._planner = Planner.of(graph, policy, go_on=go_on)
        self._mode = policy.mode
        self._seed = seed
        self._smallest = self._planner.smallest_cost(policy.mode)

    def quote(self, target: Target) -> TargetQuote:
        """Plans a target and says what it would come to.

        Args:
            target: Device class and budget.

        Raises:
            InvalidArgument: BUDGET_EMPTY or LIMIT_NEEDS_PROFILE.
        """
        profile = target.device_profile
        planner = self._planner.on(profile)
        budget = budget_of(target, planner.unpruned.cost)
        infeasible: BudgetInfeasible | None = None
        try:
            chosen = planner.plan(budget, self._mode, self._seed)
        except BudgetInfeasible as error:
            infeasible, chosen = error, error.nearest
        unpruned, reached, smallest = (
            predicted(cost, profile) for cost in (planner.unpruned.cost, chosen.cost, self._smallest)
        )
        limits = tuple(
            LimitQuote(
                resource=limit.resource,
                asked=asked,
                unpruned=unpruned[limit.resource],
                predicted=reached[limit.resource],
                smallest_reachable=smallest[limit.resource],
                met=limit.resource.holds(reached[limit.resource], asked),
                origin=limit.origin,
            )
            for limit, asked in zip(budget.limits, budget.asked().values(), strict=True)
            if not limit.resource.is_floor
        )
        unchanged = infeasible is None and chosen.changes_nothing
        return TargetQuote(
            feasible=infeasible is None,
            plan=chosen,
            limits=limits,
            binding=infeasible.binding if infeasible else None,
            message=infeasible.message if infeasible else self._message(chosen, unchanged=unchanged),
            unchanged=unchanged,
        )

    def curve(self) -> tuple[CurvePoint, ...]:
        """Returns what the network costs at sampled widths, from full to the smallest."""
        return self._planner.curve(self._mode, self._seed)

    def _message(self, plan: Plan, *, unchanged: bool) -> str:
        if unchanged:
            return "The unpruned network already keeps every limit on its cost, so there is nothing to prune; ask for less."
        if plan.stock:
            return f"Takes the stock network {plan.stock} instead; every limit holds."
        cut = sum(plan.widths[name] < full for name, full in plan.unpruned_widths.items())
        kept, full = sum(plan.widths.values()), sum(plan.unpruned_widths.values())
        cuts = f"cuts {cut} of {len(plan.widths)} channel groups and keeps {kept:,} of {full:,} channels in them"
        if plan.mode is not PlanMode.HYBRID:
            return f"{cuts.capitalize()}; every limit holds."
        return (
            f"Drops {len(plan.dropped)} of {len(self._planner.hybrid.blocks)} blocks, {cuts}; every limit holds. Which "
            "blocks go is drawn at random here, as a quote has no trained weights; a job goes by its criterion."
        )


def quote(graph: LayerGraph, target: Target, policy: PlanPolicy, seed: int = 0) -> TargetQuote:
    """Quotes one target; see `Quoter`, which raises the same."""
    return Quoter(graph, policy, seed).quote(target)
