"""Data sets as the service shows them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What is done to training images without changing their class: of a data set what may be done, of a recipe what is.

    They are mirrored at random (`flip`), shifted by up to `crop` pixels, and a square with sides of `cutout` pixels is blanked.
    None, in a recipe, leaves it to the recipe.
    """

    flip: bool | None = None
    crop: int | None = None
    cutout: int | None = None


@dataclass(frozen=True, slots=True)
class Dataset:
    """Labelled images. Images that a job keeps for validation are among `train_images`; a built-in set has no file."""

    name: str
    display_name: str
    input_shape: tuple[int, ...]
    classes: int
    class_names: tuple[str, ...]
    train_images: int
    test_images: int
    augmentation: Augmentation = field(default_factory=Augmentation)
    size_bytes: int = 0
    sha256: str = ""
    create_time: datetime | None = None
    delete_time: datetime | None = None
    purge_time: datetime | None = None
