"""Counted parameters against those of the Keras model that the workers build."""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import pytest
from hypothesis import HealthCheck, given, settings

from secateur.core.cost import cost_of, layer_costs
from secateur.core.graph import LayerGraph, zoo
from secateur.workers.engine.build import build_model
from tests.support.graphs import layer_graphs


@pytest.mark.parametrize("name", zoo.names())
def test_zoo(name: str) -> None:
    graph = zoo.build(name, (32, 32, 3), 10)
    model = build_model(graph)
    costs = layer_costs(graph)
    assert cost_of(graph).parameters == model.count_params()
    assert {layer.name: layer.count_params() for layer in model.layers} == {
        name: cost.parameters for name, cost in costs.items()
    }


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(layer_graphs(every_kind=True))
def test_random_networks(graph: LayerGraph) -> None:
    assert cost_of(graph).parameters == build_model(graph).count_params()
