"""Effective budgets and tightening."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.core import devices
from secateur.core.cost import cost_of, predict_latency_ms
from secateur.core.errors import InvalidArgument
from secateur.core.graph import LayerGraph, zoo
from secateur.core.planning import Budget, effective_budget, merged, predicted, tighten
from secateur.core.resources import Limit, Resource
from secateur.core.specs import Target

F746 = devices.get("stm32f746")


@pytest.fixture(scope="module")
def graph() -> LayerGraph:
    return zoo.build("resnet20", (8, 8, 1), 10)


def test_profile_alone(graph: LayerGraph) -> None:
    budget = effective_budget(graph, Target(device_profile=devices.get("stm32f746")))
    assert budget.asked() == {Resource.FLASH_BYTES: F746.usable_flash_bytes, Resource.RAM_BYTES: F746.usable_ram_bytes}
    assert {limit.origin for limit in budget.limits} == {"device_profile"}


def test_the_tighter_of_two_limits_wins(graph: LayerGraph) -> None:
    tight = effective_budget(graph, Target(devices.get("stm32f746"), Budget.of(flash_bytes=100_000, ram_bytes=10_000_000)))
    origins = {limit.resource: limit.origin for limit in tight.limits}
    assert tight.asked() == {Resource.FLASH_BYTES: 100_000, Resource.RAM_BYTES: F746.usable_ram_bytes}
    assert origins == {Resource.FLASH_BYTES: "budget", Resource.RAM_BYTES: "device_profile"}


def test_fractions_are_of_the_unpruned_network(graph: LayerGraph) -> None:
    cost = cost_of(graph)
    budget = effective_budget(graph, Target(devices.get("stm32f746"), Budget.fractions(parameters=0.5, latency_ms=0.25)))
    assert budget.asked()[Resource.PARAMETERS] == cost.parameters / 2
    assert budget.asked()[Resource.LATENCY_MS] == pytest.approx(predict_latency_ms(cost.work, F746) / 4)
    assert predicted(cost, F746)[Resource.LATENCY_MS] == pytest.approx(cost.macs / 199.9e6 * 1e3, rel=0.02)  # bound by its MACs
    assert Resource.LATENCY_MS not in predicted(cost)


def test_accuracy_passes_through(graph: LayerGraph) -> None:
    assert effective_budget(graph, Target(budget=Budget.of(accuracy=0.95))).asked() == {Resource.ACCURACY: 0.95}


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (Target(), "BUDGET_EMPTY"),
        (Target(budget=Budget.of(latency_ms=5)), "LIMIT_NEEDS_PROFILE"),
        (Target(budget=Budget.fractions(latency_ms=0.5)), "LIMIT_NEEDS_PROFILE"),
    ],
)
def test_refuses(graph: LayerGraph, target: Target, reason: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        effective_budget(graph, target)
    assert caught.value.reason == reason


def test_nothing_to_merge() -> None:
    with pytest.raises(InvalidArgument) as caught:
        merged(None, None)
    assert caught.value.reason == "BUDGET_EMPTY"


# tighten -------------------------------------------------------------------------------------------------------------------

AMOUNTS = st.floats(1, 1e9)


def tightened(asked: float, predicted: float, measured: float) -> float:
    budget = Budget((Limit(Resource.FLASH_BYTES, value=asked, origin="device_profile"), Limit(Resource.MACS, value=5)))
    found = tighten(budget, Resource.FLASH_BYTES, asked=asked, predicted=predicted, measured=measured)
    assert found.limits[0].origin == "device_profile"
    assert found.limits[1] == budget.limits[1]
    return found.asked()[Resource.FLASH_BYTES]


def test_sinks_by_the_measured_excess() -> None:
    assert tightened(asked=100_000, predicted=99_000, measured=103_000) == 96_000


@given(AMOUNTS, st.floats(0.01, 1), st.floats(1.001, 100))
def test_always_below_the_prediction_and_never_nothing(asked: float, share: float, factor: float) -> None:
    expected, measured = share * asked, factor * asked
    limit = tightened(asked, expected, measured)
    assert 0.5 * expected / factor <= limit * (1 + 1e-9)
    assert limit < expected


@given(AMOUNTS, st.floats(0.01, 1), st.floats(1.001, 100), st.floats(1, 10))
def test_a_worse_measurement_never_loosens(asked: float, share: float, factor: float, worse: float) -> None:
    expected, measured = share * asked, factor * asked
    assert tightened(asked, expected, measured * worse) <= tightened(asked, expected, measured) * (1 + 1e-9)


@given(AMOUNTS, st.floats(0.7, 1), st.floats(0.001, 0.09))
def test_a_constant_offset_is_made_good_in_one_go(asked: float, share: float, excess: float) -> None:
    measured = (1 + excess) * asked
    offset = measured - share * asked
    assert tightened(asked, share * asked, measured) + offset == pytest.approx(asked)


@pytest.mark.parametrize(("resource", "measured"), [(Resource.ACCURACY, 2.0), (Resource.FLASH_BYTES, 1.0)])
def test_only_a_missed_upper_limit_can_be_tightened(resource: Resource, measured: float) -> None:
    with pytest.raises(ValueError, match=resource.value):
        tighten(Budget.of(flash_bytes=1), resource, asked=1, predicted=1, measured=measured)
