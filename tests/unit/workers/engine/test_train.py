from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest

from secateur.core import recipes
from secateur.core.errors import FailedPrecondition, InvalidArgument
from secateur.core.graph import LayerGraph
from secateur.core.graph.assembly import Builder
from secateur.workers.engine.build import build_model
from secateur.workers.engine.checkpoints import Checkpoint
from secateur.workers.engine.datasets import Data
from secateur.workers.engine.precision import half_precision
from secateur.workers.engine.records import Epoch, Step, Training
from secateur.workers.engine.train import train
from tests.support.recipes_run import Outcome, outcome
from tests.support.stack import ROOT
from tests.support.training import QUICK
from tests.unit.workers.engine.conftest import Trained


def _train(
    graph: LayerGraph,
    data: Data,
    seed: int,
    *,
    resume: Checkpoint | None = None,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
    on_checkpoint: Callable[[Checkpoint], None] | None = None,
    **overrides: Any,
) -> tuple[Any, Training]:
    keras.utils.set_random_seed(seed)
    model = build_model(graph)
    recipe = replace(QUICK, **overrides)
    return model, train(model, data, recipe, seed=seed, resume=resume, on_epoch=on_epoch, on_checkpoint=on_checkpoint)


def test_a_short_recipe_reads_digits(trained: Trained, data: Data) -> None:
    assert (trained.outputs.argmax(axis=1) == data.test.labels).mean() > 0.9


def test_every_epoch_is_reported_in_order(trained: Trained) -> None:
    assert [epoch.number for epoch in trained.reported] == list(range(1, QUICK.epochs + 1))
    assert tuple(trained.reported) == trained.training.epochs
    assert {epoch.of for epoch in trained.reported} == {QUICK.epochs}
    assert trained.reported[-1].loss < trained.reported[0].loss
    first = trained.reported[0]
    # What starting took is left out of the estimate. Held against the first epoch: later ones may be slowed down by anything.
    assert trained.reported[-1].eta_seconds == 0 < first.eta_seconds < (QUICK.epochs - 1) * first.seconds


@pytest.mark.parametrize("steps", [1, 2])
def test_the_rate_is_told_of_the_shortest_epochs_too(data: Data, steps: int) -> None:
    images = len(data.train.labels)
    training = train(_fragile(), data, replace(QUICK, epochs=2, batch_size=images // steps), seed=0)
    for epoch in training.epochs:
        assert epoch.steps == steps
        assert images / steps / epoch.seconds < epoch.images_per_second < 1e8


def test_the_model_is_left_with_its_best_epoch(graph: LayerGraph, data: Data) -> None:
    # With wrong labels in the validation split, what the network learns makes it worse there: the last epoch is not the best.
    contrary = replace(data, validation=replace(data.validation, labels=(data.validation.labels + 1) % 10))
    model, training = _train(graph, contrary, seed=0, epochs=4)
    losses = [epoch.validation_loss for epoch in training.epochs]
    assert training.best.validation_loss == min(losses) < losses[-1]
    outputs = np.asarray(model(contrary.validation.images))
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=QUICK.label_smoothing)
    assert float(loss(np.eye(10)[contrary.validation.labels], outputs)) == pytest.approx(
        training.best.validation_loss, rel=1e-4
    )
    assert (outputs.argmax(axis=1) == contrary.validation.labels).mean() == pytest.approx(training.best.accuracy)


def test_a_training_that_diverges_starts_over_at_a_lower_rate(data: Data) -> None:
    model = _fragile()
    training = train(model, data, replace(QUICK, learning_rate=1.0, epochs=2), seed=0)
    assert training.restarts == 2
    assert [epoch.number for epoch in training.epochs] == [1, 2]
    assert np.isfinite(training.best.validation_loss)


def test_a_loss_that_is_no_number_at_any_rate_ends_the_training(data: Data) -> None:
    with pytest.raises(FailedPrecondition, match="lower it further") as failure:
        train(_fragile(), data, replace(QUICK, learning_rate=10.0, epochs=2), seed=0)
    assert (failure.value.reason, failure.value.field) == ("TRAINING_DIVERGED", "recipe.learning_rate")


def test_steps_are_told_and_never_a_loss_that_is_no_number(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secateur.workers.engine.train._STEP_SECONDS", 0.0)
    steps: list[Step] = []
    first, _ = train(_fragile(), data, replace(QUICK, epochs=2), seed=0, on_step=steps.append).epochs
    told = range(2, first.steps + 1)  # how fast it goes shows with the second
    assert [(step.before, step.number, step.of, step.epochs) for step in steps] == [
        (before, number, first.steps, 2) for before in (None, first) for number in told
    ]
    assert all(step.eta_seconds > 0 for step in steps[:-1])
    assert steps[-1].eta_seconds == 0
    with pytest.raises(FailedPrecondition, match="lower it further"):
        train(_fragile(), data, replace(QUICK, learning_rate=10.0, epochs=1), seed=0, on_step=steps.append)
    assert all(np.isfinite(step.loss) for step in steps)


@pytest.mark.parametrize(
    ("bias", "scale", "sign"), [(-1e3, 1.0, "every image gets the same answer"), (0.0, 1e6, "the loss grew without bound")]
)
def test_a_network_that_no_device_could_run_ends_the_training(data: Data, bias: float, scale: float, sign: str) -> None:
    """Its loss is a number all the time: dead units, and outputs out of all proportion."""
    hidden = keras.layers.Dense(8, "relu", bias_initializer=keras.initializers.Constant(bias))
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), hidden, keras.layers.Dense(10), keras.layers.Rescaling(scale)]
    with pytest.raises(FailedPrecondition, match=sign) as failure:
        train(keras.Sequential(layers), data, replace(QUICK, learning_rate=1e-6, epochs=1), seed=0)
    assert (failure.value.reason, failure.value.field) == ("TRAINING_DIVERGED", "recipe.learning_rate")


def test_training_ends_early_once_it_stalls(graph: LayerGraph, data: Data) -> None:
    contrary = replace(data, validation=replace(data.validation, labels=(data.validation.labels + 1) % 10))
    kept: list[Checkpoint] = []
    _, training = _train(graph, contrary, seed=0, on_checkpoint=kept.append, epochs=20, patience=2)
    assert len(training.epochs) == training.best.number + 2 < 20
    assert [checkpoint.finished for checkpoint in kept] == [False] * (len(kept) - 1) + [True]


def test_a_finished_training_is_taken_as_it_ended(graph: LayerGraph, data: Data) -> None:
    kept: list[Checkpoint] = []
    model, training = _train(graph, data, seed=0, on_checkpoint=kept.append, epochs=1)
    again, told = _train(graph, data, seed=0, resume=kept[-1], on_epoch=_refuse, epochs=1)
    assert told == training
    assert all(np.array_equal(*pair) for pair in zip(model.get_weights(), again.get_weights(), strict=True))


def test_a_teacher_answers_without_its_dropout(data: Data) -> None:
    teacher = _dropping_out()
    train(teacher, data, replace(QUICK, epochs=1), seed=0)
    taught = [_dropping_out() for _ in range(2)]
    trainings = [train(model, data, replace(QUICK, epochs=1, distillation=0.9), seed=0, teacher=teacher) for model in taught]
    assert trainings[0].best.loss == trainings[1].best.loss  # of draws, the teacher would make others the second time
    assert all(np.array_equal(*pair) for pair in zip(*(model.get_weights() for model in taught), strict=True))


def test_a_checkpoint_of_another_network_is_refused(data: Data) -> None:
    kept: list[Checkpoint] = []
    train(_fragile(), data, replace(QUICK, epochs=2), seed=0, on_checkpoint=kept.append)
    with pytest.raises(InvalidArgument, match="same network") as refused:
        train(_fragile(units=24), data, replace(QUICK, epochs=2), seed=0, resume=kept[0])
    assert refused.value.reason == "CHECKPOINT_MISMATCH"


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 no archive", b"x" * 100])
def test_bytes_that_are_no_checkpoint_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidArgument, match=f"{len(data)} bytes") as refused:
        Checkpoint.read(data)
    assert refused.value.reason == "CHECKPOINT_MISMATCH"


def test_half_precision_ends_with_the_block(graph: LayerGraph) -> None:
    model = build_model(graph)
    images = np.zeros((2, *model.input_shape[1:]), np.float32)
    with half_precision(model):
        assert {layer.compute_dtype for layer in model.layers[1:-1]} == {"bfloat16"}
        assert model(images).dtype == "float32"
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    assert {weight.dtype for weight in model.weights} == {"float32"}


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_every_recipe_learns_and_resumes_on_both_backends(backend: str, data: Data) -> None:
    found = outcome(data) if backend == keras.backend.backend() else _outcome_on(backend)
    assert set(found.accuracies) == set(recipes.RECIPES)
    assert min(found.accuracies.values()) > 0.9
    assert found.rounded_accuracy > 0.9
    assert found.rounding_trains
    assert found.resumed_alike


def _outcome_on(backend: str) -> Outcome:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.recipes_run"],
        cwd=ROOT,
        # Most of what JAX does here is to compile: every network and every step anew.
        env={**os.environ, "KERAS_BACKEND": backend, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        stdout=subprocess.PIPE,
        check=True,
    )
    return Outcome(**json.loads(done.stdout))


def _refuse(epoch: Epoch) -> None:
    raise AssertionError(f"An epoch was trained again: {epoch.number}")


def _dropping_out() -> keras.Model:
    net = Builder("dropping", (8, 8, 1))
    net.add("Flatten", "flatten")
    net.add("Dense", "hidden", units=16)
    net.add("Dropout", "dropout", rate=0.5)
    net.add("Dense", "logits", units=10)
    keras.utils.set_random_seed(0)
    return build_model(net.build())


def _fragile(units: int = 16) -> keras.Model:
    """A network without normalisation, which large rates make overflow."""
    net = Builder("fragile", (8, 8, 1))
    net.add("Flatten", "flatten")
    for number in range(3):
        net.add("Dense", f"dense{number}", units=units, activation="linear")
    net.add("Dense", "logits", units=10)
    keras.utils.set_random_seed(0)
    return build_model(net.build())
