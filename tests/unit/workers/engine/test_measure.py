from __future__ import annotations

import os
import resource

import numpy as np
import psutil
import pytest

from secateur.core.cost import cost_of
from secateur.core.reports import ArtifactFormat, Measurement
from secateur.workers.engine.datasets import Data, Split
from secateur.workers.engine.measure import (
    LATENCY_IMAGES,
    TFLM_IMAGES,
    Measured,
    arena_figures,
    comparison,
    energy_figures,
    figure_of,
    machine,
    measure_file,
    peak_resident_bytes,
    tflm_figures,
    training_figures,
)
from secateur.workers.engine.records import Epoch, Training
from secateur.workers.engine.tflm import measure_arena
from tests.support.training import small_network
from tests.unit.workers.engine.conftest import Trained

INT8 = ArtifactFormat.LITERT_INT8


@pytest.fixture(scope="module")
def measured(trained: Trained, data: Data) -> Measured:
    return measure_file(trained.int8, INT8, data.test, trained.outputs, trained.exported.layer_of)


@pytest.fixture(scope="module")
def figures(measured: Measured) -> tuple[Measurement, ...]:
    return measured.figures


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
    largest, mean = figure_of(figures, "keras_max_difference", INT8), figure_of(figures, "keras_mean_difference", INT8)
    assert 0 < mean < largest < 1


def test_accuracy_notices_wrong_labels(trained: Trained, data: Data) -> None:
    wrong = Split(data.test.pixels, (data.test.labels + 1) % 10)
    figures = comparison(trained.outputs, INT8, wrong, trained.outputs, method="")
    assert figure_of(figures, "accuracy", INT8) < 0.1


def test_latency_keeps_every_sample(figures: tuple[Measurement, ...]) -> None:
    latency = _named(figures, "latency_ms")
    assert len(latency.samples) == LATENCY_IMAGES
    assert latency.value == pytest.approx(np.median(latency.samples))
    assert 0 < latency.value <= figure_of(figures, "latency_p90_ms", INT8) <= figure_of(figures, "latency_p99_ms", INT8)


def test_memory_is_that_of_a_process_without_a_training_framework(
    figures: tuple[Measurement, ...], trained: Trained, data: Data
) -> None:
    peak, baseline = figure_of(figures, "process_peak_bytes", INT8), figure_of(figures, "process_baseline_bytes", INT8)
    ours = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert baseline < peak < ours / 3
    assert peak_resident_bytes(trained.int8, data.test.first(1)) > (baseline + peak) / 2


def test_a_run_uses_one_core_and_little_memory(figures: tuple[Measurement, ...]) -> None:
    latency = _named(figures, "latency_ms").samples
    assert sum(latency) <= figure_of(figures, "run_ms", INT8)
    assert min(latency) < figure_of(figures, "load_ms", INT8) < 10_000
    assert 0 < figure_of(figures, "processor_share", INT8) <= 1.1 / len(os.sched_getaffinity(0))
    resident = figure_of(figures, "memory_share", INT8) * psutil.virtual_memory().total
    assert 0.5 < resident / figure_of(figures, "process_peak_bytes", INT8) < 1.1


def test_threads_of_numpy_that_wait_are_not_charged_to_the_model(
    trained: Trained, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENBLAS_THREAD_TIMEOUT", "30")  # they spin for 2**30 cycles before they sleep
    figures = measure_file(trained.int8, INT8, data.test, trained.outputs).figures
    assert figure_of(figures, "processor_ms", INT8) <= 1.1 * figure_of(figures, "run_ms", INT8)


def test_operators_are_timed_and_named_after_their_layers(measured: Measured) -> None:
    profile = measured.operators
    assert profile.format is INT8
    assert [(each.operator, each.layer) for each in profile.operators] == [
        ("CONV_2D", "block0_relu"),
        ("CONV_2D", "block1_relu"),
        ("CONV_2D", "block2_relu"),
        ("MEAN", "pool"),
        ("FULLY_CONNECTED", "logits"),
    ]
    assert profile.operators[0].output_shape == (1, 8, 8, 16)
    total = sum(each.milliseconds for each in profile.operators)
    assert 0.2 < total / figure_of(measured.figures, "latency_ms", INT8) < 5


def test_int8_needs_less_energy_and_the_paper_less_still() -> None:
    cost = cost_of(small_network())
    figures = energy_figures(cost)
    kinds = (INT8, ArtifactFormat.LITERT_FLOAT32, ArtifactFormat.LITERT_FLOAT16)
    int8, floats, halves = (figure_of(figures, "energy_horowitz_uj", kind) for kind in kinds)
    assert 3 < floats / int8 < 20
    assert halves == floats, "its weights are float32 again before they are used"
    assert figure_of(figures, "energy_paper_uj") == pytest.approx(cost.energy_paper_uj)


def test_a_training_reached_what_its_best_epoch_did_and_took_as_long_as_all() -> None:
    best, last = (
        Epoch(number, 2, 1, 0.5, accuracy, 0.1, 0.1, 1.0, seconds, 0.0)
        for number, accuracy, seconds in ((1, 0.9, 3), (2, 0.8, 2))
    )
    figures = training_figures(Training((best, last), best))
    assert (figure_of(figures, "validation_accuracy"), figure_of(figures, "training_s")) == (0.9, 5)
    assert "epoch 1" in _named(figures, "validation_accuracy").method


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
    parts = [figure_of(figures, f"arena_{part}_bytes", INT8) for part in ("recorded", "head", "tail")]
    assert parts == [arena.recorded, arena.head, arena.tail]
    on_device = tflm_figures(trained.int8, arena, data.test, trained.outputs)
    assert figure_of(on_device, "accuracy", ArtifactFormat.TFLM_SOURCE) > 0.9


def test_micro_is_scored_on_images_of_all_classes_of_a_test_split_that_is_sorted_by_them(trained: Trained, data: Data) -> None:
    order = np.argsort(data.train.labels, kind="stable")
    labels = data.train.labels[order]
    known = labels < 5
    assert known[:TFLM_IMAGES].all()
    half_wrong = Split(data.train.pixels[order], np.where(known, labels, 9 - labels))
    reference = np.asarray(trained.model.predict(half_wrong.images, verbose=0))

    figures = tflm_figures(trained.int8, measure_arena(trained.int8), half_wrong, reference)

    assert 0.4 < figure_of(figures, "accuracy", ArtifactFormat.TFLM_SOURCE) < 0.6
    assert figure_of(figures, "keras_agreement", ArtifactFormat.TFLM_SOURCE) > 0.95
    assert "500 images of the test split" in _named(figures, "accuracy").method
