"""Quotes plans: what would be cut, before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass

from secateur.core import planning
from secateur.core.cost import Cost
from secateur.core.graph import LayerGraph
from secateur.core.planning import TargetQuote
from secateur.core.specs import PlanPolicy, Target
from secateur.server.fields import under
from secateur.store import Store


@dataclass(frozen=True, slots=True)
class QuoteTargets:
    """Which plans are asked for.

    Args:
        project: Project of the architecture.
        architecture: Id of the architecture.
        targets: What to plan for.
        policy: How to plan.
        seed: Seed of the planner.
    """

    project: str
    architecture: str
    targets: tuple[Target, ...]
    policy: PlanPolicy
    seed: int


@dataclass(frozen=True, slots=True)
class Quotes:
    """One quote per target, and the cost of the unpruned network."""

    targets: tuple[TargetQuote, ...]
    unpruned_cost: Cost


def quote_targets(query: QuoteTargets, *, store: Store) -> Quotes:
    """Plans every target without training.

    Raises:
        NotFound: ARCHITECTURE_NOT_FOUND.
        InvalidArgument: DEVICE_PROFILE_UNKNOWN, BUDGET_EMPTY or LIMIT_NEEDS_PROFILE, naming the target.
    """
    with store.snapshot() as work:
        architecture = work.architectures.get(query.project, query.architecture)
    return Quotes(
        targets=quote_each(architecture.graph, query.targets, query.policy, query.seed), unpruned_cost=architecture.cost
    )


def quote_each(graph: LayerGraph, targets: tuple[Target, ...], policy: PlanPolicy, seed: int) -> tuple[TargetQuote, ...]:
    """Returns one quote per target.

    Raises:
        InvalidArgument: DEVICE_PROFILE_UNKNOWN, BUDGET_EMPTY or LIMIT_NEEDS_PROFILE, naming the target.
    """
    return tuple(_quote(index, graph, target, policy, seed) for index, target in enumerate(targets))


def _quote(index: int, graph: LayerGraph, target: Target, policy: PlanPolicy, seed: int) -> TargetQuote:
    with under(f"targets[{index}]"):
        return planning.quote(graph, target, policy, seed)
