"""Trainings in words: by what recipe, and how far they are."""

from __future__ import annotations

from dataclasses import fields

from secateur.client.cli.formats import duration
from secateur.client.datasets import Augmentation
from secateur.client.jobs import JobProgress
from secateur.client.recipes import Recipe


def recipe_line(recipe: Recipe) -> str:
    """Returns a recipe with every value that it has, named as the options are: "Recipe fast: epochs 30, batch size 64"."""
    values = [*_values(recipe), *_values(recipe.augmentation or Augmentation())]
    return f"Recipe {recipe.name}: {', '.join(values)}" if values else f"Recipe {recipe.name}"


def progress_line(progress: JobProgress, *, curve: bool = False) -> str:
    """Returns how far a training is: "epoch 3/30 step 120/703 accuracy 0.912 ETA 3 min 20 s 4,512 images/s".

    Args:
        progress: How far it is.
        curve: Whether to tell the figures of the learning curve, for lines that stay: each once, when it is known.
    """
    words = [f"epoch {progress.epoch}/{progress.epochs}"]
    if progress.step:
        words.append(f"step {progress.step}/{progress.steps}")
    if curve:
        words.append(f"loss {progress.loss:.3f}")
    if progress.epoch and not (curve and progress.step):
        words.append(f"accuracy {progress.accuracy:.3f}")
        if curve:
            words.append(f"validation loss {progress.validation_loss:.3f}")
    if curve:
        words.append(f"rate {progress.learning_rate:.3g}")
    if progress.eta:
        words.append(f"ETA {duration(progress.eta)}")
    if progress.images_per_second:
        words.append(f"{progress.images_per_second:,.0f} images/s")
    return " ".join(words)


def _values(options: Recipe | Augmentation) -> list[str]:
    named = ((field.name, getattr(options, field.name)) for field in fields(options))
    return [
        f"{name.replace('_', ' ')} {_word(value)}"
        for name, value in named
        if value is not None and name not in ("name", "augmentation")
    ]


def _word(value: float | str) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.6g}"
    return str(value)
