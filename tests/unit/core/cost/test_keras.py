"""Counted parameters against those of the Keras model that the workers build; of the zoo's: `graph/test_keras.py`."""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

from hypothesis import HealthCheck, given, settings

from secateur.core.cost import cost_of
from secateur.core.graph import LayerGraph
from secateur.workers.engine.build import build_model
from tests.support.graphs import layer_graphs


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(layer_graphs(every_kind=True))
def test_random_networks(graph: LayerGraph) -> None:
    assert cost_of(graph).parameters == build_model(graph).count_params()
