"""The baselines: uniform width and stock networks."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.core import devices
from secateur.core.cost import cost_of, predict_latency_ms
from secateur.core.errors import InvalidArgument
from secateur.core.graph import LayerGraph, zoo
from secateur.core.planning import Budget, BudgetInfeasible, Plan, Planner, Quoter, WidthRule, plan
from secateur.core.resources import Resource
from secateur.core.serial import from_data, to_data
from secateur.core.specs import PlanMode, PlanPolicy, Target
from tests.support.graphs import layer_graphs

# Uniform -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vgg16", "resnet56", "mobilenetv2"])
@pytest.mark.parametrize("resource", [Resource.PARAMETERS, Resource.FLOPS])
@pytest.mark.parametrize("fraction", [0.75, 0.5, 0.3])
def test_uniform_lands_on_the_budget(name: str, resource: Resource, fraction: float) -> None:
    graph = zoo.build(name, (32, 32, 3), 10)
    asked = fraction * cost_of(graph).by_resource()[resource]
    chosen = plan(graph, Budget.fractions(**{resource.value: fraction}), mode="uniform")
    assert 0.99 * asked <= chosen.cost.by_resource()[resource] <= asked


@settings(max_examples=40)
@given(layer_graphs(), st.floats(0.2, 1), st.integers(1, 4), st.integers(1, 6))
def test_uniform_is_one_multiplier_to_within_rounding(
    graph: LayerGraph, fraction: float, round_to: int, min_width: int
) -> None:
    rule = WidthRule(round_to=round_to, min_width=min_width)
    try:
        chosen = Planner(graph, rule).plan(Budget.fractions(macs=fraction), PlanMode.UNIFORM, 0)
    except BudgetInfeasible:
        return
    least, most = Fraction(0), Fraction(1)
    for name, full in chosen.unpruned_widths.items():
        width = chosen.widths[name]
        if width < full:  # rounded down, or up by one step
            following = rule.between(width, full)
            most = min(most, Fraction(following[min(1, len(following) - 1)], full))
        before = max((0, *(each for each in range(width) if each == rule.at_most(each, full))))
        if before > rule.smallest(
            full
        ):  # a step above the smallest width may start from what the floor gave, not the multiplier
            least = max(least, Fraction(before, full))
    assert least <= most


def test_uniform_ignores_the_seed_and_cuts_nothing_in_vain() -> None:
    graph = zoo.build("resnet20", (8, 8, 1), 10)
    budget = Budget.fractions(parameters=0.5)
    assert plan(graph, budget, mode="uniform", seed=1).widths == plan(graph, budget, mode="uniform", seed=2).widths
    assert plan(graph, Budget.fractions(parameters=1), mode="uniform").changes_nothing
    with pytest.raises(BudgetInfeasible):
        plan(graph, Budget.of(parameters=1_000), mode="uniform")


# Stock ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def resnet56() -> LayerGraph:
    return zoo.build("resnet56", (16, 16, 1), 10)


@pytest.mark.parametrize(("fraction", "stock"), [(0.8, "resnet44"), (0.6, "resnet32"), (0.4, "resnet20")])
def test_stock_is_the_largest_smaller_member_that_keeps_the_budget(resnet56: LayerGraph, fraction: float, stock: str) -> None:
    chosen = plan(resnet56, Budget.fractions(flops=fraction), mode="stock", seed=5)
    member = zoo.build(stock, (16, 16, 1), 10)
    assert (chosen.stock, chosen.mode, chosen.seed, dict(chosen.widths)) == (stock, PlanMode.STOCK, 5, {})
    assert chosen.cost == cost_of(member)
    assert chosen.apply(resnet56).digest == member.digest
    assert not chosen.changes_nothing
    assert from_data(Plan, json.loads(json.dumps(to_data(chosen)))) == chosen


def test_stock_tells_its_plans_apart(resnet56: LayerGraph) -> None:
    digests = {plan(resnet56, Budget.fractions(flops=fraction), mode="stock").digest for fraction in (0.8, 0.6, 0.4)}
    assert len(digests) == 3


def test_stock_keeps_the_network_where_nothing_is_asked(resnet56: LayerGraph) -> None:
    assert plan(resnet56, Budget.fractions(flops=1), mode="stock").changes_nothing


def test_stock_without_a_small_enough_member(resnet56: LayerGraph) -> None:
    with pytest.raises(BudgetInfeasible) as caught:
        plan(resnet56, Budget.fractions(flops=0.1, parameters=0.9), mode="stock", seed=5)
    error = caught.value
    smallest = zoo.build("resnet20", (16, 16, 1), 10)
    assert (error.nearest.stock, error.nearest.seed) == ("resnet20", 5)
    assert error.binding is Resource.FLOPS
    assert error.smallest_reachable[Resource.FLOPS] == cost_of(smallest).flops
    assert error.layer in smallest


def test_stock_needs_a_zoo_network(resnet56: LayerGraph) -> None:
    pruned = plan(resnet56, Budget.fractions(flops=0.5)).apply(resnet56)
    with pytest.raises(InvalidArgument) as caught:
        plan(pruned, Budget.fractions(flops=0.5), mode="stock")
    assert (caught.value.reason, caught.value.field) == ("STOCK_NEEDS_ZOO", "policy.mode")


def test_stock_is_quoted(resnet56: LayerGraph) -> None:
    quoter = Quoter(resnet56, PlanPolicy(PlanMode.STOCK))
    answer = quoter.quote(Target(devices.get("nrf52840"), Budget.fractions(latency_ms=0.5)))
    profile = devices.get("nrf52840")
    latency = next(limit for limit in answer.limits if limit.resource is Resource.LATENCY_MS)
    assert answer.plan.stock == "resnet20"
    assert "resnet20" in answer.message
    assert latency.predicted == predict_latency_ms(answer.plan.cost.work, profile) == latency.smallest_reachable
    assert not quoter.quote(Target(budget=Budget.fractions(macs=0.1))).feasible
