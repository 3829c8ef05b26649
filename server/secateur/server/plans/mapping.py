"""Plans, policies, targets and quotes between proto and domain (plan_service.proto)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from secateur.core.planning import LimitQuote, Plan, TargetQuote
from secateur.core.profiles import ProfileName
from secateur.core.specs import HybridPolicy, PlanMode, PlanPolicy, SearchPolicy, Target
from secateur.server import names
from secateur.server.fields import under
from secateur.server.plans.handlers import AskedTarget, Quotes, QuoteTargets
from secateur.server.vocabulary import (
    budget_from_proto,
    budget_to_proto,
    cost_to_proto,
    resource_to_proto,
    word_from_proto,
    word_to_proto,
)
from secateur.v1 import plan_service_pb2

_MODE: Final = "PLAN_MODE_"
_RESIDUAL: Final = "RESIDUAL_"
_CRITERION: Final = "CRITERION_"
_ORDER: Final = "ORDER_"

_KEPT: Final = 256
"""Messages that are kept: most jobs of a fleet ask for the same. Whoever puts one into another message copies it."""


def quote_from_proto(request: plan_service_pb2.QuoteRequest) -> QuoteTargets:
    """Returns the query of a request."""
    project, architecture = names.in_project(request.architecture, "architectures")
    return QuoteTargets(
        project=project,
        architecture=architecture,
        targets=targets_from_proto(request.targets),
        policy=policy_from_proto(request.policy),
        seed=request.seed,
    )


def quotes_to_proto(quotes: Quotes) -> plan_service_pb2.QuoteResponse:
    """Returns the response of a query."""
    return plan_service_pb2.QuoteResponse(
        quotes=[_quote_to_proto(quote) for quote in quotes.targets],
        unpruned_cost=cost_to_proto(quotes.unpruned_cost),
        curve=[plan_service_pb2.CurvePoint(width=point.width, cost=cost_to_proto(point.cost)) for point in quotes.curve],
    )


def targets_from_proto(messages: Iterable[plan_service_pb2.Target]) -> tuple[AskedTarget, ...]:
    """Returns the targets.

    Raises:
        InvalidArgument: LIMIT_INVALID or LIMIT_DUPLICATE, naming the target.
    """
    return tuple(_target_from_proto(index, message) for index, message in enumerate(messages))


def _target_from_proto(index: int, message: plan_service_pb2.Target) -> AskedTarget:
    with under(f"targets[{index}]"):
        return AskedTarget(
            device_profile=profile_from_proto(message.device_profile),
            budget=budget_from_proto(message.budget) if message.HasField("budget") else None,
        )


def profile_from_proto(name: str) -> ProfileName | None:
    """Returns which device profile is named; None for no name."""
    return names.device_profile_of(name) if name else None


@lru_cache(maxsize=_KEPT)
def target_to_proto(target: Target) -> plan_service_pb2.Target:
    """Returns the message of a target."""
    return plan_service_pb2.Target(
        device_profile=names.device_profile(ProfileName.of(target.device_profile)) if target.device_profile else "",
        budget=budget_to_proto(target.budget) if target.budget else None,
    )


def policy_from_proto(message: plan_service_pb2.PlanPolicy) -> PlanPolicy:
    """Returns the policy, what is unset filled in. What its mode does not look at is left out, so that equal work is equal.

    Raises:
        InvalidArgument: POLICY_INVALID.
    """
    default = PlanPolicy()
    mode = word_from_proto(plan_service_pb2.PlanMode, message.mode, _MODE, default.mode)
    return PlanPolicy(
        mode=mode,
        step=message.step if message.HasField("step") else default.step,
        round_to=message.round_to or default.round_to,
        min_width=message.min_width or default.min_width,
        residual=word_from_proto(plan_service_pb2.Residual, message.residual, _RESIDUAL, default.residual),
        temperature=message.temperature if message.HasField("temperature") else default.temperature,
        hybrid=_hybrid_from_proto(message.hybrid) if mode is PlanMode.HYBRID else default.hybrid,
        search=_search_from_proto(message.search) if message.HasField("search") else None,
        literal=message.literal,
    )


def _hybrid_from_proto(message: plan_service_pb2.HybridPolicy) -> HybridPolicy:
    default = HybridPolicy()
    return HybridPolicy(
        criterion=word_from_proto(plan_service_pb2.Criterion, message.criterion, _CRITERION, default.criterion),
        order=word_from_proto(plan_service_pb2.Order, message.order, _ORDER, default.order),
        alpha=message.alpha if message.HasField("alpha") else None,
        rounds=message.rounds or default.rounds,
    )


def _search_from_proto(message: plan_service_pb2.SearchPolicy) -> SearchPolicy:
    default = SearchPolicy()
    return SearchPolicy(
        candidates=message.candidates or default.candidates,
        finalists=message.finalists or default.finalists,
        brief_epochs=message.brief_epochs or default.brief_epochs,
    )


@lru_cache(maxsize=_KEPT)
def policy_to_proto(policy: PlanPolicy) -> plan_service_pb2.PlanPolicy:
    """Returns the message of a policy, everything filled in; `hybrid` is set in mode HYBRID alone."""
    return plan_service_pb2.PlanPolicy(
        mode=word_to_proto(plan_service_pb2.PlanMode, policy.mode, _MODE),
        round_to=policy.round_to,
        step=policy.step,
        min_width=policy.min_width,
        residual=word_to_proto(plan_service_pb2.Residual, policy.residual, _RESIDUAL),
        temperature=policy.temperature,
        hybrid=_hybrid_to_proto(policy.hybrid) if policy.mode is PlanMode.HYBRID else None,
        search=_search_to_proto(policy.search) if policy.search else None,
        literal=policy.literal,
    )


def _hybrid_to_proto(hybrid: HybridPolicy) -> plan_service_pb2.HybridPolicy:
    return plan_service_pb2.HybridPolicy(
        criterion=word_to_proto(plan_service_pb2.Criterion, hybrid.criterion, _CRITERION),
        order=word_to_proto(plan_service_pb2.Order, hybrid.order, _ORDER),
        alpha=hybrid.alpha,
        rounds=hybrid.rounds,
    )


def _search_to_proto(search: SearchPolicy) -> plan_service_pb2.SearchPolicy:
    return plan_service_pb2.SearchPolicy(
        candidates=search.candidates, finalists=search.finalists, brief_epochs=search.brief_epochs
    )


def plan_to_proto(plan: Plan | None, *, brief: bool = False) -> plan_service_pb2.Plan | None:
    """Returns the message of a plan; None stays unset. With `brief`, for lists, which channels are kept is left out."""
    if plan is None:
        return None
    return plan_service_pb2.Plan(
        digest=plan.digest,
        seed=plan.seed,
        mode=word_to_proto(plan_service_pb2.PlanMode, plan.mode, _MODE),
        widths=[
            plan_service_pb2.GroupWidth(
                group=group,
                width=width,
                unpruned_width=plan.unpruned_widths[group],
                indices=() if brief else plan.indices.get(group, ()),
            )
            for group, width in plan.widths.items()
        ],
        cost=cost_to_proto(plan.cost),
        stock=plan.stock,
        dropped_blocks=plan.dropped,
    )


def _quote_to_proto(quote: TargetQuote) -> plan_service_pb2.TargetQuote:
    return plan_service_pb2.TargetQuote(
        feasible=quote.feasible,
        plan=plan_to_proto(quote.plan),
        limits=[_limit_to_proto(limit) for limit in quote.limits],
        binding_limit=resource_to_proto(quote.binding),
        message=quote.message,
        unchanged=quote.unchanged,
    )


def _limit_to_proto(limit: LimitQuote) -> plan_service_pb2.LimitQuote:
    return plan_service_pb2.LimitQuote(
        resource=resource_to_proto(limit.resource),
        asked=limit.asked,
        unpruned=limit.unpruned,
        predicted=limit.predicted,
        smallest_reachable=limit.smallest_reachable,
        met=limit.met,
        origin=limit.origin,
    )
