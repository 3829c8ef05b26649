from __future__ import annotations

import numpy as np

from secateur.core.cost import cost_of
from secateur.core.graph import LayerGraph, zoo
from secateur.core.graph.assembly import Builder
from secateur.core.planning import Budget, plan
from secateur.workers.engine.build import build_model, ends_in_softmax


def test_layers_keep_their_names(graph: LayerGraph) -> None:
    assert [layer.name for layer in build_model(graph).layers] == [layer.name for layer in graph]


def test_a_plan_decides_the_widths() -> None:
    graph = zoo.build("resnet20", (8, 8, 1), 10)
    chosen = plan(graph, Budget.fractions(parameters=0.4))
    model = build_model(graph, chosen)
    assert model.count_params() == chosen.cost.parameters <= 0.4 * cost_of(graph).parameters
    for name, width in chosen.widths.items():
        assert model.get_layer(name).output.shape[-1] == width
    assert np.isfinite(model(np.zeros((2, 8, 8, 1), np.float32))).all()


def test_probabilities_are_told_from_logits(graph: LayerGraph) -> None:
    def headed(**dense: str) -> Builder:
        net = Builder("headed", (8, 8, 1))
        net.add("Flatten", "flat")
        net.add("Dense", "dense", units=10, **dense)
        return net

    layered = headed()
    layered.add("Softmax", "softmax")
    assert not ends_in_softmax(graph)
    assert ends_in_softmax(headed(activation="softmax").build())
    assert ends_in_softmax(layered.build())
