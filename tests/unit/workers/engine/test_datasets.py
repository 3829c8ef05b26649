from __future__ import annotations

import numpy as np
import pytest

from secateur.core import datasets as registry
from secateur.core.errors import InvalidArgument
from secateur.workers.engine.datasets import Data, Split, load


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
        assert 0 <= split.images.min() < split.images.max() <= 1
        assert set(split.labels) == set(range(registered.classes))


def test_the_seed_moves_images_between_training_and_validation_but_never_into_the_test_split(data: Data) -> None:
    other = load("digits", seed=1, validation_fraction=0.1)
    assert (other.test.images == data.test.images).all()
    assert (other.test.labels == data.test.labels).all()
    assert _bytes(other.validation) != _bytes(data.validation)
    assert _bytes(other.train, other.validation) == _bytes(data.train, data.validation)


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
