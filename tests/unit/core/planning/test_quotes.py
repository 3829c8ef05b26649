"""Quotes: what a target would come to."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from secateur.core import devices
from secateur.core.cost import cost_of, predict_latency_ms
from secateur.core.errors import InvalidArgument
from secateur.core.graph import LayerGraph, Residual, channel_groups, with_widths, zoo
from secateur.core.graph.assembly import Builder
from secateur.core.planning import Budget, LimitQuote, Quoter, TargetQuote, plan, quote
from secateur.core.resources import Resource
from secateur.core.specs import Criterion, HybridPolicy, PlanMode, PlanPolicy, Target


@pytest.fixture(scope="module")
def graph() -> LayerGraph:
    return zoo.build("resnet20", (8, 8, 1), 10)


def limits_of(answer: TargetQuote) -> dict[Resource, LimitQuote]:
    return {limit.resource: limit for limit in answer.limits}


def test_feasible(graph: LayerGraph) -> None:
    answer = quote(graph, Target(devices.get("stm32f746"), Budget.of(flash_bytes=150_000, accuracy=0.9)), PlanPolicy(), seed=3)
    assert answer.feasible
    assert not answer.unchanged
    assert answer.binding is None
    limits = limits_of(answer)
    assert set(limits) == {Resource.FLASH_BYTES, Resource.RAM_BYTES}, "accuracy is only known after training"
    flash = limits[Resource.FLASH_BYTES]
    assert flash.asked == 150_000
    assert flash.unpruned == cost_of(graph).flash_bytes
    assert flash.smallest_reachable <= flash.predicted == answer.plan.cost.flash_bytes <= flash.asked < flash.unpruned
    assert flash.met
    assert (flash.origin, limits[Resource.RAM_BYTES].origin) == ("budget", "device_profile")


def test_is_the_plan_that_the_job_will_use(graph: LayerGraph) -> None:
    policy = PlanPolicy(PlanMode.FLOPS, step=0.2, round_to=2, min_width=6)
    answer = quote(graph, Target(budget=Budget.fractions(flops=0.5)), policy, seed=11)
    assert answer.plan == plan(graph, Budget.fractions(flops=0.5), mode="flops", seed=11, step=0.2, round_to=2, min_width=6)


def test_says_what_is_cut(graph: LayerGraph) -> None:
    answer = quote(graph, Target(budget=Budget.fractions(flops=0.98)), PlanPolicy())
    widths, full = answer.plan.widths, answer.plan.unpruned_widths
    cut = [name for name, width in widths.items() if width < full[name]]
    assert 0 < len(cut) < len(widths)
    assert answer.message == (
        f"Cuts {len(cut)} of {len(widths)} channel groups and keeps {sum(widths.values())} of {sum(full.values())} channels in "
        "them; every limit holds."
    )


@pytest.mark.parametrize("mode", [mode for mode in PlanMode if mode is not PlanMode.HYBRID])
def test_whether_there_is_a_plan_does_not_depend_on_the_seed(graph: LayerGraph, mode: PlanMode) -> None:
    smallest = Quoter(graph, PlanPolicy(mode)).quote(Target(budget=Budget.fractions(flops=0.001))).limits[0].smallest_reachable
    for asked in (smallest - 1, smallest, smallest + 1, cost_of(graph).flops - 1, cost_of(graph).flops):
        answers = [quote(graph, Target(budget=Budget.of(flops=asked)), PlanPolicy(mode), seed) for seed in range(4)]
        assert len({(answer.feasible, answer.unchanged) for answer in answers}) == 1


def test_unchanged(graph: LayerGraph) -> None:
    answer = quote(graph, Target(devices.get("stm32f746")), PlanPolicy())
    assert answer.feasible
    assert answer.unchanged
    assert answer.plan.changes_nothing
    assert "nothing to prune" in answer.message
    assert all(limit.met and limit.predicted == limit.unpruned for limit in answer.limits)


def test_infeasible_says_why(graph: LayerGraph) -> None:
    answer = quote(graph, Target(devices.get("stm32f746"), Budget.of(parameters=10_000, macs=2_000_000)), PlanPolicy())
    assert not answer.feasible
    assert not answer.unchanged
    assert answer.binding is Resource.PARAMETERS
    limits = limits_of(answer)
    assert not limits[Resource.PARAMETERS].met
    assert limits[Resource.PARAMETERS].predicted == limits[Resource.PARAMETERS].smallest_reachable > 10_000
    assert limits[Resource.MACS].met
    assert "parameters" in answer.message
    assert f"{limits[Resource.PARAMETERS].smallest_reachable:,}" in answer.message


def test_a_network_that_is_too_large_and_cannot_shrink_is_infeasible_not_unchanged(graph: LayerGraph) -> None:
    answer = quote(graph, Target(budget=Budget.fractions(parameters=0.5)), PlanPolicy(min_width=64))
    assert (answer.feasible, answer.unchanged, answer.plan.changes_nothing) == (False, False, True)


def test_latency_is_predicted_from_the_profile(graph: LayerGraph) -> None:
    answer = quote(graph, Target(devices.get("nrf52840"), Budget.fractions(latency_ms=0.5)), PlanPolicy())
    latency = limits_of(answer)[Resource.LATENCY_MS]
    assert latency.unpruned == pytest.approx(predict_latency_ms(cost_of(graph).work, devices.get("nrf52840")))
    assert latency.predicted == pytest.approx(predict_latency_ms(answer.plan.cost.work, devices.get("nrf52840")))
    assert latency.met


def test_ram_of_a_board_is_that_of_a_process(graph: LayerGraph) -> None:
    board = devices.get("raspberrypi4")
    for budget in (Budget.of(ram_bytes=1_000_000), Budget.fractions(ram_bytes=0.5)):
        answer = quote(graph, Target(board, budget), PlanPolicy())
        assert not answer.feasible
        assert answer.binding is Resource.RAM_BYTES
    roomy = quote(graph, Target(board, Budget.of(ram_bytes=50_000_000, parameters=40_000)), PlanPolicy())
    ram = limits_of(roomy)[Resource.RAM_BYTES]
    assert roomy.feasible
    assert ram.met
    assert ram.unpruned > ram.predicted > ram.smallest_reachable > 40_000_000


def test_refuses_an_empty_target(graph: LayerGraph) -> None:
    with pytest.raises(InvalidArgument) as caught:
        quote(graph, Target(), PlanPolicy())
    assert caught.value.reason == "BUDGET_EMPTY"


def test_one_quoter_answers_targets_as_if_each_were_alone(graph: LayerGraph) -> None:
    policy = PlanPolicy(round_to=2)
    targets = [
        Target(devices.get("nrf52840"), Budget.fractions(latency_ms=0.5)),
        Target(budget=Budget.of(parameters=10)),
        Target(devices.get("stm32f746"), Budget.fractions(latency_ms=0.5, parameters=0.4)),
        Target(budget=Budget.fractions(flops=0.5)),
    ]
    quoter = Quoter(graph, policy, 3)
    assert [quoter.quote(target) for target in targets] == [quote(graph, target, policy, 3) for target in targets]


def test_the_curve_is_what_the_network_costs_at_that_width(graph: LayerGraph) -> None:
    policy = PlanPolicy(min_width=3)
    curve = Quoter(graph, policy).curve()
    assert [point.width for point in curve] == [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
    assert curve[0].cost == cost_of(graph)
    half = {group.name: group.width // 2 for group in channel_groups(graph) if group.prunable}
    assert curve[5].cost == cost_of(with_widths(graph, half))
    floor = {name: max(3, 2 * width // 10) for name, width in half.items()}  # a tenth, but not below min_width
    assert curve[9].cost == cost_of(with_widths(graph, floor))
    for wider, narrower in pairwise(curve):
        assert narrower.cost.parameters < wider.cost.parameters


def test_a_policy_out_of_range_is_refused_whatever_the_target(graph: LayerGraph) -> None:
    with pytest.raises(InvalidArgument) as caught:
        Quoter(graph, PlanPolicy(step=2))
    assert (caught.value.reason, caught.value.field) == ("POLICY_INVALID", "policy.step")


def test_a_criterion_that_the_network_cannot_be_judged_by_is_refused() -> None:
    policy = PlanPolicy(PlanMode.HYBRID, hybrid=HybridPolicy(Criterion.BATCH_NORM_SCALE))
    target = Target(budget=Budget.fractions(macs=0.6))

    def network(**normalisation: Any) -> LayerGraph:
        net = Builder("net", (8, 8, 1))
        net.add("Conv2D", "conv", filters=16, kernel_size=3)
        net.add("BatchNormalization", "norm", **normalisation)
        net.add("Flatten", "flat")
        net.add("Dense", "logits", units=10)
        return net.build()

    assert quote(network(), target, policy).feasible
    for other in (replace(policy, mode=PlanMode.DEVICE), PlanPolicy(PlanMode.HYBRID)):
        assert quote(network(scale=False), target, other).feasible
    with pytest.raises(InvalidArgument) as caught:
        quote(network(scale=False), target, policy)
    assert (caught.value.reason, caught.value.field) == ("CRITERION_UNSUITABLE", "conv")


def test_a_criterion_has_to_suit_the_streams_as_well_where_they_shrink() -> None:
    net = Builder("net", (8, 8, 1))
    net.add("Conv2D", "conv", filters=16, kernel_size=3)
    source = net.add("BatchNormalization", "norm")
    branch = net.add("Conv2D", "branch", source, filters=16, kernel_size=1)
    net.add("Add", "add", branch, net.add("Conv2D", "shortcut", source, filters=16, kernel_size=1))
    net.add("GlobalAveragePooling2D", "pool")
    net.add("Dense", "logits", units=10)
    graph, target = net.build(), Target(budget=Budget.fractions(macs=0.6))
    policy = PlanPolicy(PlanMode.HYBRID, hybrid=HybridPolicy(Criterion.BATCH_NORM_SCALE))
    assert quote(graph, target, policy).feasible
    with pytest.raises(InvalidArgument) as caught:
        quote(graph, target, replace(policy, residual=Residual.COUPLED))
    assert (caught.value.reason, caught.value.field) == ("CRITERION_UNSUITABLE", "branch")
