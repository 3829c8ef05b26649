"""Inherited weights under every criterion, on networks of full size: the pruned network is the masked one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import keras
import numpy as np
import pytest

from secateur.core.graph import LayerGraph, channel_groups, zoo
from secateur.core.graph.indices import channel_origins
from secateur.core.planning.hybrid_scores import kept_channels
from secateur.core.specs import Criterion
from secateur.workers.engine.criteria import channel_scores
from secateur.workers.engine.inherit import inherit
from tests.support.applications import application, read
from tests.support.masking import masked_outputs
from tests.support.networks import trained_looking

SHAPE: Final = (32, 32, 3)
IMAGES: Final = np.random.default_rng(1).normal(size=(2, *SHAPE)).astype(np.float32)
TOLERANCE: Final = 1e-5
FULL: Final[dict[str, Callable[[], LayerGraph]]] = {
    "vgg16": lambda: zoo.build("vgg16", SHAPE, 10),
    "resnet56": lambda: zoo.build("resnet56", SHAPE, 10),
    "mobilenetv2": lambda: zoo.build("mobilenetv2", SHAPE, 10),
    "densenet121": lambda: read(application("DenseNet121", classifier_activation=None)),
}

Trained = tuple[LayerGraph, keras.Model]


@pytest.fixture(scope="module", params=FULL)
def trained(request: pytest.FixtureRequest) -> Trained:
    graph = FULL[request.param]()
    return graph, trained_looking(graph)


def half(graph: LayerGraph, criterion: Criterion) -> dict[str, int]:
    """Half of the channels of every group that the criterion can tell apart, streams of residual networks included."""
    widths = {group.name: group.width // 2 for group in channel_groups(graph, residual="coupled") if group.prunable}
    if criterion is not Criterion.BATCH_NORM_SCALE:
        return widths
    origins = channel_origins(graph)
    scaled = {group for layer in graph if layer.op == "BatchNormalization" for group, _ in filter(None, origins[layer.name])}
    return {name: width for name, width in widths.items() if name in scaled}


@pytest.mark.parametrize("criterion", Criterion)
def test_equals_the_masked_network(trained: Trained, criterion: Criterion) -> None:
    graph, model = trained
    widths = half(graph, criterion)
    kept = kept_channels(channel_scores(criterion, model, graph, widths, images=IMAGES), widths)
    expected = masked_outputs(model, graph, kept, IMAGES)
    largest = np.abs(expected).max()
    assert np.ptp(expected, axis=0).max() > 100 * TOLERANCE * largest  # else equality would say nothing
    pruned = inherit(model, graph, kept)
    assert pruned.count_params() < 0.6 * model.count_params()
    np.testing.assert_allclose(pruned(IMAGES), expected, rtol=TOLERANCE, atol=TOLERANCE * largest)
