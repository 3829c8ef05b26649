"""Quantisation-aware fine-tuning, on a network whose channels differ so much in size that 8 bits are too few."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest

from secateur.core.graph import LayerGraph
from secateur.core.planning import Plan, plan
from secateur.core.reports import ArtifactFormat
from secateur.core.resources import Budget
from secateur.workers.engine.datasets import Data, Split
from secateur.workers.engine.delivery import MAX_INT8_LOSS, Quantized, quantize
from secateur.workers.engine.export import export_int8
from secateur.workers.engine.keras_files import outputs_of
from secateur.workers.engine.litert import LiteRt
from secateur.workers.engine.measure import figure_of
from secateur.workers.engine.proposals import Task
from secateur.workers.engine.qat import fake_quantized
from tests.support.networks import gated_mobilenet, trained_looking
from tests.support.training import QUICK, quick_job
from tests.unit.workers.engine.conftest import Trained

INT8 = ArtifactFormat.LITERT_INT8
UNPRUNED = Budget.of(flash_bytes=1_000_000)


@pytest.fixture
def uneven(trained: Trained) -> Iterator[Any]:
    """The trained network, channels scaled by up to 1,000 and scaled back by the next layer: the same function, in float."""
    model, weights = trained.model, trained.model.get_weights()
    for number in (0, 1):
        norm, kernel = model.get_layer(f"block{number}_bn"), model.get_layer(f"block{number + 1}_conv")
        gamma, beta, mean, variance = norm.get_weights()
        scale = np.exp(np.random.default_rng(number).uniform(0, np.log(1_000), gamma.shape)).astype(np.float32)
        norm.set_weights([gamma * scale, beta * scale, mean, variance])
        kernel.set_weights([kernel.get_weights()[0] / scale[None, None, :, None]])
    yield model
    model.set_weights(weights)


@pytest.fixture(scope="module")
def whole(graph: LayerGraph) -> Plan:
    return plan(graph, UNPRUNED)


def _quantized(graph: LayerGraph, data: Data, whole: Plan, model: Any, **recipe: Any) -> tuple[Quantized, bytes, list[str]]:
    messages: list[str] = []
    task = Task(graph, quick_job(UNPRUNED), 0, data, on_stage=lambda _, message: messages.append(message))
    converted = export_int8(model, data.train.images)
    return quantize(task, whole, model, converted, replace(QUICK, **recipe)), converted, messages


def test_a_file_that_loses_little_is_delivered_as_it_is(graph: LayerGraph, data: Data, whole: Plan, trained: Trained) -> None:
    quantized, converted, messages = _quantized(graph, data, whole, trained.model)
    assert quantized.file == converted
    assert (quantized.note, messages) == ("", [])
    assert abs(figure_of(quantized.measurements, "int8_loss_points", INT8)) <= MAX_INT8_LOSS


def test_a_file_that_loses_much_is_fine_tuned(graph: LayerGraph, data: Data, whole: Plan, uneven: Any) -> None:
    before = uneven.get_weights()
    quantized, converted, messages = _quantized(graph, data, whole, uneven)
    lost = figure_of(quantized.measurements, "int8_loss_as_converted_points", INT8)
    left = figure_of(quantized.measurements, "int8_loss_points", INT8)
    assert lost > 20
    assert left < lost / 2
    assert quantized.file != converted
    assert quantized.note.startswith(f"Conversion to int8 cost {lost:.1f} points of validation accuracy; fine-tuned for int8")
    assert messages == [
        f"Conversion to int8 cost {lost:.1f} points of validation accuracy: fine-tuning with rounded weights and feature maps"
    ]
    assert all(np.array_equal(a, b) for a, b in zip(before, uneven.get_weights(), strict=True))
    labels = LiteRt(quantized.file).outputs(data.validation.images).argmax(axis=1)
    expected = outputs_of(uneven, data.validation.images).argmax(axis=1)
    found = 100 * ((expected == data.validation.labels).mean() - (labels == data.validation.labels).mean())
    assert found == pytest.approx(left)


def test_a_loss_of_points_that_two_images_make_is_not_too_much(graph: LayerGraph, data: Data, whole: Plan, uneven: Any) -> None:
    images = data.train
    file = export_int8(uneven, images.images[:32])
    expected = outputs_of(uneven, images.images).argmax(axis=1)
    agrees = expected == LiteRt(file).outputs(images.images).argmax(axis=1)
    rows = np.concatenate([np.flatnonzero(agrees)[:98], np.flatnonzero(~agrees)[:2]])
    few = Split(images.pixels[:32], images.labels[:32])
    drawn = replace(data, train=few, validation=Split(images.pixels[rows], expected[rows]))
    quantized, _, messages = _quantized(graph, drawn, whole, uneven, epochs=1)
    assert figure_of(quantized.measurements, "int8_loss_points", INT8) == 2
    assert messages == []


def test_fine_tuning_that_does_not_help_is_not_delivered(graph: LayerGraph, data: Data, whole: Plan, uneven: Any) -> None:
    mislabelled = replace(data, train=replace(data.train, labels=(data.train.labels + 1) % 10))
    quantized, converted, _ = _quantized(graph, mislabelled, whole, uneven, epochs=2)
    assert quantized.file == converted
    assert "did not help" in quantized.note


def test_rounding_is_what_the_converter_will_do(graph: LayerGraph, data: Data, uneven: Any) -> None:
    images = data.test.images
    int8 = LiteRt(export_int8(uneven, images)).outputs(images)
    rounded, floats = outputs_of(fake_quantized(uneven, graph), images), outputs_of(uneven, images)
    assert np.abs(rounded - int8).mean() < np.abs(floats - int8).mean() / 2


def test_all_variables_are_those_of_the_network() -> None:
    graph = gated_mobilenet()
    model = trained_looking(graph)
    rounded = fake_quantized(model, graph)
    assert {id(variable) for variable in rounded.variables} == {id(variable) for variable in model.variables}
    images = np.random.default_rng(0).random((4, *graph.input_shape), np.float32)
    np.testing.assert_allclose(outputs_of(rounded, images), outputs_of(model, images), atol=0.5)
    assert isinstance(rounded.get_layer("block1_depthwise_rounded_kernels").layer, keras.layers.DepthwiseConv2D)
