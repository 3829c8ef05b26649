from __future__ import annotations

import os
import resource

import numpy as np
import pytest

from secateur.core.reports import ArtifactFormat, Measurement
from secateur.workers.engine.datasets import Data
from secateur.workers.engine.measure import LATENCY_IMAGES, arena_figures, figure_of, machine, measure_file, tflm_accuracy
from secateur.workers.engine.tflm import measure_arena
from tests.unit.workers.engine.conftest import Trained

INT8 = ArtifactFormat.LITERT_INT8


@pytest.fixture(scope="module")
def figures(trained: Trained, data: Data) -> tuple[Measurement, ...]:
    return measure_file(trained.int8, INT8, data.test, trained.outputs)


def _named(figures: tuple[Measurement, ...], name: str) -> Measurement:
    return next(figure for figure in figures if figure.name == name)


def test_flash_is_the_length_of_the_file(figures: tuple[Measurement, ...], trained: Trained) -> None:
    assert figure_of(figures, "flash_bytes", INT8) == len(trained.int8)


def test_accuracy_and_agreement_are_those_of_the_file_itself(
    figures: tuple[Measurement, ...], trained: Trained, data: Data
) -> None:
    keras_labels = trained.outputs.argmax(axis=1)
    accuracy, agreement = figure_of(figures, "accuracy", INT8), figure_of(figures, "keras_agreement", INT8)
    assert accuracy > 0.9
    assert abs(accuracy - (keras_labels == data.test.labels).mean()) <= 1 - agreement + 1e-9
    assert 0 < figure_of(figures, "keras_max_difference", INT8) < 1


def test_accuracy_notices_wrong_labels(trained: Trained, data: Data) -> None:
    wrong = type(data.test)(data.test.images, (data.test.labels + 1) % 10)
    assert figure_of(measure_file(trained.int8, INT8, wrong, trained.outputs), "accuracy", INT8) < 0.1


def test_latency_keeps_every_sample(figures: tuple[Measurement, ...]) -> None:
    latency = _named(figures, "latency_ms")
    assert len(latency.samples) == LATENCY_IMAGES
    assert latency.value == pytest.approx(np.median(latency.samples))
    assert 0 < latency.value <= figure_of(figures, "latency_p90_ms", INT8) <= figure_of(figures, "latency_p99_ms", INT8)


def test_memory_is_that_of_a_process_without_a_training_framework(figures: tuple[Measurement, ...]) -> None:
    peak, baseline = figure_of(figures, "process_peak_bytes", INT8), figure_of(figures, "process_baseline_bytes", INT8)
    ours = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert baseline <= peak < ours / 3


def test_every_figure_says_how_and_where_it_was_taken(figures: tuple[Measurement, ...]) -> None:
    for figure in figures:
        assert figure.method
        assert figure.machine == machine()
        assert figure.format is INT8
    assert os.uname().machine in machine()


def test_the_arena_is_reported_with_what_was_recorded(trained: Trained, data: Data) -> None:
    arena = measure_arena(trained.int8)
    figures = arena_figures(arena)
    assert figure_of(figures, "arena_bytes", INT8) == arena.smallest
    assert figure_of(figures, "arena_recorded_bytes", INT8) == arena.recorded
    assert tflm_accuracy(trained.int8, arena, data.test).value > 0.9
