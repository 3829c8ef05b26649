"""Training recipes as data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from secateur.core.errors import InvalidArgument
from secateur.core.specs import Recipe

DEFAULT: Final = "fast"

_FINE_TUNING_EPOCHS: Final = 0.5
_FINE_TUNING_RATE: Final = 0.5

RECIPES: Final = {
    "fast": Recipe(
        name="fast",
        epochs=30,
        batch_size=64,
        learning_rate=0.1,
        weight_decay=5e-4,
        label_smoothing=0.1,
        validation_fraction=0.1,
    ),
}
"""Nesterov SGD with a one-cycle schedule; `learning_rate` is its peak."""


def resolve(
    name: str = "", *, epochs: int | None = None, batch_size: int | None = None, learning_rate: float | None = None
) -> Recipe:
    """Returns the named recipe with overrides applied.

    Args:
        name: Recipe name; empty for the default.
        epochs: Passes over the training split.
        batch_size: Images per step.
        learning_rate: Peak learning rate.

    Raises:
        InvalidArgument: RECIPE_UNKNOWN, naming the known ones.
    """
    recipe = RECIPES.get(name or DEFAULT)
    if recipe is None:
        raise InvalidArgument(
            "RECIPE_UNKNOWN",
            f"There is no recipe of that name; known: {', '.join(sorted(RECIPES))}. Received: {name}",
            field="recipe.name",
        )
    overrides: dict[str, Any] = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    return replace(recipe, **{key: value for key, value in overrides.items() if value is not None})


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
