"""Recipes and the digest of a job's work."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from secateur.core import devices, recipes
from secateur.core.errors import InvalidArgument
from secateur.core.resources import Budget
from secateur.core.serial import from_data, to_data
from secateur.core.specs import JobSpec, PlanMode, PlanPolicy, Target


def test_default_and_overrides() -> None:
    default = recipes.resolve()
    assert default == recipes.resolve(recipes.DEFAULT) == recipes.RECIPES[recipes.DEFAULT]
    changed = recipes.resolve("fast", epochs=3, learning_rate=0.01)
    assert changed == replace(default, epochs=3, learning_rate=0.01)
    assert recipes.resolve() == default


def test_unknown() -> None:
    with pytest.raises(InvalidArgument, match="fast") as caught:
        recipes.resolve("slow")
    assert (caught.value.reason, caught.value.field) == ("RECIPE_UNKNOWN", "recipe.name")


F746 = devices.get("stm32f746")

SPEC = JobSpec(
    architecture="0" * 64,
    dataset="digits",
    targets=(Target(F746, Budget.of(flash_bytes=65_536)), Target(budget=Budget.fractions(flops=0.5))),
    recipe=recipes.resolve(),
)


def test_spec_survives_json() -> None:
    again = from_data(JobSpec, json.loads(json.dumps(to_data(SPEC))))
    assert again == SPEC
    assert again.work_key("v1") == SPEC.work_key("v1")


def test_a_spec_that_names_its_profile_is_read_with_the_whole_of_it() -> None:
    """Until 0.1.0 specs were stored so."""
    former = json.loads(json.dumps(to_data(SPEC)))
    former["targets"][0]["device_profile"] = "stm32f746"
    assert from_data(JobSpec, former) == SPEC


@pytest.mark.parametrize(
    "other",
    [
        replace(SPEC, architecture="1" * 64),
        replace(SPEC, dataset="letters"),
        replace(SPEC, seed=1),
        replace(SPEC, recipe=recipes.resolve(epochs=1)),
        replace(SPEC, policy=PlanPolicy(PlanMode.FLOPS)),
        replace(SPEC, targets=SPEC.targets[::-1]),
        replace(SPEC, targets=(Target(F746, Budget.of(flash_bytes=65_537)), SPEC.targets[1])),
        replace(SPEC, targets=(Target(replace(F746, ram_bytes=2**20), Budget.of(flash_bytes=65_536)), SPEC.targets[1])),
    ],
    ids=["architecture", "dataset", "seed", "recipe", "policy", "order", "budget", "profile"],
)
def test_work_key_sees_whatever_changes_the_result(other: JobSpec) -> None:
    assert other.work_key("v1") != SPEC.work_key("v1")


def test_work_key_sees_the_toolchain() -> None:
    assert SPEC.work_key("v1") != SPEC.work_key("v2")
