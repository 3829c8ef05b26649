"""Hybrid plans, the blocks that they drop and the channels that they keep."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.core.cost import CostModel, cost_of
from secateur.core.errors import InvalidArgument
from secateur.core.graph import LayerGraph, Residual, channel_groups, with_widths, zoo
from secateur.core.graph.assembly import Builder
from secateur.core.graph.blocks import drop_blocks, residual_blocks
from secateur.core.graph.indices import channel_origins, kept_positions
from secateur.core.planning import (
    ALPHAS,
    Budget,
    BudgetInfeasible,
    Plan,
    Planner,
    Quoter,
    WidthRule,
    groups_to_score,
    plan,
    quote,
)
from secateur.core.planning.hybrid import Scaling
from secateur.core.planning.hybrid_scores import block_scores, kept_channels
from secateur.core.resources import Resource
from secateur.core.serial import from_data, to_data
from secateur.core.specs import HybridPolicy, Order, PlanMode, PlanPolicy, Target
from tests.support.graphs import layer_graphs, resnet56

RESNET56 = zoo.build("resnet56", (32, 32, 3), 10)
PROJECTED = resnet56(projected=True)


def flat_scores(graph: LayerGraph) -> dict[str, list[float]]:
    """Later channels and later blocks matter less."""
    groups = channel_groups(graph, residual="coupled")
    return {group.name: [1 / (1 + number) + 1 / (2 + c) for c in range(group.width)] for number, group in enumerate(groups)}


def hybrid_plan(
    graph: LayerGraph,
    budget: Budget,
    scores: Mapping[str, Sequence[float]],
    *,
    residual: Residual = Residual.SKIP,
    min_width: int = 4,
    **policy: Any,
) -> Plan:
    planner = Planner(graph, WidthRule(min_width=min_width), residual=residual, hybrid=HybridPolicy(**policy))
    return planner.plan(budget, PlanMode.HYBRID, 0, scores=scores)


def last_blocks(per_stage: int) -> list[str]:
    return [f"stage{stage}_block{9 - number}_add" for stage in (1, 2, 3) for number in range(per_stage)]


# Blocks --------------------------------------------------------------------------------------------------------------------


def test_resnet56_has_the_25_removable_blocks_of_the_paper() -> None:
    names = [block.name for block in residual_blocks(RESNET56)]
    assert len(names) == 25
    assert "stage1_block1_add" in names
    assert "stage2_block1_add" not in names  # the shortcut pads


@pytest.mark.parametrize(("per_stage", "smaller"), [(2, "resnet44"), (4, "resnet32"), (6, "resnet20")])
def test_dropping_blocks_of_every_stage_leaves_the_smaller_resnet(per_stage: int, smaller: str) -> None:
    assert drop_blocks(RESNET56, last_blocks(per_stage)).digest == zoo.build(smaller, (32, 32, 3), 10).digest


def test_an_activation_that_does_something_stays() -> None:
    net = Builder("pre", (8, 8, 4))
    net.add("BatchNormalization", "bn")
    net.add("Conv2D", "conv1", filters=6, kernel_size=3, padding="same")
    net.add("Conv2D", "conv2", filters=4, kernel_size=1)
    net.add("Add", "add", "bn", "conv2")
    net.add("ReLU", "relu")
    net.add("Flatten", "flat")
    net.add("Dense", "logits", units=2)
    shallow = drop_blocks(net.build(), ["add"])
    assert [layer.name for layer in shallow] == ["input", "bn", "relu", "flat", "logits"]
    assert shallow["relu"].inputs == ("bn",)


@pytest.mark.parametrize(
    ("config", "last"),
    [({}, "relu"), ({"max_value": 6.0}, "relu"), ({"threshold": 0.5}, "relu"), ({"negative_slope": 0.1}, "add")],
)
def test_an_activation_goes_with_the_block_where_twice_is_once(config: dict[str, Any], last: str) -> None:
    net = Builder("net", (8, 8, 4))
    source = net.add("ReLU", "source", **config)
    net.add("Add", "add", source, net.add("Conv2D", "conv", filters=4, kernel_size=1))
    net.add("ReLU", "relu", **config)
    net.add("Flatten", "flat")
    net.add("Dense", "logits", units=2)
    assert [block.output for block in residual_blocks(net.build())] == [last]


@pytest.mark.parametrize("leak", ["into", "out of", "out of the end of"])
def test_a_branch_that_others_read_or_feed_is_no_block(leak: str) -> None:
    net = Builder("leaky", (8, 8, 4))
    first = net.add("Conv2D", "first", filters=4, kernel_size=1)
    source = net.add("ReLU", "source")
    inner = net.add("Conv2D", "inner", source, filters=4, kernel_size=1)
    branch = net.add("Add", "mixed", inner, first) if leak == "into" else net.add("ReLU", "outer", inner)
    stream = net.add("Add", "add", source, branch)
    if leak != "into":
        net.add("Concatenate", "both", stream, inner if leak == "out of" else branch)
    net.add("Flatten", "flat")
    net.add("Dense", "logits", units=2)
    graph = net.build()
    assert residual_blocks(graph) == ()
    with pytest.raises(InvalidArgument) as caught:
        drop_blocks(graph, ["add"])
    assert caught.value.reason == "BLOCK_UNKNOWN"


@settings(max_examples=60)
@given(layer_graphs(), st.data())
def test_networks_without_blocks_are_whole(graph: LayerGraph, data: st.DataObject) -> None:
    names = [block.name for block in residual_blocks(graph)]
    chosen = data.draw(st.lists(st.sampled_from(names), unique=True)) if names else []
    shallow = drop_blocks(graph, chosen)
    assert shallow.classes == graph.classes
    assert len(shallow) <= len(graph) - 2 * len(chosen)
    assert {layer.name for layer in shallow} <= {layer.name for layer in graph}


# Scaling -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [1.0, 1.2, 1.5, 2.0])
def test_one_unit_of_phi_halves_depth_times_width_squared(alpha: float) -> None:
    scaling = Scaling(alpha)
    for phi in (0.5, 1.0, 3.0):
        assert scaling.depth(phi) * scaling.width(phi) ** 2 == pytest.approx(2**-phi)


@pytest.mark.parametrize("alpha", [0.9, 2.1, float("nan")])
def test_refuses_other_exchange_rates(alpha: float) -> None:
    with pytest.raises(InvalidArgument, match="alpha"):
        Scaling(alpha)


def kernels(graph: LayerGraph) -> tuple[int, int]:
    """Weights and MACs of all convolutions."""
    costs = [cost for name, cost in CostModel(graph).layer_costs.items() if graph[name].op == "Conv2D"]
    return sum(cost.parameters for cost in costs), sum(cost.macs for cost in costs)


@pytest.mark.parametrize(
    ("blocks", "width", "parameters", "macs"),
    [
        (8, 1.0, 11.4, 11.3), (9, 0.9, 18.2, 19.8), (7, 1.0, 22.8, 22.6), (8, 0.9, 27.5, 28.8), (6, 1.0, 34.2, 33.8),
        (9, 0.8, 35.9, 34.7), (7, 0.9, 36.8, 37.9), (5, 1.0, 45.6, 45.1), (7, 0.8, 50.5, 49.5), (9, 0.7, 51.1, 52.0),
        (5, 0.8, 65.1, 64.2), (3, 1.0, 68.4, 67.7), (3, 0.7, 84.6, 84.4),
    ],
)  # fmt: skip
def test_depth_and_width_of_resnet56_cost_what_was_worked_out(
    blocks: int, width: float, parameters: float, macs: float
) -> None:
    """Blocks per stage x width, in percent less than ResNet-56, its convolutions counted; exact to the digit given."""
    narrow = resnet56([round(width * full) for full in (16, 32, 64)])
    left, full = kernels(drop_blocks(narrow, last_blocks(9 - blocks))), kernels(RESNET56)
    assert [round(100 * (1 - one / other), 1) for one, other in zip(left, full, strict=True)] == [parameters, macs]


# Plans ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize("resource", ["parameters", "macs"])
@pytest.mark.parametrize("alpha", [1.0, 1.2, 1.6])
def test_a_plan_keeps_the_budget_and_its_prediction(order: Order, resource: str, alpha: float) -> None:
    full = cost_of(PROJECTED)
    chosen = hybrid_plan(
        PROJECTED,
        Budget.fractions(**{resource: 0.5}),
        flat_scores(PROJECTED),
        alpha=alpha,
        order=order,
        residual=Residual.COUPLED,
    )
    share = getattr(chosen.cost, resource) / getattr(full, resource)
    assert 0.45 < share <= 0.5
    assert bool(chosen.dropped) == (alpha > 1)
    assert cost_of(chosen.apply(PROJECTED)) == chosen.cost
    assert {name: len(kept) for name, kept in chosen.indices.items()} == chosen.widths
    assert from_data(Plan, json.loads(json.dumps(to_data(chosen)))) == chosen
    assert from_data(Plan, to_data(chosen)).digest == chosen.digest


def test_the_least_needed_blocks_go() -> None:
    scores = dict.fromkeys(flat_scores(RESNET56), [1.0] * 64) | {"stage2_block5_conv1": [0.1] * 32}
    chosen = hybrid_plan(RESNET56, Budget.fractions(macs=0.97), scores, alpha=2.0)
    assert chosen.dropped == ("stage2_block5_add",)
    assert chosen.widths == chosen.unpruned_widths
    assert not chosen.changes_nothing


def test_the_order_decides_by_which_channels_a_block_is_judged() -> None:
    blocks = residual_blocks(RESNET56)[:2]
    one, other = (block.groups[0] for block in blocks)
    scores = {one: [9.0, 1.0, 1.0], other: [5.0, 5.0, 5.0]}
    everything = block_scores(blocks, scores)
    kept = block_scores(blocks, scores, {one: 1, other: 1})
    assert everything[blocks[0].name] < everything[blocks[1].name]
    assert kept[blocks[0].name] > kept[blocks[1].name]


@pytest.mark.parametrize("order", Order)
def test_channels_first_judges_a_block_by_the_channels_that_stay_and_of_equals_the_last_go(order: Order) -> None:
    uneven = "stage2_block5_conv1"
    scores = dict.fromkeys(flat_scores(RESNET56), [6.0] * 64) | {uneven: [9.0] * 16 + [1.0] * 16}
    chosen = hybrid_plan(RESNET56, Budget.fractions(macs=0.5), scores, order=order)
    others = [block.name for block in residual_blocks(RESNET56) if uneven not in block.groups]
    if order is Order.LAYERS_FIRST:
        assert set(chosen.dropped) == {"stage2_block5_add", *others[1 - len(chosen.dropped) :]}
    else:
        assert chosen.dropped == tuple(others[-len(chosen.dropped) :])


@pytest.mark.parametrize(
    ("order", "alpha", "fraction", "blocks", "least"),
    [
        (Order.LAYERS_FIRST, 1.2, 0.5, 5, 0.99),
        (Order.CHANNELS_FIRST, 1.2, 0.5, 2, 0.99),
        (Order.CHANNELS_FIRST, 1.35, 0.9, 0, 0.97),
    ],
)
def test_what_a_step_of_eight_channels_leaves_of_the_budget_goes_to_what_comes_second(
    order: Order, alpha: float, fraction: float, blocks: int, least: float
) -> None:
    planner = Planner(RESNET56, WidthRule(round_to=8), hybrid=HybridPolicy(order=order, alpha=alpha))
    chosen = planner.plan(Budget.fractions(macs=fraction), PlanMode.HYBRID, 0, scores=flat_scores(RESNET56))
    assert len(chosen.dropped) == blocks
    assert least < chosen.cost.macs / (fraction * planner.unpruned.cost.macs) <= 1


def test_nothing_to_do_and_nothing_that_helps() -> None:
    unchanged = hybrid_plan(RESNET56, Budget.of(parameters=10**9), flat_scores(RESNET56))
    assert unchanged.dropped == ()
    assert unchanged.apply(RESNET56) == RESNET56
    with pytest.raises(BudgetInfeasible) as caught:
        hybrid_plan(RESNET56, Budget.of(parameters=10), flat_scores(RESNET56), min_width=8)
    assert len(caught.value.nearest.dropped) == 25
    assert set(caught.value.nearest.widths.values()) == {8}
    assert caught.value.binding.value == "parameters"


def test_padded_shortcuts_keep_the_streams_of_resnet56_whole() -> None:
    """Only what is within blocks can be narrowed, so "coupled" reaches no further than "skip"; with projections, it does."""
    assert resnet56().digest == RESNET56.digest
    reached, further = {}, {}
    for which, graph in (("padded", RESNET56), ("projected", PROJECTED)):
        for residual in Residual:
            with pytest.raises(BudgetInfeasible) as caught:
                hybrid_plan(graph, Budget.of(macs=1), flat_scores(graph), residual=residual, min_width=2)
            error = caught.value
            further[which, residual] = error.metadata.get("smallest_reachable_coupled")
            reached[which, residual] = error.smallest_reachable[Resource.MACS]
            assert len(error.nearest.dropped) == 25
            assert error.nearest.mode is PlanMode.HYBRID
            assert error.layer in {layer.name for layer in error.nearest.apply(graph)}
            assert ("coupled" in error.message) == (further[which, residual] is not None)
    assert reached["padded", Residual.SKIP] == reached["padded", Residual.COUPLED]
    assert reached["projected", Residual.SKIP] > 3 * reached["projected", Residual.COUPLED]
    told = {key for key, value in further.items() if value is not None}
    assert told == {("projected", Residual.SKIP)}
    assert further["projected", Residual.SKIP] == str(reached["projected", Residual.COUPLED])


def test_scores_are_asked_for_by_name() -> None:
    """Without its blocks, a stream takes part in no addition: then it can be narrowed, and needs scores."""
    names = groups_to_score(PROJECTED)
    assert {group.name for group in channel_groups(PROJECTED) if group.prunable} < set(names)
    assert {"stem", "stage2_block1_conv2"} - set(names) == {"stage2_block1_conv2"}
    scores = {name: score for name, score in flat_scores(PROJECTED).items() if name in names}
    assert hybrid_plan(PROJECTED, Budget.fractions(macs=0.1), scores, alpha=1.9).indices
    del scores["stage3_block1_conv1"]
    with pytest.raises(InvalidArgument) as caught:
        hybrid_plan(PROJECTED, Budget.fractions(macs=0.5), scores)
    assert (caught.value.reason, caught.value.field) == ("SCORES_MISSING", "stage3_block1_conv1")


def test_the_planner_plans_hybrids_with_and_without_trained_scores() -> None:
    policy = PlanPolicy(PlanMode.HYBRID, min_width=2, hybrid=HybridPolicy(order=Order.CHANNELS_FIRST, alpha=1.35))
    planner, half = Planner.of(PROJECTED, policy), Budget.fractions(macs=0.5)
    drawn = [planner.plan(half, PlanMode.HYBRID, seed) for seed in range(3)]
    assert len({plan.dropped for plan in drawn}) == 3
    assert all(not plan.indices and plan.seed == seed for seed, plan in enumerate(drawn))
    scores = flat_scores(PROJECTED)
    trained = planner.plan(half, PlanMode.HYBRID, 0, scores=scores)
    assert trained == hybrid_plan(PROJECTED, half, scores, alpha=1.35, order=Order.CHANNELS_FIRST, min_width=2)
    by_alpha = [planner.plan(half, PlanMode.HYBRID, 0, scores=scores, alpha=alpha) for alpha in ALPHAS]
    depths = [len(plan.dropped) for plan in by_alpha]
    assert depths == sorted(depths)
    assert depths[0] == 0 < depths[-1]
    assert by_alpha[ALPHAS.index(1.35)] == trained
    assert plan(PROJECTED, half, mode="hybrid", seed=2) == Planner(PROJECTED, WidthRule()).plan(half, PlanMode.HYBRID, 2)


@pytest.mark.parametrize("alpha", [None, 1.0, 2.0])
def test_a_quote_says_what_goes(alpha: float | None) -> None:
    policy = PlanPolicy(PlanMode.HYBRID, hybrid=HybridPolicy(alpha=alpha))
    quoter = Quoter(RESNET56, policy, seed=4)
    answer = quoter.quote(Target(budget=Budget.fractions(macs=0.6)))
    assert answer.feasible
    assert answer.plan.cost.macs <= 0.6 * 125_485_696
    assert bool(answer.plan.dropped) == (alpha != 1)
    assert f"Drops {len(answer.plan.dropped)} of 25 blocks" in answer.message
    assert "at random" in answer.message
    tight = quoter.quote(Target(budget=Budget.of(macs=1)))
    assert not tight.feasible
    assert tight.limits[0].predicted == tight.limits[0].smallest_reachable
    least = quote(RESNET56, Target(budget=Budget.of(macs=tight.limits[0].smallest_reachable)), policy)
    assert least.feasible
    curve = quoter.curve()
    assert (curve == Quoter(RESNET56, policy, seed=5).curve()) == (alpha == 1), "the seed draws which blocks go"
    assert len(curve) == 10
    assert (curve[0].width, curve[-1].width) == pytest.approx((1, 1 if alpha == 2 else 0.1))
    macs = [point.cost.macs for point in curve]
    assert macs[0] == 125_485_696
    assert macs == sorted(set(macs), reverse=True)


def test_planning_asks_whether_to_go_on_also_of_networks_without_blocks() -> None:
    asked: list[None] = []
    layers_only = PlanPolicy(PlanMode.HYBRID, hybrid=HybridPolicy(alpha=2))
    Planner.of(RESNET56, layers_only, go_on=lambda: asked.append(None)).plan(Budget.fractions(macs=0.5), PlanMode.HYBRID, 0)
    assert len(asked) > 30


def test_belongs_to_one_network() -> None:
    chosen = hybrid_plan(RESNET56, Budget.fractions(macs=0.6), flat_scores(RESNET56))
    with pytest.raises(InvalidArgument) as caught:
        chosen.apply(zoo.build("resnet20", (32, 32, 3), 10))
    assert caught.value.reason == "PLAN_MISMATCH"


# Channels that stay --------------------------------------------------------------------------------------------------------


def test_the_best_channels_stay_and_the_first_of_equals() -> None:
    assert kept_channels({"a": [1.0, 3.0, 2.0, 3.0], "b": [0.0, 0.0, 0.0]}, {"a": 3, "b": 2}) == {"a": (1, 2, 3), "b": (0, 1)}
    with pytest.raises(InvalidArgument) as caught:
        kept_channels({"a": [1.0]}, {"a": 2})
    assert caught.value.reason == "SCORES_MISSING"


@settings(max_examples=80)
@given(layer_graphs(), st.data())
def test_positions_are_as_many_as_the_widths_say(graph: LayerGraph, data: st.DataObject) -> None:
    kept = {
        group.name: sorted(data.draw(st.sets(st.integers(0, group.width - 1), min_size=1), label=group.name))
        for group in channel_groups(graph, residual="coupled")
        if group.prunable
    }
    narrow = with_widths(graph, {name: len(indices) for name, indices in kept.items()})
    positions = kept_positions(graph, kept)
    origins = channel_origins(graph)
    for layer in graph:
        assert len(positions[layer.name]) == narrow[layer.name].output_shape[-1]
        assert len(origins[layer.name]) == layer.output_shape[-1]
        assert list(positions[layer.name]) == sorted(set(positions[layer.name]))
    for name, indices in kept.items():
        assert list(positions[name]) == indices


@pytest.mark.parametrize(
    "kept",
    [
        {"nowhere": (0,)},
        {"stem": ()},
        {"stem": (1, 0)},
        {"stem": (0, 0)},
        {"stem": (0, 16)},
        {"stem": (-1,)},
        {"stem": (0.0,)},
        {"logits": (0,)},
    ],
)
def test_refuses_what_are_no_indices(kept: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        kept_positions(PROJECTED, kept)
    assert caught.value.reason == "INDICES_INVALID"
