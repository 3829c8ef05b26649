"""Statistics of batch normalisations."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from secateur.workers.engine.recalibrate import recalibrate, statistics_over


@pytest.fixture
def model() -> keras.Model:
    return keras.Sequential([keras.Input((2, 2, 3)), keras.layers.BatchNormalization(momentum=0.99, name="bn")])


@pytest.mark.parametrize(("count", "used"), [(10, 10), (64, 64), (127, 64), (128, 128), (200, 192)])
def test_they_become_the_means_of_all_whole_batches(model: keras.Model, count: int, used: int) -> None:
    images = (
        np.random.default_rng(0).normal(3, 2, (count, 2, 2, 3)).astype(np.float32)
        * np.arange(1, count + 1)[:, None, None, None]
    )
    images = images.astype(np.float32)
    recalibrate(model, images)
    batches = [images[start : min(start + 64, used)] for start in range(0, used, 64)]
    layer = model.get_layer("bn")
    np.testing.assert_allclose(layer.moving_mean, np.mean([batch.mean((0, 1, 2)) for batch in batches], axis=0), rtol=1e-4)
    np.testing.assert_allclose(layer.moving_variance, np.mean([batch.var((0, 1, 2)) for batch in batches], axis=0), rtol=1e-4)
    assert layer.momentum == 0.99


@pytest.mark.parametrize(("steps", "momentum"), [(1, 0.9), (10, 0.9), (50, 0.98), (100, 0.99), (10_000, 0.99)])
def test_they_average_over_a_training_that_is_short(model: keras.Model, steps: int, momentum: float) -> None:
    layer = model.get_layer("bn")
    with statistics_over(model, steps):
        assert layer.momentum == pytest.approx(momentum)
    assert layer.momentum == 0.99
