from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from secateur.core.graph import LayerGraph
from secateur.core.reports import ArtifactFormat
from secateur.workers.engine.build import build_model
from secateur.workers.engine.datasets import Data
from secateur.workers.engine.export import export, export_untrained
from secateur.workers.engine.litert import LiteRt
from secateur.workers.engine.operators import operators_of
from secateur.workers.engine.tflm import measure_arena, outputs_on_tflm
from tests.support.exported import NETWORKS
from tests.support.networks import trained_looking
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


@pytest.mark.parametrize(("name", "missing"), [("elu", {"QUANTIZE", "DEQUANTIZE", "LEAKY_RELU"}), ("other_norms", {"SQUARE"})])
def test_what_the_converter_would_compute_in_float32_is_int8(name: str, missing: set[str]) -> None:
    graph = NETWORKS[name]()
    model = trained_looking(graph)
    images = np.random.default_rng(0).random((64, *graph.input_shape), np.float32)
    exported = export(model, images)
    file = exported.files[ArtifactFormat.LITERT_INT8]

    operators = operators_of(file)
    assert {each.name for each in operators if not exported.layer_of(each.output)} <= {"QUANTIZE", "DEQUANTIZE"}
    assert not missing & {operator.name for operator in operators}
    tensors = Interpreter(model_content=file).get_tensor_details()
    floats = [tensor["shape"] for tensor in tensors if tensor["dtype"] == np.float32]
    assert all(np.prod(shape) <= 16 for shape in floats)  # of group normalisation, the mean of each group

    expected = np.asarray(model(images))
    step = _ends(file)[1]["quantization_parameters"]["scales"][0]
    assert np.ptp(expected) > 50 * step  # else being near would say nothing
    for outputs in (LiteRt(file).outputs(images), outputs_on_tflm(file, images, arena_bytes=2**16)):
        assert np.abs(outputs - expected).mean() < 2 * step


def test_weights_begin_where_the_schema_of_the_file_asks_for() -> None:
    """At multiples of 16 bytes, also in a file that was written anew."""
    graph = NETWORKS["elu"]()
    file = export_untrained(build_model(graph), np.zeros((1, *graph.input_shape), np.float32))
    model = schema.Model.GetRootAsModel(file, 0)
    weights = [
        model.Buffers(index).DataAsNumpy() for index in range(model.BuffersLength()) if model.Buffers(index).DataLength()
    ]
    start = np.frombuffer(file, np.uint8).ctypes.data
    assert len(weights) > len(graph) / 2
    assert {(each.ctypes.data - start) % 16 for each in weights} == {0}


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
