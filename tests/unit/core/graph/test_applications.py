"""Small networks of the keras.applications families: read, counted, planned, rebuilt, run. All of them: tests/benchmarks."""

from __future__ import annotations

import numpy as np
import pytest

from secateur.core.cost import cost_of
from tests.support.applications import application, half_of, kept_share, macs_in_keras, read, rebuild_at_half, shapes_in_keras

REBUILT = {
    "VGG16": "parameters", "ResNet50": "flops", "ResNet50V2": "parameters", "MobileNet": "flops", "MobileNetV2": "parameters",
    "MobileNetV3Small": "flops", "DenseNet121": "parameters", "EfficientNetB0": "flops", "EfficientNetV2B0": "parameters",
    "Xception": "flops", "InceptionV3": "parameters", "InceptionResNetV2": "flops", "NASNetMobile": "parameters",
}  # fmt: skip


@pytest.mark.parametrize("name", REBUILT)
def test_family(name: str) -> None:
    model = application(name)
    graph = read(model)
    cost = cost_of(graph)
    assert cost.parameters == model.count_params()
    assert cost.macs == macs_in_keras(model)
    shapes = shapes_in_keras(model)
    assert {layer.name: layer.output_shape for layer in graph if layer.name in shapes} == shapes
    rebuilt = rebuild_at_half(graph, REBUILT[name])
    assert rebuilt.predicted == rebuilt.counted
    assert 0.49 < rebuilt.kept <= 0.5
    assert rebuilt.output.shape == (1, 10)
    assert np.isfinite(rebuilt.output).all()
    (other,) = {"parameters", "flops"} - {REBUILT[name]}
    assert 0.49 < kept_share(graph, other, half_of(graph, other)[0]) <= 0.5
