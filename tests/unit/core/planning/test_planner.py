"""The planner on the zoo networks: budgets are met and used up, and the paper's figures come out."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest

from secateur.core import devices
from secateur.core.cost import cost_of, predict_latency_ms
from secateur.core.errors import Infeasible, InvalidArgument
from secateur.core.graph import LayerGraph, Residual, with_widths, zoo
from secateur.core.graph.assembly import Builder
from secateur.core.planning import Budget, BudgetInfeasible, Plan, Planner, WidthRule, plan
from secateur.core.resources import Resource
from secateur.core.specs import HybridPolicy, PlanMode, PlanPolicy


@pytest.fixture(scope="module")
def vgg16() -> LayerGraph:
    return zoo.build("vgg16", (32, 32, 3), 10)


@pytest.fixture(scope="module")
def resnet56() -> LayerGraph:
    return zoo.build("resnet56", (32, 32, 3), 10)


@pytest.fixture(scope="module")
def resnet20() -> LayerGraph:
    return zoo.build("resnet20", (8, 8, 1), 10)


def unpruned(graph: LayerGraph) -> dict[Resource, float]:
    return Planner(graph, WidthRule()).unpruned.cost.by_resource()


# Limits --------------------------------------------------------------------------------------------------------------------


def test_keeps_every_limit_of_several(resnet20: LayerGraph) -> None:
    profile = devices.get("nrf52840")
    budget = Budget.of(parameters=150_000, macs=1_600_000, flash_bytes=160_000, ram_bytes=16_000, latency_ms=85)
    for seed in range(5):
        cost = plan(resnet20, budget, seed=seed, profile=profile).cost
        assert cost.parameters <= 150_000
        assert cost.macs <= 1_600_000
        assert cost.flash_bytes <= 160_000
        assert cost.ram_bytes <= 16_000
        assert predict_latency_ms(cost.work, profile) <= 85


def test_uses_up_at_least_one_of_several_limits(resnet56: LayerGraph) -> None:
    """The arena shrinks in leaps; cuts that a leap made needless are undone."""
    asked = {Resource.FLASH_BYTES: 0.6 * unpruned(resnet56)[Resource.FLASH_BYTES], Resource.RAM_BYTES: 91_000.0}
    for seed in range(3):
        reached = plan(
            resnet56, Budget.of(flash_bytes=asked[Resource.FLASH_BYTES], ram_bytes=91_000), seed=seed
        ).cost.by_resource()
        assert 0.99 <= max(reached[resource] / value for resource, value in asked.items()) <= 1


def test_no_group_could_keep_more(resnet20: LayerGraph) -> None:
    rule, asked = WidthRule(round_to=8), 0.6 * unpruned(resnet20)[Resource.PARAMETERS]
    for seed in range(5):
        chosen = plan(resnet20, Budget.of(parameters=asked), round_to=8, seed=seed)
        for name, width in chosen.widths.items():
            for wider in rule.between(width, chosen.unpruned_widths[name])[:1]:
                assert cost_of(with_widths(resnet20, {**chosen.widths, name: wider})).parameters > asked


def test_round_to_and_min_width(vgg16: LayerGraph) -> None:
    chosen = plan(vgg16, Budget.fractions(parameters=0.1), round_to=8, min_width=20)
    for name, width in chosen.widths.items():
        assert width == chosen.unpruned_widths[name] or (width % 8 == 0 and width >= 24)


def test_cuts_nothing_where_nothing_is_asked(resnet20: LayerGraph) -> None:
    chosen = plan(resnet20, Budget.fractions(parameters=1, ram_bytes=1), mode="flops", seed=3)
    assert chosen.changes_nothing
    assert (chosen.mode, chosen.seed) == (PlanMode.FLOPS, 3)
    assert chosen.cost.by_resource() == unpruned(resnet20)


def test_accuracy_is_left_to_training(resnet20: LayerGraph) -> None:
    assert plan(resnet20, Budget.of(accuracy=0.9)).changes_nothing
    alone = plan(resnet20, Budget.of(parameters=100_000))
    assert plan(resnet20, Budget.of(parameters=100_000, accuracy=0.9)).widths == alone.widths


def test_less_flash_is_the_exporters_flash(resnet20: LayerGraph) -> None:
    """ResNet-20 has 271 k parameters; its int8 file is larger, and the plan has to allow for that."""
    chosen = plan(resnet20, Budget.of(flash_bytes=150_000))
    assert chosen.cost.flash_bytes <= 150_000
    assert chosen.cost.parameters < 140_000


# Modes ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "limit"),
    [
        (PlanMode.PARAMETERS, "parameters"),
        (PlanMode.FLOPS, "flops"),
        (PlanMode.FLOPS, "macs"),
        (PlanMode.MEMORY, "memory_bytes"),
        (PlanMode.ACTIVATION, "activation_bytes"),
    ],
)
def test_device_mode_with_one_limit_is_that_mode(vgg16: LayerGraph, mode: PlanMode, limit: str) -> None:
    budget = Budget.fractions(**{limit: 0.5})
    for seed in range(3):
        assert plan(vgg16, budget, mode="device", seed=seed).widths == plan(vgg16, budget, mode=mode, seed=seed).widths


@pytest.mark.parametrize("mode", ["device", "flops"])
def test_a_limit_that_holds_anyway_changes_nothing(resnet20: LayerGraph, mode: str) -> None:
    for seed in range(3):
        alone = plan(resnet20, Budget.fractions(flops=0.6), mode=mode, seed=seed)
        assert plan(resnet20, Budget.fractions(flops=0.6, ram_bytes=1), mode=mode, seed=seed).widths == alone.widths


@pytest.mark.parametrize(("parameters", "activation", "least", "most"), [(0.9, 0.5, 0.8, 1), (0.5, 0.9, 0, 0.2)])
def test_device_mode_draws_limits_by_their_relative_excess(
    vgg16: LayerGraph, parameters: float, activation: float, least: float, most: float
) -> None:
    """Excesses of 1/9 and 1. At temperature 4, feature maps are cut where they are largest, parameters in the last blocks."""
    planner = Planner(vgg16, WidthRule(step=0.5), temperature=4)
    budget = Budget.fractions(parameters=parameters, activation_bytes=activation)
    first = [planner.trace(budget, PlanMode.DEVICE, seed).cuts[0] for seed in range(40)]
    assert least <= sum(name.startswith("block1") for name in first) / len(first) <= most


def test_a_mode_draws_by_its_resource_whatever_is_limited(vgg16: LayerGraph) -> None:
    """Limits on feature maps and RAM, cut by parameters: the early layers, which hold none, stay as they are."""
    planner = Planner(vgg16, WidthRule(step=0.5), temperature=4)
    budget = Budget.fractions(activation_bytes=0.95, ram_bytes=1)
    assert planner.trace(budget, PlanMode.ACTIVATION, 0).cuts[0].startswith("block1")
    assert planner.trace(budget, PlanMode.PARAMETERS, 0).cuts[0].startswith(("block4", "block5"))


def test_flops_mode_cuts_early_layers_and_parameters_mode_late_ones(vgg16: LayerGraph) -> None:
    by_flops = plan(vgg16, Budget.fractions(flops=0.4), mode="flops")
    by_parameters = plan(vgg16, Budget.fractions(parameters=0.4), mode="parameters")

    def kept(chosen: Plan, *blocks: str) -> float:
        names = [name for name in chosen.widths if name.startswith(blocks)]
        return statistics.fmean(chosen.widths[name] / chosen.unpruned_widths[name] for name in names)

    assert kept(by_flops, "block1", "block2") < kept(by_parameters, "block1", "block2")
    assert kept(by_flops, "block5") > kept(by_parameters, "block5")


def test_limits_on_ram_cut_where_the_peak_is(vgg16: LayerGraph) -> None:
    chosen = plan(vgg16, Budget.fractions(ram_bytes=0.6))
    assert chosen.widths["block1_conv1"] < 64
    assert chosen.widths["block1_conv2"] < 64
    untouched = [name for name in chosen.widths if chosen.widths[name] == chosen.unpruned_widths[name]]
    assert len(untouched) >= 4


def test_unknown_mode() -> None:
    with pytest.raises(ValueError, match="fastest"):
        plan(zoo.build("resnet20", (8, 8, 1), 10), Budget.of(parameters=1e5), mode="fastest")


# The literal algorithm -----------------------------------------------------------------------------------------------------


def test_literal_goes_down_to_one_filter(resnet20: LayerGraph) -> None:
    smallest = Planner(resnet20, WidthRule(0.1, 1, 1)).smallest.cost
    chosen = plan(resnet20, Budget.of(parameters=smallest.parameters), mode="parameters", literal=True, min_width=8, round_to=8)
    assert set(chosen.widths.values()) == {1}


# Temperature and residual streams ------------------------------------------------------------------------------------------


def test_temperature_spreads_the_cuts(vgg16: LayerGraph) -> None:
    """Of 13 groups at half the parameters: alike at temperature 0, by the share at 1, the heaviest alone at 4."""

    def kept(temperature: float) -> list[float]:
        chosen = plan(vgg16, Budget.fractions(parameters=0.5), mode="parameters", temperature=temperature, seed=1)
        return [chosen.widths[name] / chosen.unpruned_widths[name] for name in chosen.widths]

    spread = {temperature: statistics.pstdev(kept(temperature)) for temperature in (0, 1, 4)}
    assert spread[0] < spread[1]
    assert plan(vgg16, Budget.fractions(parameters=0.5), temperature=1.0) == plan(vgg16, Budget.fractions(parameters=0.5))
    assert min(kept(0)[:2]) < 0.8  # early layers hold next to no parameters
    assert min(kept(1)[:2]) > 0.8
    assert min(kept(4)[:5]) == 1


def test_a_step_back_in_temperature_draws_what_is_at_its_smallest_no_more(resnet20: LayerGraph) -> None:
    least = Planner(resnet20, WidthRule()).smallest.cost.parameters
    assert plan(resnet20, Budget.of(parameters=least), temperature=0).cost.parameters == least


def test_coupled_streams_go_further() -> None:
    graph = zoo.build("resnet18", (32, 32, 3), 10)
    rule = WidthRule(min_width=2)
    skip = Planner(graph, rule).smallest.cost.parameters
    coupled = Planner(graph, rule, residual=Residual.COUPLED).smallest.cost.parameters
    between = Budget.of(parameters=(skip + coupled) / 2)
    with pytest.raises(BudgetInfeasible) as caught:
        plan(graph, between, min_width=2)
    assert f"residual 'coupled' reaches {coupled:,}" in caught.value.message
    assert caught.value.metadata["smallest_reachable_coupled"] == str(coupled)
    chosen = plan(graph, between, residual="coupled", min_width=2)
    assert 0.98 * between.asked()[Resource.PARAMETERS] < chosen.cost.parameters <= between.asked()[Resource.PARAMETERS]
    assert cost_of(chosen.apply(graph)) == chosen.cost
    with pytest.raises(BudgetInfeasible) as caught:
        plan(graph, Budget.of(parameters=coupled - 1), residual="coupled", min_width=2)
    assert "coupled" not in caught.value.message


def test_unknown_residual(resnet20: LayerGraph) -> None:
    with pytest.raises(ValueError, match="dropped"):
        plan(resnet20, Budget.of(parameters=1e5), residual="dropped")


# What cannot be done -------------------------------------------------------------------------------------------------------


def test_infeasible_names_limit_value_and_layer(resnet20: LayerGraph) -> None:
    with pytest.raises(BudgetInfeasible) as caught:
        plan(resnet20, Budget.of(parameters=10_000, flash_bytes=200_000), mode="parameters", seed=3)
    error = caught.value
    smallest = Planner(resnet20, WidthRule()).smallest
    assert isinstance(error, Infeasible)
    assert error.reason == "BUDGET_INFEASIBLE"
    assert error.binding is Resource.PARAMETERS
    assert error.field == "parameters"
    assert error.smallest_reachable[Resource.PARAMETERS] == smallest.cost.parameters
    assert error.metadata == {
        "binding_limit": "parameters",
        "asked": "10000",
        "smallest_reachable": str(smallest.cost.parameters),
        "layer": error.layer,
    }
    assert error.layer in resnet20
    for part in ("parameters", "10,000", f"{smallest.cost.parameters:,}", error.layer):
        assert part in error.message
    assert error.nearest.widths == smallest.widths
    assert (error.nearest.mode, error.nearest.seed) == (PlanMode.PARAMETERS, 3)


@pytest.mark.parametrize(
    ("parameters", "arguments", "way_out"),
    [
        (9_000, {}, "Raise this limit, or allow narrower layers by a smaller min_width or round_to."),
        (1_000, {}, "which are not cut: stage3_block1_shortcut_pad pads its channels with zeros. Raise this limit."),
        (1_000, {"mode": "parameters", "literal": True}, "pads its channels with zeros. Raise this limit."),
        (20_000, {"mode": "hybrid", "alpha": 2}, "Raise this limit, or take a smaller alpha, "),
        (9_000, {"mode": "stock"}, "Raise this limit, or take another mode than 'stock', which prunes nothing."),
    ],
)
def test_infeasible_says_what_would_help(
    resnet20: LayerGraph, parameters: int, arguments: dict[str, Any], way_out: str
) -> None:
    """What feeds residual additions stays, and takes thousands of parameters however narrow the other layers get."""
    alpha = arguments.pop("alpha", None)
    policy = PlanPolicy(PlanMode(arguments.pop("mode", "device")), hybrid=HybridPolicy(alpha=alpha), **arguments)
    with pytest.raises(BudgetInfeasible) as caught:
        Planner.of(resnet20, policy).plan(Budget.of(parameters=parameters), policy.mode, 0)
    assert way_out in caught.value.message
    assert ("Narrower layers do not help" in caught.value.message) == (parameters == 1_000)


def test_the_binding_limit_is_the_one_missed_by_most(resnet20: LayerGraph) -> None:
    with pytest.raises(BudgetInfeasible) as caught:
        plan(resnet20, Budget.of(parameters=10_000, macs=1_000))
    assert caught.value.binding is Resource.MACS
    assert set(caught.value.smallest_reachable) == {Resource.PARAMETERS, Resource.MACS}
    smallest = caught.value.nearest.cost
    with pytest.raises(BudgetInfeasible) as caught:
        plan(resnet20, Budget.of(parameters=smallest.parameters / 2, macs=smallest.macs - 2 * smallest.parameters))
    assert caught.value.binding is Resource.PARAMETERS, "by half, though by fewer"


def test_infeasible_names_the_layer_that_is_heaviest_when_all_are_narrow() -> None:
    net = Builder("net", (16, 16, 3))
    net.add("Conv2D", "kernels", filters=8, kernel_size=3)
    net.add("Conv2D", "wide", filters=256, kernel_size=1)
    net.add("Flatten", "flat")
    net.add("Dense", "logits", units=2)
    planner = Planner(net.build(), WidthRule())
    assert planner.plan(Budget.fractions(macs=0.9), PlanMode.DEVICE, 0).widths["wide"] > 200
    with pytest.raises(BudgetInfeasible) as caught:
        planner.plan(Budget.of(macs=1_000), PlanMode.DEVICE, 0)
    assert caught.value.layer == "kernels"


def test_latency_needs_a_profile(resnet20: LayerGraph) -> None:
    with pytest.raises(InvalidArgument) as caught:
        plan(resnet20, Budget.of(latency_ms=10))
    assert caught.value.reason == "LIMIT_NEEDS_PROFILE"
    assert caught.value.field == "latency_ms"


@pytest.mark.parametrize("arguments", [{"step": 0.0}, {"step": 1.5}, {"round_to": 0}, {"min_width": 0}])
def test_policy_out_of_range(resnet20: LayerGraph, arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        plan(resnet20, Budget.of(parameters=1e5), **arguments)
    assert caught.value.reason == "POLICY_INVALID"


@pytest.mark.parametrize("name", ["vgg16", "resnet56"])
def test_takes_as_long_as_a_few_counts(name: str, request: pytest.FixtureRequest) -> None:
    """A count of ResNet-56 takes about 10 ms; a plan makes hundreds of changes."""
    graph = request.getfixturevalue(name)

    def seconds(work: Callable[[int], object]) -> float:
        times = []
        for seed in range(3):
            start = time.process_time()
            work(seed)
            times.append(time.process_time() - start)
        return min(times)

    planning = seconds(lambda seed: plan(graph, Budget.fractions(parameters=0.5), seed=seed))
    assert planning < 10 * seconds(lambda _: cost_of(graph))
