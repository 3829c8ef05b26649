"""Recipes and the digest of a job's work."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from secateur.core import recipes
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


SPEC = JobSpec(
    architecture="0" * 64,
    dataset="digits",
    targets=(Target("stm32f746", Budget.of(flash_bytes=65_536)), Target(budget=Budget.fractions(flops=0.5))),
    recipe=recipes.resolve(),
)


def test_spec_survives_json() -> None:
    again = from_data(JobSpec, json.loads(json.dumps(to_data(SPEC))))
    assert again == SPEC
    assert again.work_key("v1") == SPEC.work_key("v1")


@pytest.mark.parametrize(
    "other",
    [
        replace(SPEC, architecture="1" * 64),
        replace(SPEC, dataset="letters"),
        replace(SPEC, seed=1),
        replace(SPEC, recipe=recipes.resolve(epochs=1)),
        replace(SPEC, policy=PlanPolicy(PlanMode.FLOPS)),
        replace(SPEC, targets=SPEC.targets[::-1]),
        replace(SPEC, targets=(Target("stm32f746", Budget.of(flash_bytes=65_537)), SPEC.targets[1])),
    ],
    ids=["architecture", "dataset", "seed", "recipe", "policy", "order", "budget"],
)
def test_work_key_sees_whatever_changes_the_result(other: JobSpec) -> None:
    assert other.work_key("v1") != SPEC.work_key("v1")


def test_work_key_sees_the_toolchain() -> None:
    assert SPEC.work_key("v1") != SPEC.work_key("v2")
