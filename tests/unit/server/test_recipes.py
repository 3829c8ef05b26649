"""Recipes between proto and domain, and the bounds of both."""

from __future__ import annotations

from dataclasses import fields, replace
from enum import StrEnum
from typing import Any

import pytest

from secateur.core import recipes
from secateur.core.errors import InvalidArgument
from secateur.core.specs import Augmentation, OptimizerKind, Recipe, Schedule, ScratchBudget
from secateur.server.jobs.creation import RecipeChoice
from secateur.server.jobs.mapping import create_from_proto
from secateur.server.validation import check
from secateur.v1 import dataset_service_pb2 as datasets_pb
from secateur.v1 import job_service_pb2 as pb


def chosen(**recipe: Any) -> RecipeChoice:
    """Returns what a request asks for with these fields of a recipe."""
    job = pb.Job(architecture="projects/p/architectures/00", dataset="datasets/digits", recipe=pb.Recipe(**recipe))
    return create_from_proto(pb.CreateJobRequest(parent="projects/p", job=job)).job.recipe


def test_recipes_have_the_same_fields_here_and_there() -> None:
    assert [field.name for field in pb.Recipe.DESCRIPTOR.fields] == [field.name for field in fields(Recipe)]
    assert [field.name for field in datasets_pb.Augmentation.DESCRIPTOR.fields] == [
        field.name for field in fields(Augmentation)
    ]


def test_what_is_set_is_an_override_even_if_it_is_nothing() -> None:
    assert chosen() == chosen(augmentation=datasets_pb.Augmentation()) == RecipeChoice()
    assert chosen(name="paper", epochs=3) == RecipeChoice("paper", {"epochs": 3})
    assert chosen(patience=0, mixed_precision=False, augmentation=datasets_pb.Augmentation(flip=False)) == RecipeChoice(
        overrides={"patience": 0, "mixed_precision": False}, augmentation={"flip": False}
    )


@pytest.mark.parametrize("word", [*OptimizerKind, *Schedule, *ScratchBudget])
def test_every_word_has_a_value_in_the_api(word: StrEnum) -> None:
    field, prefix = {
        OptimizerKind: ("optimizer", "OPTIMIZER"),
        Schedule: ("schedule", "SCHEDULE"),
        ScratchBudget: ("scratch", "SCRATCH_BUDGET"),
    }[type(word)]

    assert chosen(**{field: f"{prefix}_{word.name}"}).overrides == {field: word}


@pytest.mark.parametrize(
    ("field", "least", "most"),
    [
        ("epochs", 1, 10_000),
        ("batch_size", 1, 8_192),
        ("learning_rate", 1e-8, 10.0),
        ("weight_decay", 0.0, 1.0),
        ("label_smoothing", 0.0, 0.9),
        ("validation_fraction", 0.01, 0.5),
        ("average_epochs", 0.0, 100.0),
        ("distillation", 0.0, 1.0),
        ("patience", 0, 10_000),
    ],
)
def test_the_api_has_the_bounds_of_the_domain(field: str, least: Any, most: Any) -> None:
    for value in (least, most):
        check(pb.Recipe(**{field: value}))
        assert getattr(recipes.resolve(**{field: value}), field) == value
    whole = isinstance(least, int)
    outside: list[Any] = [least - 1, most + 1] if whole else [least - 1e-9, most + 1e-9, float("nan")]
    for value in outside:
        with pytest.raises(InvalidArgument) as caught:
            recipes.resolve(**{field: value})
        assert (caught.value.reason, caught.value.field) == ("RECIPE_INVALID", f"recipe.{field}")
        assert "Received" in caught.value.message
        if not whole or value >= 0:  # a count below zero is no message
            with pytest.raises(InvalidArgument):
                check(pb.Recipe(**{field: value}))


@pytest.mark.parametrize(("field", "most"), [("crop", 64), ("cutout", 256)])
def test_the_same_for_augmentation(field: str, most: Any) -> None:
    check(pb.Recipe(augmentation=datasets_pb.Augmentation(**{field: most})))
    replace(Augmentation(), **{field: most})
    with pytest.raises(InvalidArgument):
        check(pb.Recipe(augmentation=datasets_pb.Augmentation(**{field: most + 1})))
    with pytest.raises(InvalidArgument) as caught:
        replace(Augmentation(), **{field: most + 1})
    assert caught.value.field == f"recipe.augmentation.{field}"
