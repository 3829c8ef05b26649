"""Inherited weights under every criterion, on networks of full size: the pruned network is the masked one.

For DenseNet121, which takes longest, a small network of its kind stands here; `tests/benchmarks/inheritance.py` has itself.
"""

from __future__ import annotations

import keras
import pytest

from secateur.core.graph import LayerGraph
from secateur.core.specs import Criterion
from tests.support.inherited import FULL, inherited_half
from tests.support.networks import NETWORKS, trained_looking

Trained = tuple[LayerGraph, keras.Model]


@pytest.fixture(scope="module", params=["vgg16", "resnet56", "mobilenetv2"])
def trained(request: pytest.FixtureRequest) -> Trained:
    graph = FULL[request.param]()
    return graph, trained_looking(graph)


@pytest.mark.parametrize("criterion", Criterion)
def test_equals_the_masked_network(trained: Trained, criterion: Criterion) -> None:
    found = inherited_half(*trained, criterion)
    assert found.right, found


def test_scales_behind_concatenations_equal_the_masked_network() -> None:
    graph = NETWORKS["densenet"]()
    found = inherited_half(graph, trained_looking(graph), Criterion.BATCH_NORM_SCALE)
    assert found.right, found
