"""Registered data sets as arrays, split for training, validation and test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from secateur.core import datasets

_TEST_SPLIT_SEED: Final = 0
"""Seed of the test split. Never change it: every published accuracy refers to this split."""


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Labelled images.

    Args:
        images: Float32, shape (n, height, width, channels), values in [0, 1].
        labels: Int64, shape (n,), values in [0, classes).
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """The three splits of a data set; no image is in two of them."""

    train: Split
    validation: Split
    test: Split


def load(name: str, *, seed: int, validation_fraction: float) -> Data:
    """Loads and splits a data set.

    The test split is the same for every seed. What is left is split into training and validation by `seed`. Both splits are
    stratified: they keep the shares of the classes.

    Args:
        name: Id of a registered data set, for example "digits".
        seed: Seed of the validation split, below 2**32.
        validation_fraction: Share of the images outside the test split that go to validation, in (0, 1).

    Raises:
        InvalidArgument: DATASET_UNKNOWN.
    """
    dataset = datasets.get(name)
    images, labels = _READERS[name]()
    rest, test = _split(np.arange(len(labels)), labels, dataset.test_images, _TEST_SPLIT_SEED)
    train, validation = _split(rest, labels, round(validation_fraction * len(rest)), seed)
    return Data(*(Split(images[rows], labels[rows]) for rows in (train, validation, test)))


def _split(
    rows: NDArray[np.int64], labels: NDArray[np.int64], size: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    kept, taken = train_test_split(rows, test_size=size, stratify=labels[rows], random_state=seed)
    return kept, taken


def _digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    bunch = load_digits()
    images = bunch.images[..., np.newaxis] / 16  # scikit-learn stores grey levels 0 to 16
    return images.astype(np.float32), bunch.target.astype(np.int64)


_READERS: Final[dict[str, Callable[[], tuple[NDArray[np.float32], NDArray[np.int64]]]]] = {"digits": _digits}
