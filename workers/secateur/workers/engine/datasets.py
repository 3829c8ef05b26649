"""Data sets as arrays, split for training, validation and test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from secateur.core import datasets
from secateur.core.datasets import Dataset
from secateur.core.errors import FailedPrecondition
from secateur.core.graph import LayerGraph
from secateur.core.specs import JobSpec

_TEST_SPLIT_SEED: Final = 0
"""Seed of the test split of sets that come without one. Never change it: every published accuracy refers to this split."""


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Labelled images.

    Args:
        pixels: Uint8, shape (n, height, width, channels).
        labels: Int64, shape (n,), values in [0, classes).
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def images(self) -> NDArray[np.float32]:
        """The images as networks take them: float32 in [0, 1], shape (n, height, width, channels). Made anew by every call."""
        return _as_floats(self.pixels)

    def first(self, count: int) -> NDArray[np.float32]:
        """Returns the first so many of `images` without making the others."""
        return _as_floats(self.pixels[:count])


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """The three splits of a data set; no image is in two of them."""

    train: Split
    validation: Split
    test: Split


@dataclass(frozen=True, slots=True)
class DatasetSources:
    """Where data sets are read from.

    Args:
        folder: Where `{name}.npz` of a registered set is looked for first, with the arrays x_train, y_train, x_test and y_test
            that keras.datasets would return. None, or no such file: Keras downloads the set.
        uploaded: Returns the file of an uploaded set by its SHA-256, hexadecimal. None where there are none.
    """

    folder: Path | None = None
    uploaded: Callable[[str], Path] | None = None


def load(name: str, *, seed: int, validation_fraction: float, sources: DatasetSources = DatasetSources()) -> Data:
    """Loads and splits a data set.

    The test split is the same for every seed: the published or uploaded one, where there is one. What is left is split into
    training and validation by `seed`. Splits that are drawn are stratified: they keep the shares of the classes.

    Args:
        name: What the spec of a job calls it: the id of a registered data set, for example "cifar10", or the content of an
            uploaded one.
        seed: Seed of the validation split, below 2**32.
        validation_fraction: Share of the images outside the test split that go to validation, in (0, 1).
        sources: Where it is read from.

    Raises:
        InvalidArgument: DATASET_UNKNOWN.
        NotFound: BLOB_MISSING, if the file of an uploaded set is gone.
        FailedPrecondition: DATASET_UNAVAILABLE, if there is no file and Keras cannot download it; DATASET_CORRUPT, if the file
            does not hold what it should; DATASET_CLASS_MISSING, if a split would have no image of some class.
    """
    _, rest, test = _read(name, sources)
    return _with_validation(rest, test, seed=seed, fraction=validation_fraction)


def load_for(graph: LayerGraph, spec: JobSpec, sources: DatasetSources) -> Data:
    """Loads and splits the data set of a job.

    Args:
        graph: The architecture of the job.
        spec: The job.
        sources: Where the data set is read from.

    Raises:
        InvalidArgument: DATASET_SHAPE_MISMATCH, if the architecture does not fit it; DATASET_UNKNOWN.
        SecateurError: As `load` does.
    """
    dataset, rest, test = _read(spec.dataset, sources)
    datasets.check_fits(graph, dataset)
    return _with_validation(rest, test, seed=spec.seed, fraction=spec.recipe.validation_fraction)


def _read(name: str, sources: DatasetSources) -> tuple[Dataset, Split, Split]:
    """Returns the facts of a data set, what is not its test split, and its test split."""
    digest = datasets.digest_of_content(name)
    if digest is not None:
        return _uploaded(name, digest, sources)
    dataset = datasets.get(name)
    rest, test = _digits() if name == "digits" else _published(dataset, sources.folder)
    return dataset, rest, test


def _with_validation(rest: Split, test: Split, *, seed: int, fraction: float) -> Data:
    train, validation = _split(rest.labels, round(fraction * len(rest)), seed)
    return Data(_at(rest, train), _at(rest, validation), test)


def _as_floats(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return pixels.astype(np.float32) / np.float32(255)


def _at(split: Split, rows: NDArray[np.int64]) -> Split:
    return Split(split.pixels[rows], split.labels[rows])


def _split(labels: NDArray[np.int64], size: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draws rows, stratified; returns those that are left and those that were drawn."""
    classes, counts = np.unique(labels, return_counts=True)
    if not (counts.min() >= 2 and len(classes) <= size <= len(labels) - len(classes)):
        raise _class_missing(f"{size} of {len(labels)} images, {len(classes)} classes, the smallest of {counts.min()} images")
    kept, taken = train_test_split(np.arange(len(labels)), test_size=size, stratify=labels, random_state=seed)
    for rows in (kept, taken):
        missing = np.setdiff1d(classes, labels[rows])
        if len(missing):
            raise _class_missing(f"a split of {len(rows)} images, none of them of class {missing[0]}")
    return kept, taken


def _class_missing(received: str) -> FailedPrecondition:
    return FailedPrecondition(
        "DATASET_CLASS_MISSING",
        f"Every split needs images of every class; keep a larger share for validation, or upload more images of small classes. "
        f"Received: {received}",
        field="dataset",
    )


def _uploaded(name: str, digest: str, sources: DatasetSources) -> tuple[Dataset, Split, Split]:
    if sources.uploaded is None:
        raise FailedPrecondition(
            "DATASET_UNAVAILABLE", f"Uploaded data sets cannot be read here. Received: {name}", field="dataset"
        )
    # The server has checked every array of it, and the digest tells that it is the same file.
    with np.load(sources.uploaded(digest), allow_pickle=False) as file:
        rest, *given = [_as_split(file[f"x_{part}"], file[f"y_{part}"]) for part in ("train", "test") if f"x_{part}" in file]
    if given:
        (test,) = given
    else:
        kept, taken = _split(rest.labels, datasets.drawn_test_images(len(rest)), _TEST_SPLIT_SEED)
        rest, test = _at(rest, kept), _at(rest, taken)
    height, width, channels = rest.pixels.shape[1:]
    classes = 1 + int(rest.labels.max())
    return Dataset(name, name, (height, width, channels), classes, len(rest), len(test)), rest, test


def _as_split(pixels: NDArray[np.uint8], labels: NDArray[Any]) -> Split:
    shaped = pixels if pixels.ndim == 4 else pixels[..., np.newaxis]  # grey images may come without channels
    return Split(np.ascontiguousarray(shaped), labels.reshape(-1).astype(np.int64))


def _digits() -> tuple[Split, Split]:
    bunch = load_digits()
    pixels = np.round(bunch.images[..., np.newaxis] * (255 / 16)).astype(np.uint8)  # scikit-learn stores grey levels 0 to 16
    everything = Split(pixels, bunch.target.astype(np.int64))
    size = datasets.get("digits").test_images
    rest, test = _split(everything.labels, size, _TEST_SPLIT_SEED)
    return _at(everything, rest), _at(everything, test)


def _published(dataset: Dataset, folder: Path | None) -> tuple[Split, Split]:
    path = folder / f"{dataset.name}.npz" if folder else None
    if path and path.exists():
        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                arrays = [file[name] for name in ("x_train", "y_train", "x_test", "y_test")]
        except (OSError, MemoryError):  # the machine's failure, not the file's
            raise
        except Exception as error:  # zipfile, zlib and NumPy each raise their own
            raise _corrupt(
                dataset, f"a file without readable x_train, y_train, x_test and y_test ({type(error).__name__})"
            ) from error
    else:
        arrays = _downloaded(dataset.name, path)
    sides = [_checked(dataset, pixels, labels) for pixels, labels in (arrays[:2], arrays[2:])]
    if [len(side) for side in sides] != [dataset.train_images, dataset.test_images]:
        raise _corrupt(dataset, f"{len(sides[0])} training and {len(sides[1])} test images")
    return sides[0], sides[1]


def _downloaded(name: str, path: Path | None) -> list[NDArray[Any]]:
    try:
        (train, train_labels), (test, test_labels) = _KERAS[name]()
    except (OSError, MemoryError):  # the machine's failure, or a connection's that broke
        raise
    except Exception as error:  # tarfile, NumPy and Keras, for an address out of reach, each raise their own
        looked = f"there is no {path}" if path else "SECATEUR_DATASETS_DIR names no folder"
        raise FailedPrecondition(
            "DATASET_UNAVAILABLE",
            f"{name} can neither be read nor downloaded on this worker; put {name}.npz into the folder that "
            f"SECATEUR_DATASETS_DIR names. Received: {looked}, and the download failed: {error}",
            field="dataset",
        ) from error
    return [train, train_labels, test, test_labels]


def _checked(dataset: Dataset, pixels: NDArray[Any], labels: NDArray[Any]) -> Split:
    shape = (len(labels), *dataset.input_shape)
    if pixels.dtype != np.uint8 or pixels.size != np.prod(shape):
        raise _corrupt(dataset, f"images of type {pixels.dtype} and shape {pixels.shape} for {len(labels)} labels")
    classes = labels.reshape(-1).astype(np.int64)
    if not np.array_equal(np.unique(classes), np.arange(dataset.classes)):
        raise _corrupt(dataset, f"labels from {classes.min()} to {classes.max()}, {len(np.unique(classes))} different ones")
    return Split(pixels.reshape(shape), classes)


def _corrupt(dataset: Dataset, received: str) -> FailedPrecondition:
    return FailedPrecondition(
        "DATASET_CORRUPT",
        f"{dataset.name} has {dataset.train_images:,} training and {dataset.test_images:,} test images of shape "
        f"{list(dataset.input_shape)} as uint8, and labels 0 to {dataset.classes - 1}; fetch the file again. "
        f"Received: {received}",
        field="dataset",
    )


_KERAS: Final[dict[str, Callable[[], Any]]] = {
    "cifar10": keras.datasets.cifar10.load_data,
    "cifar100": keras.datasets.cifar100.load_data,
    "fashion_mnist": keras.datasets.fashion_mnist.load_data,
}
