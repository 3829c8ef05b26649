"""Limits, budgets and compliance."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.core.errors import InvalidArgument
from secateur.core.resources import Budget, Compliance, Limit, Resource
from secateur.core.serial import from_data, to_data

RESOURCES = st.sampled_from(Resource)


def limit(resource: Resource, value: float) -> Limit:
    return Limit(resource, value=value)


@st.composite
def absolute_budgets(draw: st.DrawFn) -> Budget:
    chosen = draw(st.lists(RESOURCES, min_size=1, unique=True))
    return Budget(tuple(limit(resource, draw(st.floats(0.01, 1))) for resource in chosen))


@pytest.mark.parametrize("value", [0, -1, math.inf, math.nan])
def test_refuses_values_that_are_no_bounds(value: float) -> None:
    with pytest.raises(InvalidArgument) as caught:
        Limit(Resource.FLASH_BYTES, value=value)
    assert (caught.value.reason, caught.value.field) == ("LIMIT_INVALID", "flash_bytes")


@pytest.mark.parametrize("fraction", [0, -0.5, 1.01, math.nan])
def test_refuses_fractions_that_are_no_reductions(fraction: float) -> None:
    with pytest.raises(InvalidArgument, match="relative"):
        Limit(Resource.FLASH_BYTES, fraction=fraction)


def test_a_limit_is_either_absolute_or_relative() -> None:
    with pytest.raises(InvalidArgument, match="either"):
        Limit(Resource.MACS)
    with pytest.raises(InvalidArgument, match="either"):
        Limit(Resource.MACS, value=1, fraction=0.5)


def test_whole_numbers_are_the_same_limit() -> None:
    assert json.dumps(to_data(Budget.of(macs=5))) == json.dumps(to_data(Budget.of(macs=5.0)))


def test_accuracy_is_an_absolute_fraction() -> None:
    assert Limit(Resource.ACCURACY, value=1).value == 1
    for bad in ({"value": 95}, {"fraction": 0.9}):
        with pytest.raises(InvalidArgument, match="accuracy floor"):
            Limit(Resource.ACCURACY, **bad)


def test_refuses_empty_and_ambiguous_budgets() -> None:
    with pytest.raises(InvalidArgument) as empty:
        Budget(())
    assert empty.value.reason == "BUDGET_EMPTY"
    with pytest.raises(InvalidArgument) as twice:
        Budget((limit(Resource.MACS, 1), Limit(Resource.MACS, fraction=0.5)))
    assert twice.value.reason == "LIMIT_DUPLICATE"


def test_resolves_fractions_and_keeps_the_rest() -> None:
    budget = Budget((Limit(Resource.MACS, fraction=0.25, origin="device_profile"), limit(Resource.FLASH_BYTES, 7)))
    assert budget.resolve({Resource.MACS: 200}) == Budget(
        (Limit(Resource.MACS, value=50, origin="device_profile"), limit(Resource.FLASH_BYTES, 7))
    )
    with pytest.raises(InvalidArgument) as caught:
        budget.resolve({})
    assert (caught.value.reason, caught.value.field) == ("LIMIT_INVALID", "macs")


def test_unresolved_budgets_have_no_bounds() -> None:
    with pytest.raises(ValueError, match="macs"):
        Budget.fractions(macs=0.5).asked()


@given(absolute_budgets(), absolute_budgets())
def test_tightening_keeps_the_stricter_bound(mine: Budget, theirs: Budget) -> None:
    found = mine.tightened_by(theirs.limits).asked()
    assert found == theirs.tightened_by(mine.limits).asked()
    for resource in mine.asked().keys() | theirs.asked().keys():
        given_ = [asked[resource] for asked in (mine.asked(), theirs.asked()) if resource in asked]
        assert found[resource] == (max(given_) if resource is Resource.ACCURACY else min(given_))


def test_of_equal_bounds_the_budgets_own_stays() -> None:
    profile = Limit(Resource.RAM_BYTES, value=5, origin="device_profile")
    assert Budget.of(ram_bytes=5).tightened_by([profile]).limits[0].origin == "budget"


@given(RESOURCES, st.floats(0.001, 1), st.floats(0, 10))
def test_margin_and_met_agree(resource: Resource, asked: float, achieved: float) -> None:
    outcome = Compliance(resource, asked, achieved, "test")
    assert outcome.met == (outcome.margin >= 0)
    assert outcome.met == (achieved >= asked if resource is Resource.ACCURACY else achieved <= asked)


def test_margin_is_a_share_of_what_was_asked() -> None:
    assert Compliance(Resource.FLASH_BYTES, 200, 150, "").margin == 0.25
    assert Compliance(Resource.FLASH_BYTES, 200, 250, "").margin == -0.25
    assert Compliance(Resource.ACCURACY, 0.8, 0.9, "").margin == pytest.approx(0.125)


@given(absolute_budgets())
def test_survives_json(budget: Budget) -> None:
    assert from_data(Budget, json.loads(json.dumps(to_data(budget)))) == budget
