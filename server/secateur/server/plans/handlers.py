"""Quotes plans: what would be cut, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator
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
        InvalidArgument: DEVICE_PROFILE_UNKNOWN or BUDGET_EMPTY, naming the target.
    """
    with store.snapshot() as work:
        architecture = work.architectures.get(query.project, query.architecture)
    return Quotes(
        targets=tuple(quotes(architecture.graph, query.targets, query.policy, query.seed)), unpruned_cost=architecture.cost
    )


def quotes(graph: LayerGraph, targets: tuple[Target, ...], policy: PlanPolicy, seed: int) -> Iterator[TargetQuote]:
    """Yields the quote of each target in turn; an error names the target."""
    for index, target in enumerate(targets):
        with under(f"targets[{index}]"):
            quote = planning.quote(graph, target, policy, seed)
        yield quote
