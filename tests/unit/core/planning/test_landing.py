"""Plans land on the budget, not below it: achieved / asked, on four networks at four budgets (issue 3, Done-when 4)."""

from __future__ import annotations

import pytest

from secateur.core.graph import zoo
from secateur.core.planning import Budget, BudgetInfeasible, Planner, WidthRule
from secateur.core.resources import Resource
from secateur.core.specs import PlanMode

SEEDS = range(3)
FRACTIONS = (0.75, 0.5, 0.25, 0.1)
INFEASIBLE = {
    ("resnet50", 1, Resource.PARAMETERS, 0.1),  # the residual stream keeps 12.6 % of the parameters
    ("resnet50", 8, Resource.PARAMETERS, 0.1),
    ("resnet50", 8, Resource.FLOPS, 0.1),
    ("resnet56", 1, Resource.FLOPS, 0.1),
    ("resnet56", 8, Resource.PARAMETERS, 0.1),
    ("resnet56", 8, Resource.FLOPS, 0.25),
    ("resnet56", 8, Resource.FLOPS, 0.1),
}
"""Budgets below what the network takes with every group at its smallest width, residual streams being left alone."""


@pytest.mark.parametrize("name", ["vgg16", "resnet50", "resnet56", "mobilenetv2"])
@pytest.mark.parametrize(("round_to", "least"), [(1, 0.99), (8, 0.96)])
def test_uses_the_budget_up_or_says_that_it_cannot(name: str, round_to: int, least: float) -> None:
    planner = Planner(zoo.build(name, (32, 32, 3), 10), WidthRule(round_to=round_to))
    unpruned, smallest = planner.unpruned.cost.by_resource(), planner.smallest.cost.by_resource()
    for resource in (Resource.PARAMETERS, Resource.FLOPS):
        for fraction in FRACTIONS:
            asked, budget = fraction * unpruned[resource], Budget.fractions(**{resource.value: fraction})
            if (name, round_to, resource, fraction) in INFEASIBLE:
                with pytest.raises(BudgetInfeasible) as caught:
                    planner.plan(budget, PlanMode.DEVICE, 0)
                assert caught.value.smallest_reachable == {resource: smallest[resource]}
                assert smallest[resource] > asked
                continue
            for seed in SEEDS:
                reached = planner.plan(budget, PlanMode.DEVICE, seed).cost.by_resource()[resource]
                assert least <= reached / asked <= 1, (resource, fraction, seed)
