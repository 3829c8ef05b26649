"""Optimizers of recipes: what a step does to a weight."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest

from secateur.core.specs import OptimizerKind, Recipe, Schedule
from secateur.workers.engine.schedules import optimizer_of
from tests.support.training import QUICK

PLAIN = replace(QUICK, schedule=Schedule.CONSTANT, weight_decay=0.0, average_epochs=0.0)


def rates(schedule: Schedule, steps: int) -> list[float]:
    """Learning rates of the steps of a training, as shares of the peak."""
    optimizer = optimizer_of(replace(PLAIN, schedule=schedule), 1.0, steps=steps, average_steps=1)
    weight = keras.Variable(np.ones(1), name="kernel")
    found = []
    for _ in range(steps):
        optimizer.apply([np.zeros(1, np.float32)], [weight])
        found.append(float(optimizer.learning_rate))
    return found


def changed(recipe: Recipe, *names: str, steps: int = 1, gradient: float = 1.0) -> tuple[Any, list[float]]:
    """An optimizer after some steps at a rate of 0.1, and by how much weights of 1 were changed."""
    optimizer = optimizer_of(recipe, 0.1, steps=steps, average_steps=20)
    weights = [keras.Variable(np.ones(1), name=name) for name in names]
    for _ in range(steps):
        optimizer.apply([np.full(1, gradient, np.float32) for _ in weights], weights)
    return optimizer, [float(weight[0]) - 1 for weight in weights]


def test_one_cycle_rises_on_a_line_and_falls_on_a_cosine() -> None:
    found = rates(Schedule.ONE_CYCLE, 100)
    assert found[:15] == pytest.approx([step / 15 for step in range(1, 16)])
    assert found[15:] == pytest.approx([(1 + math.cos(math.pi * step / 85)) / 2 for step in range(1, 86)], abs=1e-6)


@pytest.mark.parametrize(("steps", "expected"), [(1, [1]), (2, [1, 0]), (3, [1, 0.5, 0])])
def test_the_shortest_cycles_reach_their_peak(steps: int, expected: list[float]) -> None:
    assert rates(Schedule.ONE_CYCLE, steps) == pytest.approx(expected, abs=1e-6)


def test_a_cosine_starts_at_its_peak_and_a_constant_stays_there() -> None:
    assert rates(Schedule.COSINE, 10) == pytest.approx([(1 + math.cos(math.pi * step / 10)) / 2 for step in range(10)])
    assert rates(Schedule.CONSTANT, 3) == [1, 1, 1]


def test_sgd_has_nesterov_momentum() -> None:
    _, (change,) = changed(PLAIN, "kernel", steps=2)
    assert change == pytest.approx(-0.1 * (1.9 + 1 + 0.9 * 1.9))


def test_rmsprop_divides_by_the_size_of_gradients() -> None:
    _, (change,) = changed(replace(PLAIN, optimizer=OptimizerKind.RMSPROP), "kernel", gradient=7.0)
    assert change == pytest.approx(-0.1 / math.sqrt(0.1), rel=1e-4)


def test_kernels_alone_decay() -> None:
    _, changes = changed(replace(PLAIN, weight_decay=0.5), "kernel", "depthwise_kernel", "bias", "gamma", "beta", gradient=0.0)
    assert changes == pytest.approx([-0.05, -0.05, 0, 0, 0])


def test_weights_are_averaged_where_the_recipe_says_so() -> None:
    averaging, _ = changed(replace(PLAIN, average_epochs=1.0), "kernel")
    assert (averaging.use_ema, averaging.ema_momentum) == (True, pytest.approx(0.95))
    assert optimizer_of(replace(PLAIN, average_epochs=1.0), 0.1, steps=1, average_steps=1).ema_momentum == 0.5
    assert not changed(PLAIN, "kernel")[0].use_ema
