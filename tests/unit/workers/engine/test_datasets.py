from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from secateur.core import datasets as registry
from secateur.core.datasets import content
from secateur.core.errors import FailedPrecondition, InvalidArgument
from secateur.core.resources import Budget
from secateur.workers.engine.datasets import Data, DatasetSources, Split, load, load_for
from tests.support.datasets import arrays, npz
from tests.support.training import quick_job, small_network

NAME = content("0" * 64)


def _bytes(*splits: Split) -> list[bytes]:
    return sorted(image.tobytes() for split in splits for image in split.images)


def test_sizes_and_shapes_are_those_of_the_registry(data: Data) -> None:
    registered = registry.get("digits")
    assert len(data.train) + len(data.validation) == registered.train_images
    assert len(data.validation) == round(0.1 * registered.train_images)
    assert len(data.test) == registered.test_images
    for split in (data.train, data.validation, data.test):
        assert split.images.shape[1:] == registered.input_shape
        assert split.images.dtype == np.float32
        assert (split.images.min(), split.images.max()) == (0, 1)
        assert (split.first(3) == split.images[:3]).all()
        assert set(split.labels) == set(range(registered.classes))


def test_the_seed_moves_images_between_training_and_validation_but_never_into_the_test_split(data: Data) -> None:
    other = load("digits", seed=1, validation_fraction=0.1)
    assert (other.test.images == data.test.images).all()
    assert (other.test.labels == data.test.labels).all()
    assert _bytes(other.validation) != _bytes(data.validation)
    assert _bytes(other.train, other.validation) == _bytes(data.train, data.validation)


def test_the_test_split_that_published_accuracies_refer_to_is_the_same_for_ever(data: Data) -> None:
    digest = hashlib.sha256(data.test.pixels.tobytes() + data.test.labels.astype("<i8").tobytes()).hexdigest()
    assert digest == "a2fc2790f951761efa3de96d98e5fd3fec1bfbc4ef550eb2193c8e5117cf4c96"


def test_the_same_seed_gives_the_same_split(data: Data) -> None:
    again = load("digits", seed=0, validation_fraction=0.1)
    assert (again.train.images == data.train.images).all()
    assert (again.validation.labels == data.validation.labels).all()


def test_splits_keep_the_shares_of_the_classes(data: Data) -> None:
    whole = np.concatenate([data.train.labels, data.validation.labels, data.test.labels])
    for split in (data.validation, data.test):
        expected = np.bincount(whole) * len(split) / len(whole)
        assert np.abs(np.bincount(split.labels) - expected).max() <= 1


def test_an_unknown_data_set_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="digits") as refusal:
        load("nosuch", seed=0, validation_fraction=0.1)
    assert refusal.value.reason == "DATASET_UNKNOWN"


@pytest.fixture
def uploaded(tmp_path: Path) -> Callable[[dict[str, Any]], DatasetSources]:
    """Makes an uploaded set of arrays: the one that every digest stands for."""

    def save(found: dict[str, Any]) -> DatasetSources:
        path = tmp_path / "uploaded.npz"
        path.write_bytes(npz(found))
        return DatasetSources(uploaded=lambda _: path)

    return save


def test_an_uploaded_set_keeps_its_test_split(uploaded: Callable[[dict[str, Any]], DatasetSources]) -> None:
    found = arrays(60, 9)
    data = load(NAME, seed=0, validation_fraction=0.1, sources=uploaded(found))
    assert (data.test.pixels == found["x_test"]).all()
    assert (data.test.labels == found["y_test"]).all()
    assert (len(data.train), len(data.validation)) == (54, 6)
    assert set(data.validation.labels) == {0, 1, 2}
    assert data.train.pixels.dtype == np.uint8


def test_without_one_a_fifth_becomes_the_test_split_of_every_seed(uploaded: Callable[[dict[str, Any]], DatasetSources]) -> None:
    sources = uploaded(arrays(100))
    one, other = (load(NAME, seed=seed, validation_fraction=0.1, sources=sources) for seed in (0, 1))
    assert len(one.test) == registry.drawn_test_images(100) == 20
    assert (one.test.pixels == other.test.pixels).all()
    assert _bytes(one.train) != _bytes(other.train)
    assert _bytes(one.train, one.validation) == _bytes(other.train, other.validation)


def test_grey_images_get_their_channel_and_labels_in_columns_are_labels(
    uploaded: Callable[[dict[str, Any]], DatasetSources],
) -> None:
    found = arrays(60, 9)
    flat = {name: value[..., 0] if name.startswith("x_") else value[:, None].astype(">i2") for name, value in found.items()}
    data, expected = (load(NAME, seed=0, validation_fraction=0.1, sources=uploaded(each)) for each in (flat, found))
    assert (data.train.pixels == expected.train.pixels).all()
    assert (data.train.labels == expected.train.labels).all()
    assert data.test.labels.dtype == np.int64


def test_a_split_that_would_miss_a_class_is_refused(uploaded: Callable[[dict[str, Any]], DatasetSources]) -> None:
    found = arrays(60, 9)
    for fraction in (0.01, 0.99):
        with pytest.raises(FailedPrecondition, match="every class") as caught:
            load(NAME, seed=0, validation_fraction=fraction, sources=uploaded(found))
        assert caught.value.reason == "DATASET_CLASS_MISSING"
    for count, fraction, problem in (
        (1, 0.1, "the smallest of 1 images"),
        (4, 0.1, "a split of 6 images, none of them of class 2"),
        (4, 0.9, "a split of 6 images, none of them of class 2"),
    ):
        rare = {**found, "y_train": np.array([0] * (30 - count) + [1] * 30 + [2] * count)}
        with pytest.raises(FailedPrecondition, match=problem):
            load(NAME, seed=0, validation_fraction=fraction, sources=uploaded(rare))


@pytest.mark.parametrize(("fraction", "images"), [(0.05, 3), (0.95, 57), (0.108, 6), (0.109, 7)])
def test_as_few_images_as_there_are_classes_make_a_split(
    uploaded: Callable[[dict[str, Any]], DatasetSources], fraction: float, images: int
) -> None:
    data = load(NAME, seed=0, validation_fraction=fraction, sources=uploaded(arrays(60, 9)))
    assert len(data.validation) == images
    for split in (data.train, data.validation):
        assert set(split.labels) == {0, 1, 2}


def test_a_job_loads_what_its_network_fits(uploaded: Callable[[dict[str, Any]], DatasetSources]) -> None:
    digits = load_digits()
    pixels = (digits.images * 15.9375).astype(np.uint8)
    job = replace(quick_job(Budget.of(flash_bytes=12_000)), dataset=NAME)
    sources = uploaded({"x_train": pixels, "y_train": digits.target})
    data = load_for(small_network(), job, sources)
    assert len(data.test) == registry.drawn_test_images(1_797)
    other = load_for(small_network(), replace(job, seed=1), sources)
    assert _bytes(other.validation) != _bytes(data.validation)
    job = replace(job, recipe=replace(job.recipe, validation_fraction=0.2))
    assert len(load_for(small_network(), job, sources).validation) == round(0.2 * (1_797 - len(data.test)))
    with pytest.raises(InvalidArgument) as caught:
        load_for(small_network(), job, uploaded(arrays(60)))
    assert caught.value.reason == "DATASET_SHAPE_MISMATCH"


def test_an_uploaded_set_that_cannot_be_had_is_unavailable() -> None:
    with pytest.raises(FailedPrecondition) as caught:
        load(NAME, seed=0, validation_fraction=0.1)
    assert caught.value.reason == "DATASET_UNAVAILABLE"


def test_a_registered_set_is_read_from_the_folder_of_the_setting(tmp_path: Path) -> None:
    registered = registry.get("fashion_mnist")
    shapes = {"train": registered.train_images, "test": registered.test_images}
    found: dict[str, Any] = {f"x_{part}": np.zeros((count, 28, 28), np.uint8) for part, count in shapes.items()}
    found |= {f"y_{part}": (np.arange(count)[:, None] % 10).astype(np.uint8) for part, count in shapes.items()}  # as of CIFAR
    np.savez_compressed(tmp_path / "fashion_mnist.npz", **found)
    data = load("fashion_mnist", seed=0, validation_fraction=0.1, sources=DatasetSources(tmp_path))
    assert (len(data.train), len(data.validation), len(data.test)) == (54_000, 6_000, 10_000)
    assert (data.test.pixels.shape, data.test.labels.shape) == ((10_000, 28, 28, 1), (10_000,))

    np.savez_compressed(tmp_path / "fashion_mnist.npz", **{**found, "y_test": found["y_test"] % 9})
    with pytest.raises(FailedPrecondition, match="9 different ones") as caught:
        load("fashion_mnist", seed=0, validation_fraction=0.1, sources=DatasetSources(tmp_path))
    assert caught.value.reason == "DATASET_CORRUPT"


def _resaved(**changed: Any) -> bytes:
    found = {**arrays(60, 30, side=28), "y_train": np.arange(60) % 10, "y_test": np.arange(30) % 10, **changed}
    return npz({name: value for name, value in found.items() if value is not None}, pickled=True)


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        (b"<html>404</html>", "without readable x_train"),
        (_resaved()[:2_000], "without readable x_train"),
        (_resaved(x_test=None), "without readable x_train"),
        (_resaved(y_test=np.array([{}] * 30, dtype=object)), "without readable x_train"),
        (_resaved(x_train=np.zeros((60, 28, 28), np.float32)), "images of type float32"),
        (_resaved(x_test=np.zeros((30, 27, 28), np.uint8)), r"shape \(30, 27, 28\)"),
        (_resaved(y_train=np.arange(60)[:, None] % 11), "labels from 0 to 10, 11 different"),
        (_resaved(y_test=np.arange(30)[:, None] % 10), "60 training and 30 test images"),
    ],
)
def test_a_file_of_a_registered_set_that_is_none_is_corrupt(tmp_path: Path, file: bytes, problem: str) -> None:
    (tmp_path / "fashion_mnist.npz").write_bytes(file)
    with pytest.raises(FailedPrecondition, match=f"fetch the file again.*Received: .*{problem}") as caught:
        load("fashion_mnist", seed=0, validation_fraction=0.1, sources=DatasetSources(tmp_path))
    assert caught.value.reason == "DATASET_CORRUPT"


class _Trap:
    """Makes a file where it is unpickled."""

    def __init__(self, made: Path) -> None:
        self._made = made

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._made,)


def test_nothing_is_ever_unpickled(tmp_path: Path) -> None:
    found = {**arrays(60, 30), "y_train": np.array([_Trap(tmp_path / "made")] * 60, dtype=object)}
    (tmp_path / "fashion_mnist.npz").write_bytes(npz(found, pickled=True))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        load(NAME, seed=0, validation_fraction=0.1, sources=DatasetSources(uploaded=lambda _: tmp_path / "fashion_mnist.npz"))
    with pytest.raises(FailedPrecondition):
        load("fashion_mnist", seed=0, validation_fraction=0.1, sources=DatasetSources(tmp_path))
    assert not (tmp_path / "made").exists()
