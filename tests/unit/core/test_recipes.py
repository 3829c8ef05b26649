"""Recipes and the digest of a job's work."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from secateur.core import datasets, devices, recipes
from secateur.core.errors import InvalidArgument
from secateur.core.reports import Progress
from secateur.core.resources import Budget
from secateur.core.serial import from_data, to_data
from secateur.core.specs import (
    MAX_EPOCHS,
    Augmentation,
    JobSpec,
    OptimizerKind,
    PlanMode,
    PlanPolicy,
    Recipe,
    Schedule,
    ScratchBudget,
    Target,
)


def test_default_and_overrides() -> None:
    default = recipes.resolve()
    assert default == recipes.resolve(recipes.DEFAULT) == recipes.RECIPES[recipes.DEFAULT]
    changed = recipes.resolve("fast", epochs=3, learning_rate=0.01)
    assert changed == replace(default, epochs=3, learning_rate=0.01)
    assert recipes.resolve() == default == recipes.resolve(epochs=None)


def test_every_recipe() -> None:
    fast, strong, finetune, paper = (recipes.resolve(name) for name in ("fast", "strong", "finetune", "paper"))
    assert {recipe.name for recipe in (fast, strong, finetune, paper)} == set(recipes.RECIPES)
    assert (fast.optimizer, fast.schedule, fast.epochs) == (OptimizerKind.SGD, Schedule.ONE_CYCLE, 30)
    assert (fast.label_smoothing, fast.average_epochs, fast.mixed_precision) == (0.1, 1.0, True)
    assert (strong.schedule, strong.distillation) == (Schedule.COSINE, 0.5)
    assert strong.epochs > fast.epochs
    assert (finetune.epochs, finetune.learning_rate) == (15, 0.05)
    assert replace(recipes.fine_tuning(fast), name="finetune") == finetune
    assert paper == Recipe("paper", 150, 128, 1e-3, 0.0, 0.0, 0.1, OptimizerKind.RMSPROP, Schedule.CONSTANT)
    assert not any(recipe.patience for recipe in (fast, strong, finetune, paper))
    assert recipes.fine_tuning(recipes.resolve(epochs=1)).epochs == 1


@pytest.mark.parametrize("name", ["fast", "strong", "finetune"])
def test_a_recipe_is_fitted_to_what_it_trains_on(name: str) -> None:
    own = recipes.resolve(name)
    small, large = (recipes.resolve(name, datasets.get(dataset)) for dataset in ("digits", "cifar10"))
    assert small == own, "few images, and digits that are mirrored are none"
    assert large.augmentation == Augmentation(flip=True, crop=4, cutout=8)
    assert large.batch_size == 256
    assert large.learning_rate == pytest.approx(own.learning_rate * 256 / own.batch_size)


@pytest.mark.parametrize(("images", "batch"), [(9_999, 64), (10_000, 256)])
def test_ten_thousand_images_make_larger_batches(images: int, batch: int) -> None:
    assert recipes.resolve("fast", replace(datasets.get("cifar10"), train_images=images)).batch_size == batch


def test_the_paper_s_recipe_is_the_same_for_all_data() -> None:
    assert recipes.resolve("paper", datasets.get("cifar10")) == recipes.resolve("paper")


def test_what_is_asked_for_goes_before_the_fitting() -> None:
    cifar = datasets.get("cifar10")
    own = recipes.resolve("fast")
    batched = recipes.resolve("fast", cifar, batch_size=64)
    assert (batched.batch_size, batched.learning_rate) == (64, own.learning_rate)
    rated = recipes.resolve("fast", cifar, learning_rate=0.02)
    assert (rated.batch_size, rated.learning_rate) == (own.batch_size, 0.02)
    assert recipes.resolve("fast", cifar, augmentation={"flip": False}).augmentation == Augmentation(crop=4, cutout=8)
    assert recipes.resolve("paper", cifar, augmentation={"crop": 2}).augmentation == Augmentation(crop=2)


def test_a_pruned_network_gets_the_epochs_or_the_compute_of_the_unpruned_one() -> None:
    epochs = recipes.resolve(epochs=30)
    assert recipes.for_pruned(epochs, macs=25, unpruned_macs=100) == epochs
    compute = replace(epochs, scratch=ScratchBudget.COMPUTE)
    assert recipes.for_pruned(compute, macs=25, unpruned_macs=100) == replace(compute, epochs=120)
    assert recipes.for_pruned(compute, macs=1, unpruned_macs=10**9).epochs == MAX_EPOCHS


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


def test_a_spec_and_a_progress_of_before_are_read_with_what_was_done_then() -> None:
    """Until 0.1.0 a recipe said less: Nesterov SGD, one cycle, nothing done to images."""
    former = json.loads(json.dumps(to_data(SPEC)))
    for name in ("optimizer", "schedule", "augmentation", "average_epochs", "distillation", "patience", "mixed_precision"):
        del former["recipe"][name]
    del former["recipe"]["scratch"]
    recipe = from_data(JobSpec, former).recipe
    assert recipe == replace(SPEC.recipe, average_epochs=0.0, mixed_precision=False)
    assert (recipe.optimizer, recipe.schedule) == (OptimizerKind.SGD, Schedule.ONE_CYCLE)
    assert (recipe.augmentation, recipe.scratch) == (Augmentation(), ScratchBudget.EPOCHS)

    progress = {"target_index": 0, "epoch": 3, "epochs": 30, "loss": 0.5, "accuracy": 0.75, "eta_seconds": 12.5}
    assert from_data(Progress, progress) == Progress(0, 3, 30, 0.5, 0.75, 12.5)


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
