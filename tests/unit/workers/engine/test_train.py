from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest

from secateur.core.errors import FailedPrecondition
from secateur.core.graph import LayerGraph
from secateur.workers.engine.build import build_model
from secateur.workers.engine.datasets import Data
from secateur.workers.engine.train import Training, train
from tests.support.training import QUICK
from tests.unit.workers.engine.conftest import Trained


def _train(graph: LayerGraph, data: Data, seed: int, **overrides: Any) -> tuple[Any, Training]:
    keras.utils.set_random_seed(seed)
    model = build_model(graph)
    return model, train(model, data, replace(QUICK, **overrides), seed=seed)


def test_a_short_recipe_reads_digits(trained: Trained, data: Data) -> None:
    assert (trained.outputs.argmax(axis=1) == data.test.labels).mean() > 0.9


def test_every_epoch_is_reported_in_order(trained: Trained) -> None:
    assert [epoch.number for epoch in trained.reported] == list(range(1, QUICK.epochs + 1))
    assert tuple(trained.reported) == trained.training.epochs
    assert {epoch.of for epoch in trained.reported} == {QUICK.epochs}
    assert trained.reported[-1].loss < trained.reported[0].loss
    assert trained.reported[-1].eta_seconds == 0 < trained.reported[0].eta_seconds < trained.training.seconds


def test_the_model_is_left_with_its_best_epoch(graph: LayerGraph, data: Data) -> None:
    # With wrong labels in the validation split, what the network learns makes it worse there: the last epoch is not the best.
    contrary = replace(data, validation=replace(data.validation, labels=(data.validation.labels + 1) % 10))
    model, training = _train(graph, contrary, seed=0, epochs=4)
    losses = [epoch.validation_loss for epoch in training.epochs]
    assert training.best.validation_loss == min(losses) < losses[-1]
    loss, accuracy = model.evaluate(contrary.validation.images, np.eye(10)[contrary.validation.labels], verbose=0)
    assert loss == pytest.approx(training.best.validation_loss, rel=1e-4)
    assert accuracy == pytest.approx(training.best.accuracy)


def test_a_loss_that_is_no_number_ends_the_training(graph: LayerGraph, data: Data) -> None:
    with pytest.raises(FailedPrecondition, match="lower the learning rate") as failure:
        _train(graph, data, seed=0, learning_rate=1e30, epochs=3)
    assert failure.value.reason == "TRAINING_DIVERGED"
