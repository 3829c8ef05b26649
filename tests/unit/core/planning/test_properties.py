"""What holds of every plan, whatever the network, the budget and the policy."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.core import devices
from secateur.core.cost import CostModel, cost_of
from secateur.core.graph import LayerGraph, Residual, channel_groups, zoo
from secateur.core.planning import Budget, BudgetInfeasible, Plan, Planner, WidthRule, plan, predicted
from secateur.core.resources import Limit, Resource
from secateur.core.specs import PlanMode
from tests.support.graphs import layer_graphs

PROFILE = devices.get("stm32f746")
LIMITED = st.sampled_from([resource for resource in Resource if resource is not Resource.ACCURACY])
BUDGETS = st.lists(
    st.builds(Limit, LIMITED, fraction=st.floats(0.05, 1)), min_size=1, max_size=4, unique_by=lambda limit: limit.resource
).map(lambda limits: Budget(tuple(limits)))
POLICIES = st.fixed_dictionaries(
    {
        "mode": st.sampled_from([mode for mode in PlanMode if mode is not PlanMode.STOCK]),  # random networks are not stock
        "seed": st.integers(0, 2**32 - 1),
        "step": st.floats(0.05, 0.6),
        "round_to": st.integers(1, 4),
        "min_width": st.integers(1, 6),
        "residual": st.sampled_from(Residual),
        "temperature": st.sampled_from([0, 0.5, 1, 2]),
    }
)


def nearest_or_plan(graph: LayerGraph, budget: Budget, policy: dict[str, Any]) -> tuple[Plan, BudgetInfeasible | None]:
    try:
        return plan(graph, budget, profile=PROFILE, **policy), None
    except BudgetInfeasible as error:
        return error.nearest, error


@settings(max_examples=120)
@given(layer_graphs(), BUDGETS, POLICIES)
def test_a_plan_keeps_its_promises(graph: LayerGraph, budget: Budget, policy: dict[str, Any]) -> None:
    chosen, infeasible = nearest_or_plan(graph, budget, policy)
    full = predicted(cost_of(graph), PROFILE)
    reached = predicted(chosen.cost, PROFILE)
    asked = budget.resolve(full).asked()
    rule = WidthRule(policy["step"], policy["round_to"], policy["min_width"])
    for name, width in chosen.widths.items():
        assert rule.smallest(chosen.unpruned_widths[name]) <= width <= chosen.unpruned_widths[name]
    if infeasible is None:
        assert all(reached[resource] <= value for resource, value in asked.items())
    else:
        assert infeasible.smallest_reachable[infeasible.binding] > asked[infeasible.binding]
        assert all(reached[resource] == value for resource, value in infeasible.smallest_reachable.items())
    assert cost_of(chosen.apply(graph)) == chosen.cost
    assert chosen == nearest_or_plan(graph, budget, policy)[0]
    assert chosen.digest == nearest_or_plan(graph, budget, policy)[0].digest


@settings(max_examples=40)
@given(layer_graphs(), BUDGETS, POLICIES, st.floats(1, 3))
def test_a_looser_budget_stays_feasible(graph: LayerGraph, budget: Budget, policy: dict[str, Any], slack: float) -> None:
    _, infeasible = nearest_or_plan(graph, budget, policy)
    if infeasible is None:
        asked = budget.resolve(predicted(cost_of(graph), PROFILE)).asked()
        looser = Budget(tuple(Limit(resource, value=value * slack) for resource, value in asked.items()))
        assert nearest_or_plan(graph, looser, policy)[1] is None


@settings(max_examples=40)
@given(layer_graphs(), BUDGETS, POLICIES)
def test_the_smallest_reachable_point_is_reachable(graph: LayerGraph, budget: Budget, policy: dict[str, Any]) -> None:
    """What an infeasible answer offers as reachable is feasible when asked for."""
    _, infeasible = nearest_or_plan(graph, budget, policy)
    if infeasible is not None:
        offered = Budget(tuple(Limit(resource, value=value) for resource, value in infeasible.smallest_reachable.items()))
        assert nearest_or_plan(graph, offered, policy)[1] is None


@settings(max_examples=30)
@given(st.integers(0, 1_000), st.sampled_from(["parameters", "flops", "memory_bytes", "flash_bytes"]), st.floats(0.3, 0.95))
def test_what_was_cut_last_is_given_back_first(seed: int, resource: str, fraction: float) -> None:
    """Landing widens the group of the last cut until one more channel would break the limit."""
    graph = zoo.build("resnet20", (8, 8, 1), 10)
    planner, cutter = Planner(graph, WidthRule()), Planner(graph, WidthRule(), land=False)
    limited = Resource(resource)

    def cut(value: float) -> Plan:
        return cutter.plan(Budget.of(**{resource: value}), PlanMode.DEVICE, seed)

    asked = fraction * planner.unpruned.cost.by_resource()[limited]
    landed = planner.plan(Budget.of(**{resource: asked}), PlanMode.DEVICE, seed)
    overshot, before = cut(asked), cut(asked)
    looser = asked
    while before.widths == overshot.widths:  # a looser budget stops the same draws earlier: find the state before the last cut
        looser *= 1.001
        before = cut(looser)
    (last,) = (name for name, width in overshot.widths.items() if width != before.widths[name])

    assert all(landed.widths[name] >= width for name, width in overshot.widths.items())
    model = CostModel(graph, [group for group in channel_groups(graph) if group.prunable])
    for name, width in overshot.widths.items():
        model.set_width(name, width)
    model.set_width(last, landed.widths[last])
    assert model.value(limited) <= asked
    assert landed.widths[last] < before.widths[last]
    model.set_width(last, landed.widths[last] + 1)
    assert model.value(limited) > asked


@settings(max_examples=25)
@given(
    layer_graphs(),
    st.lists(BUDGETS, min_size=2, max_size=5),
    st.sampled_from(["device", "parameters", "hybrid"]),
    st.integers(0, 2),
)
def test_what_a_planner_was_asked_before_changes_no_answer(
    graph: LayerGraph, budgets: list[Budget], mode: str, seed: int
) -> None:
    """Budgets share the cuts that they have in common, whichever is asked for first."""
    planner = Planner(graph, WidthRule(min_width=1), PROFILE)
    for budget in budgets:
        alone, infeasible = nearest_or_plan(graph, budget, {"mode": mode, "seed": seed, "min_width": 1})
        if infeasible is None:
            assert planner.plan(budget, PlanMode(mode), seed) == alone
        else:
            with pytest.raises(BudgetInfeasible, match=re.escape(str(infeasible))):
                planner.plan(budget, PlanMode(mode), seed)


def test_seeds_differ() -> None:
    graph = zoo.build("vgg16", (32, 32, 3), 10)
    plans = {plan(graph, Budget.fractions(parameters=0.5), seed=seed).digest for seed in range(10)}
    assert len(plans) == 10
