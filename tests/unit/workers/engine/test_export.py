from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from secateur.core.graph import LayerGraph
from secateur.core.reports import ArtifactFormat
from secateur.workers.engine.build import build_model
from secateur.workers.engine.datasets import Data
from secateur.workers.engine.export import export, export_untrained
from secateur.workers.engine.litert import LiteRt
from secateur.workers.engine.operators import operators_of
from secateur.workers.engine.tflm import measure_arena
from tests.support.training import residual_network, small_network
from tests.unit.workers.engine.conftest import Trained


def _ends(file: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    interpreter = Interpreter(model_content=file)
    return interpreter.get_input_details()[0], interpreter.get_output_details()[0]


def test_float32_computes_what_keras_computes(trained: Trained, data: Data) -> None:
    np.testing.assert_allclose(LiteRt(trained.float32).outputs(data.test.images), trained.outputs, atol=1e-4)


def test_int8_agrees_with_keras_on_nearly_all_labels(trained: Trained, data: Data) -> None:
    labels = LiteRt(trained.int8).outputs(data.test.images).argmax(axis=1)
    assert (labels == trained.outputs.argmax(axis=1)).mean() > 0.98


def test_int8_is_integer_at_both_ends_and_has_a_batch_of_one(trained: Trained) -> None:
    given, returned = _ends(trained.int8)
    assert given["dtype"] == returned["dtype"] == np.int8
    assert given["shape"].tolist() == [1, 8, 8, 1]
    assert returned["shape"].tolist() == [1, 10]


def test_int8_kernels_have_a_scale_per_channel(trained: Trained) -> None:
    interpreter = Interpreter(model_content=trained.int8)
    kernels = [tensor for tensor in interpreter.get_tensor_details() if tensor["shape"].tolist() == [32, 3, 3, 32]]
    assert [len(kernel["quantization_parameters"]["scales"]) for kernel in kernels] == [32]


def test_float16_halves_the_file_and_keeps_the_labels(trained: Trained, data: Data) -> None:
    file = trained.exported.files[ArtifactFormat.LITERT_FLOAT16]
    assert len(file) < 0.6 * len(trained.float32)
    outputs = LiteRt(file).outputs(data.test.images)
    assert (outputs.argmax(axis=1) == trained.outputs.argmax(axis=1)).mean() > 0.99
    np.testing.assert_allclose(outputs, trained.outputs, atol=0.05)


def test_tensors_lead_back_to_layers_however_often_the_model_was_called() -> None:
    model = build_model(residual_network())
    images = np.zeros((1, 8, 8, 1), np.float32)

    def layers() -> list[str]:
        exported = export(model, images)
        return [exported.layer_of(operator.output) for operator in operators_of(exported.files[ArtifactFormat.LITERT_INT8])]

    first = layers()
    assert all(first)
    assert len(set(first)) == len(first)
    model(images)
    assert layers() == first


def test_sizes_are_known_before_training(trained: Trained, graph: LayerGraph, data: Data) -> None:
    untrained = export_untrained(build_model(graph), data.train.images)
    assert len(untrained) == len(trained.int8)
    assert measure_arena(untrained) == measure_arena(trained.int8)


def test_measuring_the_size_leaves_the_weights_alone(graph: LayerGraph, data: Data) -> None:
    model = build_model(graph)
    before = model.get_weights()
    export_untrained(model, data.train.images)
    assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))


def test_equal_models_give_equal_files_whatever_their_layers_are_called(data: Data) -> None:
    def files(prefix: str) -> Mapping[ArtifactFormat, bytes]:
        keras.utils.set_random_seed(0)
        return export(build_model(small_network(prefix=prefix)), data.train.images).files

    assert files("") == files("a_rather_long_prefix_of_every_name_")


def test_the_converter_is_silent(graph: LayerGraph, data: Data, capfd: pytest.CaptureFixture[str]) -> None:
    export_untrained(build_model(graph), data.train.images)
    assert capfd.readouterr() == ("", "")
