"""Training recipes as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from secateur.core.datasets import Dataset
from secateur.core.errors import InvalidArgument
from secateur.core.specs import MAX_EPOCHS, OptimizerKind, Recipe, Schedule, ScratchBudget

DEFAULT: Final = "fast"

_FAST: Final = Recipe(
    name="fast",
    epochs=30,
    batch_size=64,
    learning_rate=0.1,
    weight_decay=5e-4,
    label_smoothing=0.1,
    validation_fraction=0.1,
    average_epochs=1.0,
    mixed_precision=True,
)
_FINE_TUNING_EPOCHS: Final = 0.5
_FINE_TUNING_RATE: Final = 0.5


def fine_tuning(recipe: Recipe) -> Recipe:
    """Returns the recipe by which a network with inherited weights is trained on.

    Args:
        recipe: By which the unpruned network was trained.
    """
    return replace(
        recipe,
        name=f"{recipe.name}, fine-tuning",
        epochs=max(1, round(_FINE_TUNING_EPOCHS * recipe.epochs)),
        learning_rate=_FINE_TUNING_RATE * recipe.learning_rate,
    )


RECIPES: Final = {
    "fast": _FAST,
    "strong": replace(_FAST, name="strong", epochs=200, schedule=Schedule.COSINE, distillation=0.5),
    "finetune": replace(fine_tuning(_FAST), name="finetune"),
    "paper": Recipe(
        name="paper",
        epochs=150,
        batch_size=128,
        learning_rate=1e-3,
        weight_decay=0.0,
        label_smoothing=0.0,
        validation_fraction=0.1,
        optimizer=OptimizerKind.RMSPROP,
        schedule=Schedule.CONSTANT,
    ),
}
"""`fast` is Nesterov SGD under a one-cycle schedule, `strong` a long cosine with distillation from the unpruned network,
`finetune` what inherited weights get after a `fast` training, `paper` what seed A did (section 4)."""

_FITTED: Final = frozenset({"fast", "strong", "finetune"})
_LARGE_SET: Final = 10_000
_LARGE_BATCH: Final = 256
"""Larger sets take larger batches, and rates in proportion (Goyal et al., arXiv 1706.02677), where neither is asked for."""


def resolve(
    name: str = "", dataset: Dataset | None = None, *, augmentation: Mapping[str, Any] | None = None, **overrides: Any
) -> Recipe:
    """Returns the named recipe, fitted to a data set, with overrides applied.

    Args:
        name: Recipe name; empty for the default.
        dataset: What is trained on: says which augmentation leaves classes as they are, and how large batches may get. None
            leaves the recipe as it is.
        augmentation: Values of fields of its `Augmentation`; what is not among them stays as it is.
        **overrides: Values of other fields of `Recipe`; None keeps the recipe's own.

    Raises:
        InvalidArgument: RECIPE_UNKNOWN, naming the known ones; RECIPE_INVALID, if an override is out of range.
    """
    recipe = RECIPES.get(name or DEFAULT)
    if recipe is None:
        raise InvalidArgument(
            "RECIPE_UNKNOWN",
            f"There is no recipe of that name; known: {', '.join(sorted(RECIPES))}. Received: {name}",
            field="recipe.name",
        )
    given = {key: value for key, value in overrides.items() if value is not None}
    if dataset and recipe.name in _FITTED:
        recipe = replace(recipe, augmentation=dataset.augmentation)
        if dataset.train_images >= _LARGE_SET and not given.keys() & {"batch_size", "learning_rate"}:
            grown = _LARGE_BATCH / recipe.batch_size
            recipe = replace(recipe, batch_size=_LARGE_BATCH, learning_rate=recipe.learning_rate * grown)
    return replace(recipe, augmentation=replace(recipe.augmentation, **augmentation or {}), **given)


def for_pruned(recipe: Recipe, *, macs: int, unpruned_macs: int) -> Recipe:
    """Returns the recipe by which a pruned network is trained from scratch; see `ScratchBudget`.

    Args:
        recipe: By which the unpruned network would be trained.
        macs: Multiply-accumulates of the pruned network.
        unpruned_macs: Those of the unpruned one.
    """
    if recipe.scratch is ScratchBudget.EPOCHS:
        return recipe
    return replace(recipe, epochs=min(MAX_EPOCHS, round(recipe.epochs * unpruned_macs / max(1, macs))))
