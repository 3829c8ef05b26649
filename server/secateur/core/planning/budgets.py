"""From what was asked to the absolute limits that a plan has to keep."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from secateur.core.cost import Cost, cost_of, predict_latency_ms
from secateur.core.devices import DeviceProfile
from secateur.core.graph import LayerGraph
from secateur.core.resources import Budget, Limit, Resource, latency_needs_profile
from secateur.core.specs import Target

_STRICTEST: Final = 0.5
"""One tightening cuts a limit to no less than this share of what a proportional error would ask for."""


def predicted(cost: Cost, profile: DeviceProfile | None = None) -> dict[Resource, float]:
    """Returns every figure of a network that a limit can be held against before it is trained.

    Args:
        cost: Its cost.
        profile: Class of hardware it will run on; without one there is no latency, and RAM is that of a micro-controller.
    """
    figures = cost.by_resource()
    if profile is not None:
        figures[Resource.LATENCY_MS] = predict_latency_ms(cost.work, profile)
        figures[Resource.RAM_BYTES] = profile.working_memory(cost.flash_bytes, cost.ram_bytes)
    return figures


def absolute_budget(budget: Budget, unpruned: Cost, profile: DeviceProfile | None = None) -> Budget:
    """Returns the budget with every fraction resolved.

    Args:
        budget: Limits, absolute or relative.
        unpruned: Cost of the unpruned network.
        profile: Class of hardware that latency limits are about.

    Raises:
        InvalidArgument: LIMIT_NEEDS_PROFILE, if latency is limited without a profile.
    """
    if profile is None and any(limit.resource is Resource.LATENCY_MS for limit in budget.limits):
        raise latency_needs_profile()
    return budget.resolve(predicted(unpruned, profile))


def effective_budget(graph: LayerGraph, target: Target) -> Budget:
    """Returns everything that a target limits, in absolute values: its budget and its profile, the tighter of two limits.

    Args:
        graph: The unpruned network.
        target: What is asked.

    Raises:
        InvalidArgument: BUDGET_EMPTY if nothing is limited, or LIMIT_NEEDS_PROFILE.
    """
    return budget_of(target, cost_of(graph))


def budget_of(target: Target, unpruned: Cost) -> Budget:
    """Does what `effective_budget` does for a network whose cost is known."""
    profile = target.device_profile
    own = absolute_budget(target.budget, unpruned, profile) if target.budget else None
    return merged(own, profile)


def merged(budget: Budget | None, profile: DeviceProfile | None) -> Budget:
    """Returns an absolute budget together with the limits of a profile.

    Raises:
        InvalidArgument: BUDGET_EMPTY, if there is neither.
    """
    of_profile: Iterable[Limit] = profile.limits() if profile else ()
    return budget.tightened_by(of_profile) if budget else Budget(tuple(of_profile))


def tighten(budget: Budget, resource: Resource, *, asked: float, predicted: float, measured: float) -> Budget:
    """Returns the budget for the next plan after a measurement missed a limit that the prediction kept.

    The miss is taken for an offset that the next plan will have, too, so the limit sinks by the measured excess below what
    was predicted. It never sinks below half of what a proportional error would ask for, so that one bad measurement cannot
    drive the network to nothing. The new limit is always below `predicted`, and the lower, the higher `measured` is.

    Args:
        budget: Absolute budget of the last plan.
        resource: What was missed; a resource with an upper limit.
        asked: The limit as the user asked for it, before any tightening.
        predicted: What the last plan was predicted to take.
        measured: What it was measured to take; above `asked`.
    """
    if resource.is_floor or measured <= asked:
        raise ValueError(f"Only a missed upper limit can be tightened. Received: {resource.value}, {asked=}, {measured=}")
    offset = predicted - (measured - asked)
    proportional = predicted * asked / measured
    limit = max(offset, _STRICTEST * proportional)
    return Budget(tuple(replace(old, value=limit) if old.resource is resource else old for old in budget.limits))
