"""Quotes plans: what would be cut, before anything is trained."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from secateur.core.cost import Cost
from secateur.core.errors import QuotaExceeded
from secateur.core.graph import LayerGraph
from secateur.core.planning import CurvePoint, Quoter, TargetQuote
from secateur.core.profiles import ProfileName
from secateur.core.resources import Budget
from secateur.core.specs import PlanPolicy, Target
from secateur.server.device_profiles.handlers import find_profile
from secateur.server.fields import under
from secateur.store import Store
from secateur.store.unit_of_work import Snapshot


@dataclass(frozen=True, slots=True)
class AskedTarget:
    """A target as a client asks for it: its device profile by name.

    Args:
        device_profile: Name of the device profile; None for none.
        budget: Limits beside those of the profile; None for none.
    """

    device_profile: ProfileName | None
    budget: Budget | None


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
    targets: tuple[AskedTarget, ...]
    policy: PlanPolicy
    seed: int


@dataclass(frozen=True, slots=True)
class Quotes:
    """One quote per target, the cost of the unpruned network, and what it costs at sampled widths."""

    targets: tuple[TargetQuote, ...]
    unpruned_cost: Cost
    curve: tuple[CurvePoint, ...]


def quote_targets(query: QuoteTargets, *, store: Store, seconds: float) -> Quotes:
    """Plans every target without training.

    Args:
        query: Which plans are asked for.
        store: Where architectures are.
        seconds: How long planning may take.

    Raises:
        QuotaExceeded: PLAN_TIME_EXCEEDED.
        NotFound: ARCHITECTURE_NOT_FOUND; DEVICE_PROFILE_NOT_FOUND, naming the target.
        InvalidArgument: POLICY_INVALID or STOCK_NEEDS_ZOO; DEVICE_PROFILE_UNKNOWN, BUDGET_EMPTY or LIMIT_NEEDS_PROFILE, naming
            the target.
    """
    with store.snapshot() as work:
        architecture = work.architectures.get(query.project, query.architecture)
        targets = with_profiles(query.targets, query.project, work)
    quoter = Quoter(architecture.graph, query.policy, query.seed, _within(seconds))
    return Quotes(_each(quoter, targets), architecture.cost, quoter.curve())


def with_profiles(targets: tuple[AskedTarget, ...], project: str, work: Snapshot) -> tuple[Target, ...]:
    """Returns the targets with the device profiles that they name.

    Args:
        targets: What is asked.
        project: Project that asks; its own profiles and the built-in ones are all that there is for it.
        work: Where its own profiles are.

    Raises:
        InvalidArgument: DEVICE_PROFILE_UNKNOWN, naming the target.
        NotFound: DEVICE_PROFILE_NOT_FOUND, naming the target.
    """
    found = []
    for index, target in enumerate(targets):
        with under(f"targets[{index}]"):
            found.append(Target(find_profile(target.device_profile, project, work), target.budget))
    return tuple(found)


def quote_each(
    graph: LayerGraph, targets: tuple[Target, ...], policy: PlanPolicy, seed: int, *, seconds: float
) -> tuple[TargetQuote, ...]:
    """Returns one quote per target; raises InvalidArgument and QuotaExceeded as `quote_targets` does."""
    return _each(Quoter(graph, policy, seed, _within(seconds)), targets)


def _within(seconds: float) -> Callable[[], None]:
    """Returns what ends a plan after so long: nothing else would, as a thread goes on when its call is cancelled."""
    end = time.monotonic() + seconds

    def go_on() -> None:
        if time.monotonic() > end:
            raise QuotaExceeded(
                "PLAN_TIME_EXCEEDED",
                f"Planning may take at most {seconds:g} s here, and this network takes longer: ask for a larger `step`, "
                "another mode, or fewer targets at once",
                field="policy",
            )

    return go_on


def _each(quoter: Quoter, targets: tuple[Target, ...]) -> tuple[TargetQuote, ...]:
    quotes = []
    for index, target in enumerate(targets):
        with under(f"targets[{index}]"):
            quotes.append(quoter.quote(target))
    return tuple(quotes)
