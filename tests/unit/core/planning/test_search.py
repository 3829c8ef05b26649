"""Candidates that a search draws, and how scores rank them."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.core import devices
from secateur.core.cost import cost_of
from secateur.core.errors import InvalidArgument
from secateur.core.graph import LayerGraph, Residual, zoo
from secateur.core.graph.assembly import Builder
from secateur.core.planning import Budget, BudgetInfeasible, Plan, WidthRule, draw_candidates, plan, predicted, ranks
from secateur.core.resources import Limit, Resource
from secateur.core.serial import from_data, to_data
from secateur.core.specs import PlanMode, PlanPolicy, SearchPolicy
from tests.support.graphs import layer_graphs

RESNET20 = zoo.build("resnet20", (16, 16, 3), 10)
PROFILE = devices.get("stm32f746")


@st.composite
def residual_graphs(draw: st.DrawFn) -> LayerGraph:
    """Chains of residual blocks, all of which can go."""
    width = draw(st.integers(3, 10))
    net = Builder("blocks", (6, 6, 2))
    stream = net.add("Conv2D", "stem", filters=width, kernel_size=3, padding="same")
    for number in range(draw(st.integers(1, 5))):
        net.add("Conv2D", f"block{number}_conv1", stream, filters=draw(st.integers(2, 10)), kernel_size=3, padding="same")
        net.add("ReLU", f"block{number}_relu")
        branch = net.add("Conv2D", f"block{number}_conv2", filters=width, kernel_size=1)
        stream = net.add("Add", f"block{number}_add", stream, branch)
    net.add("GlobalAveragePooling2D", "pool")
    net.add("Dense", "logits", units=3)
    return net.build()


RESOURCES = st.sampled_from([resource for resource in Resource if resource is not Resource.ACCURACY])
BUDGETS = st.lists(
    st.builds(Limit, RESOURCES, fraction=st.floats(0.2, 1)), min_size=1, max_size=3, unique_by=lambda limit: limit.resource
).map(lambda limits: Budget(tuple(limits)))
POLICIES = st.builds(
    PlanPolicy,
    mode=st.sampled_from([PlanMode.DEVICE, PlanMode.PARAMETERS, PlanMode.FLOPS]),
    step=st.floats(0.05, 0.5),
    round_to=st.integers(1, 3),
    min_width=st.integers(1, 4),
    residual=st.sampled_from(Residual),
    temperature=st.floats(0, 2),
    search=st.builds(SearchPolicy, st.integers(2, 24)),
)


def searching(candidates: int, **policy: Any) -> PlanPolicy:
    return PlanPolicy(**{"mode": PlanMode.FLOPS, "search": SearchPolicy(candidates), **policy})


@settings(max_examples=50)
@given(layer_graphs(max_blocks=4) | residual_graphs(), BUDGETS, POLICIES, st.integers(0, 2**32 - 1))
def test_candidates_keep_their_promises(graph: LayerGraph, budget: Budget, policy: PlanPolicy, seed: int) -> None:
    arguments: dict[str, Any] = {
        "seed": seed, "step": policy.step, "round_to": policy.round_to, "min_width": policy.min_width,
        "residual": policy.residual, "temperature": policy.temperature, "profile": PROFILE,
    }  # fmt: skip
    try:
        found = draw_candidates(graph, budget, policy, seed=seed, profile=PROFILE)
    except BudgetInfeasible as refusal:
        with pytest.raises(BudgetInfeasible, match=re.escape(str(refusal))):
            plan(graph, budget, mode=policy.mode, **arguments)
        return
    own = plan(graph, budget, mode=policy.mode, **arguments)
    assert policy.search is not None
    assert len(found) <= policy.search.candidates
    assert found == draw_candidates(graph, budget, policy, seed=seed, profile=PROFILE)
    assert found[0].plan == plan(graph, budget, mode="uniform", **arguments)
    assert own.widths in [each.plan.widths for each in found[:2]]
    assert len({(each.plan.dropped, tuple(each.plan.widths.items())) for each in found}) == len(found)
    asked = budget.resolve(predicted(cost_of(graph), PROFILE)).asked()
    rule = WidthRule(policy.step, policy.round_to, policy.min_width)
    for each in found:
        reached = predicted(each.plan.cost, PROFILE)
        assert each.missed == tuple(resource for resource, value in asked.items() if reached[resource] > value)
        assert all(width >= rule.smallest(each.plan.unpruned_widths[name]) for name, width in each.plan.widths.items())
        assert cost_of(each.plan.apply(graph)) == each.plan.cost
        assert from_data(Plan, json.loads(json.dumps(to_data(each.plan)))) == each.plan


def test_a_search_looks_at_many_kinds_of_plans() -> None:
    found = draw_candidates(RESNET20, Budget.fractions(flops=0.5), searching(80), seed=3)
    assert len(found) == 80
    assert [each.origin for each in found[:2]] == ["uniform", "flops, seed 3, temperature 1"]
    assert len({each.plan.digest for each in found}) == 80
    for told in ("temperature 0", "temperature 0.25", "temperature 1.5", "at least 10% of every width", "blocks (alpha 1.5)"):
        assert any(told in each.origin for each in found)
    shallow = [each.plan for each in found if each.plan.dropped]
    assert 10 <= len(shallow) <= 30
    assert len({plan.dropped for plan in shallow}) > 3
    assert {plan.mode for plan in shallow} == {PlanMode.HYBRID}
    assert {each.plan.mode for each in found[1:] if not each.plan.dropped} == {PlanMode.FLOPS}
    assert not any(each.plan.indices for each in found)
    shares = [each.plan.cost.flops / cost_of(RESNET20).flops for each in found if not each.missed]
    assert min(shares) > 0.49
    others = draw_candidates(RESNET20, Budget.fractions(flops=0.5), searching(80, temperature=3), seed=2**32 - 1)
    assert {each.plan.dropped for each in others} != {each.plan.dropped for each in found}
    assert all(each.plan.seed < 2**32 for each in others)
    assert any("temperature 3" in each.origin for each in others[2:])


def test_all_draws_follow_the_mode() -> None:
    drawn = {
        mode: [each.plan.widths for each in draw_candidates(RESNET20, Budget.fractions(flops=0.5), searching(6, mode=mode))[2:]]
        for mode in (PlanMode.DEVICE, PlanMode.FLOPS, PlanMode.PARAMETERS)
    }
    assert drawn[PlanMode.DEVICE] == drawn[PlanMode.FLOPS] != drawn[PlanMode.PARAMETERS]


def test_a_budget_that_takes_little_takes_a_block_at_least() -> None:
    found = draw_candidates(RESNET20, Budget.fractions(flops=0.97), searching(24))
    assert {len(each.plan.dropped) for each in found} == {0, 1}
    assert not any("without 0" in each.origin or "(alpha 1)" in each.origin for each in found)


def test_a_plan_that_its_floor_keeps_from_the_budget_is_shown_once() -> None:
    found = draw_candidates(RESNET20, Budget.fractions(flops=0.2, parameters=1), searching(60, min_width=1))
    missed = [each for each in found if each.missed]
    assert missed
    assert all(each.missed == (Resource.FLOPS,) and "at least 25% of every width" in each.origin for each in missed)
    assert len([each for each in missed if not each.plan.dropped]) <= 1
    assert max(len(each.plan.dropped) for each in found) > 2, "as many as the tightest limit asks for"
    assert len(found) == 60


def test_small_networks_have_few_plans_and_fitting_ones_have_one() -> None:
    net = Builder("small", (4, 4, 1))
    net.add("Conv2D", "conv", filters=3, kernel_size=3)
    net.add("Flatten", "flat")
    net.add("Dense", "logits", units=2)
    small = net.build()
    few = draw_candidates(small, Budget.fractions(parameters=0.7), searching(200, min_width=1))
    assert [each.plan.widths for each in few] == [{"conv": 2}]
    for whole in (small, RESNET20):
        (only,) = draw_candidates(whole, Budget.fractions(parameters=1), searching(200))
        assert only.plan.changes_nothing


@pytest.mark.parametrize("mode", [PlanMode.UNIFORM, PlanMode.STOCK, PlanMode.HYBRID])
def test_refuses_modes_that_draw_nothing(mode: PlanMode) -> None:
    with pytest.raises(InvalidArgument) as caught:
        draw_candidates(RESNET20, Budget.fractions(flops=0.5), PlanPolicy(mode))
    assert (caught.value.reason, caught.value.field) == ("POLICY_INVALID", "policy.search")


def test_ranks_are_averaged_over_proxies() -> None:
    assert ranks([{"a": 3.0, "b": 10.0}, {"a": 2.0, "b": 30.0}, {"a": 1.0, "b": 20.0}]) == (2.0, 1.5, 2.5)
    assert ranks([{"a": 1.0}, {"a": 2.0}, {"a": 1.0}, {"a": 1.0}]) == (3.0, 1.0, 3.0, 3.0)
    assert ranks([{"a": math.nan}, {"a": -5.0}, {"a": math.inf}, {"a": 0.0}]) == (3.5, 2.0, 3.5, 1.0)
    assert ranks([]) == ()


@given(st.lists(st.tuples(st.floats(), st.floats()), min_size=1, max_size=20))
def test_ranks_add_up_and_follow_the_scores(scores: list[tuple[float, float]]) -> None:
    found = ranks([{"one": one, "other": other} for one, other in scores])
    assert sum(found) == pytest.approx(len(scores) * (len(scores) + 1) / 2)
    for (one, other), rank in zip(scores, found, strict=True):
        for (above, beyond), better in zip(scores, found, strict=True):
            if all(map(math.isfinite, (one, other, above, beyond))) and above > one and beyond > other:
                assert better < rank
