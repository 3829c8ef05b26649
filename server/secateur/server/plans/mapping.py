"""Plans, policies, targets and quotes between proto and domain (plan_service.proto)."""

from __future__ import annotations

from collections.abc import Iterable

from secateur.core.planning import LimitQuote, Plan, TargetQuote
from secateur.core.specs import PlanMode, PlanPolicy, Target
from secateur.server import names
from secateur.server.fields import under
from secateur.server.plans.handlers import Quotes, QuoteTargets
from secateur.server.vocabulary import budget_from_proto, budget_to_proto, cost_to_proto, resource_to_proto
from secateur.v1 import plan_service_pb2, resources_pb2


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


def targets_from_proto(messages: Iterable[plan_service_pb2.Target]) -> tuple[Target, ...]:
    """Returns the targets.

    Raises:
        InvalidArgument: LIMIT_INVALID or LIMIT_DUPLICATE, naming the target.
    """
    return tuple(_target_from_proto(index, message) for index, message in enumerate(messages))


def _target_from_proto(index: int, message: plan_service_pb2.Target) -> Target:
    with under(f"targets[{index}]"):
        return Target(
            device_profile=profile_from_proto(message.device_profile),
            budget=budget_from_proto(message.budget) if message.HasField("budget") else None,
        )


def profile_from_proto(name: str) -> str | None:
    """Returns the id in the name of a device profile; None for no name."""
    return names.parse(name, "deviceProfiles")[0] if name else None


def target_to_proto(target: Target) -> plan_service_pb2.Target:
    """Returns the message of a target."""
    return plan_service_pb2.Target(
        device_profile=names.device_profile(target.device_profile) if target.device_profile else "",
        budget=budget_to_proto(target.budget) if target.budget else None,
    )


def policy_from_proto(message: plan_service_pb2.PlanPolicy) -> PlanPolicy:
    """Returns the policy, what is unset filled in."""
    default = PlanPolicy()
    unset = message.mode == plan_service_pb2.PLAN_MODE_UNSPECIFIED
    return PlanPolicy(
        mode=default.mode if unset else PlanMode[plan_service_pb2.PlanMode.Name(message.mode).removeprefix("PLAN_MODE_")],
        step=message.step if message.HasField("step") else default.step,
        round_to=message.round_to or default.round_to,
        min_width=message.min_width or default.min_width,
    )


def policy_to_proto(policy: PlanPolicy) -> plan_service_pb2.PlanPolicy:
    """Returns the message of a policy."""
    return plan_service_pb2.PlanPolicy(
        mode=_mode_to_proto(policy.mode), round_to=policy.round_to, step=policy.step, min_width=policy.min_width
    )


def plan_to_proto(plan: Plan | None) -> plan_service_pb2.Plan | None:
    """Returns the message of a plan; None stays unset."""
    if plan is None:
        return None
    return plan_service_pb2.Plan(
        digest=plan.digest,
        seed=plan.seed,
        mode=_mode_to_proto(plan.mode),
        widths=[
            plan_service_pb2.GroupWidth(group=group, width=width, unpruned_width=plan.unpruned_widths[group])
            for group, width in plan.widths.items()
        ],
        cost=cost_to_proto(plan.cost),
        stock=plan.stock,
    )


def _mode_to_proto(mode: PlanMode) -> plan_service_pb2.PlanMode.ValueType:
    return plan_service_pb2.PlanMode.Value(f"PLAN_MODE_{mode.name}")


def _quote_to_proto(quote: TargetQuote) -> plan_service_pb2.TargetQuote:
    return plan_service_pb2.TargetQuote(
        feasible=quote.feasible,
        plan=plan_to_proto(quote.plan),
        limits=[_limit_to_proto(limit) for limit in quote.limits],
        binding_limit=resource_to_proto(quote.binding) if quote.binding else resources_pb2.RESOURCE_UNSPECIFIED,
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
